"""Picture files, read with Pillow where it is installed."""

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
            f"{owner} needs Pillow to read pictures, which is not installed. Install it, for "
            "example with: pip install sklearn-fewshot[images]"
        ) from error
    return Image


def read_picture(path: PathLike, mode: str, owner: str) -> Any:
    """Read a picture, upright, as "RGB" or "L" (grey).

    Phones store photos as the sensor lay and note how to turn them (EXIF): that is done here.

    Returns
    -------
    picture : PIL.Image.Image

    Raises
    ------
    ImportError
        If Pillow is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or has more than 8 bits a channel, which Pillow would cut off.
    """
    Image = import_pillow(owner)
    from PIL import ImageOps

    name = os.fspath(path)
    try:
        with Image.open(name) as file:
            depth = file.mode
            picture = ImageOps.exif_transpose(file).convert(mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{owner} found no picture {name!r}. Check the path.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{owner} cannot read {name!r} as a picture: {error}. Repair the file or leave it out."
        ) from error
    if depth.startswith(("I", "F")):
        raise ValueError(
            f"The picture {name!r} has more than 8 bits a channel (Pillow's mode {depth!r}), which "
            f"{owner} does not read. Convert it first, or pass pictures as arrays."
        )
    return picture


def channels_first(picture: Any) -> np.ndarray:
    """Return a picture as a uint8 array of shape (channels, height, width)."""
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
