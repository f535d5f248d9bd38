"""Learners of new tasks from examples: fit, adapt and predict, written once for all."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from ..adapted import FewShotRegressor, check_support_pair
from ..utils._typing import ArrayLike
from ._docs import with_common_parameters
from ._tasks import LearnsTasks


@with_common_parameters
class BaseFewShotRegressor(RegressorMixin, LearnsTasks):
    """Base of the regressors that adapt to examples of new tasks: the public methods.

    A learner defines its parameters and ``_head`` (a head of ``sklearn_fewshot.nn.regression``, or
    one of your own) or ``_module``.

    See Also
    --------
    with_common_parameters : Completes the signature and the docstring of a learner.

    Examples
    --------
    A learner names its head and the head's parameters:

    >>> from sklearn_fewshot.base import BaseFewShotRegressor, with_common_parameters
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> from sklearn_fewshot.nn.regression import BayesianRidgeHead
    >>> @with_common_parameters(backbone="mlp")
    ... class FeatureRegressor(BaseFewShotRegressor):
    ...     def __init__(self, **common):
    ...         super().__init__(**common)
    ...
    ...     def _head(self):
    ...         return BayesianRidgeHead, {"n_targets": self.n_outputs_}
    >>> X, y, tasks = make_sinusoids(n_tasks=50, n_samples=20, random_state=0)
    >>> learner = FeatureRegressor(max_epochs=1, random_state=0).fit(X, y, tasks=tasks)
    >>> learner.adapt(X[:10], y[:10]).predict(X[:2]).shape
    (2,)
    """

    def fit(self, X: ArrayLike, y: ArrayLike, *, tasks: ArrayLike | None = None) -> Self:
        """Meta-train the network on episodes, each of which is a part of one task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, channels, length) or \
(n_samples, channels, height, width)
            Samples of the base tasks.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their values.
        tasks : array-like of shape (n_samples,) or None, default=None
            Label of each sample's task, of any type. None: all samples are of one task.

        Returns
        -------
        self : object
            Fitted learner. If ``fit`` raises, it is unchanged.

        Raises
        ------
        ValueError
            If a parameter or an array is malformed, or no task has two samples.
        ArithmeticError
            If training diverges: the loss is not finite.
        MemoryError
            If memory runs out; the message names the parameters to lower.
        OSError
            If the folder ``checkpoint`` cannot be written to.
        """
        return self._fit(X, y, tasks=tasks)

    def adapt(self, X_support: ArrayLike, y_support: ArrayLike) -> FewShotRegressor:
        """Build a regressor of a new task from a few examples.

        Parameters
        ----------
        X_support : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Examples of the task, at least one.
        y_support : array-like of shape (n_support,) or (n_support, n_outputs)
            Their values.

        Returns
        -------
        regressor : FewShotRegressor
            This learner is not changed.

        Raises
        ------
        ValueError
            If the arrays are malformed or do not match the data of ``fit``.

        Warns
        -----
        UserWarning
            If the support set has another range than the data of ``fit``, or lies far from them.
        """
        check_is_fitted(self)
        if X_support is None or y_support is None:
            check_support_pair(X_support, y_support)
            raise ValueError("adapt needs a support set: X_support and y_support.")
        return FewShotRegressor(self).fit(X_support, y_support)

    def predict(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
        return_std: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the values of queries.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        X_support, y_support : array-like or None, default=None
            Examples of the task, given together. None: of a task that nothing is known of, which
            the prior of the network predicts; after ``fit`` on a single task, that task.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        y : float64 ndarray of shape (n_queries,) or (n_queries, n_outputs)
            Of as many dimensions as in ``fit``.
        std : float64 ndarray of the same shape
            Only if ``return_std``.

        Raises
        ------
        ValueError
            If one half of the support set is missing or an array does not fit the learner.
        """
        return self._regressor(X_support, y_support).predict(X, return_std=return_std)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> float:
        """Return the coefficient of determination, R2.

        Without a support set it is that of the prior, in cross-validation too (``GroupKFold`` with
        ``groups=tasks``): it does not tell learners apart by how they adapt.
        :func:`~sklearn_fewshot.model_selection.task_score` on held-out tasks does.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        y : array-like of shape (n_queries,) or (n_queries, n_outputs)
            True values.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.
        X_support, y_support : array-like or None, default=None
            As in :meth:`predict`.

        Returns
        -------
        score : float
        """
        predicted = self._regressor(X_support, y_support).predict(X)
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def _regressor(
        self, X_support: ArrayLike | None, y_support: ArrayLike | None
    ) -> FewShotRegressor:
        """Return the regressor of a support set, or the one without."""
        check_is_fitted(self)
        check_support_pair(X_support, y_support)
        if X_support is None or y_support is None:
            return FewShotRegressor._of_items(self, self._without_support)
        return self.adapt(X_support, y_support)

    def __sklearn_tags__(self) -> Any:
        """Return the tags: of one or several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
