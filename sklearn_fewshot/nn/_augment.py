"""Random distortions of training images: a batch in, a batch of the same kind out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from ._loader import Augment


class Affine(NamedTuple):
    """Affine distortions of ``n`` images; axes in the order x (right), y (down)."""

    rotation: Tensor  # (n,), degrees from x to y, clockwise on the screen
    shear: Tensor  # (n, 2), pixels along x per pixel of y, and the reverse
    scale: Tensor  # (n, 2), above 1 enlarges
    shift: Tensor  # (n, 2), pixels


def affine_matrices(affine: Affine) -> Tensor:
    """Return the maps from a distorted image's points to the points they come from.

    Points are (x, y) in pixels from the image's centre.

    Parameters
    ----------
    affine : Affine
        The distortions.

    Returns
    -------
    matrices : tensor of shape (n, 2, 3)
        The inverse of ``p -> R K S p + shift``: scale ``S``, then shear ``K``, then rotation
        ``R``, then shift.
    """
    angle = torch.deg2rad(affine.rotation)
    cos, sin = angle.cos(), angle.sin()
    shear_x, shear_y = affine.shear.unbind(dim=1)
    determinant = 1.0 - shear_x * shear_y
    inverse = torch.stack(  # of K, times the transpose of R
        [cos + shear_x * sin, sin - shear_x * cos, -sin - shear_y * cos, cos - shear_y * sin], dim=1
    ).view(-1, 2, 2)
    inverse = inverse / determinant.view(-1, 1, 1) / affine.scale.unsqueeze(2)  # (n, 2, 2)
    offset = -(inverse * affine.shift.unsqueeze(1)).sum(dim=2, keepdim=True)  # (n, 2, 1)
    return torch.cat([inverse, offset], dim=2)  # (n, 2, 3)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample images bilinearly, with zero padding.

    Parameters
    ----------
    images : float tensor of shape (n, channels, height, width)
        The images.
    matrices : float tensor of shape (n, 2, 3)
        Where each point of a result comes from, as ``affine_matrices`` returns it.

    Returns
    -------
    images : float tensor of shape (n, channels, height, width)
        In the dtype and the memory layout of the input.
    """
    height, width = images.shape[2:]
    # torch's coordinates are in [-1, 1] along each axis: in units of half a side, not of pixels.
    to_halves = matrices.new_tensor(
        [[1.0, height / width, 2.0 / width], [width / height, 1.0, 2.0 / height]]
    )
    grid = affine_grid(matrices * to_halves, list(images.shape), align_corners=False)
    warped = grid_sample(
        images.to(matrices.dtype), grid, "bilinear", padding_mode="zeros", align_corners=False
    )
    # The strides select the kernel of a convolution, and grid_sample does not keep them.
    return torch.empty_like(images).copy_(warped)


