"""Images of the user: one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from ..utils._images import MODES, checked_size, import_pillow
from ..utils._sklearn import Interval, StrOptions, validate_parameter_constraints
from ..utils._typing import PathLike
from ..utils._warnings import warn_user
from ._images import ON_ERROR, read_images

OWNER = "load_image_folder"


CONSTRAINTS: dict[str, list[Any]] = {
    "path": [str, os.PathLike],
    "size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
    "mode": [StrOptions(set(MODES))],
    "on_error": [StrOptions(set(ON_ERROR))],
    "return_X_y": ["boolean"],
    "verbose": ["verbose"],
}


def load_image_folder(
    path: PathLike,
    *,
    size: int | tuple[int, int] | None = None,
    mode: Literal["RGB", "L"] = "RGB",
    on_error: Literal["raise", "skip"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load images that lie in a folder for each class.

    ``photos/apple/1.jpg``, ``photos/apple/2.jpg``, ``photos/pear/1.jpg``, ...: the name of the
    folder is the label. All images are held in memory; for more than fit there, pass their paths
    to :class:`~sklearn_fewshot.FrozenEncoder`, which reads them in batches.

    Parameters
    ----------
    path : str or path-like
        The folder that holds the class folders.
    size : int, (height, width) or None, default=None
        Size to bring images to: each is cropped to that shape around its middle, then resized,
        so that nothing is stretched. An int is the side of a square. None leaves them
        unchanged; they must then have one size.
    mode : {"RGB", "L"}, default="RGB"
        Colour or grey. Transparency is dropped.
    on_error : {"raise", "skip"}, default="raise"
        What to do about files that cannot be read: raise on the first, or leave them out with one
        warning that names all.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` alone.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes, whose rows are sorted by class, then by file name,

        images : uint8 ndarray of shape (n_samples, n_channels, height, width)
            Images, turned upright if the camera noted how; 3 channels or 1.
        target : ndarray of str of shape (n_samples,)
            Name of the class folder.
        target_names : ndarray of str of shape (n_classes,)
            The classes, sorted.
        filenames : ndarray of str of shape (n_samples,)
            Path of each image.
    (images, target) : tuple of ndarray
        If ``return_X_y``.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or has no class folders, or one of these has no images.
    ValueError
        If an image cannot be read, images differ in size without ``size``, or a class folder
        holds folders.
    ImportError
        If Pillow is not installed.

    Warns
    -----
    UserWarning
        If there are files that are no images, by their suffix, or that lie outside the class
        folders. They are skipped. Hidden files (``.DS_Store``) are, without a word.
        If ``on_error="skip"`` and files cannot be read.

    See Also
    --------
    load_images : Reads the images to be classified in the same way.
    sklearn_fewshot.FrozenEncoder : Embeds images, also from their paths.
    sklearn.datasets.load_files : The same for texts.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from sklearn_fewshot.datasets import load_image_folder
    >>> with TemporaryDirectory() as photos:
    ...     for label, color in (("apple", "red"), ("pear", "green")):
    ...         (Path(photos) / label).mkdir()
    ...         Image.new("RGB", (40, 30), color).save(Path(photos) / label / "1.png")
    ...     data = load_image_folder(photos, size=16)
    >>> data.images.shape, data.target
    ((2, 3, 16, 16), array(['apple', 'pear'], dtype='<U5'))
    """
    params = {
        "path": path,
        "size": size,
        "mode": mode,
        "on_error": on_error,
        "return_X_y": return_X_y,
        "verbose": verbose,
    }
    # Not as a decorator, which warnings would blame.
    validate_parameter_constraints(CONSTRAINTS, params, OWNER)
    shape = checked_size(size, OWNER)
    files = _files_of_classes(Path(path))
    sources = [str(file) for _, file in files]
    images, kept = read_images(sources, shape, mode, on_error, OWNER, verbose)
    target = np.array([files[row][0] for row in kept])
    if return_X_y:
        return images, target
    names = np.array([sources[row] for row in kept])
    return Bunch(images=images, target=target, target_names=np.unique(target), filenames=names)


def _files_of_classes(folder: Path) -> list[tuple[str, Path]]:
    """Return label and path of every image, in order."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{OWNER} found no folder {str(folder)!r}. Pass the one that holds the class folders."
        )
    is_image = _image_suffix_test()
    folders, others = _list(folder)
    if not folders:
        what = "images but no" if any(map(is_image, others)) else "no"
        raise FileNotFoundError(
            f"{OWNER} found {what} class folders in {str(folder)!r}. Put the images of each "
            "class into a folder that has its name."
        )
    files = []
    for class_folder in folders:
        images, rest = _images_of(class_folder, is_image)
        files += [(class_folder.name, image) for image in images]
        others += rest
    if others:
        shown = ", ".join(str(file.relative_to(folder)) for file in others[:3])
        warn_user(
            f"{OWNER} skipped {len(others)} files that are no images or lie outside the class "
            f"folders: {shown}{', ...' if len(others) > 3 else ''}."
        )
    return files


def _images_of(
    class_folder: Path, is_image: Callable[[Path], bool]
) -> tuple[list[Path], list[Path]]:
    """Return the images of a class, and what else lies there."""
    inner, files = _list(class_folder)
    if inner:
        raise ValueError(
            f"The class folder {str(class_folder)!r} holds the folder {inner[0].name!r}. {OWNER} "
            "reads one folder per class: pass the folder above the classes, or move the images."
        )
    images = [file for file in files if is_image(file)]
    if not images:
        raise FileNotFoundError(
            f"{OWNER} found no images in the class folder {str(class_folder)!r}. Add some, or "
            "remove the folder."
        )
    return images, [file for file in files if not is_image(file)]


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files in a folder, sorted, without hidden ones."""
    found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return [e for e in found if e.is_dir()], [e for e in found if not e.is_dir()]


def _image_suffix_test() -> Callable[[Path], bool]:
    """Return whether a path has the suffix of a format that Pillow reads."""
    Image = import_pillow(OWNER)
    suffixes = {s for s, form in Image.registered_extensions().items() if form in Image.OPEN}
    return lambda file: file.suffix.lower() in suffixes
