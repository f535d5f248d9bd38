"""Draws from many small sets at once, and rows of them that end with padding."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Ints: TypeAlias = npt.NDArray[np.intp]
_Bools: TypeAlias = npt.NDArray[np.bool_]


def sample(size: _Ints, n_items: int, rng: np.random.Generator) -> _Ints:
    """Draw different numbers below each size, in random order.

    Parameters
    ----------
    size : ndarray of shape (...)
        Numbers to draw from.
    n_items : int
        Numbers to draw.
    rng : numpy.random.Generator
        Source of the numbers.

    Returns
    -------
    items : ndarray of shape (..., n_items)
        The numbers, then -1 where `size` is smaller than `n_items`.

    References
    ----------
    R. W. Floyd and J. Bentley, "A sample of brilliance", Communications of the ACM 30(9), 1987.
    """
    if n_items >= size.max(initial=0):
        everything = np.broadcast_to(np.arange(n_items), (size.size, n_items))
        return shuffle(keep_first(everything, size.ravel()), rng).reshape(*size.shape, n_items)
    items = np.empty((n_items, size.size), dtype=np.intp)
    for i, last in enumerate(size.ravel() + np.arange(-n_items, 0)[:, None]):
        draw = rng.integers(0, np.maximum(last, 0), endpoint=True)
        taken = (items[:i] == draw).any(axis=0)
        items[i] = np.where(taken | (last < 0), np.maximum(last, -1), draw)
    return shuffle(items.T, rng).reshape(*size.shape, n_items)


def shuffle(items: _Ints, rng: np.random.Generator) -> _Ints:
    """Return each row in random order, padding last."""
    key = rng.random(items.shape)
    key[items < 0] = 1.0
    return np.take_along_axis(items, np.argsort(key, axis=1), axis=1)


def keep_first(items: _Ints, n_kept: _Ints) -> _Ints:
    """Return items of shape (..., n_items), padded from the n_kept-th (shape (...)) on."""
    return np.where(np.arange(items.shape[-1]) < n_kept[..., None], items, -1)


def padding_last(items: _Ints) -> _Ints:
    return np.take_along_axis(items, np.argsort(items < 0, axis=1, kind="stable"), axis=1)


def draw_from_cells(count: _Ints, chosen: _Bools, n_items: int, rng: np.random.Generator) -> _Ints:
    """Draw items from the chosen cells of each class, numbered over all cells of the class.

    Parameters
    ----------
    count : ndarray of shape (n_episodes, n_way, n_cells)
        Rows of each cell.
    chosen : ndarray of bool of shape (n_episodes, n_way, n_cells)
        Cells to draw from.
    n_items : int
        Items to draw.
    rng : numpy.random.Generator
        Source of the items.

    Returns
    -------
    items : ndarray of shape (n_episodes, n_way, n_items)
        Different items, in random order, then -1 where there are fewer.
    """
    inside = np.where(chosen, count, 0)
    size = inside.sum(axis=-1)
    rank = sample(size, n_items, rng)  # among the chosen rows of the class
    end = np.cumsum(inside).reshape(inside.shape)  # over all classes, to search them in one call
    target = rank + (end[..., -1] - size)[..., None]
    cell = np.searchsorted(end.ravel(), target, side="right")
    skipped = np.cumsum(count - inside, axis=-1).ravel()
    return np.where(rank < 0, -1, rank + skipped[cell])
