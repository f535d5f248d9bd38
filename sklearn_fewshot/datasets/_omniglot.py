"""Omniglot: 1,623 handwritten characters of fifty alphabets, twenty drawers each.

The original data are at https://github.com/brendenlake/omniglot (MIT licence, copyright (c) 2015
Brenden Lake). The checksums are those that other packages publish for the same archives.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from io import BytesIO
from numbers import Integral
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params


class Archive(NamedTuple):
    """A file on the internet."""

    filename: str
    url: str
    md5: str


_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
ARCHIVES = {
    "background": Archive(
        "images_background.zip",
        _URL + "images_background.zip",
        "68d2efa1b9178cc56df9314c21c6e718",
    ),
    "evaluation": Archive(
        "images_evaluation.zip",
        _URL + "images_evaluation.zip",
        "6b91aef0f799c5bb55b94e3f2daec811",
    ),
}
PREPARED = "omniglot_28.npz"  # a prepared file with both sets and the Vinyals split
ORIGINAL_SIZE = 105

DESCR = """\
Omniglot (B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
probabilistic program induction", Science 350, 2015; MIT licence): 964 characters of 30 alphabets in
the background set and 659 of 20 in the evaluation set, each drawn once by 20 people. Ink is 255 on
0, resampled from 105 x 105 by area.
"""


@validate_params(
    {
        "data_home": [str, os.PathLike, None],
        "folder": [str, os.PathLike, None],
        "subset": [StrOptions({"all", "background", "evaluation"})],
        "size": [Interval(Integral, 8, ORIGINAL_SIZE, closed="both")],
        "rotations": ["boolean"],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_omniglot(
    *,
    data_home: Any = None,
    folder: Any = None,
    subset: str = "all",
    size: int = 28,
    rotations: bool = False,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load Omniglot, from a folder, the cache or the internet.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Cache folder; None for scikit-learn's.
    folder : str, path-like or None, default=None
        A folder that you have: with the original archives ``images_background.zip`` and
        ``images_evaluation.zip``, or these unpacked, or the prepared file ``omniglot_28.npz``.
        Nothing is downloaded or cached then.
    subset : {"all", "background", "evaluation"}, default="all"
        Which of the two original sets.
    size : int, default=28
        Height and width of the pictures, at most the original 105.
    rotations : bool, default=False
        Whether every quarter turn of a character is a class of its own, as in Vinyals et al.
        (2016).
    download_if_missing : bool, default=True
        Whether to download what is not in the cache.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` alone.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : uint8 ndarray of shape (n_samples, 1, size, size)
            Pictures.
        target : ndarray of str of shape (n_samples,)
            Alphabet and character, such as "Braille/character01"; with ``rotations`` also the
            angle, "Braille/character01@90".
        alphabet : ndarray of str of shape (n_samples,)
            Alphabet, for ``class_groups``.
        drawer : ndarray of str of shape (n_samples,)
            Alphabet and number of the person who drew, for ``groups``: drawer 7 is one person
            within an alphabet, but not across alphabets.
        subset : ndarray of str of shape (n_samples,)
            "background" or "evaluation".
        split : ndarray of str of shape (n_samples,) or None
            "train", "validation" or "test" in the split of Vinyals et al., where the source has it.
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
        If Pillow, which reads the pictures, is not installed.
    """
    subsets = ["background", "evaluation"] if subset == "all" else [subset]
    if folder is not None:
        parts = [_from_folder(Path(folder), name, size) for name in subsets]
    else:
        home = Path(get_data_home(data_home)) / "omniglot"
        parts = [_from_cache(home, name, size, download_if_missing) for name in subsets]
    data = _with_rotations(_joined(parts), rotations)
    if return_X_y:
        return data.images, data.target
    return data


def _from_folder(folder: Path, subset: str, size: int) -> Bunch:
    """Read one of the two sets from whatever form of it the folder holds."""
    if (folder / PREPARED).is_file() and size == 28:
        return _read_prepared(folder / PREPARED, subset)
    archive = folder / ARCHIVES[subset].filename
    if archive.is_file():
        return _read_pictures(_members(archive), subset, size)
    unpacked = folder / archive.stem
    if unpacked.is_dir():
        return _read_pictures(_files(unpacked), subset, size)
    raise FileNotFoundError(
        f"fetch_omniglot found neither {archive.name} nor a folder {archive.stem} in {folder} (nor "
        f"{PREPARED}, which serves for size=28). Pass the folder that holds them."
    )


def _from_cache(home: Path, subset: str, size: int, download_if_missing: bool) -> Bunch:
    """Read one of the two sets from the cache, downloading its archive first if need be."""
    archive = home / ARCHIVES[subset].filename
    if not archive.is_file():
        if not download_if_missing:
            raise FileNotFoundError(
                f"Omniglot's {archive.name} is not in the cache {home}. Pass folder= if you have "
                "it elsewhere, or download_if_missing=True."
            )
        _download(ARCHIVES[subset], archive)
    return _read_pictures(_members(archive), subset, size)


def _download(archive: Archive, path: Path) -> None:
    """Download to a temporary file, check it, and only then give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file, urlopen(archive.url) as response:
            shutil.copyfileobj(response, file)
        got = hashlib.md5(Path(name).read_bytes(), usedforsecurity=False).hexdigest()
        if got != archive.md5:
            raise OSError(
                f"The download of {archive.url} has the MD5 checksum {got}, not {archive.md5}: it "
                "is damaged or was changed. Try again, or pass folder= with your own copy."
            )
        os.replace(name, path)
    except URLError as error:
        raise OSError(
            f"Omniglot could not be downloaded from {archive.url} ({error.reason}). Pass folder= "
            "with your own copy of the archives."
        ) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the pictures in an archive, in order."""
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            if name.endswith(".png"):
                yield name, file.read(name)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the pictures in an unpacked archive, in order."""
    for path in sorted(folder.rglob("*.png")):
        yield path.relative_to(folder.parent).as_posix(), path.read_bytes()


def _read_pictures(pictures: Iterator[tuple[str, bytes]], subset: str, size: int) -> Bunch:
    """Decode pictures named .../Alphabet/characterNN/NNNN_DD.png."""
    images, alphabet, character, drawer = [], [], [], []
    for name, content in pictures:
        *_, one_alphabet, one_character, file = PurePosixPath(name).parts
        images.append(_decode(content, size))
        alphabet.append(one_alphabet)
        character.append(one_character)
        drawer.append(int(PurePosixPath(file).stem.split("_")[1]) - 1)
    return _bunch(np.array(images), alphabet, character, drawer, subset, None)


def _decode(content: bytes, size: int) -> np.ndarray:
    """Decode one picture to ink 255 on 0, resampled by area."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "fetch_omniglot needs Pillow to read the pictures, which is not installed."
        ) from error
    with Image.open(BytesIO(content)) as picture:
        grey = picture.convert("L").point(lambda value: 255 - value)
        return np.asarray(grey.resize((size, size), Image.Resampling.BOX))


