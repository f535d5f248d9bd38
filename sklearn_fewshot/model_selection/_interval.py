"""Means with confidence intervals."""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from ..utils._blocks import blocks
from ..utils._typing import RandomState

CONFIDENCE = 0.95
RESAMPLE_BYTES = 2**23  # of bootstrap resamples drawn at a time


class Interval(NamedTuple):
    """A mean with a confidence interval and the name of its unit.

    Parameters
    ----------
    mean : float
        The mean.
    low : float
        Lower end.
    high : float
        Upper end.
    name : str
        Confidence, method, and what varies: "95 % t-interval over 600 episodes".

    See Also
    --------
    EpisodicResult.interval_over : Computes one.

    Examples
    --------
    >>> from sklearn_fewshot.model_selection import Interval
    >>> interval = Interval(0.8, 0.7, 0.9, "95 % t-interval over 600 episodes")
    >>> print(interval)
    0.8 (0.7 to 0.9, 95 % t-interval over 600 episodes)
    >>> round(interval.half_width, 2)
    0.1
    """

    mean: float
    low: float
    high: float
    name: str

    @property
    def half_width(self) -> float:
        """Half the distance between the ends."""
        return (self.high - self.low) / 2.0

    def __str__(self) -> str:
        return f"{self.mean:.4g} ({self.low:.4g} to {self.high:.4g}, {self.name})"


def t_interval(values: np.ndarray, unit: str, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent values with Student's t-interval.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        One value per unit.
    unit : str
        Name of the units.
    confidence : float, default=0.95
        Confidence of the interval.

    Returns
    -------
    interval : Interval
        Ends are NaN with a single value.
    """
    _check_confidence(confidence)
    mean, n_values = float(np.mean(values)), len(values)
    half = float("nan")
    if n_values > 1:
        quantile = stdtrit(n_values - 1, 0.5 + confidence / 2)
        half = float(quantile * np.std(values, ddof=1) / np.sqrt(n_values))
    name = f"{100 * confidence:g} % t-interval over {n_values} {unit}"
    return Interval(mean, mean - half, mean + half, name)


def bootstrap_interval(
    values: np.ndarray,
    unit: str,
    confidence: float = CONFIDENCE,
    n_resamples: int = 2000,
    random_state: RandomState = 0,
) -> Interval:
    """Return the mean of independent values with a percentile bootstrap interval.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        One value per unit.
    unit : str
        Name of the units.
    confidence : float, default=0.95
        Confidence of the interval.
    n_resamples : int, default=2000
        Number of bootstrap resamples, drawn from the units with replacement.
    random_state : int or None, default=0
        Seed of the draws.

    Returns
    -------
    interval : Interval
        Ends are NaN with a single value, which has no spread.

    References
    ----------
    B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    _check_confidence(confidence)
    if not isinstance(n_resamples, Integral) or n_resamples < 1:
        raise ValueError(f"'n_resamples' must be an int of at least 1. Got {n_resamples!r}.")
    rng = np.random.default_rng(random_state)
    n_values = len(values)
    means = [
        values[rng.integers(n_values, size=(part.stop - part.start, n_values))].mean(axis=1)
        for part in blocks(n_resamples, 8 * n_values, max_bytes=RESAMPLE_BYTES)
    ]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    if n_values == 1:
        low = high = np.nan
    name = f"{100 * confidence:g} % bootstrap interval over {n_values} {unit}"
    return Interval(float(np.mean(values)), float(low), float(high), name)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"'confidence' must be between 0 and 1, such as 0.95. Got {confidence!r}.")
