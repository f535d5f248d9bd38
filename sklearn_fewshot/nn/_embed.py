"""Embedding any number of samples in bounded memory, each independent of its neighbours."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..utils._memory_map import release_pages
from ._data import as_input, as_tensor
from ._hardware import kept_memory
from ._modes import autocast, evaluating
from ._module import EmbedsRows

LADDER = (1, 8, 32)  # batch sizes for images and series, below the full batch
FEW_ROWS = 8  # too few to configure the allocator for


def embed(
    network: nn.Module,
    X: NDArray[np.generic],
    *,
    scale: float = 1.0,
    batch_size: int = 128,
    autocast_dtype: torch.dtype | None = None,
    on_rows: Callable[[int], object] | None = None,
) -> NDArray[np.float32]:
    """Embed samples in chunks of fixed sizes.

    The kernels of matrix products and convolutions depend on the batch size, and with them the
    rounding errors. Vectors are therefore always embedded in full chunks, padded with zero rows;
    images and series in chunks of a few sizes, since a full chunk for one image is expensive.

    Parameters
    ----------
    network : nn.Module
        A backbone, or a module that :class:`EmbedsRows`, in any mode.
    X : ndarray of shape (n_samples, *input_shape)
        Samples.
    scale : float
        Factor applied to the samples.
    batch_size : int
        Rows of a full chunk.
    autocast_dtype : torch.dtype or None
        Lower precision, if not None.
    on_rows : callable or None
        Called with the number of rows of each chunk that is done, for a progress bar.

    Returns
    -------
    embedding : float32 ndarray of shape (n_samples, *embedding_shape)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.nn import embed
    >>> from sklearn_fewshot.nn.backbones import Conv4
    >>> embed(Conv4((1, 28, 28)), np.zeros((10, 1, 28, 28), np.uint8), scale=1 / 255).shape
    (10, 64)
    """
    encode = network.embed if isinstance(network, EmbedsRows) else network
    values = chain(network.parameters(), network.buffers())
    device = next((value.device for value in values), torch.device("cpu"))
    sizes = chunk_sizes(X.ndim, batch_size)
    keeps = device.type == "cpu" and len(X) > FEW_ROWS
    memory = kept_memory(hand_back=False) if keeps else nullcontext()
    embedding = np.empty(0, np.float32)
    with memory, evaluating(network), autocast(device, autocast_dtype):
        for start, stop, size in chunks(len(X), sizes):
            rows = _pad(as_tensor(X[start:stop]).to(device), size)
            part = encode(as_input(rows, scale))[: stop - start].float().cpu().numpy()
            if start == 0:
                embedding = np.empty((len(X), *part.shape[1:]), np.float32)
            embedding[start:stop] = part
            release_pages(X)
            if on_rows is not None:
                on_rows(stop - start)
    return embedding


def chunk_sizes(ndim: int, batch_size: int) -> tuple[int, ...]:
    """Return the chunk sizes of arrays of ``ndim`` dimensions: one for vectors.

    Examples
    --------
    >>> from sklearn_fewshot.nn import chunk_sizes
    >>> chunk_sizes(2, 128), chunk_sizes(4, 128)
    ((128,), (1, 8, 32, 128))
    """
    if ndim == 2:
        return (batch_size,)
    return (*(size for size in LADDER if size < batch_size), batch_size)


def chunks(n: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Cut ``n`` rows into (start, stop, size of the padded chunk).

    A remainder is padded to the next size if that is at least half full, else it is cut further.

    Examples
    --------
    >>> from sklearn_fewshot.nn import chunks
    >>> list(chunks(140, (1, 8, 32, 128)))
    [(0, 128, 128), (128, 136, 8), (136, 137, 1), (137, 138, 1), (138, 139, 1), (139, 140, 1)]
    """
    start = 0
    while start < n:
        remainder = n - start
        upper = next((s for s in sizes if s >= remainder), sizes[-1])
        lower = max((s for s in sizes if s <= remainder), default=upper)
        size = upper if 2 * remainder > upper else lower
        stop = min(n, start + size)
        yield start, stop, size
        start = stop


def _pad(rows: Tensor, size: int) -> Tensor:
    if len(rows) == size:
        return rows
    return torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])])
