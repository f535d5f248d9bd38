"""Baselines that a learner has to beat, scored on the same episodes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from ..utils._blocks import blocks
from ..utils._sklearn import _safe_indexing
from ..utils._typing import ArrayLike, Estimator
from ._draw import draw_episodes
from ._evaluation import evaluate, few_shot_end
from ._split import EpisodeSplit

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # inverse strengths of a logistic regression
TUNING_EPISODES = 30


class Centroids(NearestCentroid):
    """Nearest centroid, whose scores are what it predicts by.

    Those of its base class are divided by the spread within the class, of which one example has
    none. An interval over classes takes them to tell the second choice.
    """

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the negative distance to each centroid, shape (n_samples, n_classes)."""
        distance: np.ndarray = pairwise_distances(X, self.centroids_)
        return -distance


class Neighbour(KNeighborsClassifier):
    """The nearest neighbour, with scores."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Neighbour:
        """Remember examples."""
        super().fit(X, y)
        self.codes_ = np.searchsorted(self.classes_, y)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the negative distance to the nearest example of each class."""
        nearest = np.full((len(X), len(self.classes_)), np.inf)
        for part in blocks(len(X), 16 * self.n_samples_fit_):
            distance, place = self.kneighbors(X[part], n_neighbors=self.n_samples_fit_)
            rows = np.arange(len(distance))[:, None]
            np.minimum.at(nearest[part], (rows, self.codes_[place]), distance)
        return -nearest


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
        "nearest centroid": Centroids(),
        "nearest centroid, unit length": make_pipeline(Normalizer(), Centroids()),
        "1-nearest neighbour": Neighbour(n_neighbors=1),
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


def centred_unit_length(X_base: ArrayLike) -> Estimator:
    """Return a transformer that subtracts the mean of the base classes and scales to unit length.

    Nearest centroid after it is SimpleShot (Wang et al., 2019, CL2N): no class of the base is used,
    only their mean.

    Parameters
    ----------
    X_base : array-like of shape (n_samples, n_features)
        Samples of the base classes.

    Returns
    -------
    transformer : Pipeline
        Fitted.
    """
    return make_pipeline(StandardScaler(with_std=False), Normalizer()).fit(X_base)


def tuned_logistic_regression(
    X_base: ArrayLike, y_base: ArrayLike, n_way: int | tuple[int, int], n_shot: int
) -> LogisticRegression:
    """Return a logistic regression whose penalty is best on episodes of the base classes.

    Parameters
    ----------
    X_base : array-like of shape (n_samples, n_features)
        Samples of the base classes.
    y_base : array-like of shape (n_samples,)
        Their labels.
    n_way : int or (low, high)
        Classes per episode: the most, but at most those of the base.
    n_shot : int
        Support examples per class. Classes of fewer than one more take no part.

    Returns
    -------
    classifier : LogisticRegression
        Unfitted.
    """
    labels, codes, sizes = np.unique(y_base, return_inverse=True, return_counts=True)
    is_large = sizes > n_shot
    if is_large.sum() < 2:
        return LogisticRegression(max_iter=1000)
    kept = np.flatnonzero(is_large[codes])
    way = min(np.max(n_way), is_large.sum())
    split = EpisodeSplit(
        TUNING_EPISODES,
        n_way=int(way),
        n_shot=n_shot,
        n_query=int(min(15, sizes[is_large].min() - n_shot)),
        random_state=0,
    )
    X, y = _safe_indexing(X_base, kept), labels[codes[kept]]
    with warnings.catch_warnings():  # equal rows of the base make no score wrong
        warnings.filterwarnings("ignore", message=".*have an equal row")
        drawn = draw_episodes(split, X, y, None, None, "compare_on_episodes")
    scores = {}
    for penalty in PENALTIES:
        classifier = LogisticRegression(C=penalty, max_iter=1000)
        (scored,) = evaluate(classifier, drawn, [drawn.plan], scoring="accuracy", preprocess=None)
        scores[penalty] = scored.scores.mean()
    return LogisticRegression(C=max(scores, key=scores.__getitem__), max_iter=1000)


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
    estimators: Mapping[str, Estimator],
    X: ArrayLike,
    n_way: int | tuple[int, int],
    n_shot: int,
    base: Estimator,
) -> dict[str, Baseline]:
    """Return the baselines of estimators: raw, scaled, and after the transformers of each pipeline.

    Parameters
    ----------
    estimators : dict of str to estimator
        The estimators to compare.
    X : array-like
        Samples. The first decides: text or categories have no raw baselines.
    n_way : int or (low, high)
        Classes per episode.
    n_shot : int
        Smallest number of support examples of a class.
    base : (X_base, y_base) or None
        Samples of the base classes, for the baselines that use them.

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
        transformers = {"": FlatAfter([])} | _scaled(base) | transformers
    baselines = {}
    for suffix, preprocess in transformers.items():
        for name, classifier in support_baselines(n_shot).items():
            baselines[name + suffix] = Baseline(preprocess, classifier)
        if base is not None:
            tuned = tuned_logistic_regression(preprocess.transform(base[0]), base[1], n_way, n_shot)
            baselines[f"tuned logistic regression{suffix}"] = Baseline(preprocess, tuned)
            for name, steps in _base_class_transformers(preprocess, *base):
                baselines[name + suffix] = Baseline(FlatAfter(steps), Centroids())
    return baselines


def _scaled(base: Estimator) -> dict[str, FlatAfter]:
    """Return the standardisation by the base classes, if they are given."""
    if base is None:
        return {}
    raw = FlatAfter([])
    return {" scaled": FlatAfter([raw, StandardScaler().fit(raw.transform(base[0]))])}


def _base_class_transformers(
    preprocess: FlatAfter, X_base: ArrayLike, y_base: ArrayLike
) -> Iterator[tuple[str, list[Estimator]]]:
    """Yield what nearest centroid follows, fitted to the base classes."""
    X = preprocess.transform(X_base)
    lda = base_class_lda(X, y_base)
    yield "SimpleShot", [preprocess, centred_unit_length(X)]
    yield "base-class LDA", [preprocess, lda]
    unit = centred_unit_length(lda.transform(X))
    yield "base-class LDA, unit length", [preprocess, lda, unit]
