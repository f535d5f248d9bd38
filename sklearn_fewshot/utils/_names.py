"""Names of parameters that there are not."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown_parameter(owner: str, name: str, known: Iterable[str]) -> str:
    """Say that a parameter does not exist, and which one may be meant.

    Parameters
    ----------
    owner : str
        The class that has not got it.
    name : str
        What was given.
    known : iterable of str
        The parameters that there are.

    Returns
    -------
    message : str

    Examples
    --------
    >>> from sklearn_fewshot.utils._names import unknown_parameter
    >>> unknown_parameter("ProtoNetClassifier", "n_ways", ["n_way", "n_shot"])
    "ProtoNetClassifier has no parameter 'n_ways'. Did you mean 'n_way'?"
    """
    names = list(known)
    nearest = get_close_matches(name, names, n=1)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"It has {', '.join(names)}."
    return f"{owner} has no parameter {name!r}. {hint}"
