"""Bayesian linear regression on learned features, in closed form."""

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .._support import State, Support
from ..heads import Head


class BayesianRidgeHead(Head):
    r"""Bayesian linear regression of the support set's values on their embeddings.

    With features :math:`\varphi`, the embedding and a one, rows :math:`\varphi_i` of
    :math:`\Phi`, noise of variance :math:`\sigma^2` and the prior
    :math:`w \sim N(\mu, \sigma^2 / \lambda\, I)` of the coefficients, values and variances of a
    query are

    .. math::

        \hat y = \varphi^\top \mu + \varphi^\top \Phi^\top (\Phi \Phi^\top + \lambda I)^{-1}
                 (y - \Phi \mu), \qquad
        \operatorname{var} = \sigma^2 \big(1 + \varphi^\top (\Phi^\top \Phi + \lambda I)^{-1}
                             \varphi\big)

    of which the smaller of two equivalent systems is solved: of the size of the support set, or of
    the features. Without support they are those of the prior. :math:`\mu`, :math:`\lambda` and
    :math:`\sigma` are learned, and training goes through the solution.

    Parameters
    ----------
    n_features : int
        Size of the embedding.
    n_targets : int
        Number of targets: they share :math:`\lambda` and the features.
    penalty : float
        :math:`\lambda` at the start.
    noise : float
        :math:`\sigma` at the start, in units of the base targets' standard deviation.
    n_squared_steps : int
        Training steps with :math:`\operatorname{var} = 1`, so that the likelihood is the squared
        error: standard deviations of untrained features would hold training up.

    References
    ----------
    J. Harrison, A. Sharma and M. Pavone, "Meta-Learning Priors for Efficient Online Bayesian
    Regression", WAFR 2018.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.regression import BayesianRidgeHead
    >>> head = BayesianRidgeHead(n_features=1, penalty=1e-6).eval()
    >>> inputs, target = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[1.0], [3.0]]])
    >>> state = head.context(Support(inputs, target, torch.ones(1, 2), n_classes=1))
    >>> head.score(state, torch.tensor([[[2.0]]]))[..., 0].detach().round()  # 1 + 2 x
    tensor([[5.]])
    """

    n_steps: Tensor

    def __init__(
        self,
        n_features: int,
        n_targets: int = 1,
        penalty: float = 1.0,
        noise: float = 0.3,
        n_squared_steps: int = 0,
    ) -> None:
        super().__init__()
        self.n_squared_steps = n_squared_steps
        self.mean = nn.Parameter(torch.zeros(n_features + 1, n_targets))
        self.log_penalty = nn.Parameter(torch.tensor(math.log(penalty)))
        self.log_noise = nn.Parameter(torch.full((n_targets,), math.log(noise)))
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape."""
        return cls(math.prod(embedding_shape), **options)

    @property
    def penalty(self) -> Tensor:
        """The positive penalty of the coefficients."""
        return self.log_penalty.exp()

    @property
    def noise(self) -> Tensor:
        """The positive standard deviation of the noise, of each target."""
        return self.log_noise.exp()

    def context(self, representation: Support) -> State:
        r"""Solve the regression of each episode, in float64.

        The variance needs :math:`\varphi^\top (\Phi^\top \Phi + \lambda I)^{-1} \varphi`. With the
        ``root`` :math:`R` it is :math:`|R \varphi|^2` (primal), or
        :math:`|\varphi|^2 / \lambda - |R \varphi|^2` (dual).
        """
        rows, penalty = _features(representation.inputs), self.penalty.double()
        weight = representation.weight.double().unsqueeze(-1).sqrt()
        residual = representation.target.double() - rows @ self.mean.double()
        X, Y = weight * rows, weight * residual  # padding is zero
        is_dual = X.shape[1] <= X.shape[2]
        gram = X @ X.mT if is_dual else X.mT @ X
        identity = torch.eye(gram.shape[-1], dtype=X.dtype, device=X.device)
        factor = torch.linalg.cholesky(gram + penalty * identity)
        if is_dual:
            solution = X.mT @ torch.cholesky_solve(Y, factor)
            root = torch.linalg.solve_triangular(factor, X, upper=False) / penalty.sqrt()
        else:
            solution = torch.cholesky_solve(X.mT @ Y, factor)
            root = torch.linalg.solve_triangular(factor, identity.expand_as(gram), upper=False)
        one = rows.new_ones(len(rows), 1, 1)
        return {
            "coefficients": self.mean.double() + solution,
            "root": root,
            "sign": -one if is_dual else one,
            "total": one / penalty if is_dual else 0.0 * one,
        }

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return values and the logarithms of their standard deviations."""
        rows = _features(query)
        values = rows @ state["coefficients"].double()  # (n_episodes, n_queries, n_targets)
        square = (rows @ state["root"].double().mT).square().sum(dim=2, keepdim=True)
        total = state["total"] * rows.square().sum(dim=2, keepdim=True)
        leverage = (total + state["sign"] * square).clamp_min(0.0)
        log_std = self.log_noise.double() + 0.5 * leverage.log1p()
        if self.training:
            log_std = log_std.masked_fill(self._counts_as_squared_step(), 0.0)
        return torch.cat([values, log_std], dim=2).to(query.dtype)

    def _counts_as_squared_step(self) -> Tensor:
        """Count a training step; returns whether it is one with unit variance."""
        is_squared = self.n_steps < self.n_squared_steps
        self.n_steps += is_squared
        return is_squared


def _features(embedding: Tensor) -> Tensor:
    """Return embeddings with a column of ones, in float64."""
    return pad(embedding.flatten(2).double(), (0, 1), value=1.0)
