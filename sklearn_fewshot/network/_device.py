"""Networks on the device that is there, and back on the CPU."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..nn import FewShotModule, resolve_device


def on_wanted_device(module: FewShotModule, device: str) -> FewShotModule:
    """Move a loaded network to the CPU if requested, else to the available device."""
    return module.to(torch.device("cpu") if device == "cpu" else resolve_device("auto"))


def on_cpu(module: nn.Module) -> nn.Module:
    """Return the module itself if it is on the CPU (pickled once, then), else a copy that is."""
    if all(value.device.type == "cpu" for value in module.state_dict().values()):
        return module
    return copy.deepcopy(module).cpu()


def predict_on(network: Any, device: Any, batch_size: int) -> None:
    """Let a fitted network predict elsewhere, or in other batches."""
    network.module.to(resolve_device(device))
    network.device, network.batch_size = str(device), batch_size
    if network.initial is not None:
        predict_on(network.initial, device, batch_size)
