"""Prediction sets: which classes a query may be of."""

from __future__ import annotations

from numbers import Real

import numpy as np

from ..network import FittedNetwork
from ..utils._warnings import warn_user


def check_alpha(alpha: float) -> float:
    """Return the share of queries whose class may be missing, or raise."""
    if not isinstance(alpha, Real) or not 0.0 < alpha < 1.0:
        raise ValueError(
            "The 'alpha' parameter of predict_set must be the share of queries whose class may be "
            f"missing from the set, in (0, 1). Got {alpha!r}."
        )
    return float(alpha)


def set_margin(network: FittedNetwork, count: np.ndarray, alpha: float) -> np.ndarray:
    """Return how far the logit of each class may be below the highest in a prediction set.

    Parameters
    ----------
    network : FittedNetwork
        With a calibration.
    count : ndarray of shape (n_classes,)
        Examples of each class.
    alpha : float
        Share of queries whose class may be missing.

    Returns
    -------
    margin : float64 ndarray of shape (n_classes,)
        Infinity for classes that every set has, with a warning if these are all.
    """
    model = network.calibration
    if model is None or not network.takes_examples:
        raise TypeError(
            "Prediction sets were not calibrated: it takes a learner with calibrate=True that was "
            "fitted on examples. Without one, choose classes by predict_proba."
        )
    margin = model.set_margin(count, alpha)
    if margin is None:
        raise TypeError(
            "Prediction sets take a learner that held out classes in fit (n_calibration_classes_ > "
            "0). Fit on more classes, or hold out some by validation_fraction or "
            "validation_classes."
        )
    if np.isinf(margin).all() and len(count) > 1:
        warn_user(
            f"alpha={alpha} is less than {model.n_held_out} held-out classes can tell of "
            f"{len(count)} classes: every set has all of them. Choose a larger alpha, or hold out "
            "more classes by validation_fraction or validation_classes."
        )
    return margin
