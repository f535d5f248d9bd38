"""Siamese head (Bromley et al., 1994; Koch, Zemel and Salakhutdinov, 2015)."""

from typing import Literal, Self

import torch
from torch import Tensor, nn

from .._distances import Distance, cityblock, get_metric, sqeuclidean
from .._support import State, class_max, class_mean, from_state
from ._base import Head

START_BIAS = 2.0  # log-odds of "same" that the head starts with at distance zero
WEIGHTED = {"cityblock": cityblock, "sqeuclidean": sqeuclidean}


class SiameseHead(Head):
    """Log-odds that two samples are of the same class, from a weighted distance.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the embedding.
    metric : str or callable
        "cityblock" and "sqeuclidean" learn a weight for each dimension, others one factor.
    aggregate : {"max", "mean"}
        How the pairs of a query with the examples of one class become the class's score.

    Notes
    -----
    Section 3.1 of Koch et al., with a bias, which its equation does not have (without it the
    probability of a sample and itself is 1/2 at most)::

        p(x1, x2) = sigmoid( sum_j a_j |f(x1)_j - f(x2)_j| + b )

    The weights may take either sign. Absolute differences are weighted by splitting ``a`` into its
    positive and its negative part, so that pairs never need an array of all differences.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import SiameseHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = SiameseHead(embedding_dim=2)
    >>> log_odds = head.score(head.context(support), torch.tensor([[[0.0, 1.0]]]))
    >>> log_odds.argmax(dim=-1)
    tensor([[0]])
    """

    unit: Tensor

    def __init__(
        self,
        embedding_dim: int,
        metric: str | Distance = "sqeuclidean",
        aggregate: Literal["max", "mean"] = "max",
    ) -> None:
        super().__init__()
        self.weighted_metric = WEIGHTED.get(metric) if isinstance(metric, str) else None
        self.metric = get_metric(metric)
        self.aggregate = aggregate
        n_weights = 1 if self.weighted_metric is None else embedding_dim
        # With differences of about one in each dimension this starts at log-odds of -START_BIAS.
        self.register_buffer("unit", torch.tensor(2.0 * START_BIAS / n_weights))
        self.relative_weight = nn.Parameter(torch.full((n_weights,), -1.0))
        self.bias = nn.Parameter(torch.tensor(START_BIAS))

    @property
    def weight(self) -> Tensor:
        """The weights ``a``, stored in a unit: embeddings of any size are learned at one rate."""
        return self.unit * self.relative_weight

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: object) -> Self:
        """Build the head with a weight for each dimension of the embedding."""
        return cls(torch.Size(embedding_shape).numel(), **options)  # type: ignore[arg-type]

    def log_odds(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the log-odds that samples are of the same class.

        Parameters
        ----------
        a : tensor of shape (..., n_a, embedding_dim)
            Embeddings.
        b : tensor of shape (..., n_b, embedding_dim)
            Embeddings.

        Returns
        -------
        log_odds : tensor of shape (..., n_a, n_b)
        """
        weight = self.weight.to(a.dtype)
        if self.weighted_metric is None:
            return weight * self.metric(a, b) + self.bias
        power = 2 if self.weighted_metric is sqeuclidean else 1
        total: Tensor = self.bias
        for sign in (1.0, -1.0):
            part = (sign * weight).clamp_min(0.0)
            if part.device.type != "cpu" or part.any():  # on a GPU the check would synchronise
                # The gradient of a root is infinite at zero: exclude dimensions without weight.
                factor = torch.where(part > 0, part, 1.0) ** (1 / power) * (part > 0)
                total = total + sign * self.weighted_metric(a * factor, b * factor)
        return total

    def score(self, state: State, query: Tensor) -> Tensor:
        """Score a class by the highest (or the mean) log-odds of its examples."""
        pairs = self.log_odds(query.flatten(2), state["inputs"].flatten(2))
        over_class = class_max if self.aggregate == "max" else class_mean
        return over_class(pairs, from_state(state))  # (n_episodes, n_queries, n_classes)

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Set the weights so that the log-odds at the median distance are negative."""
        with torch.no_grad():
            typical = (self.bias - logits[logits.isfinite()]).median()
            if typical > 0:
                self.unit.mul_(2.0 * START_BIAS / typical)
