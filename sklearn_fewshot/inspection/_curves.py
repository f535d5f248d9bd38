"""Accuracy against the number of examples, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model_selection import EpisodicResult, ShotCurve, shot_curve
from ..model_selection._result import PERCENT, count_text
from ..utils._html import range_text
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator, RandomState, Scoring, Way
from ._axes import COLORS, MARKERS, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ShotCurveDisplay:
    """Figure of shot curves: the score against the number of examples of each class.

    A band around each curve is the 95 % interval over episodes, and the legend says so. It is
    the uncertainty of the mean for these classes and this trained model; other classes or another
    training may well lie outside.

    It is recommended to use :meth:`from_estimator` or :meth:`from_curves`.

    Parameters
    ----------
    curves : dict of str to ShotCurve
        Curves, by the name that the legend gives them. All of the same scoring, ways, queries and
        number of episodes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : list of matplotlib Line2D
        The mean scores of each curve.
    bands_ : list of matplotlib PolyCollection
        The interval of each curve; empty for curves of a single episode, which have none.

    See Also
    --------
    sklearn_fewshot.model_selection.shot_curve : Computes a curve.
    sklearn.model_selection.LearningCurveDisplay : The score against the rows trained on.

    Notes
    -----
    Curves of one ``random_state`` (and the same data and ``n_shots``) were measured on the same
    episodes. Their difference then has a narrower interval than the bands suggest:
    :func:`~sklearn_fewshot.model_selection.compare_on_episodes` pairs them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    >>> from sklearn_fewshot.inspection import ShotCurveDisplay
    >>> from sklearn_fewshot.model_selection import shot_curve
    >>> X, y = make_blobs(400, centers=8, cluster_std=2.0, random_state=0)
    >>> task = {"n_shots": (1, 5, 20), "n_episodes": 50}
    >>> curves = {
    ...     "centroid": shot_curve(NearestCentroid(), X, y, **task),
    ...     "neighbour": shot_curve(KNeighborsClassifier(1), X, y, **task),
    ... }
    >>> ShotCurveDisplay.from_curves(curves)
    <...>
    >>> plt.show()
    """

    def __init__(self, curves: Mapping[str, ShotCurve]) -> None:
        self.curves = curves

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_shots: Sequence[int] = (1, 2, 5, 10, 20),
        n_way: Way = 5,
        n_query: int = 15,
        n_episodes: int = 600,
        scoring: Scoring = "accuracy",
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
        random_state: RandomState = 0,
        preprocess: Estimator = None,
        n_jobs: int | None = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ShotCurveDisplay:
        """Score an estimator with several numbers of examples and draw the curve.

        Parameters
        ----------
        estimator : fitted learner, or any classifier
            As in :func:`~sklearn_fewshot.model_selection.episodic_score`.
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples.
        y : array-like of shape (n_samples,)
            Their labels.
        n_shots : sequence of int, default=(1, 2, 5, 10, 20)
            Numbers of support examples of each class. Every class needs the largest of them, and
            ``n_query`` more.
        n_way : int, (low, high) or "all", default=5
            Classes in an episode.
        n_query : int, default=15
            Queries of each class.
        n_episodes : int, default=600
            Number of episodes.
        scoring : str or callable, default="accuracy"
            Score of an episode, as in :func:`~sklearn_fewshot.model_selection.episodic_score`.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups that support and queries of an episode never share.
        tasks : array-like of shape (n_samples,) or None, default=None
            Tasks, one of which the classes of an episode are from.
        random_state : int, RandomState instance or None, default=0
            Seed of the episodes.
        preprocess : fitted transformer or None, default=None
            Transforms X first.
        n_jobs : int or None, default=None
            Processes to divide the episodes between.
        name : str or None, default=None
            Name in the legend; None for the class of the estimator.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : ShotCurveDisplay

        Raises
        ------
        ValueError
            If an array or a parameter is malformed, or a class is too small for the episodes.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        curve = shot_curve(
            estimator,
            X,
            y,
            n_shots=n_shots,
            n_way=n_way,
            n_query=n_query,
            n_episodes=n_episodes,
            scoring=scoring,
            groups=groups,
            tasks=tasks,
            random_state=random_state,
            preprocess=preprocess,
            n_jobs=n_jobs,
        )
        return cls.from_curves({type(estimator).__name__ if name is None else name: curve}, ax=ax)

    @classmethod
    def from_curves(
        cls, curves: Mapping[str, ShotCurve], *, ax: Axes | None = None
    ) -> ShotCurveDisplay:
        """Draw curves that are computed already.

        Parameters
        ----------
        curves : dict of str to ShotCurve
            Curves, by the name that the legend gives them. They must be of the same scoring, ways,
            queries and number of episodes; the numbers of examples may differ.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : ShotCurveDisplay

        Raises
        ------
        TypeError
            If this is not a dict of curves.
        ValueError
            If the curves were measured under different conditions.
        """
        check_matplotlib_support(f"{cls.__name__}.from_curves")
        _check_curves(cls.__name__, curves)
        return cls(dict(curves)).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> ShotCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : ShotCurveDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        for place, (name, curve) in enumerate(self.curves.items()):
            self._draw_curve(name, curve, COLORS[place % len(COLORS)], MARKERS[place % 11])
        self._label_axes()
        return self

    def _draw_curve(self, name: str, curve: ShotCurve, color: str, marker: str) -> None:
        times = 100 if _is_share(curve.results[0]) else 1
        mean = times * curve.mean
        low, high = times * np.array([result.interval for result in curve.results]).T
        look: dict[str, Any] = {"color": color, "marker": marker, "label": name}
        self.lines_ += self.ax_.plot(curve.n_shots, mean, markersize=5, **look)
        if np.isfinite(low).all():
            band = self.ax_.fill_between(curve.n_shots, low, high, color=color, alpha=0.25)
            self.bands_.append(band)

    def _label_axes(self) -> None:
        from matplotlib.ticker import NullLocator

        first = next(iter(self.curves.values())).results[0]
        shots = sorted({n_shot for curve in self.curves.values() for n_shot in curve.n_shots})
        self.ax_.set_xscale("log")
        self.ax_.xaxis.set_minor_locator(NullLocator())
        self.ax_.set_xticks(shots, [str(n_shot) for n_shot in shots])
        self.ax_.set(
            xlabel="examples of each class",
            ylabel=f"{first.scoring} in %" if _is_share(first) else first.scoring,
            title=f"{range_text(first.n_way)}-way, "
            f"{count_text(first.n_query, 'query', 'queries')} of each class",
        )
        self.ax_.grid(axis="y", alpha=0.3)
        title = f"band: {first.interval_over().name}" if self.bands_ else None
        self.ax_.legend(title=title, fontsize="small", title_fontsize="small")


def _check_curves(owner: str, curves: Any) -> None:
    """Raise unless these are curves that one legend can speak for."""
    is_dict = isinstance(curves, Mapping) and len(curves) > 0
    if not is_dict or not all(isinstance(curve, ShotCurve) for curve in curves.values()):
        raise TypeError(
            f"{owner}.from_curves takes a dict of names and shot curves, at least one. Got "
            f"{curves!r}."
        )
    conditions = {name: _conditions(curve) for name, curve in curves.items()}
    for name, found in conditions.items():
        first = next(iter(conditions))
        if found != conditions[first]:
            raise ValueError(
                f"The curves of {owner}.from_curves must have the same conditions. {first!r} has "
                f"{conditions[first]}, {name!r} has {found}. Draw them in axes of their own."
            )


def _conditions(curve: ShotCurve) -> str:
    """Return what a legend says of all curves."""
    result = curve.results[0]
    return (
        f"{result.scoring}, {range_text(result.n_way)}-way, "
        f"{count_text(result.n_query, 'query', 'queries')}, "
        f"{count_text(len(result.scores), 'episode', 'episodes')}"
    )


def _is_share(result: EpisodicResult) -> bool:
    return result.scoring.startswith(PERCENT)
