"""Matching heads (Vinyals et al., 2016), simple and with full context embeddings."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._distances import Distance
from .._support import State, Support, class_logsumexp, from_state, to_state
from ._metric import MetricHead


class MatchingHead(MetricHead):
    """Attention over the support examples.

    Parameters
    ----------
    metric : str or callable
        Distance between queries and support examples; "cosine" is the paper's.
    scale : float
        Factor ``s`` of the similarity in the attention.
    learn_scale : bool
        Whether the (logarithm of the) scale is trained.
    class_balanced : bool
        Whether a class's attention is divided by the number of its examples.

    Notes
    -----
    Equation 1 of the paper and the attention of section 2.1.1, with a scale::

        a(q, i)  = softmax over the support examples i of  s * cos(f(q), g(x_i))
        P(k | q) = sum of a(q, i) over the examples i of class k

    The score of class ``k`` is the logarithm of that sum before normalisation,
    ``log sum_i exp(-s * d(q, i))``, so that a softmax over the classes gives ``P`` exactly and its
    cross-entropy is ``-log P``. One minus the cosine is the distance: the constant cancels.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import MatchingHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = MatchingHead("sqeuclidean", scale=1.0)
    >>> scores = head.score(head.context(support), torch.tensor([[[0.0, 1.0]]]))
    >>> scores.detach()
    tensor([[[ -1., -17.]]])
    """

    def __init__(
        self,
        metric: str | Distance = "cosine",
        scale: float = 10.0,
        learn_scale: bool = True,
        class_balanced: bool = True,
    ) -> None:
        super().__init__(metric, scale, learn_scale)
        self.class_balanced = class_balanced

    def score(self, state: State, query: Tensor) -> Tensor:
        """Score by the logarithm of the attention that a class's examples receive."""
        similarity = self._similarity(state, query)
        return class_logsumexp(similarity, from_state(state), balanced=self.class_balanced)

    def attention(self, representation: Support, query: Tensor) -> Tensor:
        """Return the attention ``a(q, i)`` of queries over the examples, balanced as the scores."""
        state = self.context(representation)
        share = state["weight"]
        if self.class_balanced:
            share = share / state["count"].gather(1, state["target"]).clamp_min(1e-12)
        return (self._similarity(state, query) + share.log().unsqueeze(1)).softmax(dim=-1)

    def _similarity(self, state: State, query: Tensor) -> Tensor:
        return self.similarity(query, state["inputs"])  # (n_episodes, n_queries, n_support)


