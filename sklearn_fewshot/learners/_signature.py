"""Signatures of learners: the parameters of a constructor and of those that it passes others to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar

from ..utils._names import unknown_parameter

C = TypeVar("C")
VAR_POSITIONAL, VAR_KEYWORD = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD


def complete_signature(
    cls: type[C], defaults: Mapping[str, Any] | None = None
) -> dict[str, Parameter]:
    """Give a class the complete signature and constraints of its parameters, and return them.

    Parameters
    ----------
    cls : type
        Its constructor takes parameters of its bases as ``**common``.
    defaults : mapping or None
        Parameters of the bases that have another default in this class.

    Returns
    -------
    parameters : dict of str to inspect.Parameter
    """
    parameters = _parameters_of(cls, defaults or {})
    _check_names(cls, parameters)
    cls.__init__ = _constructor(cls, parameters, defaults or {})  # type: ignore[method-assign]
    constraints = {
        name: allowed
        for base in reversed(cls.__mro__)
        for name, allowed in vars(base).get("_parameter_constraints", {}).items()
    }
    cls._parameter_constraints = constraints  # type: ignore[attr-defined]
    return parameters


def _parameters_of(learner: type, defaults: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return all parameters of a constructor: its own, then those of the constructors it calls.

    A parameter that several classes list has the default of the first, and the place of the last.
    """
    found: dict[str, Parameter] = {}
    for cls in learner.__mro__:
        if "__init__" not in vars(cls):  # a mixin, for example
            continue
        _, *listed = signature(vars(cls)["__init__"]).parameters.values()  # without self
        named = {one.name: one for one in listed if one.kind not in (VAR_POSITIONAL, VAR_KEYWORD)}
        first = {name: one for name, one in found.items() if name not in named}
        found = first | {name: found.get(name, one) for name, one in named.items()}
        if VAR_KEYWORD not in {one.kind for one in listed}:
            break
    for name, default in defaults.items():
        if name not in found:
            raise TypeError(
                f"with_common_parameters got a default for {name!r}, which is no parameter of "
                f"{learner.__name__}. It has {', '.join(found)}."
            )
        found[name] = found[name].replace(default=default)
    return {name: one.replace(kind=Parameter.KEYWORD_ONLY) for name, one in found.items()}


def _check_names(learner: type, names: Iterable[str]) -> None:
    for name in names:
        if name.startswith("_") or name.endswith("_"):
            raise TypeError(
                f"The parameter {name!r} of {learner.__name__} begins or ends with an underscore: "
                "in scikit-learn such attributes are private or made by fit. Rename it."
            )
        if hasattr(learner, name):
            raise TypeError(
                f"The parameter {name!r} of {learner.__name__} has the name of a method or "
                "attribute of the class, which it would hide. Rename it."
            )


def _constructor(
    learner: type[C], parameters: Mapping[str, Parameter], defaults: Mapping[str, Any]
) -> Callable[..., None]:
    """Return the constructor with the defaults of the class, and the complete signature."""
    constructor = learner.__init__

    @wraps(constructor)
    def __init__(self: C, **params: Any) -> None:
        for name in params.keys() - parameters.keys():
            raise TypeError(unknown_parameter(type(self).__name__, name, parameters))
        constructor(self, **{**defaults, **params})

    this = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    vars(__init__)["__signature__"] = Signature([this, *parameters.values()])
    return __init__
