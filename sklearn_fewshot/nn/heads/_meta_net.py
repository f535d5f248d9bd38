"""Meta Networks (Munkhdalai and Yu, 2017): fast weights from gradients, read by attention."""

from collections.abc import Iterator
from math import log
from typing import Any, Self

import torch
from torch import Tensor, nn

from .._preprocess import preprocess
from .._support import State, Support
from ..memory import content_weights
from ._base import Head
from ._matching import canonical_keys, canonical_order, in_given_order, reorder

FAST_VALUES = 2**22  # fast weights of examples that are made at once
SCALE = 10.0  # of the mean squared distances, at the start of training
STRENGTH = 10.0  # of the cosines in the attention, at the start


class MetaNetHead(Head):
    r"""Two layers with fast weights, which networks make of the gradients of the examples.

    On embeddings ``z``, a representation ``u`` and a base learner ``b`` of one hidden layer:

    .. math::

        u(z) = \operatorname{ReLU}(Q z) + \operatorname{ReLU}(Q^* z), \qquad
        b(z) = \operatorname{ReLU}(W z) + \operatorname{ReLU}(W^* z)

    1. :math:`Q^* = d_G(\nabla_Q L_1, \ldots, \nabla_Q L_N)`: a recurrent network reads the
       gradients of the classes' losses; every weight has a state of its own and shares its network.
    2. :math:`r_i = u(z_i)` and :math:`W^*_i = m_Z(\nabla_W L(z_i, y_i))` for each example, by a
       small network that all weights share. Keys :math:`r_i` and values :math:`W^*_i` are a memory.
    3. A query reads it: :math:`W^*(q) = \sum_i \operatorname{softmax}_i(\beta \cos(u(q), r_i))
       W^*_i`.

    The losses are cross-entropies of the squared distances from class means in the hidden layer,
    which are also the logits, with a fast layer added: :math:`-s \lVert b - c_k \rVert^2 + w^*_k(q)
    \cdot b`.

    Parameters
    ----------
    n_features : int
        Dimension of the embedding.
    hidden_dim : int
        Units of both layers.
    meta_dim : int
        Units of the networks that make fast weights.

    Notes
    -----
    No query has weights of its own in memory: the outputs of the layer under each example's fast
    weights are mixed, which is the same. Gradients count as constants in training.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import MetaNetHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = MetaNetHead(n_features=2)
    >>> state = head.context(support)
    >>> head.score(state, torch.tensor([[[0.0, 1.0]]])).shape
    torch.Size([1, 1, 2])
    """

    exact = False
    compares_base = False
    score_shift = False

    def __init__(self, n_features: int, hidden_dim: int = 64, meta_dim: int = 20) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.slow_representation = nn.Linear(n_features, hidden_dim)  # Q
        self.slow_base = nn.Linear(n_features, hidden_dim)  # W
        self.read_gradients = nn.LSTMCell(2, meta_dim)  # G, with its output
        self.task_weight = nn.Linear(meta_dim, 1)
        example_weight = nn.Linear(meta_dim, 1)
        self.example_weight = nn.Sequential(nn.Linear(2, meta_dim), nn.ReLU(), example_weight)  # Z
        self.log_scale = nn.Parameter(torch.tensor(log(SCALE)))
        self.log_strength = nn.Parameter(torch.tensor(log(STRENGTH)))
        with torch.no_grad():  # fast weights start small
            for layer in (self.task_weight, example_weight):
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape."""
        return cls(torch.Size(embedding_shape).numel(), **options)

    # ------------------------------------------------------------------ the support set

    def context(self, representation: Support) -> State:
        """Make the fast weights of the task, and what those of the examples are made of."""
        given = reorder(representation, canonical_order(representation))
        centre, size = _moments(given)
        z = (given.inputs - centre) / size
        u, _, gradient = self._losses(self.slow_representation(z).relu(), given)
        share = _share(given)  # (n_episodes, n_classes, n_support)
        of_class = torch.einsum("eks,esh,esd->ekhd", share, gradient.detach(), z.detach())
        fast = self._read(of_class, given)
        b, residual, gradient = self._losses(self.slow_base(z).relu(), given)
        return {
            "centre": centre,
            "size": size,
            "fast": fast,  # Q*, (n_episodes, hidden_dim, d)
            "key": u + (z @ fast.mT).relu(),  # (n_episodes, n_support, hidden_dim)
            "inputs": z,
            "hidden": b,
            "gradient": gradient,  # of the loss of each example, by the hidden layer
            "residual": residual,  # by the logits, (n_episodes, n_support, n_classes)
            "prototype": share @ b,
            "weight": given.weight.to(z.dtype),
            "count": share.sum(dim=2),
        }

    def _losses(self, hidden: Tensor, support: Support) -> tuple[Tensor, Tensor, Tensor]:
        """Return a hidden layer and the gradients of the examples' losses, means fixed.

        By the logits it is the probabilities less the labels, by the layer below their product with
        the class means, twice the scale.
        """
        share = _share(support)
        mean = share @ hidden
        logits = self._distance_logits(hidden, mean)
        absent = (share.sum(dim=2) == 0).unsqueeze(1)
        p = logits.masked_fill(absent, -torch.inf).softmax(dim=-1)
        label = torch.zeros_like(p).scatter(2, support.target.unsqueeze(2), 1.0)
        residual = p - label
        factor = 2.0 * self.log_scale.exp() / self.hidden_dim
        return hidden, residual, factor * (residual @ mean) * (hidden > 0)

    def _distance_logits(self, hidden: Tensor, mean: Tensor) -> Tensor:
        square = (
            hidden.square().sum(dim=2, keepdim=True)
            - 2.0 * hidden @ mean.mT
            + mean.square().sum(dim=2).unsqueeze(1)
        )
        return -self.log_scale.exp() / self.hidden_dim * square

    def _read(self, gradients: Tensor, support: Support) -> Tensor:
        """Return fast weights of gradients (n_episodes, n_classes, hidden_dim, d), one by one."""
        _, class_key = canonical_keys(support)
        present = _share(support).sum(dim=2) > 0
        order = class_key.masked_fill(~present, torch.inf).argsort(dim=1, stable=True)
        every = torch.arange(len(order), device=order.device)
        state = None
        shape = gradients.shape[2:]
        for k in range(order.shape[1]):
            seen = preprocess(gradients[every, order[:, k]]).flatten(0, 2)  # (n_coordinates, 2)
            after = self.read_gradients(seen, state)
            if state is None:
                state = after
                continue
            is_real = present[every, order[:, k]].repeat_interleave(shape.numel()).unsqueeze(1)
            state = tuple(torch.where(is_real, a, b) for a, b in zip(after, state, strict=True))
        assert state is not None
        fast: Tensor = self.task_weight(state[0])
        return fast.view(len(gradients), *shape)

    # ------------------------------------------------------------------ queries

    def score(self, state: State, query: Tensor) -> Tensor:
        """Compare queries, each under fast weights of its own."""
        z = (query.flatten(2) - state["centre"]) / state["size"]
        attention = self._attend(state, z)
        hidden = self.slow_base(z).relu()
        hidden = hidden + self._mix(attention, z, state["gradient"], state["inputs"]).relu()
        logits = self._distance_logits(hidden, state["prototype"])
        logits = logits + self._mix(attention, hidden, state["residual"], state["hidden"])
        return logits.masked_fill((state["count"] == 0).unsqueeze(1), -torch.inf)

    def attention(self, representation: Support, query: Tensor) -> Tensor:
        """Return the attention of queries over the examples' fast weights."""
        state = self.context(representation)
        z = (query.flatten(2) - state["centre"]) / state["size"]
        return in_given_order(self._attend(state, z), canonical_order(representation))

    def _attend(self, state: State, z: Tensor) -> Tensor:
        key = self.slow_representation(z).relu() + (z @ state["fast"].mT).relu()
        strength = self.log_strength.exp().expand(key.shape[:2])
        weights = content_weights(key, state["key"], strength) * state["weight"].unsqueeze(1)
        return weights / weights.sum(dim=2, keepdim=True)

    def _mix(self, attention: Tensor, inputs: Tensor, slope: Tensor, below: Tensor) -> Tensor:
        """Return the outputs of a layer under the mixed fast weights of the examples.

        The gradient of an example is an outer product, ``slope`` by what is ``below``.
        """
        mixed = attention.new_zeros(*inputs.shape[:2], slope.shape[2])
        for some in _blocks(len(inputs) * slope.shape[2] * below.shape[2], slope.shape[1]):
            gradient = slope[:, some].unsqueeze(3) * below[:, some].unsqueeze(2)
            fast = self.example_weight(preprocess(gradient.detach())).squeeze(-1)
            outputs = torch.einsum("eqd,eshd->eqsh", inputs, fast)
            mixed = mixed + (attention[:, :, some].unsqueeze(3) * outputs).sum(dim=2)
        return mixed  # (n_episodes, n_queries, n_outputs)