def _read_prepared(path: Path, subset: str) -> Bunch:
    """Read one of the two sets from the prepared file."""
    with np.load(path, allow_pickle=False) as file:
        chosen = file["is_background"] == (subset == "background")
        images = file["images"][chosen]
        names = {key: file[key][chosen] for key in ("alphabet", "character", "split_vinyals")}
    n_drawers = images.shape[1]
    split = np.array(["train", "validation", "test"])[names["split_vinyals"]]
    return _bunch(
        images.reshape(-1, *images.shape[2:]),
        np.repeat(names["alphabet"], n_drawers),
        np.repeat(names["character"], n_drawers),
        np.tile(np.arange(n_drawers), len(images)),
        subset,
        np.repeat(split, n_drawers),
    )


def _bunch(
    images: np.ndarray, alphabet: Any, character: Any, drawer: Any, subset: str, split: Any
) -> Bunch:
    alphabet = np.asarray(alphabet, dtype=str)
    return Bunch(
        images=images[:, None],
        target=np.char.add(np.char.add(alphabet, "/"), np.asarray(character, dtype=str)),
        alphabet=alphabet,
        drawer=np.char.add(np.char.add(alphabet, "/"), np.asarray(drawer).astype(str)),
        subset=np.full(len(images), subset),
        split=split,
        DESCR=DESCR,
    )


def _joined(parts: list[Bunch]) -> Bunch:
    arrays = ("images", "target", "alphabet", "drawer", "subset", "split")
    columns = {name: [part[name] for part in parts] for name in arrays}
    whole = {
        name: None if column[0] is None else np.concatenate(column)
        for name, column in columns.items()
    }
    return Bunch(**whole, DESCR=DESCR)


def _with_rotations(data: Bunch, rotations: bool) -> Bunch:
    """Add every quarter turn as a class of its own."""
    if not rotations:
        return data
    turned = [np.rot90(data.images, k, axes=(-2, -1)) for k in range(4)]
    targets = [np.char.add(data.target, f"@{90 * k}") for k in range(4)]
    others = {
        name: None if data[name] is None else np.tile(data[name], 4)
        for name in ("alphabet", "drawer", "subset", "split")
    }
    return Bunch(
        images=np.concatenate(turned), target=np.concatenate(targets), **others, DESCR=data.DESCR
    )
