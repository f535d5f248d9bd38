"""What data and network together rule out, or make doubtful."""

from __future__ import annotations

import numpy as np

from ..network import Recipe
from ..nn.backbones import n_parameters, takes_any_length
from ..utils._memory_map import blocks_of
from ..utils._validation import series_lengths
from ..utils._warnings import warn_user

MANY_PARAMETERS, MANY_A_SAMPLE = 10_000_000, 10_000


def check_padding(owner: str, X: np.ndarray, recipe: Recipe) -> None:
    """Raise if series are padded and the network would take the padding for values."""
    if X.ndim != 3 or takes_any_length(recipe.options.get("backbone", "mlp")):
        return
    if any((series_lengths(block) < X.shape[2]).any() for block in blocks_of(X)):
        raise ValueError(
            f"X of {owner} has series padded with NaN, which its backbone does not mask. Set "
            "backbone='conv1d', or cut or resample the series to one length. A network of your "
            "own that masks them (nn.backbones.mask_padding) has takes_any_length = True."
        )


def warn_of_size(owner: str, backbone: str, recipe: Recipe, n_samples: int) -> None:
    """Warn before a network is built that is absurdly large for its data."""
    options = recipe.options.get("backbone_options") or {}
    size = n_parameters(backbone, recipe.input_shape, **options)
    if size > max(MANY_PARAMETERS, MANY_A_SAMPLE * n_samples):
        warn_user(
            f"The backbone {backbone!r} of {owner} has {size / 1e6:.1f} million parameters for "
            f"samples of shape {recipe.input_shape}, but there are only {n_samples} samples to "
            "train it. Check the order of the axes (channels come first), reduce the samples "
            "(TruncatedSVD for tables, resizing for images), or choose a smaller backbone."
        )
