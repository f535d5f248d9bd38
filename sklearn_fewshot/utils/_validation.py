"""Checks of arrays and labels, with errors that say what to do."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, validate_data

from ._exact_labels import are_rounded_together, as_column
from ._memory_map import blocks_of, stays_on_disk
from ._sklearn import _num_samples
from ._typing import ArrayLike, Estimator
from ._warnings import warn_user

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What scikit-learn says of X where it does not say what to do: a word of it, and the remedy.
REMEDIES = {
    "string": "Encode strings as numbers first, for example with "
    "OneHotEncoder(sparse_output=False).",
    "infinity": "Drop those samples, or clip or impute the values first.",
}


def check_X(
    estimator: Estimator,
    X: ArrayLike,
    *,
    reset: bool,
    input_shape: tuple[int, ...] | None,
    any_length: bool = False,
) -> np.ndarray:
    """Validate samples and bring them into the shape that a network takes.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set (``reset``) or checked.
    X : array-like of shape (n_samples, n_features), (n_samples, channels, length) or \
(n_samples, channels, height, width)
        Samples.
    reset : bool
        Whether this is the call that fits.
    input_shape : tuple of int or None
        Shape of one sample. On ``reset`` the ``input_shape`` parameter, else what was fitted.
    any_length : bool
        Whether series may have another length than the fitted one, and be padded with NaN.

    Returns
    -------
    X : ndarray of shape (n_samples, *input_shape)
        In the dtype it came in.

    Raises
    ------
    ValueError
        If the array is malformed, or has values beyond the range of float32.
    """
    _check_not_ragged(estimator, X)
    if not reset and hasattr(X, "shape"):
        _check_shape(estimator, tuple(X.shape), input_shape or (), any_length)
    n_axes = np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)
    X = _check_numbers(estimator, X, reset, any_length and n_axes == 3)
    for block in blocks_of(X):
        _check_float32_range(block)
    if X.ndim == 2:
        return _reshape_rows(estimator, X, input_shape)
    is_padded = False
    if any_length and X.ndim == 3 and len(X):
        is_padded = bool((series_lengths(X) < X.shape[2]).any())
    if reset:
        if not is_padded:  # which images are not
            check_layout(X)
        if input_shape is not None and X.shape[1:] != tuple(input_shape):
            raise ValueError(
                f"The 'input_shape' parameter of {type(estimator).__name__} is "
                f"{tuple(input_shape)}, but X has samples of shape {X.shape[1:]}. Leave "
                "input_shape at None, or flatten X to two dimensions."
            )
    else:
        _check_shape(estimator, X.shape, input_shape or (), any_length)
    return X


def check_like_fitted(estimator: Estimator, X: ArrayLike) -> np.ndarray:
    """Validate samples as :func:`check_X` does, against those that an estimator was fitted on."""
    return check_X(
        estimator,
        X,
        reset=False,
        input_shape=estimator.input_shape_,
        any_length=estimator._network.takes_any_length,
    )


def series_lengths(X: np.ndarray) -> np.ndarray:
    """Return the number of steps of each series before its padding with NaN.

    Parameters
    ----------
    X : ndarray of shape (n_samples, channels, length)
        Series.

    Raises
    ------
    ValueError
        If NaN is not padding: not in all channels, not at the end, or nothing comes before it.
    """
    if X.dtype.kind != "f":
        return np.full(len(X), X.shape[2])
    lengths, wrong = zip(*map(_lengths_of_block, blocks_of(X)), strict=True)
    length, is_wrong = np.concatenate(lengths), np.concatenate(wrong)
    if is_wrong.any() and not _lengths_of_block(np.moveaxis(X, 1, 2))[1].any():
        raise ValueError(
            f"NaN in series must be padding at the end of time, the last axis. In X of shape "
            f"{X.shape} time seems to come before the channels: pass np.moveaxis(X, 1, 2)."
        )
    if is_wrong.any():
        raise ValueError(
            "NaN in series must be padding: in all channels, at the end, after at least one step. "
            f"{int(is_wrong.sum())} of {len(X)} series have NaN elsewhere, first the one at "
            f"position {int(np.argmax(is_wrong))}. Impute missing values or drop those series; "
            "datasets.pad_series pads series of unequal length."
        )
    return length


def _lengths_of_block(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of each series before NaN, and whether there is NaN that is no padding."""
    is_nan = np.isnan(X)
    if not is_nan.any():
        return np.full(len(X), X.shape[2]), np.zeros(len(X), dtype=bool)
    length = np.count_nonzero(~is_nan[:, 0], axis=1)
    is_padding = np.arange(X.shape[2]) >= length[:, None]  # (n_samples, length)
    return length, (is_nan != is_padding[:, None]).any(axis=(1, 2)) | (length == 0)


