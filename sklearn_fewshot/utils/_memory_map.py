"""Memory maps: arrays that stay in their file, read some rows at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import blocks
from ._sklearn import _safe_indexing

LOADED_BELOW = 2**28  # bytes of an array: smaller ones are read into memory as a whole
READ_BYTES = 2**26  # of rows that follow one another
SCATTERED_BYTES = 2**28  # of scattered rows, with what the system reads around them
READ_AHEAD_BYTES = 2**21  # that the system may read around a row


def stays_on_disk(X: Any) -> bool:
    """Whether X is a memory map, or a view of one, that is too big to be loaded."""
    return isinstance(X, np.ndarray) and X.nbytes >= LOADED_BELOW and _memory_map_of(X) is not None


def blocks_of(X: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield all rows in order: an array in memory whole, one that stays on disk block by block."""
    if not stays_on_disk(X):
        yield X
        return
    for part in blocks(len(X), abs(X.strides[0]), max_bytes=READ_BYTES):
        yield X[part]
        release_pages(X)


def rows_from_disk(X: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Copy some rows of a memory map into memory, reading them in the order of the file."""
    copied = np.empty((len(rows), *X.shape[1:]), X.dtype)
    order = np.argsort(rows)
    for part in blocks(len(rows), READ_AHEAD_BYTES, max_bytes=SCATTERED_BYTES):
        copied[order[part]] = X[rows[order[part]]]
        release_pages(X)
    return copied


def some_rows(X: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of what scikit-learn can index, of a memory map as it should be read."""
    return rows_from_disk(X, rows) if stays_on_disk(X) else _safe_indexing(X, rows)


def release_pages(X: NDArray[Any]) -> None:
    """Take what was read of a memory map out of this process; for other arrays, do nothing.

    The system would keep it until memory is short. Nothing is lost: pages that a map shares with
    its file are the file's, written or not, and come back from there. A copy-on-write map (mode
    "c") holds what was written to it in pages of its own, and keeps them all. So do systems
    without ``madvise``.
    """
    memory_map = _memory_map_of(X)
    if memory_map is None or memory_map.mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    with suppress(OSError):  # pages that are locked in memory
        memory_map.base.madvise(mmap.MADV_DONTNEED)


def _memory_map_of(X: Any) -> Any:
    """Return the map of a file that an array is a view of, None for arrays in memory."""
    while X is not None:
        base = getattr(X, "base", None)
        if isinstance(X, np.memmap) and isinstance(base, mmap.mmap):
            return X
        X = base
    return None
