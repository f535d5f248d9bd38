"""MAML as the public libraries write it: a loop over tasks, ordinary autograd. A fixed rival.

One task after the other: a functional copy of the weights takes gradient steps with
``create_graph``, the loss of the queries is added up, and one backward pass goes through all.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]


def meta_loss(
    network: nn.Module,
    loss: Loss,
    tasks: list[tuple[Tensor, Tensor, Tensor, Tensor]],
    *,
    n_steps: int,
    step_size: float,
) -> Tensor:
    """Return the mean loss of the queries after the steps.

    Parameters
    ----------
    network : nn.Module
        Its own weights are the start.
    loss : callable
        From outputs and targets to a mean.
    tasks : list of (x, y, query, target)
        Support and queries.
    n_steps : int
        Gradient steps.
    step_size : float
        Their size.
    """
    losses = []
    for x, y, query, target in tasks:
        fast = dict(network.named_parameters())
        for _ in range(n_steps):
            inner = loss(functional_call(network, fast, (x,)), y)
            slopes = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
            fast = {
                name: value - step_size * slope
                for (name, value), slope in zip(fast.items(), slopes, strict=True)
            }
        losses.append(loss(functional_call(network, fast, (query,)), target))
    return torch.stack(losses).mean()