def _check_not_ragged(estimator: Estimator, X: Any) -> None:
    """Raise if X holds series of unequal length one by one, naming what makes an array of them."""
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    if kind != "O" or getattr(X, "ndim", 1) != 1 or not hasattr(X, "__iter__"):
        return
    try:
        shapes = {tuple(np.shape(sample)) for sample in X}
    except ValueError:  # channels of unequal length within a sample
        return
    if len(shapes) > 1 and all(len(shape) in (1, 2) for shape in shapes):
        raise ValueError(
            f"X of {type(estimator).__name__} must be an array. Got {len(X)} samples of unequal "
            f"shape, such as {' and '.join(map(str, sorted(shapes)[:2]))}. If these are series of "
            "unequal length, pass datasets.pad_series(X)."
        )


def _check_numbers(estimator: Estimator, X: Any, reset: bool, may_be_padded: bool) -> np.ndarray:
    """Validate as scikit-learn does, and say what to do where it does not."""
    owner, on_disk = type(estimator).__name__, stays_on_disk(X)
    _check_not_text(owner, X)
    allowed: bool | str = "allow-nan" if may_be_padded else True
    options = {
        "dtype": "numeric",
        "allow_nd": True,
        "ensure_all_finite": False if on_disk else allowed,
    }
    try:
        if hasattr(X, "detach"):  # or scikit-learn's array API dispatch returns tensors
            X = np.asarray(X)
        X = validate_data(estimator, X, reset=reset, **options)
        for block in blocks_of(X) if on_disk else ():
            assert_all_finite(block, allow_nan=may_be_padded, estimator_name=owner, input_name="X")
    except ValueError as error:
        remedy = next((text for word, text in REMEDIES.items() if word in str(error)), None)
        if remedy is None:
            raise
        raise ValueError(f"X of {owner} must hold finite numbers. {error} {remedy}") from error
    except (RuntimeError, TypeError) as error:
        if not hasattr(X, "detach"):
            raise
        raise TypeError(
            f"X of {owner} is a tensor that numpy cannot read: {error} Pass "
            "X.detach().float().cpu()."
        ) from error
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"X of {owner} must hold finite numbers. Got an array of dtype {X.dtype}. Convert it "
            "first, for example with X.astype(float)."
        )
    return X


def _check_not_text(owner: str, X: Any) -> None:
    """Raise if X is text, pictures or a sparse matrix, naming what to put before the learner."""
    vectors = "a sentence encoder, or HashingVectorizer and its toarray()"
    if issparse(X):
        raise TypeError(
            f"X of {owner} must be dense. Got a sparse matrix of shape {X.shape}. Pass "
            "X.toarray(); transformers have options such as OneHotEncoder(sparse_output=False). "
            f"For texts take {vectors}: words that only new classes use mean nothing to a "
            "TruncatedSVD of old texts."
        )
    is_flat = isinstance(X, list | tuple) or getattr(X, "ndim", 2) == 1
    first = next(iter(X), None) if is_flat else None
    if _is_picture(first):
        raise ValueError(
            f"X of {owner} must hold rows of numbers. Got pictures, or paths of some: "
            f"{str(first)[:60]!r} and so on. Read them with datasets.load_images(X, size=...), or "
            "put a FrozenEncoder before the learner, which takes them as they are."
        )
    if isinstance(first, str):
        raise ValueError(
            f"X of {owner} must hold rows of numbers. Got texts: {first[:40]!r} and so on. Turn "
            f"them into vectors first, by {vectors}: both know words that were not in fit."
        )


def _is_picture(sample: Any) -> bool:
    """Whether a sample is a picture of Pillow, or a path that seems to lead to one."""
    is_path = isinstance(sample, os.PathLike)
    has_suffix = isinstance(sample, str) and sample.lower().endswith(IMAGE_SUFFIXES)
    return is_path or has_suffix or hasattr(sample, "getbands")


def _check_float32_range(X: np.ndarray) -> None:
    most = np.finfo(np.float32).max
    if X.dtype == np.float64 and max(-np.fmin.reduce(X, None), np.fmax.reduce(X, None)) > most:
        raise ValueError(
            f"X has values beyond the range of float32, in which networks compute (largest "
            f"{np.nanmax(np.abs(X)):.3g}). Scale X first, for example with StandardScaler."
        )


def _reshape_rows(
    estimator: Estimator, X: np.ndarray, input_shape: tuple[int, ...] | None
) -> np.ndarray:
    if input_shape is None:
        return X
    if math.prod(input_shape) != X.shape[1]:
        raise ValueError(
            f"X has rows of {X.shape[1]} features, which cannot be reshaped to the input_shape "
            f"{tuple(input_shape)} of {type(estimator).__name__} ({math.prod(input_shape)} values "
            "a sample)."
        )
    return X.reshape(len(X), *input_shape)


