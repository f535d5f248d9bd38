"""Episodes as row indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

_Ints: TypeAlias = npt.NDArray[np.intp]


class EpisodePlan(NamedTuple):
    """Episodes as row indices of the data they were planned for.

    Every axis is padded at its end with -1 where an episode has fewer classes, or a class fewer
    examples, than the arrays have room for.

    Parameters
    ----------
    support : ndarray of shape (n_episodes, n_way, n_shot)
        Rows of the support examples.
    query : ndarray of shape (n_episodes, n_way, n_query)
        Rows of the query examples.
    classes : ndarray of shape (n_episodes, n_way)
        Codes of the classes.
    """

    support: _Ints
    query: _Ints
    classes: _Ints

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        return len(self.classes)

    def take(self, episodes: slice | Sequence[int] | _Ints) -> EpisodePlan:
        """Return the plan of some of the episodes.

        Parameters
        ----------
        episodes : slice or sequence of int
            The episodes to keep, in their new order.

        Returns
        -------
        plan : EpisodePlan
            The selected episodes.
        """
        return EpisodePlan(self.support[episodes], self.query[episodes], self.classes[episodes])

    def rows(self) -> _Ints:
        """Return the rows that the episodes use, each once, in ascending order.

        Returns
        -------
        rows : ndarray of shape (n_rows,)
        """
        sides = (self.support, self.query)
        is_used = np.zeros(2 + max(rows.max(initial=-1) for rows in sides), dtype=bool)
        for rows in sides:
            is_used[rows] = True
        return np.flatnonzero(is_used[:-1])  # the last stands for padding

    def in_terms_of(self, rows: _Ints) -> EpisodePlan:
        """Return the plan with places among ``rows`` in place of the rows.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,)
            At least those of :meth:`rows`, in ascending order.

        Returns
        -------
        plan : EpisodePlan
            The same episodes.
        """
        place = np.full(rows[-1] + 2, -1, dtype=np.intp)  # the last stands for padding
        place[rows] = np.arange(len(rows))
        return EpisodePlan(place[self.support], place[self.query], self.classes)
