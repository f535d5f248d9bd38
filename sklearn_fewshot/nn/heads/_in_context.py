"""Attention over the support set, by a transformer that is trained for it."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .._distances import Distance
from .._support import State, Support, class_means, class_sums, from_state, to_state
from ._matching import canonical_order, in_given_order, reorder
from ._metric import MetricHead

MOST_EXAMPLES = 5000  # of a support set


class InContextHead(MetricHead):
    r"""A transformer reads the support set; queries are compared with prototypes of their own.

    Examples and queries are tokens. In each layer the examples attend to all examples, with a
    learned bias :math:`b_h` of each attention head towards those of their own class, and every
    query attends to the examples:

    .. math::

        a_{ij} = \operatorname{softmax}_j \big(k_j \cdot q_i / \sqrt{d} + b_h [y_i = y_j]\big)

    What the last layer says is added to the embeddings, :math:`f' = f + \Delta(f, S)`, and a query
    is compared with the mean of each class as it sees it,

    .. math::

        p_{qk} = \sum_{i: y_i = k} \operatorname{softmax}_i \big(- \beta s\, d(f'_q, f'_i)\big) f'_i
        , \qquad \text{logit}_{qk} = -s\, d(f'_q, p_{qk})

    with squared distances ``d``. :math:`\Delta` starts at zero and :math:`\beta` at one: with one
    example per class the head starts as that of a Prototypical Network.

    Parameters
    ----------
    metric : "sqeuclidean"
        The distance.
    scale : float
        ``s`` at the start of training.
    learn_scale : bool
        Whether training adjusts it.
    n_features : int
        Dimension of the embedding.
    n_layers : int
        Layers of the transformer.
    n_heads : int
        Attention heads of a layer.
    token_dim : int
        Dimension of the tokens, a multiple of ``n_heads``.

    Notes
    -----
    Nothing depends on the order of the examples or on the codes of the classes, whose number is
    free: the label of an example is seen only as the class that it shares with others. An item of
    weight ``w`` is seen as ``w`` examples. Attention among ``n`` examples takes memory that grows
    with their square, about 1 GB for 5,000 and four heads: more are an error.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import InContextHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 1]]), torch.ones(1, 2), n_classes=2)
    >>> head = InContextHead(n_features=2)  # not trained: it compares distances
    >>> head.score(head.context(support), torch.tensor([[[0.0, 2.0]]])).detach().round()
    tensor([[[ -4., -20.]]])
    """

    exact = False
    compares_base = False
    max_support = MOST_EXAMPLES

    def __init__(
        self,
        metric: str | Distance = "sqeuclidean",
        scale: float = 1.0,
        learn_scale: bool = True,
        *,
        n_features: int,
        n_layers: int = 2,
        n_heads: int = 4,
        token_dim: int = 64,
    ) -> None:
        super().__init__(metric, scale, learn_scale)
        self.n_layers = n_layers
        self.enter = nn.Linear(n_features, token_dim)
        self.layers = nn.ModuleList(AttentionLayer(token_dim, n_heads) for _ in range(n_layers))
        change = nn.Linear(token_dim, n_features)
        nn.init.zeros_(change.weight)
        nn.init.zeros_(change.bias)
        self.leave = nn.Sequential(nn.LayerNorm(token_dim), change)
        self.closeness = nn.Parameter(torch.ones(()))  # beta

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape."""
        return cls(n_features=torch.Size(embedding_shape).numel(), **options)

    def context(self, representation: Support) -> State:
        """Let the examples of each episode attend to each other."""
        support = reorder(representation, canonical_order(representation))  # for equal rounding
        means = class_means(support)
        n_present = (means.weight > 0).sum(dim=1).view(-1, 1, 1)
        centre = means.inputs.sum(dim=1, keepdim=True) / n_present  # absent classes are zero
        token = self.enter(self._unit(support.inputs) * (support.inputs - centre))
        code = support.target
        is_own = (code.unsqueeze(1) == code.unsqueeze(2)).unsqueeze(1)  # (n_episodes, 1, n, n)
        weight = support.weight.to(token.dtype).log().view(len(token), 1, 1, -1)
        tokens = []  # as the layers see them
        for layer in self.layers:
            tokens.append(token)
            own = layer.get_parameter("bias").view(1, -1, 1, 1) * is_own
            token = layer(token, token, weight + own)
        return {
            **to_state(support._replace(inputs=self._correct(support.inputs, token))),
            "tokens": torch.stack(tokens, dim=1),  # (n_episodes, n_layers, n_support, token_dim)
            "centre": centre,
        }

    def score(self, state: State, query: Tensor) -> Tensor:
        """Let each query attend to the examples, then compare it with its prototypes."""
        return self._compare(state, *self._read(state, query))

    def attention(self, representation: Support, query: Tensor) -> Tensor:
        """Return the attention to the examples of a class, times the probability of the class."""
        state = self.context(representation)
        query, attention = self._read(state, query)
        p = self._compare(state, query, attention).softmax(dim=-1)
        joint = attention * p.gather(2, state["target"].unsqueeze(1).expand_as(attention))
        return in_given_order(joint, canonical_order(representation))

    def _read(self, state: State, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries f' and, within each class, their attention to the examples."""
        query = query.flatten(2)
        weight = state["weight"].to(query.dtype).log().unsqueeze(1)  # -inf for padding
        token = self.enter(self._unit(query) * (query - state["centre"]))
        for i, layer in enumerate(self.layers):
            token = layer(token, state["tokens"][:, i], weight.unsqueeze(1))
        query = self._correct(query, token)
        logits = self.closeness * self.similarity(query, state["inputs"]) + weight
        return query, softmax_within_classes(logits, from_state(state))

    def _compare(self, state: State, query: Tensor, attention: Tensor) -> Tensor:
        """Return the distances from the prototypes that each query sees.

        There is one for each query and class. None is made: their distances follow from the inner
        products of the examples.
        """
        support = from_state(state)
        code, origin = support.target, support.inputs.mean(dim=1, keepdim=True)
        items, query = support.inputs - origin, query - origin
        gram = (items @ items.mT) * (code.unsqueeze(1) == code.unsqueeze(2))
        of_item = attention * (attention @ gram - 2.0 * query @ items.mT)
        square = class_sums(of_item.mT, support).mT + query.square().sum(dim=2, keepdim=True)
        absent = (state["count"] == 0).unsqueeze(1)
        return (-self.scale * square.clamp_min(0.0)).masked_fill(absent, -torch.inf)

    def _unit(self, rows: Tensor) -> Tensor:
        return (2.0 * self.scale).sqrt().to(rows.dtype)

    def _correct(self, rows: Tensor, token: Tensor) -> Tensor:
        change: Tensor = self.leave(token)
        return rows + change / self._unit(rows)


class AttentionLayer(nn.Module):
    """A layer of a transformer: attention over a set, and a small network of each token.

    Parameters
    ----------
    dim : int
        Dimension of the tokens.
    n_heads : int
        Attention heads.

    Attributes
    ----------
    bias : tensor of shape (n_heads,)
        Added to the attention between examples of one class.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.before = nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.mix = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.ones(n_heads))
        self.each = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, token: Tensor, items: Tensor, bias: Tensor) -> Tensor:
        """Let tokens (n_episodes, n_tokens, dim) read items; bias is added to the attention."""
        items = self.before(items)
        q, k, v = (
            part.unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.query(self.before(token)), self.key(items), self.value(items))
        )
        bias = bias.expand(*q.shape[:3], k.shape[2])
        read = scaled_dot_product_attention(q, k, v, attn_mask=bias)
        token = token + self.mix(read.transpose(1, 2).flatten(2))
        changed: Tensor = token + self.each(token)
        return changed


def softmax_within_classes(logits: Tensor, support: Support) -> Tensor:
    """Return the softmax of logits (n_episodes, n_queries, n_support) over each class's items."""
    code = support.target.unsqueeze(1).expand_as(logits)
    shape = (*logits.shape[:2], support.n_classes)
    highest = logits.new_full(shape, -torch.inf).scatter_reduce(2, code, logits.detach(), "amax")
    highest = highest.masked_fill(highest == -torch.inf, 0.0)
    exponential = (logits - highest.gather(2, code)).exp()
    total = logits.new_zeros(shape).scatter_add(2, code, exponential)
    return exponential / total.gather(2, code).clamp_min(torch.finfo(logits.dtype).tiny)
