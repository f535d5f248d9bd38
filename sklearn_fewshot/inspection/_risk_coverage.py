"""Accuracy against the share of queries that are kept, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..model_selection import EpisodicResult
from ..model_selection._interval import share_interval
from ..model_selection._open_set import OpenSetQueries
from ..utils._sklearn import check_matplotlib_support
from ._axes import COLORS, MARKERS, axes_or_new, label_of
from ._open_set import queries_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COVERAGE = np.linspace(0.025, 1.0, 40)


class RiskCoverageCurve(NamedTuple):
    """Means over episodes, for each coverage.

    Parameters
    ----------
    coverage : ndarray of shape (n_coverages,)
        Share of the known queries that is kept, those of the highest scores.
    accuracy : ndarray of shape (n_coverages,)
        Accuracy on these: one minus the risk.
    low, high : ndarray of shape (n_coverages,)
        Ends of its 95 % interval over episodes; NaN for a single one.
    accepted : ndarray of shape (n_coverages,)
        Share of the unknown queries that is kept at the same threshold.
    """

    coverage: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    accepted: np.ndarray


class RiskCoverageDisplay:
    """Figure of the accuracy on the queries that are kept, against the share that is kept.

    A classifier that may reject keeps the queries of the highest scores. The fewer of the known
    ones it keeps, the more accurate it should be on these (solid), and the fewer of the unknown
    ones it keeps (dashed): from right to left the threshold rises. Large markers are what
    ``predict`` keeps at the ``reject_rate`` of the result.

    It is recommended to use :meth:`from_results`.

    Parameters
    ----------
    results : dict of str to EpisodicResult
        Results with ``open_set``, by the names that the legend gives them.

    Attributes
    ----------
    curves_ : dict of str to RiskCoverageCurve
        What is drawn: coverage, accuracy and its interval, share of the unknown accepted.
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : list of matplotlib Line2D
        Accuracy and share of the unknown accepted, of each result.
    bands_ : list of matplotlib PolyCollection
        The interval of each accuracy; empty for results of a single episode, which have none.

    See Also
    --------
    sklearn_fewshot.model_selection.episodic_score : Scores with ``n_unknown``.
    RejectionDisplay : Both errors against the nominal rate, of one classifier.
    ReliabilityDisplay : Whether the probabilities are calibrated.

    Notes
    -----
    Each episode has its own curve, with thresholds that keep the same share of its known queries;
    the figure has the means. ``predict`` does not know these thresholds: it keeps more in some
    episodes than in others, so that the large markers may lie a little off the curves. A coverage
    between two numbers of queries, or between queries of equal scores, is interpolated.

    In a single curve of all queries, unknown ones that are kept would be errors, and the accuracy
    would depend on how many of them there are. These two curves do not.

    References
    ----------
    R. El-Yaniv and Y. Wiener, "On the Foundations of Noise-free Selective Classification", JMLR
    2010.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.inspection import RiskCoverageDisplay
    >>> from sklearn_fewshot.model_selection import episodic_score
    >>> X, y = make_blobs(800, n_features=8, centers=30, cluster_std=4.0, random_state=0)
    >>> learner = ProtoNetClassifier(max_epochs=1, random_state=0).fit(X[y < 18], y[y < 18])
    >>> X, y = X[y >= 18], y[y >= 18]
    >>> results = {
    ...     f"{n_shot}-shot": episodic_score(
    ...         learner, X, y, n_shot=n_shot, n_query=5, n_episodes=50, n_unknown=5
    ...     )
    ...     for n_shot in (1, 5)
    ... }
    >>> RiskCoverageDisplay.from_results(results)
    <...>
    >>> plt.show()
    """

    def __init__(self, results: Mapping[str, EpisodicResult]) -> None:
        self.results = results

    @classmethod
    def from_results(cls, results: Any, *, ax: Axes | None = None) -> RiskCoverageDisplay:
        """Draw results.

        Parameters
        ----------
        results : EpisodicResult or dict of str to EpisodicResult
            What :func:`~sklearn_fewshot.model_selection.episodic_score` returned with
            ``n_unknown``; several by name, such as one for each number of shots.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : RiskCoverageDisplay

        Raises
        ------
        TypeError
            If these are no such results.
        """
        check_matplotlib_support(f"{cls.__name__}.from_results")
        several = results if isinstance(results, Mapping) and results else {"": results}
        for result in several.values():
            queries_of(f"{cls.__name__}.from_results", result)
        return cls(dict(several)).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> RiskCoverageDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : RiskCoverageDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        self.curves_: dict[str, RiskCoverageCurve] = {}
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        for place, (name, result) in enumerate(self.results.items()):
            self._draw(name, result, COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)])
        self.ax_.set(
            xlabel="known queries kept (coverage) in %",
            ylabel="share of queries in %",
            xlim=(0, 102),
            ylim=(-3, 103),
        )
        self.ax_.grid(axis="y", alpha=0.3)
        self.ax_.legend(title=self._title(), fontsize="small", title_fontsize="small")
        return self

    def _draw(self, name: str, result: EpisodicResult, color: str, marker: str) -> None:
        open_set = result.open_set
        assert open_set is not None
        self.curves_[name] = curve = _curve(queries_of(type(self).__name__, result))
        x = 100 * curve.coverage
        look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4, "markevery": 4}
        for values, text, style in (
            (curve.accuracy, "accuracy of the known kept", {"linestyle": "-"}),
            (curve.accepted, "unknown kept", {"linestyle": "--", "markerfacecolor": "w"}),
        ):
            label = label_of(name or None, text)
            self.lines_ += self.ax_.plot(x, 100 * values, **{**look, **style}, label=label)
        if np.isfinite(curve.low).all():
            low, high = 100 * curve.low, 100 * curve.high
            self.bands_.append(self.ax_.fill_between(x, low, high, color=color, alpha=0.25))
        kept = 100 - 100 * open_set.interval("false_rejection").mean
        shares = open_set.interval("accuracy_of_rest").mean, np.mean(1 - open_set.unknown_rejected)
        self.ax_.scatter(
            [kept, kept], 100 * np.array(shares), s=70, color=color, marker=marker, zorder=3
        )

    def _title(self) -> str:
        rates = sorted({it.open_set.reject_rate for it in self.results.values() if it.open_set})
        n_episodes = sorted({len(it.scores) for it in self.results.values()})
        text = f"large: predict at reject_rate={', '.join(f'{rate:g}' for rate in rates)}"
        if self.bands_:
            counts = ", ".join(map(str, n_episodes))
            text += f"\nband: 95 % interval over {counts} episodes"
        return text


def _curve(queries: OpenSetQueries) -> RiskCoverageCurve:
    """Average the curves of all episodes."""
    episodes = [_curve_of_episode(*episode) for episode in _episodes(queries)]
    accuracy, accepted = map(np.array, zip(*episodes, strict=True))  # (n_episodes, n_coverages)
    intervals = [share_interval(values, "episodes")[:3] for values in accuracy.T]
    mean, low, high = np.transpose(intervals)
    return RiskCoverageCurve(COVERAGE, mean, low, high, accepted.mean(axis=0))


def _episodes(queries: OpenSetQueries) -> Any:
    """Iterate over scores and hits of the known queries, and scores of the unknown ones."""
    for is_known, is_unknown, score, is_right in zip(
        queries.is_known, queries.is_unknown, queries.score, queries.is_right, strict=True
    ):
        yield score[is_known], is_right[is_known], score[is_unknown]


def _curve_of_episode(
    score: np.ndarray, is_right: np.ndarray, unknown: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return accuracy on the known, and share of the unknown queries kept, by coverage."""
    levels, level = np.unique(-score, return_inverse=True)  # of the highest score first
    n_kept = np.append(0, np.bincount(level).cumsum())
    n_right = np.append(0, np.bincount(level, is_right).cumsum())
    n_accepted = np.append(0, np.searchsorted(np.sort(-unknown), levels, side="right"))
    wanted = COVERAGE * len(score)
    accuracy = np.interp(wanted, n_kept, n_right) / wanted
    return accuracy, np.interp(wanted, n_kept, n_accepted) / len(unknown)
