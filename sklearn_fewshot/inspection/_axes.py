"""What the displays share: axes, looks, a line to compare with, names in the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colours of Okabe and Ito (2008); with 11 shapes, 88 classes look different.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = "os^DvP<>hpd"


def axes_or_new(ax: Axes | None, figsize: tuple[float, float] = (7, 4.5)) -> Axes:
    """Return the axes, or those of a new figure if there are none.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Axes to draw in.
    figsize : (float, float), default=(7, 4.5)
        Width and height of a new figure in inches.

    Returns
    -------
    ax : matplotlib Axes
    """
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1] if ax is None else ax


def next_look(ax: Axes, given: dict[str, Any]) -> dict[str, Any]:
    """Return how the next line looks: in colour and marker like no line that is there already.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes with lines.
    given : dict
        Properties of the line that the user chose, under any of their names (``c``, ``color``).

    Returns
    -------
    look : dict
        Properties under their full names.
    """
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    place = len(ax.lines)
    look = {"color": COLORS[place % len(COLORS)], "marker": MARKERS[place % len(MARKERS)]}
    return look | {"markersize": 5} | normalize_kwargs(given, Line2D)


def draw_diagonal(ax: Axes, label: str) -> None:
    """Draw the line on which both axes agree, once in any axes."""
    if not is_in_legend(ax, label):
        ax.axline((0, 0), slope=1, color="0.4", ls=":", zorder=1.5, label=label)


def is_in_legend(ax: Axes, label: str) -> bool:
    """Return whether something in the axes has this label already."""
    return label in ax.get_legend_handles_labels()[1]


def label_of(name: str | None, text: str) -> str:
    """Return what the legend says of a line of this name."""
    return text if name is None else f"{name}: {text}"
