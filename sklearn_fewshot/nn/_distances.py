"""Distances between batches of embeddings, smaller is closer.

Every distance takes ``a`` of shape (..., n_a, d) and ``b`` of shape (..., n_b, d) and returns
(..., n_a, n_b). The squared distance is a matrix product, which loses digits on near pairs in
float32; it is therefore always computed in float64, and returned in the input's dtype.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.linalg import vector_norm

Distance = Callable[[Tensor, Tensor], Tensor]


def sqeuclidean(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distance, the ``d`` of Snell et al. (2017)."""
    a64, b64 = a.double(), b.double()
    # Distances do not change under a common shift; near the origin the product loses less.
    centre = b64.mean(dim=-2, keepdim=True)
    a64, b64 = a64 - centre, b64 - centre
    a_norm = vector_norm(a64, dim=-1).square().unsqueeze(-1)  # (..., n_a, 1)
    b_norm = vector_norm(b64, dim=-1).square().unsqueeze(-2)  # (..., 1, n_b)
    return (a_norm + b_norm + a64 @ (-2.0 * b64).mT).clamp_min(0.0).to(a.dtype)


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance."""
    squared = sqeuclidean(a.double(), b.double())
    tiny = torch.finfo(torch.float32).tiny  # keeps the gradient of the root finite where a equals b
    return squared.clamp_min(tiny).sqrt().to(a.dtype)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine of the angle; a zero vector is at distance one from everything."""
    a64 = torch.nn.functional.normalize(a.double(), dim=-1)
    b64 = torch.nn.functional.normalize(b.double(), dim=-1)
    return (1.0 - a64 @ b64.mT).to(a.dtype)


def cityblock(a: Tensor, b: Tensor) -> Tensor:
    """Sum of absolute differences."""
    return torch.cdist(a.double(), b.double(), p=1.0).to(a.dtype)


METRICS: dict[str, Distance] = {
    "sqeuclidean": sqeuclidean,
    "euclidean": euclidean,
    "cosine": cosine,
    "cityblock": cityblock,
}


def get_metric(metric: str | Distance) -> Distance:
    """Return the distance function of that name, or the callable itself.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import get_metric
    >>> get_metric("cityblock")(torch.zeros(1, 2), torch.tensor([[1.0, 1.0], [0.0, 3.0]]))
    tensor([[2., 3.]])
    """
    return metric if callable(metric) else METRICS[metric]
