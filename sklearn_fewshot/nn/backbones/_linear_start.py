"""Backbones that start as a linear map of the input and learn a nonlinear residual.

A random initialisation loses information of the input features. These networks compute
``x W + f(x)`` with ``f`` initialised to zero: meta-training starts from a linear method.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ._dropout import QuickDropout

MAX_LINEAR_FEATURES = 1024  # above, W would be the biggest part of the network: x + f(x) instead


class LinearStart(nn.Module):
    """Sum of a linear path and a tenth of a branch that is zero at the start.

    The factor makes the branch learn more slowly than the linear path: with few base classes a
    quick branch overfits to those.

    Parameters
    ----------
    n_features : int
        Features of the linear path's input.
    embedding_dim : int or None
        Outputs; None for ``n_features``, where the path starts as the identity.
    unit_length : bool
        Whether a bias is added to the sum, which is then scaled to unit length.
    """

    branch: nn.Module
    factor: Tensor
    branch_factor = 0.1

    def __init__(
        self, n_features: int, embedding_dim: int | None = None, unit_length: bool = False
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.embedding_dim = embedding_dim or n_features
        self.linear: nn.Module
        if embedding_dim is None and n_features > MAX_LINEAR_FEATURES:
            self.linear = nn.Identity()
        else:
            self.linear = nn.Linear(n_features, self.embedding_dim, bias=False)
            if not self.linear.weight.is_meta:  # without values; torch would load for seconds
                nn.init.eye_(self.linear.weight)
        self.register_buffer("factor", torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(self.embedding_dim)) if unit_length else None

    def start_from(
        self, projection: Tensor | None, mean: Tensor | None = None, factor: float = 1.0
    ) -> None:
        """Set where training starts.

        Parameters
        ----------
        projection : tensor of shape (n_features, embedding_dim) or None
            ``W``; None leaves the identity.
        mean : tensor of shape (embedding_dim,) or None
            Where embeddings of unit length are centred.
        factor : float
            Factor of the input: training then does not depend on its unit.
        """
        with torch.no_grad():
            self.factor.fill_(factor)
            if projection is not None:
                self.get_parameter("linear.weight").copy_(projection.mT)
            if mean is not None:
                self.get_parameter("bias").copy_(-mean)

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the linear path, of shape (n, n_features)."""
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, embedding_dim)."""
        x = x * self.factor
        embedding = self.linear(self.features(x)) + self.branch_factor * self.branch(x)
        return embedding if self.bias is None else normalize(embedding + self.bias, dim=-1)


class ResidualMLP(LinearStart):
    """Linear map plus a multi-layer perceptron: the default for tables and embeddings.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample; flattened.
    embedding_dim : int or None
        Dimension of the embedding; None for as many as the input has.
    hidden_dim : int
        Units of the two hidden layers.
    dropout : float
        Share of hidden units dropped in training.
    unit_length : bool
        Whether the embedding is centred by a learned bias and scaled to unit length.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import ResidualMLP
    >>> backbone = ResidualMLP((20,))
    >>> backbone(torch.zeros(2, 20)).shape
    torch.Size([2, 20])
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        embedding_dim: int | None = None,
        hidden_dim: int = 256,
        dropout: float = 0.5,
        unit_length: bool = False,
    ) -> None:
        super().__init__(math.prod(input_shape), embedding_dim, unit_length)
        self.branch = nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.n_features, hidden_dim),
            nn.ReLU(),
            QuickDropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            QuickDropout(dropout),
            zero_linear(hidden_dim, self.embedding_dim),
        )


class FrontAndTop(nn.Sequential):
    """A front end that is not trained, whose output can be computed once, and a network on top.

    Parameters
    ----------
    front : nn.Module
        Without weights that learn.
    top : ResidualMLP
        Embeds the output of the front end.
    """

    def __init__(self, front: nn.Module, top: ResidualMLP) -> None:
        super().__init__(front, top)

    @property
    def front(self) -> nn.Module:
        """The front end."""
        return self[0]

    @property
    def top(self) -> ResidualMLP:
        """The network on top."""
        top = self[1]
        assert isinstance(top, ResidualMLP)
        return top


def linear_part(module: nn.Module) -> nn.Module:
    """Return the part of a backbone that is on top of its front end, all of it if it has none.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import Spectral
    >>> from sklearn_fewshot.nn.backbones._linear_start import linear_part
    >>> type(linear_part(Spectral((2, 50)))).__name__
    'ResidualMLP'
    """
    return module.top if isinstance(module, FrontAndTop) else module


def zero_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a layer whose output is zero at first."""
    layer = nn.Linear(n_in, n_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
