"""Logistic regression of the support set, anchored at the prototypes."""

import torch
from torch import Tensor, nn

from .._distances import Distance
from .._support import State, Support, class_means
from ._metric import MetricHead

N_POWER_ITERATIONS = 10  # that bound the curvature of the loss
SAFETY = 1.1  # of that bound, which is approached from below


class AnchoredHead(MetricHead):
    r"""Convex logistic regression whose penalty holds it at the prototypical classifier.

    With prototypes ``c_k`` of mean ``m``, embeddings ``f``, ``x = sqrt(2 s) (f - m)`` and logits
    :math:`-s\, d(f, c_k) + u_k \cdot x + v_k`, it minimises in each episode

    .. math::

        \sum_{i \in S} \text{cross-entropy}_i
        + \frac{\lambda}{2} \sum_k \big( \lVert u_k \rVert^2 + v_k^2 \big)

    by steps of Nesterov's accelerated gradient method, through which it can be trained. For squared
    distances this is multinomial logistic regression with the penalty
    :math:`\lambda / 2\, \lVert W - W_0 \rVert^2`, where ``W_0`` are the weights of the prototypical
    classifier: with one example per class it stays there, with many it becomes ordinary logistic
    regression.

    Parameters
    ----------
    metric : str or callable
        Distance between queries and prototypes.
    scale : float
        Factor of the distance.
    learn_scale : bool
        Whether the (logarithm of the) scale is trained.
    penalty : float
        :math:`\lambda` at the start of training; its logarithm is learned.
    n_steps : int
        Gradient steps.

    References
    ----------
    The anchor is that of A. Rajeswaran, C. Finn, S. Kakade and S. Levine, "Meta-Learning with
    Implicit Gradients", NeurIPS 2019 (eq. 3), for the last layer alone; the prototypes as its start
    are those of E. Triantafillou et al., "Meta-Dataset", ICLR 2020 (section 3, Proto-MAML).

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import AnchoredHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = AnchoredHead()
    >>> state = head.context(support)
    >>> head.score(state, torch.tensor([[[0.0, 1.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    breaks = {"duplicates": "the relative weight of the penalty decreases with more examples"}

    def __init__(
        self,
        metric: str | Distance = "sqeuclidean",
        scale: float = 1.0,
        learn_scale: bool = False,
        penalty: float = 1.0,
        n_steps: int = 15,
    ) -> None:
        super().__init__(metric, scale, learn_scale)
        self.log_penalty = nn.Parameter(torch.tensor(float(penalty)).log())
        self.n_steps = n_steps

    def context(self, representation: Support) -> State:
        """Fit the regression of each episode."""
        means = class_means(representation)
        prototype, count = means.inputs.flatten(2), means.weight
        is_present = (count > 0).to(prototype.dtype).unsqueeze(-1)
        mean = (prototype * is_present).sum(dim=1, keepdim=True) / is_present.sum(
            dim=1, keepdim=True
        )
        unit = (2.0 * self.scale).sqrt()
        flat = representation.inputs.flatten(2)
        rows = torch.cat([unit * (flat - mean), torch.ones_like(flat[..., :1])], dim=-1)
        anchor = self.similarity(flat, prototype)
        anchor = anchor.masked_fill((count == 0).unsqueeze(1), -torch.inf)
        solution = self._minimise(rows, anchor, representation)
        return {
            "prototype": prototype,
            "count": count,
            "mean": mean,
            "coefficients": unit * solution[..., :-1],
            "bias": solution[..., -1],
        }

    def _minimise(self, rows: Tensor, anchor: Tensor, support: Support) -> Tensor:
        """Return ``u`` and, last, ``v``: shape (n_episodes, n_classes, n_features + 1)."""
        weight = support.weight.to(rows.dtype).unsqueeze(-1)
        target = torch.zeros_like(anchor).scatter_(2, support.target.unsqueeze(-1), 1.0)
        penalty = self.log_penalty.exp()
        curvature = 0.5 * _largest_moment(rows, weight) + penalty  # (n_episodes, 1, 1)
        ratio = (penalty / curvature).sqrt()
        momentum = (1.0 - ratio) / (1.0 + ratio)
        weighted = (weight * rows).mT
        here = ahead = rows.new_zeros(len(rows), anchor.shape[-1], rows.shape[-1])
        for _ in range(self.n_steps):
            residual = (anchor + rows @ ahead.mT).softmax(dim=-1) - target
            gradient = (weighted @ residual).mT + penalty * ahead
            before, here = here, ahead - gradient / curvature
            ahead = here + momentum * (here - before)
        return here

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return the linear predictor of each class."""
        flat = query.flatten(2)
        logits = self.similarity(flat, state["prototype"])
        logits = logits + (flat - state["mean"]) @ state["coefficients"].mT
        logits = logits + state["bias"].unsqueeze(1)
        return logits.masked_fill((state["count"] == 0).unsqueeze(1), -torch.inf)


def _largest_moment(rows: Tensor, weight: Tensor) -> Tensor:
    """Bound the largest eigenvalue of the second moments of rows, of shape (n_episodes, 1, 1)."""
    start = torch.arange(rows.shape[2], dtype=rows.dtype, device=rows.device).cos()  # no axis
    vector = start.expand(len(rows), -1).unsqueeze(-1)  # (n_episodes, n_features, 1)
    moment = rows.new_ones(len(rows), 1, 1)
    for _ in range(N_POWER_ITERATIONS):
        vector = (weight * rows).mT @ (rows @ vector)
        moment = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        vector = vector / moment.clamp_min(torch.finfo(rows.dtype).tiny)
    trace = (weight * rows.square()).sum(dim=(1, 2), keepdim=True)
    return torch.minimum(SAFETY * moment, trace)
