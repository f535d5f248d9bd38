"""Pretrained networks by name, which timm, sentence-transformers and open_clip load.

A name is stored in place of a network, and resolved at first use: pickles and model files of an
encoder are small, and what a name leads to is in memory once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..nn import resolve_device
from ..utils._images import picture_from_array
from ._samples import AUTO, OWNER, TEXT

MOST_LOADED = 4  # networks that remain in memory
LOADING = Lock()  # two threads that need one network load it once
TOKENIZING = Lock()  # tokenizers of Hugging Face cannot be shared by threads
SOURCES = ("hf-hub:", "local-dir:")  # of timm and open_clip: what follows is no name of theirs


class Pretrained(NamedTuple):
    """What a name leads to, for samples of one kind.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode. Called with a tensor of preprocessed pictures, or with a list of texts.
    preprocess : callable or None
        From a picture to a tensor.
    """

    module: nn.Module
    preprocess: Callable[[Any], Tensor] | None = None


class Library(NamedTuple):
    """A library that loads networks by their names.

    Parameters
    ----------
    package, extra : str
        What is imported, and the extra of this package that installs it.
    takes : tuple of str
        Kinds of samples: "pictures", "texts". The first is that of ``mode="auto"``.
    load : callable
        From the package and a name to a :class:`Pretrained` for each kind.
    check : callable
        Called with the package and a name. Raises a ValueError if the package knows no such name.
    example, folder : str
        A name, and how one leads to a folder.
    """

    package: str
    extra: str
    takes: tuple[str, ...]
    load: Callable[[Any, str], dict[str, Pretrained]]
    check: Callable[[Any, str], None]
    example: str
    folder: str


# ---------------------------------------------------------------------- names


def mode_for(module: Any, mode: str) -> str:
    """Return the mode in which samples are read: "auto" goes by what a named network takes.

    Parameters
    ----------
    module : str or object
        The ``module`` parameter.
    mode : {"auto", "RGB", "L", "text"}
        The ``mode`` parameter.

    Returns
    -------
    mode : {"RGB", "L", "text"}

    Raises
    ------
    ValueError
        If a named network does not take such samples, or its name has no known prefix.
    """
    takes = _library_of(module)[0].takes if isinstance(module, str) else ("pictures", "texts")
    if mode == AUTO:
        return TEXT if takes[0] == "texts" else "RGB"
    if _kind(mode) not in takes:
        raise ValueError(
            f"The 'mode' parameter of {OWNER} must fit the network: {module!r} takes {takes[0]}. "
            f"Got mode={mode!r}. Leave mode='auto', or take another network; 'open_clip:...' takes "
            "pictures and texts."
        )
    return mode


def _kind(mode: str) -> str:
    return "texts" if mode == TEXT else "pictures"


def _library_of(module: str) -> tuple[Library, str]:
    """Return the library that a name belongs to, and the name that it has there."""
    prefix, _, name = module.partition(":")
    if prefix in LIBRARIES and name:
        return LIBRARIES[prefix], name
    examples = ", ".join(repr(library.example) for library in LIBRARIES.values())
    nearest = get_close_matches(prefix.lower().replace("_", "-"), LIBRARIES, n=1)
    meant = f" Did you mean {nearest[0] + ':' + name!r}?" if nearest and name else ""
    raise ValueError(
        f"A name as the 'module' parameter of {OWNER} must begin with its library, as in "
        f"{examples}. Got {module!r}.{meant}"
    )


def _unknown(what: str, name: str, known: Iterable[str], remedy: str) -> ValueError:
    """Return an error on a name that a library does not know, with those that are similar."""
    nearest = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
    return ValueError(f"{OWNER} got {name!r}, which is no {what}. {hint}{remedy}")


# ---------------------------------------------------------------------- loading


def load_by_name(module: str, mode: str, device: str | torch.device) -> Pretrained:
    """Return the network that a name leads to, for samples of one mode.

    It is loaded at the first call. Later calls, of any encoder and thread, get the same.

    Parameters
    ----------
    module : str
        Library and name.
    mode : {"RGB", "L", "text"}
        What it will be called with.
    device : str or torch.device
        Where it will compute.

    Returns
    -------
    pretrained : Pretrained

    Raises
    ------
    ImportError
        If the library is not installed.
    ValueError
        If the library knows no such name.
    OSError
        If the network cannot be loaded.
    """
    with LOADING:
        return _load(module, str(resolve_device(device)))[_kind(mode)]


@lru_cache(maxsize=MOST_LOADED)
def _load(module: str, device: str) -> dict[str, Pretrained]:
    library, name = _library_of(module)
    package = _import(library)
    library.check(package, name)
    try:
        loaded = library.load(package, name)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each library has its own, and those of what it is built on
        raise OSError(
            f"{OWNER} could not load {module!r}: {' '.join(str(error).split())} Check the name. "
            "Without a network, load it once where there is one and copy the cache, the folder of "
            f"the environment variable HF_HOME; or give a folder, as in {library.folder!r}."
        ) from error
    for part in loaded.values():
        part.module.eval().to(device)
    return loaded


def _import(library: Library) -> Any:
    try:
        return import_module(library.package)
    except ImportError as error:
        raise ImportError(
            f"{OWNER} needs {library.extra} for {library.example!r}, which is not installed, or "
            f'lacks a part. Install it, for example with: pip install "sklearn-fewshot'
            f'[{library.extra}]"'
        ) from error


class PictureTransform:
    """The transform that belongs to a network, for pictures of Pillow and 8-bit arrays."""

    def __init__(self, transform: Callable[[Any], Tensor]) -> None:
        self.transform = transform

    def __call__(self, picture: Any) -> Tensor:
        """Return the tensor that the network takes."""
        if isinstance(picture, np.ndarray):
            picture = picture_from_array(picture, "X", OWNER)
        return self.transform(picture.convert("RGB"))


# ---------------------------------------------------------------------- timm


def _check_timm(timm: Any, name: str) -> None:
    if name.startswith(SOURCES):
        return
    known = timm.list_models(pretrained=True)  # with their tags
    if name in known or ("." not in name and timm.is_model(name)):
        return
    architectures = {tagged.partition(".")[0] for tagged in known}
    raise _unknown(
        "network of timm with weights",
        name,
        {*known, *architectures},
        "timm.list_models(pretrained=True) lists them; 'timm:hf-hub:OWNER/NAME' is a repository, "
        "'timm:local-dir:FOLDER' a folder.",
    )


def _load_timm(timm: Any, name: str) -> dict[str, Pretrained]:
    module = timm.create_model(name, pretrained=True, num_classes=0)
    config = timm.data.resolve_model_data_config(module)
    transform = timm.data.create_transform(**config, is_training=False)
    return {"pictures": Pretrained(module, PictureTransform(transform))}


# ---------------------------------------------------------------------- sentence-transformers


class SentenceModule(nn.Module):
    """A network of sentence-transformers as a module from texts to vectors."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, texts: list[str]) -> Tensor:
        """Embed texts: float tensor of shape (n_samples, embedding_dim)."""
        with TOKENIZING:
            return self.network.encode(
                texts, batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False
            )


