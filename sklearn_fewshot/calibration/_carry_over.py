"""Carrying a calibration over to a network that was trained again, on the held-out classes too."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..network import FittedNetwork
from ._held_out import EncodedData, sample_queries
from ._model import LEVELS, Calibration, SampledQueries

CENTRAL = (LEVELS >= 0.05) & (LEVELS <= 0.95)  # the extremes are those of single queries


def carry_over(
    calibration: Calibration,
    networks: tuple[FittedNetwork, FittedNetwork],
    data: tuple[EncodedData, EncodedData],
) -> Calibration:
    """Carry a calibration over to the scores of another network.

    Both networks were trained on the classes of the data, and score the same episodes of them: how
    their scores changed is how those of new classes change.

    Parameters
    ----------
    calibration : Calibration
        Of the first network, fitted on classes that it was not trained on.
    networks : tuple of FittedNetwork
        The first and the other network.
    data : tuple of EncodedData
        Samples of classes that both were trained on, encoded by each.

    Returns
    -------
    calibration : Calibration
        Of the other network.
    """
    inliers = calibration.inliers
    assert inliers is not None
    tasks = [(int(way), int(shot)) for way, shot in product(inliers.n_way, inliers.n_shot)]
    before, after = (
        list(sample_queries(network, part, tasks, np.random.default_rng(0)))
        for network, part in zip(networks, data, strict=True)
    )
    maps = np.array([match(*pair) for pair in zip(before, after, strict=True)])
    slope, offset = maps.T.reshape(2, *inliers.quantile.shape[:2], 1)
    factor = float(np.exp(np.mean(np.log(slope))))
    bias = calibration.shot_bias
    return calibration._replace(
        temperature=calibration.temperature.of_logits(factor),
        inliers=inliers._replace(quantile=slope * inliers.quantile + offset),
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
