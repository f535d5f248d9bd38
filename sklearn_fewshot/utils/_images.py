"""Image files, read with Pillow where it is installed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ._typing import PathLike

MODES = ("RGB", "L")


def import_pillow(owner: str) -> Any:
    """Import Pillow's ``Image``, or say who needs it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"{owner} needs Pillow to read images, which is not installed. Install it, for "
            "example with: pip install sklearn-fewshot[images]"
        ) from error
    return Image


def read_image(path: PathLike, mode: str, owner: str) -> Any:
    """Read an image, upright, as "RGB" or "L" (grey).

    Phones store photos as the sensor lay and note how to turn them (EXIF): that is done here.

    Returns
    -------
    image : PIL.Image.Image

    Raises
    ------
    ImportError
        If Pillow is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or has more than 8 bits per channel, which Pillow would cut off.
    """
    Image = import_pillow(owner)
    from PIL import ImageOps

    name = os.fspath(path)
    try:
        with Image.open(name) as file:
            depth = file.mode
            image = ImageOps.exif_transpose(file).convert(mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{owner} found no image {name!r}. Check the path.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{owner} cannot read {name!r} as an image: {error}. Repair the file or leave it out."
        ) from error
    if depth.startswith(("I", "F")):
        raise ValueError(
            f"The image {name!r} has more than 8 bits per channel (Pillow's mode {depth!r}), which "
            f"{owner} does not read. Convert it first, or pass images as arrays."
        )
    return image


def channels_first(image: Any) -> np.ndarray:
    """Return an image as a uint8 array of shape (channels, height, width)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
