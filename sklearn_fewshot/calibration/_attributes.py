"""Calibration of networks that represent classes by attributes: the temperature."""

from __future__ import annotations

import numpy as np

from ..network import FittedNetwork, Representation
from ._by_size import SampledQueries

WAYS = (2, 5, 10, 30, 100)
N_EPISODES = 40  # of each way
MOST_QUERIES = 5000  # of each way


def sample_queries_by_attributes(
    network: FittedNetwork, items: Representation, rows: np.ndarray, codes: np.ndarray
) -> list[SampledQueries]:
    """Score queries among some of the classes, for several numbers of them.

    Parameters
    ----------
    network : FittedNetwork
        Scores each class by its attributes, whatever the others are.
    items : Representation
        What represents the classes.
    rows : ndarray of shape (n_queries, *encoded_shape)
        Encoded queries.
    codes : int ndarray of shape (n_queries,)
        Their classes.

    Returns
    -------
    sizes : list of SampledQueries
        By the number of classes, all of one shot.
    """
    n_classes = items.n_classes
    logits = network.predict_uncorrected(network.adapt(items), rows, n_classes)
    ways = sorted({min(way, n_classes) for way in WAYS})
    return [_sample(logits, codes, n_way, np.random.default_rng(n_way)) for n_way in ways]


def _sample(
    logits: np.ndarray, codes: np.ndarray, n_way: int, rng: np.random.Generator
) -> SampledQueries:
    """Draw classes, and take their queries and scores."""
    n_classes, parts = logits.shape[1], []
    n_episodes = N_EPISODES if n_way < n_classes else 1
    for _ in range(n_episodes):
        drawn = np.sort(rng.permutation(n_classes)[:n_way])
        rows = rng.permutation(np.flatnonzero(np.isin(codes, drawn)))[: MOST_QUERIES // n_episodes]
        parts.append(
            (logits[np.ix_(rows, drawn)], np.searchsorted(drawn, codes[rows]), codes[rows])
        )
    scored, target, code = (np.concatenate(part) for part in zip(*parts, strict=True))
    return SampledQueries(scored, target, code, n_way, 1)