def _blocks(n_values: int, n_items: int) -> Iterator[slice]:
    """Yield slices of items of so many values each."""
    size = max(1, FAST_VALUES // n_values)
    for start in range(0, n_items, size):
        yield slice(start, start + size)


def _share(support: Support) -> Tensor:
    """Return the share of each item in the mean of each class, (n_episodes, n_classes, n_items)."""
    label = support.target.unsqueeze(1) == torch.arange(
        support.n_classes, device=support.target.device
    ).view(1, -1, 1)
    weight = label * support.weight.to(support.inputs.dtype).unsqueeze(1)
    return weight / weight.sum(dim=2, keepdim=True).clamp_min(1e-12)


def _moments(support: Support) -> tuple[Tensor, Tensor]:
    """Return the mean of the class means, and the root mean square of distances from it."""
    share = _share(support)
    n_present = share.sum(dim=(1, 2)).view(-1, 1, 1)
    mean = (share.sum(dim=1).unsqueeze(2) * support.inputs).sum(dim=1, keepdim=True) / n_present
    square = (support.inputs - mean).square().mean(dim=2, keepdim=True)
    square = (share.sum(dim=1).unsqueeze(2) * square).sum(dim=1, keepdim=True) / n_present
    least = (1e-7 * mean).square().amax(dim=2, keepdim=True)  # all examples are equal
    return mean, torch.where(square > least, square, 1.0).sqrt()
