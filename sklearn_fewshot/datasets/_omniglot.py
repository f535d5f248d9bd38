"""Omniglot: 1,623 handwritten characters of fifty alphabets, twenty drawers each.

The original data are at

    https://github.com/brendenlake/omniglot

(MIT licence, copyright (c) 2015 Brenden Lake).
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from http.client import HTTPException
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.request import urlopen

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from ..utils._blocks import blocks
from ..utils._sklearn import Interval, StrOptions, validate_parameter_constraints
from ..utils._typing import PathLike


class Archive(NamedTuple):
    """A file on the internet."""

    filename: str
    url: str
    sha256: str


class Drawings(NamedTuple):
    """What the cache keeps of one of the two sets."""

    bits: np.ndarray  # (n_samples, 1379) uint8: 105 x 105 pixels, ink 1, packed
    alphabet: np.ndarray  # (n_samples,) str
    character: np.ndarray  # (n_samples,) str
    drawer: np.ndarray  # (n_samples,) int, from 0


_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
# SHA-256 as in TensorFlow Datasets; torchvision has MD5 68d2efa1b9178cc56df9314c21c6e718 and
# 6b91aef0f799c5bb55b94e3f2daec811 for the same files.
ARCHIVES = {
    "background": Archive(
        "images_background.zip",
        _URL + "images_background.zip",
        "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    ),
    "evaluation": Archive(
        "images_evaluation.zip",
        _URL + "images_evaluation.zip",
        "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
    ),
}
ORIGINAL_SIZE = 105
TIMEOUT = 30  # seconds without an answer
RESAMPLED_BYTES = 2**23  # of images in the original size that are resampled at a time
# The other names in a copy are not images: "__MACOSX/.../._0709_01.png", ".DS_Store".
IMAGE_NAME = re.compile(r"([^/]+)/(character\d+)/\d+_(\d+)\.png$")
COLUMNS = ("images", "target", "alphabet", "character", "drawer", "subset")

DESCR = """\
Omniglot: 964 characters of 30 alphabets in the background set and 659 of 20 in the evaluation set,
each drawn once by 20 people. Ink is 255 on 0, resampled from 105 x 105 by a box filter.
Drawer k of an alphabet is one person for all of its characters. The images of character01 of
Braille by two of its drawers are the same one.

From https://github.com/brendenlake/omniglot, MIT licence, copyright (c) 2015 Brenden Lake. Cite:
B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
probabilistic program induction", Science 350 (6266), 1332-1338, 2015.
"""


CONSTRAINTS: dict[str, list[Any]] = {
    "data_home": [str, os.PathLike, None],
    "folder": [str, os.PathLike, None],
    "subset": [StrOptions({"all", "background", "evaluation"})],
    "size": [Interval(Integral, 8, ORIGINAL_SIZE, closed="both")],
    "rotations": ["boolean"],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
}


def fetch_omniglot(
    *,
    data_home: PathLike | None = None,
    folder: PathLike | None = None,
    subset: Literal["all", "background", "evaluation"] = "all",
    size: int = 28,
    rotations: bool = False,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load Omniglot, from a folder, the cache or the internet.

    The usual data of few-shot learning: 32,460 images of 1,623 handwritten characters [1]_. The
    download is 16 MB; it is read once, with Pillow, and cached in the original size.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Cache folder; None for scikit-learn's.
    folder : str, path-like or None, default=None
        A folder that you have: with the original archives ``images_background.zip`` and
        ``images_evaluation.zip``, or these unpacked. Nothing is downloaded or cached then.
    subset : {"all", "background", "evaluation"}, default="all"
        Which of the two original sets.
    size : int, default=28
        Height and width of the images, at most the original 105.
    rotations : bool, default=False
        Whether every quarter turn of a character is a class of its own, as in Vinyals et al. [2]_.
        Turns are counter-clockwise.
    download_if_missing : bool, default=True
        Whether to download what is not in the cache.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` alone.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes, whose rows are in the same order whatever they were read from,

        images : uint8 ndarray of shape (n_samples, 1, size, size)
            Images, ink 255 on 0.
        target : ndarray of str of shape (n_samples,)
            Alphabet and character, such as ``"Braille/character01"``; with ``rotations`` also the
            angle, ``"Braille/character01@90"``.
        alphabet : ndarray of str of shape (n_samples,)
            Alphabet, for ``class_groups``.
        character : ndarray of str of shape (n_samples,)
            The target without the angle: for ``class_groups``, where a character's rotations are
            to stay together.
        drawer : ndarray of str of shape (n_samples,)
            Alphabet and number of the person, from 0, for ``groups``: drawer 7 is one
            person within an alphabet, but not across alphabets.
        subset : ndarray of str of shape (n_samples,)
            "background" or "evaluation".
        DESCR : str
            Description.
    (images, target) : tuple of ndarray
        If ``return_X_y``.

    Raises
    ------
    FileNotFoundError
        If the folder has none of the files, or the cache has not and ``download_if_missing`` is
        False.
    OSError
        If the download fails or a checksum is wrong; nothing is kept then.
    ImportError
        If Pillow, which reads the images, is not installed.

    See Also
    --------
    make_glyphs : Printed letters of several scripts, without a download.

    References
    ----------
    .. [1] B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
       probabilistic program induction", Science 350 (6266), 1332-1338, 2015.
    .. [2] O. Vinyals et al., "Matching networks for one shot learning", NeurIPS 2016.

    Examples
    --------
    >>> from sklearn_fewshot.datasets import fetch_omniglot
    >>> omniglot = fetch_omniglot(subset="background")  # doctest: +SKIP
    >>> omniglot.images.shape  # doctest: +SKIP
    (19280, 1, 28, 28)
    """
    validate_parameter_constraints(CONSTRAINTS, locals(), "fetch_omniglot")
    subsets = ["background", "evaluation"] if subset == "all" else [subset]
    if folder is not None:
        parts = [_from_folder(Path(folder), name, size) for name in subsets]
    else:
        home = Path(get_data_home(data_home)) / "omniglot"
        parts = [_from_cache(home, name, size, download_if_missing) for name in subsets]
    data = _concatenate([_in_order(part) for part in parts])
    if rotations:
        data = _with_rotations(data)
    if return_X_y:
        return data.images, data.target
    return data


