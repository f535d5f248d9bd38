"""Checks of the values that are predicted in regression."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_array

from ._sklearn import _num_samples
from ._typing import ArrayLike


def check_targets(
    X: ArrayLike, y: ArrayLike | None, owner: str, n_outputs: int | None = None
) -> np.ndarray:
    """Validate the values of samples.

    Parameters
    ----------
    X : array-like
        Samples; only their number matters.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their values.
    owner : str
        Whose y it is, for error messages.
    n_outputs : int or None
        The number of targets that y must have.

    Returns
    -------
    y : float64 ndarray of shape (n_samples,) or (n_samples, n_outputs)
    """
    if y is None:
        raise ValueError(
            f"{owner} requires y to be passed, but the target y is None. Pass the values of X."
        )
    try:
        values: np.ndarray = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    except (TypeError, ValueError) as error:
        if "convert" not in str(error) and "must be a string or a real number" not in str(error):
            raise
        raise ValueError(
            f"y of {owner} must hold numbers, the values to predict. {error}. For labels of "
            "classes take a classifier, such as ProtoNetClassifier."
        ) from error
    n_samples = _num_samples(X)
    if len(values) != n_samples:
        raise ValueError(
            f"X and y have inconsistent numbers of samples: {n_samples} and {len(values)}. Pass "
            "one value, or one row of values, a sample."
        )
    got = 1 if values.ndim == 1 else values.shape[1]
    if n_outputs is not None and got != n_outputs:
        raise ValueError(
            f"y must have {n_outputs} target{'s' * (n_outputs > 1)}, as in fit of the learner. Got "
            f"{got}."
        )
    return values


def scales_of(y: np.ndarray) -> np.ndarray:
    """Return what each column is divided by: its standard deviation, or 1 if it is constant.

    Parameters
    ----------
    y : float64 ndarray of shape (n_samples, n_outputs)
        Values.

    Returns
    -------
    scales : float64 ndarray of shape (n_outputs,)
    """
    # Not by the deviation, which for equal numbers is the rounding of their mean.
    is_constant = np.ptp(y, axis=0) <= 10 * np.finfo(np.float64).eps * np.abs(y).max(axis=0)
    return np.where(is_constant, 1.0, y.std(axis=0))
