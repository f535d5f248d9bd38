"""The expected calibration error, and its interval over episodes."""

from __future__ import annotations

import numpy as np

from ..utils._blocks import blocks
from ._interval import CONFIDENCE, Interval

N_BINS = 15  # as in Guo et al. (2017)
N_RESAMPLES = 2000


def bin_of(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the bin of each confidence, from 0: bins are open below, closed above."""
    return np.searchsorted(np.linspace(0.0, 1.0, n_bins + 1)[1:-1], confidence)


def sum_gaps(confidence: np.ndarray, is_right: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Sum hits minus confidences in each bin.

    Parameters
    ----------
    confidence : ndarray of shape (n_queries,)
        Probability of the most probable class.
    is_right : bool ndarray of shape (n_queries,)
        Whether it is the true one.
    unit : int ndarray of shape (n_queries,)
        The episode of each query.

    Returns
    -------
    gaps : ndarray of shape (n_episodes, n_bins)
    """
    gaps = np.zeros((unit.max() + 1, N_BINS))
    np.add.at(gaps, (unit, bin_of(confidence, N_BINS)), is_right - confidence)
    return gaps


def calibration_error(gaps: np.ndarray, n_queries: np.ndarray) -> np.ndarray:
    """Return the error of queries whose gaps, shape (..., n_bins), are summed."""
    return np.asarray(np.abs(gaps).sum(axis=-1) / n_queries)


def calibration_error_interval(
    gaps: np.ndarray, n_queries: np.ndarray, unit: str, random_state: int = 0
) -> Interval:
    """Return the calibration error of all queries, with a bootstrap interval.

    Parameters
    ----------
    gaps : ndarray of shape (n_episodes, n_bins)
        Sums of hits minus confidences.
    n_queries : ndarray of shape (n_episodes,)
        Queries of each episode.
    unit : str
        Name of the units.
    random_state : int, default=0
        Seed of the bootstrap.

    Returns
    -------
    interval : Interval
        Ends are NaN with a single episode.

    Notes
    -----
    Noise adds to sums of absolute values, so that the error is above that of more queries, and
    those of resamples are above it: percentiles of these would miss the truth. Deviations of
    resamples from their mean are put around the error instead, as in the basic bootstrap (Davison
    and Hinkley, 1997, equation 5.6), and the bias is subtracted from the lower end only. For gaps
    that are noise alone, normal with variance v, resamples have variance 2 v: the bias is
    sqrt(v) and the bootstrap sees sqrt(2 v) - sqrt(v), up to a common factor. By this ratio its
    estimate is enlarged, so that a calibrated classifier's interval reaches zero.
    """
    error = float(calibration_error(gaps.sum(axis=0), n_queries.sum()))
    n_units = len(gaps)
    rng, equal = np.random.default_rng(random_state), np.full(n_units, 1.0 / n_units)
    parts = []
    for block in blocks(N_RESAMPLES, 8 * n_units):
        times = rng.multinomial(n_units, equal, size=block.stop - block.start).astype(np.float64)
        parts.append(calibration_error(times @ gaps, times @ n_queries))
    resampled = np.concatenate(parts)
    mean, tail = resampled.mean(), (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail]) - mean
    bias = max(0.0, mean - error) / (np.sqrt(2.0) - 1.0)
    ends = max(0.0, error - bias - high), error - low
    if n_units == 1:
        ends = np.nan, np.nan
    name = f"{100 * CONFIDENCE:g} % bootstrap interval over {n_units} {unit}"
    return Interval(error, float(ends[0]), float(ends[1]), name)
