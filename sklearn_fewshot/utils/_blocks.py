"""Loops over many items in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from sklearn import get_config

MAX_BYTES = 2**25  # larger blocks are no faster: their arrays leave the processor's caches


def blocks(
    n_items: int,
    bytes_per_item: int,
    *,
    max_bytes: int = MAX_BYTES,
    max_items: int | None = None,
    multiple_of: int = 1,
) -> Iterator[slice]:
    """Cut ``n_items`` into slices whose arrays fit into bounded memory.

    Parameters
    ----------
    n_items : int
        Number of items. There is no block where it is 0.
    bytes_per_item : int
        Bytes of what the body of the loop holds for one item: its largest array, or their sum.
    max_bytes, max_items, multiple_of
        See :func:`block_size`.

    Yields
    ------
    block : slice
        Slices follow one another; the last one ends at ``n_items``.

    Examples
    --------
    >>> from sklearn_fewshot.utils._blocks import blocks
    >>> list(blocks(5, 8, max_bytes=16))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = block_size(
        bytes_per_item, max_bytes=max_bytes, max_items=max_items, multiple_of=multiple_of
    )
    for start in range(0, n_items, step):
        yield slice(start, min(start + step, n_items))


def block_size(
    bytes_per_item: int,
    *,
    max_bytes: int = MAX_BYTES,
    max_items: int | None = None,
    multiple_of: int = 1,
) -> int:
    """Return how many items fit into one block.

    Parameters
    ----------
    bytes_per_item : int
        Bytes of what the body of the loop holds for one item.
    max_bytes : int, default=32 MiB
        Bytes of a block. The option ``working_memory`` of :func:`sklearn.set_config`, in MiB,
        takes its place where it is less.
    max_items : int or None, default=None
        Largest block, however few bytes an item has.
    multiple_of : int, default=1
        Blocks are a multiple of this, such as the batch size of a network.

    Returns
    -------
    n_items : int
        At least ``multiple_of``, even if those need more memory.

    Examples
    --------
    >>> import sklearn
    >>> from sklearn_fewshot.utils._blocks import block_size
    >>> block_size(2**20)
    32
    >>> with sklearn.config_context(working_memory=10):
    ...     block_size(2**20), block_size(2**20, multiple_of=4)
    (10, 8)
    """
    n_bytes = min(max_bytes, int(get_config()["working_memory"] * 2**20))
    n_items = n_bytes // max(1, bytes_per_item)
    if max_items is not None:
        n_items = min(n_items, max_items)
    return max(1, n_items // multiple_of) * multiple_of
