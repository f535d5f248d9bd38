"""Scores of single episodes, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..model_selection import EpisodicComparison, EpisodicResult, Interval
from ..model_selection._result import PERCENT, score_text
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike
from ._axes import COLORS, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class EpisodeScoresDisplay:
    """Figure of the distribution of the scores of episodes, for one estimator or several.

    A dot is the mean, and the shape around it the episodes: how good or bad a single task can turn
    out, which the mean does not tell. The black bar is the interval over episodes, for these
    classes; the grey one, of accuracies, that over classes, for others like them.

    On the same episodes, differences say more than scores: ``paired=True`` draws those between each
    estimator and the first one, episode by episode. Easy and hard episodes cancel out.

    It is recommended to use :meth:`from_results`.

    Parameters
    ----------
    results : dict of str to EpisodicResult
        Scores, by the name of the estimator.
    paired : bool, default=False
        Whether to draw differences to the first.
    class_groups : array-like of shape (n_classes,) or None, default=None
        Groups of the results' classes that intervals over classes are over.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure containing the axes.
    values_ : dict of str to ndarray of shape (n_episodes,)
        What is drawn in each row: scores, or differences of scores.

    See Also
    --------
    sklearn_fewshot.model_selection.compare_on_episodes : Scores several estimators.
    ShotCurveDisplay : Mean scores against the number of examples.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    >>> from sklearn_fewshot.inspection import EpisodeScoresDisplay
    >>> from sklearn_fewshot.model_selection import compare_on_episodes
    >>> X, y = make_blobs(400, centers=8, cluster_std=2.0, random_state=0)
    >>> estimators = {"centroid": NearestCentroid(), "neighbour": KNeighborsClassifier(1)}
    >>> comparison = compare_on_episodes(estimators, X, y, n_shot=5, n_episodes=50)
    >>> EpisodeScoresDisplay.from_results(comparison, paired=True)
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        results: Mapping[str, EpisodicResult],
        *,
        paired: bool = False,
        class_groups: ArrayLike | None = None,
    ) -> None:
        self.results = results
        self.paired = paired
        self.class_groups = class_groups

    @classmethod
    def from_results(
        cls, results: Any, *, paired: bool = False, ax: Axes | None = None
    ) -> EpisodeScoresDisplay:
        """Draw results.

        Parameters
        ----------
        results : EpisodicComparison, EpisodicResult or dict of str to EpisodicResult
            What :func:`~sklearn_fewshot.model_selection.compare_on_episodes` or
            :func:`~sklearn_fewshot.model_selection.episodic_score` returned. All of the same
            scoring.
        paired : bool, default=False
            Whether to draw the differences to the first. Takes results on the same episodes.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EpisodeScoresDisplay

        Raises
        ------
        TypeError
            If these are no results.
        ValueError
            If they are of different scorings; or, if ``paired``, of different episodes or of a
            single estimator.
        """
        check_matplotlib_support(f"{cls.__name__}.from_results")
        groups = results.class_groups if isinstance(results, EpisodicComparison) else None
        found = _check_results(cls.__name__, results, paired)
        return cls(found, paired=paired, class_groups=groups).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> EpisodeScoresDisplay:
        """Draw a row for each estimator.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EpisodeScoresDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        first = next(iter(self.results.values()))
        times = 100 if first.scoring.startswith(PERCENT) else 1
        self.values_ = self._values()
        self.ax_ = axes_or_new(ax, figsize=(7, 1.2 + 0.8 * len(self.values_)))
        self.figure_ = self.ax_.figure
        places = np.arange(len(self.values_))
        for place, (name, values) in enumerate(self.values_.items()):
            self._draw_row(place, times * values, name, times)
        self.ax_.set_yticks(places, list(self.values_))
        self.ax_.set_ylim(len(places) - 0.4, -0.6)
        unit = " in %" if times == 100 else ""
        what = first.scoring
        if self.paired:
            self.ax_.axvline(0, color="k", linestyle=":", zorder=0)
            what = f"difference of {what} to {next(iter(self.results))}"
            unit = unit.replace("%", "percentage points")
        self.ax_.set(xlabel=f"{what}{unit}", title=f"{len(first.scores)} episodes")
        self.ax_.grid(axis="x", alpha=0.3)
        return self

    def _values(self) -> dict[str, np.ndarray]:
        scores = {name: np.asarray(result.scores) for name, result in self.results.items()}
        if not self.paired:
            return scores
        reference = scores.pop(next(iter(self.results)))
        return {name: values - reference for name, values in scores.items()}

    def _interval(self, name: str, unit: Literal["episodes", "classes"]) -> Interval:
        if not self.paired:
            groups = self.class_groups if unit == "classes" else None
            return self.results[name].interval_over(unit, class_groups=groups)
        comparison = EpisodicComparison(dict(self.results), class_groups=self.class_groups)
        return comparison.difference(name, over=unit)

    def _draw_row(self, place: int, values: np.ndarray, name: str, times: int) -> None:
        color = COLORS[place % len(COLORS)]
        shape: dict[str, Any] = self.ax_.violinplot(
            [values], [place], orientation="horizontal", widths=0.8, showextrema=False
        )
        for body in shape["bodies"]:
            body.set(facecolor=color, edgecolor="k", alpha=0.35, linewidth=0.5)
        interval = self._interval(name, "episodes")
        if self.results[name].has_classes and np.isfinite(interval.low):
            self._draw_bar(place, self._interval(name, "classes"), times, "0.55", linewidth=1)
        self._draw_bar(place, interval, times, "k", linewidth=2.5)
        sign = "+" if self.paired else ""
        self.ax_.annotate(
            score_text(interval, self.results[name].scoring, sign=sign),
            (times * interval.mean, place),
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )

    def _draw_bar(
        self, place: int, interval: Interval, times: int, color: str, linewidth: float
    ) -> None:
        mean, low, high = (times * value for value in interval[:3])
        bar = [[mean - low], [high - mean]] if np.isfinite(low) else None
        self.ax_.errorbar(
            mean, place, xerr=bar, fmt="o", color=color, capsize=4, markersize=5, lw=linewidth
        )


def _check_results(owner: str, results: Any, paired: bool) -> dict[str, EpisodicResult]:
    """Return results by name that one axis can show, or raise."""
    if isinstance(results, EpisodicResult):
        results = {"": results}
    found = results.results if isinstance(results, EpisodicComparison) else results
    is_dict = isinstance(found, Mapping) and len(found) > 0
    if not is_dict or not all(isinstance(result, EpisodicResult) for result in found.values()):
        raise TypeError(
            f"{owner}.from_results takes what compare_on_episodes or episodic_score returned, or a "
            f"dict of names and such results. Got {results!r}."
        )
    scorings = sorted({result.scoring for result in found.values()})
    if len(scorings) > 1:
        raise ValueError(
            f"The results of {owner} must be of one scoring. Got {' and '.join(scorings)}. Draw "
            "them in axes of their own."
        )
    if paired and len(found) < 2:
        raise ValueError(f"{owner} with paired=True compares with the first: give two results.")
    if paired:
        comparison = EpisodicComparison(dict(found))
        for name in list(found)[1:]:
            comparison.difference(name)  # raises where episodes differ
    return dict(found)
