"""Carrying a calibration over to a network that was trained again, on the held-out classes too."""

from __future__ import annotations

import numpy as np

from ._by_size import SampledQueries
from ._model import LEVELS, Calibration

CENTRAL = (LEVELS >= 0.05) & (LEVELS <= 0.95)  # the extremes are those of single queries


def carry_over(
    calibration: Calibration, before: list[SampledQueries], after: list[SampledQueries]
) -> Calibration:
    """Carry a calibration over to the scores of another network.

    Both networks were trained on the classes of the queries: how their scores changed is how those
    of new classes change.

    Parameters
    ----------
    calibration : Calibration
        Of the first network, fitted on classes that it was not trained on.
    before, after : list of SampledQueries
        The same queries, scored by the first and the other network; for each entry of the table of
        inlier scores, if the calibration has one.

    Returns
    -------
    calibration : Calibration
        Of the other network.
    """
    maps = np.array([match(*pair) for pair in zip(before, after, strict=True)])
    factor = float(np.exp(np.mean(np.log(maps[:, 0]))))
    inliers, bias = calibration.inliers, calibration.shot_bias
    if inliers is not None:
        slope, offset = maps.T.reshape(2, *inliers.quantile.shape[:2], 1)
        inliers = inliers._replace(quantile=slope * inliers.quantile + offset)
    return calibration._replace(
        temperature=calibration.temperature.of_logits(factor),
        inliers=inliers,
        shot_bias=bias and bias.of_logits(factor),
    )


def match(before: SampledQueries, after: SampledQueries) -> tuple[float, float]:
    """Return slope and offset of the line that maps quantiles of scores to those of others."""
    old, new = (np.quantile(size.best, LEVELS[CENTRAL]) for size in (before, after))
    centred = old - old.mean()
    spread, covariance = np.mean(centred**2), np.mean(centred * new)
    # Of scores that are all equal only the offset is known.
    slope = covariance / spread if min(spread, covariance) > 1e-12 * np.mean(old**2) else 1.0
    return float(slope), float(new.mean() - slope * old.mean())
