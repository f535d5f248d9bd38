"""A module as a value with the same pickle and hash in every process: weights as numpy arrays."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class StoredTensor:
    """A tensor as its bytes, without its device.

    Bytes, since numpy does not have all dtypes of torch (bfloat16).
    """

    def __init__(self, tensor: Tensor) -> None:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        self.content = flat.view(torch.uint8).numpy()
        self.shape = tuple(tensor.shape)
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.is_parameter = isinstance(tensor, nn.Parameter)
        self.requires_grad = tensor.requires_grad

    def tensor(self) -> Tensor:
        """Return a tensor of the same values."""
        content = torch.from_numpy(np.array(self.content))
        values = content.view(getattr(torch, self.dtype)).reshape(self.shape)
        if self.is_parameter:
            return nn.Parameter(values, requires_grad=self.requires_grad)
        return values.requires_grad_(self.requires_grad)


class StoredModule:
    """A copy of a module with :class:`StoredTensor` in place of its tensors.

    torch's own pickles contain memory addresses: two pickles of one module differ, and a cache
    would never hit. Tensors of unusual kinds (sparse, quantised, subclasses) are unchanged and
    pickled by torch.

    Parameters
    ----------
    module : nn.Module
        Not changed. Tensors that it shares are stored once, and shared again after loading.
    """

    def __init__(self, module: nn.Module) -> None:
        tensors = {id(value): value for value in _tensors_of(module)}
        stored = {key: StoredTensor(value) for key, value in tensors.items()}
        self.tensors = list(stored.values())
        self.skeleton = copy.deepcopy(module, dict[int, Any](stored))

    def module(self) -> nn.Module:
        """Return the module, on the CPU."""
        # deepcopy replaces every object whose id is in its memo: stored tensors become tensors.
        return copy.deepcopy(
            self.skeleton, {id(stored): stored.tensor() for stored in self.tensors}
        )


def _tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Yield parameters, buffers and plain attributes that are ordinary tensors."""
    for part in module.modules():
        for value in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            if type(value) in (Tensor, nn.Parameter) and _is_plain(value):
                yield value


def _is_plain(tensor: Tensor) -> bool:
    has_values = tensor.device.type != "meta"
    return has_values and tensor.layout is torch.strided and not tensor.is_quantized
