"""Both errors of rejection, false rejections and false acceptances, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from ..adapted import FewShotClassifier
from ..model_selection._evaluation import few_shot_end
from ..utils._sklearn import _num_samples, check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator
from ._axes import axes_or_new, draw_diagonal, label_of, next_look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REJECT_RATES = np.linspace(0.0, 0.5, 21)


class RejectionDisplay:
    """Figure of the two errors of a classifier that may reject queries as outliers.

    ``predict(X, reject_label=..., reject_rate=...)`` rejects outliers, queries of other
    classes. The higher the nominal rate, the more inliers (queries of the classes) are rejected
    (false rejections), and the fewer outliers are accepted (false acceptances). If the false
    rejections are on the diagonal, they have the nominal rate.

    It is recommended to use :meth:`from_estimator` or :meth:`from_errors`.

    Parameters
    ----------
    reject_rates : ndarray of shape (n_rates,)
        Nominal false rejection rates, ascending.
    false_rejections : ndarray of shape (n_rates,)
        Share of the inliers that is rejected.
    false_acceptances : ndarray of shape (n_rates,)
        Share of the outliers that is accepted: predicted as one of the classes.
    roc_auc : float or None, default=None
        Area under the ROC curve of inliers against outliers, over all thresholds.
    name : str or None, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : list of matplotlib Line2D
        The false rejections and the false acceptances.

    See Also
    --------
    sklearn_fewshot.FewShotClassifier.rejection_threshold : Scores below which queries are rejected.
    RiskCoverageDisplay : What is kept at each threshold, over many episodes.
    ReliabilityDisplay : Whether the probabilities are calibrated.
    sklearn.metrics.DetCurveDisplay : The two errors against each other.

    Notes
    -----
    One classifier is one set of classes, of few examples: another support set may keep its rates
    better or worse. For many episodes, average the errors and draw them with :meth:`from_errors`:
    :func:`~sklearn_fewshot.model_selection.episodic_score` with ``n_unknown`` measures them at one
    ``reject_rate``.

    Several classifiers in the same axes have different colours and markers.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.inspection import RejectionDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=1, random_state=0).fit(X[y < 6], y[y < 6])
    >>> X, y = X[y >= 6], y[y >= 6]
    >>> support = [6, 7, 8]  # the nines are outliers
    >>> rows = [row for k in support for row in (y == k).nonzero()[0][:5]]
    >>> clf = learner.adapt(X[rows], y[rows])
    >>> RejectionDisplay.from_estimator(clf, X[100:][y[100:] < 9], X[y == 9])
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        reject_rates: np.ndarray,
        false_rejections: np.ndarray,
        false_acceptances: np.ndarray,
        *,
        roc_auc: float | None = None,
        name: str | None = None,
    ) -> None:
        self.reject_rates = reject_rates
        self.false_rejections = false_rejections
        self.false_acceptances = false_acceptances
        self.roc_auc = roc_auc
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_known: ArrayLike,
        X_unknown: ArrayLike,
        *,
        reject_rates: ArrayLike | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> RejectionDisplay:
        """Score queries once, count the errors at each rate and draw them.

        Parameters
        ----------
        estimator : fitted FewShotClassifier or learner, or a pipeline or search that ends in one
            Of a learner the classes are its base classes.
        X_known : array-like of shape (n_known, n_features) or (n_known, *input_shape)
            Inliers: queries of the classes. They must be none of the support examples, nor
            of the samples that a learner was trained on: these score higher.
        X_unknown : array-like of shape (n_unknown, n_features) or (n_unknown, *input_shape)
            Outliers: queries of other classes.
        reject_rates : array-like of shape (n_rates,) or None, default=None
            Nominal rates, in [0, 1) and ascending; None for 21 from 0 to 0.5.
        name : str or None, default=None
            Name in the legend; None for the class of the estimator.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of both curves, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : RejectionDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is of another kind, or has no calibration.
        ValueError
            If there are no queries of one kind, or an array or a rate is malformed.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        rates = _check_rates(cls.__name__, REJECT_RATES if reject_rates is None else reject_rates)
        for what, X in (("X_known", X_known), ("X_unknown", X_unknown)):
            if not _num_samples(X):
                raise ValueError(
                    f"{what} of {cls.__name__}.from_estimator has no samples. Pass queries of the "
                    "classes (inliers) as X_known, and outliers as X_unknown."
                )
        before, classifier = _transformers_and_classifier(cls.__name__, estimator)
        threshold = np.stack([classifier.rejection_threshold(rate) for rate in rates])
        inliers, n_accepted = _score(before, classifier, threshold, X_known)
        outliers, n_wrongly_accepted = _score(before, classifier, threshold, X_unknown)
        is_inlier = np.repeat([True, False], [len(inliers), len(outliers)])
        display = cls(
            rates,
            (len(inliers) - n_accepted) / len(inliers),
            n_wrongly_accepted / len(outliers),
            roc_auc=float(roc_auc_score(is_inlier, np.concatenate([inliers, outliers]))),
            name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_errors(
        cls,
        reject_rates: ArrayLike,
        false_rejections: ArrayLike,
        false_acceptances: ArrayLike,
        *,
        roc_auc: float | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> RejectionDisplay:
        """Draw errors that are counted already, such as means over episodes.

        Parameters
        ----------
        reject_rates : array-like of shape (n_rates,)
            Nominal false rejection rates, in [0, 1) and ascending.
        false_rejections : array-like of shape (n_rates,)
            Share of the inliers that is rejected.
        false_acceptances : array-like of shape (n_rates,)
            Share of the outliers that is accepted: predicted as one of the classes.
        roc_auc : float or None, default=None
            Area under the ROC curve, if known.
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **kwargs : dict
            Properties of both curves, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : RejectionDisplay

        Raises
        ------
        ValueError
            If the arrays do not fit each other or hold no shares.
        """
        check_matplotlib_support(f"{cls.__name__}.from_errors")
        rates = _check_rates(cls.__name__, reject_rates)
        errors = {"false_rejections": false_rejections, "false_acceptances": false_acceptances}
        shares = (_check_shares(what, values, len(rates)) for what, values in errors.items())
        return cls(rates, *shares, roc_auc=roc_auc, name=name).plot(ax=ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> RejectionDisplay:
        """Draw the errors.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        name : str or None, default=None
            Name in the legend; None for that of the display.
        **kwargs : dict
            Properties of both curves, as :meth:`matplotlib.axes.Axes.plot` takes them.

        Returns
        -------
        display : RejectionDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        name = self.name if name is None else name
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        look = next_look(self.ax_, kwargs)
        area = "" if self.roc_auc is None else f" (ROC area {self.roc_auc:.3f})"
        curves = (
            (self.false_rejections, "inliers rejected", {"linestyle": "-"}),
            (
                self.false_acceptances,
                f"outliers accepted{area}",
                {"linestyle": "--", "markerfacecolor": "w"},
            ),
        )
        self.lines_: list[Any] = []
        for shares, text, style in curves:
            drawn = {"label": label_of(name, text), **style, **look}
            self.lines_ += self.ax_.plot(100 * self.reject_rates, 100 * shares, **drawn)
        draw_diagonal(self.ax_, "nominal")
        self.ax_.set(
            xlabel="nominal false rejection rate (reject_rate) in %",
            ylabel="share of queries in %",
            ylim=(-3, 103),
        )
        self.ax_.grid(axis="y", alpha=0.3)
        self.ax_.legend(fontsize="small")
        return self


