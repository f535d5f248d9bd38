"""Meta-training, a function of values: from a config and data to a trained network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from ..calibration import (
    Calibration,
    EncodedData,
    SampledQueries,
    calibrate,
    carry_over,
    fit_temperature,
    sample_queries,
    sample_queries_by_attributes,
)
from ..episodes import drawable_classes, some_of_each, thinned
from ..network import FittedNetwork, Representation
from ..nn import (
    DataTensor,
    EmbeddingModule,
    EpisodeLoader,
    EpisodicCrossEntropy,
    FewShotModule,
    ValidationEpisodes,
    embed,
    resolve_augmentation,
    resolve_device,
    resolve_precision,
)
from ..nn._embedding_module import frozen_and_top
from ..utils._progress import progress
from ..utils._warnings import warn_user
from ._callbacks import check_callbacks, copy_callbacks, without_loggers
from ._checkpoint import Checkpoint, CheckpointPart
from ._config import Task, TrainingConfig
from ._data import TrainingData
from ._net import EpisodicTask, history_rows, train
from ._sklearn_callbacks import FitTask
from ._start import AS_BUILT, Start, Untrained, start_training

N_VALIDATION_QUERIES = 6000  # standard error of 0.4 points at an accuracy of 90 %
MAX_CLASSES_COMPARED = 100  # by the networks before and after a refit ...
MAX_ROWS_COMPARED = 50  # ... and examples of each
MAX_ROWS_SCORED = 5000  # by attributes
MAX_ROWS_KEPT = 1000  # of base classes, by modules that cannot condense them


class Trained(NamedTuple):
    """What training comes to.

    Parameters
    ----------
    network : FittedNetwork
        The trained network, calibrated.
    representation : Representation
        Of the base classes.
    net : skorch.NeuralNet
        What trained it.
    history : list of dict
        One an epoch.
    best_epoch : int
        The epoch whose weights are kept; 0 is the start.
    n_way : int or tuple of int
        Classes in a training episode.
    start : Start
        The linear method that training started from.
    measured : dict
        What held-out classes say, by the name of the learner's attribute.
    """

    network: FittedNetwork
    representation: Representation
    net: Any
    history: list[dict[str, Any]]
    best_epoch: int
    n_way: Any
    start: Start
    measured: dict[str, Any]


class Watch(NamedTuple):
    """Who follows the training, and where its state is kept.

    Parameters
    ----------
    task : FitTask
        What scikit-learn's callbacks know the fit as.
    describe : callable
        From a :class:`Trained` to the attributes of the learner, for callbacks that ask.
    checkpoint : Checkpoint or None
        Where the state is kept after each epoch.
    """

    task: FitTask = FitTask()
    describe: Callable[[Trained], dict[str, Any]] = lambda trained: {}
    checkpoint: Checkpoint | None = None

    def begin(self, name: str, n_epochs: int) -> Watch:
        """Begin one training within the fit."""
        return self._replace(task=self.task.begin(name, max_subtasks=n_epochs))

    def part(self, name: str) -> CheckpointPart | None:
        """Return where the state of one training is kept."""
        return None if self.checkpoint is None else self.checkpoint.part(name)


def meta_train(
    config: TrainingConfig,
    data: TrainingData,
    rng: np.random.Generator,
    *,
    start: FittedNetwork | None = None,
    watch: Watch = Watch(),  # noqa: B008 (an empty tuple)
) -> Trained:
    """Train on the training classes, then once more on all classes if the config says so.

    Parameters
    ----------
    config : TrainingConfig
        How to train.
    data : TrainingData
        Samples, classes and which of them are held out.
    rng : numpy.random.Generator
        Source of randomness of the plans; weights draw from torch's global generator.
    start : FittedNetwork or None
        A network to continue from; None starts from new weights.
    watch : Watch
        Follows the training. An interrupted fit is prepared again from its seed, and each of its
        trainings resumes from its state in the checkpoint.

    Returns
    -------
    trained : Trained
        With the history and the measurements of the first training, and the network of the last.
    """
    check_callbacks(
        config.callbacks,
        config.owner,
        has_validation=bool(data.validation.any()),
        has_schedule=config.lr_factor is not None,
    )
    here = watch.begin("train", config.max_epochs)
    first = train_once(config, data, rng, start=start, watch=here, saved=watch.part("train"))
    if here.task.end() or not _should_refit(config, data, first, start):
        return first
    here = watch.begin("refit", first.best_epoch)
    again = train_once(
        config,
        data.with_all_classes(),
        rng,
        first=first,
        watch=here,
        saved=watch.part("refit"),
    )
    here.task.end()
    again.network.calibration = _carry_over(first.network, again.network, data)
    return first._replace(network=again.network, representation=again.representation, net=again.net)


def _carry_over(first: FittedNetwork, again: FittedNetwork, data: TrainingData) -> Any:
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
    classes = np.flatnonzero(data.training)
    some = classes[:: -(-len(classes) // MAX_CLASSES_COMPARED)]
    rows = np.flatnonzero(np.isin(data.codes, some))
    rows = rows[some_of_each(data.codes[rows], MAX_ROWS_COMPARED, np.random.default_rng(0))]
    codes = np.unique(data.codes[rows], return_inverse=True)[1]
    groups = None if data.groups is None else data.groups[rows]
    usable = drawable_classes(codes, groups)
    if usable.sum() < 2:
        return []
    encoded = EncodedData(network.encode(data.X[rows]), codes, groups).of_classes(usable)
    return list(sample_queries(network, encoded, tasks, np.random.default_rng(0)))


def may_refit(config: TrainingConfig, data: TrainingData, start: FittedNetwork | None) -> bool:
    """Whether there may be a second training, on all classes."""
    return config.refit and start is None and bool(data.validation.any())


def _should_refit(
    config: TrainingConfig, data: TrainingData, first: Trained, start: FittedNetwork | None
) -> bool:
    # An untrained network that starts from no data would be unchanged by a refit.
    is_fitted = first.best_epoch > 0 or first.start.is_fitted or config.refits_start
    return may_refit(config, data, start) and is_fitted


def train_once(
    config: TrainingConfig,
    data: TrainingData,
    rng: np.random.Generator,
    *,
    start: FittedNetwork | None = None,
    first: Trained | None = None,
    watch: Watch = Watch(),  # noqa: B008 (an empty tuple)
    saved: CheckpointPart | None = None,
) -> Trained:
    """Build, start, train and calibrate a network.

    Parameters
    ----------
    config, data, rng, start, watch
        As in :func:`meta_train`.
    first : Trained or None
        The training that this one repeats on all classes, with the same start and up to its best
        epoch: then nothing is held out to measure by.
    saved : CheckpointPart or None
        Where the state is kept after each epoch.

    Returns
    -------
    trained : Trained
    """
    device = resolve_device(config.device)
    network = _build(config, start, device)
    config = _cap_ways(config, network.module.n_outputs)
    trained, store = _trainable_part(config, network.module, data, device)
    task = Task(data, store, config.sampler(data, data.training), rng, device)
    valid = _validation_episodes(config, task)
    network = network._replace(trained=trained)
    method = AS_BUILT
    if start is None:
        wanted = None if first is None else first.start
        network, method = start_training(config, network, task, wanted)
    finish = partial(_finish, config, task, start=method, is_refit=first is not None)
    fit_task = watch.task.knowing(
        lambda net: watch.describe(finish(copy.deepcopy(network), net, epoch=len(net.history)))
    )
    title = "" if first is None else "again on all classes"
    history = [] if first is None else first.history
    episodes = EpisodicTask(_load(config, task), valid, title, fit_task, saved, history)
    net, best_epoch = _train(config, network.trained, task, episodes, first)
    return finish(network, net, epoch=best_epoch, verbose=config.verbose)


def _build(config: TrainingConfig, start: FittedNetwork | None, device: torch.device) -> Untrained:
    """Return the network that training starts from, fresh or fitted before."""
    recipe = config.recipe
    if start is None:
        module = recipe.build()
    else:
        _check_continues(config, start)
        recipe = start.recipe
        module = recipe.build()
        module.load_state_dict(start.module.state_dict())
    module.to(device)
    return Untrained(recipe, module, module)


def _check_continues(config: TrainingConfig, start: FittedNetwork) -> None:
    owner, recipe = config.owner, config.recipe
    before_shape, now_shape = start.recipe.input_shape, recipe.input_shape
    if start.takes_any_length and len(now_shape) == 2:  # of a series the channels have to agree
        before_shape, now_shape = before_shape[:1], now_shape[:1]
    if before_shape != now_shape:
        raise ValueError(
            f"{owner} has warm_start=True and was fitted on samples of shape "
            f"{start.recipe.input_shape}. Got samples of shape {recipe.input_shape}."
        )
    before, now = (it.options.get("backbone") for it in (start.recipe, recipe))
    if before != now:
        raise ValueError(
            f"{owner} has warm_start=True and was fitted with backbone={before!r}. Got backbone="
            f"{now!r}: set it back, or fit with warm_start=False."
        )


def _trainable_part(
    config: TrainingConfig, module: FewShotModule, data: TrainingData, device: torch.device
) -> tuple[FewShotModule, DataTensor]:
    """Return what is trained and its inputs: with a frozen backbone, rows embedded once."""
    if not isinstance(module, EmbeddingModule):
        if config.freeze_backbone:
            raise ValueError(
                f"{config.owner} has freeze_backbone=True, but {type(module).__name__} has no "
                "backbone to freeze. Set freeze_backbone=False."
            )
        return module, DataTensor(data.X, device, config.input_scale)
    if not config.freeze_backbone:
        module.autocast_dtype = resolve_precision(
            config.precision, device, len(config.recipe.input_shape)
        )
        return module, DataTensor(data.X, device, config.input_scale)
    frozen, top = frozen_and_top(module.backbone)
    with progress(len(data.X), "sample", config.verbose, desc="embedding", leave=False) as add:
        embedding = embed(
            frozen,
            data.X,
            scale=config.input_scale,
            batch_size=config.predict_batch_size,
            on_rows=add,
        )
    return EmbeddingModule(top, module.head), DataTensor(embedding, device)


def _validation_episodes(config: TrainingConfig, task: Task) -> ValidationEpisodes | None:
    """Freeze as many episodes of held-out classes as make their accuracy certain enough."""
    usable = task.data.validation & drawable_classes(task.data.codes, task.data.groups)
    if usable.sum() < 2:  # with a single class every answer would be right
        return None
    sampler = config.sampler(task.data, task.data.validation)
    n_episodes = -(-N_VALIDATION_QUERIES // (np.max(sampler.n_way_) * config.n_query))
    return task.episodes(int(n_episodes), sampler)


def _cap_ways(config: TrainingConfig, n_outputs: int | None) -> TrainingConfig:
    """Return the config with no more classes in an episode than the module has outputs."""
    if n_outputs is None:
        return config
    ways = config.n_way
    if isinstance(ways, (tuple, list)):
        return config.replace(n_way=tuple(min(way, n_outputs) for way in ways))
    return config.replace(n_way=n_outputs if ways == "all" else min(ways, n_outputs))


def _train(
    config: TrainingConfig,
    module: FewShotModule,
    task: Task,
    episodes: EpisodicTask,
    first: Trained | None,
) -> tuple[Any, int]:
    """Train in place; returns the skorch net and the epoch whose weights were kept."""
    if config.compile:
        module = _compile(config, module)
    if config.wrap is not None:
        module = config.wrap(module, task)
    n_epochs = config.max_epochs if first is None else first.best_epoch
    callbacks = config.callbacks if first is None else without_loggers(config.callbacks)
    if n_epochs and not any(p.requires_grad for p in module.parameters()):
        warn_user(
            f"{config.owner} has nothing to train: neither its backbone nor its head has weights "
            "that learn. It compares as it is built; max_epochs=0 says so without a warning."
        )
        n_epochs = 0
    return train(
        module.to(task.device),
        config.criterion,
        episodes,
        optimizer=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        lr_factor=config.lr_factor,
        max_epochs=n_epochs,
        schedule_epochs=config.max_epochs,
        patience=config.patience,
        device=task.device,
        # Some of skorch fail at the end of a training without an epoch.
        callbacks=copy_callbacks(callbacks) if n_epochs > 0 else [],
        verbose=config.verbose,
        net_params=config.net_params,
    )


def _load(config: TrainingConfig, task: Task) -> Any:
    """Return the batches of an epoch; what is returned has a state, for interrupted fits."""
    if config.load is not None:
        return config.load(task)
    return EpisodeLoader(
        task.store,
        task.sampler,
        n_episodes=config.episodes_per_epoch,
        meta_batch_size=config.meta_batch_size,
        rng=task.rng,
        augment=resolve_augmentation(config.augment),
        attributes=task.attributes,
        values=task.values,
    )


def _compile(config: TrainingConfig, module: FewShotModule) -> FewShotModule:
    if not isinstance(module, EmbeddingModule):
        raise ValueError(
            f"{config.owner} has compile={config.compile!r}, but {type(module).__name__} has no "
            "backbone to compile. Set compile=False."
        )
    mode = config.compile if isinstance(config.compile, str) else None
    compiled = torch.compile(module.backbone, mode=mode)
    assert isinstance(compiled, torch.nn.Module)
    return EmbeddingModule(compiled, module.head, module.autocast_dtype)


def _finish(
    config: TrainingConfig,
    task: Task,
    network: Untrained,
    net: Any,
    *,
    epoch: int,
    start: Start,
    is_refit: bool,
    verbose: int = 0,
) -> Trained:
    """Turn a trained module into a network that can predict."""
    data = task.data
    measured = {} if is_refit else config.measure(network.trained, task)
    if isinstance(network.module, EmbeddingModule):
        network.module.autocast_dtype = None
    fitted = FittedNetwork(
        network.module,
        network.recipe,
        input_scale=config.input_scale,
        device=str(config.device),
        batch_size=config.predict_batch_size,
        autocast_dtype=torch.bfloat16 if config.precision == "bfloat16" else None,
    )
    fitted.input_range = config.input_range
    if data.attributes is None:
        with progress(len(data.X), "sample", verbose, desc="embedding", leave=False) as add:
            rows = _encode_again(config, fitted, task, add)
        representation = _represent(fitted, rows, data)
        if config.calibrate and not is_refit:
            encoded = EncodedData(rows, data.codes, data.groups)
            fitted.calibration = calibrate(fitted, encoded, data.held_out, verbose)
    else:
        representation = represent_attributes(fitted, data.attributes)
        if config.calibrate and not is_refit:
            fitted.calibration = _calibrate_by_attributes(config, fitted, data)
    history, n_way = history_rows(net), task.sampler.n_way_
    return Trained(fitted, representation, net, history, epoch, n_way, start, measured)


def _encode_again(
    config: TrainingConfig, network: FittedNetwork, task: Task, on_rows: Callable[[int], object]
) -> np.ndarray:
    """Encode the training data with the trained network, a frozen part of it only once."""
    if not config.freeze_backbone:
        return network.encode(task.data.X, on_rows)
    assert isinstance(network.module, EmbeddingModule)
    _, top = frozen_and_top(network.module.backbone)
    inputs = task.store.as_array()
    return embed(top, inputs, batch_size=config.predict_batch_size, on_rows=on_rows)


def _represent(network: FittedNetwork, rows: np.ndarray, data: TrainingData) -> Representation:
    """Return what represents the base classes."""
    codes = data.codes
    if not network.joins:
        kept = thinned(np.arange(len(codes)), codes, MAX_ROWS_KEPT)
        rows, codes = rows[kept], codes[kept]
    return network.condense(Representation.of_examples(rows, codes, len(data.classes)))


def represent_attributes(network: FittedNetwork, attributes: np.ndarray) -> Representation:
    """Return what represents classes by their attributes, (n_classes, n_attributes)."""
    every = np.arange(len(attributes))
    return network.condense(Representation.of_examples(attributes, every, len(every)))


def _calibrate_by_attributes(
    config: TrainingConfig, network: FittedNetwork, data: TrainingData
) -> Calibration | None:
    """Fit the temperature on held-out classes; on all, if there are none."""
    held_out = data.validation.any()
    if not held_out and isinstance(config.criterion, EpisodicCrossEntropy):
        return None  # the temperature of least loss on these classes is what was trained
    sizes = _sample_by_attributes(network, data, data.held_out)
    return Calibration(fit_temperature(sizes), None, None, int(data.validation.sum()))


def _sample_by_attributes(
    network: FittedNetwork, data: TrainingData, classes: np.ndarray
) -> list[SampledQueries]:
    """Score queries of some classes, bool of shape (n_classes,), among some of these."""
    assert data.attributes is not None
    rows = thinned(np.flatnonzero(classes[data.codes]), data.codes, MAX_ROWS_SCORED)
    items = represent_attributes(network, data.attributes[classes])
    codes = (np.cumsum(classes) - 1)[data.codes[rows]]
    return sample_queries_by_attributes(network, items, network.encode(data.X[rows]), codes)
