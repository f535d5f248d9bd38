"""How training went, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..learners._base import BaseMetaLearner
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import Estimator
from ._axes import COLORS, axes_or_new, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class TrainingDisplay:
    """Figure of the loss in training and the accuracy on held-out classes, by epoch.

    The epoch whose weights were kept is marked. Where the loss falls and the accuracy no longer
    rises, more training would not help; where both still move at the end, a higher ``max_epochs``
    would.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    epoch : int ndarray of shape (n_epochs,)
        Numbers of the epochs, from 1.
    train_loss : float ndarray of shape (n_epochs,)
        Mean loss of the episodes (or batches) of each.
    valid_acc : float ndarray of shape (n_epochs,) or None, default=None
        Accuracy on episodes of held-out classes; None without these.
    best_epoch : int or None, default=None
        The epoch whose weights were kept: 0 for those before training, None for the last.
    name : str or None, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the loss.
    score_ax_ : matplotlib Axes or None
        Axes with the accuracy, at the right; None without held-out classes.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : list of matplotlib Line2D
        The loss; and the accuracy, if there is one.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : The score against the rows trained on.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.inspection import TrainingDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> TrainingDisplay.from_estimator(learner)
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        epoch: np.ndarray,
        train_loss: np.ndarray,
        valid_acc: np.ndarray | None = None,
        *,
        best_epoch: int | None = None,
        name: str | None = None,
    ) -> None:
        self.epoch = epoch
        self.train_loss = train_loss
        self.valid_acc = valid_acc
        self.best_epoch = best_epoch
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, name: str | None = None, ax: Axes | None = None
    ) -> TrainingDisplay:
        """Draw the history of a fitted learner.

        Parameters
        ----------
        estimator : fitted learner, or a pipeline or search that ends in one
            What was trained.
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no history.
        ValueError
            If it was not trained for a single epoch.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        learner = _learner_of(estimator)
        check_is_fitted(learner)
        if not hasattr(learner, "history_"):
            raise TypeError(
                f"{cls.__name__}.from_estimator takes a fitted learner, or a pipeline or search "
                f"that ends in one. Got {estimator!r}, which has no history_."
            )
        rows = learner.history_
        if not rows:
            raise ValueError(
                f"This {type(learner).__name__} was not trained for an epoch (max_epochs="
                f"{learner.max_epochs}): there is nothing to draw."
            )
        has_scores = all("valid_acc" in row for row in rows)
        return cls(
            np.array([row["epoch"] for row in rows]),
            np.array([row["train_loss"] for row in rows]),
            np.array([row["valid_acc"] for row in rows]) if has_scores else None,
            best_epoch=learner.best_epoch_ if has_scores else None,
            name=name,
        ).plot(ax=ax)

    def plot(self, ax: Axes | None = None, *, name: str | None = None) -> TrainingDisplay:
        """Draw the history.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        name : str or None, default=None
            Name in the legend; None for that of the display.

        Returns
        -------
        display : TrainingDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator

        name = self.name if name is None else name
        self.ax_ = axes_or_new(ax)
        self.score_ax_: Axes | None = None
        self.figure_ = self.ax_.figure
        look: dict[str, Any] = {"color": COLORS[0], "label": label_of(name, "loss in training")}
        self.lines_ = self.ax_.plot(self.epoch, self.train_loss, **look)
        self.ax_.set(xlabel="epoch", ylabel="loss in training", ylim=(0, None))
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles = list(self.lines_)
        if self.valid_acc is not None:
            handles += self._draw_scores(self.valid_acc, name)
        self.ax_.legend(handles=handles, fontsize="small", loc="center right")
        return self

    def _draw_scores(self, valid_acc: np.ndarray, name: str | None) -> list[Any]:
        """Draw the accuracy at the right, and where the weights come from."""
        self.score_ax_ = ax = self.ax_.twinx()
        look: dict[str, Any] = {
            "color": COLORS[1],
            "marker": "s",
            "markersize": 4,
            "linestyle": "--",
        }
        label = label_of(name, "accuracy on held-out classes")
        self.lines_ += ax.plot(self.epoch, 100 * valid_acc, label=label, **look)
        ax.set_ylabel("accuracy on held-out classes in %")
        kept = self.ax_.axvline(self.best_epoch or 0, color="0.3", linestyle=":", zorder=0)
        kept.set_label("before training" if self.best_epoch == 0 else "weights that were kept")
        return [self.lines_[1], kept]


def _learner_of(estimator: Estimator) -> Any:
    """Return the learner at the end of pipelines, searches and adapted classifiers."""
    if isinstance(estimator, Pipeline):
        return _learner_of(estimator.steps[-1][1])
    if isinstance(estimator, BaseMetaLearner):
        return estimator
    if hasattr(estimator, "best_estimator_"):
        return _learner_of(estimator.best_estimator_)
    if hasattr(estimator, "estimator"):  # a FrozenEstimator, or a search that is not fitted
        return _learner_of(estimator.estimator)
    return getattr(estimator, "learner", None) or estimator
