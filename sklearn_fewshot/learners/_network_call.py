"""How a pretrained network is called: with full batches of tensors, on one device."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..nn import resolve_device
from ..nn._data import as_input, as_tensor
from ._samples import OWNER

# ---------------------------------------------------------------------- samples


def scale_of(batch: np.ndarray) -> float:
    """Return the factor that brings 8-bit pictures to [0, 1]; 1 for everything else."""
    return 1.0 / 255.0 if batch.ndim == 4 and batch.dtype == np.uint8 else 1.0


def rows_of(batch: np.ndarray) -> Any:
    """Return samples as a tensor; texts remain an array of objects."""
    if batch.dtype == object:
        return batch
    with np.errstate(over="ignore"):  # infinity then shows in the embedding
        return as_tensor(batch)


def filled_up(rows: Any, size: int, scale: float) -> Tensor | list[str]:
    """Return what the network is called with: samples, repeating the last up to ``size``.

    Not zeros: a callable may divide by the length.
    """
    if not isinstance(rows, Tensor):
        return [*rows, *[rows[-1]] * (size - len(rows))]
    some = as_input(rows, scale)
    return torch.cat([some, some[-1:].expand(size - len(some), *some.shape[1:])])


# ---------------------------------------------------------------------- modules


def device_for(module: nn.Module, device: str | torch.device) -> torch.device:
    """Return the device to compute on: for "auto" that of the module, unless it is the CPU."""
    there = next((p.device for p in (*module.parameters(), *module.buffers())), None)
    if str(device) == "auto" and there is not None and there.type != "cpu":
        return there
    return resolve_device(device)


def on_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module if all of it is on the device, else a copy that is."""
    tensors = (*module.parameters(), *module.buffers())
    if all(
        t.device.type == device.type and device.index in (None, t.device.index) for t in tensors
    ):
        return module
    return copy.deepcopy(module).to(device)


def name_of_network(module: Any) -> str:
    """Return what an error calls the network."""
    if isinstance(module, str):
        return f"The network {module!r} of {OWNER}"
    return f"The module {getattr(module, '__name__', type(module).__name__)} of {OWNER}"
