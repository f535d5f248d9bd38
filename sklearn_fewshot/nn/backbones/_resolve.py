"""From the ``backbone`` parameter to a new module."""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._modes import evaluating
from ._conv import Conv4, Conv4Maps, Conv4Strided, ResNet12
from ._koch import KochConv
from ._linear_start import LinearStart, ResidualMLP, linear_part
from ._plain import MLP, Identity
from ._series import Spectral

Backbone = str | nn.Module | Callable[..., nn.Module]

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "residual_mlp": ResidualMLP,
    "spectral": Spectral,
    "conv4": Conv4,
    "conv4_32": partial(Conv4, n_filters=32),
    "conv4_strided": Conv4Strided,
    "conv4_maps": Conv4Maps,
    "koch": KochConv,
    "resnet12": ResNet12,
    "identity": Identity,
}


def auto_backbone(input_shape: tuple[int, ...]) -> str:
    """Choose by the kind of sample: a vector (or tiny image), a series, an image.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import auto_backbone
    >>> [auto_backbone(shape) for shape in ((20,), (3, 100), (1, 28, 28))]
    ['residual_mlp', 'spectral', 'conv4']
    """
    is_image = len(input_shape) == 3 and min(input_shape[1:]) >= 16
    return "conv4" if is_image else "spectral" if len(input_shape) == 2 else "residual_mlp"


class Frozen(nn.Module):
    """An embedding network that is never trained: always in evaluation mode, without gradients.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_fewshot.nn.backbones import Frozen
    >>> backbone = Frozen(nn.Sequential(nn.Linear(4, 2), nn.Dropout()))
    >>> backbone.train().training
    False
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map samples to flat embeddings."""
        return self.module(x).flatten(1)


def make_backbone(backbone: Backbone, input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    """Build a new backbone and check it on two zero samples.

    Within ``torch.device("meta")``, where tensors have no values, only shapes are checked.

    Parameters
    ----------
    backbone : str, nn.Module, class or factory
        A name in ``BACKBONES`` or ``"auto"``; a module (copied, never trained in place); or a
        callable that returns a module, given ``input_shape`` if it has such a parameter.
    input_shape : tuple of int
        Shape of one sample.
    **kwargs
        Passed on to named backbones.

    Raises
    ------
    ValueError
        If the module does not turn (n, *input_shape) into finite (n, ...).

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import make_backbone
    >>> type(make_backbone("auto", (1, 28, 28))).__name__
    'Conv4'
    """
    if isinstance(backbone, nn.Module):
        module = copy.deepcopy(backbone)
    elif isinstance(backbone, str):
        module = _named_backbone(backbone, input_shape, **kwargs)
    elif "input_shape" in inspect.signature(backbone).parameters:
        module = backbone(input_shape=input_shape)
    else:
        module = backbone()
    _check_output(module, input_shape)
    return module


def n_parameters(backbone: str, input_shape: tuple[int, ...], **kwargs: Any) -> int:
    """Count the parameters of a named backbone without building it.

    Parameters
    ----------
    backbone : str
        A name in ``BACKBONES`` or ``"auto"``.
    input_shape : tuple of int
        Shape of one sample.
    **kwargs
        Options of the backbone.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import n_parameters
    >>> n_parameters("conv4", (1, 28, 28))
    111680
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = _named_backbone(backbone, input_shape, **kwargs)
    return sum(parameter.numel() for parameter in module.parameters())


def _named_backbone(backbone: str, input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    name = auto_backbone(input_shape) if backbone == "auto" else backbone
    return BACKBONES[name](input_shape, **kwargs)


def embedding_shape(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one embedding.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import Conv4, embedding_shape
    >>> embedding_shape(Conv4((1, 28, 28)), (1, 28, 28))
    (64,)
    """
    return tuple(_embedding_of_zeros(module, input_shape).shape[1:])


def _embedding_of_zeros(module: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluating(module):
        return module(torch.zeros(2, *input_shape, device=device))


def has_linear_start(module: nn.Module) -> bool:
    """Whether the backbone can start from a given linear projection.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import MLP, ResidualMLP, has_linear_start
    >>> has_linear_start(ResidualMLP((20,), embedding_dim=8)), has_linear_start(MLP((20,)))
    (True, False)
    """
    top = linear_part(module)
    return isinstance(top, LinearStart) and isinstance(top.linear, nn.Linear)


def starts_from_features(module: nn.Module) -> bool:
    """Whether the initial embedding is a linear map of the input or of fixed features of it.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import MLP, Identity, starts_from_features
    >>> starts_from_features(Identity((20,))), starts_from_features(MLP((20,)))
    (True, False)
    """
    return isinstance(linear_part(module), LinearStart | Identity)


def takes_any_length(backbone: Backbone) -> bool:
    """Whether a backbone takes series of any length, and padded with NaN.

    A network of one's own says so by an attribute ``takes_any_length = True``; it may use
    :func:`mask_padding`.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import takes_any_length
    >>> takes_any_length("auto"), takes_any_length("mlp")  # "auto" is "spectral" for series
    (True, False)
    """
    if isinstance(backbone, str):
        return BACKBONES.get(backbone, Spectral) is Spectral
    while isinstance(backbone, Frozen) or (isinstance(backbone, nn.Sequential) and len(backbone)):
        if getattr(backbone, "takes_any_length", False):
            break
        backbone = backbone.module if isinstance(backbone, Frozen) else backbone[0]
    return bool(getattr(backbone, "takes_any_length", False))


def distances_mean_something(module: nn.Module) -> bool:
    """Whether distances of the untrained embedding are those at the start of training.

    Batch normalisation has no statistics yet: in evaluation mode it does not normalise, as it does
    in training.

    Examples
    --------
    >>> from sklearn_fewshot.nn.backbones import Conv4, Identity, distances_mean_something
    >>> distances_mean_something(Identity((20,))), distances_mean_something(Conv4((1, 28, 28)))
    (True, False)
    """
    batch_norm = nn.modules.batchnorm._BatchNorm
    return starts_from_features(module) or not any(
        isinstance(part, batch_norm) for part in module.modules()
    )


def _remedy(module: nn.Module) -> str:
    """Return what to do about a network that fails on float32 samples."""
    floats = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if floats - {torch.float32}:
        kind = str(floats.pop()).removeprefix("torch.") if len(floats) == 1 else "several dtypes"
        return f"Samples reach it in float32, and its weights are {kind}: pass module.float()."
    if any(isinstance(part, nn.Embedding) for part in module.modules()):
        return "Samples reach it in float32: convert them to integers in its forward."
    return "Check its input size, or set input_shape."


def _check_output(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(
            "The 'backbone' parameter must be a name, a torch.nn.Module, or a class or function "
            f"that returns one. Got something that returned {type(module).__name__}."
        )
    try:
        output = _embedding_of_zeros(module, input_shape)
    except RuntimeError as error:
        raise ValueError(
            f"The backbone {type(module).__name__} failed on samples of shape {input_shape}: "
            f"{error}. {_remedy(module)}"
        ) from error
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != 2:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"The backbone {type(module).__name__} must return one embedding per sample: a tensor "
            f"of shape (n_samples, embedding_dim). Got {got} for two samples of shape "
            f"{input_shape}."
        )
    if output.device.type != "meta" and not output.isfinite().all():
        raise ValueError(
            f"The backbone {type(module).__name__} returned NaN or infinity for zero samples. "
            "Check its weights."
        )