def _check_shape(
    estimator: Estimator,
    shape_of_X: tuple[int, ...],
    input_shape: tuple[int, ...],
    any_length: bool,
) -> None:
    """Compare the shape of a sample with what was fitted; tables are left to scikit-learn."""
    shape = shape_of_X[1:]
    owner, n_values = type(estimator).__name__, math.prod(input_shape)
    is_row, fitted_on_rows = len(shape) < 2, estimator.n_features_in_ == n_values
    is_same = shape == tuple(input_shape)
    fits = is_same
    if any_length and len(shape) == 2 and shape[1]:
        fits = shape[:1] == tuple(input_shape)[:1]
    if (is_row and fitted_on_rows) or (fits and shape[0] == estimator.n_features_in_):
        return
    if is_same:
        raise ValueError(
            f"X has samples of shape {shape}, but {owner} was fitted on rows of {n_values} values, "
            f"reshaped to input_shape={shape}. Pass X.reshape(len(X), -1)."
        )
    hint = ""
    if shape_of_X == tuple(input_shape):
        hint = " It seems to be a single sample: pass X[None]."
    elif sorted(shape) == sorted(input_shape):
        hint = " The axes seem to be in another order: see np.moveaxis."
    elif math.prod(shape) == n_values:
        hint = f" Pass X.reshape(len(X), {', '.join(map(str, input_shape))})."
    raise ValueError(
        f"X has samples of shape {shape}, but {owner} was fitted on samples of shape "
        f"{tuple(input_shape)}.{hint}"
    )


def check_layout(X: np.ndarray, *, remedy: str | None = None) -> None:
    """Raise if images have their channels last, or no channel axis.

    Parameters
    ----------
    X : ndarray of any shape
        Samples.
    remedy : str or None
        What to do if the channels come first after all; None for learners.
    """
    if X.ndim > 4:
        raise ValueError(
            f"X must have 2 dimensions (tables), 3 (series: samples, channels, length) or 4 "
            f"(images: samples, channels, height, width). Got {X.ndim}: shape {X.shape}."
        )
    if X.ndim == 4 and _has_channels_last(*X.shape[1:]):
        raise ValueError(
            f"X of shape {X.shape} looks like images with channels last. Networks here take "
            "channels first: pass np.moveaxis(X, -1, 1). If they come first, "
            f"{remedy or f'flatten the images and set input_shape={X.shape[1:]}'}."
        )
    if X.ndim == 3 and (X.shape[1] == X.shape[2] or X.dtype == np.uint8):
        raise ValueError(
            f"X of shape {X.shape} looks like images without a channel axis. Pass X[:, None] "
            "for images. Series have shape (n_samples, channels, length); if these are square "
            "or uint8 series, flatten them and set input_shape."
        )


def _has_channels_last(first: int, middle: int, last: int) -> bool:
    """Whether an image of this shape is certainly one of (height, width, channels)."""
    usual = (1, 3, 4)
    return first not in usual and (last in usual or first == middle > last)


def warn_of_layout(X: np.ndarray, remedy: str) -> None:
    """Warn if the last axis of series or images is probably that of the channels.

    Parameters
    ----------
    X : ndarray of shape (n_samples, channels, length) or (n_samples, channels, height, width)
        What has passed :func:`check_layout`.
    remedy : str
        What to do if the channels come first: the end of a sentence.
    """
    if X.ndim == 3 and X.shape[1] > X.shape[2] and not np.isnan(X[..., -1]).any():
        seen = f"{X.shape[1]} channels of {X.shape[2]} time steps"
    elif X.ndim == 4 and _has_last_axis_apart(*X.shape[1:]):
        seen = f"{X.shape[1]} channels of {X.shape[2]} x {X.shape[3]} pixels"
    else:
        return
    warn_user(
        f"X of shape {X.shape} is read as {seen}. If its channels come last, pass "
        f"np.moveaxis(X, -1, 1); if they come first, {remedy}."
    )


def _has_last_axis_apart(first: int, middle: int, last: int) -> bool:
    """Whether the first two axes are more alike than the last two, as of (height, width, channels).

    Few channels of any shape are images with channels first.
    """
    if first <= 4:
        return False
    if first == middle:
        return last != first
    small, large = sorted((first, middle))
    return 2 * last <= small and large * last < small * small


def input_scale(X: np.ndarray) -> float:
    """Return the factor that scales integer images to about [0, 1]; 1 for everything else."""
    if X.ndim != 4 or not np.issubdtype(X.dtype, np.integer):
        return 1.0
    largest = max(int(block.max()) for block in blocks_of(X))
    if largest <= 1:
        return 1.0
    return 1.0 / 255.0 if largest <= 255 else 1.0 / largest


