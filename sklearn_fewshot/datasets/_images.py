"""Image files as one array."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np

from ..utils._images import (
    MODES,
    bring_to_size,
    channels_first,
    checked_size,
    is_picture,
    name_of,
    read_image,
)
from ..utils._progress import follow
from ..utils._sklearn import Interval, StrOptions, validate_parameter_constraints
from ..utils._warnings import warn_user

OWNER = "load_images"
ON_ERROR = ("raise", "skip")
CONSTRAINTS: dict[str, list[Any]] = {
    "size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
    "mode": [StrOptions(set(MODES))],
    "on_error": [StrOptions(set(ON_ERROR))],
    "return_index": ["boolean"],
    "verbose": ["verbose"],
}


def load_images(
    paths: Sequence[Any] | np.ndarray,
    *,
    size: int | tuple[int, int] | None = None,
    mode: Literal["RGB", "L"] = "RGB",
    on_error: Literal["raise", "skip"] = "raise",
    return_index: bool = False,
    verbose: int = 0,
) -> Any:
    """Load images as one array, such as those to be classified.

    With the ``size`` and ``mode`` of :func:`load_image_folder` they are read as it reads the images
    of the training.

    Parameters
    ----------
    paths : sequence of str, path-like, bytes or PIL.Image.Image
        Where the images lie, or the contents of their files, or the images themselves.
    size : int, (height, width) or None, default=None
        Size to bring images to, as in :func:`load_image_folder`. None leaves them unchanged; they
        must then have one size.
    mode : {"RGB", "L"}, default="RGB"
        Colour or grey. Transparency is dropped.
    on_error : {"raise", "skip"}, default="raise"
        What to do about images that cannot be read: raise on the first, or leave them out with one
        warning that names all.
    return_index : bool, default=False
        Whether to return, too, which of ``paths`` were read.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    images : uint8 ndarray of shape (n_images, n_channels, height, width)
        Images, turned upright if the camera noted how; 3 channels or 1.
    index : int ndarray of shape (n_images,)
        Position in ``paths`` of each image. Only if ``return_index``.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere.
    ValueError
        If an image, or with ``on_error="skip"`` every image, cannot be read, or images differ in
        size without ``size``.
    TypeError
        If ``paths`` is one path, or holds something else.
    ImportError
        If Pillow is not installed.

    Warns
    -----
    UserWarning
        If ``on_error="skip"`` and images cannot be read.

    See Also
    --------
    load_image_folder : Reads images with their labels.
    sklearn_fewshot.FrozenEncoder : Embeds images from their paths, a batch at a time.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from sklearn_fewshot.datasets import load_images
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "photo.png"
    ...     Image.new("RGB", (40, 30), "red").save(path)
    ...     images = load_images([path], size=16)
    >>> images.shape
    (1, 3, 16, 16)
    """
    params = {
        "size": size,
        "mode": mode,
        "on_error": on_error,
        "return_index": return_index,
        "verbose": verbose,
    }
    # Not as a decorator, which warnings would blame.
    validate_parameter_constraints(CONSTRAINTS, params, OWNER)
    shape = checked_size(size, OWNER)
    if is_picture(paths):
        raise TypeError(
            f"{OWNER} takes a sequence of images. Got a single one: pass it as [image]."
        )
    sources = [os.fspath(it) if isinstance(it, os.PathLike) else it for it in paths]
    for row, source in enumerate(sources):
        if not is_picture(source):
            raise TypeError(
                f"{OWNER} takes paths, contents of image files as bytes, and pictures of Pillow. "
                f"Got an object of type {type(source).__name__} at position {row}."
            )
    images, kept = read_images(sources, shape, mode, on_error, OWNER, verbose)
    return (images, kept) if return_index else images


def read_images(
    sources: Sequence[Any],
    shape: tuple[int, int] | None,
    mode: str,
    on_error: str,
    owner: str,
    verbose: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, of shape (n_images, channels, height, width), and which were read."""
    images: np.ndarray = np.empty((0, 0, 0, 0), dtype=np.uint8)
    kept: list[int] = []
    failures: list[str] = []
    for row, source in enumerate(follow(sources, "image", verbose, desc="reading")):
        name = name_of(source, row)
        try:
            image = bring_to_size(read_image(source, mode, owner, name=name), shape)
        except (ValueError, FileNotFoundError):
            if on_error == "raise":
                raise
            failures.append(name)
            continue
        pixels = channels_first(image)
        if not kept:
            images = np.empty((len(sources), *pixels.shape), dtype=np.uint8)
        elif pixels.shape != images.shape[1:]:
            first = name_of(sources[kept[0]], kept[0])
            _refuse_sizes(owner, (first, images[0]), (name, pixels))
        images[len(kept)] = pixels
        kept.append(row)
    _say_what_failed(failures, len(kept), owner)
    return images[: len(kept)], np.array(kept, dtype=np.intp)


def _say_what_failed(failures: list[str], n_read: int, owner: str) -> None:
    """Warn of images that are left out; raise if none is left."""
    if not n_read:
        raise ValueError(
            f"{owner} can read none of the {len(failures)} images that it got. Check the paths: "
            f"{', '.join(failures[:5])}."
        )
    if failures:
        warn_user(
            f"{owner} left out {len(failures)} of {len(failures) + n_read} images, which cannot be "
            f"read: {', '.join(failures)}."
        )


def _refuse_sizes(owner: str, *images: tuple[str, np.ndarray]) -> None:
    sizes = (f"{name} has {it.shape[1]} x {it.shape[2]}" for name, it in images)
    raise ValueError(
        f"The images of {owner} differ in size: {', '.join(sizes)}. Pass size=, to which they are "
        "cropped and resized."
    )
