"""Calibration of the scores of a trained network on held-out classes used as new ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..episodes import (
    ClassTasks,
    EpisodeSampler,
    drawable_classes,
    place_in_class,
    some_of_each,
)
from ..network import FittedNetwork, Representation
from ..nn import FewShotModule
from ..utils._progress import follow
from ._by_size import SampledQueries
from ._conformal import tabulate_set_thresholds
from ._model import (
    BaseAndNew,
    Calibration,
    ShotBiasByWay,
    fit_shot_bias_by_way,
    fit_temperature,
    tabulate_inlier_scores,
)

WAYS = (2, 5, 10, 30)
SHOTS = (1, 2, 3, 5, 10)
N_EPISODES = 40  # of each way and shot
FEW_WAYS, FEW_SHOTS_ALONE = (2, 5, 10), (1, 5)  # where adapting takes long ...
FEW_EPISODES = 25  # ... and episodes of each
N_QUERIES = 1000  # of each way and shot, about
FEW_SHOTS = (1, 2, 3, 5, 10)  # of held-out classes used as new ones, beside base classes
N_SPLITS = 4  # random halvings of the held-out classes into base and new classes, per shot


class Sizes(NamedTuple):
    """Sizes of the sampled tasks of base and new classes: smaller where scores are expensive."""

    n_classes: int  # training classes
    n_rows: int  # examples per base class
    n_queries: int  # per held-out class


INEXPENSIVE = Sizes(n_classes=100, n_rows=50, n_queries=20)
EXPENSIVE = Sizes(n_classes=20, n_rows=20, n_queries=8)


class EncodedData(NamedTuple):
    """The training data as the network takes it.

    Parameters
    ----------
    rows : array-like of shape (n_samples, *encoded_shape)
        Encoded samples, or what encodes those that are taken.
    codes : int ndarray of shape (n_samples,)
        Their class codes.
    groups : ndarray of shape (n_samples,) or None
        Support and queries of an episode share none.
    class_tasks : ClassTasks or None
        Task of each class: all classes of an episode are of one.
    """

    rows: Any
    codes: np.ndarray
    groups: np.ndarray | None
    class_tasks: ClassTasks | None = None

    def of_classes(self, wanted: np.ndarray) -> EncodedData:
        """Return the data of some classes, bool of shape (n_classes,), numbered anew."""
        kept = wanted[self.codes]
        codes = np.unique(self.codes[kept], return_inverse=True)[1]
        groups = None if self.groups is None else self.groups[kept]
        tasks = None if self.class_tasks is None else self.class_tasks.take(wanted)
        return EncodedData(self.rows[kept], codes, groups, tasks)

    def usable(self, classes: np.ndarray) -> np.ndarray:
        """Return those of some classes, bool of shape (n_classes,), that episodes can have."""
        drawable = classes & drawable_classes(self.codes, self.groups)
        return drawable if self.class_tasks is None else self.class_tasks.paired(drawable)

    def classes_for(self, n_way: int) -> np.ndarray:
        """Return the codes of classes in tasks of so many classes; of all, if no task is known."""
        if self.class_tasks is None:
            return np.arange(self.codes.max() + 1)
        sizes = np.bincount(self.class_tasks.task)
        return np.flatnonzero((sizes >= min(n_way, sizes.max()))[self.class_tasks.task])


def calibrate(
    network: FittedNetwork, data: EncodedData, held_out: np.ndarray, verbose: int = 0
) -> Calibration | None:
    """Fit temperature, inlier quantiles, set thresholds and shot bias on held-out classes.

    Parameters
    ----------
    network : FittedNetwork
        A trained network.
    data : EncodedData
        The training data.
    held_out : bool ndarray of shape (n_classes,)
        Classes that the network was not trained on.
    verbose : int
        1 for progress bars.

    Returns
    -------
    calibration : Calibration or None
        Fitted on all classes if those held out cannot form an episode; None if all cannot.
    """
    rng = np.random.default_rng(0)  # fixed: equal networks and data are calibrated equally
    if data.usable(held_out).sum() < 2:
        held_out = np.ones_like(held_out)
    usable = data.usable(held_out)
    if usable.sum() < 2:
        return None
    some = data.of_classes(usable)
    tasks = [
        (n_way, n_shot)
        for n_way, n_shot in product(*_ways_and_shots(some, network.module))
        if n_way * n_shot <= (network.module.max_support or np.inf)
    ]
    sizes = list(sample_queries(network, some, tasks, rng, verbose))
    # Base and new classes are of several tasks: the shot bias is that of all classes together.
    # Together they exceed the fixed number of outputs of some networks.
    has_bias = network.module.score_shift and network.module.n_outputs is None
    bias = _fit_held_out_bias(network, data, held_out, rng, verbose) if has_bias else None
    n_held_out = 0 if held_out.all() else int(usable.sum())
    temperature, inliers = fit_temperature(sizes), tabulate_inlier_scores(sizes)
    sets = tabulate_set_thresholds(sizes, temperature.inverse) if n_held_out else None
    return Calibration(temperature, inliers, sets, bias, n_held_out)


def _ways_and_shots(data: EncodedData, module: FewShotModule) -> tuple[list[int], list[int]]:
    """Return the ways and shots that the data permit."""
    ways, shots = (FEW_WAYS, FEW_SHOTS_ALONE) if module.is_costly else (WAYS, SHOTS)
    sizes = np.bincount(data.codes)
    n_classes = len(sizes) if data.class_tasks is None else np.bincount(data.class_tasks.task).max()
    most = int(min(n_classes, module.n_outputs or n_classes))
    return sorted({min(way, most) for way in ways}), [k for k in shots if k < np.median(sizes)]


def sample_queries(
    network: FittedNetwork,
    data: EncodedData,
    tasks: list[tuple[int, int]],
    rng: np.random.Generator,
    verbose: int = 0,
) -> Iterator[SampledQueries]:
    """Yield scored queries of each way and shot."""
    stored = network.to_tensor(data.rows)
    n_episodes = FEW_EPISODES if network.module.is_costly else N_EPISODES
    for n_way, n_shot in follow(tasks, "task", verbose, desc="calibration"):
        n_query = int(np.clip(N_QUERIES // (n_episodes * n_way), 1, 10))
        classes = data.classes_for(n_way)
        rows = np.flatnonzero(np.isin(data.codes, classes))
        sampler = EpisodeSampler(
            np.searchsorted(classes, data.codes[rows]),
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            rows=rows,
            groups=None if data.groups is None else data.groups[rows],
            clamp=True,
            class_tasks=None if data.class_tasks is None else data.class_tasks.take(classes),
        )
        plan = sampler.plan(n_episodes, rng)
        logits, target = (
            np.concatenate(part) for part in zip(*network.score_plan(stored, plan), strict=True)
        )
        code = np.take_along_axis(plan.classes, np.maximum(target, 0), axis=1)
        real = target >= 0
        yield SampledQueries(logits[real], target[real], classes[code[real]], n_way, n_shot)


def _fit_held_out_bias(
    network: FittedNetwork,
    data: EncodedData,
    held_out: np.ndarray,
    rng: np.random.Generator,
    verbose: int,
) -> ShotBiasByWay | None:
    """Fit the shot bias: half of the held-out classes are used as base, half as new classes.

    None if there are too few classes or examples for that.
    """
    size, codes = INEXPENSIVE if network.is_exact else EXPENSIVE, data.codes
    as_support, as_query = _split_support_query(codes, data.groups, rng)
    classes = np.intersect1d(codes[as_support & held_out[codes]], codes[as_query])
    trained = rng.permutation(np.flatnonzero(~held_out))[: size.n_classes]
    usual = np.median(np.bincount(codes[as_support])[classes]) if len(classes) > 1 else 0
    # At most half the examples of a base class: the deficit vanishes for equal numbers.
    shots = [n_shot for n_shot in FEW_SHOTS if 2 * n_shot <= min(usual, size.n_rows)]
    # With the trained classes beside them and without: heads that are fitted to the support set,
    # above all, have another bias in smaller ones.
    contexts = [trained[:0], trained] if len(trained) else [trained]
    splits: list[list[BaseAndNew]] = [[] for _ in contexts]
    drawn = []
    for n_shot, context in product(shots, range(len(contexts))):
        for _ in range(N_SPLITS):
            some = rng.permutation(classes)[: size.n_classes]
            new, base = some[: len(some) // 2], some[len(some) // 2 :]
            parts = (
                _some_of(codes, new, as_support, n_shot, rng),
                _some_of(codes, base, as_support, size.n_rows, rng),
                _some_of(codes, contexts[context], np.ones_like(as_support), size.n_rows, rng),
            )
            queries = _some_of(codes, some, as_query, size.n_queries, rng)
            drawn.append((context, np.concatenate(parts), queries, new))
    if not drawn:
        return None
    used = np.unique(np.concatenate([rows for _, *both, _ in drawn for rows in both]))
    few = data._replace(rows=data.rows[used], codes=codes[used])
    for context, support, queries, new in follow(
        drawn, "split", verbose, desc="calibration of unequal shots"
    ):
        places = np.searchsorted(used, support), np.searchsorted(used, queries)
        split = _score_split(network, few, *places, new)
        if split.is_new.any() and not split.is_new.all():
            splits[context].append(split)
    n_way = [min(len(classes), size.n_classes) + len(others) for others in contexts]
    return fit_shot_bias_by_way(n_way, splits) if all(splits) else None


def _score_split(
    network: FittedNetwork,
    data: EncodedData,
    support: np.ndarray,
    queries: np.ndarray,
    new: np.ndarray,
) -> BaseAndNew:
    """Score queries among base and new classes of a support set."""
    classes, code = np.unique(data.codes[support], return_inverse=True)
    items = Representation.of_examples(data.rows[support], code, len(classes))
    state = network.adapt(network.condense(items))
    scores = network.predict_uncorrected(state, data.rows[queries], len(classes))
    is_new, right, count = np.isin(classes, new), data.codes[queries], np.bincount(code)
    (best_base, score_base), (best_new, score_new) = (
        (among.argmax(axis=1), among.max(axis=1))
        for among in (np.where(side, scores, -np.inf) for side in (~is_new, is_new))
    )
    split = BaseAndNew(
        gap=score_base - score_new,
        n_base=count[best_base],
        n_new=count[best_new],
        right_if_base=classes[best_base] == right,
        right_if_new=classes[best_new] == right,
        code=right,
        is_new=np.isin(right, new),
    )
    # With equally many examples, no strength of the bias changes the prediction.
    has_fewer = split.n_new < split.n_base
    return BaseAndNew(*(part[has_fewer] for part in split))


def _split_support_query(
    codes: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the rows, or the groups of rows, of every class into support and queries."""
    if groups is not None:
        owner = np.unique(groups, return_inverse=True)[1]
        as_support = (rng.permutation(owner.max() + 1) % 2 == 0)[owner]
        return as_support, ~as_support
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    as_support = np.empty(len(codes), dtype=bool)
    as_support[order] = place_in_class(codes[order]) % 2 == 0
    return as_support, ~as_support


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
