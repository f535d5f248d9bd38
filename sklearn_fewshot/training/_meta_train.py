"""Meta-training, a function of values: from a config and data to a trained network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from ..calibration import EncodedData, calibrate
from ..network import FittedNetwork, Observations, Recipe, RegressionNetwork, Representation
from ..nn import (
    DataTensor,
    EmbeddingModule,
    EpisodeLoader,
    FewShotModule,
    ValidationEpisodes,
    embed,
    resolve_augmentation,
    resolve_device,
    resolve_precision,
)
from ..nn.backbones._linear_start import FrontAndTop
from ..nn.heads import PrototypicalHead
from ..nn.optimization import AdaptingModule
from ..nn.optimization._adapting import embedding_part, without_front
from ..utils._progress import progress
from ..utils._warnings import warn_user
from ._calibrated import calibrate_by_attributes, carry_over_refit, represent_attributes
from ._callbacks import check_callbacks, copy_callbacks, without_loggers
from ._checkpoint import Checkpoint, CheckpointPart
from ._config import Task, TrainingConfig
from ._data import TrainingData
from ._encoded import encoded_data, represent
from ._net import EpisodicTask, history_rows, train
from ._sklearn_callbacks import FitTask
from ._start import AS_BUILT, Start, Untrained, start_front, start_training
from ._values import calibrate_values, observe_task

N_VALIDATION_QUERIES = 6000  # standard error of 0.4 points at an accuracy of 90 %
N_COSTLY_QUERIES = 2000  # where adapting takes long: 0.7 points


class Trained(NamedTuple):
    """What training comes to.

    Parameters
    ----------
    network : FittedNetwork
        The trained network, calibrated.
    representation : Representation or Observations
        Of the base classes; or what predictions without a support set adapt to.
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
    first_network : FittedNetwork
        That of the first training, which has not seen the held-out classes; ``network`` itself if
        there was no second.
    """

    network: FittedNetwork
    representation: Representation | Observations
    net: Any
    history: list[dict[str, Any]]
    best_epoch: int
    n_way: Any
    start: Start
    measured: dict[str, Any]
    first_network: FittedNetwork


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
    owner : str
        Which of several learners is trained.
    """

    task: FitTask = FitTask()
    describe: Callable[[Trained], dict[str, Any]] = lambda trained: {}
    checkpoint: Checkpoint | None = None
    owner: str = ""

    def of_learner(self, name: str) -> Watch:
        """Begin the fit of one of several learners."""
        return self._replace(task=self.task.begin(name, max_subtasks=2), owner=name)

    def begin(self, name: str, n_epochs: int) -> Watch:
        """Begin one training within the fit."""
        return self._replace(task=self.task.begin(name, max_subtasks=n_epochs))

    def part(self, name: str) -> CheckpointPart | None:
        """Return where the state of one training is kept."""
        part = f"{self.owner}, {name}" if self.owner else name
        return None if self.checkpoint is None else self.checkpoint.part(part)


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
    again.network.calibration = carry_over_refit(first.network, again.network, data)
    if first.network.initial is not None and again.network.initial is not None:
        before, after = first.network.initial, again.network.initial
        after.calibration = carry_over_refit(before, after, data)
    return first._replace(network=again.network, representation=again.representation, net=again.net)


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
    if start is None:
        start_front(config, network.module, data)
    config = _cap_ways(config, network.module.n_outputs)
    trained, store = _trainable_part(config, network.module, data, device)
    task = Task(data, store, config.sampler(data, data.training), rng, device)
    _check_episodes(config, task, network.module.max_support)
    valid = _validation_episodes(config, task, network.module)
    network = network._replace(trained=trained)
    method = AS_BUILT
    if start is None:
        wanted = None if first is None else first.start
        network, method = start_training(config, network, task, wanted)
    finish = partial(_finish, config, task, start=method, is_refit=first is not None)
    fit_task = watch.task.knowing(
        lambda net: watch.describe(finish(copy.deepcopy(network), net, epoch=len(net.history)))
    )
    titles = (watch.owner, "" if first is None else "again on all classes")
    title = ", ".join(filter(None, titles))
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
    """Return what is trained and its inputs: what a front end makes of them, computed once."""
    initial = embedding_part(module)
    if not isinstance(initial, EmbeddingModule):
        if config.freeze_backbone:
            raise ValueError(
                f"{config.owner} has freeze_backbone=True, but {type(module).__name__} has no "
                "backbone to freeze. Set freeze_backbone=False."
            )
        return module, DataTensor(data.X, device, config.input_scale)
    if not isinstance(initial.backbone, FrontAndTop) or config.augment is not None:
        if isinstance(module, EmbeddingModule):
            module.autocast_dtype = resolve_precision(
                config.precision, device, len(config.recipe.input_shape)
            )
        return module, DataTensor(data.X, device, config.input_scale)
    embedding = config.embedded
    if embedding is None:
        embedding = embed_by_front(config, initial.backbone.front, data.X)
    return without_front(module), DataTensor(embedding, device)


