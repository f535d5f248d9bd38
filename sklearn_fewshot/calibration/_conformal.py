"""Thresholds of prediction sets: hierarchical conformal prediction over classes."""

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
    the quantile of hierarchical conformal prediction (Lee, Barber and Willett, 2023), for classes
    that are exchangeable: queries of few classes are not as many independent ones.

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
    table = np.stack([_quantiles(size, inverse_temperature(size.class_count)) for size in sizes])
    table = table.reshape(len(n_way), -1, len(ALPHAS))
    n_shot = np.array([size.n_shot for size in sizes[: table.shape[1]]])
    return SetThresholds(n_way, n_shot, table)


def _quantiles(size: SampledQueries, inverse_temperature: float) -> np.ndarray:
    """Return the score that a share ``ALPHAS`` of the queries of a new class stays below.

    Each class weighs as much as the others, and as much as the new one, of which nothing is known
    but that scores are not below 0.
    """
    of_target = size.logits[np.arange(len(size.target)), size.target]
    score = np.exp(inverse_temperature * (of_target - size.best))
    _, place_of_class, n_queries = np.unique(size.code, return_inverse=True, return_counts=True)
    order = np.argsort(score)
    weight = 1.0 / ((len(n_queries) + 1) * n_queries[place_of_class][order])
    below = 1.0 / (len(n_queries) + 1) + np.cumsum(weight) - weight
    rank = np.searchsorted(below, ALPHAS + ROUNDING, side="right")
    return np.concatenate([[0.0], score[order]])[rank]