def _check_sentences(sentence_transformers: Any, name: str) -> None:
    """Pass any name: there is no list of them."""


def _load_sentences(sentence_transformers: Any, name: str) -> dict[str, Pretrained]:
    network = sentence_transformers.SentenceTransformer(name, device="cpu")
    return {"texts": Pretrained(SentenceModule(network))}


# ---------------------------------------------------------------------- open_clip


class ClipImages(nn.Module):
    """The network of images of a CLIP. Its training compares vectors of unit length."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: unit vectors, (n_samples, embedding_dim)."""
        return self.network.encode_image(images, normalize=True)


class ClipTexts(nn.Module):
    """The network of texts of a CLIP, with its tokenizer."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__()
        self.network, self.tokenizer = network, tokenizer

    def forward(self, texts: list[str]) -> Tensor:
        """Embed texts: unit vectors, (n_samples, embedding_dim)."""
        with TOKENIZING:
            tokens = self.tokenizer(texts)
        device = next(self.network.parameters()).device
        return self.network.encode_text(tokens.to(device), normalize=True)


def _check_clip(open_clip: Any, name: str) -> None:
    if name.startswith(SOURCES):
        return
    network, _, weights = name.partition("/")
    networks = open_clip.list_models()
    if network not in networks:
        remedy = "open_clip.list_pretrained() lists networks and their weights."
        raise _unknown("network of open_clip", network, networks, remedy)
    tags = open_clip.list_pretrained_tags_by_model(network)
    if not (os.path.isfile(weights) or open_clip.get_pretrained_cfg(network, weights)):
        raise _unknown(
            f"file and no name of weights of {network}",
            weights,
            tags,
            f"Write 'open_clip:{network}/WEIGHTS', with a file or one of: {', '.join(tags)}.",
        )


def _load_clip(open_clip: Any, name: str) -> dict[str, Pretrained]:
    network, weights = name, None
    if not name.startswith(SOURCES):
        network, _, weights = name.partition("/")
    clip, transform = open_clip.create_model_from_pretrained(network, pretrained=weights)
    return {
        "pictures": Pretrained(ClipImages(clip), PictureTransform(transform)),
        "texts": Pretrained(ClipTexts(clip, open_clip.get_tokenizer(network))),
    }


LIBRARIES = {
    "timm": Library(
        package="timm",
        extra="timm",
        takes=("pictures",),
        load=_load_timm,
        check=_check_timm,
        example="timm:resnet18",
        folder="timm:local-dir:FOLDER",
    ),
    "sentence-transformers": Library(
        package="sentence_transformers",
        extra="sentence-transformers",
        takes=("texts",),
        load=_load_sentences,
        check=_check_sentences,
        example="sentence-transformers:all-MiniLM-L6-v2",
        folder="sentence-transformers:FOLDER",
    ),
    "open_clip": Library(
        package="open_clip",
        extra="open-clip",
        takes=("pictures", "texts"),
        load=_load_clip,
        check=_check_clip,
        example="open_clip:ViT-B-32/laion2b_s34b_b79k",
        folder="open_clip:local-dir:FOLDER",
    ),
}
