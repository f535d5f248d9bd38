"""One episode as a figure: support, queries and their predictions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..adapted import FewShotClassifier, Path, adapt, walk
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator, Label
from ..utils._validation import (
    check_aligned,
    check_labels,
    check_layout,
    check_like_fitted,
    label_text,
)
from ._points import draw_points, plane_names, principal_plane
from ._tiles import PLAIN, RIGHT, WRONG, Headings, Row, Tile, draw_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

MAX_CLASSES = 10  # rows, unless the classes are chosen


class EpisodeDisplay:
    """Figure of an episode: the support set, the queries, and their predicted classes.

    Images are in rows, one per class: at the left its support examples, then queries that are
    predicted as that class, each with the classifier's confidence. A solid frame says that
    the prediction is right, a thick dashed one that it is wrong; the true class is below. Other
    samples are shown as points, on the first two principal components.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    X_support : ndarray of shape (n_support, n_features) or (n_support, channels, height, width)
        Support examples.
    y_support : ndarray of shape (n_support,)
        Their labels.
    X_query : ndarray of shape (n_queries, n_features) or (n_queries, channels, height, width)
        Queries.
    y_pred : ndarray of shape (n_queries,)
        Predicted labels of the queries.
    y_query : ndarray of shape (n_queries,) or None, default=None
        True labels of the queries, if known.
    confidence : ndarray of shape (n_queries,) or None, default=None
        Probability of the predicted class.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure containing the axes.

    See Also
    --------
    sklearn_fewshot.model_selection.episodic_score : The accuracy over many episodes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import FewShotClassifier
    >>> from sklearn_fewshot.inspection import EpisodeDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:, None], digits.target
    >>> clf = FewShotClassifier().fit(X[:10], y[:10])
    >>> EpisodeDisplay.from_estimator(clf, X[:10], y[:10], X[10:60], y[10:60])
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        X_support: np.ndarray,
        y_support: np.ndarray,
        X_query: np.ndarray,
        y_pred: np.ndarray,
        *,
        y_query: np.ndarray | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        self.X_support = X_support
        self.y_support = y_support
        self.X_query = X_query
        self.y_pred = y_pred
        self.y_query = y_query
        self.confidence = confidence

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_support: ArrayLike,
        y_support: ArrayLike,
        X_query: ArrayLike,
        y_query: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
        n_queries: int = 8,
        n_shot: int = 5,
        cmap: str | Colormap = "gray_r",
        ax: Axes | None = None,
    ) -> EpisodeDisplay:
        """Predict the queries and draw the episode.

        Parameters
        ----------
        estimator : fitted learner, FewShotClassifier, Pipeline or search
            A learner, or a pipeline or search that ends in one, is adapted to the support set.
            An adapted classifier is used unchanged.
        X_support : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Support examples. Images have 1, 3 or 4 channels and may be flattened if the learner
            has an ``input_shape``; of all other samples the embedding is shown.
        y_support : array-like of shape (n_support,)
            Their labels.
        X_query : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        y_query : array-like of shape (n_queries,) or None, default=None
            True labels of the queries, if known.
        classes : array-like of labels or None, default=None
            Rows to draw; None for the first ten classes. For images only.
        n_queries : int, default=8
            Draw at most this many queries of a row: the first ones given. For images only.
        n_shot : int, default=5
            Draw at most this many support examples of a row. For images only.
        cmap : str or Colormap, default="gray_r"
            Colours of images with one channel.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EpisodeDisplay

        Raises
        ------
        ValueError
            If the arrays do not fit each other or the learner.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if X_support is None or y_support is None:
            raise ValueError(f"{cls.__name__}.from_estimator needs X_support and y_support.")
        classifier = adapt_to(estimator, X_support, y_support)
        proba = classifier.predict_proba(X_query)
        winner = proba.argmax(axis=1)
        return cls.from_predictions(
            _showable(classifier, X_support),
            y_support,
            _showable(classifier, X_query),
            classifier.classes_[winner],
            y_query=y_query,
            confidence=proba[np.arange(len(proba)), winner],
            classes=classes,
            n_queries=n_queries,
            n_shot=n_shot,
            cmap=cmap,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        X_support: ArrayLike,
        y_support: ArrayLike,
        X_query: ArrayLike,
        y_pred: ArrayLike,
        *,
        y_query: ArrayLike | None = None,
        confidence: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        n_queries: int = 8,
        n_shot: int = 5,
        cmap: str | Colormap = "gray_r",
        ax: Axes | None = None,
    ) -> EpisodeDisplay:
        """Draw an episode whose queries are predicted already.

        Parameters
        ----------
        X_support : array-like of shape (n_support, n_features) or \
