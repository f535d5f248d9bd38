"""Floors: what a learner has to beat, scored on the same episodes."""

from __future__ import annotations

from typing import Any

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid


def support_floors(n_shot: int = 1) -> dict[str, Any]:
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
    floors: dict[str, Any] = {
        "nearest centroid": NearestCentroid(),
        "1-nearest neighbour": KNeighborsClassifier(n_neighbors=1),
        "logistic regression": LogisticRegression(max_iter=1000),
    }
    if n_shot > 1:
        floors["shrinkage LDA"] = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return floors


def discriminant_floor(X_base: Any, y_base: Any) -> LinearDiscriminantAnalysis:
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