class RandomAffine(nn.Module):
    """Rotate, shear, scale and shift each image at random: Koch's affine distortions.

    The distortions of a batch are independent, also within a pair. For images whose background is
    zero: the padding is zero.

    Parameters
    ----------
    max_rotation : float, default=10.0
        Greatest angle in degrees, in both directions.
    max_shear : float, default=0.3
        Greatest shear along each axis, below 1: displacement in pixels per pixel of the other axis.
    scale_range : tuple of (float, float), default=(0.8, 1.2)
        Least and greatest factor of each axis; above 1 enlarges.
    max_shift : float, default=2 / 105
        Greatest shift along each axis as a fraction of that side of the image.
    probability : float, default=0.5
        Probability of each of the four distortions per image.

    Notes
    -----
    A point at ``p`` from the centre of the image goes to ``R K S p + t``::

        S = [[s_x, 0], [0, s_y]]     K = [[1, k_x], [k_y, 1]]     R = rotation by theta

    with ``theta``, ``k_x, k_y``, ``s_x, s_y`` and ``t_x, t_y`` uniform in their ranges. Randomness
    is that of torch's global generator of the images' device.

    Differences from the paper, which gives only the ranges:

    - It shifts images of 105 x 105 by up to 2 pixels. Here the shift is relative to the side.
    - It includes "each of these components" with probability 0.5, after a list of seven numbers.
      Here both axes of a shear, scale or shift are included together: four components, and one
      image in 16 is unchanged.
    - It does not specify the order of the four, the centre and the interpolation. Here they are as
      above, the centre of the image, and bilinear.

    References
    ----------
    G. Koch, R. Zemel, R. Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition",
    ICML Deep Learning Workshop, 2015, section 3.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn._augment import RandomAffine
    >>> RandomAffine()(torch.rand(4, 1, 28, 28)).shape
    torch.Size([4, 1, 28, 28])
    """

    def __init__(
        self,
        max_rotation: float = 10.0,
        max_shear: float = 0.3,
        scale_range: tuple[float, float] = (0.8, 1.2),
        max_shift: float = 2 / 105,
        probability: float = 0.5,
    ) -> None:
        super().__init__()
        self.max_rotation = max_rotation
        self.max_shear = max_shear
        self.scale_range = scale_range
        self.max_shift = max_shift
        self.probability = probability
        self._check_parameters()

    def forward(self, images: Tensor) -> Tensor:
        """Distort each image of a float batch (n, channels, height, width)."""
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                "RandomAffine takes float images of shape (n, channels, height, width). Got "
                f"{images.dtype} of shape {tuple(images.shape)}. augment='affine' is for "
                "images: set input_shape if X holds flattened ones; for tables or series pass "
                "a callable or None."
            )
        return warp(images, affine_matrices(self.draw(images)))

    def draw(self, images: Tensor) -> Affine:
        """Draw the distortions of a batch of images, on its device."""
        n, _, height, width = images.shape
        dtype = torch.promote_types(images.dtype, torch.float32)  # half is too coarse for positions
        draws = torch.rand(n, 11, dtype=dtype, device=images.device)
        included, values = draws[:, :4] < self.probability, draws[:, 4:]
        rotate, shear, scale, shift = included.to(dtype).split(1, dim=1)  # (n, 1) each
        low, high = self.scale_range
        signed = 2.0 * values - 1.0
        sides = images.new_tensor([width, height], dtype=dtype)
        return Affine(
            rotation=(rotate * signed[:, :1] * self.max_rotation).squeeze(1),
            shear=shear * signed[:, 1:3] * self.max_shear,
            scale=1.0 + scale * (low + (high - low) * values[:, 3:5] - 1.0),
            shift=shift * signed[:, 5:] * self.max_shift * sides,
        )

    def _check_parameters(self) -> None:
        low, high = self.scale_range
        rules = {
            "max_rotation": (self.max_rotation >= 0, "at least 0"),
            "max_shear": (0 <= self.max_shear < 1, "at least 0 and below 1"),
            "scale_range": (0 < low <= high, "two positive numbers, the smaller one first"),
            "max_shift": (self.max_shift >= 0, "at least 0"),
            "probability": (0 <= self.probability <= 1, "between 0 and 1"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(
                    f"The {name!r} parameter of RandomAffine must be {rule}. "
                    f"Got {getattr(self, name)!r}."
                )


AUGMENTATIONS: dict[str, type[nn.Module]] = {"affine": RandomAffine}


def resolve_augmentation(augment: str | Augment | None) -> Augment | None:
    """Return the augmentation of that name with its defaults, or the callable or None itself.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import resolve_augmentation
    >>> distort = resolve_augmentation("affine")
    >>> distort(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 1, 28, 28])
    """
    if augment is None or callable(augment):
        return augment
    if augment not in AUGMENTATIONS:
        names = ", ".join(map(repr, AUGMENTATIONS))
        raise ValueError(
            f"The 'augment' parameter must be one of {names}, a callable that takes and returns "
            f"a batch of samples, or None. Got {augment!r}."
        )
    return AUGMENTATIONS[augment]()
