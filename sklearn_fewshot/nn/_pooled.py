"""Several networks as one: their logits are added up, with weights by the number of examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from ._embedding_module import EmbeddingModule
from ._support import State, Support
from .backbones import embedding_shape, takes_any_length
from .backbones._linear_start import FrontAndTop
from .heads import Head


class Parallel(nn.Module):
    """Backbones side by side: their flattened embeddings in one row.

    Parameters
    ----------
    backbones : sequence of nn.Module
        The embedding networks.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Parallel
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> Parallel([Identity((2,)), Identity((2,))])(torch.tensor([[1.0, 2.0]]))
    tensor([[1., 2., 1., 2.]])
    """

    def __init__(self, backbones: Sequence[nn.Module]) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        self.takes_any_length = all(takes_any_length(backbone) for backbone in backbones)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, embedding_dim)."""
        return torch.cat([backbone(x).flatten(1) for backbone in self.backbones], dim=1)


class PooledHead(Head):
    r"""Logarithmic opinion pool: a weighted sum of the logits of several heads.

    .. math::

        P(k \mid q) \propto \prod_m P_m(k \mid q)^{w_m(K)}

    The weights depend on the number of examples per class ``K`` (the geometric mean where it
    differs between classes): they are given for some numbers, are linear in ``log K`` between
    them, and constant beyond.

    Parameters
    ----------
    heads : sequence of Head
        The heads.
    columns : sequence of (start, stop)
        Which part of the embedding each head compares.
    shapes : sequence of tuple of int
        The shape of an embedding of each head.
    n_shots : sequence of float
        Numbers of examples per class for which there are weights, ascending.

    References
    ----------
    C. Genest and J. V. Zidek, "Combining Probability Distributions: A Critique and an Annotated
    Bibliography", Statistical Science, 1986 (section 3). T. Heskes, "Selecting Weighting Factors
    in Logarithmic Opinion Pools", NIPS 1997.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import PooledHead, Support
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> heads = [PrototypicalHead(), PrototypicalHead("cityblock")]
    >>> head = PooledHead(heads, columns=[(0, 1), (1, 2)], shapes=[(1,), (1,)], n_shots=[1.0])
    >>> head.weight.fill_(0.5)
    tensor([[0.5000],
            [0.5000]])
    >>> support = Support(torch.tensor([[[0.0, 0.0], [4.0, 4.0]]]), torch.tensor([[0, 1]]),
    ...                   torch.ones(1, 2), n_classes=2)
    >>> head.score(head.context(support), torch.tensor([[[1.0, 1.0]]])).detach()
    tensor([[[-1., -6.]]])
    """

    breaks = {
        "duplicates": "the weights of the heads depend on the number of examples",
        "weights": "an item that represents several examples is one to some heads",
    }
    weight: Tensor
    log_n_shots: Tensor

    def __init__(
        self,
        heads: Sequence[Head],
        columns: Sequence[tuple[int, int]],
        shapes: Sequence[tuple[int, ...]],
        n_shots: Sequence[float],
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.columns, self.shapes = list(columns), list(shapes)
        self.exact = all(head.exact for head in heads)
        self.independent_queries = all(head.independent_queries for head in heads)
        self.score_shift = all(head.score_shift for head in heads)
        self.register_buffer("log_n_shots", torch.tensor([float(n) for n in n_shots]).log())
        self.register_buffer("weight", torch.ones(len(heads), len(n_shots)) / len(heads))

    def context(self, representation: Support) -> State:
        """Return the states of all heads, and the number of examples of each class."""
        count = representation.weight.new_zeros(
            len(representation.weight), representation.n_classes
        )
        state = {"count": count.scatter_add(1, representation.target, representation.weight)}
        for number, head, inputs in self._parts(representation.inputs):
            part = head.context(head.represent(representation._replace(inputs=inputs)))
            state |= {f"{number}.{name}": value for name, value in part.items()}
        return state

    def score(self, state: State, query: Tensor) -> Tensor:
        """Add up the weighted logits of the heads."""
        absent = (state["count"] == 0).unsqueeze(1)  # (n_episodes, 1, n_classes)
        weight = self.weights(state["count"]).to(query.dtype)
        total = query.new_zeros(*query.shape[:2], absent.shape[-1])
        for number, head, inputs in self._parts(query):
            prefix = f"{number}."
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            logits = head.score(own, inputs).masked_fill(absent, 0.0)
            total = total + weight[:, number, None, None] * logits
        return total.masked_fill(absent, -torch.inf)

    def weights(self, count: Tensor) -> Tensor:
        """Return the weights of the heads in each episode, of shape (n_episodes, n_heads)."""
        log_n_shots, table = self.log_n_shots.to(count.dtype), self.weight.to(count.dtype)
        n_classes = (count > 0).sum(dim=1).clamp_min(1)
        logs = count.clamp_min(1.0).log().sum(dim=1) / n_classes  # (n_episodes,)
        if len(log_n_shots) == 1:
            return table.mT.expand(len(count), -1)
        high = torch.searchsorted(log_n_shots, logs).clamp(1, len(log_n_shots) - 1)
        low = high - 1
        share = (logs - log_n_shots[low]) / (log_n_shots[high] - log_n_shots[low])
        return torch.lerp(table.mT[low], table.mT[high], share.clamp(0.0, 1.0).unsqueeze(1))

    def _parts(self, embedding: Tensor) -> Iterator[tuple[int, Head, Tensor]]:
        for number, (head, (start, stop), shape) in enumerate(
            zip(self.heads, self.columns, self.shapes, strict=True)
        ):
            assert isinstance(head, Head)
            rows = embedding[..., start:stop].flatten(0, 1).unflatten(-1, shape)
            yield number, head, head.prepare(rows).unflatten(0, embedding.shape[:2])


class PooledMember(NamedTuple):
    """One network of a :class:`PooledModule`, and the heads that compare its embeddings.

    Parameters
    ----------
    backbone : dict
        The arguments of :meth:`EmbeddingModule.build` but for those of the head.
    heads : list of (type, dict)
        Classes and parameters of the heads.

    Examples
    --------
    >>> from sklearn_fewshot.nn import PooledMember
    >>> from sklearn_fewshot.nn.heads import AnchoredHead, PrototypicalHead
    >>> heads = [(PrototypicalHead, {}), (AnchoredHead, {})]
    >>> len(PooledMember({"backbone": "identity"}, heads).heads)
    2
    """

    backbone: dict[str, Any]
    heads: list[tuple[type[Head], dict[str, Any]]]


class PooledModule(EmbeddingModule):
    """Several networks, with their backbones side by side and their heads pooled.

    Examples
    --------
    >>> from sklearn_fewshot.nn import PooledMember, PooledModule
    >>> from sklearn_fewshot.nn.heads import AnchoredHead, PrototypicalHead
    >>> heads = [(PrototypicalHead, {}), (AnchoredHead, {})]
    >>> member = PooledMember({"backbone": "identity"}, heads)
    >>> module = PooledModule.build((4,), members=[member], n_shots=[1, 5])
    >>> module.head.weight.shape
    torch.Size([2, 2])
    """

    head: PooledHead

    @classmethod
    def build(  # type: ignore[override]
        cls,
        input_shape: tuple[int, ...],
        *,
        members: Sequence[PooledMember],
        n_shots: Sequence[float],
        share_frozen: bool = False,
    ) -> Self:
        """Build the network with initial weights.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample.
        members : sequence of PooledMember
            The networks.
        n_shots : sequence of float
            Of :class:`PooledHead`.
        share_frozen : bool
            Whether the frozen backbones of all are the same, and one is enough.
        """
        modules = [
            [
                EmbeddingModule.build(input_shape, **backbone, head=head, head_options=options)
                for head, options in heads
            ]
            for backbone, heads in members
        ]
        return cls.of(input_shape, modules, n_shots, share_frozen)

    @classmethod
    def of(
        cls,
        input_shape: tuple[int, ...],
        modules: Sequence[Sequence[EmbeddingModule]],
        n_shots: Sequence[float],
        share_frozen: bool = False,
    ) -> Self:
        """Pool networks; those of one inner sequence share the backbone of its first."""
        backbones = [same[0].backbone for same in modules]
        shapes = [embedding_shape(backbone, input_shape) for backbone in backbones]
        edges = [0, *accumulate(math.prod(shape) for shape in shapes)]
        owners = [number for number, same in enumerate(modules) for _ in same]
        head = PooledHead(
            [module.head for same in modules for module in same],
            [(edges[owner], edges[owner + 1]) for owner in owners],
            [shapes[owner] for owner in owners],
            n_shots,
        )
        if not share_frozen:
            return cls(Parallel(backbones), head)
        parts = [backbone for backbone in backbones if isinstance(backbone, FrontAndTop)]
        tops = Parallel([part.top for part in parts])
        return cls(nn.Sequential(parts[0].front, tops), head)
