"""Queries of episodic results with unknown classes, which displays draw."""

from __future__ import annotations

from typing import Any

from ..model_selection import EpisodicResult
from ..model_selection._open_set import OpenSetQueries


def queries_of(owner: str, result: Any) -> OpenSetQueries:
    """Return what was made of the known and unknown queries, or raise."""
    open_set = result.open_set if isinstance(result, EpisodicResult) else None
    if open_set is None or open_set.queries is None:
        raise TypeError(
            f"{owner} takes what episodic_score returned with n_unknown, such as n_unknown=5. Got "
            f"{result!r}."
        )
    return open_set.queries