(n_support, channels, height, width)
            Support examples: images with 1, 3 or 4 channels, or anything else as points.
        y_support : array-like of shape (n_support,)
            Their labels.
        X_query : array-like of shape (n_queries, n_features) or \
(n_queries, channels, height, width)
            Queries.
        y_pred : array-like of shape (n_queries,)
            Predicted labels of the queries.
        y_query : array-like of shape (n_queries,) or None, default=None
            True labels of the queries, if known.
        confidence : array-like of shape (n_queries,) or None, default=None
            Probability of the predicted class.
        classes : array-like of labels or None, default=None
            Rows to draw; None for the first ten classes. For images only.
        n_queries : int, default=8
            Draw at most this many queries of a row: the first ones given. For images only.
        n_shot : int, default=5
            Draw at most this many support examples of a row. For images only.
        cmap : str or Colormap, default="gray_r"
            Colours of images with one channel.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EpisodeDisplay

        Raises
        ------
        ValueError
            If the arrays do not fit each other.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        X_support, X_query = _check_samples(X_support, X_query)
        display = cls(
            X_support,
            check_entries("y_support", y_support, "X_support", X_support),
            X_query,
            check_entries("y_pred", y_pred, "X_query", X_query),
            y_query=check_optional("y_query", y_query, "X_query", X_query),
            confidence=check_aligned("confidence", confidence, len(X_query)),
        )
        return display.plot(classes=classes, n_queries=n_queries, n_shot=n_shot, cmap=cmap, ax=ax)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        classes: ArrayLike | None = None,
        n_queries: int = 8,
        n_shot: int = 5,
        cmap: str | Colormap = "gray_r",
    ) -> EpisodeDisplay:
        """Draw the episode.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        classes : array-like of labels or None, default=None
            Rows to draw; None for the first ten classes. For images only.
        n_queries : int, default=8
            Draw at most this many queries of a row: the first ones given. For images only.
        n_shot : int, default=5
            Draw at most this many support examples of a row. For images only.
        cmap : str or Colormap, default="gray_r"
            Colours of images with one channel.

        Returns
        -------
        display : EpisodeDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        for name, value in (("n_queries", n_queries), ("n_shot", n_shot)):
            if value < 1:
                raise ValueError(
                    f"The '{name}' parameter of {type(self).__name__} must be at least 1. "
                    f"Got {value}."
                )
        if _are_images(self.X_support):
            rows = self._rows(classes, n_queries, n_shot)
            self.ax_ = draw_rows(rows, self._headings(len(rows)), cmap=cmap, ax=ax)
        else:
            self.ax_ = self._draw_points(ax)
            self.ax_.set_title(self._title())
        self.figure_ = self.ax_.figure
        return self

    def _draw_points(self, ax: Axes | None) -> Axes:
        points, share = principal_plane(np.concatenate([self.X_support, self.X_query]))
        support, query = np.split(points, [len(self.X_support)])
        wrong = None if self.y_query is None else np.asarray(self.y_query != self.y_pred)
        names = plane_names(share)
        return draw_points(
            support, self.y_support, query, self.y_pred, wrong=wrong, axis_names=names, ax=ax
        )

    def _rows(self, classes: ArrayLike | None, n_queries: int, n_shot: int) -> list[Row]:
        present = self._classes()
        shown = present[:MAX_CLASSES] if classes is None else np.atleast_1d(np.asarray(classes))
        if not len(shown) or not np.isin(shown, present).all():
            raise ValueError(
                f"The 'classes' parameter of {type(self).__name__} must hold labels of the support "
                f"set or predicted ones: {label_text(present)}. Got {label_text(shown)}."
            )
        support, query = _as_images(self.X_support, self.X_query)
        return [self._row(label, support, query, n_queries, n_shot) for label in shown]

    def _row(
        self, label: Label, support: np.ndarray, query: np.ndarray, n_queries: int, n_shot: int
    ) -> Row:
        """Return the row of a class: its first queries, the most confident one first."""
        given = np.flatnonzero(self.y_pred == label)
        drawn = given[:n_queries]
        if self.confidence is not None:
            drawn = drawn[np.argsort(-self.confidence[drawn], kind="stable")]
        examples = np.flatnonzero(self.y_support == label)[:n_shot]
        return Row(
            str(label),
            [Tile(support[i], PLAIN) for i in examples],
            [self._tile(i, query[i]) for i in drawn],
            len(given) - len(drawn),
        )

    def _tile(self, query: int, image: np.ndarray) -> Tile:
        note = "" if self.confidence is None else f"{100 * self.confidence[query]:.0f} %"
        if self.y_query is None:
            return Tile(image, PLAIN, note)
        if self.y_query[query] == self.y_pred[query]:
            return Tile(image, RIGHT, note)
        return Tile(image, WRONG, note, f"is {self.y_query[query]}")

    def _classes(self) -> np.ndarray:
        return np.unique(np.concatenate([self.y_support, self.y_pred]))

    def _headings(self, n_rows: int) -> Headings:
        n_classes = len(self._classes())
        return Headings(
            title=self._title(),
            classes="class" if n_rows == n_classes else f"class\n{n_rows} of {n_classes}",
            queries="each in the row of its predicted class"
            + ("" if self.confidence is None else ", with the confidence"),
            frames={}
            if self.y_query is None
            else {"right": RIGHT, "wrong: the true class stands below": WRONG},
        )

    def _title(self) -> str:
        labels, n_shot = np.unique(self.y_support, return_counts=True)
        few, many = n_shot.min(), n_shot.max()
        shots = f"{few}" if few == many else f"{few} to {many}"
        noun = "example" if many == 1 else "examples"
        task = f"{len(labels)} classes from {shots} {noun} each"
        if self.y_query is None:
            return f"{task}: predictions for {len(self.y_pred)} queries"
        n_right = int(np.sum(self.y_query == self.y_pred))
        share = f"{100 * n_right / len(self.y_pred):.0f} %"
        return f"{task}: {n_right} of {len(self.y_pred)} queries right ({share})"


def adapt_to(estimator: Estimator, X_support: ArrayLike, y_support: ArrayLike) -> Estimator:
    """Return a classifier of the support's classes; one that has its support already stays."""
    if isinstance(walk(estimator).end, FewShotClassifier):
        check_is_fitted(estimator)
        return estimator
    return adapt(estimator, X_support, y_support)


