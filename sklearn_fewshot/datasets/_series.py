"""Series of unequal length as one array."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..utils._sklearn import Interval, validate_parameter_constraints
from ..utils._typing import ArrayLike

OWNER = "pad_series"
CONSTRAINTS: dict[str, list[Any]] = {"length": [Interval(Integral, 1, None, closed="left"), None]}


def pad_series(
    series: Sequence[ArrayLike] | np.ndarray, *, length: int | None = None
) -> np.ndarray:
    """Put series of unequal length into one array, padded with NaN at the end.

    Learners with the backbone ``"spectral"``, the default for series, mask the padding: it changes
    no prediction. They need not be given series of one length, in ``fit`` or afterwards.

    Parameters
    ----------
    series : sequence of array-like of shape (channels, length_i) or (length_i,)
        Series with equal numbers of channels; one axis means one channel.
    length : int or None, default=None
        Length to pad to. None for the longest of the series.

    Returns
    -------
    X : ndarray of shape (n_series, channels, length)
        In float64 if the series are, or are integers of more than 16 bits; else in float32.

    Raises
    ------
    ValueError
        If a series is empty, longer than ``length`` or of other shape, or has values that are not
        finite.

    See Also
    --------
    sklearn_fewshot.nn.backbones.mask_padding : Takes the padding apart, in a network of one's own.

    Examples
    --------
    >>> from sklearn_fewshot.datasets import pad_series
    >>> pad_series([[1.0, 2.0, 3.0], [4.0]])
    array([[[ 1.,  2.,  3.]],
    <BLANKLINE>
           [[ 4., nan, nan]]])
    """
    validate_parameter_constraints(CONSTRAINTS, {"length": length}, OWNER)
    series = list(series)
    if not series:
        raise ValueError(f"{OWNER} got no series. Pass a list of at least one.")
    arrays = [_as_series(one, place) for place, one in enumerate(series)]
    n_channels = len(arrays[0])
    other = next((p for p, one in enumerate(arrays) if len(one) != n_channels), None)
    if other is not None:
        raise ValueError(
            f"Series must have equal numbers of channels, the first axis. Got {n_channels} at "
            f"position 0 and {len(arrays[other])} at position {other}. If time comes first, pass "
            "[one.T for one in series]."
        )
    longest = max(range(len(arrays)), key=lambda place: arrays[place].shape[1])
    n_steps = arrays[longest].shape[1]
    if length is not None and n_steps > length:
        raise ValueError(
            f"The series at position {longest} has {n_steps} steps, more than length={length}. "
            "Raise length, or cut the series first."
        )
    dtype = np.result_type(np.float32, *{one.dtype for one in arrays})
    X = np.full((len(arrays), n_channels, length or n_steps), np.nan, dtype)
    for row, one in zip(X, arrays, strict=True):
        row[:, : one.shape[1]] = one
    return X


def _as_series(series: ArrayLike, place: int) -> np.ndarray:
    try:
        array = np.asarray(series)
    except ValueError as error:
        raise ValueError(
            f"Series must have channels of one length. Those at position {place} differ. Cut or "
            f"pad them first. Got: {error}"
        ) from error
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        raise ValueError(
            f"Series must be arrays of numbers of shape (channels, length) or (length,), with at "
            f"least one step. Got dtype {array.dtype} and shape {array.shape} at position {place}."
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"Series must hold finite numbers. Got NaN or infinity at position {place}. Impute "
            "missing values, and cut padding off, first."
        )
    return array.reshape(-1, array.shape[-1])
