"""Episodic training as easyfsl's notebooks show it: a data set of single samples, a DataLoader.

Fixed: ``TaskSampler``, ``DataLoader`` without workers, ``PrototypicalNetworks``, one episode a
step of Adam, float32, pictures with their channels first, ReLU before the pooling as in the paper;
table rows go through the layers of the package's residual network, as torch has them. How to
install easyfsl stands in ``easyfsl_loop``. Without it, :class:`Prototypical` and
:func:`episodes_of` are the same way of training written out.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from . import easyfsl_loop

if easyfsl_loop.__version__ is not None:
    from easyfsl.methods import PrototypicalNetworks

    from .easyfsl_loop import Sampler


class Samples(Dataset):
    """Single samples, converted one by one as picture transforms do."""

    def __init__(self, X: np.ndarray, labels: list[int]) -> None:
        self.X, self.labels = X, labels

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        sample = torch.from_numpy(self.X[item])
        if sample.dtype == torch.uint8:
            sample = sample.float().div(255)
        return sample, self.labels[item]

    def get_labels(self) -> list[int]:
        return self.labels


def conv4(n_filters: int = 64) -> nn.Sequential:
    """Return the network of the paper, in its order."""
    blocks = [_block(n_in, n_filters) for n_in in (1, n_filters, n_filters, n_filters)]
    return nn.Sequential(*blocks, nn.Flatten())


def _block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)
    )


class ResidualMLP(nn.Module):
    """A linear map and a tenth of a perceptron."""

    def __init__(self, n_features: int = 64, n_hidden: int = 256) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, n_features, bias=False)
        self.branch = nn.Sequential(
            nn.Linear(n_features, n_hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(n_hidden, n_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + 0.1 * self.branch(x)


class Prototypical(nn.Module):
    """What easyfsl's class of that name does."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def process_support_set(self, images: Tensor, labels: Tensor) -> None:
        features = self.backbone(images)
        n_way = len(torch.unique(labels))
        self.prototypes = torch.cat(
            [features[labels == label].mean(0, True) for label in range(n_way)]
        )

    def forward(self, images: Tensor) -> Tensor:
        return -torch.cdist(self.backbone(images), self.prototypes)


def episodes_of(samples: Samples, n_way: int, n_shot: int, n_query: int, n_episodes: int) -> Any:
    """Yield episodes as easyfsl's sampler and collating function do."""
    rows_of: dict[int, list[int]] = {}
    for row, label in enumerate(samples.get_labels()):
        rows_of.setdefault(label, []).append(row)
    for _ in range(n_episodes):
        classes = random.sample(sorted(rows_of), n_way)
        drawn = [
            [samples[row][0] for row in random.sample(rows_of[c], n_shot + n_query)]
            for c in classes
        ]
        images = torch.stack([torch.stack(one) for one in drawn])
        label = torch.arange(n_way)
        support, query = images[:, :n_shot].flatten(0, 1), images[:, n_shot:].flatten(0, 1)
        labels = label.repeat_interleave(n_shot), label.repeat_interleave(n_query)
        yield support, labels[0], query, labels[1], classes


def run(
    network: nn.Module,
    X: np.ndarray,
    labels: list[int],
    *,
    n_way: int,
    n_shot: int,
    n_query: int,
    n_steps: int,
    lr: float = 1e-3,
    seed: int = 0,
) -> float:
    """Train and return the seconds that it took.

    Parameters
    ----------
    network : nn.Module
        The embedding network; trained in place.
    X : ndarray of shape (n_samples, *input_shape)
        Samples.
    labels : list of int
        Their classes.
    n_way, n_shot, n_query : int
        Size of an episode.
    n_steps : int
        Steps of the optimizer, one an episode.
    lr : float
        Learning rate of Adam.
    seed : int
        Of the episodes.
    """
    random.seed(seed)
    size, samples = (n_way, n_shot, n_query, n_steps), Samples(X, labels)
    if easyfsl_loop.__version__ is None:
        model: Any = Prototypical(network)
        episodes = episodes_of(samples, *size)
    else:
        model = PrototypicalNetworks(network)
        sampler = Sampler(samples, *size)
        episodes = DataLoader(
            samples, batch_sampler=sampler, num_workers=0, collate_fn=sampler.episodic_collate_fn
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    start = time.perf_counter()
    for support, support_labels, query, query_labels, _ in episodes:
        optimizer.zero_grad()
        model.process_support_set(support, support_labels)
        loss = cross_entropy(model(query), query_labels)
        loss.backward()
        optimizer.step()
        loss.item()
    return time.perf_counter() - start
