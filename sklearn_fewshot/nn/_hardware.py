"""What the hardware offers: device, precision, and an allocator that keeps what it has."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into cuda where there is one, else cpu."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def resolve_precision(precision: str, device: torch.device, input_ndim: int) -> torch.dtype | None:
    """Return the autocast dtype of training, None for float32.

    ``"auto"`` takes bfloat16 where the device multiplies it natively and samples are pictures;
    vectors and series are too small to gain.
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


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt(3)
_lock = threading.Lock()
_n_holders = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep glibc from returning big blocks to the system while the block runs.

    Otherwise every activation over 32 MB is mapped, page-faulted and unmapped at each training
    step. Elsewhere than on glibc this does nothing. The settings are those of the process: nested
    and concurrent uses share them, and the last to leave restores glibc's defaults and hands
    unused memory back.
    """
    global _n_holders
    with _lock:
        _n_holders += 1
        if _n_holders == 1:
            _set_malloc(mmap_max=0, trim_threshold=-1)
    try:
        yield
    finally:
        with _lock:
            _n_holders -= 1
            if _n_holders == 0:
                # The greatest thresholds that glibc's own dynamic adjustment reaches.
                _set_malloc(mmap_max=65536, trim_threshold=64 * 2**20)


def _set_malloc(*, mmap_max: int, trim_threshold: int) -> None:
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_MAX, mmap_max)
        libc.mallopt(_TRIM_THRESHOLD, trim_threshold)
        libc.malloc_trim(0)
    except (OSError, AttributeError):
        return
