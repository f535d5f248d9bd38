"""The schema of a model file: how skops says what an estimator consists of.

A *state* is a JSON object with a ``__loader__``, the class of skops that builds a value from it.
It has the value's type, and a number, ``__id__``, by which other places refer to the same value.
skops itself writes such a value out wherever it occurs, numbers it by its address, and repeats its
arrays. :class:`Renumbering` makes of that a schema in which every value is defined once, so that
equal models are equal files. :func:`check_schema` accepts no other, since skops follows references
along every path: a few hundred bytes could keep it busy for ever.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ._archive import ModelFormatError
from ._trusted import LOADERS, SCALARS, own_types, transformers

MOST_VALUES = 2**20  # that skops visits: ten seconds
OLDEST_PROTOCOL = 2  # of skops; it reads older ones by other, less strict classes
# skops reads these parts of a state before the others: a value is defined where it is read first.
READ_FIRST = {"key_types": 0, "content": 1}


def is_state(value: Any) -> bool:
    """Whether a part of the schema is the state of a value, not a mapping of states."""
    return isinstance(value, dict) and isinstance(value.get("__loader__"), str)


class Renumbering:
    """Numbers values and files in the order in which skops reads them, and writes each once.

    Attributes
    ----------
    files : dict of str
        New name of each member that the schema refers to, by the original name.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self._numbers: dict[int, int] = {}

    def apply(self, value: Any) -> Any:
        """Return a schema, or a part of it, with new numbers and names."""
        if isinstance(value, list):
            return [self.apply(part) for part in value]
        if is_state(value):
            return self._state(value)
        if isinstance(value, dict):
            return {key: self.apply(part) for key, part in value.items()}
        return value

    def _state(self, state: dict[str, Any]) -> dict[str, Any]:
        address = state.get("__id__")
        changed: dict[str, Any] = {}
        if address in self._numbers:
            return {"__id__": self._numbers[address]}
        if address is not None:
            changed["__id__"] = self._numbers[address] = len(self._numbers) + 1
        if isinstance(state.get("file"), str):
            suffix = state["file"].rpartition(".")[2]
            changed["file"] = self.files.setdefault(
                state["file"], f"part_{len(self.files)}.{suffix}"
            )
        if (state["__module__"], state["__class__"]) == ("numpy", "memmap"):
            changed["__class__"] = "ndarray"
        keys = sorted(state, key=lambda key: READ_FIRST.get(key, 2))
        return {key: changed.get(key, self.apply(state[key])) for key in keys}


def check_schema(schema: Any, trusted: Collection[str]) -> tuple[list[str], set[str]]:
    """Raise if skops could be made to hang by a schema, and look for what is not trusted.

    Parameters
    ----------
    schema : object
        The parsed JSON.
    trusted : collection of str
        Names of types that the user trusts.

    Returns
    -------
    trusted : list of str
        Names that skops must be given: the user's and this package's.
    untrusted : set of str
        Names of types that skops would build, though not from this file.
    """
    protocol = schema.get("protocol") if is_state(schema) else None
    if type(protocol) is not int or protocol < OLDEST_PROTOCOL:
        raise ModelFormatError("its schema is not one of skops that this package reads")
    own = own_types()
    check = _Check(own, trusted)
    check.visits(schema)
    return sorted({*own, *trusted}), check.untrusted


def names_in(schema: Any) -> set[str]:
    """Return the names of all types that a schema refers to."""
    check = _Check({}, ())
    check.visits(schema)
    return check.names


class _Check:
    """One walk through a schema: counts what skops will visit, notes what is not trusted."""

    def __init__(self, own: dict[str, str], trusted: Collection[str]) -> None:
        self.own, self.trusted = own, trusted
        self.names: set[str] = set()
        self.untrusted: set[str] = set()
        self.n_visits: dict[int, int] = {}  # of values that are defined; 0 while one is

    def visits(self, value: Any) -> int:
        """Return how often skops will visit a value's parts, along all paths."""
        if isinstance(value, list):
            return self._check_total(sum(map(self.visits, value)))
        if not isinstance(value, dict):
            return 0
        number = value.get("__id__")
        if type(number) is int and not is_state(value):
            return self._visits_of_reference(number)
        if not is_state(value):
            return self._check_total(sum(map(self.visits, value.values())))
        self._note_type(value)
        if number is not None and (type(number) is not int or number in self.n_visits):
            raise ModelFormatError("two values in its schema have one number")
        if number is not None:
            self.n_visits[number] = 0
        total = self._check_total(1 + sum(map(self.visits, value.values())))
        if number is not None:
            self.n_visits[number] = total
        return total

    def _visits_of_reference(self, number: int) -> int:
        if not self.n_visits.get(number):
            raise ModelFormatError("a value in its schema refers to itself, or to none")
        return self.n_visits[number]

    def _check_total(self, n_visits: int) -> int:
        if n_visits > MOST_VALUES:
            raise ModelFormatError(f"it consists of more than {MOST_VALUES} values")
        return n_visits

    def _note_type(self, state: dict[str, Any]) -> None:
        name, loader = f"{state.get('__module__')}.{state.get('__class__')}", state["__loader__"]
        self.names.add(name)
        if name not in self.trusted and not self._is_usual(name, loader):
            self.untrusted.add(name)

    def _is_usual(self, name: str, loader: str) -> bool:
        """Whether a type needs no trust of the user, if skops trusts it."""
        if name in self.own:
            return self.own[name] == loader
        if loader == "ObjectNode":
            return name in transformers()
        return loader in LOADERS and (loader != "NdArrayNode" or name in SCALARS)
