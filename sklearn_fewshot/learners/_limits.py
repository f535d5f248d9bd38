"""What data and network together rule out, or make doubtful."""

from __future__ import annotations

import numpy as np
import torch

from ..network import Recipe
from ..nn.backbones import Frozen, make_backbone, n_parameters, takes_any_length
from ..training._data import TrainingData
from ..utils._typing import Backbone
from ..utils._validation import label_text, series_lengths
from ..utils._warnings import warn_user

# Of a network whose training is hopeless, and takes gigabytes: both at once. ResNet12, with 12
# million, has 300 a sample on the data set it was made for.
MANY_PARAMETERS, MANY_A_SAMPLE = 10_000_000, 10_000


def without_common_padding(owner: str, X: np.ndarray, backbone: Backbone) -> np.ndarray:
    """Return series without the steps that are padding in all of them.

    Raises
    ------
    ValueError
        If series are padded and the backbone would take the padding for values.
    """
    if X.ndim != 3:
        return X
    length = series_lengths(X)
    if (length == X.shape[2]).all():
        return X
    X = X[..., : length.max()]
    if not takes_any_length(backbone):
        with torch.random.fork_rng(devices=[]):
            module = make_backbone(backbone, X.shape[1:])
        if not takes_any_length(module):
            raise ValueError(
                f"X of {owner} has series padded with NaN, which its backbone does not mask. Set "
                "backbone='spectral', or cut or resample the series to one length. A network of "
                "your own that masks them (nn.backbones.mask_padding) has takes_any_length = True."
            )
    return X


def check_padding(owner: str, X: np.ndarray, recipe: Recipe) -> None:
    """Raise if series are padded and the network does not embed rows, which could mask it."""
    embeds = "backbone" in recipe.options and "adaptation" not in recipe.options
    if X.ndim != 3 or embeds or not np.isnan(X[..., -1]).any():
        return
    raise ValueError(
        f"X of {owner} has series padded with NaN, which its network, taking samples as a whole, "
        "does not mask. Cut or resample the series to one length."
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


def warn_of_unusable(name: str, data: TrainingData, max_epochs: int) -> None:
    """Warn of what no episode can be drawn from, or of one class only: every answer is right."""
    rest = "The others lack a second example, from another group if there are groups."
    if data.class_tasks is not None:
        rest = f"{rest[:-1]}, or another class of their task."
        sizes = data.class_tasks.sizes(data.usable(np.ones_like(data.validation)))
        if (sizes == 0).any():
            warn_user(
                f"{np.count_nonzero(sizes == 0)} of the {len(sizes)} tasks of {name} have fewer "
                "than two classes with two examples each: no episode is drawn from them. Add "
                "classes or examples, or drop these tasks."
            )
    training, validation = (
        data.classes[data.usable(side)] for side in (data.training, data.validation)
    )
    if len(training) == 1 and data.attributes is None:
        warn_user(
            f"{name} can draw training episodes from one class alone, {label_text(training)}: "
            f"every answer is right, and nothing is learned. {rest}"
        )
    if data.validation.any() and len(validation) < 2:
        warn_user(
            f"{name} has {data.validation.sum()} validation classes, but can draw episodes "
            f"from {label_text(validation) or 'none'} only, where every answer is right. "
            f"{rest} It trains for max_epochs={max_epochs} and keeps the last weights."
        )


def warn_of_frozen(owner: str, backbone: torch.nn.Module) -> None:
    """Warn of a network that would not be trained, such as that of a fitted learner."""
    parameters = [] if isinstance(backbone, Frozen) else list(backbone.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        warn_user(
            f"No parameter of the backbone of {owner} requires a gradient, so training leaves it "
            "unchanged: networks of fitted learners are like that. Pass "
            "copy.deepcopy(backbone).requires_grad_() to train it, or set freeze_backbone=True."
        )
