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

    def rotated(self) -> EpisodePlan:
        """Return every division of each episode's rows into support and queries.

        The rows of a class, support first, are a circle; each episode becomes as many as a class
        has rows at most, in which the support begins at one row after the other. So each row of a
        class with ``n`` rows of which ``n_shot`` are support is support in ``n_shot`` of ``n``
        episodes and query in the others.

        Returns
        -------
        plan : EpisodePlan
            Of ``n_episodes * n`` episodes, the divisions of an episode after each other.
        """
        rows = np.concatenate([self.support, self.query], axis=2)[:, None]
        n_shot = (self.support >= 0).sum(axis=2)[:, None, :, None]
        size = (rows >= 0).sum(axis=3, keepdims=True)
        circle = np.take_along_axis(rows, np.argsort(rows < 0, axis=3, kind="stable"), axis=3)
        n = int(size.max(initial=1))
        shift = np.arange(n)[:, None, None]  # the axes: episode, division, class, place

        def side(first: _Ints, n_places: int, n_taken: _Ints) -> _Ints:
            place = np.arange(n_places)
            at = (first + place + shift) % np.maximum(size, 1)
            taken = np.where(place < n_taken, np.take_along_axis(circle, at, axis=3), -1)
            return taken.reshape(len(codes), *taken.shape[2:])

        codes = np.repeat(self.classes, n, axis=0)
        return EpisodePlan(
            side(np.zeros_like(n_shot), self.support.shape[2], n_shot),
            side(n_shot, self.query.shape[2], size - n_shot),
            codes,
        )