def check_labels(
    X: ArrayLike | None, y: ArrayLike | None, *, names: tuple[str, str] = ("X", "y")
) -> np.ndarray:
    """Validate class labels: one per sample, of any sortable type."""
    if y is None:
        raise ValueError(
            f"{names[1]} must be given: requires y to be passed, but the target y is None."
        )
    given = as_column(y, names[1], warn=True)
    n_samples = _num_samples(X)
    if len(given) != n_samples:
        raise ValueError(
            f"{names[0]} and {names[1]} have inconsistent numbers of samples: {n_samples} and "
            f"{len(given)}. Pass one label a sample."
        )
    if given.dtype.kind in "fc" and not np.isfinite(given).all():
        raise ValueError(f"{names[1]} contains NaN or infinity. Drop or relabel those samples.")
    classes, _ = encode_labels(given, names[1])
    if len(classes) and isinstance(classes[0], bytes):  # scikit-learn before 1.7 takes them
        raise TypeError(
            f"{names[1]} must hold strings or numbers. Got bytes. Convert them to strings, for "
            f"example with {names[1]}.astype(str)."
        )
    if classes.dtype.kind not in "biuU":  # of these scikit-learn takes any, after 0.2 ms
        # Each class twice: it takes many classes of few samples for a regression problem.
        check_classification_targets(np.repeat(classes, 2))
    return given


def encode_labels(y: np.ndarray, name: str = "y") -> tuple[np.ndarray, np.ndarray]:
    """Return sorted classes and the code of each label."""
    try:
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        missing = [place for place, label in enumerate(y) if is_missing(label)]
        if missing:
            raise ValueError(
                f"{name} lacks {len(missing)} labels (NaN or None), first at position "
                f"{missing[0]}. Drop or relabel those samples."
            ) from error
        kinds = sorted({type(label).__name__ for label in y})
        raise TypeError(
            f"{name} must hold labels of one sortable type. Got a mixture of {', '.join(kinds)}. "
            f"Convert them, for example with {name}.astype(str)."
        ) from error
    return classes, codes.reshape(-1)


def is_missing(label: object) -> bool:
    """Whether a label is missing: None or NaN of Python, or NA of pandas."""
    is_nan = isinstance(label, float) and label != label
    return label is None or is_nan or type(label).__name__ in ("NAType", "NaTType")


def check_aligned(name: str, values: ArrayLike | None, n_samples: int) -> np.ndarray | None:
    """Validate an optional array with one entry per sample."""
    if values is None:
        return None
    shape = np.shape(values)
    if shape not in ((n_samples,), (n_samples, 1)):
        got = shape[0] if len(shape) == 1 else f"shape {shape}"
        raise ValueError(f"{name} must have one entry per sample: {n_samples}. Got {got}.")
    column = as_column(values, name)
    if column.dtype.kind == "O":
        encode_labels(column, name)  # raises where they cannot be sorted
    return column


def group_of_class(
    codes: np.ndarray, groups: np.ndarray, classes: np.ndarray, message: str
) -> np.ndarray:
    """Return the code of each class's group, which must be one.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,)
        Class codes.
    groups : ndarray of shape (n_samples,)
        Group of each sample.
    classes : ndarray of shape (n_classes,)
        Labels.
    message : str
        The error message; ``{torn}`` is replaced by the class and its groups.

    Returns
    -------
    owners : ndarray of shape (n_classes,)
        Group codes, 0 to n_groups - 1.
    """
    names, owner = encode_labels(groups)
    pairs = np.unique(np.stack([codes, owner], axis=1), axis=0)  # (n_pairs, 2)
    torn = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if len(torn):
        in_groups = label_text(names[pairs[pairs[:, 0] == torn[0], 1]])
        where = f"Class {label_text(classes[torn[:1]])} is in the groups {in_groups}"
        raise ValueError(message.format(torn=where))
    return pairs[:, 1]


def label_kind(classes: np.ndarray) -> str:
    """Return "text", "number" or the name of another type of labels."""
    kind = classes.dtype.kind
    if kind == "O":
        return "text" if isinstance(classes[0], str) else type(classes[0]).__name__
    return {"U": "text", "b": "number", "i": "number", "u": "number", "f": "number"}.get(kind, kind)


def is_known(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which labels are among the classes; a number never equals a string of digits."""
    if len(labels) and len(classes) and label_kind(labels) != label_kind(classes):
        return np.zeros(len(labels), dtype=bool)
    if are_rounded_together(labels, classes):
        labels, classes = labels.astype(object), classes.astype(object)
    return np.isin(labels, classes)


def label_text(labels: Sequence[Any] | np.ndarray, limit: int = 5) -> str:
    """Return a readable list of a few labels."""
    shown = ", ".join(repr(getattr(label, "item", lambda v=label: v)()) for label in labels[:limit])
    return shown + (f" and {len(labels) - limit} more" if len(labels) > limit else "")
