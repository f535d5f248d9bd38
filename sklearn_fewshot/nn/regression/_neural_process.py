"""Conditional neural processes (Garnelo et al., 2018)."""

import math
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from .._support import State, Support
from ..heads import Head

LEAST_STD = 0.1  # as in the paper, in units of the standardised targets
EMPTY_SHARE = 0.05  # of training episodes without their support: they train the prior


class NeuralProcessHead(Head):
    r"""A conditional neural process: a network that reads the support set's mean representation.

    .. math::

        r = \frac{1}{|S|} \sum_i h(x_i, y_i), \qquad (\mu, s) = g(x, r), \qquad
        \sigma = 0.1 + 0.9\, \mathrm{softplus}(s)

    with embeddings ``x`` and multi-layer perceptrons ``h`` and ``g``. Without support, ``r`` is a
    learned vector, to which one in twenty training episodes is reduced.

    Parameters
    ----------
    n_features : int
        Size of the embedding.
    n_targets : int
        Number of targets.
    hidden_dim : int
        Units of each hidden layer, and of ``r``.

    References
    ----------
    M. Garnelo, D. Rosenbaum, C. J. Maddison et al., "Conditional Neural Processes", ICML 2018.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.regression import NeuralProcessHead
    >>> head = NeuralProcessHead(n_features=2).eval()
    >>> state = head.context(Support(torch.ones(1, 3, 2), torch.ones(1, 3, 1), torch.ones(1, 3), 1))
    >>> head.score(state, torch.ones(1, 5, 2)).shape  # a value and a standard deviation each
    torch.Size([1, 5, 2])
    """

    exact = False  # it has weights: float32, in chunks of fixed size

    def __init__(self, n_features: int, n_targets: int = 1, hidden_dim: int = 128) -> None:
        super().__init__()
        self.n_targets = n_targets
        self.encoder = _perceptron(n_features + n_targets, hidden_dim, 3, hidden_dim)
        self.decoder = _perceptron(n_features + hidden_dim, hidden_dim, 2, 2 * n_targets)
        self.nothing = nn.Parameter(torch.zeros(hidden_dim))

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape."""
        return cls(math.prod(embedding_shape), **options)

    def context(self, representation: Support) -> State:
        """Average the representations of the examples."""
        inputs = representation.inputs.flatten(2)
        weight = representation.weight.to(inputs.dtype).unsqueeze(-1)
        if self.training:
            weight = weight * (torch.rand_like(weight[:, :1]) >= EMPTY_SHARE)
        pairs = torch.cat([inputs, representation.target.to(inputs.dtype)], dim=-1)
        total = weight.sum(dim=1)  # (n_episodes, 1)
        mean = (weight * self.encoder(pairs)).sum(dim=1) / total.clamp_min(1e-12)
        return {"mean": torch.where(total > 0, mean, self.nothing)}

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return values and the logarithms of their standard deviations."""
        mean = state["mean"].unsqueeze(1).expand(-1, query.shape[1], -1)
        output = self.decoder(torch.cat([query.flatten(2), mean.to(query.dtype)], dim=-1))
        values, raw = output.split(self.n_targets, dim=-1)
        std = LEAST_STD + (1.0 - LEAST_STD) * softplus(raw)
        return torch.cat([values, std.log()], dim=-1)


def _perceptron(n_in: int, hidden_dim: int, n_hidden: int, n_out: int) -> nn.Sequential:
    sizes = [n_in, *[hidden_dim] * n_hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden_dim, n_out))