def _showable(classifier: Estimator, X: ArrayLike) -> np.ndarray:
    """Return images where X has some, else the embedding."""
    path = walk(classifier)
    pixels = np.asarray(X)
    if pixels.ndim == 2 and math.prod(path.end.input_shape_) == pixels.shape[1]:
        pixels = pixels.reshape(len(pixels), *path.end.input_shape_)
    if _are_images(pixels):
        return pixels
    return embed_after(path, X)


def embed_after(path: Path, X: ArrayLike) -> np.ndarray:
    """Return the embedding of samples that pass through the transformers of a path first."""
    last = path.end
    X = check_like_fitted(last, path.transform(X))
    return last._network.embed(X)


def _are_images(X: np.ndarray) -> bool:
    return X.ndim == 4 and X.shape[1] in (1, 3, 4)


def _check_samples(X_support: ArrayLike, X_query: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    X_support, X_query = np.asarray(X_support), np.asarray(X_query)
    check_layout(X_support)
    if X_support.shape[1:] != X_query.shape[1:] or X_support.ndim < 2:
        raise ValueError(
            "X_support and X_query must hold samples of one shape, a first axis of samples before "
            f"it. Got arrays of shape {X_support.shape} and {X_query.shape}."
        )
    if not len(X_support) or not len(X_query):
        raise ValueError(
            f"There must be support examples and queries. Got {len(X_support)} and {len(X_query)}."
        )
    return X_support, X_query


def check_entries(name: str, values: ArrayLike, X_name: str, X: np.ndarray) -> np.ndarray:
    """Return labels, one for each sample, or raise."""
    if np.shape(values)[:1] != (len(X),):
        got = "None" if values is None else f"an array of shape {np.shape(values)}"
        raise ValueError(f"{name} must have one label a sample of {X_name}: {len(X)}. Got {got}.")
    return check_labels(X, values, names=(X_name, name))


def check_optional(
    name: str, values: ArrayLike | None, X_name: str, X: np.ndarray
) -> np.ndarray | None:
    """Return labels as :func:`check_entries` does, or None if there are none."""
    return None if values is None else check_entries(name, values, X_name, X)


def _as_images(*images: np.ndarray) -> list[np.ndarray]:
    """Return images with channels last, all on one scale from 0 to 1."""
    low = min(float(X.min()) for X in images)
    high = max(float(X.max()) for X in images)
    return [np.moveaxis((X - low) / (high - low or 1.0), 1, -1) for X in images]
