"""The embedding of an episode in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from ..adapted import Path, walk
from ..utils._sklearn import check_matplotlib_support
from ..utils._typing import ArrayLike, Estimator
from ._episode import adapt_to, check_entries, check_optional, embed_after
from ._points import draw_points, plane_names, principal_plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NO_LABELS = "Give y_query, y_pred or both: queries are drawn by their classes."


class EmbeddingDisplay:
    """Figure of the embedding of support examples and queries, in two dimensions.

    Where queries lie nearest to the prototype of their own class, they are recognised. A plane
    shows less than all dimensions: classes that overlap in it may be separated in the embedding.

    It is recommended to use :meth:`from_estimator` or :meth:`from_embeddings`.

    Parameters
    ----------
    support : ndarray of shape (n_support, 2)
        Support examples in the plane.
    y_support : ndarray of shape (n_support,)
        Their labels.
    query : ndarray of shape (n_queries, 2)
        Queries in the plane.
    y_query : ndarray of shape (n_queries,) or None, default=None
        Their true labels; None if unknown.
    y_pred : ndarray of shape (n_queries,) or None, default=None
        Their predicted labels; None if there are none. One of the two must be given.
    prototypes : ndarray of shape (n_classes, 2) or None, default=None
        Representations of the classes, in the sorted order of their labels.
    axis_names : (str, str), default=("", "")
        Names of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure containing the axes.

    See Also
    --------
    EpisodeDisplay : The images themselves, with predictions and confidence.

    Examples
    --------
    Before and after meta-training, on classes that training has not seen:

    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.inspection import EmbeddingDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 6, y >= 6
    >>> X_new, y_new = X[new], y[new]
    >>> figure, axes = plt.subplots(1, 2, figsize=(12, 5))
    >>> for ax, max_epochs in zip(axes, (0, 5)):
    ...     learner = ProtoNetClassifier(max_epochs=max_epochs, random_state=0)
    ...     learner.fit(X[base], y[base])
    ...     EmbeddingDisplay.from_estimator(
    ...         learner, X_new[:12], y_new[:12], X_new[12:200], y_new[12:200], ax=ax
    ...     )
    ProtoNetClassifier(...)
    <...>
    ProtoNetClassifier(...)
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        support: np.ndarray,
        y_support: np.ndarray,
        query: np.ndarray,
        *,
        y_query: np.ndarray | None = None,
        y_pred: np.ndarray | None = None,
        prototypes: np.ndarray | None = None,
        axis_names: tuple[str, str] = ("", ""),
    ) -> None:
        self.support = support
        self.y_support = y_support
        self.query = query
        self.y_query = y_query
        self.y_pred = y_pred
        self.prototypes = prototypes
        self.axis_names = axis_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_support: ArrayLike,
        y_support: ArrayLike,
        X_query: ArrayLike,
        y_query: ArrayLike | None = None,
        *,
        transformer: Estimator = None,
        ax: Axes | None = None,
    ) -> EmbeddingDisplay:
        """Embed an episode, bring it into the plane and draw it.

        Parameters
        ----------
        estimator : fitted learner or FewShotClassifier, or a pipeline or search that ends in one
            A learner is adapted to the support set; a classifier that is adapted already stays.
        X_support : array-like of shape (n_support, ...)
            Support examples.
        y_support : array-like of shape (n_support,)
            Their labels.
        X_query : array-like of shape (n_queries, ...)
            Queries.
        y_query : array-like of shape (n_queries,) or None, default=None
            Their true labels, if known: queries have the marker of their class, and wrong
            predictions are crossed. Without, queries have the marker of the predicted class.
        transformer : transformer or None, default=None
            Brings the embedding into two dimensions by ``fit_transform``, such as
            :class:`sklearn.manifold.TSNE`. It is cloned. None for principal components.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the arrays do not fit each other or the estimator, or the transformer does not return
            two columns.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        classifier = adapt_to(estimator, X_support, y_support)
        path = walk(classifier)
        last, prototypes = path.end, None
        if last._network.averages and set(last.classes_) == set(np.unique(y_support)):
            prototypes = last._support.representation.embedding.reshape(len(last.classes_), -1)
        return cls.from_embeddings(
            _embed(path, X_support),
            y_support,
            _embed(path, X_query),
            y_query,
            y_pred=classifier.predict(X_query),
            prototypes=prototypes,
            transformer=transformer,
            ax=ax,
        )

    @classmethod
    def from_embeddings(
        cls,
        support: ArrayLike,
        y_support: ArrayLike,
        query: ArrayLike,
        y_query: ArrayLike | None = None,
        *,
        y_pred: ArrayLike | None = None,
        prototypes: ArrayLike | None = None,
        transformer: Estimator = None,
        ax: Axes | None = None,
    ) -> EmbeddingDisplay:
        """Bring embeddings of your own into the plane and draw them.

        Parameters
        ----------
        support : array-like of shape (n_support, embedding_dim)
            Embedded support examples.
        y_support : array-like of shape (n_support,)
            Their labels.
        query : array-like of shape (n_queries, embedding_dim)
            Embedded queries.
        y_query : array-like of shape (n_queries,) or None, default=None
            Their true labels, if known.
        y_pred : array-like of shape (n_queries,) or None, default=None
            Their predicted labels, if there are any. One of the two must be given.
        prototypes : array-like of shape (n_classes, embedding_dim) or None, default=None
            Representations of the classes, in the sorted order of their labels.
        transformer : transformer or None, default=None
            As in :meth:`from_estimator`.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If the arrays do not fit each other, or the transformer does not return two columns.
        """
        check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        parts = _check_parts(support, query, prototypes)
        y_support = check_entries("y_support", y_support, "support", parts[0])
        labels = {
            "y_query": check_optional("y_query", y_query, "query", parts[1]),
            "y_pred": check_optional("y_pred", y_pred, "query", parts[1]),
        }
        if y_query is None and y_pred is None:
            raise ValueError(NO_LABELS)
        n_classes = len(np.unique(y_support))
        if prototypes is not None and len(parts[2]) != n_classes:
            raise ValueError(
                f"There must be one prototype for each of the {n_classes} classes of y_support. "
                f"Got {len(parts[2])}."
            )
        points, axis_names = _in_the_plane(cls.__name__, np.concatenate(parts), transformer)
        in_plane = np.split(points, np.cumsum([len(part) for part in parts[:-1]]))
        support, query, *rest = in_plane
        display = cls(
            support,
            y_support,
            query,
            **labels,
            prototypes=rest[0] if rest else None,
            axis_names=axis_names,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> EmbeddingDisplay:
        """Draw the plane.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        display : EmbeddingDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        is_known = self.y_query is not None
        labels = self.y_query if self.y_query is not None else self.y_pred
        if labels is None:
            raise ValueError(NO_LABELS)
        wrong = None if not is_known or self.y_pred is None else np.asarray(labels != self.y_pred)
        self.ax_ = draw_points(
            self.support,
            self.y_support,
            self.query,
            labels,
            wrong=wrong,
            prototypes=self.prototypes,
            query_text=f"query, as {'its class' if is_known else 'its predicted class'}",
            axis_names=self.axis_names,
            ax=ax,
        )
        if wrong is not None:
            n_right, n_queries = int(np.sum(~wrong)), len(wrong)
            share = 100 * n_right / n_queries
            self.ax_.set_title(f"{n_right} of {n_queries} queries right ({share:.0f} %)")
        self.figure_ = self.ax_.figure
        return self


