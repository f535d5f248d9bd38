"""Held-out classes posed as new ones: what they say about the scores of a trained network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..episodes._holdout import drawable_classes, place_in_class, some_of_each
from ..episodes._sampler import EpisodeSampler
from ..network import FittedNetwork, Representation
from ._model import (
    Asked,
    Calibration,
    Posing,
    ShotBias,
    fit_log_sharpness,
    fit_shot_bias,
    known_scores,
)

WAYS = (2, 5, 10, 30)
SHOTS = (1, 2, 3, 5, 10)
N_EPISODES = 40  # of each way and shot
N_QUERIES = 1000  # of each way and shot, about
FEW_SHOTS = (1, 2, 3, 5, 10)  # of classes posed as new beside old ones
N_HALVINGS = 4  # of the held-out classes, into some that are posed as old and some as new


class Sizes(NamedTuple):
    """How much is asked of a network beside old classes: less where scores are dear."""

    n_classes: int  # training classes
    n_rows: int  # examples of an old class
    n_queries: int  # of a held-out class


CHEAP = Sizes(n_classes=100, n_rows=50, n_queries=20)
DEAR = Sizes(n_classes=20, n_rows=20, n_queries=8)


def calibrate(
    network: FittedNetwork,
    embedding: np.ndarray,
    codes: np.ndarray,
    groups: np.ndarray | None,
    held_out: np.ndarray,
) -> Calibration | None:
    """Learn from held-out classes how a network's scores are to be read.

    Parameters
    ----------
    network : FittedNetwork
        A trained network.
    embedding : ndarray of shape (n_samples, *embedding_shape)
        The training data, embedded.
    codes : int ndarray of shape (n_samples,)
        Their class codes.
    groups : ndarray of shape (n_samples,) or None
        Support and queries of an episode share none.
    held_out : bool ndarray of shape (n_classes,)
        Classes that the network was not trained on.

    Returns
    -------
    calibration : Calibration or None
        Learned from all classes where those held out cannot make an episode; None where all cannot.
    """
    rng = np.random.default_rng(0)
    drawable = drawable_classes(codes, groups)
    if (held_out & drawable).sum() < 2:
        held_out = np.ones_like(held_out)
    if (held_out & drawable).sum() < 2:
        return None
    asked = list(_asked(network, embedding, codes, groups, held_out & drawable, rng))
    bias = _shot_bias(network, embedding, codes, groups, held_out, rng)
    return Calibration(fit_log_sharpness(asked), known_scores(asked), bias)


def _asked(
    network: FittedNetwork,
    embedding: np.ndarray,
    codes: np.ndarray,
    groups: np.ndarray | None,
    held_out: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[Asked]:
    """Yield queries of held-out classes in episodes of every way and shot there can be."""
    rows = np.flatnonzero(held_out[codes])
    codes = np.unique(codes[rows], return_inverse=True)[1]
    groups = None if groups is None else groups[rows]
    stored = network.stored(embedding[rows])
    sizes = np.bincount(codes)
    shots = [shot for shot in SHOTS if shot < np.median(sizes)]
    for n_way in sorted({min(way, len(sizes)) for way in WAYS}):
        for n_shot in shots:
            n_query = int(np.clip(N_QUERIES // (N_EPISODES * n_way), 1, 10))
            sampler = EpisodeSampler(
                codes, n_way=n_way, n_shot=n_shot, n_query=n_query, groups=groups, clamp=True
            )
            plan = sampler.plan(N_EPISODES, rng)
            parts = [
                (scores[real], target[real])
                for scores, target in network.score_episodes(stored, plan)
                for real in [target >= 0]
            ]
            scores, target = (np.concatenate(part) for part in zip(*parts, strict=True))
            logits = network.module.head.logits(torch.from_numpy(scores)).numpy()
            yield Asked(logits, target, scores.max(axis=1), n_way, n_shot)


def _shot_bias(
    network: FittedNetwork,
    embedding: np.ndarray,
    codes: np.ndarray,
    groups: np.ndarray | None,
    held_out: np.ndarray,
    rng: np.random.Generator,
) -> ShotBias | None:
    """Measure what few examples cost, with half of the held-out classes posed as old ones.

    None if there are too few classes or examples for that.
    """
    size = CHEAP if network.module.head.exact else DEAR
    shown, asked = _two_sides(codes, groups, rng)
    classes = np.intersect1d(codes[shown & held_out[codes]], codes[asked])
    trained = rng.permutation(np.flatnonzero(~held_out))[: size.n_classes]
    plenty = np.median(np.bincount(codes[shown])[classes]) if len(classes) > 1 else 0
    shots = [n_shot for n_shot in FEW_SHOTS if 2 * n_shot <= min(plenty, size.n_rows)]
    posings = []
    for n_shot in shots:
        for _ in range(N_HALVINGS):
            some = rng.permutation(classes)[: size.n_classes]
            new, old = some[: len(some) // 2], some[len(some) // 2 :]
            support = [
                _some_of(codes, new, shown, n_shot, rng),
                _some_of(codes, old, shown, size.n_rows, rng),
                _some_of(codes, trained, np.ones_like(shown), size.n_rows, rng),
            ]
            queries = _some_of(codes, some, asked, size.n_queries, rng)
            posing = _pose(network, embedding, codes, np.concatenate(support), queries, new)
            if posing.is_new.any() and not posing.is_new.all():
                posings.append(posing)
    return fit_shot_bias(posings) if posings else None


def _pose(
    network: FittedNetwork,
    embedding: np.ndarray,
    codes: np.ndarray,
    support: np.ndarray,
    queries: np.ndarray,
    new: np.ndarray,
) -> Posing:
    """Ask for the classes of some rows among those of the support, of which some are new."""
    classes, code = np.unique(codes[support], return_inverse=True)
    items = Representation(embedding[support], code, np.ones(len(code)), len(classes))
    scores = network.score(network.context(network.represent(items)), embedding[queries])
    scores = network.module.head.additive(torch.from_numpy(scores)).numpy()
    is_new, right, count = np.isin(classes, new), codes[queries], np.bincount(code)
    (best_old, score_old), (best_new, score_new) = (
        (among.argmax(axis=1), among.max(axis=1))
        for among in (np.where(side, scores, -np.inf) for side in (~is_new, is_new))
    )
    posing = Posing(
        gap=score_old - score_new,
        n_old=count[best_old],
        n_new=count[best_new],
        right_if_old=classes[best_old] == right,
        right_if_new=classes[best_new] == right,
        code=right,
        is_new=np.isin(right, new),
    )
    told_apart = posing.n_new < posing.n_old
    return Posing(*(part[told_apart] for part in posing))


def _two_sides(
    codes: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the rows, or the groups of rows, of every class into examples and queries."""
    if groups is not None:
        owner = np.unique(groups, return_inverse=True)[1]
        shown = (rng.permutation(owner.max() + 1) % 2 == 0)[owner]
        return shown, ~shown
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    shown = np.empty(len(codes), dtype=bool)
    shown[order] = place_in_class(codes[order]) % 2 == 0
    return shown, ~shown


def _some_of(
    codes: np.ndarray,
    classes: np.ndarray,
    allowed: np.ndarray,
    n_most: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw up to ``n_most`` of the allowed rows of each of some classes."""
    rows = np.flatnonzero(np.isin(codes, classes) & allowed)
    return rows[some_of_each(codes[rows], n_most, rng)]
