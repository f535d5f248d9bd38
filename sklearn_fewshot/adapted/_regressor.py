"""Regressors of a support set, over a frozen network."""

from __future__ import annotations

import copy
import threading
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from ..network import Observations, RegressionNetwork, State, ridge_network
from ..utils._blocks import blocks
from ..utils._carried import raise_if_support_was_carried
from ..utils._fresh import unfitted_copy
from ..utils._sklearn import HasMethods
from ..utils._targets import check_targets, scales_of
from ..utils._typing import ArrayLike, Estimator
from ..utils._validation import check_like_fitted, check_X
from ._learner import SharesLearner, check_learner, check_same_network, share_or_clone

# Held while a support set is joined to the last one, so that no thread's examples are lost.
WRITING = threading.RLock()


class Scale(NamedTuple):
    """What turns standardised values back.

    Parameters
    ----------
    mean, scale : float64 ndarray of shape (n_outputs,)
        Of the base targets; without a learner, of the support set.
    ndim : int
        1 for values of shape (n_samples,), 2 for (n_samples, n_outputs).
    """

    mean: np.ndarray
    scale: np.ndarray
    ndim: int

    def standardise(self, y: np.ndarray) -> np.ndarray:
        """Return values in the units of the network."""
        return (y - self.mean) / self.scale

    def restore(self, values: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and standard deviations in the units of y."""
        parts = values * self.scale + self.mean, std * self.scale
        values, std = (part[:, 0] if self.ndim == 1 else part for part in parts)
        return values, std


class TaskState(NamedTuple):
    """The support set of a regressor, adapted to; never changed, only exchanged as a whole.

    Parameters
    ----------
    rows : ndarray of shape (n_support, *encoded_shape)
        Encoded examples.
    y : float64 ndarray of shape (n_support, n_outputs)
        Their values.
    scale : Scale
        What standardises them.
    state : dict of ndarray
        The state of the network.
    origin : ndarray of shape (*encoded_shape,) or None
        Subtracted from encoded rows: without a learner, the mean of the examples.
    """

    rows: np.ndarray
    y: np.ndarray
    scale: Scale
    state: State
    origin: np.ndarray | None = None

    def centre(self, rows: np.ndarray) -> np.ndarray:
        """Return encoded rows relative to the origin."""
        return rows if self.origin is None else rows - self.origin


class FewShotRegressor(RegressorMixin, SharesLearner):
    """Predict values of a task from a few of its examples, through a frozen learner.

    ``fit`` adapts the learner to the support set. This is what :meth:`RidgeNetRegressor.adapt`
    returns, and an ordinary regressor to scikit-learn.

    Parameters
    ----------
    learner : fitted learner or None, default=None
        Embeds and predicts. It is used as it is at the time of ``fit`` and never changed; refitting
        it later leaves this regressor alone. None: ridge regression on the raw rows, with a penalty
        of 1 on the coefficients alone, of values that are standardised by the support set.

    Attributes
    ----------
    n_support_ : int
        Examples of the support set.
    n_outputs_ : int
        Number of targets.
    state_ : dict of ndarray
        What ``learner.module_.adapt`` made of the support set. The first axis of each array has
        length one.
    n_features_in_ : int
        Features (channels for series and pictures).
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X had any.
    input_shape_ : tuple of int
        Shape of one sample.

    See Also
    --------
    RidgeNetRegressor : Trains the network on other tasks.
    adapt : The same for whole pipelines and searches.

    Examples
    --------
    >>> from sklearn_fewshot import FewShotRegressor
    >>> regressor = FewShotRegressor().fit([[-1.0], [0.0], [1.0]], [1.0, 3.0, 5.0])
    >>> regressor.partial_fit([[2.0]], [7.0]).predict([[0.5]]).round()
    array([4.])
    """

    _network: RegressionNetwork
    _parameter_constraints: dict[str, list[Any]] = {"learner": [HasMethods(["adapt", "fit"]), None]}

    def __init__(self, learner: Estimator = None) -> None:
        self.learner = learner

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Set the support.

        Parameters
        ----------
        X : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Support examples, at least one.
        y : array-like of shape (n_support,) or (n_support, n_outputs)
            Their values.

        Returns
        -------
        self : FewShotRegressor

        Raises
        ------
        NotFittedError
            If the learner is not fitted.
        ValueError
            If the arrays are malformed or do not fit the learner.
        """
        fresh = unfitted_copy(self)._start(X)
        fresh._add(X, y)
        self.__dict__ = fresh.__dict__
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Add examples; equals ``fit`` on everything seen.

        Parameters
        ----------
        X : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Further support examples.
        y : array-like of shape (n_support,) or (n_support, n_outputs)
            Their values.

        Returns
        -------
        self : FewShotRegressor

        Raises
        ------
        ValueError
            If the arrays are malformed or do not fit the learner, or if the learner was fitted
            again since.
        """
        with WRITING:  # or two threads might both begin
            if not self.__sklearn_is_fitted__():
                return self.fit(X, y)
        check_same_network(self.learner, self._network, type(self).__name__)
        self._add(X, y)
        return self

    def predict(
        self, X: ArrayLike, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the values of queries.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        return_std : bool, default=False
            Whether to return standard deviations, too: calibrated on held-out tasks, by the number
            of examples.

        Returns
        -------
        y : float64 ndarray of shape (n_queries,) or (n_queries, n_outputs)
            Of as many dimensions as in ``fit`` of the learner.
        std : float64 ndarray of the same shape
            Only if ``return_std``.
        """
        support = self._current()
        X = check_like_fitted(self, X)
        self._network.warn_of_range(X)
        values, std = support.scale.restore(*self._predict(X, support))
        return (values, std) if return_std else values

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination, R2.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        y : array-like of shape (n_queries,) or (n_queries, n_outputs)
            True values.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.

        Returns
        -------
        score : float
        """
        raise_if_support_was_carried(given=False)
        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))

    # ------------------------------------------------------------------ the support set

    @property
    def n_support_(self) -> int:
        """Examples of the support set."""
        return len(self._current().rows)

    @property
    def n_outputs_(self) -> int:
        """Number of targets."""
        return len(self._current().scale.mean)

    @property
    def state_(self) -> State:
        """What the network made of the support set: arrays by name."""
        return {name: value.copy() for name, value in self._current().state.items()}

    def _start(self, X: Any) -> Self:
        """Take over the network and what it says of its input."""
        if self.learner is None:
            self.input_shape_ = check_X(self, X, reset=True, input_shape=None).shape[1:]
            return self
        what = f"The 'learner' parameter of {type(self).__name__}"
        check_learner(self.learner, what)
        if not isinstance(self.learner._network, RegressionNetwork):
            raise TypeError(
                f"{what} must be a fitted regressor, such as RidgeNetRegressor. Got "
                f"{type(self.learner).__name__}: use FewShotClassifier."
            )
        self.input_shape_ = self.learner.input_shape_
        self.n_features_in_ = self.learner.n_features_in_
        if hasattr(self.learner, "feature_names_in_"):
            self.feature_names_in_ = self.learner.feature_names_in_
        self._network = self.learner._network
        self._scale = Scale(self.learner.y_mean_, self.learner.y_scale_, self.learner._y_ndim)
        return self

    @classmethod
    def _of_items(cls, learner: Estimator, items: Observations) -> Self:
        """Build a regressor of standardised examples, or of none: the prior."""
        regressor = cls(learner)._start(None)
        network, scale = regressor._network, regressor._scale
        y = items.values * scale.scale + scale.mean
        regressor._support = TaskState(items.embedding, y, scale, network.adapt(items))
        return regressor

    def _for_encoded(self, rows: np.ndarray) -> Self:
        """Return this regressor, not fitted yet, for rows that its network has encoded already."""
        other = copy.copy(self)
        network = self._network.for_encoded_rows()
        assert isinstance(network, RegressionNetwork)
        other._network = network
        other.input_shape_, other.n_features_in_ = rows.shape[1:], rows.shape[1]
        other.__dict__.pop("feature_names_in_", None)
        return other

    def _readapt(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Return a regressor of another support set, through the same network."""
        other = copy.copy(self)
        other.__dict__.pop("_support", None)
        if self.learner is None:
            return other.fit(X, y)
        other._add(X, y)
        return other

    def _add(self, X: ArrayLike, y: ArrayLike) -> None:
        """Join examples to those that are there, or leave everything as it is and raise."""
        before = getattr(self, "_support", None)
        scale = getattr(self, "_scale", None if before is None else before.scale)
        n_outputs = None if scale is None else len(scale.mean)
        y = check_targets(X, y, type(self).__name__, n_outputs)
        if not hasattr(self, "_network"):
            self._network = ridge_network(int(np.prod(self.input_shape_)), y.size // len(y))
        X = check_like_fitted(self, X)
        self._network.warn_of_range(X)
        rows, ndim = self._network.encode(X), y.ndim if scale is None else scale.ndim
        y = y.reshape(len(y), -1)
        with WRITING:
            before = getattr(self, "_support", None)
            if before is not None:
                rows, y = np.concatenate([before.rows, rows]), np.concatenate([before.y, y])
            if self.learner is None:
                self._support = _ridge(self._network, rows, y, ndim)
            else:
                items = Observations(rows, self._scale.standardise(y))
                self._support = TaskState(rows, y, self._scale, self._network.adapt(items))

    def _predict(self, X: np.ndarray, support: TaskState) -> tuple[np.ndarray, np.ndarray]:
        """Predict checked queries a block at a time, in the units of the network."""
        network, parts = self._network, [slice(len(X))]
        if network.module.independent_queries:
            n_bytes = 8 * (len(support.rows) + support.rows[:1].size)
            parts = list(blocks(len(X), n_bytes, multiple_of=network.batch_size))
        found = [
            network.predict_values(
                support.state, support.centre(network.encode(X[part])), len(support.rows)
            )
            for part in parts
        ]
        values, std = (np.concatenate(part) for part in zip(*found, strict=True))
        return values, std

    def _current(self) -> TaskState:
        """Return the support set; readers take it once, since another thread may exchange it."""
        check_is_fitted(self)
        return self._support

    # ------------------------------------------------------------------ scikit-learn's protocol

    def __sklearn_is_fitted__(self) -> bool:
        """Whether a support set has been given."""
        return hasattr(self, "_support")

    def __sklearn_clone__(self) -> Self:
        """Clone without the support; a fitted learner is shared, since nothing here changes it."""
        unfitted = unfitted_copy(self)
        unfitted.learner = share_or_clone(self.learner)
        return unfitted

    def __sklearn_tags__(self) -> Any:
        """Return the tags: of one or several targets, tables, series or images."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        return tags


def _ridge(network: RegressionNetwork, rows: np.ndarray, y: np.ndarray, ndim: int) -> TaskState:
    """Adapt the network without a learner: of centred rows and values the intercept is zero."""
    scale, origin = Scale(y.mean(axis=0), scales_of(y), ndim), rows.mean(axis=0, dtype=np.float64)
    items = Observations(rows - origin, scale.standardise(y))
    return TaskState(rows, y, scale, network.adapt(items), origin)
