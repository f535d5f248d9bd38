"""Where zero-shot training starts: ridge regression from embeddings to class attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Of the mean variance of a feature. The first is taken where there is nothing to choose by.
PENALTIES = (1.0, 0.1, 0.3, 3.0, 10.0)
ATTRIBUTE_PENALTY = 1.0  # of the largest variance of a direction in attribute space
N_FOLDS = 5
MAX_ROWS = 20_000  # that the regression is computed from; of more, equal shares per class


class LinearMap(NamedTuple):
    """An affine map of rows.

    Parameters
    ----------
    weight : ndarray of shape (n_features, n_outputs)
        Its linear part.
    offset : ndarray of shape (n_outputs,)
        What is added.
    """

    weight: np.ndarray
    offset: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Map rows of shape (n_rows, n_features)."""
        return rows @ self.weight + self.offset

    def times(self, factor: float) -> LinearMap:
        """Return the map with all outputs multiplied."""
        return LinearMap(self.weight * factor, self.offset * factor)


class _Candidate(NamedTuple):
    penalty: float
    towards_identity: bool


def attribute_regression(
    features: np.ndarray,
    codes: np.ndarray,
    attributes: np.ndarray,
    rng: np.random.Generator | None,
) -> LinearMap:
    """Regress the attributes of the class on the features of a sample.

    Classes count equally. Where features and attributes have the same dimension, the map may also
    be shrunk towards the identity instead of zero: they may lie in one space, as embeddings of
    texts and of class names do.

    Parameters
    ----------
    features : float64 ndarray of shape (n_samples, n_features)
        Samples.
    codes : int ndarray of shape (n_samples,)
        Their classes, as rows of ``attributes``.
    attributes : float64 ndarray of shape (n_classes, n_attributes)
        Targets: vectors of unit length.
    rng : numpy.random.Generator or None
        Divides the classes into folds. The penalty, and what is shrunk towards, are those with
        the best accuracy in cross-validation: a map from the other folds, then the nearest
        attributes. None, or fewer than six classes: no choice, the penalty is 1.

    Returns
    -------
    regression : LinearMap
        Scaled so that the mean projection of a sample on its class's attributes is one.
    """
    classes = np.unique(codes)
    candidates = [_Candidate(penalty, False) for penalty in PENALTIES]
    if features.shape[1] == attributes.shape[1]:
        candidates += [_Candidate(penalty, True) for penalty in PENALTIES]
    best = candidates[0]
    if rng is not None and len(classes) >= 6:
        accuracy = np.zeros(len(candidates))
        for fold in np.array_split(rng.permutation(classes), min(N_FOLDS, len(classes) // 2)):
            held_out = np.isin(codes, fold)
            X, target = features[~held_out], codes[~held_out]
            for i, regression in enumerate(_regressions(X, target, attributes, candidates)):
                scores = regression(features[held_out]) @ attributes[fold].T
                accuracy[i] += class_accuracy(fold[scores.argmax(axis=1)], codes[held_out])
        best = candidates[int(np.argmax(accuracy))]
    (regression,) = _regressions(features, codes, attributes, [best])
    projection = class_mean(np.sum(regression(features) * attributes[codes], axis=1), codes)
    return regression.times(1.0 / projection) if projection > 0 else regression


def class_mean(values: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean over classes of the mean of each."""
    count = np.bincount(codes)
    return float(np.mean(np.bincount(codes, weights=values)[count > 0] / count[count > 0]))


def class_accuracy(predicted: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean over classes of the share of each that was recognised."""
    return class_mean((predicted == codes).astype(np.float64), codes)


def _regressions(
    X: np.ndarray, codes: np.ndarray, attributes: np.ndarray, candidates: list[_Candidate]
) -> Iterator[LinearMap]:
    """Solve for each candidate: one covariance for all."""
    count = np.bincount(codes)
    weight = 1.0 / (count[codes] * np.count_nonzero(count))
    mean = weight @ X
    centred = X - mean
    weighted = centred * weight[:, None]
    covariance = centred.T @ weighted  # (n_features, n_features)
    variance = np.trace(covariance)
    identity = np.eye(len(covariance))
    to_unit = 1.0 / np.sqrt(variance) if variance > 0 else 1.0
    with_target = weighted.T @ attributes[codes]  # (n_features, n_attributes)
    damping = _damping(attributes[np.flatnonzero(count)])
    for penalty, towards_identity in candidates:
        ridge = penalty * (variance / len(covariance) or 1.0)
        if towards_identity:
            solved = np.linalg.solve(
                covariance + ridge * identity, with_target + ridge * to_unit * identity
            )
        else:
            solved = np.linalg.solve(covariance + ridge * identity, with_target) @ damping
        yield LinearMap(solved, -mean @ solved)


def _damping(attributes: np.ndarray) -> np.ndarray:
    """Return the map that shrinks directions in which all attributes vary together."""
    covariance = attributes.T @ attributes / len(attributes)
    penalty = ATTRIBUTE_PENALTY * (np.linalg.norm(covariance, 2) or 1.0)
    return np.linalg.inv(covariance + penalty * np.eye(len(covariance)))
