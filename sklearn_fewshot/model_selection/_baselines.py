"""Baselines that a learner has to beat, scored on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from ..utils._sklearn import _safe_indexing
from ..utils._typing import ArrayLike, Estimator
from ._evaluation import few_shot_end


def support_baselines(n_shot: int = 1) -> dict[str, Estimator]:
    """Return classifiers that are fitted on the support set only.

    Parameters
    ----------
    n_shot : int, default=1
        Support examples per class. Discriminant analysis needs a within-class covariance, so it is
        included from two on.

    Returns
    -------
    baselines : dict of str to classifier
        Unfitted, to be scored by :func:`~sklearn_fewshot.model_selection.episodic_score`.
    """
    baselines: dict[str, Estimator] = {
        "nearest centroid": NearestCentroid(),
        "1-nearest neighbour": KNeighborsClassifier(n_neighbors=1),
        "logistic regression": LogisticRegression(max_iter=1000),
    }
    if n_shot > 1:
        baselines["shrinkage LDA"] = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return baselines


def base_class_lda(X_base: ArrayLike, y_base: ArrayLike) -> LinearDiscriminantAnalysis:
    """Return the linear discriminant analysis of the base classes.

    Nearest centroid after it (``episodic_score(NearestCentroid(), X, y, preprocess=lda)``) is the
    baseline of meta-training: it uses the base classes without training a network.

    Parameters
    ----------
    X_base : array-like of shape (n_samples, n_features)
        Samples of the base classes.
    y_base : array-like of shape (n_samples,)
        Their labels.

    Returns
    -------
    lda : LinearDiscriminantAnalysis
        A fitted transformer; distances after it are relative to the within-class covariance,
        which is shrunk (Ledoit and Wolf, 2004).
    """
    return LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(X_base, y_base)


class Baseline(NamedTuple):
    """A classifier, and the transformers before it.

    Parameters
    ----------
    preprocess : fitted transformer
        Transforms X first.
    classifier : classifier
        Fitted on every support set.
    """

    preprocess: Estimator
    classifier: Estimator


class FlatAfter:
    """Passes samples through fitted transformers and flattens the output.

    Parameters
    ----------
    transformers : list of fitted transformers
        Applied in turn.
    """

    def __init__(self, transformers: list[Estimator]) -> None:
        self.transformers = transformers

    def transform(self, X: Any) -> Any:
        """Return rows of shape (n_samples, n_features); the padding of series becomes zero."""
        for transformer in self.transformers:
            X = transformer.transform(X)
        X = X if hasattr(X, "ndim") else np.asarray(X)
        if X.ndim == 3 and X.dtype.kind == "f":
            X = np.where(np.isnan(X), 0, X)
        return X.reshape(len(X), -1) if X.ndim > 2 else X


def find_baselines(
    estimators: Mapping[str, Estimator], X: ArrayLike, n_shot: int, base: Estimator
) -> dict[str, Baseline]:
    """Return the baselines of estimators: raw, and after the fitted transformers of each pipeline.

    Parameters
    ----------
    estimators : dict of str to estimator
        The estimators to compare.
    X : array-like
        Samples. The first decides: text or categories have no raw baselines.
    n_shot : int
        Smallest number of support examples of a class.
    base : (X_base, y_base) or None
        Samples of the base classes, for the baseline that uses them.

    Returns
    -------
    baselines : dict of str to Baseline
    """
    ends = {name: few_shot_end(estimator) for name, estimator in estimators.items()}
    transformers = {
        f" after {name}": FlatAfter(end.before)
        for name, end in ends.items()
        if end is not None and end.before
    }
    is_numeric = np.asarray(_safe_indexing(X, [0])).dtype.kind in "biuf"
    if is_numeric or not transformers:
        transformers = {"": FlatAfter([])} | transformers
    baselines = {}
    for suffix, preprocess in transformers.items():
        for name, classifier in support_baselines(n_shot).items():
            baselines[name + suffix] = Baseline(preprocess, classifier)
        if base is not None:
            X_base, y_base = base
            projection = base_class_lda(preprocess.transform(X_base), y_base)
            steps = FlatAfter([preprocess, projection])
            baselines[f"base-class LDA{suffix}"] = Baseline(steps, NearestCentroid())
    return baselines
