"""Pipelines whose prediction methods take a support set."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import Memory
from sklearn.pipeline import Pipeline, make_pipeline

from ..utils._typing import ArrayLike, Estimator, PathLike
from ._adapt import adapt
from ._support import check_support_pair


class FewShotPipeline(Pipeline):
    """A pipeline whose prediction methods take a support set and transform it as well.

    ``pipe.predict(X, X_support=..., y_support=...)`` equals
    ``adapt(pipe, X_support, y_support).predict(X)``. A plain
    :class:`~sklearn.pipeline.Pipeline` passes the support on untransformed, or drops it; learners
    raise an error in both cases.

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
        """Predict classes, of the support set if there is one.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.predict`.

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
        return getattr(adapt(self, X_support, y_support), method)(X, *args, **params)


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