def embed_by_front(config: TrainingConfig, front: torch.nn.Module, X: np.ndarray) -> np.ndarray:
    """Compute once what a front end, which is not trained, makes of samples."""
    with progress(len(X), "sample", config.verbose, desc="embedding", leave=False) as add:
        return embed(
            front,
            X,
            scale=config.input_scale,
            batch_size=config.predict_batch_size,
            on_rows=add,
        )


def _validation_episodes(
    config: TrainingConfig, task: Task, module: FewShotModule
) -> ValidationEpisodes | None:
    """Freeze as many episodes of held-out classes as make their accuracy certain enough."""
    usable = task.data.usable(task.data.validation)
    if usable.sum() < (2 if task.data.values is None else 1):  # of one class every answer is right
        return None
    config = config.measuring()
    sampler = config.sampler(task.data, task.data.validation)
    n_queries = N_COSTLY_QUERIES if module.is_costly else N_VALIDATION_QUERIES
    n_way = np.max(sampler.n_way_)
    if task.data.class_tasks is not None:
        n_way = min(n_way, task.data.class_tasks.mean_size(usable))
    n_episodes = -(-n_queries // (n_way * config.n_query))
    return task.episodes(int(n_episodes), sampler)


def _cap_ways(config: TrainingConfig, n_outputs: int | None) -> TrainingConfig:
    """Return the config with no more classes in an episode than the module has outputs."""
    if n_outputs is None:
        return config
    ways = config.n_way
    if isinstance(ways, (tuple, list)):
        return config.replace(n_way=tuple(min(way, n_outputs) for way in ways))
    return config.replace(n_way=n_outputs if ways == "all" else min(ways, n_outputs))


def _check_episodes(config: TrainingConfig, task: Task, most: int | None) -> None:
    """Raise if episodes may have more support examples than the module reads."""
    n_way, n_shot = np.max(task.sampler.n_way_), np.max(config.n_shot)
    if most is not None and n_way * n_shot > most:
        raise ValueError(
            f"{config.owner} reads at most {most} examples of a support set. Got episodes of up to "
            f"{n_way} classes with {n_shot} examples each. Lower n_way or n_shot."
        )


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
        max_seconds=config.max_seconds,
        clip_norm=config.clip_norm,
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
        rotate=config.rotate_support,
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
    return type(module)(compiled, module.head, module.autocast_dtype)


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
    config.finish(network.trained, task)
    measured = {} if is_refit else config.measure(network.trained, task)
    if isinstance(network.module, EmbeddingModule):
        network.module.autocast_dtype = None
    kind = FittedNetwork if data.values is None else RegressionNetwork
    fitted = fitted_network(config, network.module, network.recipe, kind)
    representation: Representation | Observations
    if isinstance(fitted, RegressionNetwork) and data.values is not None:
        fitted.n_targets = data.values.shape[1]
        # A network that is adapted as a whole takes samples.
        is_whole = fitted.initial is not None
        rows = data.X if is_whole else encoded_data(network, fitted, task)[:]
        representation = observe_task(fitted, rows, data)
        if config.calibrate and not is_refit:
            fitted.calibration = calibrate_values(fitted, rows, data, verbose)
    elif data.attributes is None:
        with progress(len(data.X), "sample", verbose, desc="embedding", leave=False) as add:
            representation = represent(
                fitted.of_base, encoded_data(network, fitted.of_base, task, add), data
            )
        if config.calibrate and not is_refit:
            again = encoded_data(network, fitted.of_base, task)
            encoded = EncodedData(again, data.codes, data.groups, data.class_tasks)
            fitted.of_base.calibration = calibrate(fitted.of_base, encoded, data.held_out, verbose)
            if fitted.initial is not None:
                if not fitted.embeds_rows:
                    encoded = encoded._replace(rows=data.X)
                fitted.calibration = calibrate(fitted, encoded, data.held_out, verbose)
    else:
        representation = represent_attributes(fitted, data.attributes)
        if config.calibrate and not is_refit:
            fitted.calibration = calibrate_by_attributes(config, fitted, data)
    history, n_way = history_rows(net), task.sampler.n_way_
    return Trained(fitted, representation, net, history, epoch, n_way, start, measured, fitted)


def fitted_network(
    config: TrainingConfig,
    module: FewShotModule,
    recipe: Recipe,
    kind: type[FittedNetwork] = FittedNetwork,
) -> FittedNetwork:
    """Return a trained module as a network that can predict, not calibrated."""
    fitted = kind(
        module,
        recipe,
        input_scale=config.input_scale,
        device=str(config.device),
        batch_size=config.predict_batch_size,
        autocast_dtype=torch.bfloat16 if config.precision == "bfloat16" else None,
    )
    fitted.input_range = config.input_range
    if isinstance(module, AdaptingModule):
        options = {k: v for k, v in recipe.options.items() if k != "adaptation"}
        initial = Recipe(EmbeddingModule, recipe.input_shape, options)
        fitted.initial = fitted_network(config, module.initial, initial)
    elif isinstance(module, EmbeddingModule) and not module.head.compares_base:
        options = recipe.options | {"head": PrototypicalHead, "head_options": {}}
        initial = Recipe(EmbeddingModule, recipe.input_shape, options)
        means = EmbeddingModule(module.backbone, PrototypicalHead())
        fitted.initial = fitted_network(config, means, initial)
    return fitted
