"""Means with confidence intervals."""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtri, stdtr, stdtrit

from ..utils._blocks import blocks
from ..utils._typing import RandomState

CONFIDENCE = 0.95
EQUAL = 1e-9  # values that are as close as that are equal but for rounding
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

    def _absolute(self) -> Interval:
        """Return the interval of the absolute value of the mean."""
        if self.mean >= 0:
            return self
        return self._replace(mean=-self.mean, low=-self.high, high=-self.low)

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


def share_interval(values: np.ndarray, unit: str, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent shares with an interval that also holds near 0 and 1.

    It is the exact interval of a binomial proportion (Clopper and Pearson) for as many trials as
    would vary like the mean of the values: ``p (1 - p) / var(p)``, lowered by what Student's t is
    wider than the normal distribution. Away from 0 and 1 it agrees with Student's t. If all values
    are equal, each counts as one trial.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        One value per unit, whose mean is a share.
    unit : str
        Name of the units.
    confidence : float, default=0.95
        Confidence of the interval.

    Returns
    -------
    interval : Interval
        Ends are NaN with a single value.

    References
    ----------
    E. L. Korn and B. I. Graubard, "Confidence Intervals for Proportions With Small Expected Number
    of Positive Counts Estimated From Survey Data", Survey Methodology 24(2), 1998.
    """
    _check_confidence(confidence)
    mean, n_values = float(np.mean(values)), len(values)
    name = f"{100 * confidence:g} % Korn-Graubard interval over {n_values} {unit}"
    if n_values == 1:
        return Interval(mean, np.nan, np.nan, name)
    variance = np.var(values, ddof=1) / n_values
    level = 0.5 + confidence / 2
    n_trials = float(n_values)
    if np.ptp(values) > EQUAL:
        n_trials = mean * (1 - mean) / variance * (ndtri(level) / stdtrit(n_values - 1, level)) ** 2
    n_hits = mean * n_trials
    low = betaincinv(n_hits, n_trials - n_hits + 1, 1 - level) if mean > 0 else 0.0
    high = betaincinv(n_hits + 1, n_trials - n_hits, level) if mean < 1 else 1.0
    return Interval(mean, float(low), float(high), name)


def p_value(values: np.ndarray) -> float:
    """Return the two-sided p-value of Student's t-test of a mean of zero.

    Values that are all equal have no spread to tell how much others would differ: there it is that
    of the sign test, and 1 for zeros.
    """
    n_values = len(values)
    if n_values == 1 or np.max(np.abs(values)) <= EQUAL:
        return 1.0
    if np.ptp(values) <= EQUAL:
        return float(2.0 ** (1 - n_values))
    error = np.std(values, ddof=1) / np.sqrt(n_values)
    return 2 * float(stdtr(n_values - 1, -abs(np.mean(values)) / error))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for multiple comparisons.

    Parameters
    ----------
    p_values : ndarray of shape (n_comparisons,)
        One of each comparison.

    Returns
    -------
    corrected : ndarray of shape (n_comparisons,)
        The chance that any is below a level by chance is at most the level.

    References
    ----------
    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6(2), 1979.
    """
    order = np.argsort(p_values)
    factor = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(factor * p_values[order]), 1.0)
    return corrected


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
