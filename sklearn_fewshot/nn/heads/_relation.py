"""Relation head (Sung et al., 2018)."""

from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn

from .._data import channels_last
from .._support import SupportSet, class_sums
from ._base import Head

FLOATS_AT_A_TIME = 2**23  # of a layer of all pairs, in prediction: 32 MiB


class RelationHead(Head):
    """A small network that says how well a query and a class go together.

    Parameters
    ----------
    embedding_shape : tuple of int
        (channels, height, width) of spatial maps, compared by convolutions, or any other shape,
        compared by a multi-layer perceptron.
    reduction : {"mean", "sum"}
        How the examples of a class become one map. The paper sums; then scores depend on how many
        examples there are.
    n_filters : int
        Channels of the convolutions.
    hidden_dim : int
        Units of the perceptron's first layer.

    Notes
    -----
    Equation 1 of the paper: ``r(k, q) = g([c_k, f(q)])``, with the class map ``c_k``, the query map
    ``f(q)``, concatenation along channels, and a relation module ``g`` of two blocks of convolution
    (3x3), batch normalisation, max-pooling and ReLU, then two dense layers, the last of one sigmoid
    unit. The first convolution is linear, so its two halves are computed once a class and once a
    query and added for each pair: the same function, at a fraction of the cost.
    """

    exact = False

    def __init__(
        self,
        embedding_shape: tuple[int, ...],
        reduction: Literal["mean", "sum"] = "mean",
        n_filters: int = 64,
        hidden_dim: int = 64,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.is_spatial = len(embedding_shape) == 3
        self.of_class: nn.Module
        self.of_query: nn.Module
        self.of_pair: nn.Module
        if self.is_spatial:
            channels, height, width = embedding_shape
            self.of_class = nn.Conv2d(channels, n_filters, 3, padding=1, bias=False)
            self.of_query = nn.Conv2d(channels, n_filters, 3, padding=1, bias=False)
            self.of_pair = _of_spatial_pair(n_filters, height, width)
        else:
            n_features = torch.Size(embedding_shape).numel()
            self.of_class = nn.Linear(n_features, hidden_dim, bias=False)
            self.of_query = nn.Linear(n_features, hidden_dim, bias=False)
            self.of_pair = _of_flat_pair(hidden_dim)

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: object) -> Self:
        """Build the head for maps or for vectors."""
        return cls(embedding_shape, **options)  # type: ignore[arg-type]

    def represent(self, support: SupportSet) -> SupportSet:
        """Average (or, if asked for, add up) the maps of each class."""
        weight = support.weight.to(support.embedding.dtype).unsqueeze(-1)
        total = class_sums(support.embedding.flatten(2) * weight, support)
        count = class_sums(weight, support)  # (n_episodes, n_classes, 1)
        mean = (total / count.clamp_min(1e-12)).unflatten(2, support.embedding.shape[2:])
        code = torch.arange(support.n_classes, device=count.device).expand(count.shape[:2])
        return SupportSet(mean, code, count.squeeze(-1), support.n_classes)

    def context(self, representation: SupportSet) -> SupportSet:
        """Pass the class maps through their half of the first layer."""
        class_map = representation.embedding
        if self.reduction == "sum":
            count = representation.weight.to(class_map.dtype)
            class_map = class_map * count.view(*count.shape, *[1] * (class_map.ndim - 2))
        return representation._replace(embedding=self._half(self.of_class, class_map))

    def score(self, context: SupportSet, query: Tensor) -> Tensor:
        """Score every pair of query and class by the relation module, between 0 and 1."""
        of_class, of_query = context.embedding, self._half(self.of_query, query)
        if self.training:
            scores = self._relate(of_class.unsqueeze(1), of_query.unsqueeze(2))
        else:
            scores = self._relate_by_blocks(of_class, of_query)
        absent = (context.weight == 0).unsqueeze(1)
        return scores.masked_fill(absent, -torch.inf)  # (n_episodes, n_queries, n_classes)

    def proba(self, scores: Tensor) -> Tensor:
        """Divide the scores by their sum over the classes."""
        scores = scores.clamp_min(0.0)  # classes without an example
        return scores / scores.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)

    def _half(self, layer: nn.Module, maps: Tensor) -> Tensor:
        """Apply a half of the first layer to maps of shape (n_episodes, n_maps, ...)."""
        flat = maps.flatten(0, 1)
        flat = layer(channels_last(flat) if self.is_spatial else flat.flatten(1))
        return flat.unflatten(0, maps.shape[:2])

    def _relate(self, of_class: Tensor, of_query: Tensor) -> Tensor:
        """Finish the first layer for pairs that are broadcast, and go through the rest."""
        if self.is_spatial:  # added with channels last in memory, as convolutions like it
            halves = (half.movedim(-3, -1).contiguous() for half in (of_class, of_query))
            pair = (next(halves) + next(halves)).movedim(-1, -3)
        else:
            pair = of_class + of_query
        leading = pair.shape[: -3 if self.is_spatial else -1]
        return self.of_pair(pair.reshape(-1, *pair.shape[len(leading) :])).view(leading)

    def _relate_by_blocks(self, of_class: Tensor, of_query: Tensor) -> Tensor:
        """Relate all pairs of each episode in bounded memory."""
        shape = (*of_query.shape[:2], of_class.shape[1])
        step = max(1, FLOATS_AT_A_TIME // of_query[0, 0].numel())
        every_pair = torch.arange(torch.Size(shape).numel(), device=of_query.device)
        parts = []
        for pairs in every_pair.split(step):
            episode, query, label = torch.unravel_index(pairs, shape)
            parts.append(self._relate(of_class[episode, label], of_query[episode, query]))
        return torch.cat(parts).view(shape)


def _of_spatial_pair(n_filters: int, height: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for convolution in (None, nn.Conv2d(n_filters, n_filters, 3, padding=1, bias=False)):
        layers += [] if convolution is None else [convolution]
        # Pooling first is the same function as the paper's order (see Conv4).
        small = min(height, width) < 2
        layers += [nn.BatchNorm2d(n_filters), nn.MaxPool2d(2, ceil_mode=small), nn.ReLU()]
        height, width = (max(1, side // 2) if not small else -(-side // 2) for side in (height, width))
    return nn.Sequential(*layers, nn.Flatten(), *_dense(n_filters * height * width))


def _of_flat_pair(hidden_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), *_dense(hidden_dim))


def _dense(n_features: int) -> tuple[nn.Module, ...]:
    return nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()
