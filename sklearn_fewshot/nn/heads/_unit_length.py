"""Heads of the baseline, on embeddings that are centred and scaled to unit length."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .._distances import Distance
from ._anchored import AnchoredHead
from ._metric import MetricHead
from ._prototypical import PrototypicalHead

MOMENTUM = 0.05  # of the running mean of embeddings


class UnitLengthHead(MetricHead):
    """Base of heads that compare centred embeddings of unit length.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the embeddings.
    metric : str or callable
        Distance between queries and centroids.
    scale : float
        Factor of the distance in the softmax.

    References
    ----------
    Y. Wang, W.-L. Chao, K. Q. Weinberger and L. van der Maaten, "SimpleShot: Revisiting
    Nearest-Neighbor Classification for Few-Shot Learning", 2019: the transformation CL2N.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.heads import UnitLengthHead
    >>> head = UnitLengthHead(2)
    >>> head.center.copy_(torch.tensor([1.0, 1.0]))
    tensor([1., 1.])
    >>> head.prepare(torch.tensor([[4.0, 5.0]]))
    tensor([[0.6000, 0.8000]])
    """

    center: Tensor

    def __init__(
        self, embedding_dim: int, metric: str | Distance = "cosine", scale: float = 10.0
    ) -> None:
        super().__init__(metric, scale)
        self.register_buffer("center", torch.zeros(embedding_dim))

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape, flattened."""
        return cls(math.prod(embedding_shape), **options)

    def prepare(self, embedding: Tensor) -> Tensor:
        """Subtract the mean of the base classes and scale to unit length."""
        return normalize(embedding.flatten(1) - self.center, dim=-1)

    def follow(self, embedding: Tensor, momentum: float = MOMENTUM) -> None:
        """Move the mean of the base classes towards that of a batch of embeddings."""
        self.center.lerp_(embedding.detach().flatten(1).mean(dim=0), momentum)


class CentroidHead(UnitLengthHead, PrototypicalHead):
    """Class means of centred embeddings of unit length (see :class:`UnitLengthHead`).

    Parameters
    ----------
    embedding_dim : int
        Dimension of the embeddings.
    metric : str or callable
        Distance between queries and centroids.
    scale : float
        Factor of the distance in the softmax.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import CentroidHead
    >>> head = CentroidHead(2)
    >>> rows = head.prepare(torch.tensor([[0.0, 1.0], [0.0, 2.0], [4.0, 0.0]]))
    >>> support = Support(rows[None], torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head.represent(support).inputs
    tensor([[[0., 1.],
             [1., 0.]]])
    """


class AnchoredCentroidHead(UnitLengthHead, AnchoredHead):
    """Logistic regression that is anchored at the class means of a :class:`CentroidHead`.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the embeddings.
    metric : str or callable
        Distance between queries and centroids.
    scale : float
        Factor of the distance in the softmax.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import AnchoredCentroidHead
    >>> head = AnchoredCentroidHead(2)
    >>> rows = head.prepare(torch.tensor([[0.0, 1.0], [0.0, 2.0], [4.0, 0.0]]))
    >>> support = Support(rows[None], torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head.score(head.context(support), rows[None, :1]).argmax(dim=-1)
    tensor([[0]])
    """
