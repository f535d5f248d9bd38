"""Baselines that a few-shot regressor has to beat, scored on the same episodes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.multioutput import MultiOutputRegressor

from ..utils._typing import ArrayLike, Estimator


def task_baselines(
    X_base: ArrayLike | None = None, y_base: ArrayLike | None = None, *, random_state: int = 0
) -> dict[str, Estimator]:
    """Return baselines of few-shot regression, for :func:`task_score`.

    Parameters
    ----------
    X_base : array-like of shape (n_samples, n_features) or None, default=None
        Samples of the base tasks.
    y_base : array-like of shape (n_samples,) or (n_samples, n_outputs) or None, default=None
        Their values. Without them there are the baselines of the support set only.
    random_state : int, default=0
        Seed of the boosted trees.

    Returns
    -------
    baselines : dict of str to regressor
        "mean of the support", "ridge on the support" (scikit-learn's default penalty); with base
        tasks "boosted trees on the base", one regressor for all tasks, and "the same + mean
        residual", which adds the mean residual of the ``n`` support examples, shrunk by
        ``n / (n + 1)``.

    See Also
    --------
    task_score : Scores them.

    Examples
    --------
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> from sklearn_fewshot.model_selection import task_baselines, task_score
    >>> X, y, tasks = make_sinusoids(n_tasks=100, n_samples=30, random_state=0)
    >>> for name, regressor in task_baselines().items():
    ...     print(name, task_score(regressor, X, y, tasks, n_episodes=100).mean < -3)
    mean of the support True
    ridge on the support True
    """
    baselines: dict[str, Estimator] = {
        "mean of the support": DummyRegressor(),
        "ridge on the support": Ridge(),
    }
    if X_base is None or y_base is None:
        return baselines
    trees: Estimator = HistGradientBoostingRegressor(random_state=random_state)
    if np.ndim(y_base) == 2:
        trees = MultiOutputRegressor(trees)
    trees.fit(X_base, y_base)
    return baselines | {
        "boosted trees on the base": ResidualRegressor(trees, adds_residual=False),
        "the same + mean residual": ResidualRegressor(trees),
    }


class ResidualRegressor(RegressorMixin, BaseEstimator):
    """A regressor of all tasks, shifted by the shrunk mean residual of a support set.

    Parameters
    ----------
    regressor : fitted regressor
        Of the base tasks. Clones share it.
    adds_residual : bool, default=True
        Whether to add the residual.
    """

    def __init__(self, regressor: Estimator, adds_residual: bool = True) -> None:
        self.regressor = regressor
        self.adds_residual = adds_residual

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Set the shift."""
        residual = np.asarray(y, dtype=float) - self.regressor.predict(X)
        self.shift_: Any = float(self.adds_residual) * residual.sum(axis=0) / (len(residual) + 1)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the shifted predictions."""
        return self.regressor.predict(X) + self.shift_

    def __sklearn_clone__(self) -> Self:
        """Clone without the shift; nothing changes the regressor."""
        return type(self)(self.regressor, self.adds_residual)
