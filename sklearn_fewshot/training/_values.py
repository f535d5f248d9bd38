"""What a trained network for regression keeps of its tasks, and its calibration."""

from __future__ import annotations

import numpy as np

from ..calibration import Intervals, calibrate_intervals
from ..episodes import thinned
from ..network import Observations, RegressionNetwork
from ._data import TrainingData

MAX_ROWS_ADAPTED = 1000  # of the task of a learner that has seen one only


def observe_task(network: RegressionNetwork, rows: np.ndarray, data: TrainingData) -> Observations:
    """Return what predictions without a support set adapt to.

    Parameters
    ----------
    network : RegressionNetwork
        The trained network.
    rows : ndarray of shape (n_samples, *encoded_shape)
        All samples, encoded.
    data : TrainingData
        Their tasks and values.

    Returns
    -------
    items : Observations
        Examples of the one task, or none if there are several: the prior.
    """
    assert data.values is not None
    kept = thinned(np.arange(len(rows)), data.codes, MAX_ROWS_ADAPTED)
    if len(data.classes) > 1:
        kept = kept[:0]
    return Observations(rows[kept], data.values[kept])


def calibrate_values(
    network: RegressionNetwork, rows: np.ndarray, data: TrainingData, verbose: int
) -> Intervals | None:
    """Fit the factors of standard deviations on the held-out tasks; on all if there are none."""
    assert data.values is not None
    inside = data.held_out[data.codes]
    codes = np.unique(data.codes[inside], return_inverse=True)[1]
    n_held_out = int(data.validation.sum())
    values = data.values[inside]
    return calibrate_intervals(network, rows[inside], values, codes, n_held_out, verbose)