def _from_folder(folder: Path, subset: str, size: int) -> Bunch:
    """Read one of the two sets from whatever form of it the folder holds."""
    archive = folder / ARCHIVES[subset].filename
    if archive.is_file():
        return _bunch_of(_read_drawings(_members(archive), archive), subset, size)
    unpacked = folder / archive.stem
    if unpacked.is_dir():
        return _bunch_of(_read_drawings(_files(unpacked), unpacked), subset, size)
    raise FileNotFoundError(
        f"fetch_omniglot found neither {archive.name} nor a folder {archive.stem} in {folder}. "
        "Pass the folder that holds one of them."
    )


def _from_cache(home: Path, subset: str, size: int, download_if_missing: bool) -> Bunch:
    """Read one of the two sets from the cache, downloading its archive first if need be."""
    path = home / f"{subset}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            drawings = Drawings(**file)
    else:
        archive = ARCHIVES[subset]
        if not download_if_missing:
            raise FileNotFoundError(
                f"Omniglot's {subset} set is not in the cache {home}. Pass folder= if you have "
                f"{archive.filename} elsewhere, or download_if_missing=True."
            )
        drawings = _read_drawings(_members(BytesIO(_download(archive))), archive.url)
        _save(path, drawings)
    return _bunch_of(drawings, subset, size)


def _download(archive: Archive) -> bytes:
    try:
        with urlopen(archive.url, timeout=TIMEOUT) as response:
            content = response.read()
    except (OSError, HTTPException) as error:
        raise OSError(
            f"Omniglot could not be downloaded from {archive.url} ({error}). Pass folder= with "
            "your own copy of the archives."
        ) from error
    got = hashlib.sha256(content).hexdigest()
    if got != archive.sha256:
        raise OSError(
            f"The download of {archive.url} has the SHA-256 checksum {got}, not {archive.sha256}: "
            "it is damaged or was changed. Try again, or pass folder= with your own copy."
        )
    return content


