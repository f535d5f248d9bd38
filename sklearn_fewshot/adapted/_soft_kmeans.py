"""Class means refined by a step of soft k-means (Ren et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.special import softmax

from ..network import FittedNetwork, Representation
from ..utils._blocks import block_size

OUTLIER_QUANTILE = 0.1  # of inlier scores: the score of the outlier cluster
LEAST_INLIERS = 1e-3  # expected among the unlabelled samples, for a mean over them to count fully


def soft_kmeans(
    network: FittedNetwork, means: Representation, examples: Representation, unlabelled: np.ndarray
) -> Representation:
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
    means : Representation
        Means of the labelled examples.
    examples : Representation
        Labelled examples; only their means matter here.
    unlabelled : ndarray of shape (n_samples, *embedding_shape)
        Embedded samples without labels.

    Returns
    -------
    refined : Representation
        Weights grow by the class probabilities of the samples.
    """
    return add_unlabelled(network, means, unlabelled, memberships(network, means, unlabelled))


def add_unlabelled(
    network: FittedNetwork,
    means: Representation,
    unlabelled: np.ndarray,
    weights: Iterable[tuple[slice, np.ndarray]],
) -> Representation:
    """Average labelled and weighted unlabelled samples of each class.

    Parameters
    ----------
    network, means, unlabelled
        As in :func:`soft_kmeans`.
    weights : iterable of slice and ndarray of shape (n_some_samples, n_classes)
        Some of the samples, and the weight of each in each class.

    Returns
    -------
    averaged : Representation
    """
    count = means.weight
    mean = means.embedding.reshape(len(count), -1)
    share, total = np.zeros(len(count)), np.zeros(mean.shape)
    mapped = as_items(network, unlabelled)
    for block, weight in weights:
        share += weight.sum(axis=0)
        total += weight.T @ mapped[block]
    mean = (count[:, None] * mean + total) / (count + share)[:, None]
    return means._replace(embedding=mean.reshape(means.embedding.shape), weight=count + share)


def as_items(network: FittedNetwork, rows: np.ndarray) -> np.ndarray:
    """Return embedded rows as a mean takes them in, such as scaled to unit length, and flat."""
    every = np.arange(len(rows))
    one_by_one = Representation.of_examples(rows, every, len(every))
    return network.condense(one_by_one).embedding.reshape(len(rows), -1)


def memberships(
    network: FittedNetwork, means: Representation, unlabelled: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield class probabilities of unlabelled samples, a block at a time.

    They sum to less than one: the rest is the probability of an outlier.
    """
    count, n_rows = means.weight, len(unlabelled)
    outlier = network.inlier_quantile(count, OUTLIER_QUANTILE).mean(keepdims=True)
    inverse_temperature = network.inverse_temperature(count)
    state = network.adapt(means)
    step = block_size(8 * len(count)) if network.module.independent_queries else n_rows
    for start in range(0, n_rows, max(1, step)):
        block = slice(start, start + step)
        logits = network.predict_uncorrected(state, unlabelled[block], len(count))
        logits = np.column_stack([logits, np.broadcast_to(outlier, len(logits))])
        yield block, softmax(inverse_temperature * logits, axis=1)[:, :-1]


def inlier_probabilities(
    network: FittedNetwork, means: Representation, unlabelled: np.ndarray
) -> np.ndarray:
    """Return the probability of each unlabelled sample not to be an outlier."""
    blocks = memberships(network, means, unlabelled)
    return np.concatenate([proba.sum(axis=1) for _, proba in blocks])
