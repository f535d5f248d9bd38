"""Image files, read with Pillow where it is installed."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from numbers import Integral
from typing import Any

import numpy as np

MODES = ("RGB", "L")
BYTES = (bytes, bytearray, memoryview)
CHANNELS = (1, 3, 4)  # of pictures as arrays


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


def is_picture(value: Any) -> bool:
    """Whether :func:`read_image` reads it: a path, the bytes of a file, a picture of Pillow.

    Also what Hugging Face's data sets hold without decoding: a mapping with "bytes" and "path".
    """
    if isinstance(value, Mapping):
        return "bytes" in value or "path" in value
    return isinstance(value, (str, os.PathLike, *BYTES)) or hasattr(value, "getbands")


def name_of(source: Any, row: int) -> str:
    """Return what an error calls a sample: its path, if it has one."""
    if isinstance(source, Mapping):
        source = source.get("path")
    return repr(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else f"row {row}"


def check_paths(pictures: Iterable[Any], owner: str, remedy: str = "") -> None:
    """Raise if paths among pictures lead to no file: better now than after hours."""
    paths = [os.fspath(it) for it in pictures if isinstance(it, (str, os.PathLike))]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(paths)} paths that {owner} got lead to no file, such as "
            f"{missing[0]!r}. Check them, and the folder that relative ones start from.{remedy}"
        )


def read_image(source: Any, mode: str, owner: str, *, name: str | None = None) -> Any:
    """Read an image, upright, as "RGB" or "L" (grey).

    Phones store photos as the sensor lay and note how to turn them (EXIF): that is done here.

    Parameters
    ----------
    source : str, path-like, bytes, mapping or PIL.Image.Image
        Where it lies, or the content of its file, or itself; see :func:`is_picture`.
    mode : {"RGB", "L"}
        Colour or grey.
    owner, name : str
        Who reads, and what errors call the image.

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

    name = name or name_of(source, 0)
    try:
        with _opened(source, Image) as file:
            depth = file.mode
            image = ImageOps.exif_transpose(file).convert(mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{owner} found no image {name}. Check the path.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{owner} cannot read {name} as an image: {error}. Repair the file or leave it out."
        ) from error
    if depth.startswith(("I", "F")):
        raise ValueError(
            f"The image {name} has more than 8 bits per channel (Pillow's mode {depth!r}), which "
            f"{owner} does not read. Convert it first, or pass images as arrays."
        )
    return image


def _opened(source: Any, Image: Any) -> Any:
    """Return a context manager of the picture, which closes only what it opened."""
    if isinstance(source, Mapping):
        content = source.get("bytes")
        source = source.get("path") if content is None else content
        if source is None:
            raise ValueError("it has neither bytes nor a path")
    if hasattr(source, "getbands"):
        return nullcontext(source)
    return Image.open(io.BytesIO(source) if isinstance(source, BYTES) else os.fspath(source))


def checked_size(size: Any, owner: str) -> tuple[int, int] | None:
    """Return (height, width) of the ``size`` parameter, or None."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, Integral) else tuple(size)
    if len(sides) != 2 or not all(isinstance(n, Integral) and int(n) >= 1 for n in sides):
        raise ValueError(
            f"The 'size' parameter of {owner} must be an int, or height and width, of at least 1. "
            f"Got {size!r}."
        )
    height, width = map(int, sides)
    return height, width


def bring_to_size(image: Any, shape: tuple[int, int] | None) -> Any:
    """Crop a picture around its middle to the shape of (height, width), and resize it."""
    if shape is None or image.size == shape[::-1]:
        return image
    from PIL import Image, ImageOps

    return ImageOps.fit(image, shape[::-1], method=Image.Resampling.BILINEAR)


def channels_first(image: Any) -> np.ndarray:
    """Return an image as a uint8 array of shape (channels, height, width)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def picture_from_array(pixels: np.ndarray, name: str, owner: str) -> Any:
    """Return a picture of Pillow; the channels are first or last."""
    is_first = pixels.ndim == 3 and pixels.shape[0] in CHANNELS and pixels.shape[2] not in CHANNELS
    if is_first:
        pixels = np.moveaxis(pixels, 0, -1)
    is_shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in CHANNELS)
    if not is_shaped or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(
            f"A picture of {owner} that is an array must have 8 bits (uint8) and shape (height, "
            "width), (height, width, channels) or (channels, height, width) with 1, 3 or 4 "
            f"channels. Got dtype {pixels.dtype} and shape {pixels.shape} in {name}. Convert it, "
            "such as values in [0, 1] by (255 * picture).astype(np.uint8)."
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return import_pillow(owner).fromarray(np.ascontiguousarray(pixels))
