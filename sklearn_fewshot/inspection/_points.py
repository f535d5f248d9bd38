"""Samples as points: support large, queries small, errors crossed."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from ._axes import COLORS, MARKERS, axes_or_new


def draw_points(
    X_support: np.ndarray,
    y_support: np.ndarray,
    X_query: np.ndarray,
    y_pred: np.ndarray,
    *,
    wrong: np.ndarray | None,
    ax: Any,
) -> Any:
    """Draw samples on their first two principal components.

    Parameters
    ----------
    X_support : ndarray of shape (n_support, ...)
        Support examples.
    y_support : ndarray of shape (n_support,)
        Their labels.
    X_query : ndarray of shape (n_queries, ...)
        Queries.
    y_pred : ndarray of shape (n_queries,)
        Their predicted labels.
    wrong : bool ndarray of shape (n_queries,) or None
        Which predictions are wrong, if known.
    ax : matplotlib Axes or None
        Axes to draw in; None for a new figure.

    Returns
    -------
    ax : matplotlib Axes
    """
    ax = axes_or_new(ax, figsize=(7, 5.5))
    points, share = principal_plane(np.concatenate([X_support, X_query]))
    support, query = np.split(points, [len(X_support)])
    for k, label in enumerate(np.unique(np.concatenate([y_support, y_pred]))):
        look = {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)]}
        examples = support[y_support == label]
        ax.scatter(*query[y_pred == label].T, s=30, alpha=0.7, ec="0.3", lw=0.4, **look)
        ax.scatter(*examples.T, s=170, ec="k", zorder=3, **look)
        _write_name(ax, examples, label)
    if wrong is not None:
        ax.scatter(*query[wrong].T, s=45, marker="x", c="k", lw=1.2, zorder=2)
    _draw_legend(ax, errors=wrong is not None)
    names = (f"principal component {k + 1} ({100 * share[k]:.0f} % of variance)" for k in (0, 1))
    ax.set(xlabel=next(names), ylabel=next(names))
    return ax


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


def _write_name(ax: Any, examples: np.ndarray, label: Any) -> None:
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


def _draw_legend(ax: Any, *, errors: bool) -> None:
    from matplotlib.lines import Line2D

    looks: dict[str, dict[str, Any]] = {
        "support": {"marker": "o", "ms": 12, "color": "0.6", "mec": "k"},
        "query, as the class it was taken for": {"marker": "o", "color": "0.6"},
        "wrong": {"marker": "x", "color": "k"},
    }
    if not errors:
        del looks["wrong"]
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.1 * (high - low))  # room for the legend
    handles = [Line2D([], [], ls="", label=name, **look) for name, look in looks.items()]
    ax.legend(handles=handles, fontsize="small", loc="upper center", ncols=len(handles))
