"""Arrays on the device: rows in, network inputs out."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..utils._memory_map import some_rows, stays_on_disk
from ._hardware import fits, move


class DataTensor:
    """All samples as one tensor on the device, in the dtype of the array.

    Integer images are stored as integers until they are gathered: a quarter of the memory. Big
    memory maps stay on disk, and arrays that do not fit on the device in host memory; their rows
    are copied to the device when they are gathered (``HostRows``).

    Parameters
    ----------
    X : ndarray of shape (n_samples, *input_shape)
        Samples.
    device : torch.device
        Device of the tensor.
    scale : float
        Factor applied to gathered rows.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.nn import DataTensor
    >>> images = np.full((100, 1, 4, 4), 255, np.uint8)
    >>> data = DataTensor(images, torch.device("cpu"), scale=1 / 255)
    >>> rows = data.take(np.array([3, 1]))
    >>> rows.shape, rows.dtype, float(rows.max())
    (torch.Size([2, 1, 4, 4]), torch.float32, 1.0)
    """

    def __init__(self, X: NDArray[np.generic], device: torch.device, scale: float = 1.0) -> None:
        stays = stays_on_disk(X) or not fits(X.nbytes, device)
        self.data: Any = HostRows(X, device) if stays else as_tensor(X).to(device)
        self.scale = scale

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.data)

    def as_array(self) -> NDArray[np.generic]:
        """Return all samples, off the device."""
        return self.data.X if isinstance(self.data, HostRows) else self.data.cpu().numpy()

    def take(self, rows: NDArray[np.intp]) -> Tensor:
        """Gather rows as float32 network input, images in channels-last memory."""
        if isinstance(self.data, HostRows):
            return as_input(self.data.take(rows), self.scale)
        index = move(torch.from_numpy(rows), self.data.device)
        return as_input(self.data.index_select(0, index), self.scale)


class HostRows:
    """Rows of an array in host memory or on disk, copied to the device when they are gathered.

    Parameters
    ----------
    X : ndarray of shape (n_samples, *input_shape)
        The array, perhaps a memory map or a view of one.
    device : torch.device
        Device of the gathered rows.
    """

    def __init__(self, X: NDArray[np.generic], device: torch.device) -> None:
        self.X = X
        self.shape = X.shape
        self.device = device

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.X)

    def take(self, rows: NDArray[np.intp]) -> Tensor:
        """Read rows, in the dtype of the array."""
        return move(as_tensor(some_rows(self.X, rows)), self.device)


def as_tensor(X: NDArray[np.generic]) -> Tensor:
    """Turn an array into a tensor, sharing memory where torch allows it."""
    X = np.ascontiguousarray(X, dtype=X.dtype.newbyteorder("="))
    if X.dtype in (np.uint16, np.uint32, np.uint64, np.float16, np.float64, np.longdouble):
        X = X.astype(np.float32)
    return torch.from_numpy(X if X.flags.writeable else X.copy())


def as_input(rows: Tensor, scale: float) -> Tensor:
    """Convert gathered rows to float32 and apply the input scale."""
    rows = (channels_last(rows) if rows.ndim == 4 else rows).float()
    return rows if scale == 1.0 else rows * scale


def channels_last(images: Tensor) -> Tensor:
    """Lay out images of shape (n, channels, height, width) with their channels last in memory.

    The strides select the kernel of a convolution, and ``contiguous(memory_format=...)`` does not
    change those of one-channel images, which would get the slow kernel.
    """
    _, channels, height, width = images.shape
    strides = (height * width * channels, 1, width * channels, channels)
    return images.movedim(1, -1).contiguous().as_strided(images.shape, strides)
