"""Queries of episodes of one size, and interpolation between sizes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SampledQueries(NamedTuple):
    """Queries of held-out classes, all in episodes of one size.

    Parameters
    ----------
    logits : float64 ndarray of shape (n_queries, n_way)
        Logits of the classes of a query's episode, ``-inf`` for padding.
    target : int ndarray of shape (n_queries,)
        The query's class.
    code : int ndarray of shape (n_queries,)
        The same class among all that were held out.
    n_way, n_shot : float
        Size of the episodes.
    """

    logits: np.ndarray
    target: np.ndarray
    code: np.ndarray
    n_way: float
    n_shot: float

    @property
    def best(self) -> np.ndarray:
        """The highest score of each query."""
        return self.logits.max(axis=1)

    @property
    def class_count(self) -> np.ndarray:
        """Examples of each class, shape (n_way,)."""
        return np.full(int(self.n_way), self.n_shot)


def place(value: float, grid: np.ndarray) -> float:
    """Return where a number of classes or examples is among ascending ones, in their logarithms.

    Beyond them it is at the nearest.
    """
    return float(np.interp(np.log(value), np.log(grid), np.arange(len(grid))))


def between(table: np.ndarray, position: float) -> np.ndarray:
    """Interpolate between the rows of a table."""
    low = int(position)
    high = min(low + 1, len(table) - 1)
    return table[low] + (position - low) * (table[high] - table[low])
