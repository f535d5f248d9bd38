"""The examples of a support set, each once, with the number of its copies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..episodes import place_in_class
from ..network import Representation


class Examples(NamedTuple):
    """Distinct examples in the order in which they came.

    A copy of an example tells nothing of its class: the accuracy of a mean, and how far queries are
    from it, depend on the number of distinct ones.

    Parameters
    ----------
    digest : float64 ndarray of shape (n_distinct,)
        Equal for equal examples.
    items : Representation
        The examples. Their weights are the numbers of their copies.
    """

    digest: np.ndarray
    items: Representation

    @classmethod
    def of(cls, items: Representation, digest: np.ndarray) -> Examples:
        """Return the distinct ones of some items."""
        every = cls(digest, items)
        _, first, place = np.unique(every.key, return_index=True, return_inverse=True)
        weight = np.bincount(place.reshape(-1), items.weight)
        order = np.argsort(first)
        kept = every.take(first[order])
        return kept._replace(items=kept.items._replace(weight=weight[order]))

    @property
    def key(self) -> np.ndarray:
        """Class and digest as one complex number: those sort and compare fast."""
        return self.items.code + 1j * self.digest

    @property
    def n_copies(self) -> np.ndarray:
        """Examples of each class that are copies of others, shape (n_classes,)."""
        return np.bincount(self.items.code, self.items.weight - 1.0, self.items.n_classes)

    def join(self, other: Examples) -> Examples:
        """Return the distinct ones of both, under common class codes."""
        digest = np.concatenate([self.digest, other.digest])
        items = self.items.join(other.items)
        if np.isin(self.key, other.key).any():
            return Examples.of(items, digest)
        return Examples(digest, items)  # nothing to sort: a stream of examples takes linear time

    def recode(self, codes: np.ndarray, n_classes: int) -> Examples:
        """Return the examples with class ``k`` renamed to ``codes[k]``."""
        return self._replace(items=self.items.recode(codes, n_classes))

    def take(self, some: np.ndarray | slice) -> Examples:
        """Return some of the examples."""
        return Examples(self.digest[some], self.items.take(some))

    def first(self, n_most: int) -> Examples:
        """Return the first examples of each class."""
        order = np.argsort(self.items.code, kind="stable")
        return self.take(order[place_in_class(self.items.code[order]) < n_most])

    def without_rows(self) -> Examples:
        """Return what counts the examples."""
        return self._replace(items=self.items._replace(embedding=np.empty((len(self.digest), 0))))
