"""What a classifier stores of its support set, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..episodes import place_in_class
from ..network import FittedNetwork, Representation, State
from ..utils._blocks import blocks
from ._support import join_classes
from ._unlabelled import DEFAULT, refine

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
    shown : Representation
        The first labelled examples of each class.
    unlabelled : ndarray of shape (n_unlabelled, *embedding_shape)
        Unlabelled examples.
    refinement : str
        How these refine class means.
    given : int ndarray of shape (n_support,)
        Class of each example, in the order in which they were given; -1 for unlabelled ones.
    weight : float64 ndarray of shape (n_classes,)
        Examples of each class; unlabelled ones add their class probabilities.
    state : dict of ndarray
        The state of the network.
    """

    classes: np.ndarray
    class_count: np.ndarray
    representation: Representation
    shown: Representation
    unlabelled: np.ndarray
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
        shown: Representation | None = None,
        unlabelled: np.ndarray | None = None,
        *,
        refinement: str = DEFAULT,
        given: np.ndarray | None = None,
    ) -> SupportState:
        """Adapt a network to labelled items, with examples of them and unlabelled ones."""
        if shown is None:
            shown = Representation(items.embedding[:0], items.code[:0], items.weight[:0], 0)
        order = np.argsort(shown.code, kind="stable")
        shown = shown.take(order[place_in_class(shown.code[order]) < MOST_SHOWN])
        shown = shown._replace(n_classes=len(classes))
        unlabelled = items.embedding[:0] if unlabelled is None else unlabelled
        condensed = network.condense(items)
        refined = refine(network, condensed, shown, unlabelled, refinement)
        return cls(
            classes=classes,
            class_count=items.class_count.astype(int),
            representation=condensed,
            shown=shown,
            unlabelled=unlabelled,
            refinement=refinement,
            given=np.empty(0, dtype=np.intp) if given is None else given,
            weight=refined.class_count,
            state=network.adapt(refined),
        )

    def join(
        self,
        network: FittedNetwork,
        items: Representation,
        classes: np.ndarray,
        unlabelled: np.ndarray,
        given: np.ndarray,
    ) -> SupportState:
        """Return the state with more examples, of the same classes or others."""
        shown, _ = join_classes(self.shown, self.classes, items, classes)
        joined, union = join_classes(self.representation, self.classes, items, classes)
        before = _recode(self.given, np.searchsorted(union, self.classes))
        given = _recode(given, np.searchsorted(union, classes))
        return SupportState.of(
            network,
            joined,
            union,
            shown,
            np.concatenate([self.unlabelled, unlabelled]),
            refinement=self.refinement,
            given=np.concatenate([before, given]),
        )

    def select(self, network: FittedNetwork, keep: np.ndarray) -> SupportState:
        """Return the state of some of the classes, bool of shape (n_classes,)."""
        codes, n_classes = np.cumsum(keep) - 1, int(keep.sum())
        items, shown = (
            part.take(keep[part.code]).recode(codes, n_classes)
            for part in (self.representation, self.shown)
        )
        given = self.given[(self.given < 0) | keep[self.given]]
        return SupportState.of(
            network,
            items,
            self.classes[keep],
            shown,
            self.unlabelled,
            refinement=self.refinement,
            given=_recode(given, codes),
        )

    def transduce(self, network: FittedNetwork) -> np.ndarray:
        """Return the class of each example, in the order given; of unlabelled ones as predicted."""
        codes = self.given.copy()
        logits = self.score_blocks(network.for_encoded_rows(), self.unlabelled)
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
