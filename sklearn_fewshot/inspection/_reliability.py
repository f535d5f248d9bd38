"""Confidence against accuracy, as a figure."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..model_selection import EpisodicResult
from ..model_selection._calibration_error import N_BINS, bin_of
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator
from ..utils._validation import check_labels, is_known, label_text
from ._axes import axes_or_new, draw_diagonal, is_in_legend, label_of, next_look
from ._open_set import queries_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ReliabilityDisplay:
    r"""Reliability diagram: how well the probabilities of a classifier are calibrated.

    Queries of similar confidence (probability of the most probable class) should be right as
    often as they are confident. Below the diagonal a classifier is overconfident. Faint bars show
    how many of the queries are that confident: where there are few, the accuracy is uncertain.

    It is recommended to use :meth:`from_estimator`, :meth:`from_predictions` or
    :meth:`from_result`.

    Parameters
    ----------
    confidence : float64 ndarray of shape (n_filled_bins,)
        Mean confidence of the queries in each bin that has any, ascending.
    accuracy : float64 ndarray of shape (n_filled_bins,)
        Share of these queries that are right.
    count : int ndarray of shape (n_filled_bins,)
        How many they are.
    n_bins : int, default=15
        Bins of equal width between 0 and 1, the empty ones included.
    name : str or None, default=None
        Name in the legend.

    Attributes
    ----------
    expected_calibration_error : float
        Mean distance between confidence and accuracy; see the notes.
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure containing the axes.
    line_ : matplotlib Line2D
        Accuracy against confidence.
    bars_ : matplotlib BarContainer
        Share of the queries in each bin.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : The same of one class against another.
    RejectionDisplay : Errors of rejecting outliers.

    Notes
    -----
    With the :math:`n_b` queries of bin :math:`b` (of :math:`n` in all), their accuracy and their
    mean confidence, the expected calibration error is

    .. math::

        \mathrm{ECE} = \sum_b \frac{n_b}{n} \left| \mathrm{acc}_b - \mathrm{conf}_b \right|

    (equation 3). Chance alone keeps it above 0, the more so the fewer queries there are in a bin.

    Several classifiers in the same axes have different colours and markers.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.inspection import ReliabilityDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=1, random_state=0).fit(X[y < 6], y[y < 6])
    >>> X, y = X[y >= 6], y[y >= 6]
    >>> clf = learner.adapt(X[:20], y[:20])
    >>> ReliabilityDisplay.from_estimator(clf, X[20:], y[20:])
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        confidence: np.ndarray,
        accuracy: np.ndarray,
        count: np.ndarray,
        *,
        n_bins: int = N_BINS,
        name: str | None = None,
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.count = count
        self.n_bins = n_bins
        self.name = name

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance between confidence and accuracy, over queries by way of their bins."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_bins: int = N_BINS,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReliabilityDisplay:
        """Predict probabilities and draw how they agree with the labels.

        Parameters
        ----------
        estimator : fitted classifier with predict_proba, or a pipeline or search of one
            Of a learner the classes are its base classes.
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries; none of the samples that the estimator was given in ``fit`` or ``adapt``.
        y : array-like of shape (n_queries,)
            Their labels.
        n_bins : int, default=15
            Bins of equal width between 0 and 1.
        name : str or None, default=None
            Name in the legend; None for the class of the estimator.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of the line, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it predicts no probabilities of classes.
        ValueError
            If an array or a parameter is malformed, or a label of y is none of its classes.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not (hasattr(estimator, "predict_proba") and hasattr(estimator, "classes_")):
            raise TypeError(
                f"{cls.__name__}.from_estimator takes a fitted classifier with predict_proba. Got "
                f"{estimator!r}."
            )
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            estimator.classes_,
            n_bins=n_bins,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        classes: ArrayLike,
        *,
        n_bins: int = N_BINS,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReliabilityDisplay:
        """Draw how probabilities that are predicted already agree with the labels.

        Parameters
        ----------
        y_true : array-like of shape (n_queries,)
            True labels.
        y_proba : array-like of shape (n_queries, n_classes)
            Probabilities of the classes.
        classes : array-like of shape (n_classes,)
            Labels, in the order of the columns: ``classes_`` of the classifier.
        n_bins : int, default=15
            Bins of equal width between 0 and 1. A confidence on the edge of two is in the lower.
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of the line, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        ValueError
            If an array or a parameter is malformed, or a label of y_true is none of the classes.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        _check_n_bins(cls.__name__, n_bins)
        classes, y_proba = _check_probabilities(classes, y_proba)
        y_true = _check_labels_known(y_true, y_proba, classes)
        is_right = classes[y_proba.argmax(axis=1)] == y_true
        return cls._of_bins(y_proba.max(axis=1), is_right, n_bins, name).plot(ax=ax, **kwargs)

    @classmethod
    def from_result(
        cls,
        result: EpisodicResult,
        *,
        n_bins: int = N_BINS,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReliabilityDisplay:
        """Draw how confidence and accuracy agree in many episodes, over all known queries.

        Parameters
        ----------
        result : EpisodicResult
            What :func:`~sklearn_fewshot.model_selection.episodic_score` returned with
            ``n_unknown``.
        n_bins : int, default=15
            Bins of equal width between 0 and 1. A confidence on the edge of two is in the lower.
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of the line, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        TypeError
            If this is another value, or a result without ``open_set``.
        ValueError
            If ``n_bins`` is no number of bins.
        """
        check_matplotlib_support(f"{cls.__name__}.from_result")
        _check_n_bins(cls.__name__, n_bins)
        queries = queries_of(f"{cls.__name__}.from_result", result)
        confidence, is_right = (
            part[queries.is_known] for part in (queries.confidence, queries.is_right)
        )
        return cls._of_bins(confidence, is_right, n_bins, name).plot(ax=ax, **kwargs)

    @classmethod
    def _of_bins(
        cls, confidence: np.ndarray, is_right: np.ndarray, n_bins: int, name: str | None
    ) -> ReliabilityDisplay:
        """Average confidences and hits in each bin."""
        place = bin_of(confidence, n_bins)
        count = np.bincount(place, minlength=n_bins)
        filled = count > 0
        sums = (np.bincount(place, values, n_bins)[filled] for values in (confidence, is_right))
        confidences, accuracies = (total / count[filled] for total in sums)
        return cls(confidences, accuracies, count[filled], n_bins=n_bins, name=name)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> ReliabilityDisplay:
        """Draw the accuracy of each bin against its confidence.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        name : str or None, default=None
            Name in the legend; None for that of the display.
        **kwargs : dict
            Properties of the line, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : ReliabilityDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = axes_or_new(ax, figsize=(5.5, 5))
        self.figure_ = self.ax_.figure
        error = f"calibration error {100 * self.expected_calibration_error:.1f} %"
        label = label_of(self.name if name is None else name, error)
        look = {"label": label} | next_look(self.ax_, kwargs)
        self.line_ = self.ax_.plot(100 * self.confidence, 100 * self.accuracy, **look)[0]
        draw_diagonal(self.ax_, "accuracy = confidence")
        self._draw_bars("share of the queries in each bin")
        self.ax_.set(
            xlabel="confidence (highest probability) in %",
            ylabel="accuracy in %",
            xlim=(-2, 102),
            ylim=(-2, 103),
        )
        self.ax_.grid(axis="y", alpha=0.3)
        self.ax_.legend(fontsize="small")
        return self

    def _draw_bars(self, label: str) -> None:
        label = "_nolegend_" if is_in_legend(self.ax_, label) else label
        width = 100 / self.n_bins
        self.bars_ = self.ax_.bar(
            width * bin_of(self.confidence, self.n_bins),
            100 * self.count / self.count.sum(),
            width=width,
            align="edge",
            color=self.line_.get_color(),
            edgecolor="w",
            alpha=0.25,
            zorder=0.5,
            label=label,
        )


def _check_n_bins(owner: str, n_bins: int) -> None:
    if not isinstance(n_bins, Integral) or n_bins < 1:
        raise ValueError(
            f"The 'n_bins' parameter of {owner} must be an int, at least 1. Got {n_bins!r}."
        )


def _check_probabilities(classes: ArrayLike, y_proba: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    classes, y_proba = np.asarray(classes), np.asarray(y_proba, dtype=np.float64)
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes):
        raise ValueError(
            "classes must hold the label of each column of y_proba, none of them twice. Got "
            f"{classes}. Pass classes_ of the classifier."
        )
    if y_proba.shape[1:] != classes.shape or not len(y_proba):
        raise ValueError(
            f"y_proba must have a row a query and a column a class: (n_queries, {len(classes)}), "
            f"at least one row. Got an array of shape {y_proba.shape}."
        )
    totals = y_proba.sum(axis=1)
    if not (y_proba >= 0).all() or not np.allclose(totals, 1.0, atol=1e-3):
        raise ValueError(
            "y_proba must hold probabilities: none below 0, and rows that sum to 1. The lowest is "
            f"{y_proba.min():.3g}; rows sum to {totals.min():.3g} up to {totals.max():.3g}. Pass "
            "what predict_proba returns, not scores."
        )
    return classes, y_proba


def _check_labels_known(y_true: ArrayLike, y_proba: np.ndarray, classes: np.ndarray) -> np.ndarray:
    y_true = check_labels(y_proba, y_true, names=("y_proba", "y_true"))
    present = np.unique(y_true)
    unknown = present[~is_known(present, classes)]
    if len(unknown):
        raise ValueError(
            f"y_true has labels that are none of the {len(classes)} classes: {label_text(unknown)}."
            f" The classes are {label_text(classes)}. Drop those queries; how many would be "
            "rejected, RejectionDisplay shows."
        )
    return y_true
