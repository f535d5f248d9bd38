"""Backbones: from a batch of samples to a batch of embeddings."""

from ._conv import Conv4, ResNet12
from ._linear_start import Conv1d, ResidualMLP
from ._plain import MLP, Identity
from ._resolve import (
    BACKBONES,
    Frozen,
    has_linear_start,
    make_backbone,
    starts_from_features,
)

__all__ = [
    "BACKBONES",
    "MLP",
    "Conv1d",
    "Conv4",
    "Frozen",
    "Identity",
    "ResNet12",
    "ResidualMLP",
    "has_linear_start",
    "make_backbone",
    "starts_from_features",
]
