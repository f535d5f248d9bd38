"""Unlabelled examples of a support set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from ..network import FittedNetwork, Representation
from ..utils._blocks import block_size
from ..utils._validation import label_text
from ..utils._warnings import warn_user

OUTLIER_QUANTILE = 0.1  # of inlier scores: the score of the outlier cluster


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
    def share(self) -> np.ndarray:
        """What each counts for, shape (n_unlabelled,): all copies of one together count 1."""
        _, place, count = np.unique(self.digest, return_inverse=True, return_counts=True)
        return 1.0 / count[place]


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
    representation: Representation,
    n_distinct: np.ndarray,
    unlabelled: Unlabelled,
) -> tuple[Representation, np.ndarray]:
    """Refine class means by unlabelled samples, weighted by their class probabilities.

    A step of soft k-means with one more cluster for outliers (Ren et al., 2018, section 3.1):
    with the mean ``c_k`` of the ``n_k`` labelled examples and the probabilities ``w_jk`` of the
    classes for the unlabelled samples ``x_j``, ::

        refined c_k = (n_k c_k + sum_j w_jk f(x_j)) / (n_k + sum_j w_jk)

    The score of the outlier cluster is the 0.1 quantile of the scores of inliers; at it, a
    single class is as likely as an outlier.

    Parameters
    ----------
    network : FittedNetwork
        Compares with means.
    representation : Representation
        Means of the labelled examples.
    n_distinct : ndarray of shape (n_classes,)
        Distinct labelled examples of each class.
    unlabelled : Unlabelled
        Embedded samples without labels.

    Returns
    -------
    refined : Representation
        Weights grow by the class probabilities of the samples.
    n_distinct : float64 ndarray of shape (n_classes,)
        Grows likewise, by those of distinct samples.
    """
    rows, part = unlabelled.rows, unlabelled.share
    if not len(rows):
        return representation, n_distinct
    count = representation.weight
    outlier = network.inlier_quantile(n_distinct, OUTLIER_QUANTILE).mean(keepdims=True)
    inverse_temperature = network.inverse_temperature(n_distinct)
    state = network.adapt(representation)
    every = np.arange(len(rows))
    one_by_one = Representation.of_examples(rows, every, len(every))
    mapped = network.condense(one_by_one).embedding.reshape(len(every), -1)
    share, total = np.zeros(len(count)), np.zeros((len(count), mapped.shape[1]))
    n_distinct = n_distinct.copy()
    step = block_size(8 * len(count)) if network.module.independent_queries else len(every)
    for start in range(0, len(every), max(1, step)):
        some = slice(start, start + step)
        logits = network.predict_uncorrected(state, rows[some], len(count))
        logits = np.column_stack([logits, np.broadcast_to(outlier, len(logits))])
        proba = softmax(inverse_temperature * logits, axis=1)[:, :-1]
        share += proba.sum(axis=0)
        n_distinct += part[some] @ proba
        total += proba.T @ mapped[some]
    mean = representation.embedding.reshape(len(count), -1)
    mean = (count[:, None] * mean + total) / (count + share)[:, None]
    mean = mean.reshape(representation.embedding.shape)
    return representation._replace(embedding=mean, weight=count + share), n_distinct
