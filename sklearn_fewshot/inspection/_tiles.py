"""Rows of images on one axes: classes, their support, their queries.

The axes is a grid of square tiles: x grows by one from tile to tile, y downwards.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

import numpy as np

# Blue and vermilion of Okabe and Ito (2008): distinguishable with any kind of colour vision,
# and by width and dashes in grey.
RIGHT = {"edgecolor": "#0072B2", "linewidth": 1.5, "linestyle": "-"}
WRONG = {"edgecolor": "#D55E00", "linewidth": 3.0, "linestyle": (0, (2, 1))}
PLAIN = {"edgecolor": "0.6", "linewidth": 1.0, "linestyle": "-"}

INCHES = 0.72  # side of a tile in a figure of our own
SIDE = 0.9  # of an image; all lengths from here on are in tiles
GAP = 0.35  # between support and queries
TEXT = 0.16  # height of the text
LINE = 1.3 * TEXT
GLYPH = 0.6 * TEXT  # width of an average character
HEADER = 0.75
LEGEND = 0.45


ROOM = int(SIDE / GLYPH)  # characters below an image


class Tile(NamedTuple):
    """An image in a frame, with up to two notes below."""

    image: np.ndarray  # (height, width, channels), from 0 to 1
    frame: dict[str, Any]
    note: str = ""
    truth: str = ""

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Text and weight of each line below the image."""
        truth = _wrap(self.truth)
        return [(self.note, "normal")] * bool(self.note) + [(line, "bold") for line in truth]


class Row(NamedTuple):
    """A class."""

    label: str
    support: list[Tile]
    query: list[Tile]
    n_left_out: int


class Headings(NamedTuple):
    """What is written around the rows."""

    title: str
    classes: str
    queries: str
    frames: dict[str, dict[str, Any]]  # the legend


class _Grid(NamedTuple):
    """Where things stand."""

    n_support: int
    n_columns: int
    pitch: float  # from one row to the next
    label_width: float
    bottom: float

    @property
    def queries(self) -> float:
        """Left end of the queries."""
        return self.n_support + GAP

    @property
    def left(self) -> float:
        return -self.label_width - 0.3

    @property
    def right(self) -> float:
        return self.queries + self.n_columns + 0.5

    @property
    def size(self) -> np.ndarray:
        """Width and height of everything."""
        return np.array([self.right - self.left, self.bottom + HEADER])


def _wrap(text: str) -> list[str]:
    """Break a label into lines, between words and after the punctuation that joins them."""
    breakable = re.sub(r"([/_.:])(?=\w)", r"\1 ", text)
    lines = textwrap.wrap(breakable, ROOM + 2, max_lines=3, placeholder="…")
    return [re.sub(r"([/_.:]) ", r"\1", line) for line in lines]


def draw_rows(
    rows: list[Row], headings: Headings, *, cmap: str | Colormap, ax: Axes | None
) -> Axes:
    """Draw one row a class.

    Parameters
    ----------
    rows : list of Row
        The classes.
    headings : Headings
        What is written around them.
    cmap : str or Colormap
        Colours of images with one channel.
    ax : matplotlib Axes or None
        Axes to draw in; None for a new figure.

    Returns
    -------
    ax : matplotlib Axes
    """
    grid = _grid(rows, has_legend=bool(headings.frames))
    ax, tile_points = _axes(ax, grid)
    pen = _Pen(ax, cmap, TEXT * tile_points)
    pen.shade(-0.1, -HEADER, grid.n_support + 0.1, grid.pitch * len(rows) + HEADER - 0.1)
    _write_headings(headings, pen, grid)
    for i, row in enumerate(rows):
        _draw_row(row, pen, grid, grid.pitch * i)
    return ax


def _grid(rows: list[Row], has_legend: bool) -> _Grid:
    n_lines = max((len(tile.lines) for row in rows for tile in row.query), default=0)
    pitch = 1.15 + LINE * n_lines
    return _Grid(
        n_support=max(1, *(len(row.support) for row in rows)),
        n_columns=max(5, *(len(row.query) for row in rows)),
        pitch=pitch,
        label_width=GLYPH * min(24, max(8, *(len(row.label) for row in rows))),
        bottom=pitch * len(rows) + LEGEND * has_legend,
    )


