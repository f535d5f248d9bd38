"""Thresholds of prediction sets: split conformal prediction over held-out classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._by_size import SampledQueries, between, place

# Shares of queries whose class a set may miss. Fine ones are for tasks of many classes.
ALPHAS = np.concatenate([np.arange(1, 50) / 1000, np.arange(5, 100) / 100])
ROUNDING = 1e-9  # of shares: 0.29 * 100 is less than 29


class SetThresholds(NamedTuple):
    """Shares of the highest probability that a class needs to be in a prediction set.

    Parameters
    ----------
    n_way : float64 ndarray of shape (n_ways,)
        Classes in the episodes, ascending.
    n_shot : float64 ndarray of shape (n_shots,)
        Examples of each class, ascending.
    share : float64 ndarray of shape (n_ways, n_shots, 144)
        The share by ``ALPHAS``: ascending, in [0, 1]. With 0, sets have all classes.
    """

    n_way: np.ndarray
    n_shot: np.ndarray
    share: np.ndarray

    def at(self, n_way: int, n_shot: float, alpha: float) -> float:
        """Return the share for a number of classes and examples.

        Between those that were measured it is interpolated in their logarithms; beyond the shots it
        is that of the nearest. A class is missed if one of the others is too far ahead of it. Of
        ``r`` times as many others one is, at most ``r`` times as often: beyond the ways it is that
        of the largest for ``alpha / r``.

        Parameters
        ----------
        n_way : int
            Number of classes.
        n_shot : float
            Examples of the class.
        alpha : float
            Share of queries whose class may be missing, rounded down to one of ``ALPHAS``.

        Returns
        -------
        share : float
        """
        alpha /= max(1.0, (n_way - 1) / (self.n_way[-1] - 1))
        level = int(np.searchsorted(ALPHAS, alpha + ROUNDING, side="right")) - 1
        if level < 0:
            return 0.0
        table = between(self.share[..., level], place(n_way, self.n_way))  # (n_shots,)
        return float(between(table, place(n_shot, self.n_shot)))


def tabulate_set_thresholds(
    sizes: list[SampledQueries], inverse_temperature: Callable[[np.ndarray], float]
) -> SetThresholds:
    """Tabulate the thresholds of prediction sets.

    The score of a query is the probability of its class as a share of the highest. The threshold is
    the quantile of split conformal prediction, at a level that is right for classes that are left
    out: queries of few classes are not as many independent ones.

    Parameters
    ----------
    sizes : list of SampledQueries
        Queries of every combination of some ways and shots, shots fastest.
    inverse_temperature : callable
        Factor of the logits in probabilities, given the examples of each class.

    Returns
    -------
    sets : SetThresholds
    """
    n_way = np.unique([size.n_way for size in sizes])
    shares = [_share(size, inverse_temperature(size.class_count)) for size in sizes]
    level = levels_for_new_classes(shares, [size.code for size in sizes])
    table = np.stack([_smallest(share, level) for share in shares])
    table = table.reshape(len(n_way), -1, len(ALPHAS))
    n_shot = np.array([size.n_shot for size in sizes[: table.shape[1]]])
    return SetThresholds(n_way, n_shot, table)


def _share(size: SampledQueries, inverse_temperature: float) -> np.ndarray:
    """Return the probability of each query's class as a share of the highest."""
    of_target = size.logits[np.arange(len(size.target)), size.target]
    return np.exp(inverse_temperature * (of_target - size.best))


def levels_for_new_classes(shares: list[np.ndarray], codes: list[np.ndarray]) -> np.ndarray:
    """Return the levels of quantiles at which a share ``ALPHAS`` of the queries is missed.

    Each held-out class is left out once, and its queries are compared with those of the others.

    Parameters
    ----------
    shares : list of ndarray of shape (n_queries,)
        Scores of queries, by size of their episodes.
    codes : list of int ndarray of shape (n_queries,)
        Their classes.

    Returns
    -------
    level : float64 ndarray of shape (144,)
        At most ``ALPHAS``.
    """
    rank = np.sort(np.concatenate(list(map(_rank_among_others, shares, codes))))
    return np.minimum(ALPHAS, rank[(ALPHAS * len(rank) + ROUNDING).astype(int)])


def _rank_among_others(share: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return which share of the queries of other classes scores no higher than each query."""
    n_below = np.searchsorted(np.sort(share), share, side="right")
    n_others = np.full(len(share), len(share))
    for own in (np.flatnonzero(code == k) for k in np.unique(code)):
        n_below[own] -= np.searchsorted(np.sort(share[own]), share[own], side="right")
        n_others[own] -= len(own)
    return n_below / np.maximum(n_others, 1)


def _smallest(share: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the ``floor(level (n + 1))``-th smallest of ``n`` scores, 0 for the 0-th."""
    rank = (level * (len(share) + 1) + ROUNDING).astype(int)
    return np.concatenate([[0.0], np.sort(share)])[np.minimum(rank, len(share))]
