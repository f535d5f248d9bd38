"""Floors: what a learner has to beat, scored on the same episodes."""

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


def support_floors(n_shot: int = 1) -> dict[str, Estimator]:
    """Return classifiers that know nothing but the support set.

    Parameters
    ----------
    n_shot : int, default=1
        Support examples of each class. One leaves no spread within the classes for a
        discriminant analysis, so that floor is there from two on.

    Returns
    -------
    floors : dict of str to classifier
        Unfitted, to be scored by :func:`~sklearn_fewshot.model_selection.episodic_score`.
    """
    floors: dict[str, Estimator] = {
        "nearest centroid": NearestCentroid(),
        "1-nearest neighbour": KNeighborsClassifier(n_neighbors=1),
        "logistic regression": LogisticRegression(max_iter=1000),
    }
    if n_shot > 1:
        floors["shrinkage LDA"] = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return floors


def discriminant_floor(X_base: ArrayLike, y_base: ArrayLike) -> LinearDiscriminantAnalysis:
    """Return the linear map that separates the base classes best.

    Nearest centroid behind it (``episodic_score(NearestCentroid(), X, y, preprocess=floor)``) is
    the least that meta-training has to beat: it uses the base classes without any.

    Parameters
    ----------
    X_base : array-like of shape (n_samples, n_features)
        Samples of the base classes.
    y_base : array-like of shape (n_samples,)
        Their labels.

    Returns
    -------
    floor : LinearDiscriminantAnalysis
        A fitted transformer; distances behind it are relative to the spread within classes, of
        which the covariance is shrunk (Ledoit and Wolf, 2004).
    """
    return LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(X_base, y_base)


class Floor(NamedTuple):
    """A classifier to beat, and what it stands behind.

    Parameters
    ----------
    preprocess : fitted transformer
        Transforms X first.
    classifier : classifier
        Fitted on every support set.
    """

    preprocess: Estimator
    classifier: Estimator


class FlatBehind:
    """Passes samples through fitted transformers and flattens what comes out.

    Parameters
    ----------
    transformers : list of fitted transformers
        Applied in turn.
    """

    def __init__(self, transformers: list[Estimator]) -> None:
        self.transformers = transformers

    def transform(self, X: Any) -> Any:
        """Return rows of shape (n_samples, n_features)."""
        for transformer in self.transformers:
            X = transformer.transform(X)
        X = X if hasattr(X, "ndim") else np.asarray(X)
        return X.reshape(len(X), -1) if X.ndim > 2 else X


def floors_beside(
    estimators: Mapping[str, Estimator], X: ArrayLike, n_shot: int, base: Estimator
) -> dict[str, Floor]:
    """Return the floors of estimators: raw, and behind the fitted transformers of each pipeline.

    Parameters
    ----------
    estimators : dict of str to estimator
        What is compared.
    X : array-like
        Samples, of which one is looked at: text or categories have no raw floors.
    n_shot : int
        Fewest support examples of a class.
    base : (X_base, y_base) or None
        Samples of the base classes, for the floor that uses them.

    Returns
    -------
    floors : dict of str to Floor
    """
    ends = {name: few_shot_end(estimator) for name, estimator in estimators.items()}
    behind = {
        f" behind {name}": FlatBehind(end.before)
        for name, end in ends.items()
        if end is not None and end.before
    }
    is_numeric = np.asarray(_safe_indexing(X, [0])).dtype.kind in "biuf"
    if is_numeric or not behind:
        behind = {"": FlatBehind([])} | behind
    floors = {}
    for suffix, preprocess in behind.items():
        for name, classifier in support_floors(n_shot).items():
            floors[name + suffix] = Floor(preprocess, classifier)
        if base is not None:
            X_base, y_base = base
            projection = discriminant_floor(preprocess.transform(X_base), y_base)
            steps = FlatBehind([preprocess, projection])
            floors[f"base-class LDA{suffix}"] = Floor(steps, NearestCentroid())
    return floors
