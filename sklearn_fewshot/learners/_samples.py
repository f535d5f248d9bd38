"""What a pretrained network takes besides arrays: pictures from anywhere, and texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..utils._images import (
    bring_to_size,
    channels_first,
    check_paths,
    is_picture,
    name_of,
    read_image,
)

OWNER = "FrozenEncoder"
TEXT: Literal["text"] = "text"  # the mode of samples that are no pictures
AUTO = "auto"  # the mode that goes by the network


def as_column(X: Any) -> Sequence[Any] | None:
    """Return X as a sequence of objects if it may hold pictures or texts, else None.

    Lists, columns of data frames, and sequences that make their entries when they are asked for,
    such as the columns of Hugging Face's data sets: these stay as they are.
    """
    if isinstance(X, list):
        return X
    if hasattr(X, "__array__"):
        if getattr(X, "shape", (0, 0))[1:] not in ((), (1,)):
            return None
        column = np.asarray(X).reshape(-1)
        return None if column.dtype.kind in "biufcmM" else column.tolist()
    return X if isinstance(X, Sequence) and not isinstance(X, (str, bytes)) else None


def as_pictures(X: Any) -> Sequence[Any] | None:
    """Return X as a sequence of pictures if its first entry is one, else None."""
    column = as_column(X)
    if column is None or not len(column) or not is_picture(column[0]):
        return None
    if isinstance(column, (list, tuple)):  # entries of others would be decoded by looking at them
        _check_pictures(column)
    return column


def _check_pictures(values: Sequence[Any]) -> None:
    """Raise unless all are pictures, and paths lead to files."""
    others = [value for value in values if not is_picture(value)]
    if others:
        raise ValueError(
            f"X of {OWNER} must hold pictures only (paths, bytes, pictures of Pillow), or numbers "
            f"only. Got {len(others)} that are no pictures, such as {others[0]!r}."
        )
    check_paths(values, OWNER, " If X holds texts, set mode='text'.")


def as_texts(X: Any) -> Sequence[Any]:
    """Return X as a sequence of texts."""
    column = as_column(X)
    others = [] if column is None else [k for k, it in enumerate(column) if not isinstance(it, str)]
    if column is None or others:
        got = (
            f"shape {np.shape(X)}"
            if column is None
            else f"{column[others[0]]!r} in row {others[0]}"
        )
        raise ValueError(
            f"With mode='text', X of {OWNER} must hold one string a sample. Got {got}. Pass a list "
            "or a column of strings."
        )
    return column


def some_of(samples: np.ndarray | Sequence[Any], start: int, stop: int) -> Any:
    """Return samples of a range: a list, or rows of an array."""
    if isinstance(samples, np.ndarray):
        return samples[start:stop]
    return [samples[row] for row in range(start, min(stop, len(samples)))]


def read_sample(
    sample: Any,
    name: str,
    *,
    mode: str,
    size: tuple[int, int] | None,
    preprocess: Callable[[Any], Any] | None,
) -> np.ndarray:
    """Read a sample, preprocess it, and return it as an array; a text as one without axes."""
    if mode != TEXT and is_picture(sample):
        sample = bring_to_size(read_image(sample, mode, OWNER, name=name), size)
    if preprocess is not None:
        sample = preprocess(sample)
    if isinstance(sample, Tensor):
        sample = sample.detach().cpu()
        return (sample.float() if sample.dtype == torch.bfloat16 else sample).numpy()
    if mode == TEXT and isinstance(sample, str):
        return np.array(sample, dtype=object)
    array = channels_first(sample) if hasattr(sample, "getbands") else np.asarray(sample)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"The 'preprocess' parameter of {OWNER} must return a picture, an array or a "
            f"tensor. Got {describe(sample)}."
        )
    return array


def name_of_sample(sample: Any, row: int, mode: str) -> str:
    """Return what an error calls a sample."""
    return f"row {row}" if mode == TEXT else name_of(sample, row)


def describe(output: Any) -> str:
    """Say what something is that should have been a tensor or an array."""
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with {', '.join(map(str, output))}"
    if isinstance(output, Sequence) and not isinstance(output, str):
        return f"a {kind} of {', '.join(type(part).__name__ for part in output[:5])}"
    return f"an object of type {kind}"
