"""Meta-training, written once for the whole family of learners."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator

from ..calibration._held_out import calibrate
from ..episodes._holdout import drawable_classes, held_out_classes
from ..episodes._sampler import EpisodeSampler
from ..network import FittedNetwork, Recipe, Representation
from ..nn import (
    AUGMENTATIONS,
    METRICS,
    DataTensor,
    EpisodeLoader,
    EpisodicCrossEntropy,
    EpisodicModule,
    ValidationEpisodes,
    embed,
    evaluate,
    resolve_augmentation,
    resolve_device,
    resolve_precision,
    says_what_to_lower,
    score_frozen,
)
from ..nn.backbones import BACKBONES, has_linear_start
from ..nn.heads import PrototypicalHead
from ..training._checkpoint import Checkpoint, CheckpointPart, opened
from ..training._fingerprint import fingerprint
from ..training._net import OPTIMIZERS, EpisodicTask, callback_parameters, history_rows, train
from ..training._sklearn_callbacks import CallbackSupport, FitTask, with_callbacks
from ..training._start import Untrained
from ..utils._fresh import unfitted_copy
from ..utils._random import draw_seed, seeded_torch
from ..utils._sklearn import Interval, StrOptions
from ..utils._validation import (
    check_aligned,
    check_labels,
    check_X,
    column_moments,
    encode_labels,
    group_of_class,
    input_scale,
    is_known,
    label_text,
)
from ..utils._warnings import warn_user

# Parameters that no result depends on.
WITHOUT_EFFECT = {"checkpoint", "verbose"}

TRAINING_MEMORY = (
    "Lower meta_batch_size, n_way, n_shot or n_query (fewer samples a step), or predict_batch_size "
    "(fewer embedded at once), or take a smaller backbone."
)

N_VALIDATION_QUERIES = 6000  # standard error of 0.4 points at an accuracy of 90 %
N_START_EPISODES = 20  # episodes that a start is judged by, and its scale measured on
FEW_CLASSES = 100  # with fewer, held-out classes are missed in training: train again on all


TORN_CLASS = (
    "class_groups must give every class one group. {torn}. For who drew or spoke a sample, use "
    "groups."
)


def cosine_schedule(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine."""
    return 0.5 * (1.0 + float(np.cos(np.pi * progress)))


def step_schedule(progress: float) -> float:
    """Halve at every tenth of the training."""
    return float(0.5 ** int(10 * progress))


SCHEDULES: dict[str, Callable[[float], float] | None] = {
    "cosine": cosine_schedule,
    "step": step_schedule,
    "constant": None,
}


# Of learners that compare by a distance.
METRIC_CONSTRAINTS: dict[str, list[Any]] = {
    "metric": [StrOptions(set(METRICS)), callable],
    "scale": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "learn_scale": ["boolean"],
}


class _TrainingData(NamedTuple):
    X: np.ndarray  # (n_samples, *input_shape)
    codes: np.ndarray  # (n_samples,) class codes
    classes: np.ndarray  # (n_classes,) labels
    groups: np.ndarray | None  # (n_samples,)
    validation: np.ndarray  # (n_classes,) bool, held-out classes
    reserved: np.ndarray | None = None  # (n_samples,) bool, rows kept from training

    def rows_of(self, drawn: np.ndarray) -> np.ndarray:
        """Return the rows of some classes, (n_classes,) bool, that may be trained on."""
        inside = drawn[self.codes]
        return np.flatnonzero(inside if self.reserved is None else inside & ~self.reserved)


def _as_judged(module: EpisodicModule) -> EpisodicModule:
    """Return the module with a head that says how good an embedding is before training."""
    head = module.head if module.head.exact else PrototypicalHead()
    return EpisodicModule(module.backbone, head)


