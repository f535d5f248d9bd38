"""Gradient steps of the last layer alone, from the prototypes or a learned row (ANIL)."""

from math import log
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from .._distances import Distance
from .._support import State, Support, class_means
from ._metric import MetricHead


class GradientHead(MetricHead):
    r"""Linear classifier that takes gradient steps on the support set, on a fixed embedding.

    From the prototypes :math:`c_k` of mean :math:`\bar c`, with features
    :math:`z = \sqrt{2 s}\,(f(x) - \bar c)`, it starts at :math:`w_k = \sqrt{2 s}\,(c_k - \bar c)`
    and :math:`b_k = -\frac{1}{2} \lVert w_k \rVert^2`: the Prototypical Network. Each step descends
    the class-balanced cross-entropy of the examples,

    .. math::

        w_k \leftarrow w_k - \alpha_j \sum_{i \in S}
        \frac{1}{n_{y_i}} \big(p_{ik} - [y_i = k]\big)\, z_i, \qquad
        p_i = \operatorname{softmax}(W z_i + b)

    where the step of the mean over ``N`` classes is taken ``N`` times as long: the gradient of one
    row decreases with their number.

    Parameters
    ----------
    metric : "sqeuclidean"
        The distance that the start is linear for.
    scale : float
        ``s`` at the start of training.
    learn_scale : bool
        Whether training adjusts it.
    n_features : int
        Dimension of the embedding, for the learned row and step sizes.
    start : {"prototype", "shared"}
        Whether rows start at the prototypes, or at one learned row for all classes.
    n_steps : int
        Gradient steps.
    step_size : float
        Step size at the start of training.
    learn_step_size : {"layer", "element", False}
        Whether training adjusts step sizes: of weights and biases in each step, or of each
        feature.
    first_order : bool
        Whether gradients count as constants in training.

    References
    ----------
    A. Raghu, M. Raghu, S. Bengio and O. Vinyals, "Rapid Learning or Feature Reuse? Towards
    Understanding the Effectiveness of MAML", ICLR 2020 (ANIL).

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import GradientHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = GradientHead(n_features=2, n_steps=0)
    >>> head.score(head.context(support), torch.tensor([[[0.0, 2.0]]])).detach().round()
    tensor([[[ -1., -20.]]])
    """

    def __init__(
        self,
        metric: str | Distance = "sqeuclidean",
        scale: float = 1.0,
        learn_scale: bool = True,
        *,
        n_features: int,
        start: Literal["prototype", "shared"] = "prototype",
        n_steps: int = 3,
        step_size: float = 0.05,
        learn_step_size: Literal["layer", "element", False] = "layer",
        first_order: bool = False,
    ) -> None:
        super().__init__(metric, scale, learn_scale)
        self.start, self.n_steps = start, n_steps
        self.learn_step_size, self.first_order = learn_step_size, first_order
        self.row = nn.Parameter(torch.zeros(n_features), requires_grad=start == "shared")
        if learn_step_size == "element":  # of each feature and, last, of the bias
            sizes = torch.full((n_features + 1,), step_size)
        else:  # logarithms, of weights and biases in each step; without learning, in all steps
            n_sizes = n_steps if learn_step_size else 1
            sizes = torch.full((n_sizes, 2), log(step_size))
        self.step_sizes = nn.Parameter(sizes, requires_grad=learn_step_size is not False)

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape."""
        return cls(n_features=torch.Size(embedding_shape).numel(), **options)

    def context(self, representation: Support) -> State:
        """Take the steps of each episode."""
        means = class_means(representation)
        count = means.weight
        n_present = (count > 0).sum(dim=1).view(-1, 1, 1)
        prototype = means.inputs.flatten(2)
        rows = representation.inputs.flatten(2)
        centre = prototype.sum(dim=1, keepdim=True) / n_present  # absent classes are zero
        weight = self._unit(rows) * (prototype - centre) * (count > 0).unsqueeze(-1)
        bias = -0.5 * weight.square().sum(dim=2)
        if self.start == "shared":
            weight = self.row.to(rows.dtype) + torch.zeros_like(weight)
            bias = torch.zeros_like(bias)
        state = {"weight": weight, "bias": bias, "centre": centre, "count": count}
        return self._descend(state, self._unit(rows) * (rows - centre), representation)

    def _unit(self, rows: Tensor) -> Tensor:
        return (2.0 * self.scale).sqrt().to(rows.dtype)

    def _descend(self, state: State, z: Tensor, support: Support) -> State:
        """Take the steps, with features z of shape (n_episodes, n_support, d)."""
        weight, bias = state["weight"], state["bias"]
        absent = (state["count"] == 0).unsqueeze(1)
        target = torch.zeros(*z.shape[:2], support.n_classes, dtype=z.dtype, device=z.device)
        target = target.scatter_(2, support.target.unsqueeze(-1), 1.0)
        balanced = support.weight / state["count"].clamp_min(1e-12).gather(1, support.target)
        for j in range(self.n_steps):
            logits = z @ weight.mT + bias.unsqueeze(1)
            p = logits.masked_fill(absent, -torch.inf).softmax(dim=-1)
            slope = balanced.to(z.dtype).unsqueeze(-1) * (p - target)  # (n_episodes, n_support, N)
            of_weight, of_bias = slope.mT @ z, slope.sum(dim=1)
            if self.first_order:
                of_weight, of_bias = of_weight.detach(), of_bias.detach()
            size_of_weight, size_of_bias = self._sizes(j)
            weight = weight - size_of_weight.to(z.dtype) * of_weight
            bias = bias - size_of_bias.to(z.dtype) * of_bias
        return state | {"weight": weight, "bias": bias}

    def _sizes(self, j: int) -> tuple[Tensor, Tensor]:
        if self.learn_step_size == "element":
            return self.step_sizes[:-1], self.step_sizes[-1]
        of_weight, of_bias = self.step_sizes[j if self.learn_step_size else 0].exp()
        return of_weight, of_bias

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return the linear predictor, less half the squared length of the features."""
        z = self._unit(query) * (query.flatten(2) - state["centre"])
        logits = z @ state["weight"].mT + state["bias"].unsqueeze(1)
        logits = logits - 0.5 * z.square().sum(dim=-1, keepdim=True)
        return logits.masked_fill((state["count"] == 0).unsqueeze(1), -torch.inf)
