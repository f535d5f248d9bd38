"""One task of a regression as a figure: a function, of which a few values are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator
from ._axes import COLORS, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_POINTS = 200  # of a curve, unless they are given
Z_90 = 1.645  # intervals of 90 %


class TaskDisplay:
    """Figure of a task with one feature: its examples, and the curves that regressors predict.

    It is recommended to use :meth:`from_estimators`.

    Parameters
    ----------
    x : ndarray of shape (n_points,)
        Where the curves are known, ascending.
    curves : dict of str to (values, std)
        By label in the legend, predicted values of shape (n_points,) and their standard deviations,
        or None.
    x_support, y_support : ndarray of shape (n_support,)
        Examples of the task.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : list of matplotlib Line2D
        The curves.

    See Also
    --------
    EpisodeDisplay : An episode of classification.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_fewshot import RidgeNetRegressor
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> from sklearn_fewshot.inspection import TaskDisplay
    >>> X, y, tasks = make_sinusoids(n_tasks=200, random_state=0)
    >>> learner = RidgeNetRegressor(max_epochs=3, random_state=0).fit(X, y, tasks=tasks)
    >>> regressors = {f"{n} examples": learner.adapt(X[:n], y[:n]) for n in (2, 5)}
    >>> TaskDisplay.from_estimators(regressors, X[:5], y[:5])
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        x: np.ndarray,
        curves: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
        x_support: np.ndarray,
        y_support: np.ndarray,
    ) -> None:
        self.x = x
        self.curves = curves
        self.x_support = x_support
        self.y_support = y_support

    @classmethod
    def from_estimators(
        cls,
        regressors: Mapping[str, Estimator],
        X_support: ArrayLike,
        y_support: ArrayLike,
        *,
        X: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> TaskDisplay:
        """Predict the curves and draw them.

        Parameters
        ----------
        regressors : dict of str to fitted regressor
            By label in the legend. Those of ``adapt`` have an interval of 90 % around the curve;
            any other regressor of one feature is drawn without.
        X_support : array-like of shape (n_support, 1)
            Examples of the task.
        y_support : array-like of shape (n_support,)
            Their values.
        X : array-like of shape (n_points, 1) or None, default=None
            Where to predict; None for 200 points over the examples and half their range beside.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : TaskDisplay

        Raises
        ------
        ValueError
            If there is more than one feature or target.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimators")
        support, values = np.asarray(X_support, dtype=float), np.asarray(y_support, dtype=float)
        points = _points_around(support) if X is None else np.asarray(X, dtype=float)
        for name, array in (("X_support", support), ("X", points)):
            if array.ndim != 2 or array.shape[1] != 1 or not len(array):
                raise ValueError(
                    f"{cls.__name__} draws tasks with one feature: {name} must be of shape (n, 1). "
                    f"Got {array.shape}."
                )
        if values.shape != (len(support),):
            raise ValueError(
                f"y_support must be of shape ({len(support)},), a value a sample. Got "
                f"{values.shape}."
            )
        points = np.sort(points, axis=0)
        curves = {label: _predict(one, points) for label, one in regressors.items()}
        return cls(points[:, 0], curves, support[:, 0], values).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> TaskDisplay:
        """Draw the curves and the examples.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : TaskDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = axes_or_new(ax)
        self.lines_ = []
        for place, (label, (values, std)) in enumerate(self.curves.items()):
            color = COLORS[place % len(COLORS)]
            self.lines_ += self.ax_.plot(self.x, values, color=color, label=label)
            if std is not None:
                band = values - Z_90 * std, values + Z_90 * std
                self.ax_.fill_between(self.x, *band, color=color, alpha=0.15, lw=0)
        self.ax_.plot(self.x_support, self.y_support, "o", color="black", label="examples")
        self.ax_.set(xlabel="x", ylabel="y", title="predicted values, with intervals of 90 %")
        self.ax_.legend()
        self.figure_ = self.ax_.figure
        return self


def _points_around(support: np.ndarray) -> np.ndarray:
    """Return points over the range of the examples and half of it beside."""
    low, high = (support.min(), support.max()) if support.size else (0.0, 0.0)
    margin = 0.5 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, N_POINTS)[:, None]


def _predict(regressor: Estimator, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return values and, if the regressor has them, standard deviations."""
    try:
        values, std = regressor.predict(X, return_std=True)
    except TypeError:  # it takes no such argument
        values, std = regressor.predict(X), None
    if np.ndim(values) == 2 and np.shape(values)[1] == 1:
        values, std = values[:, 0], None if std is None else std[:, 0]
    if np.ndim(values) != 1:
        raise ValueError(f"TaskDisplay draws one target. Got {np.shape(values)[1]}.")
    return values, std
