"""Pipelines whose prediction methods take a support set."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from joblib import Memory
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.metaestimators import available_if

from ..utils._typing import ArrayLike, Estimator, Label, PathLike, Refinement
from ._adapt import adapt, adapt_end
from ._learner import is_fitted
from ._support import check_support_pair
from ._unlabelled import DEFAULT
from ._walk import Path, walk

F = TypeVar("F", bound=Callable[..., Any])


def _if_end_has(name: str) -> Callable[[F], F]:
    """Decorate methods that are there only if the last step is fitted and has the method."""

    def has(pipeline: Any) -> bool:
        path = walk(pipeline)
        if not (hasattr(path.end, name) and is_fitted(path.end)):
            return False
        # More examples come to an adapted pipeline; another would have to fit its transformers.
        is_adapted = all(isinstance(part, FrozenEstimator) for part in path.transformers)
        return is_adapted or name != "partial_fit"

    return cast(Callable[[F], F], available_if(has))


class FewShotPipeline(Pipeline):
    """A pipeline whose prediction methods take a support set and transform it as well.

    ``pipe.predict(X, X_support=..., y_support=...)`` equals
    ``adapt(pipe, X_support, y_support).predict(X)``. A plain
    :class:`~sklearn.pipeline.Pipeline` passes the support on untransformed, or drops it; learners
    raise an error in both cases. ``FewShotPipeline(pipe.steps)`` makes one of a fitted pipeline.
    Pairs (:class:`SiameseNetClassifier`) pass through the transformers as well.

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers and a learner.
    transform_input : list of str or None, default=None
        As in :class:`~sklearn.pipeline.Pipeline`.
    memory : str, joblib.Memory or None, default=None
        As in :class:`~sklearn.pipeline.Pipeline`.
    verbose : bool, default=False
        As in :class:`~sklearn.pipeline.Pipeline`.

    See Also
    --------
    make_fewshot_pipeline : Names the steps after their types.
    adapt : The same without the subclass.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_fewshot import FewShotPipeline, ProtoNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=1, validation_fraction=0.0, random_state=0)
    >>> pipe = FewShotPipeline([("scale", StandardScaler()), ("learn", learner)])
    >>> support = {"X_support": X[[0, 50, 100]], "y_support": ["setosa", "versicolor", "virginica"]}
    >>> pipe.fit(X[:100], y[:100]).predict(X[[10]], **support)
    array(['setosa'], dtype='<U10')
    """

    def predict(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
        **params: Any,
    ) -> np.ndarray:
        """Predict classes or values, by the support set if there is one.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.predict`; of the last step's ``predict``.

        Returns
        -------
        y : ndarray of shape (n_queries,)
        """
        return self._call("predict", X, X_support, y_support, **params)

    def predict_proba(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
        **params: Any,
    ) -> np.ndarray:
        """Predict class probabilities; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.predict_proba`.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
        """
        return self._call("predict_proba", X, X_support, y_support, **params)

    @_if_end_has("predict_top")
    def predict_top(
        self,
        X: ArrayLike,
        k: int = 5,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict the most probable classes of each query, with their probabilities.

        Parameters
        ----------
        X : array-like
            Queries.
        k : int, default=5
            As in :meth:`FewShotClassifier.predict_top`.
        X_support, y_support : array-like or None, default=None
            Support set, given together.

        Returns
        -------
        labels, proba : ndarray of shape (n_queries, min(k, n_classes))
        """
        path, classifier = self._end_for(X_support, y_support)
        labels, proba = classifier.predict_top(path.transform(X), k)
        return labels, proba

    @_if_end_has("predict_set")
    def predict_set(
        self,
        X: ArrayLike,
        alpha: float = 0.1,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the set of classes that each query may be of.

        Parameters
        ----------
        X : array-like
            Queries.
        alpha : float, default=0.1
            As in :meth:`FewShotClassifier.predict_set`.
        X_support, y_support : array-like or None, default=None
            Support set, given together.

        Returns
        -------
        in_set : bool ndarray of shape (n_queries, n_classes)
        """
        path, classifier = self._end_for(X_support, y_support)
        return classifier.predict_set(path.transform(X), alpha)

    def decision_function(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
        **params: Any,
    ) -> np.ndarray:
        """Score queries against classes; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.decision_function`.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_classes) or (n_queries,)
        """
        return self._call("decision_function", X, X_support, y_support, **params)

    def score_samples(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> np.ndarray:
        """Score each query as an inlier of any class; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.

        Returns
        -------
        score : ndarray of shape (n_queries,)
        """
        return self._call("score_samples", X, X_support, y_support)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
        **params: Any,
    ) -> float:
        """Return the accuracy; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        y : array-like of shape (n_queries,)
            True labels.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.score`.

        Returns
        -------
        accuracy : float
        """
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        return self._call("score", X, X_support, y_support, y, **params)

    def _call(
        self,
        method: str,
        X: ArrayLike,
        X_support: ArrayLike | None,
        y_support: ArrayLike | None,
        *args: Any,
        **params: Any,
    ) -> Any:
        check_support_pair(X_support, y_support)
        if X_support is None or y_support is None:
            return getattr(super(), method)(X, *args, **params)
        path, classifier = adapt_end(self, X_support, y_support)
        # Not by the pipeline's own method: metadata routing would ask for requests of the
        # classifier, which has none.
        return getattr(classifier, method)(path.transform(X), *args, **params)

    def _end_for(
        self, X_support: ArrayLike | None, y_support: ArrayLike | None
    ) -> tuple[Path, Any]:
        """Return the way to the last step, and that step or its classifier of a support set."""
        check_support_pair(X_support, y_support)
        if X_support is None or y_support is None:
            path = walk(self)
            return path, path.end
        return adapt_end(self, X_support, y_support)

    # ------------------------------------------------------------------ new classes

    def adapt(
        self,
        X_support: ArrayLike,
        y_support: ArrayLike,
        *,
        include_base: bool = False,
        unlabelled: Label | None = None,
        refinement: Refinement = DEFAULT,
    ) -> FewShotPipeline:
        """Adapt to new classes: :func:`adapt` as a method, with its parameters.

        Parameters
        ----------
        X_support, y_support : array-like
            Examples of the new classes, not transformed, and their labels.
        include_base : bool, default=False
            Whether to keep the base classes together with the new ones.
        unlabelled : label or None, default=None
            The label in ``y_support`` that marks unlabelled examples.
        refinement : {"alpha_tim", "bd_cspn", "soft_kmeans"}, default="alpha_tim"
            How unlabelled examples refine class means.

        Returns
        -------
        adapted : FewShotPipeline
            Frozen copies of the transformers, and a :class:`FewShotClassifier` or
            :class:`FewShotRegressor`.
        """
        options: dict[str, Any] = {"include_base": include_base, "unlabelled": unlabelled}
        options["refinement"] = refinement
        return cast(FewShotPipeline, adapt(self, X_support, y_support, **options))

    @_if_end_has("partial_fit")
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None
    ) -> FewShotPipeline:
        """Add examples to an adapted pipeline, whose transformers stay as they are.

        Parameters
        ----------
        X, y, classes : array-like
            As in :meth:`FewShotClassifier.partial_fit`, samples not transformed. Regressors take
            no ``classes``.

        Returns
        -------
        self : FewShotPipeline
            Other threads may predict meanwhile.
        """
        path, options = walk(self), {} if classes is None else {"classes": classes}
        path.end.partial_fit(path.transform(X), y, **options)
        return self

    @_if_end_has("drop_classes")
    def drop_classes(self, labels: ArrayLike) -> FewShotPipeline:
        """Forget classes of an adapted pipeline.

        Parameters
        ----------
        labels : array-like of shape (n_labels,)
            Classes to forget.

        Returns
        -------
        self : FewShotPipeline
            Other threads may predict meanwhile.
        """
        walk(self).end.drop_classes(labels)
        return self

    # ------------------------------------------------------------------ verification

    @_if_end_has("pair_score")
    def pair_score(self, pairs: ArrayLike) -> np.ndarray:
        """Return the probability that the two samples of each pair are of the same class.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, ...)
            Pairs of samples, not transformed.

        Returns
        -------
        score : float64 ndarray of shape (n_pairs,)
            As that of :meth:`SiameseNetClassifier.pair_score`.
        """
        path = walk(self)
        return path.end.pair_score(_transform_pairs(path, pairs))

    @_if_end_has("predict_pairs")
    def predict_pairs(self, pairs: ArrayLike) -> np.ndarray:
        """Predict whether the two samples of each pair are of the same class.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, ...)
            Pairs of samples, not transformed.

        Returns
        -------
        same : int ndarray of shape (n_pairs,)
            1 or -1.
        """
        path = walk(self)
        return path.end.predict_pairs(_transform_pairs(path, pairs))

    @_if_end_has("calibrate_threshold")
    def calibrate_threshold(
        self, pairs: ArrayLike, y: ArrayLike, *, false_accept_rate: float | None = None
    ) -> FewShotPipeline:
        """Set the threshold of the learner on other pairs.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, ...)
            Pairs of samples, not transformed.
        y, false_accept_rate
            As in :meth:`SiameseNetClassifier.calibrate_threshold`.

        Returns
        -------
        self : FewShotPipeline
        """
        path = walk(self)
        pairs = _transform_pairs(path, pairs)
        path.end.calibrate_threshold(pairs, y, false_accept_rate=false_accept_rate)
        return self


def _transform_pairs(path: Path, pairs: ArrayLike) -> np.ndarray:
    """Pass both samples of each pair through the transformers."""
    pairs = np.asarray(pairs)
    if pairs.ndim < 3 or pairs.shape[1] != 2:
        raise ValueError(
            "Pairs must be an array of shape (n_pairs, 2, ...), such as np.stack([X_a, X_b], "
            f"axis=1). Got shape {pairs.shape}."
        )
    with warnings.catch_warnings():  # pairs have no place for the column names of a frame
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        sides = [np.asarray(path.transform(side)) for side in (pairs[:, 0], pairs[:, 1])]
    return np.stack(sides, axis=1)


def make_fewshot_pipeline(
    *steps: Estimator,
    memory: PathLike | Memory | None = None,
    transform_input: list[str] | None = None,
    verbose: bool = False,
) -> FewShotPipeline:
    """Build a :class:`FewShotPipeline`, naming the steps after their types.

    Parameters
    ----------
    *steps : estimators
        Transformers and a learner.
    memory : str, joblib.Memory or None, default=None
        As in :func:`sklearn.pipeline.make_pipeline`.
    transform_input : list of str or None, default=None
        As in :func:`sklearn.pipeline.make_pipeline`.
    verbose : bool, default=False
        As in :func:`sklearn.pipeline.make_pipeline`.

    Returns
    -------
    pipeline : FewShotPipeline

    See Also
    --------
    FewShotPipeline : The class of the result, with named steps.
    adapt : The same in two calls, for any pipeline.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_fewshot import ProtoNetClassifier, make_fewshot_pipeline
    >>> pipeline = make_fewshot_pipeline(StandardScaler(), ProtoNetClassifier(random_state=0))
    >>> list(pipeline.named_steps)
    ['standardscaler', 'protonetclassifier']
    """
    named = make_pipeline(*steps).steps
    return FewShotPipeline(named, memory=memory, transform_input=transform_input, verbose=verbose)