def _check_rates(owner: str, reject_rates: ArrayLike | None) -> np.ndarray:
    rates = np.asarray(reject_rates)
    is_list = rates.ndim == 1 and rates.dtype.kind in "iuf" and len(rates) > 0
    if not is_list or not (np.diff(rates) > 0).all() or not (0 <= rates[0] <= rates[-1] < 1):
        raise ValueError(
            f"The 'reject_rates' parameter of {owner} must hold shares of queries, one or more, in "
            f"[0, 1) and ascending. Got {reject_rates!r}."
        )
    return rates.astype(np.float64)


def _check_shares(what: str, values: ArrayLike, n_rates: int) -> np.ndarray:
    shares = np.asarray(values, dtype=np.float64)
    if shares.shape != (n_rates,):
        raise ValueError(
            f"{what} must have one share per rate of reject_rates: {n_rates}. Got an array of "
            f"shape {shares.shape}."
        )
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"{what} must hold shares of queries, in [0, 1]. Got {shares}.")
    return shares


def _transformers_and_classifier(
    owner: str, estimator: Estimator
) -> tuple[list[Any], FewShotClassifier]:
    """Return what queries pass through first, and what classifies them."""
    check_is_fitted(estimator)
    end = few_shot_end(estimator)
    if end is None:
        raise TypeError(
            f"{owner}.from_estimator takes a fitted FewShotClassifier or learner, or a pipeline or "
            f"search that ends in one. Got {estimator!r}. For others see {owner}.from_errors."
        )
    if end.classifier.__sklearn_is_fitted__():
        return end.before, end.classifier
    return end.before, end.classifier.learner._base_classifier()


def _score(
    before: list[Any], classifier: FewShotClassifier, threshold: np.ndarray, X: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest score of each query, and how many queries reach each threshold.

    Parameters
    ----------
    before : list of transformers
        What the queries pass through first.
    classifier : FewShotClassifier
        Scores them.
    threshold : ndarray of shape (n_rates, n_classes)
        Lowest accepted scores.
    X : array-like of shape (n_queries, ...)
        Queries.

    Returns
    -------
    best : ndarray of shape (n_queries,)
        Highest scores.
    n_accepted : ndarray of shape (n_rates,)
        Queries that are accepted.
    """
    for transformer in before:
        X = transformer.transform(X)
    best, n_accepted = [], np.zeros(len(threshold), dtype=int)
    for scores in classifier._score_blocks(X):
        best.append(scores.max(axis=1))
        n_accepted += (best[-1] >= threshold[:, scores.argmax(axis=1)]).sum(axis=1)
    return np.concatenate(best), n_accepted
