"""Calibrated stacking (Chao et al., 2016): the penalty that balances seen and unseen classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def harmonic_mean(a: Any, b: Any) -> Any:
    """Return the harmonic mean of numbers or arrays, zero where either is."""
    return 2.0 * a * b / np.maximum(a + b, np.finfo(float).tiny)


def best_penalty(
    margin: np.ndarray, right: np.ndarray, codes: np.ndarray, is_seen: np.ndarray
) -> float:
    """Return the penalty of seen classes that balances the accuracies on seen and unseen ones.

    Parameters
    ----------
    margin : ndarray of shape (n_samples,)
        Score of the best seen class minus that of the best unseen class.
    right : bool ndarray of shape (n_samples,)
        Whether the sample's class is the best of its side.
    codes : int ndarray of shape (n_samples,)
        The sample's class.
    is_seen : bool ndarray of shape (n_classes,)
        The side of each class. Classes without a sample do not count.

    Returns
    -------
    penalty : float
        Where the harmonic mean of the two class-wise accuracies is highest; 0 if it is nowhere
        above 0.
    """
    order = np.argsort(margin, kind="stable")
    margin, right, codes = margin[order], right[order], codes[order]
    count = np.bincount(codes, minlength=len(is_seen))
    n_of_side = np.bincount(is_seen[count > 0], minlength=2)  # classes that have samples
    on_seen = is_seen[codes]
    share = right / (count[codes] * n_of_side[on_seen.astype(int)])
    # With a penalty between two margins, the unseen class wins for samples up to there, the seen
    # class for those after.
    unseen = np.cumsum(share * ~on_seen)[:-1]
    seen = np.sum(share * on_seen) - np.cumsum(share * on_seen)[:-1]
    mean = np.where(np.diff(margin) > 0, harmonic_mean(seen, unseen), 0.0)
    if not len(mean) or mean.max() <= 0:
        return 0.0
    best = int(np.argmax(mean))
    return float(margin[best : best + 2].mean())
