"""Samples as points: support large, queries small, errors crossed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA

from ..utils._typing import Label
from ._axes import COLORS, MARKERS, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_points(
    support: np.ndarray,
    y_support: np.ndarray,
    query: np.ndarray,
    y_query: np.ndarray,
    *,
    ax: Axes | None,
    wrong: np.ndarray | None = None,
    prototypes: np.ndarray | None = None,
    query_text: str = "query, as its predicted class",
    axis_names: tuple[str, str] = ("", ""),
) -> Axes:
    """Draw samples in a plane, each class in a look of its own.

    Parameters
    ----------
    support : ndarray of shape (n_support, 2)
        Support examples.
    y_support : ndarray of shape (n_support,)
        Their labels.
    query : ndarray of shape (n_queries, 2)
        Queries.
    y_query : ndarray of shape (n_queries,)
        Classes that they look like.
    ax : matplotlib Axes or None
        Axes to draw in; None for a new figure.
    wrong : bool ndarray of shape (n_queries,) or None, default=None
        Which predictions are wrong, if known.
    prototypes : ndarray of shape (n_classes, 2) or None, default=None
        Representations of the classes of the support set, in their sorted order.
    query_text : str, default="query, as its predicted class"
        What the legend says of queries.
    axis_names : (str, str), default=("", "")
        Names of the two axes.

    Returns
    -------
    ax : matplotlib Axes
    """
    ax = axes_or_new(ax, figsize=(7, 5.5))
    support_classes = np.unique(y_support)
    for k, label in enumerate(np.unique(np.concatenate([y_support, y_query]))):
        color = COLORS[k % len(COLORS)]
        look: dict[str, Any] = {"color": color, "marker": MARKERS[k % len(MARKERS)]}
        examples = support[y_support == label]
        _scatter(ax, query[y_query == label], s=30, alpha=0.7, ec="0.3", lw=0.4, **look)
        _scatter(ax, examples, s=170, ec="k", zorder=3, **look)
        if prototypes is not None:
            examples = prototypes[support_classes == label]
            _draw_prototypes(ax, examples, color)
        _write_name(ax, examples, label)
    if wrong is not None:
        _scatter(ax, query[wrong], s=45, marker="x", c="k", lw=1.2, zorder=2)
    _draw_legend(ax, query_text, errors=wrong is not None, prototypes=prototypes is not None)
    ax.set(xlabel=axis_names[0], ylabel=axis_names[1])
    return ax


def plane_names(share: np.ndarray) -> tuple[str, str]:
    """Return what the axes of :func:`principal_plane` are called."""
    first, second = (
        f"principal component {k + 1} ({100 * share[k]:.0f} % of variance)" for k in (0, 1)
    )
    return first, second


def principal_plane(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal components, and the share of variance that each explains.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, ...)
        Two samples or more.

    Returns
    -------
    points : ndarray of shape (n_samples, 2)
        The samples on the two axes.
    share : ndarray of shape (2,)
        0 for an axis without variance.
    """
    rows = samples.reshape(len(samples), -1).astype(np.float64)
    rows = np.pad(rows, ((0, 0), (0, max(0, 2 - rows.shape[1]))))
    if not np.ptp(rows, axis=0).any():
        return np.zeros((len(rows), 2)), np.zeros(2)
    pca = PCA(2, svd_solver="full").fit(rows)
    return pca.transform(rows), pca.explained_variance_ratio_


def _scatter(ax: Axes, points: np.ndarray, **look: Any) -> None:
    x, y = points.T
    ax.scatter(x, y, **look)


def _write_name(ax: Axes, examples: np.ndarray, label: Label) -> None:
    from matplotlib.patheffects import withStroke

    if len(examples):
        ax.annotate(
            str(label),
            examples[0],
            (9, 9),
            textcoords="offset points",
            weight="bold",
            zorder=4,
            path_effects=[withStroke(linewidth=3, foreground="w")],
        )


def _draw_prototypes(ax: Axes, points: np.ndarray, color: str) -> None:
    """Draw crosses that are seen on any ground."""
    _scatter(ax, points, s=260, marker="P", c="w", ec="k", lw=1.5, zorder=4)
    _scatter(ax, points, s=90, marker="P", color=color, zorder=5)


def _draw_legend(ax: Axes, query_text: str, *, errors: bool, prototypes: bool) -> None:
    from matplotlib.lines import Line2D

    looks: dict[str, dict[str, Any]] = {
        "support": {"marker": "o", "ms": 12, "color": "0.6", "mec": "k"},
        query_text: {"marker": "o", "color": "0.6"},
    }
    if prototypes:
        looks["prototype"] = {"marker": "P", "ms": 12, "color": "0.6", "mec": "k"}
    if errors:
        looks["wrong"] = {"marker": "x", "color": "k"}
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.1 * (high - low))  # room for the legend
    handles = [Line2D([], [], ls="", label=name, **look) for name, look in looks.items()]
    ax.legend(handles=handles, fontsize="small", loc="upper center", ncols=len(handles))
