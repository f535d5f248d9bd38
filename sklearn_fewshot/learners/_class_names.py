"""Attributes of classes from their names, embedded in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from ..utils._attributes import ClassAttributes
from ._encoder import FrozenEncoder
from ._samples import TEXT

GAP = "{}"  # of a template, where the name goes


def embed_class_names(
    names: Sequence[str] | Mapping[Any, str | Sequence[str]],
    encoder: Any,
    *,
    templates: str | Sequence[str] = GAP,
) -> ClassAttributes:
    """Describe classes by the embeddings of their names, averaged over prompts.

    For zero-shot learners, and for networks such as CLIP that embed pictures and texts alike.

    Parameters
    ----------
    names : sequence of str, or mapping from label to str or sequence of str
        Names of the classes, which are also their labels; or, by label, a name or several.
    encoder : str, FrozenEncoder or transformer
        What embeds texts: the name of a pretrained network, as :class:`FrozenEncoder` takes it; an
        encoder with such a name; or anything whose ``transform`` takes a list of texts.
    templates : str or sequence of str, default="{}"
        Sentences with ``{}`` in place of the name, such as "a photo of a {}.".

    Returns
    -------
    attributes : ClassAttributes
        One vector of unit length for each class.

    Raises
    ------
    ValueError
        If there are no names or templates, or a template has no place for the name.
    TypeError
        If names are no strings.

    See Also
    --------
    FrozenEncoder : Embeds pictures and texts by a network with a name.
    ZeroShotProtoNetClassifier : Takes the attributes.

    Notes
    -----
    Every name is put into every template. The embeddings are scaled to unit length, averaged over
    the templates and names of a class, and scaled again: the prompt ensemble of the paper.

    References
    ----------
    A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
    ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot import FrozenEncoder, embed_class_names
    >>> def count_letters(texts):  # in place of a pretrained network
    ...     return np.array([[text.count(letter) for letter in "aeiou"] for text in texts])
    >>> encoder = FrozenEncoder(count_letters, mode="text")
    >>> embed_class_names(
    ...     {0: "eagle", 1: ["whale", "orca"]}, encoder, templates=["a {}.", "a photo of a {}."]
    ... )
    ClassAttributes of 2 classes (0, 1), 5 attributes
    """
    templates = [templates] if isinstance(templates, str) else list(templates)
    by_label = _names_by_label(names)
    _check_templates(templates)
    prompts = [
        template.replace(GAP, name)
        for some in by_label.values()
        for name in some
        for template in templates
    ]
    embedding = _unit(np.asarray(_text_encoder(encoder).transform(prompts), dtype=np.float64))
    n_prompts = [len(some) * len(templates) for some in by_label.values()]
    parts = np.split(embedding, np.cumsum(n_prompts)[:-1])
    return ClassAttributes(list(by_label), _unit(np.stack([part.mean(axis=0) for part in parts])))


def _names_by_label(names: Any) -> dict[Any, list[str]]:
    """Return the names of each class."""
    if isinstance(names, str):
        raise TypeError(f"embed_class_names takes the names of all classes. Got {names!r} alone.")
    given = names if isinstance(names, Mapping) else _by_itself(names)
    by_label = {k: [some] if not _is_several(some) else list(some) for k, some in given.items()}
    for label, some in by_label.items():
        if not all(isinstance(name, str) for name in some):
            raise TypeError(
                f"Names of classes must be strings. Got {given[label]!r} for class {label!r}. "
                "Pass a mapping from each label to its name."
            )
    empty = [label for label, some in by_label.items() if not some]
    if empty or not by_label:
        got = f"none for class {empty[0]!r}" if empty else "no classes"
        raise ValueError(f"embed_class_names needs a name for each class. Got {got}.")
    return by_label


def _is_several(names: Any) -> bool:
    return isinstance(names, Iterable) and not isinstance(names, str)


def _by_itself(names: Iterable[Any]) -> dict[Any, Any]:
    """Return names as the labels of their classes, each once."""
    names = list(names)
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"embed_class_names takes each name once. Got {twice[0]!r} twice.")
    return {name: name for name in names}


def _check_templates(templates: list[str]) -> None:
    wrong = [template for template in templates if GAP not in str(template)]
    if wrong or not templates:
        got = repr(wrong[0]) if wrong else "none"
        raise ValueError(
            "The 'templates' parameter of embed_class_names must be sentences with {} in place of "
            f"the name, such as 'a photo of a {{}}.'. Got {got}."
        )


def _text_encoder(encoder: Any) -> Any:
    """Return what embeds texts; of an encoder of pictures the one of texts."""
    if isinstance(encoder, str):
        return FrozenEncoder(encoder, mode=TEXT)
    if isinstance(encoder, FrozenEncoder) and isinstance(encoder.module, str):
        return clone(encoder).set_params(mode=TEXT, preprocess=None).set_output(transform="default")
    return encoder


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; zero remains zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1.0, lengths)
