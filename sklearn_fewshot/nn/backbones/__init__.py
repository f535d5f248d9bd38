"""Backbones: from a batch of samples to a batch of embeddings."""

from ._conv import Conv4, Conv4Maps, Conv4Strided, ResNet12
from ._koch import KochConv
from ._linear_start import ResidualMLP
from ._plain import MLP, Identity
from ._resolve import (
    BACKBONES,
    Frozen,
    auto_backbone,
    distances_mean_something,
    embedding_shape,
    has_linear_start,
    make_backbone,
    n_parameters,
    starts_from_features,
    takes_any_length,
)
from ._series import SeriesFeatures, Spectral, mask_padding

__all__ = [
    "BACKBONES",
    "MLP",
    "Conv4",
    "Conv4Maps",
    "Conv4Strided",
    "Frozen",
    "Identity",
    "KochConv",
    "ResNet12",
    "ResidualMLP",
    "SeriesFeatures",
    "Spectral",
    "auto_backbone",
    "distances_mean_something",
    "embedding_shape",
    "has_linear_start",
    "make_backbone",
    "mask_padding",
    "n_parameters",
    "starts_from_features",
    "takes_any_length",
]
