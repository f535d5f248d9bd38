"""What a classifier stores of its support set, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..network import FittedNetwork, Representation, State
from ..utils._blocks import blocks
from ._examples import Examples
from ._support import join_classes
from ._unlabelled import DEFAULT, Unlabelled, refine

MOST_SHOWN = 20  # examples of a class that are kept beside what it is represented by


class SupportState(NamedTuple):
    """The support set of a classifier, adapted to; never changed, only exchanged as a whole.

    So a thread that predicts while another adds or drops classes has labels and scores of one and
    the same support set.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    class_count : int ndarray of shape (n_classes,)
        Labelled examples of each class.
    representation : Representation
        What represents the labelled examples: class means, or all of them.
    seen : Examples
        All labelled examples, without their rows: what counts the distinct ones.
    shown : Examples
        The first of them of each class.
    unlabelled : Unlabelled
        Unlabelled examples.
    refinement : str
        How these refine class means.
    given : int ndarray of shape (n_support,)
        Class of each example, in the order in which they were given; -1 for unlabelled ones.
    weight : float64 ndarray of shape (n_classes,)
        Distinct examples of each class; unlabelled ones add their class probabilities.
    state : dict of ndarray
        The state of the network.
    """

    classes: np.ndarray
    class_count: np.ndarray
    representation: Representation
    seen: Examples
    shown: Examples
    unlabelled: Unlabelled
    refinement: str
    given: np.ndarray
    weight: np.ndarray
    state: State

    @classmethod
    def of(
        cls,
        network: FittedNetwork,
        items: Representation,
        classes: np.ndarray,
        seen: Examples | None = None,
        shown: Examples | None = None,
        unlabelled: Unlabelled | None = None,
        *,
        refinement: str = DEFAULT,
        given: np.ndarray | None = None,
    ) -> SupportState:
        """Adapt a network to labelled items, with examples of them and unlabelled ones."""
        nothing = Examples(np.empty(0), items.take(slice(0)))
        seen, shown = (nothing if it is None else it for it in (seen, shown))
        unlabelled = Unlabelled.none(items) if unlabelled is None else unlabelled
        condensed = network.condense(items)
        n_distinct = condensed.class_count - seen.n_copies
        shown = shown.first(MOST_SHOWN)
        refined, weight = refine(
            network, condensed, n_distinct, shown.items, unlabelled, refinement
        )
        return cls(
            classes=classes,
            class_count=items.class_count.astype(int),
            representation=condensed,
            seen=seen.without_rows(),
            shown=shown,
            unlabelled=unlabelled,
            refinement=refinement,
            given=np.empty(0, dtype=np.intp) if given is None else given,
            weight=weight,
            state=network.adapt(refined),
        )

    def join(
        self,
        network: FittedNetwork,
        items: Representation,
        classes: np.ndarray,
        digest: np.ndarray,
        unlabelled: Unlabelled,
        given: np.ndarray,
    ) -> SupportState:
        """Return the state with more examples, of the same classes or others."""
        joined, union = join_classes(self.representation, self.classes, items, classes)
        more = Examples.of(items, digest)
        seen, _ = join_classes(self.seen, self.classes, more.without_rows(), classes)
        shown, _ = join_classes(self.shown, self.classes, more, classes)
        before = _recode(self.given, np.searchsorted(union, self.classes))
        given = _recode(given, np.searchsorted(union, classes))
        return SupportState.of(
            network,
            joined,
            union,
            seen,
            shown,
            self.unlabelled.join(unlabelled),
            refinement=self.refinement,
            given=np.concatenate([before, given]),
        )

    def select(self, network: FittedNetwork, keep: np.ndarray) -> SupportState:
        """Return the state of some of the classes, bool of shape (n_classes,)."""
        codes, n_classes = np.cumsum(keep) - 1, int(keep.sum())
        items = self.representation.take(keep[self.representation.code]).recode(codes, n_classes)
        seen, shown = (
            part.take(keep[part.items.code]).recode(codes, n_classes)
            for part in (self.seen, self.shown)
        )
        given = self.given[(self.given < 0) | keep[self.given]]
        return SupportState.of(
            network,
            items,
            self.classes[keep],
            seen,
            shown,
            self.unlabelled,
            refinement=self.refinement,
            given=_recode(given, codes),
        )

    def transduce(self, network: FittedNetwork) -> np.ndarray:
        """Return the class of each example, in the order given; of unlabelled ones as predicted."""
        codes = self.given.copy()
        logits = self.score_blocks(network.for_encoded_rows(), self.unlabelled.rows)
        codes[codes < 0] = [winner for part in logits for winner in part.argmax(axis=1)]
        return codes

    def score_blocks(self, network: FittedNetwork, X: np.ndarray) -> Iterator[np.ndarray]:
        """Score checked queries a block at a time, so that memory stays bounded.

        Where queries depend on each other, all are one block.
        """
        items = self.representation
        n_bytes = 8 * (len(items.code) + items.embedding[:1].size)  # a row's scores and embedding
        parts: Iterable[slice] = blocks(len(X), n_bytes, multiple_of=network.batch_size)
        if not network.module.independent_queries:
            parts = [slice(len(X))]
        for part in parts:
            yield network.predict(self.state, network.encode(X[part]), self.weight)


def _recode(given: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Rename class ``k`` to ``codes[k]``; -1 stays."""
    recoded = given.copy()
    recoded[given >= 0] = codes[given[given >= 0]]
    return recoded
