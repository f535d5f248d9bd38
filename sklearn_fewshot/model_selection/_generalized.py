"""Accuracies of base and new classes together: generalised zero-shot classification."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..calibration import harmonic_mean
from ..utils._validation import check_labels, encode_labels, is_known, label_text


class GeneralizedAccuracy(NamedTuple):
    """Accuracies of generalised zero-shot classification, each a mean over classes.

    Parameters
    ----------
    seen : float
        Of samples of the base classes.
    unseen : float
        Of samples of the new classes.
    harmonic_mean : float
        Of the two: high only if both are.

    See Also
    --------
    generalized_accuracy : Computes it.

    Examples
    --------
    >>> from sklearn_fewshot.model_selection import GeneralizedAccuracy
    >>> accuracy = GeneralizedAccuracy(seen=0.9, unseen=0.6, harmonic_mean=0.72)
    >>> seen, unseen, harmonic_mean = accuracy
    >>> accuracy.unseen
    0.6
    """

    seen: float
    unseen: float
    harmonic_mean: float


def generalized_accuracy(y_true: Any, y_pred: Any, base_classes: Any) -> GeneralizedAccuracy:
    """Score predictions among base and new classes together.

    Plain accuracy can be high for a classifier that never predicts a new class.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels, of base and of new classes.
    y_pred : array-like of shape (n_samples,)
        Predicted labels.
    base_classes : array-like of shape (n_base_classes,)
        Classes of the training data, such as ``learner.classes_``.

    Returns
    -------
    accuracy : GeneralizedAccuracy
        Mean accuracy of the base classes, of the new ones, and the harmonic mean of both.

    Raises
    ------
    ValueError
        If y_true has no base class, or no new one.

    See Also
    --------
    generalized_episodic_score : The same over many draws of examples.

    References
    ----------
    Y. Xian, C. H. Lampert, B. Schiele and Z. Akata, "Zero-Shot Learning: A Comprehensive
    Evaluation of the Good, the Bad and the Ugly", TPAMI 2019.

    Examples
    --------
    >>> from sklearn_fewshot.model_selection import generalized_accuracy
    >>> y_true, y_pred = ["cat", "cat", "dog", "whale"], ["cat", "cat", "cat", "dog"]
    >>> generalized_accuracy(y_true, y_pred, base_classes=["cat", "dog"])
    GeneralizedAccuracy(seen=0.5, unseen=0.0, harmonic_mean=0.0)
    """
    y_true = check_labels(y_pred, y_true, names=("y_pred", "y_true"))
    y_pred = check_labels(y_true, y_pred, names=("y_true", "y_pred"))
    classes, codes = encode_labels(y_true)
    count = np.bincount(codes)
    hits = np.bincount(codes, weights=y_pred == y_true) / count
    is_seen = is_known(classes, np.asarray(base_classes))
    if is_seen.all() or not is_seen.any():
        raise ValueError(
            "generalized_accuracy needs samples of base and of new classes. Got "
            f"{label_text(classes)}, of which {int(is_seen.sum())} are base classes."
        )
    seen, unseen = float(hits[is_seen].mean()), float(hits[~is_seen].mean())
    return GeneralizedAccuracy(seen, unseen, float(harmonic_mean(seen, unseen)))