class FullContextHead(MatchingHead):
    """Attention over examples and queries that are embedded in the context of the support set.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the backbone's embedding, and of both recurrent networks.
    n_steps : int
        Processing steps ``K`` of a query.
    **options
        Of :class:`MatchingHead`.

    Notes
    -----
    Appendix A of the paper. For the support, a bidirectional LSTM over the examples ``i``, with a
    skip connection (A.2)::

        g(x_i, S) = forward_i + backward_i + g'(x_i)

    For a query, ``K`` steps of an LSTM that reads the support by attention (A.1)::

        h^_k, c_k = LSTM(f'(q), [h_{k-1}, r_{k-1}], c_{k-1})
        h_k       = h^_k + f'(q)
        r_k       = sum over i of  softmax_i(h_k . g(x_i, S)) * g(x_i, S)

    and ``f(q, S) = h_K``, where ``h_0 = c_0 = 0`` and so ``r_0`` is the mean of the ``g``: the
    paper does not specify it. Recurrent networks need an order, which a support set does not have:
    examples are sorted by a fixed projection of their embeddings, whole classes by that of their
    mean, so that predictions depend neither on the order of the rows nor on the labels.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import FullContextHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = FullContextHead(embedding_dim=2)
    >>> state = head.context(support)  # each example in the context of the others
    >>> head.score(state, torch.tensor([[[0.0, 1.0]]])).shape
    torch.Size([1, 1, 2])
    """

    exact = False
    breaks = {
        "duplicates": "recurrent networks and the attention see every copy of an example",
        "weights": "examples are read one by one, whatever their weight",
    }

    def __init__(self, embedding_dim: int, n_steps: int = 5, **options: Any) -> None:
        super().__init__(**options)
        self.n_steps = n_steps
        self.forward_lstm = nn.LSTM(embedding_dim, embedding_dim, batch_first=True)
        self.backward_lstm = nn.LSTM(embedding_dim, embedding_dim, batch_first=True)
        self.gates = nn.Linear(3 * embedding_dim, 4 * embedding_dim)  # of the query's LSTM

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head with as many units as the embedding has dimensions."""
        return cls(torch.Size(embedding_shape).numel(), **options)

    def context(self, representation: Support) -> State:
        """Embed the examples in the context of each other: ``g(x_i, S)``."""
        support = in_canonical_order(representation)
        g = support.inputs  # (n_episodes, n_support, embedding_dim), padding last
        length = (support.weight > 0).sum(dim=1, keepdim=True)
        place = torch.arange(g.shape[1], device=g.device)
        turned = torch.where(place < length, length - 1 - place, place).unsqueeze(-1).expand_as(g)
        forward, _ = self.forward_lstm(g)
        backward, _ = self.backward_lstm(g.gather(1, turned))
        backward = backward.gather(1, turned)
        return to_state(support._replace(inputs=forward + backward + g))

    def attention(self, representation: Support, query: Tensor) -> Tensor:
        """Return the attention over the examples, both in the context of the support set."""
        return in_given_order(
            super().attention(representation, query), canonical_order(representation)
        )

    def _similarity(self, state: State, query: Tensor) -> Tensor:
        """Embed the queries in the context of the support, then compare."""
        return super()._similarity(state, self.embed_query(query.flatten(2), state))

    def embed_query(self, query: Tensor, state: State) -> Tensor:
        """Return ``f(q, S)`` for queries ``f'(q)`` of shape (n_episodes, n_queries, d)."""
        dim = query.shape[-1]
        of_query, of_state = self.gates.weight.split([dim, 2 * dim], dim=1)
        fixed = linear(query, of_query, self.gates.bias)  # the same in every step
        h = c = torch.zeros_like(query)
        for _ in range(self.n_steps):
            r = self._read(h, state)
            gates = fixed + linear(torch.cat([h, r], dim=-1), of_state)
            keep, write, show, value = gates.chunk(4, dim=-1)
            c = keep.sigmoid() * c + write.sigmoid() * value.tanh()
            h = show.sigmoid() * c.tanh() + query
        return h  # (n_episodes, n_queries, d)

    def _read(self, h: Tensor, state: State) -> Tensor:
        g = state["inputs"]
        padding = (state["weight"] == 0).unsqueeze(1)
        attention = (h @ g.mT).masked_fill(padding, -torch.inf).softmax(dim=-1)
        return attention @ g  # (n_episodes, n_queries, d)


def canonical_order(support: Support) -> Tensor:
    """Return the order of the items by a fixed projection, class by class, padding last.

    It depends on the set of examples and on which of them share a class, not on the order of rows
    or on the codes of the classes.

    Returns
    -------
    order : int64 tensor of shape (n_episodes, n_support)
    """
    key, class_key = canonical_keys(support)
    class_key = class_key.gather(1, support.target).masked_fill(support.weight == 0, torch.inf)
    order = key.argsort(dim=1, stable=True)
    return order.gather(1, class_key.gather(1, order).argsort(dim=1, stable=True))


def canonical_keys(support: Support) -> tuple[Tensor, Tensor]:
    """Return a fixed projection of the items and its mean over those of each class.

    Returns
    -------
    key : tensor of shape (n_episodes, n_support)
    class_key : tensor of shape (n_episodes, n_classes)
    """
    embedding = support.inputs.flatten(2)
    axis = torch.arange(1, embedding.shape[-1] + 1, device=embedding.device).cos()
    key = embedding.detach() @ axis.to(embedding.dtype)  # (n_episodes, n_support)
    weight = support.weight.to(key.dtype)
    zeros = key.new_zeros(len(key), support.n_classes)
    total = zeros.scatter_add(1, support.target, key * weight)
    count = zeros.scatter_add(1, support.target, weight)
    return key, total / count.clamp_min(1e-12)


def in_canonical_order(support: Support) -> Support:
    """Sort the items by :func:`canonical_order`, with flat inputs."""
    return reorder(support, canonical_order(support))


def reorder(support: Support, order: Tensor) -> Support:
    """Return the items in an order of shape (n_episodes, n_support), with flat inputs."""
    embedding = support.inputs.flatten(2)
    return support._replace(
        inputs=embedding.gather(1, order.unsqueeze(-1).expand(-1, -1, embedding.shape[-1])),
        target=support.target.gather(1, order),
        weight=support.weight.gather(1, order),
    )


def in_given_order(values: Tensor, order: Tensor) -> Tensor:
    """Undo an order in the last axis of values of shape (n_episodes, n_queries, n_support)."""
    place = order.argsort(dim=1).unsqueeze(1)
    return values.gather(2, place.expand(-1, values.shape[1], -1))
