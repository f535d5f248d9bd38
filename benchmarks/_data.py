"""The data sets of the benchmarks, as arrays. Found by the variable SKLEARN_FEWSHOT_DATA."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np


class DataSet(NamedTuple):
    """Samples, labels, and what the benchmarks need to know of them."""

    X: np.ndarray
    y: np.ndarray
    class_split: np.ndarray  # by class code: 0 train, 1 validation, 2 test
    standardise: bool  # whether a StandardScaler belongs in front


class ZeroShotData(NamedTuple):
    """Samples, attributes of their classes, and which classes have no example in training."""

    X: np.ndarray
    y: np.ndarray  # codes: rows of attributes
    attributes: np.ndarray
    unseen: np.ndarray  # bool, by class code
    in_training: np.ndarray  # bool, by row; never of unseen classes
    in_test: np.ndarray  # bool, by row; also of seen classes where the task is generalised
    standardise: bool


def data_dir() -> Path:
    """Return the folder of the data sets, or stop with what to do."""
    folder = os.environ.get("SKLEARN_FEWSHOT_DATA")
    if not folder:
        raise SystemExit("Set SKLEARN_FEWSHOT_DATA to the folder that holds the data sets.")
    return Path(folder)


def _read(name: str) -> dict[str, np.ndarray]:
    with np.load(data_dir() / name) as file:
        return dict(file)


def letter() -> DataSet:
    """Printed letters, 16 features."""
    f = _read("letter/letter.npz")
    return DataSet(f["X"].astype(np.float32), f["y"], f["class_split"], True)


def isolet() -> DataSet:
    """Spoken letters, 617 features."""
    f = _read("isolet/isolet.npz")
    return DataSet(f["X_1e4"].astype(np.float32) / 1e4, f["y"], f["class_split"], True)


def grocery_features() -> DataSet:
    """Photos of groceries, 414 colour and gradient features."""
    f = _read("grocery/grocery_features.npz")
    return DataSet(f["X"].astype(np.float32), f["y"], f["class_split"], True)


def clinc150() -> DataSet:
    """Sentences of 150 intents, 384-dimensional embeddings; out-of-scope queries left out."""
    f = _read("clinc150/clinc150_minilm.npz")
    known = f["y"] >= 0
    return DataSet(f["X"][known].astype(np.float32), f["y"][known], f["class_split"], False)


def clinc150_texts() -> tuple[np.ndarray, np.ndarray]:
    """Return the sentences themselves and their labels, in the order of :func:`clinc150`."""
    f = _read("clinc150/clinc150_text.npz")
    known = f["y"] >= 0
    return f["text"][known], f["y"][known]


def libras() -> DataSet:
    """Hand movements, series of 45 steps in 2 channels; exact duplicates left out."""
    f = _read("libras/libras.npz")
    _, first = np.unique(f["X"].reshape(len(f["X"]), -1), axis=0, return_index=True)
    first.sort()
    X = np.ascontiguousarray(f["X"][first].transpose(0, 2, 1))
    return DataSet(X, f["y"][first], f["class_split"], False)


def qazaq() -> DataSet:
    """Hand-drawn Kazakh letters, 28 x 28."""
    f = _read("qazaq/qazaq_28.npz")
    return DataSet(f["images"][:, None], f["y"], f["class_split"], False)


def grocery_pixels() -> DataSet:
    """Photos of groceries, 32 x 32 in colour."""
    f = _read("grocery/grocery_32.npz")
    X = np.ascontiguousarray(np.moveaxis(f["images"], -1, 1))
    return DataSet(X, f["y"], f["class_split"], False)


def isolet_phonetics() -> ZeroShotData:
    """Spoken letters by phonetic features of their names; speakers of the fifth part are tested."""
    f = _read("isolet/isolet.npz")
    data, unseen, part = isolet(), f["unseen"], f["group"]
    attributes = f["attributes"].astype(float)
    in_training = (part < 5) & ~unseen[data.y]
    return ZeroShotData(data.X, data.y, attributes, unseen, in_training, part == 5, True)


def grocery_described(attributes: str) -> ZeroShotData:
    """Photos of groceries by vectors of icons, texts or names: the name of the array."""
    f = _read("grocery/grocery_features.npz")
    data = grocery_features()
    described, side = f[attributes].astype(float), data.class_split[data.y]
    return ZeroShotData(
        data.X, data.y, described, data.class_split == 2, side == 0, side == 2, True
    )


def clinc150_names() -> ZeroShotData:
    """Sentences by the embeddings of their intents' names; the source's test part is tested."""
    f = _read("clinc150/clinc150_minilm.npz")
    data, in_test = clinc150(), f["part"][f["y"] >= 0] == 2
    unseen, names = data.class_split == 2, f["class_X"].astype(float)
    in_training = ~in_test & ~unseen[data.y]
    return ZeroShotData(data.X, data.y, names, unseen, in_training, in_test, False)


def braille(draw: int, as_images: bool) -> ZeroShotData:
    """Braille letters by their six dots, six of the 26 letters unseen."""
    f = _read("omniglot/omniglot_28.npz")
    images = f["images"][f["braille_index"]]
    y = np.repeat(np.arange(26), images.shape[1])
    unseen = np.isin(np.arange(26), np.random.default_rng(draw).choice(26, 6, replace=False))
    X = images.reshape(-1, 1, 28, 28) if as_images else images.reshape(-1, 784) / 255.0
    dots, new = f["braille_dots"].astype(float), unseen[y]
    return ZeroShotData(X, y, dots, unseen, ~new, new, False)


def omniglot(*splits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and class codes of parts of the Vinyals split, every rotation a class.

    Parameters
    ----------
    *splits : int
        Parts to join: 0 train, 1 validation, 2 test.

    Returns
    -------
    X : uint8 ndarray of shape (n_classes * 20, 1, 28, 28)
        Pictures.
    y : ndarray of shape (n_classes * 20,)
        Four times the character's number, plus the quarter turns.
    """
    f = _read("omniglot/omniglot_28.npz")
    return _turned(f["images"], np.flatnonzero(np.isin(f["split_vinyals"], splits)))


def omniglot_background() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Lake's background set, every rotation a class, with the alphabet of each image."""
    f = _read("omniglot/omniglot_28.npz")
    X, y = _turned(f["images"], np.flatnonzero(f["is_background"]))
    return X, y, f["alphabet"][y // 4]


def omniglot_runs() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield support images of 20 classes, 20 queries, and the class of each query, 20 times."""
    f = _read("omniglot/omniglot_28.npz")
    for support, query, answer in zip(f["run_train"], f["run_test"], f["run_answer"], strict=True):
        images = (f["images"][tuple(part.T)][:, None] for part in (support, query))
        yield next(images), next(images), answer


def _turned(images: np.ndarray, characters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every quarter turn of some characters, with class codes."""
    turned = [np.rot90(images[characters], k, axes=(-2, -1)) for k in range(4)]
    y = np.repeat(4 * characters[:, None] + np.arange(4), images.shape[1])
    return np.stack(turned, axis=1).reshape(-1, 1, 28, 28), y
