"""What queries read of a support set, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..adapted import adapt, walk
from ..network import attention
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator
from ..utils._validation import check_like_fitted
from ._axes import axes_or_new
from ._episode import check_entries, check_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


class AttentionDisplay:
    """Figure of the attention of queries to the examples of a support set.

    A row for each query, a column for each example, in the order of their classes. A query that
    reads the examples of its own class most is recognised by them.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    attention : ndarray of shape (n_queries, n_support)
        Not negative; rows add up to one.
    y_support : ndarray of shape (n_support,)
        Labels of the examples.
    y_pred : ndarray of shape (n_queries,)
        Predicted labels of the queries.
    y_query : ndarray of shape (n_queries,) or None, default=None
        True labels of the queries, if known.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure containing the axes.
    im_ : matplotlib AxesImage
        The attention.

    See Also
    --------
    EpisodeDisplay : The episode itself.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import MatchingNetClassifier
    >>> from sklearn_fewshot.inspection import AttentionDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = MatchingNetClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> episode = X_new[:15], y_new[:15], X_new[15:25], y_new[15:25]
    >>> AttentionDisplay.from_estimator(learner, *episode)
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        attention: np.ndarray,
        y_support: np.ndarray,
        y_pred: np.ndarray,
        y_query: np.ndarray | None = None,
    ) -> None:
        self.attention = attention
        self.y_support = y_support
        self.y_pred = y_pred
        self.y_query = y_query

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_support: ArrayLike,
        y_support: ArrayLike,
        X_query: ArrayLike,
        y_query: ArrayLike | None = None,
        *,
        cmap: str | Colormap = "Blues",
        ax: Axes | None = None,
    ) -> AttentionDisplay:
        """Adapt a learner that reads by attention, and draw what queries read.

        Parameters
        ----------
        estimator : fitted learner, or a pipeline or search that ends in one
            :class:`~sklearn_fewshot.MatchingNetClassifier`,
            :class:`~sklearn_fewshot.InContextClassifier`,
            :class:`~sklearn_fewshot.MANNClassifier` or :class:`~sklearn_fewshot.MetaNetClassifier`.
        X_support : array-like of shape (n_support, ...)
            Support examples.
        y_support : array-like of shape (n_support,)
            Their labels.
        X_query : array-like of shape (n_queries, ...)
            Queries.
        y_query : array-like of shape (n_queries,) or None, default=None
            Their true labels, if known.
        cmap : str or Colormap, default="Blues"
            Colours of the attention.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : AttentionDisplay

        Raises
        ------
        TypeError
            If the learner does not read by attention.
        ValueError
            If the arrays do not fit each other or the learner.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        classifier = adapt(estimator, X_support, y_support)
        path = walk(classifier)
        last = path.end
        rows = last._network.encode(check_like_fitted(last, path.transform(X_query)))
        read = attention(last._network, last._support.representation, rows)
        labels = check_entries("y_support", y_support, "support", read.T)
        truth = check_optional("y_query", y_query, "query", read)
        return cls(read, labels, classifier.predict(X_query), truth).plot(cmap=cmap, ax=ax)

    def plot(self, *, cmap: str | Colormap = "Blues", ax: Axes | None = None) -> AttentionDisplay:
        """Draw.

        Parameters
        ----------
        cmap : str or Colormap, default="Blues"
            Colours of the attention.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : AttentionDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        columns = np.argsort(self.y_support, kind="stable")
        rows = np.argsort(self.y_pred if self.y_query is None else self.y_query, kind="stable")
        shown = self.attention[rows][:, columns]
        self.im_ = self.ax_.imshow(shown, cmap=cmap, vmin=0.0, aspect="auto")
        self.figure_.colorbar(self.im_, ax=self.ax_, label="attention")
        classes, first = np.unique(self.y_support[columns], return_index=True)
        bounds = np.append(first, len(columns))
        for bound in first[1:]:
            self.ax_.axvline(bound - 0.5, color="0.4", linewidth=1.0)
        self.ax_.set_xticks((bounds[:-1] + bounds[1:] - 1) / 2, [str(label) for label in classes])
        self.ax_.set_yticks(np.arange(len(rows)), [self._name(row) for row in rows])
        self.ax_.set_xlabel("support examples, by class")
        truth = "" if self.y_query is None else ", true class if it differs"
        self.ax_.set_ylabel(f"queries: predicted class{truth}")
        return self

    def _name(self, row: int) -> str:
        if self.y_query is None or self.y_query[row] == self.y_pred[row]:
            return str(self.y_pred[row])
        return f"{self.y_pred[row]}, {self.y_query[row]}"
