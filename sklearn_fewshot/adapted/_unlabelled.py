"""Unlabelled examples of a support set, and how they refine class means."""

from __future__ import annotations

from typing import Any

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
    shown: Representation,
    unlabelled: np.ndarray,
    refinement: str,
) -> Representation:
    """Refine class means by unlabelled samples.

    Parameters
    ----------
    network : FittedNetwork
        Compares with means.
    means : Representation
        Means of the labelled examples.
    shown : Representation
        The labelled examples that are kept.
    unlabelled : ndarray of shape (n_samples, *embedding_shape)
        Embedded samples without labels.
    refinement : str
        How: a name of ``REFINEMENTS``.

    Returns
    -------
    refined : Representation
        Weights grow with the unlabelled samples of a class.
    """
    if not len(unlabelled):
        return means
    examples = join_examples(means, shown)
    return REFINEMENTS[refinement](network, means, examples, unlabelled)


def join_examples(means: Representation, shown: Representation) -> Representation:
    """Return the examples of classes that have all of theirs kept, and the means of the others.

    Which examples of a class are kept depends on their order.
    """
    n_shown = np.bincount(shown.code, minlength=means.n_classes)
    is_whole = n_shown == means.class_count
    return means.take(~is_whole[means.code]).join(shown.take(is_whole[shown.code]))
