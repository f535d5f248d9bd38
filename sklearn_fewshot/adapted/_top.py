"""The largest scores of each query."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

FEW = 16  # classes for each that is wanted: of fewer, all are sorted


def check_k(k: Any) -> int:
    """Return the ``k`` parameter, or raise."""
    if not isinstance(k, Integral) or isinstance(k, bool) or int(k) < 1:
        raise ValueError(
            "The 'k' parameter of predict_top must be the number of classes to return, an int of "
            f"at least 1. Got {k!r}."
        )
    return int(k)


def largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the ``k`` largest scores of each row, the largest first.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_columns)
        Scores.
    k : int
        At most ``n_columns``.

    Returns
    -------
    columns : int ndarray of shape (n_rows, k)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.adapted._top import largest
    >>> largest(np.array([[0.5, 2.0, 1.0], [3.0, 3.0, 1.0]]), 2)
    array([[1, 2],
           [0, 1]])
    """
    if scores.shape[1] <= FEW * k:
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    columns = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