class BaseMetaLearner(CallbackSupport, BaseEstimator):
    """Trains a network on episodes; the base of the base of all learners.

    A learner defines its own parameters and one hook, :meth:`_head` (which head, with which
    options); where it differs from the rest of the family also :meth:`_criterion`,
    :meth:`_backbone`, :meth:`_trainable`, :meth:`_loader` and :meth:`_calibrate`.
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "backbone": [StrOptions({"auto", *BACKBONES}), torch.nn.Module, callable],
        "n_way": [Interval(Integral, 2, None, closed="left"), StrOptions({"all"}), tuple, list],
        "n_shot": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "n_query": [Interval(Integral, 1, None, closed="left")],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "episodes_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "lr_schedule": [StrOptions(set(SCHEDULES)), callable],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "validation_classes": ["array-like", None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "refit": ["boolean", StrOptions({"auto"})],
        "freeze_backbone": ["boolean"],
        "augment": [StrOptions(set(AUGMENTATIONS)), callable, None],
        "callbacks": [list, tuple, None],
        "input_shape": [tuple, list, None],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "calibrate": ["boolean"],
        "compile": ["boolean", StrOptions({"reduce-overhead", "max-autotune"})],
        "predict_batch_size": [Interval(Integral, 1, None, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_params": [dict, None],
    }

    def __init__(
        self,
        *,
        backbone: Any = "auto",
        n_way: Any = 60,
        n_shot: Any = (1, 5),
        n_query: int = 5,
        meta_batch_size: int = 1,
        episodes_per_epoch: int = 50,
        max_epochs: int = 30,
        optimizer: Any = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        lr_schedule: Any = "cosine",
        validation_fraction: float = 0.2,
        validation_classes: Any = None,
        patience: int | None = 10,
        refit: Any = "auto",
        freeze_backbone: bool = False,
        augment: Any = None,
        callbacks: Any = None,
        input_shape: Any = None,
        device: Any = "auto",
        precision: str = "auto",
        calibrate: bool = True,
        compile: Any = False,
        predict_batch_size: int = 128,
        checkpoint: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.backbone = backbone
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.meta_batch_size = meta_batch_size
        self.episodes_per_epoch = episodes_per_epoch
        self.max_epochs = max_epochs
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.validation_fraction = validation_fraction
        self.validation_classes = validation_classes
        self.patience = patience
        self.refit = refit
        self.freeze_backbone = freeze_backbone
        self.augment = augment
        self.callbacks = callbacks
        self.input_shape = input_shape
        self.device = device
        self.precision = precision
        self.calibrate = calibrate
        self.compile = compile
        self.predict_batch_size = predict_batch_size
        self.checkpoint = checkpoint
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    # ------------------------------------------------------------------ hooks

    def _head(self) -> tuple[type, dict[str, Any]]:
        """Return the head's class and its parameters."""
        raise NotImplementedError

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        """Whether the head starts from the distances that the untrained backbone gives."""
        return False

    def _backbone(self) -> Any:
        """Return the backbone to build: the ``backbone`` parameter."""
        return self.backbone

    def _criterion(self) -> torch.nn.Module:
        """Return the loss, a module called with (scores, target)."""
        return EpisodicCrossEntropy()

    def _trainable(
        self, module: EpisodicModule, data: _TrainingData, store: DataTensor
    ) -> EpisodicModule:
        """Return what is trained: the module itself, or one around its backbone and head."""
        return module

    def _loader(
        self,
        store: DataTensor,
        sampler: EpisodeSampler,
        data: _TrainingData,
        rng: np.random.Generator,
    ) -> Any:
        """Return the batches of training: episodes.

        What is returned has ``state_dict`` and ``load_state_dict``, for interrupted fits.
        """
        return EpisodeLoader(
            store,
            sampler,
            n_episodes=self.episodes_per_epoch,
            meta_batch_size=self.meta_batch_size,
            rng=rng,
            augment=resolve_augmentation(self.augment),
        )

    def _calibrate(
        self,
        module: EpisodicModule,
        store: DataTensor,
        data: _TrainingData,
        held_out: np.ndarray,
    ) -> None:
        """Learn from classes that were held out of training, before these are trained on too.

        Parameters
        ----------
        module : EpisodicModule
            The trained network.
        store : DataTensor
            Its inputs.
        data : _TrainingData
            Samples and classes.
        held_out : bool ndarray of shape (n_classes,)
            The classes that were held out; all classes if none were.
        """

    # ------------------------------------------------------------------ meta-training

    def _fit(self, X: Any, y: Any, groups: Any, class_groups: Any, **described: Any) -> Any:
        """Fit; ``described`` is what a learner takes beside what all take."""
        self._validate_params()
        if self.freeze_backbone and self.augment is not None:
            raise ValueError(
                f"{type(self).__name__} has augment and freeze_backbone=True, which embeds every "
                "sample once, as it is. Augment the samples before fit, or leave one of them out."
            )
        fresh = unfitted_copy(self)
        start = getattr(self, "_network", None) if self.warm_start else None
        settings = self._settings(start)  # before a RandomState is drawn from
        seed = draw_seed(self.random_state)
        check = partial(fresh._check_training_data, X, y, groups, class_groups, **described)
        with says_what_to_lower(TRAINING_MEMORY):
            data = check(seed)
            with fresh._unfinished_fit(settings, data, groups, class_groups, seed) as checkpoint:
                if checkpoint is not None and checkpoint.seed != seed:
                    seed = checkpoint.seed  # drawn by the fit that was interrupted
                    data = check(seed)
                fresh._warn_of_limits(data)
                with seeded_torch(seed, resolve_device(self.device)):
                    rng = np.random.default_rng(seed)
                    fresh._meta_train(data, rng, start, X, y, checkpoint)
        self.__dict__ = fresh.__dict__
        return self

    def _settings(self, start: FittedNetwork | None) -> str | None:
        """Name what the result depends on beside the data; None where nobody asks."""
        if self.checkpoint is None:
            return None
        params = self.get_params(deep=False)
        params = {name: params[name] for name in params.keys() - WITHOUT_EFFECT}
        params["callbacks"] = [callback_parameters(it) for it in self.callbacks or ()]
        device = resolve_device(self.device).type
        return fingerprint(params, device, None if start is None else start.module.state_dict())

    def _unfinished_fit(
        self, settings: str | None, data: _TrainingData, groups: Any, class_groups: Any, seed: int
    ) -> AbstractContextManager[Checkpoint | None]:
        """Take up what an interrupted fit of the same settings on the same data left behind."""
        if self.checkpoint is None:
            return nullcontext()
        aligned = [None if given is None else np.asarray(given) for given in (groups, class_groups)]
        checked = {name: value for name, value in vars(self).items() if name.endswith("_")}
        what = (settings, data.X, data.codes, aligned, checked)
        return opened(self.checkpoint, type(self).__name__, seed, *what)

    def _check_training_data(
        self, X: Any, y: Any, groups: Any, class_groups: Any, seed: int
    ) -> _TrainingData:
        """Validate everything that ``fit`` takes and hold out the validation classes."""
        shape = None if self.input_shape is None else tuple(self.input_shape)
        X = check_X(self, X, reset=True, input_shape=shape)
        y = check_labels(X, y)
        classes, codes = encode_labels(y)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes to draw episodes from. Got "
                f"{len(classes)} class: {label_text(classes)}."
            )
        self.classes_ = classes
        self.input_shape_ = X.shape[1:]
        self.input_scale_ = input_scale(X)
        groups = check_aligned("groups", groups, len(X))
        class_groups = check_aligned("class_groups", class_groups, len(X))
        owners = None
        if class_groups is not None:
            owners = group_of_class(codes, class_groups, classes, TORN_CLASS)
        rng = np.random.default_rng([seed, 1])
        if self.validation_classes is not None:
            validation = self._given_validation(classes)
        else:
            drawable = drawable_classes(codes, groups)
            validation = held_out_classes(drawable, self.validation_fraction, owners, rng)
        return _TrainingData(X, codes, classes, groups, validation)

    def _given_validation(self, classes: np.ndarray) -> np.ndarray:
        wanted = np.unique(np.asarray(self.validation_classes))
        unknown = wanted[~is_known(wanted, classes)]
        if len(unknown):
            raise ValueError(
                f"The 'validation_classes' parameter of {type(self).__name__} must hold labels "
                f"of y. Got {label_text(unknown)}, which y does not have."
            )
        held_out = is_known(classes, wanted)
        if min(held_out.sum(), (~held_out).sum()) < 2:
            raise ValueError(
                f"The 'validation_classes' parameter of {type(self).__name__} must leave at least "
                f"two classes on each side. Got {held_out.sum()} of {len(classes)} classes."
            )
        return held_out

    @with_callbacks
    def _meta_train(
        self,
        data: _TrainingData,
        rng: np.random.Generator,
        start: FittedNetwork | None,
        X: Any,
        y: Any,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Train on the training classes, then once more on all if classes are few.

        scikit-learn's callbacks see a task "fit" that consists of "train" and perhaps "refit", and
        these of epochs. They get X and y as ``fit`` got them.

        A fit that was interrupted is prepared again from its seed, and each of its trainings goes
        on from what the checkpoint holds of it.
        """
        train, refit = (checkpoint and checkpoint.part(name) for name in ("train", "refit"))
        self._base_mean, self._base_std = column_moments(data.X)
        fit = FitTask.of_fit(self, X, y, max_subtasks=1 + self._may_refit(data, start))
        task = fit.begin("train", max_subtasks=self.max_epochs)
        use_projection = self._train_once(data, rng, start, None, self.max_epochs, task, train)
        if not task.end() and self._should_refit(data, start, use_projection):
            self._refit(data, rng, use_projection, fit, refit)
        fit.knowing(dict).end()  # nothing to add: the learner is fitted

    def _refit(
        self,
        data: _TrainingData,
        rng: np.random.Generator,
        use_projection: bool,
        fit: FitTask,
        saved: CheckpointPart | None,
    ) -> None:
        """Train on all classes for as many epochs as were best."""
        history, n_way, best_epoch = self.history_, self.n_way_, self.best_epoch_
        calibration = self._network.calibration
        everything = data._replace(validation=np.zeros_like(data.validation), reserved=None)
        task = fit.begin("refit", max_subtasks=best_epoch)
        self._train_once(everything, rng, None, use_projection, best_epoch, task, saved)
        task.end()
        self.history_, self.n_way_, self.best_epoch_ = history, n_way, best_epoch
        self._network.calibration = calibration

    def _may_refit(self, data: _TrainingData, start: FittedNetwork | None) -> bool:
        if start is not None or not data.validation.any():
            return False
        if self.refit == "auto":
            return self.validation_classes is None and len(data.classes) < FEW_CLASSES
        return bool(self.refit)

    def _should_refit(
        self, data: _TrainingData, start: FittedNetwork | None, use_projection: bool
    ) -> bool:
        # An untrained network without a projection would come out as it is.
        return self._may_refit(data, start) and (self.best_epoch_ > 0 or use_projection)

    def _train_once(
        self,
        data: _TrainingData,
        rng: np.random.Generator,
        start: FittedNetwork | None,
        use_projection: bool | None,
        max_epochs: int,
        fit_task: FitTask,
        saved: CheckpointPart | None,
    ) -> bool:
        """Build, train and keep the network; sets the fitted attributes.

        Parameters
        ----------
        data : _TrainingData
            Samples, classes and which of them are held out.
        rng : numpy.random.Generator
            Source of randomness of the plans.
        start : FittedNetwork or None
            What to continue from.
        use_projection : bool or None
            Whether the linear path starts as the discriminant projection; None to find out.
        max_epochs : int
            Epochs to train.
        fit_task : FitTask
            What scikit-learn's callbacks know this training as.
        saved : CheckpointPart or None
            Where its state is kept after each epoch.

        Returns
        -------
        use_projection : bool
            What was decided.
        """
        is_refit = use_projection is not None
        device = resolve_device(self.device)
        train_sampler = self._sampler(data, ~data.validation)
        self.n_way_ = train_sampler.n_way_
        valid_sampler = self._sampler(data, data.validation) if data.validation.any() else None
        recipe, module = self._untrained(start)
        module.to(device)
        trained, store = self._trained_part(module, data, device)
        valid = self._validation_episodes(store, valid_sampler, rng)
        if start is None:
            network = Untrained(recipe, module, trained)
            if use_projection is None:
                use_projection = self._prefers_projection(network, data, store, rng)
            if use_projection:
                rows = np.flatnonzero(~data.validation[data.codes])
                network = network.with_projection(store, rows, data.codes)
            self._start_head(network.trained, data, store, train_sampler, rng)
            recipe, module, trained = network
        title = "again on all classes" if is_refit else ""
        networks, others = (module, trained), (recipe, data, store, is_refit)
        fit_task = fit_task.knowing(partial(self._as_of_now, networks, others))
        loader = self._loader(store, train_sampler, data, rng)
        task = EpisodicTask(loader, valid, title, fit_task, saved)
        self.net_, self.best_epoch_ = self._train(trained, data, task, device, max_epochs)
        self.history_ = history_rows(self.net_)
        self._finish(*networks, *others)
        return bool(use_projection)

    def _warn_of_limits(self, data: _TrainingData) -> None:
        """Say once what the data do not allow."""
        name = type(self).__name__
        n_clamped = self._sampler(data, ~data.validation).n_clamped_
        if n_clamped:
            warn_user(
                f"{n_clamped} of the {int((~data.validation).sum())} training classes of {name} "
                f"have too few examples for n_shot={self.n_shot} and n_query={self.n_query}: they "
                "take part with fewer, or, with a single example, not at all."
            )
        self._warn_of_no_validation(data)

    def _warn_of_no_validation(self, data: _TrainingData) -> None:
        name = type(self).__name__
        if not data.validation.any() and self.validation_fraction > 0:
            warn_user(
                f"{name} has no validation classes ({len(data.classes)} classes in all, "
                f"validation_fraction={self.validation_fraction}): it trains for max_epochs="
                f"{self.max_epochs} and keeps the last weights."
            )

    def _sampler(self, data: _TrainingData, drawn: np.ndarray) -> EpisodeSampler:
        """Return a sampler over the rows of the ``drawn`` classes."""
        rows = data.rows_of(drawn)
        members = np.flatnonzero(drawn)
        return EpisodeSampler(
            np.searchsorted(members, data.codes[rows]),
            **self._episode_size(),
            rows=rows,
            groups=None if data.groups is None else data.groups[rows],
            clamp=True,
            names=data.classes[members],
            owner=type(self).__name__,
        )

    def _episode_size(self) -> dict[str, Any]:
        return {"n_way": self.n_way, "n_shot": self.n_shot, "n_query": self.n_query}

    def _untrained(self, start: FittedNetwork | None) -> tuple[Recipe, EpisodicModule]:
        """Return the network that training starts from, fresh or (``warm_start``) fitted before."""
        if start is not None:
            if start.recipe.input_shape != self.input_shape_:
                raise ValueError(
                    f"{type(self).__name__} has warm_start=True and was fitted on samples of "
                    f"shape {start.recipe.input_shape}. Got samples of shape {self.input_shape_}."
                )
            if start.recipe.backbone != self._backbone():
                raise ValueError(
                    f"{type(self).__name__} has warm_start=True and was fitted with backbone="
                    f"{start.recipe.backbone!r}. Got backbone={self._backbone()!r}: set it back, "
                    "or fit with warm_start=False."
                )
            module = start.recipe.build()
            module.load_state_dict(start.module.state_dict())
            return start.recipe, module
        head, options = self._head()
        top = {} if self.freeze_backbone else None
        recipe = Recipe(self._backbone(), self.input_shape_, {}, top, head, options)
        return recipe, recipe.build()

    def _trained_part(
        self, module: EpisodicModule, data: _TrainingData, device: torch.device
    ) -> tuple[EpisodicModule, DataTensor]:
        """Return what is trained and its inputs: behind a frozen backbone, rows embedded once."""
        if not self.freeze_backbone:
            module.autocast_dtype = resolve_precision(
                self.precision, device, len(self.input_shape_)
            )
            return module, DataTensor(data.X, device, self.input_scale_)
        frozen, top = module.backbone
        embedding = embed(
            frozen, data.X, scale=self.input_scale_, batch_size=self.predict_batch_size
        )
        return EpisodicModule(top, module.head), DataTensor(embedding, device)

    def _validation_episodes(
        self, store: DataTensor, sampler: EpisodeSampler | None, rng: np.random.Generator
    ) -> ValidationEpisodes | None:
        """Freeze as many episodes as make the accuracy certain enough to choose by."""
        if sampler is None:
            return None
        n_way = np.max(sampler.n_way_)
        n_episodes = -(-N_VALIDATION_QUERIES // (n_way * self.n_query))
        return ValidationEpisodes(store, sampler.plan(int(n_episodes), rng))

    def _prefers_projection(
        self,
        network: Untrained,
        data: _TrainingData,
        store: DataTensor,
        rng: np.random.Generator,
    ) -> bool:
        """Whether the linear discriminant projection is a better start than the identity.

        Decided by cross-validation over the training classes: each fold's classes are recognised
        through the projection of the others. Nothing is trained, so this is cheap.
        """
        drawable = drawable_classes(data.codes, data.groups)
        classes = np.flatnonzero(drawable & ~data.validation)
        if not has_linear_start(network.trained.backbone) or len(classes) < 6:
            return False
        rows = np.flatnonzero(~data.validation[data.codes])
        gain = []
        for fold in np.array_split(rng.permutation(classes), min(5, len(classes) // 2)):
            inside = np.zeros(len(data.classes), dtype=bool)
            inside[fold] = True
            sampler = self._sampler(data, inside)
            episodes = ValidationEpisodes(store, sampler.plan(N_START_EPISODES, rng))
            others = rows[~inside[data.codes[rows]]]
            projected = network.with_projection(store, others, data.codes)
            accuracy = [
                evaluate(_as_judged(candidate.trained), self._criterion(), episodes)[0]
                for candidate in (projected, network)
            ]
            gain.append(accuracy[0] - accuracy[1])
        return float(np.mean(gain)) > 0

    def _start_head(
        self,
        module: EpisodicModule,
        data: _TrainingData,
        store: DataTensor,
        sampler: EpisodeSampler,
        rng: np.random.Generator,
    ) -> None:
        """Measure the starting scale where the untrained distances mean something."""
        if self._measures_start(module.backbone):
            episodes = ValidationEpisodes(store, sampler.plan(N_START_EPISODES, rng))
            for _ in range(3):  # the first measurement may be of saturated scores
                module.head.start_from(score_frozen(module, episodes))

    def _train(
        self,
        module: EpisodicModule,
        data: _TrainingData,
        task: EpisodicTask,
        device: torch.device,
        max_epochs: int,
    ) -> tuple[Any, int]:
        """Train in place; returns the skorch net and the epoch whose weights were kept."""
        if self.compile:
            mode = self.compile if isinstance(self.compile, str) else None
            compiled = torch.compile(module.backbone, mode=mode)
            module = EpisodicModule(compiled, module.head, module.autocast_dtype)
        schedule = self.lr_schedule
        return train(
            self._trainable(module, data, task.train.data).to(device),
            self._criterion(),
            task,
            optimizer=self.optimizer,
            lr=self.lr,
            weight_decay=self.weight_decay,
            lr_factor=SCHEDULES[schedule] if isinstance(schedule, str) else schedule,
            max_epochs=max_epochs,
            schedule_epochs=self.max_epochs,
            patience=self.patience,
            device=device,
            callbacks=copy.deepcopy(list(self.callbacks or ())),
            verbose=int(self.verbose),
            net_params=self.net_params or {},
        )

    def _as_of_now(
        self, networks: tuple[EpisodicModule, ...], others: tuple[Any, ...], net: Any
    ) -> dict[str, Any]:
        """Return the attributes of the learner as if training had ended here, with its own weights.

        Only for callbacks that ask: it embeds the training data.
        """
        learner = copy.copy(self)
        learner.history_ = history_rows(net)
        learner.best_epoch_ = len(learner.history_)
        learner._finish(*copy.deepcopy(networks), *others)
        return vars(learner)

    def _finish(
        self,
        module: EpisodicModule,
        trained: EpisodicModule,
        recipe: Recipe,
        data: _TrainingData,
        store: DataTensor,
        is_refit: bool,
    ) -> None:
        """Turn a trained network into a learner that can predict."""
        held_out = data.validation if data.validation.any() else ~data.validation
        if not is_refit:
            self._calibrate(trained, store, data, held_out)
        self._keep(module, recipe)
        items = self._base_items(data, store)
        self.representation_ = self._network.represent(items)
        if self.calibrate and not is_refit and module.head.takes_examples:
            self._network.calibration = calibrate(
                self._network, items.embedding, data.codes, data.groups, held_out
            )

    def _keep(self, module: EpisodicModule, recipe: Recipe) -> None:
        """Set what prediction needs."""
        module.autocast_dtype = None
        self._network = FittedNetwork(
            module,
            recipe,
            input_scale=self.input_scale_,
            device=str(self.device),
            batch_size=self.predict_batch_size,
            autocast_dtype=torch.bfloat16 if self.precision == "bfloat16" else None,
        )
        if hasattr(self, "learn_scale"):
            self.scale_ = float(module.head.scale)

    def _base_items(self, data: _TrainingData, store: DataTensor) -> Representation:
        """Return what the base classes are known by: their examples, embedded."""
        codes = data.codes.astype(np.int64)
        embedding = self._embed_again(data, store)
        return Representation(embedding, codes, np.ones(len(codes)), len(data.classes))

    def _embed_again(self, data: _TrainingData, store: DataTensor) -> np.ndarray:
        """Embed the training data with the trained network, a frozen part of it only once."""
        if not self.freeze_backbone:
            return self._network.embed(data.X)
        _, top = self.module_.backbone
        return embed(top, store.as_array(), batch_size=self.predict_batch_size)