def _axes(ax: Axes | None, grid: _Grid) -> tuple[Axes, float]:
    """Return the axes, prepared, and the side of a tile in points."""
    import matplotlib.pyplot as plt

    width, height = grid.size
    tile_points = 72 * INCHES
    if ax is None:
        title = 0.4  # inches
        figsize = (INCHES * width, INCHES * height + title)
        ax = plt.subplots(figsize=figsize, layout="constrained")[1]
    else:
        box = ax.get_window_extent()
        tile_points = 72 / ax.figure.dpi * min(box.width / width, box.height / height)
    ax.set(xlim=(grid.left, grid.right), ylim=(grid.bottom, -HEADER), aspect="equal")
    ax.set_axis_off()
    return ax, tile_points


def _write_headings(headings: Headings, pen: _Pen, grid: _Grid) -> None:
    pen.text(-0.25, -0.42, headings.classes, ha="right")
    pen.text((grid.n_support - 0.1) / 2, -0.42, "support", weight="bold")
    pen.text(grid.queries, -0.42 - LINE / 2, "queries", ha="left", weight="bold")
    pen.text(grid.queries, -0.42 + LINE / 2, headings.queries, ha="left")
    pen.ax.set_title(headings.title, fontsize=1.3 * pen.size)
    if headings.frames:
        pen.legend(headings.frames)


def _draw_row(row: Row, pen: _Pen, grid: _Grid, y: float) -> None:
    middle = y + SIDE / 2
    label = textwrap.shorten(row.label, 24, placeholder="…") or row.label
    size = 1.8 * pen.size if len(label) == 1 else pen.size
    pen.text(-0.25, middle, label, ha="right", size=size)
    start = (grid.n_support - len(row.support)) / 2
    for column, tile in enumerate(row.support):
        pen.tile(start + column, y, tile)
    for column, tile in enumerate(row.query):
        pen.tile(grid.queries + column, y, tile)
    if row.n_left_out:
        x = grid.queries + len(row.query)
        pen.text(x, middle, f"+{row.n_left_out}", ha="left", color="0.4")
    if not row.query:
        pen.text(grid.queries, middle, "no query predicted as this class", ha="left", color="0.4")


class _Pen:
    """Draws on the grid.

    Parameters
    ----------
    ax : matplotlib Axes
        Where to draw.
    cmap : str or Colormap
        Colours of images with one channel.
    size : float
        Size of the text in points.
    """

    def __init__(self, ax: Axes, cmap: str | Colormap, size: float) -> None:
        self.ax, self.cmap, self.size = ax, cmap, size

    def tile(self, x: float, y: float, tile: Tile) -> None:
        """Draw an image in its frame, with the notes below."""
        self._image(x, y, tile.image, tile.frame)
        for i, (text, weight) in enumerate(tile.lines):
            size = self.size * min(1.0, ROOM / len(text))
            self.text(x + SIDE / 2, y + 1.05 + LINE * i, text, weight=weight, size=size)

    def _image(self, x: float, y: float, image: np.ndarray, frame: dict[str, Any]) -> None:
        height, width, n_channels = image.shape
        longest = max(height, width)
        width, height = SIDE * width / longest, SIDE * height / longest
        x, y = x + (SIDE - width) / 2, y + (SIDE - height) / 2
        self.ax.imshow(
            image[..., 0] if n_channels == 1 else image,
            cmap=self.cmap,
            vmin=0,
            vmax=1,
            extent=(x, x + width, y + height, y),
            interpolation="nearest",
        )
        self.ax.add_patch(_rectangle((x, y), width, height, fill=False, **frame))

    def shade(self, x: float, y: float, width: float, height: float) -> None:
        """Shade a region in the background."""
        self.ax.add_patch(
            _rectangle((x, y), width, height, facecolor="0.92", edgecolor="none", zorder=-1)
        )

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write."""
        where: dict[str, Any] = {"ha": "center", "va": "center", "size": self.size}
        self.ax.text(x, y, text, **where | style)

    def legend(self, frames: dict[str, dict[str, Any]]) -> None:
        """Explain the frames, below everything."""
        handles = [_rectangle((0, 0), 1, 1, fill=False, **frame) for frame in frames.values()]
        self.ax.legend(
            handles,
            list(frames),
            loc="lower left",
            ncols=len(frames),
            frameon=False,
            fontsize=self.size,
            handlelength=1.6,
            handleheight=1.6,
            borderpad=0,
        )


def _rectangle(*args: Any, **style: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(*args, **style)
