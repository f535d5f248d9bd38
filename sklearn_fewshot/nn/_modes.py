"""Mode and precision of a module."""

import copy
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Autocast to ``dtype`` on ``device``; None does not change the precision.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import autocast
    >>> with autocast(torch.device("cpu"), torch.bfloat16):
    ...     product = torch.eye(2) @ torch.eye(2)
    >>> product.dtype
    torch.bfloat16
    """
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a block in evaluation mode without recording gradients, then restore the modes.

    Threads may share a module: its modes are restored when the last block that uses it ends.

    Gradients can be taken inside, by :mod:`torch.func` or :class:`torch.enable_grad`: modules that
    adapt by gradient steps need them.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_fewshot.nn import evaluating
    >>> module = nn.Dropout()
    >>> with evaluating(module):
    ...     print(module.training)
    False
    >>> module.training
    True
    """
    parts = _enter_evaluation(module)
    try:
        with torch.no_grad():
            yield
    finally:
        _leave_evaluation(parts)


_lock = threading.Lock()
# Blocks within which a part is in evaluation mode that was in training mode, by the part's id.
_n_blocks: Counter[int] = Counter()


def _enter_evaluation(module: nn.Module) -> list[nn.Module]:
    """Set evaluation mode; return the parts whose training mode is to be restored."""
    with _lock:
        parts = [part for part in module.modules() if part.training or id(part) in _n_blocks]
        _n_blocks.update(map(id, parts))
        if any(part.training for part in parts):
            module.eval()
    return parts


def _leave_evaluation(parts: list[nn.Module]) -> None:
    """Restore the training mode of the parts that no other block uses."""
    with _lock:
        for part in parts:
            _n_blocks[id(part)] -= 1
            if not _n_blocks[id(part)]:
                del _n_blocks[id(part)]
                part.training = True


def evaluation_view(module: nn.Module) -> nn.Module:
    """Return a module in evaluation mode that shares the weights of another, which is not changed.

    Parameters
    ----------
    module : nn.Module
        In any mode; other threads may use or train it.

    Returns
    -------
    view : nn.Module
        The module itself if no part of it is in training mode, else a copy with the same tensors.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_fewshot.nn import evaluation_view
    >>> module = nn.Linear(2, 1)
    >>> view = evaluation_view(module)
    >>> view.training, module.training, view.weight is module.weight
    (False, True, True)
    """
    if not any(part.training for part in module.modules()):
        return module
    attributes = (value for part in module.modules() for value in vars(part).values())
    tensors = (*module.parameters(), *module.buffers(), *attributes)
    # deepcopy does not copy the objects in its memo.
    memo = {id(value): value for value in tensors if isinstance(value, Tensor)}
    view = copy.deepcopy(module, memo)
    for part in view.modules():  # not eval(): modules that merge weights in it would do so in place
        part.training = False
    return view