def _embed(path: Path, X: ArrayLike) -> np.ndarray:
    """Return the embedding of samples, flat."""
    embedding = embed_after(path, X)
    return embedding.reshape(len(embedding), -1)


def _check_parts(
    support: ArrayLike, query: ArrayLike, prototypes: ArrayLike | None
) -> list[np.ndarray]:
    names = ("support", "query", "prototypes")
    parts = [np.asarray(part) for part in (support, query, prototypes) if part is not None]
    for name, part in zip(names, parts, strict=False):
        if part.ndim != 2 or not len(part) or part.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"support, query and prototypes must be tables of one width, with at least a row. "
                f"Got {name} of shape {part.shape}, where support has {parts[0].shape}."
            )
    return parts


def _in_the_plane(
    owner: str, rows: np.ndarray, transformer: Estimator
) -> tuple[np.ndarray, tuple[str, str]]:
    """Return rows in two dimensions, and the names of these."""
    if transformer is None:
        points, share = principal_plane(rows)
        return points, plane_names(share)
    if not hasattr(transformer, "fit_transform"):
        raise ValueError(
            f"The 'transformer' parameter of {owner} must have fit_transform, such as TSNE(). Got "
            f"{transformer!r}."
        )
    points = np.asarray(clone(transformer).fit_transform(rows))
    if points.shape != (len(rows), 2):
        raise ValueError(
            f"The 'transformer' parameter of {owner} must return two columns: set its "
            f"n_components=2. Got an array of shape {points.shape} from {transformer!r}."
        )
    name = type(transformer).__name__
    return points, (f"{name}, first dimension", f"{name}, second dimension")
