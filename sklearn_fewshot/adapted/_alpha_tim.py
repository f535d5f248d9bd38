"""Class means that make unlabelled samples informative of their classes (alpha-TIM)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from ..network import FittedNetwork, Representation, differentiate
from ..utils._blocks import blocks
from ._soft_kmeans import LEAST_INLIERS, add_unlabelled, inlier_probabilities, soft_kmeans

# All three were chosen on held-out classes of four data sets, with equally and with unequally
# frequent classes. Of the entropies, Shannon's (alpha = 1) gains most where classes are equally
# frequent, alpha = 3 where they are least so; the paper takes 2 to 7.
ALPHA = 2.0
# From soft k-means few steps suffice: more gained nothing, and lost where there were outliers.
N_STEPS = 10
# Share of the way to the samples that pull a class mean, if they are its share of all.
STEP = 0.2


def alpha_tim(
    network: FittedNetwork, means: Representation, examples: Representation, unlabelled: np.ndarray
) -> Representation:
    """Refine class means by the information of unlabelled samples about their classes.

    From the result of :func:`soft_kmeans`, gradient steps on the class means decrease (Boudiaf et
    al., 2020, equation 4, with the entropies of Veilleux et al., 2021, section 4) ::

        CE(labelled) - H(mean_j p_j) + mean_j H(p_j),    H(p) = (1 - sum_k p_k^alpha) / (alpha - 1)

    where ``p_j`` are the class probabilities of the unlabelled sample ``x_j``, at the temperature
    that was fitted on held-out classes, and CE is the mean over classes of the mean cross-entropy
    of their examples. With Shannon's entropy (alpha = 1) the second term drives the classes to be
    equally frequent; the larger alpha, the less it does once no class is rare.

    Then the samples are averaged in with these probabilities as weights, as in soft k-means: where
    the steps end, class means are further apart than the samples, which would make probabilities
    too confident and reject too many queries.

    The papers start at the means of the labelled examples, with a constant temperature, take
    hundreds of steps, and predict with their end. Here samples weigh as much as they are probably
    no outliers, by the outlier cluster of soft k-means.

    Parameters
    ----------
    network, means, unlabelled
        As in :func:`soft_kmeans`.
    examples : Representation
        Labelled examples; of classes whose examples are not kept, their mean.

    Returns
    -------
    refined : Representation
        Weights grow by the class probabilities of the samples.
    """
    moved = soft_kmeans(network, means, examples, unlabelled)
    inlier = inlier_probabilities(network, means, unlabelled)
    samples = Samples.join(examples, unlabelled, inlier)
    inverse_temperature = network.inverse_temperature(means.weight)
    slope = inverse_temperature * logit_slope(network, moved)
    if slope == 0.0:  # a single class
        return moved
    step = STEP * moved.n_classes / slope
    for _ in range(N_STEPS):
        gradient = loss_gradient(network, moved, samples, inverse_temperature)
        moved = moved._replace(embedding=moved.embedding - step * gradient)
    blocks_of_proba = probabilities(network, moved, unlabelled, inverse_temperature)
    weights = ((block, inlier[block, None] * proba) for block, proba in blocks_of_proba)
    return add_unlabelled(network, means, unlabelled, weights)


class Samples(NamedTuple):
    """Labelled and unlabelled samples, with their weights in the loss.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, *embedding_shape)
        Embedded samples.
    code : int ndarray of shape (n_samples,)
        Class of each; -1 for unlabelled ones.
    labelled : ndarray of shape (n_samples,)
        Weights in the cross-entropy, of sum one.
    unlabelled : ndarray of shape (n_samples,)
        Weights in the entropies, of sum one, or less if nearly all samples are outliers.
    """

    rows: np.ndarray
    code: np.ndarray
    labelled: np.ndarray
    unlabelled: np.ndarray

    @classmethod
    def join(cls, examples: Representation, unlabelled: np.ndarray, inlier: np.ndarray) -> Samples:
        """Join labelled examples and samples with probabilities to be inliers."""
        of_class = examples.weight / examples.class_count[examples.code] / examples.n_classes
        share = inlier / max(inlier.sum(), LEAST_INLIERS)
        return cls(
            np.concatenate([examples.embedding, unlabelled]),
            np.concatenate([examples.code, np.full(len(unlabelled), -1)]),
            np.concatenate([of_class, np.zeros(len(unlabelled))]),
            np.concatenate([np.zeros(len(of_class)), share]),
        )

    def take(self, part: slice) -> Samples:
        """Return some of the samples."""
        return Samples(*(values[part] for values in self))


def logit_slope(network: FittedNetwork, means: Representation) -> float:
    """Return how fast a logit grows as its class mean moves to a sample, by the distance of these.

    It is ``2 s`` for logits ``-s d^2``. For others it is estimated,
    with the class means as samples.
    """
    flat = means.embedding.reshape(means.n_classes, -1)
    way = np.linalg.norm(flat.sum(axis=0) - len(flat) * flat)
    gradient = differentiate(network, means, means.embedding, np.ones_like)
    return float(np.linalg.norm(gradient) / way) if way else 0.0


def loss_gradient(
    network: FittedNetwork, means: Representation, samples: Samples, inverse_temperature: float
) -> np.ndarray:
    """Return the derivative of the loss of :func:`alpha_tim` by the class means."""
    marginal = np.zeros(means.n_classes)
    for part, proba in probabilities(network, means, samples.rows, inverse_temperature):
        marginal += samples.unlabelled[part] @ proba
    correction = network.shot_correction(means.weight)

    def slope_of(some: Samples, logits: np.ndarray) -> np.ndarray:
        proba = softmax(inverse_temperature * (logits + correction), axis=1)
        target = np.arange(means.n_classes) == some.code[:, None]
        by_proba = entropy_slope(proba) - entropy_slope(marginal)
        by_logits = proba * (by_proba - (proba * by_proba).sum(axis=1, keepdims=True))
        of_labelled, of_unlabelled = some.labelled[:, None], some.unlabelled[:, None]
        by_logits = of_labelled * (proba - target) + of_unlabelled * by_logits
        return inverse_temperature * by_logits

    gradient = np.zeros(means.embedding.shape)
    for part in row_blocks(network, means, len(samples.rows)):
        some = samples.take(part)
        gradient += differentiate(network, means, some.rows, partial(slope_of, some))
    return gradient


def probabilities(
    network: FittedNetwork, means: Representation, rows: np.ndarray, inverse_temperature: float
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield class probabilities of embedded rows, a block at a time."""
    state, correction = network.adapt(means), network.shot_correction(means.weight)
    for part in row_blocks(network, means, len(rows)):
        logits = network.predict_uncorrected(state, rows[part], means.n_classes)
        yield part, softmax(inverse_temperature * (logits + correction), axis=1)


def entropy_slope(proba: np.ndarray) -> np.ndarray:
    """Return the derivative of the alpha-entropy by each probability."""
    return -ALPHA / (ALPHA - 1.0) * proba ** (ALPHA - 1.0)


def row_blocks(network: FittedNetwork, means: Representation, n_rows: int) -> Iterator[slice]:
    """Cut rows into blocks for which a gradient takes bounded memory."""
    if not network.module.independent_queries:
        return iter([slice(n_rows)])
    n_pairs = means.embedding.size
    n_values = means.n_classes + n_pairs // means.n_classes if network.is_exact else n_pairs
    return blocks(n_rows, 8 * n_values)
