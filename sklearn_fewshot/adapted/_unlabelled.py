"""Unlabelled examples of a support set, and how they refine class means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..network import FittedNetwork, Representation
from ..utils._typing import Refinement
from ..utils._validation import label_text
from ..utils._warnings import warn_user
from ._alpha_tim import alpha_tim
from ._bd_cspn import bd_cspn
from ._soft_kmeans import soft_kmeans

REFINEMENTS = {"alpha_tim": alpha_tim, "bd_cspn": bd_cspn, "soft_kmeans": soft_kmeans}
DEFAULT: Refinement = "alpha_tim"  # of these, the most accurate on average: docs/benchmarks


class Unlabelled(NamedTuple):
    """Unlabelled examples.

    Parameters
    ----------
    rows : ndarray of shape (n_unlabelled, *embedding_shape)
        Encoded examples.
    digest : float64 ndarray of shape (n_unlabelled,)
        Equal for equal examples.
    """

    rows: np.ndarray
    digest: np.ndarray

    @classmethod
    def none(cls, items: Representation) -> Unlabelled:
        """Return no examples, of the shape of others."""
        return cls(items.embedding[:0], np.empty(0))

    def join(self, other: Unlabelled) -> Unlabelled:
        """Return the examples of both."""
        return Unlabelled(*map(np.concatenate, zip(self, other, strict=True)))

    @property
    def distinct(self) -> np.ndarray:
        """The rows of distinct examples: copies of one tell no more than it."""
        first = np.unique(self.digest, return_index=True)[1]
        return self.rows[np.sort(first)]


def warn_if_unmarked(mark: Any, unlabelled: np.ndarray, classes: np.ndarray) -> None:
    """Warn if no example has the mark of unlabelled ones: it may have become a class."""
    if mark is None or len(unlabelled):
        return
    warn_user(
        f"unlabelled={mark!r} marks no example: y has {label_text(classes)}. If labels were "
        "encoded on the way, as ensembles do, the mark became a class: adapt before, or leave "
        "unlabelled at None."
    )


def refine(
    network: FittedNetwork,
    means: Representation,
    n_distinct: np.ndarray,
    shown: Representation,
    unlabelled: Unlabelled,
    refinement: str,
) -> tuple[Representation, np.ndarray]:
    """Refine class means by unlabelled samples.

    Copies of an example count once: class means weigh by their distinct examples, and of the
    unlabelled samples the distinct ones are taken.

    Parameters
    ----------
    network : FittedNetwork
        Compares with means.
    means : Representation
        Means of the labelled examples.
    n_distinct : ndarray of shape (n_classes,)
        Distinct labelled examples of each class.
    shown : Representation
        The labelled examples that are kept.
    unlabelled : Unlabelled
        Embedded samples without labels.
    refinement : str
        How: a name of ``REFINEMENTS``.

    Returns
    -------
    refined : Representation
        Weights grow with the unlabelled samples of a class.
    n_distinct : float64 ndarray of shape (n_classes,)
        Grows likewise.
    """
    if not len(unlabelled.rows):
        return means, n_distinct
    examples = join_examples(means, shown)
    counted = means._replace(weight=n_distinct.astype(float))
    refined = REFINEMENTS[refinement](network, counted, examples, unlabelled.distinct)
    return refined, refined.class_count


def join_examples(means: Representation, shown: Representation) -> Representation:
    """Return the examples of classes that have all of theirs kept, and the means of the others.

    Which examples of a class are kept depends on their order.
    """
    n_shown = np.bincount(shown.code, shown.weight, means.n_classes)
    is_whole = n_shown == means.class_count
    return means.take(~is_whole[means.code]).join(shown.take(is_whole[shown.code]))
