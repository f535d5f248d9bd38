"""Episodes with unequal numbers of queries of their classes."""

from __future__ import annotations

import numpy as np

from ..episodes import EpisodePlan

MOST_QUERIES = 10  # of a class, in means, where shares are drawn


def with_unequal_queries(
    plan: EpisodePlan,
    codes: np.ndarray,
    groups: np.ndarray,
    alpha: float,
    rng: np.random.Generator,
) -> EpisodePlan:
    """Draw as many queries anew, in shares of the classes from a Dirichlet distribution."""
    n_query = plan.query.shape[2]
    rows_of_class = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    most = min(MOST_QUERIES * n_query, max(map(len, rows_of_class)))
    query = np.full((*plan.classes.shape, most), -1, dtype=np.intp)
    on_support = np.zeros(groups.max() + 1, dtype=bool)
    for drawn, support, classes in zip(query, plan.support, plan.classes, strict=True):
        its_groups = groups[support[support >= 0]]
        on_support[its_groups] = True
        rows = [rows_of_class[code] for code in classes if code >= 0]
        rows = [part[~on_support[groups[part]]] for part in rows]
        on_support[its_groups] = False
        available = np.array([min(len(part), most) for part in rows])
        shares = rng.dirichlet(np.full(len(rows), alpha))
        kept = _apportioned(n_query * len(rows), shares, available)
        for place, part, n_kept in zip(drawn, rows, kept, strict=False):
            place[:n_kept] = rng.choice(part, n_kept, replace=False, shuffle=False)
    return plan._replace(query=query)


def _apportioned(total: int, shares: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Divide a total in given shares, whole numbers up to what is available."""
    taken = np.minimum(np.floor(total * shares).astype(np.intp), available)
    while (left := min(total - taken.sum(), (available - taken).sum())) > 0:
        missing = np.where(taken < available, total * shares - taken, -np.inf)
        first = np.argsort(-missing, kind="stable")[:left]
        taken[first[taken[first] < available[first]]] += 1
    return taken
