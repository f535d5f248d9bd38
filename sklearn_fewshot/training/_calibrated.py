"""Calibration of trained networks: on held-out classes, and after a refit."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..calibration import (
    Calibration,
    EncodedData,
    SampledQueries,
    carry_over,
    fit_temperature,
    sample_queries,
    sample_queries_by_attributes,
)
from ..episodes import some_of_each, thinned
from ..network import FittedNetwork, Representation, ScoreModel
from ..nn import EpisodicCrossEntropy
from ._config import TrainingConfig
from ._data import TrainingData, usable_classes

MAX_CLASSES_COMPARED = 100  # by the networks before and after a refit ...
MAX_ROWS_COMPARED = 50  # ... and examples of each
MAX_ROWS_SCORED = 5000  # by attributes


def carry_over_refit(
    first: FittedNetwork, again: FittedNetwork, data: TrainingData
) -> ScoreModel | None:
    """Return the calibration of a refitted network, to which no class is new."""
    calibration = first.calibration
    if not isinstance(calibration, Calibration):
        return calibration
    if data.attributes is not None:
        sample = partial(_sample_by_attributes, data=data, classes=data.training)
    else:
        sample = partial(_sample_training_classes, data=data, tasks=calibration.tasks)
    before, after = sample(first), sample(again)
    return carry_over(calibration, before, after) if before else calibration


def _sample_training_classes(
    network: FittedNetwork, data: TrainingData, tasks: list[tuple[int, int]]
) -> list[SampledQueries]:
    """Score queries of training classes, for some ways and shots."""
    some = _some_training_classes(data)
    rows = np.flatnonzero(np.isin(data.codes, some))
    rows = rows[some_of_each(data.codes[rows], MAX_ROWS_COMPARED, np.random.default_rng(0))]
    codes = np.unique(data.codes[rows], return_inverse=True)[1]
    groups = None if data.groups is None else data.groups[rows]
    class_tasks = None if data.class_tasks is None else data.class_tasks.take(some)
    usable = usable_classes(codes, groups, np.ones(len(some), dtype=bool), class_tasks)
    if usable.sum() < 2:
        return []
    encoded = EncodedData(network.encode(data.X[rows]), codes, groups, class_tasks)
    encoded = encoded.of_classes(usable)
    return list(sample_queries(network, encoded, tasks, np.random.default_rng(0)))


def _some_training_classes(data: TrainingData) -> np.ndarray:
    """Return about equally spaced training classes, those of a task together."""
    classes = np.flatnonzero(data.training)
    step = -(-len(classes) // MAX_CLASSES_COMPARED)
    if data.class_tasks is None:
        return classes[::step]
    owner = data.class_tasks.task[classes]
    return classes[np.isin(owner, np.unique(owner)[::step])]


def represent_attributes(network: FittedNetwork, attributes: np.ndarray) -> Representation:
    """Return what represents classes by their attributes, (n_classes, n_attributes)."""
    every = np.arange(len(attributes))
    return network.condense(Representation.of_examples(attributes, every, len(every)))


def calibrate_by_attributes(
    config: TrainingConfig, network: FittedNetwork, data: TrainingData
) -> Calibration | None:
    """Fit the temperature on held-out classes; on all, if there are none."""
    held_out = data.validation.any()
    if not held_out and isinstance(config.criterion, EpisodicCrossEntropy):
        return None  # the temperature of least loss on these classes is what was trained
    sizes = _sample_by_attributes(network, data, data.held_out)
    return Calibration(fit_temperature(sizes), None, None, None, int(data.validation.sum()))


def _sample_by_attributes(
    network: FittedNetwork, data: TrainingData, classes: np.ndarray
) -> list[SampledQueries]:
    """Score queries of some classes, bool of shape (n_classes,), among some of these."""
    assert data.attributes is not None
    rows = thinned(np.flatnonzero(classes[data.codes]), data.codes, MAX_ROWS_SCORED)
    items = represent_attributes(network, data.attributes[classes])
    codes = (np.cumsum(classes) - 1)[data.codes[rows]]
    return sample_queries_by_attributes(network, items, network.encode(data.X[rows]), codes)
