"""Backbones for vectors without a residual path."""

from torch import Tensor, nn


class Identity(nn.Module):
    """The identity, flattened: for embeddings that are used unchanged.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> Identity((2, 3))(torch.zeros(5, 2, 3)).shape
    torch.Size([5, 6])
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = input_shape

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, n_features)."""
        return x.flatten(1)


class MLP(nn.Sequential):
    """Two hidden layers and a linear embedding.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample.
    hidden_dim : int
        Units of each hidden layer.
    embedding_dim : int
        Units of the embedding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import MLP
    >>> backbone = MLP((20,))
    >>> backbone(torch.zeros(2, 20)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self, input_shape: tuple[int, ...], hidden_dim: int = 256, embedding_dim: int = 64
    ) -> None:
        n_features = 1
        for length in input_shape:
            n_features *= length
        super().__init__(
            nn.Flatten(),
            nn.Linear(n_features, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, embedding_dim),
        )
