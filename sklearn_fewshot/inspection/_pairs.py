"""Verification of pairs, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import auc, roc_curve
from sklearn.pipeline import Pipeline

from ..adapted import FewShotPipeline, walk
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator
from ._axes import axes_or_new, is_in_legend, label_of, next_look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_STYLES = ("-", "--", "-.", ":")


class PairRocDisplay:
    r"""ROC curve of verification: pairs of the same class against pairs of different ones.

    Each threshold of the score gives a point: of the pairs of different classes the share that is
    taken for the same (false accepts), and of the pairs of the same class the share that is
    recognised. The threshold in use is marked, and so is the equal error rate, at which both errors
    are as frequent.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    false_accept_rate : float64 ndarray of shape (n_thresholds,)
        Share of the pairs of different classes that is taken for the same, ascending from 0.
    true_accept_rate : float64 ndarray of shape (n_thresholds,)
        Share of the pairs of the same class that is recognised.
    thresholds : float64 ndarray of shape (n_thresholds,)
        Scores from which on a pair counts as the same, descending.
    threshold : float or None, default=None
        The threshold in use: pairs above it count as the same.
    name : str or None, default=None
        Name in the legend.

    Attributes
    ----------
    roc_auc : float
        Area under the curve: the probability that a pair of the same class scores higher than one
        of different ones.
    equal_error_rate : float
        Share of errors where both kinds are as frequent, between the points of the curve.
    operating_point : (float, float) or None
        Rates of false and true accepts at ``threshold``.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure containing the axes.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sklearn_fewshot.SiameseNetClassifier.pair_score : The score of a pair.
    sklearn.metrics.RocCurveDisplay : The curve of any binary classifier.

    Notes
    -----
    The area is that of scikit-learn's :func:`~sklearn.metrics.roc_curve`. The error
    of a threshold that was chosen on the pairs drawn is optimistic: choose it on others.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import SiameseNetClassifier
    >>> from sklearn_fewshot.inspection import PairRocDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = SiameseNetClassifier(max_epochs=5, random_state=0).fit(X[y < 7], y[y < 7])
    >>> X, y = X[y >= 7], y[y >= 7]
    >>> pairs = np.stack([X[:-1], X[1:]], axis=1)
    >>> PairRocDisplay.from_estimator(learner, pairs, np.where(y[:-1] == y[1:], 1, -1))
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        false_accept_rate: np.ndarray,
        true_accept_rate: np.ndarray,
        thresholds: np.ndarray,
        *,
        threshold: float | None = None,
        name: str | None = None,
    ) -> None:
        self.false_accept_rate = false_accept_rate
        self.true_accept_rate = true_accept_rate
        self.thresholds = thresholds
        self.threshold = threshold
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        pairs: ArrayLike,
        y: ArrayLike,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> PairRocDisplay:
        """Score pairs and draw the curve.

        Parameters
        ----------
        estimator : fitted SiameseNetClassifier, or pipeline that ends in one
            Scores pairs by ``pair_score``; its ``threshold_`` is marked.
        pairs : array-like of shape (n_pairs, 2, n_features) or (n_pairs, 2, *input_shape)
            Pairs of samples of classes that training has not seen.
        y : array-like of shape (n_pairs,)
            1 for pairs of the same class, -1 for pairs of different ones.
        name : str or None, default=None
            Name in the legend; None for the class of the estimator.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of the curve, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : PairRocDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it does not score pairs.
        ValueError
            If the arrays are malformed, or there are no pairs of one kind.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        learner = walk(estimator).end
        if not hasattr(learner, "pair_score"):
            raise TypeError(
                f"{cls.__name__}.from_estimator takes a fitted SiameseNetClassifier, which has "
                f"pair_score. Got {estimator!r}. For other scores see {cls.__name__}."
                "from_predictions."
            )
        scorer = FewShotPipeline(estimator.steps) if isinstance(estimator, Pipeline) else learner
        return cls.from_predictions(
            y,
            scorer.pair_score(pairs),
            threshold=learner.threshold_,
            name=type(learner).__name__ if name is None else name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        score: ArrayLike,
        *,
        threshold: float | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> PairRocDisplay:
        """Draw the curve of scores that are there already.

        Parameters
        ----------
        y_true : array-like of shape (n_pairs,)
            1 for pairs of the same class, -1 for pairs of different ones.
        score : array-like of shape (n_pairs,)
            Score of each pair, larger for pairs of the same class.
        threshold : float or None, default=None
            The threshold in use: pairs above it count as the same.
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of the curve, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : PairRocDisplay

        Raises
        ------
        ValueError
            If the arrays are malformed, or there are no pairs of one kind.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        y_true, score = _check_pairs(cls.__name__, y_true, score)
        rates = roc_curve(y_true, score, drop_intermediate=False)
        return cls(*rates, threshold=threshold, name=name).plot(ax=ax, **kwargs)

    @property
    def roc_auc(self) -> float:
        """Area under the curve."""
        return float(auc(self.false_accept_rate, self.true_accept_rate))

    @property
    def equal_error_rate(self) -> float:
        """Share of errors where both kinds are as frequent."""
        return float(self._equal_error_point()[0])

    @property
    def operating_point(self) -> tuple[float, float] | None:
        """Rates of false and true accepts at the threshold in use."""
        if self.threshold is None:
            return None
        n_above = np.searchsorted(-self.thresholds, -self.threshold, side="left")
        last = max(0, int(n_above) - 1)  # the first point accepts nothing
        return float(self.false_accept_rate[last]), float(self.true_accept_rate[last])

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> PairRocDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        name : str or None, default=None
            Name in the legend; None for that of the display.
        **kwargs : dict
            Properties of the curve, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : PairRocDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        name = self.name if name is None else name
        self.ax_ = axes_or_new(ax, figsize=(5.5, 5.5))
        self.figure_ = self.ax_.figure
        text = label_of(name, f"ROC area {self.roc_auc:.3f}")
        n_curves = sum("ROC area" in str(line.get_label()) for line in self.ax_.lines)
        look: dict[str, Any] = {
            "linestyle": LINE_STYLES[n_curves % len(LINE_STYLES)],
            "label": text,
        }
        look |= {k: v for k, v in next_look(self.ax_, kwargs).items() if k != "marker"}
        rates = 100 * self.false_accept_rate, 100 * self.true_accept_rate
        (self.line_,) = self.ax_.plot(*rates, **look)
        self._mark(name, self.line_.get_color())
        if not is_in_legend(self.ax_, "by chance"):
            self.ax_.axline((0, 0), slope=1, color="0.4", linestyle=":", label="by chance")
        self.ax_.set(
            xlabel="different classes, taken for the same, in %",
            ylabel="same class, recognised, in %",
            xlim=(-2, 102),
            ylim=(-2, 102),
            aspect="equal",
        )
        self.ax_.legend(fontsize="small", loc="lower right")
        return self

    def _mark(self, name: str | None, color: Any) -> None:
        """Mark the equal error rate and the threshold in use."""
        look: dict[str, Any] = {
            "markeredgecolor": "k",
            "markersize": 8,
            "linestyle": "",
            "zorder": 3,
        }
        x, y = self._equal_error_point()
        text = label_of(name, f"equal errors, {100 * x:.1f} %")
        self.ax_.plot(100 * x, 100 * y, marker="D", color="w", label=text, **look)
        point = self.operating_point
        if point is not None:
            x, y = point
            text = label_of(name, f"threshold {self.threshold:.2g}: {100 * x:.1f}, {100 * y:.1f} %")
            self.ax_.plot(100 * x, 100 * y, marker="o", color=color, label=text, **look)

    def _equal_error_point(self) -> tuple[float, float]:
        """Return the point of the curve whose two rates add up to one."""
        total = self.false_accept_rate + self.true_accept_rate  # ascending, from 0 to 2
        x = float(np.interp(1.0, total, self.false_accept_rate))
        return x, 1.0 - x


def _check_pairs(owner: str, y_true: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y_true, score = np.asarray(y_true), np.asarray(score)
    if y_true.ndim != 1 or y_true.shape != score.shape:
        raise ValueError(
            f"{owner} takes one label and one score a pair. Got arrays of shape {y_true.shape} and "
            f"{score.shape}."
        )
    found = sorted(set(y_true.tolist()))
    if found != [-1, 1]:
        raise ValueError(
            f"The labels of pairs must be 1 (same class) or -1 (different classes), each at least "
            f"once. Got {found}."
        )
    if not np.isfinite(score).all():
        raise ValueError("Scores of pairs must be finite. Got NaN or infinity.")
    return y_true, score
