"""A bare PyTorch loop over stored embeddings, one episode at a time.

Fixed: what an engineer writes who has the embeddings and wants the accuracies, without a library
and without batching over episodes. Float32, no gradients, rows of a class drawn by ``randperm``,
each head's equations with the weights of the package's own head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

Score = Callable[[Tensor, Tensor], Tensor]


@torch.inference_mode()
def run(
    score: Score,
    embedding: Tensor,
    rows_of_class: list[Tensor],
    *,
    n_way: int,
    n_shot: int,
    n_query: int,
    n_episodes: int,
) -> np.ndarray:
    """Return the accuracy of each episode.

    Parameters
    ----------
    score : callable
        Takes a support of shape (n_way, n_shot, d) and queries of shape (n_queries, d); returns
        scores of shape (n_queries, n_way).
    embedding : tensor of shape (n_samples, d)
        Stored embeddings.
    rows_of_class : list of int64 tensor
        Rows of each class.
    n_way, n_shot, n_query : int
        Size of an episode.
    n_episodes : int
        Number of episodes.
    """
    target = torch.arange(n_way).repeat_interleave(n_query)
    accuracies = np.empty(n_episodes)
    for episode in range(n_episodes):
        classes = torch.randperm(len(rows_of_class))[:n_way].tolist()
        rows = torch.stack([draw(rows_of_class[c], n_shot + n_query) for c in classes])
        drawn = embedding[rows]  # (n_way, n_shot + n_query, d)
        scores = score(drawn[:, :n_shot], drawn[:, n_shot:].flatten(0, 1))
        accuracies[episode] = (scores.argmax(dim=1) == target).float().mean().item()
    return accuracies


def draw(rows: Tensor, n: int) -> Tensor:
    """Draw different rows."""
    return rows[torch.randperm(len(rows))[:n]]


def prototypical(head: nn.Module) -> Score:
    def score(support: Tensor, query: Tensor) -> Tensor:
        return -torch.cdist(query, support.mean(dim=1))

    return score


def matching(head: nn.Module) -> Score:
    scale = head.scale.item()

    def score(support: Tensor, query: Tensor) -> Tensor:
        n_way, n_shot, _ = support.shape
        cosine = normalize(query, dim=1) @ normalize(support.flatten(0, 1), dim=1).T
        attention = (scale * cosine).softmax(dim=1)
        return attention.view(-1, n_way, n_shot).sum(dim=2)

    return score


def full_context(head: nn.Module) -> Score:
    def score(support: Tensor, query: Tensor) -> Tensor:
        n_way, n_shot, _ = support.shape
        support, order = in_canonical_order(support)
        g = support.flatten(0, 1)
        backward = head.backward_lstm(g.flip(0))[0].flip(0)
        g = g + head.forward_lstm(g)[0] + backward
        h = c = torch.zeros_like(query)
        r = (h @ g.T).softmax(dim=1) @ g
        for _ in range(head.n_steps):
            keep, write, show, value = head.gates(torch.cat([query, h, r], dim=1)).chunk(4, dim=1)
            c = keep.sigmoid() * c + write.sigmoid() * value.tanh()
            h = show.sigmoid() * c.tanh() + query
            r = (h @ g.T).softmax(dim=1) @ g
        cosine = normalize(h, dim=1) @ normalize(g, dim=1).T
        attention = (head.scale * cosine).softmax(dim=1).view(-1, n_way, n_shot).sum(dim=2)
        return attention[:, order.argsort()]

    return score


def in_canonical_order(support: Tensor) -> tuple[Tensor, Tensor]:
    """Sort classes, and examples within a class, by the head's fixed projection."""
    key = support @ torch.arange(1, support.shape[2] + 1).cos()  # (n_way, n_shot)
    within = key.argsort(dim=1)
    order = key.mean(dim=1).argsort()
    return support.gather(1, within.unsqueeze(2).expand_as(support))[order], order


def relation(head: nn.Module) -> Score:
    def score(support: Tensor, query: Tensor) -> Tensor:
        pairs = head.of_class(support.mean(dim=1)) + head.of_query(query).unsqueeze(1)
        return head.of_pair(pairs).squeeze(2)

    return score


def siamese(head: nn.Module) -> Score:
    weight, bias = head.weight, head.bias

    def score(support: Tensor, query: Tensor) -> Tensor:
        n_way, n_shot, _ = support.shape
        a, b = query, support.flatten(0, 1)
        squares = (a.square() @ weight).unsqueeze(1) + b.square() @ weight
        log_odds = squares - 2.0 * (a * weight) @ b.T + bias
        return log_odds.view(-1, n_way, n_shot).amax(dim=2)

    return score


def centroid(head: nn.Module) -> Score:
    def score(support: Tensor, query: Tensor) -> Tensor:
        centroids = normalize(support, dim=2).mean(dim=1)
        return normalize(query, dim=1) @ normalize(centroids, dim=1).T

    return score


HEADS: dict[str, Callable[[Any], Score]] = {
    "prototypical": prototypical,
    "matching": matching,
    "full context": full_context,
    "relation": relation,
    "siamese": siamese,
    "centroid": centroid,
}
