"""What ``fit`` saw of its input, to compare later input with: other units show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._blocks import blocks
from ._memory_map import blocks_of, release_pages, rows_from_disk, stays_on_disk
from ._warnings import warn_user

LEAST_SPREAD = 1e-9  # of the widest column: below it is what rounding leaves of a constant
FAR_DEVIATIONS = 10.0  # of training: no class of the same kind lies so far from the others
SHARE_OF_COLUMNS = 0.1  # that must be far: some columns have similar values in other units
SHARE_OF_ROWS = 0.5  # that must look so: among many rows a few may be outliers
SMALL_SAMPLE = 0.1  # of the peak that nearly all training samples exceed
LARGE_SAMPLE = 4.0  # times the highest peak of the training samples
FULL_SCALES = (1.0, 255.0, 4095.0, 65535.0)  # of images: floats, 8, 12 and 16 bits
ABOVE_FULL_SCALE = 1.5  # resampling may overshoot, though not by as much
MOMENTS_BYTES = 2**23  # of rows in float64 that moments are added up of at a time
MOST_ROWS = 1000  # that are compared, however many come
MOST_VALUES = 2**18  # of these rows, likewise


class InputRange(NamedTuple):
    """Range and spread of the samples that a learner was fitted on.

    Parameters
    ----------
    mean : float64 ndarray of shape (n_values,)
        Of each value of a sample; of series, whose length may vary, of each channel.
    far : float64 ndarray of shape (n_values,)
        Distance from the mean that is far; infinity for constant values.
    lowest, highest : float
        The smallest and the largest value.
    low_peak : float
        The largest magnitude within a sample, exceeded by 99 % of the samples.
    is_image : bool
        Whether samples have rows and columns of pixels.
    """

    mean: np.ndarray
    far: np.ndarray
    lowest: float
    highest: float
    low_peak: float
    is_image: bool

    @classmethod
    def of(cls, X: np.ndarray) -> InputRange:
        """Measure the samples of ``fit``, of shape (n_samples, *input_shape)."""
        mean, std = column_moments(X)
        varies = std > LEAST_SPREAD * std.max()
        extremes = np.concatenate([_extremes(block) for block in blocks_of(X)], axis=1)
        lows, highs = extremes  # (n_samples,) each
        return cls(
            mean,
            np.where(varies, FAR_DEVIATIONS * std, np.inf),
            float(lows.min()),
            float(highs.max()),
            float(np.quantile(np.maximum(-lows, highs), 0.01)),
            X.ndim == 4,
        )

    def warn_if_other(self, X: np.ndarray) -> None:
        """Warn if the units of samples must be others than those of ``fit``."""
        problem = self.difference(X) if len(X) else None
        if problem is not None:
            warn_user(
                f"{problem} If the learner comes after transformers, X did not pass them: call "
                "the pipeline, in place of its last step, or sklearn_fewshot.adapt(pipeline, ...) "
                "or a FewShotPipeline for a support set."
            )

    def difference(self, X: np.ndarray) -> str | None:
        """Say how samples differ from those of ``fit``, so much that their units must; else None.

        Parameters
        ----------
        X : ndarray of shape (n_samples, *input_shape)
            Samples, of which evenly spaced ones are compared.
        """
        step = row_step(len(X), X[0].size)
        if step > 1:
            X = rows_from_disk(X, np.arange(0, len(X), step)) if stays_on_disk(X) else X[::step]
        lows, highs = _extremes(X)
        peaks = np.maximum(-lows, highs)
        is_small = peaks < SMALL_SAMPLE * self.low_peak
        if is_small.any() and _most(is_small[peaks > 0]):  # a blank sample says nothing
            return self._other_range(lows, highs)
        if self.is_image:
            low, high = self._allowed()
            # An array of 8 bits cannot hold what had more, however dark it was.
            has_fewer_bits = X.dtype == np.uint8 and self.highest > 255 and highs.max() > 1
            if has_fewer_bits or _most((lows < low) | (highs > high)):
                return self._other_range(lows, highs)
        elif self._is_far(X):
            return (
                f"X lies more than {FAR_DEVIATIONS:.0f} training standard deviations from the "
                "samples that the learner was fitted on."
            )
        return None

    def _is_far(self, X: np.ndarray) -> bool:
        if X.ndim == 3:
            X = np.moveaxis(X, 1, 2)  # (n_samples, length, n_channels)
        values = X.reshape(len(X), -1, self.mean.size)
        is_far = np.abs(values - self.mean) > self.far  # False for padding
        if not is_far.any():
            return False
        n_steps = np.count_nonzero(~np.isnan(values[..., 0]), axis=1)
        n_varying = np.count_nonzero(self.far < np.inf)
        return _most(is_far.sum(axis=(1, 2)) > SHARE_OF_COLUMNS * n_steps * n_varying)

    def _allowed(self) -> tuple[float, float]:
        """Return the values between which images have the range of those of ``fit``."""
        most = LARGE_SAMPLE * max(-self.lowest, self.highest)
        if self.lowest < 0:
            return -most, most
        scale = next((full for full in FULL_SCALES if self.highest <= full), np.inf)
        return -0.5 * scale, min(ABOVE_FULL_SCALE * scale, most)

    def _other_range(self, lows: np.ndarray, highs: np.ndarray) -> str:
        low, high = float(lows.min()), float(highs.max())
        text = (
            f"X has values from {low:.4g} to {high:.4g}, but the learner was fitted on values from "
            f"{self.lowest:.4g} to {self.highest:.4g}."
        )
        if min(low, self.lowest) < 0 or min(high, self.highest) <= 0:
            return text + " Bring X to that range."
        factor = _full_scale(self.highest) / _full_scale(high)
        remedy = f"X * {factor:.4g}" if factor > 1 else f"X / {1 / factor:.4g}"
        return text + f" Pass X in that range, for example {remedy}."


def row_step(n_rows: int, n_values: int) -> int:
    """Return the distance between the rows that are compared with the training data.

    It is odd: pairs, whose sides take turns, have rows of both sides.
    """
    n_most = min(MOST_ROWS, max(16, MOST_VALUES // max(1, n_values)))
    return -(-n_rows // n_most) | 1


def column_moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each value of a sample, in bounded memory.

    Series, which may differ in length, have one mean per channel.

    Parameters
    ----------
    X : ndarray of shape (n_samples, *input_shape)
        Samples.

    Returns
    -------
    mean, std : float64 ndarray of shape (n_values,) or (n_channels,)
        Of the flattened samples, or of the channels of series.
    """
    shift = _columns(X[:1])[:1].astype(np.float64)
    total, squares = np.zeros((2, shift.size))
    n_rows = 0
    for part in blocks(len(X), 8 * X[0].size, max_bytes=MOMENTS_BYTES, max_items=4096):
        block = _columns(X[part]) - shift
        total += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
        n_rows += len(block)
        release_pages(X)
    mean = total / n_rows
    variance = np.maximum(squares / n_rows - mean**2, 0.0)
    return mean + shift[0], np.sqrt(variance)


def _columns(X: np.ndarray) -> np.ndarray:
    """Return flattened samples; of series the steps, without padding, one column per channel."""
    if X.ndim != 3:
        return X.reshape(len(X), -1)
    steps = np.moveaxis(X, 1, -1).reshape(-1, X.shape[1])
    return steps[~np.isnan(steps[:, 0])] if steps.dtype.kind == "f" else steps


def _extremes(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of each sample, float64 of shape (n_samples,)."""
    rows = X.reshape(len(X), -1)
    if X.ndim == 3:  # which may be padded with NaN
        lows, highs = np.fmin.reduce(rows, axis=1), np.fmax.reduce(rows, axis=1)
    else:
        lows, highs = rows.min(axis=1), rows.max(axis=1)
    return lows.astype(np.float64), highs.astype(np.float64)


def _most(holds: np.ndarray) -> bool:
    return bool(np.count_nonzero(holds) > SHARE_OF_ROWS * len(holds))


def _full_scale(highest: float) -> float:
    """Return what the largest value could be, going by the largest that there is."""
    return next((full for full in FULL_SCALES if full / 2 < highest <= full), highest)
