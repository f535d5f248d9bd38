"""Mode and precision of a module."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


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
    training = [part for part in module.modules() if part.training]
    if training:  # a fitted network never is, so threads that share it do not change its mode
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True
