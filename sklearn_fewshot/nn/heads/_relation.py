"""Relation head (Sung et al., 2018)."""

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils._blocks import blocks
from .._data import channels_last
from .._support import State, Support, class_means
from ._base import Head

START_LOG_ODDS = 2.0  # of a pair at distance zero, in a perceptron that starts as a distance


class RelationHead(Head):
    """A small network on pairs of a query and a class, with log-odds of a match as output.

    Parameters
    ----------
    embedding_shape : tuple of int
        (channels, height, width) of spatial maps, compared by convolutions, or any other shape,
        compared by a multi-layer perceptron.
    reduction : {"mean", "sum"}
        How the examples of a class become one map. The paper sums; then scores depend on the number
        of examples.
    n_filters : int
        Channels of the convolutions.
    hidden_dim : int
        Units of the perceptron's first layer.

    Notes
    -----
    Equation 1 of the paper: ``r(k, q) = g([c_k, f(q)])``, with the class map ``c_k``, the query map
    ``f(q)``, concatenation along channels, and a relation module ``g`` of two blocks of convolution
    (3x3), batch normalisation, max-pooling and ReLU, then two dense layers, the last of one sigmoid
    unit. The head returns the input of that sigmoid, the log-odds of ``r``. For vectors it is a
    perceptron of the same depth, which is initialised as a distance: a random initialisation, as of
    the convolutions, would be worse than a distance of the features. The first layer is linear, so
    its two halves are computed once per class and once per query and added for each pair: the same
    function, at a fraction of the cost.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import RelationHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = RelationHead(embedding_shape=(2,))
    >>> state = head.context(head.represent(support))
    >>> log_odds = head.score(state, torch.tensor([[[0.0, 1.0]]]))
    >>> log_odds.argmax(dim=-1)
    tensor([[0]])
    """

    exact = False
    averages: ClassVar[bool] = True

    def __init__(
        self,
        embedding_shape: tuple[int, ...],
        reduction: Literal["mean", "sum"] = "mean",
        n_filters: int = 64,
        hidden_dim: int = 128,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.is_spatial = len(embedding_shape) == 3
        self.of_class: nn.Conv2d | nn.Linear
        self.of_query: nn.Conv2d | nn.Linear
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
            self._start_as_distance()

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: object) -> Self:
        """Build the head for maps or for vectors."""
        return cls(embedding_shape, **options)  # type: ignore[arg-type]

    def represent(self, support: Support) -> Support:
        """Average the maps of each class; with ``reduction="sum"``, :meth:`context` sums them."""
        return class_means(support)

    def context(self, representation: Support) -> State:
        """Pass the class maps through their half of the first layer."""
        class_map = representation.inputs
        if self.reduction == "sum":
            count = representation.weight.to(class_map.dtype)
            class_map = class_map * count.view(*count.shape, *[1] * (class_map.ndim - 2))
        of_class = self._half(self.of_class, class_map)
        return {"of_class": of_class, "count": representation.weight}

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return the log-odds of the relation module for every pair of query and class."""
        of_class, of_query = state["of_class"], self._half(self.of_query, query)
        if self.training:
            log_odds = self._relate(of_class.unsqueeze(1), of_query.unsqueeze(2))
        else:
            log_odds = self._relate_by_blocks(of_class, of_query)
        absent = (state["count"] == 0).unsqueeze(1)
        return log_odds.masked_fill(absent, -torch.inf)  # (n_episodes, n_queries, n_classes)

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Scale a perceptron's first layer so that the median pair has negative log-odds."""
        with torch.no_grad():
            typical = START_LOG_ODDS - float(logits[logits.isfinite()].double().median())
            if not self.is_spatial and typical > 0:
                for layer in (self.of_class, self.of_query):
                    layer.weight.mul_(2.0 * START_LOG_ODDS / typical)

    def _start_as_distance(self) -> None:
        """Start a perceptron as a decreasing function of a distance between class and query.

        A random initialisation would lose information of the features. The hidden units start in
        pairs of opposite sign on the difference, ``relu(u) + relu(-u) = |u|``; the layers above
        start with weights of one sign.
        """
        half = self.of_class.weight[: len(self.of_class.weight) // 2].detach().clone()
        _, first, _, last = self.of_pair
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            self.of_class.weight.copy_(torch.cat([half, -half]))
            self.of_query.weight.copy_(torch.cat([-half, half]))
            first.weight.abs_()
            first.bias.zero_()
            last.weight.abs_().neg_()
            last.bias.fill_(START_LOG_ODDS)

    def _half(self, layer: nn.Module, maps: Tensor) -> Tensor:
        """Apply a half of the first layer to maps of shape (n_episodes, n_maps, ...)."""
        flat = maps.flatten(0, 1)
        flat = layer(channels_last(flat) if self.is_spatial else flat.flatten(1))
        return flat.unflatten(0, maps.shape[:2])

    def _relate(self, of_class: Tensor, of_query: Tensor) -> Tensor:
        """Add the halves of the first layer, broadcast to pairs, and apply the other layers."""
        if self.is_spatial:  # added with channels last in memory, the fast layout of convolutions
            halves = (half.movedim(-3, -1).contiguous() for half in (of_class, of_query))
            pair = (next(halves) + next(halves)).movedim(-1, -3)
        else:
            pair = of_class + of_query
        leading = pair.shape[: -3 if self.is_spatial else -1]
        return self.of_pair(pair.reshape(-1, *pair.shape[len(leading) :])).view(leading)

    def _relate_by_blocks(self, of_class: Tensor, of_query: Tensor) -> Tensor:
        """Relate all pairs of each episode in bounded memory."""
        n_queries, n_classes = of_query.shape[1], of_class.shape[1]
        every_pair = torch.arange(len(of_query) * n_queries * n_classes, device=of_query.device)
        of_class, of_query = of_class.flatten(0, 1), of_query.flatten(0, 1)
        parts = []
        for part in blocks(len(every_pair), of_query[0].nbytes):
            query, label = every_pair[part] // n_classes, every_pair[part] % n_classes
            row = query // n_queries * n_classes + label
            parts.append(self._relate(of_class[row], of_query[query]))
        return torch.cat(parts).view(-1, n_queries, n_classes)


def _of_spatial_pair(n_filters: int, height: int, width: int) -> nn.Sequential:
    halved = max(1, height // 2), max(1, width // 2)
    n_positions = max(1, halved[0] // 2) * max(1, halved[1] // 2)
    return nn.Sequential(
        *_normalise_and_pool(n_filters, height, width),
        nn.Conv2d(n_filters, n_filters, 3, padding=1, bias=False),
        *_normalise_and_pool(n_filters, *halved),
        nn.Flatten(),
        *_dense(n_filters * n_positions),
    )


def _normalise_and_pool(n_filters: int, height: int, width: int) -> tuple[nn.Module, ...]:
    # Pooling before the ReLU is the same function as the paper's order (see Conv4).
    pool = nn.MaxPool2d((min(2, height), min(2, width)))
    return _BatchNorm(n_filters), pool, nn.ReLU()


class _BatchNorm(nn.BatchNorm2d):
    """Normalise by the batch, or by the running statistics if it is a single position.

    A single pair of the smallest possible data has no variance.
    """

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training or maps.numel() > maps.shape[1]:
            return super().forward(maps)
        moments = self.running_mean, self.running_var
        return F.batch_norm(maps, *moments, self.weight, self.bias, eps=self.eps)


def _of_flat_pair(hidden_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), *_dense(hidden_dim))


def _dense(n_features: int) -> tuple[nn.Module, ...]:
    return nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, 1)