def _save(path: Path, drawings: Drawings) -> None:
    """Write a temporary file, then rename it, so that no partial file is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **drawings._asdict())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _members(archive: Any) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the files in an archive."""
    with zipfile.ZipFile(archive) as file:
        for name in filter(IMAGE_NAME.search, file.namelist()):
            yield name, file.read(name)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the files in an unpacked archive."""
    for path in folder.rglob("*.png"):
        if IMAGE_NAME.search(path.as_posix()):
            yield path.as_posix(), path.read_bytes()


def _read_drawings(images: Iterator[tuple[str, bytes]], source: Any) -> Drawings:
    """Decode images named .../Alphabet/characterNN/NNNN_DD.png."""
    rows = []
    for name, content in images:
        found = IMAGE_NAME.search(name)
        if found:
            alphabet, character, drawer = found.groups()
            rows.append((_decode(content, name), alphabet, character, int(drawer) - 1))
    if not rows:
        raise FileNotFoundError(
            f"fetch_omniglot found no image Alphabet/characterNN/NNNN_DD.png in {source}. Pass "
            "the folder that holds the original archives, or these unpacked."
        )
    return Drawings(*map(np.array, zip(*rows, strict=True)))


def _decode(content: bytes, name: str) -> np.ndarray:
    """Decode one image, black ink on white, to packed bits."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "fetch_omniglot needs Pillow to read the images, which is not installed. Install it, "
            "for example with: pip install pillow"
        ) from error
    with Image.open(BytesIO(content)) as image:
        ink = np.asarray(image.convert("L")) < 128
    if ink.shape != (ORIGINAL_SIZE, ORIGINAL_SIZE):
        raise ValueError(
            f"The images of Omniglot have 105 x 105 pixels, but {name} has {ink.shape[1]} x "
            f"{ink.shape[0]}. Pass a folder with the original images."
        )
    return np.packbits(ink)


def _bunch_of(drawings: Drawings, subset: str, size: int) -> Bunch:
    bits, alphabet, character, drawer = drawings
    return _bunch(_unpack(bits, size), alphabet, character, drawer, subset)


def _unpack(bits: np.ndarray, size: int) -> np.ndarray:
    """Unpack and resample: uint8 images of shape (n_samples, size, size), ink 255."""
    images = np.empty((len(bits), size, size), dtype=np.uint8)
    # In float32, as which they are averaged.
    for part in blocks(len(bits), 4 * ORIGINAL_SIZE**2, max_bytes=RESAMPLED_BYTES):
        ink = np.unpackbits(bits[part], axis=1, count=ORIGINAL_SIZE**2)
        ink = 255 * ink.reshape(-1, ORIGINAL_SIZE, ORIGINAL_SIZE)
        lines = _box_filter(ink, size)  # (n_images, 105, size)
        images[part] = _box_filter(lines.swapaxes(1, 2), size).swapaxes(1, 2)
    return images


def _box_filter(images: np.ndarray, size: int) -> np.ndarray:
    """Resample the last axis: a new pixel is the mean of the original ones whose centre it covers.

    Rounded after each axis, as Pillow does.
    """
    n_pixels = images.shape[-1]
    edge = np.arange(size + 1) * (n_pixels / size)
    middle = np.arange(n_pixels)[:, None] + 0.5
    covers = (edge[:-1] < middle) & (middle <= edge[1:])  # (n_pixels, size)
    weight = (covers / covers.sum(axis=0)).astype(np.float32)
    # One matrix product of all lines: a product for each image is many times slower.
    lines = images.reshape(-1, n_pixels).astype(np.float32)
    return np.floor(lines @ weight + 0.5).reshape(*images.shape[:-1], size)


def _bunch(
    images: np.ndarray,
    alphabet: np.ndarray,
    character: np.ndarray,
    drawer: np.ndarray,
    subset: str,
) -> Bunch:
    name = np.char.add(np.char.add(alphabet, "/"), character)
    return Bunch(
        images=images[:, None],
        target=name,
        alphabet=alphabet,
        character=name,
        drawer=np.char.add(np.char.add(alphabet, "/"), drawer.astype(str)),
        number=drawer,
        subset=np.full(len(images), subset),
    )


def _in_order(part: Bunch) -> Bunch:
    """Sort by character, then drawer: the sources differ in this."""
    order = np.lexsort((part.number, part.character))
    return Bunch(**{name: part[name][order] for name in COLUMNS})


def _concatenate(parts: list[Bunch]) -> Bunch:
    whole = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    return Bunch(**whole, DESCR=DESCR)


def _with_rotations(data: Bunch) -> Bunch:
    """Add every quarter turn as a class of its own."""
    turned = [np.rot90(data.images, k, axes=(-2, -1)) for k in range(4)]
    targets = [np.char.add(data.target, f"@{90 * k}") for k in range(4)]
    others = {
        name: np.tile(data[name], 4) for name in ("alphabet", "character", "drawer", "subset")
    }
    return Bunch(
        images=np.concatenate(turned), target=np.concatenate(targets), **others, DESCR=data.DESCR
    )
