"""Device, precision, and an allocator that keeps its memory."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into cuda if it is available, else cpu.

    Examples
    --------
    >>> from sklearn_fewshot.nn import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def resolve_precision(precision: str, device: torch.device, input_ndim: int) -> torch.dtype | None:
    """Return the autocast dtype of training, None for float32.

    ``"auto"`` takes bfloat16 if the device multiplies it natively and samples are images;
    vectors and series are too small to gain.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import resolve_precision
    >>> resolve_precision("bfloat16", torch.device("cpu"), input_ndim=3)
    torch.bfloat16
    """
    if precision == "bfloat16":
        return torch.bfloat16
    if precision == "auto" and input_ndim == 3 and has_native_bfloat16(device):
        return torch.bfloat16
    return None


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are native instructions of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether data may be stored on the device: half of its free memory is left to the network."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return 2 * n_bytes <= free


def move(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy values to the device, asynchronously to a GPU."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class OutOfMemory(MemoryError):
    """Memory ran out; the message names the parameters to lower."""


@contextmanager
def says_what_to_lower(advice: str) -> Iterator[None]:
    """Turn the errors of several allocators into one that names the parameters to lower.

    Parameters
    ----------
    advice : str
        A sentence for the message. Of nested blocks, that of the innermost one.

    Examples
    --------
    >>> from sklearn_fewshot.nn import says_what_to_lower
    >>> try:
    ...     with says_what_to_lower("Lower predict_batch_size."):
    ...         raise MemoryError("4 GB wanted.")
    ... except MemoryError as error:
    ...     print(error)
    Memory ran out. Lower predict_batch_size. Got: 4 GB wanted.
    """
    try:
        yield
    except OutOfMemory:
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise OutOfMemory(f"Memory ran out. {advice} Got: {reason or 'no details'}") from error


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error is one of memory; on the CPU, torch raises it as a RuntimeError."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text or "not enough memory" in text or "out of memory" in text


# Parameters of glibc's mallopt(3), and the greatest values that its own adjustment reaches.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_GREATEST_MMAP_THRESHOLD, _GREATEST_TRIM_THRESHOLD = 32 * 2**20, 64 * 2**20
_OFF = "SKLEARN_FEWSHOT_MALLOC"
# Environment variables by which the host sets these parameters, or others that depend on them.
_SET_BY_HOST = "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"
_TUNED_BY_HOST = "glibc.malloc.mmap_", "glibc.malloc.trim_threshold"
_lock = threading.Lock()
_n_holders = 0
_is_set = False


@contextmanager
def kept_memory(*, hand_back: bool = True) -> Iterator[None]:
    """Keep glibc from returning big blocks to the system while the block runs.

    Otherwise every activation over 32 MB, and at first smaller ones too, is mapped, page-faulted
    and unmapped at each step. The settings are those of the process: nested and concurrent uses
    share them, and the last to exit resets them. glibc has no function to read the previous values:
    they are reset to its default number of mappings, and to the thresholds at which its dynamic
    adjustment ends after such allocations; that adjustment is disabled from then on.

    Nothing is set without glibc, if the environment variable ``SKLEARN_FEWSHOT_MALLOC`` is ``"0"``
    on entry, or if the process was started with other settings of the same parameters
    (``MALLOC_..._``, ``GLIBC_TUNABLES``).

    Parameters
    ----------
    hand_back : bool
        Whether the last to exit releases unused memory to the system at once. The memory of a short
        block may stay: the next one needs it again, and beyond 64 MB glibc releases it anyway.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import kept_memory
    >>> with kept_memory():
    ...     total = torch.ones(1000, 1000).sum()
    >>> total
    tensor(1000000.)
    """
    global _n_holders, _is_set
    with _lock:
        _n_holders += 1
        if not _is_set and _may_set_malloc():
            _is_set = True
            _set_malloc(mmap_max=0, trim_threshold=-1)
    try:
        yield
    finally:
        with _lock:
            _n_holders -= 1
            if _n_holders == 0 and _is_set:
                _is_set = False
                _set_malloc(mmap_max=65536, trim_threshold=_GREATEST_TRIM_THRESHOLD)
                if hand_back:
                    _trim()


def _may_set_malloc() -> bool:
    """Whether the host program has not set the allocator itself."""
    tuned = os.environ.get("GLIBC_TUNABLES", "")
    return not (
        os.environ.get(_OFF) == "0"
        or any(name in os.environ for name in _SET_BY_HOST)
        or any(name in tuned for name in _TUNED_BY_HOST)
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")


def _set_malloc(*, mmap_max: int, trim_threshold: int) -> None:
    with suppress(OSError, AttributeError):  # not glibc
        libc = _libc()
        libc.mallopt(_MMAP_MAX, mmap_max)
        libc.mallopt(_MMAP_THRESHOLD, _GREATEST_MMAP_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, trim_threshold)


def _trim() -> None:
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(0)
