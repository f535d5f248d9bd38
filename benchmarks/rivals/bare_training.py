"""A bare PyTorch training loop: forward, loss, backward, step, and nothing else.

Fixed: Prototypical Networks over batches that lie ready in memory, so that nothing is drawn or
gathered; the precision, memory format and allocator settings are the caller's. The loss is never
read.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def run(
    network: nn.Module,
    batches: list[Tensor],
    *,
    n_way: int,
    n_shot: int,
    n_query: int,
    n_steps: int,
    lr: float = 1e-3,
    dtype: torch.dtype | None = None,
) -> float:
    """Train and return the seconds that it took.

    Parameters
    ----------
    network : nn.Module
        The embedding network; trained in place.
    batches : list of tensor of shape (n_way * (n_shot + n_query), *input_shape)
        Episodes, support first and both parts class by class; taken in turns.
    n_way, n_shot, n_query : int
        Size of an episode.
    n_steps : int
        Steps of the optimizer, one an episode.
    lr : float
        Learning rate of Adam.
    dtype : torch.dtype or None
        Lower precision of the network.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    target = torch.arange(n_way).repeat_interleave(n_query)
    network.train()
    start = time.perf_counter()
    for step in range(n_steps):
        inputs = batches[step % len(batches)]
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            embedding = network(inputs)
        support, query = embedding.float().split([n_way * n_shot, n_way * n_query])
        prototypes = support.view(n_way, n_shot, -1).mean(dim=1)
        loss = cross_entropy(-torch.cdist(query, prototypes).square(), target)
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start
