"""Calibration of predicted standard deviations on held-out tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import norm

from ..episodes import EpisodePlan, EpisodeSampler
from ..network import RegressionNetwork
from ..utils._progress import follow

COVERAGE = 0.9  # of the intervals that are made right on held-out tasks
SHOTS = (0, 1, 2, 3, 5, 10, 20, 50)
N_EPISODES = 300  # of each shot
FEW_SHOTS, FEW_EPISODES = (0, 1, 5, 20), 100  # where adapting takes long
MOST_QUERIES = 10  # of an episode
LEAST_FACTOR = 1e-6  # where every prediction is exact


class Intervals(NamedTuple):
    """Factors of the predicted standard deviations, by the number of support examples.

    Parameters
    ----------
    shots : int ndarray of shape (n_shots,)
        Numbers of support examples, ascending.
    factor : float64 ndarray of shape (n_shots,)
        Factors with which intervals of 90 % cover 90 % of the queries of held-out tasks.
    n_held_out : int
        Held-out tasks that they rest on; 0 if they were fitted on the tasks of training.
    """

    shots: np.ndarray
    factor: np.ndarray
    n_held_out: int

    def std_factor(self, n_support: int) -> float:
        """Return the factor, interpolated in the logarithm of the number of examples."""
        return float(np.interp(np.log1p(n_support), np.log1p(self.shots), self.factor))


def calibrate_intervals(
    network: RegressionNetwork,
    rows: np.ndarray,
    values: np.ndarray,
    codes: np.ndarray,
    n_held_out: int,
    verbose: int = 0,
) -> Intervals | None:
    """Fit the factors of standard deviations.

    Parameters
    ----------
    network : RegressionNetwork
        A trained network.
    rows : ndarray of shape (n_samples, *encoded_shape)
        Encoded samples of held-out tasks.
    values : ndarray of shape (n_samples, n_targets)
        Their values, standardised.
    codes : int ndarray of shape (n_samples,)
        Their tasks, 0 to n_tasks - 1.
    n_held_out : int
        The number of these tasks; 0 if they were trained on.
    verbose : int
        1 for a progress bar.

    Returns
    -------
    intervals : Intervals or None
        None if no task has two samples.
    """
    sizes = np.bincount(codes)
    if sizes.max() < 2:
        return None
    is_costly = network.module.is_costly
    most = np.median(sizes)
    shots = [k for k in (FEW_SHOTS if is_costly else SHOTS) if k < 2 or k < most]
    n_episodes = FEW_EPISODES if is_costly else N_EPISODES
    stored, rng = network.to_tensor(rows), np.random.default_rng(0)
    factors = [
        _factor(network, stored, values, _plan(codes, shot, n_episodes, rng))
        for shot in follow(shots, "shot", verbose, desc="calibration")
    ]
    return Intervals(np.array(shots), np.array(factors), n_held_out)


def _plan(codes: np.ndarray, n_shot: int, n_episodes: int, rng: np.random.Generator) -> EpisodePlan:
    """Draw episodes; without support examples, of queries only."""
    sampler = EpisodeSampler(
        codes, n_way=1, n_shot=max(n_shot, 1), n_query=MOST_QUERIES, clamp=True, min_way=1
    )
    plan = sampler.plan(n_episodes, rng)
    return plan if n_shot else plan._replace(support=np.full_like(plan.support, -1))


def _factor(
    network: RegressionNetwork, stored: torch.Tensor, values: np.ndarray, plan: EpisodePlan
) -> float:
    ratio = np.concatenate(list(_ratios(network, stored, values, plan)))
    return max(LEAST_FACTOR, float(np.quantile(ratio, COVERAGE) / norm.ppf(0.5 + COVERAGE / 2)))


def _ratios(
    network: RegressionNetwork, stored: torch.Tensor, values: np.ndarray, plan: EpisodePlan
) -> Iterator[np.ndarray]:
    """Yield errors over predicted standard deviations."""
    for predicted, std, target in network.score_values(stored, values, plan):
        ratio = np.abs(predicted - target) / std
        yield ratio[np.isfinite(ratio)]
