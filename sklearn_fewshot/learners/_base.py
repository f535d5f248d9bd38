"""The base of all learners: from arrays to a config, to training, to fitted attributes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ..network import FittedNetwork, Recipe, on_cpu, predict_on
from ..nn import (
    EmbeddingModule,
    EpisodicCrossEntropy,
    FewShotModule,
    resolve_device,
    says_what_to_lower,
)
from ..nn.heads import Head
from ..nn.optimization._adapting import embedding_part
from ..training._callbacks import callback_parameters
from ..training._checkpoint import Checkpoint, open_checkpoint
from ..training._config import Task, TrainingConfig
from ..training._data import TrainingData
from ..training._fingerprint import fingerprint
from ..training._meta_train import Trained, Watch, may_refit, meta_train
from ..training._sklearn_callbacks import DURING_FIT, CallbackSupport, FitTask, with_callbacks
from ..training._start import start_scale
from ..utils._fresh import unfitted_copy
from ..utils._input_range import InputRange
from ..utils._random import draw_seed, seeded_torch
from ..utils._typing import ArrayLike, Backbone
from ..utils._validation import check_like_fitted, check_X, input_scale, warn_of_layout
from ..utils._warnings import warn_user
from ._limits import check_padding, warn_of_frozen, warn_of_size, without_common_padding
from ._parameters import SCHEDULES, TrainingParameters

# Parameters that no result depends on.
WITHOUT_EFFECT = {"checkpoint", "verbose"}

TRAINING_MEMORY = (
    "Lower meta_batch_size, {}n_shot or n_query (smaller batches), or predict_batch_size "
    "(fewer embedded at once), or take a smaller backbone."
)
# Backbones of the kinds that take samples of any shape as vectors.
ANY_LAYOUT = ("identity", "mlp", "residual_mlp")
FEW_CLASSES = 100  # with fewer, held-out classes are a relevant loss: train again on all


class BaseMetaLearner(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupport,
    TrainingParameters,
):
    """Trains a network on episodes; the base of the bases of all learners.

    A learner defines its own parameters and one hook: :meth:`_head` (which head, with which
    options) if it embeds rows and compares them, else :meth:`_module`. Where it differs from the
    rest of the family also :meth:`_criterion`, :meth:`_backbone`, :meth:`_measures_start` and
    :meth:`_adjust`. What classes and tasks differ in is in :class:`~._classes.LearnsClasses` and
    :class:`~._tasks.LearnsTasks`.
    """

    #: What a validation result is about, and what history_ shows if training does harm.
    _units: ClassVar[str] = "classes"
    _harm: ClassVar[str] = "the accuracy falls"

    # ------------------------------------------------------------------ hooks

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        """Return the head's class and its parameters."""
        raise NotImplementedError

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        """Return the network's class and the arguments of its ``build``."""
        head, head_options = self._head()
        return EmbeddingModule, {
            "backbone": self._backbone(),
            "top_options": {} if self.freeze_backbone else None,
            "head": head,
            "head_options": head_options,
        }

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        """Whether the initial head is measured on the embedding of the untrained backbone."""
        return False

    def _backbone(self) -> Backbone:
        """Return the backbone to build: the ``backbone`` parameter."""
        return self.backbone

    def _criterion(self) -> torch.nn.Module:
        """Return the loss, a module called with (predictions, target)."""
        return EpisodicCrossEntropy()

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        """Return the config of the training with the changes of this learner."""
        return config

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        """Return the attributes that ``fit`` sets, by name."""
        return {
            "_network": trained.network,
            "history_": trained.history,
            "best_epoch_": trained.best_epoch,
            "input_shape_": trained.network.recipe.input_shape,
            "net_": trained.net,
            **trained.measured,
        }

    # ------------------------------------------------------------------ fit

    def _check_data(self, X: ArrayLike, y: ArrayLike, seed: int, **aligned: Any) -> TrainingData:
        """Validate everything that ``fit`` takes and hold out classes or tasks."""
        raise NotImplementedError

    def _ways(self) -> Any:
        """Return the number of classes in an episode."""
        raise NotImplementedError

    def _shots(self) -> Any:
        """Return the number of examples of a class in an episode."""
        raise NotImplementedError

    def _learning_rate(self) -> float:
        """Return the learning rate at the start."""
        raise NotImplementedError

    def _rotates(self) -> bool:
        """Whether the samples of a batch rotate between support and queries."""
        return False

    def _named_validation(self) -> ArrayLike | None:
        """Return the labels that the user names to hold out."""
        raise NotImplementedError

    def _warn_of_few(self, config: TrainingConfig, data: TrainingData) -> None:
        """Warn once of classes or tasks that are too few, or have too few samples."""

    def _fit(self, X: ArrayLike, y: ArrayLike, **aligned: Any) -> Self:
        """Check, train, and set the fitted state; ``aligned`` is what else ``fit`` was given."""
        self._validate_params()
        self._check_parameters()
        fresh = unfitted_copy(self)
        start = getattr(self, "_network", None) if self.warm_start else None
        settings = self._settings(start)  # before a RandomState is drawn from
        seed = draw_seed(self.random_state)

        def check(seed: int) -> TrainingData:
            return fresh._check_data(X, y, seed, **aligned)

        with says_what_to_lower(TRAINING_MEMORY.format("n_way, " * hasattr(self, "n_way"))):
            data = check(seed)
            fresh._check_start(start)
            with fresh._unfinished_fit(settings, data, aligned, seed) as checkpoint:
                if checkpoint is not None and checkpoint.seed != seed:
                    seed = checkpoint.seed  # drawn by the fit that was interrupted
                    data = check(seed)
                config = fresh._config(data)
                check_padding(config.owner, data.X, config.recipe)
                fresh._warn_of_limits(config, data)
                with seeded_torch(seed, resolve_device(self.device)):
                    rng = np.random.default_rng(seed)
                    fresh._train(config, data, rng, start, X, y, checkpoint)
        self.__dict__ = fresh.__dict__
        return self

    def _check_parameters(self) -> None:
        """Raise if parameters are incompatible."""
        if self.freeze_backbone and self.augment is not None:
            raise ValueError(
                f"{type(self).__name__} has augment and freeze_backbone=True, which embeds every "
                "sample once, unchanged. Augment the samples before fit, or leave one of them out."
            )

    def _check_samples(self, X: ArrayLike) -> np.ndarray:
        """Validate samples and set what is known of their shape."""
        shape = None if self.input_shape is None else tuple(self.input_shape)
        X = check_X(self, X, reset=True, input_shape=shape, any_length=True)
        X = without_common_padding(type(self).__name__, X, self.backbone)
        self.input_shape_ = X.shape[1:]
        self.input_scale_ = input_scale(X)
        return X

    def _check_start(self, start: FittedNetwork | None) -> None:
        """Raise if the data do not match the network that ``warm_start`` continues from."""

    def _config(self, data: TrainingData) -> TrainingConfig:
        """Return how to train, as a value."""
        module, options = self._module()
        few = self._named_validation() is None and len(data.classes) < FEW_CLASSES
        schedule = self.lr_schedule
        config = TrainingConfig(
            recipe=Recipe(module, self.input_shape_, options),
            owner=type(self).__name__,
            n_way=self._ways(),
            n_shot=self._shots(),
            n_query=self.n_query,
            rotate_support=self._rotates(),
            meta_batch_size=self.meta_batch_size,
            episodes_per_epoch=self.episodes_per_epoch,
            max_epochs=self.max_epochs,
            optimizer=self.optimizer,
            lr=self._learning_rate(),
            weight_decay=self.weight_decay,
            lr_factor=SCHEDULES[schedule] if isinstance(schedule, str) else schedule,
            patience=self.patience,
            freeze_backbone=self.freeze_backbone,
            augment=self.augment,
            callbacks=list(self.callbacks or ()),
            device=self.device,
            precision=self.precision,
            calibrate=self.calibrate,
            compile=self.compile,
            predict_batch_size=self.predict_batch_size,
            verbose=int(self.verbose),
            net_params=self.net_params or {},
            input_scale=self.input_scale_,
            input_range=InputRange.of(data.X),
            refit=few if self.refit == "auto" else bool(self.refit),
            criterion=self._criterion(),
            start=partial(_start_scale_if, self._measures_start),
        )
        if config.rotate_support and data.groups is not None:  # which may not change sides
            config = config.measuring().replace(rotate_support=False)
        return self._adjust(config, data)

    def _warn_of_limits(self, config: TrainingConfig, data: TrainingData) -> None:
        """Warn once of the limits of the data."""
        name, backbone = type(self).__name__, self._backbone()
        if self.input_shape is None and backbone not in ANY_LAYOUT:
            warn_of_layout(data.X, f"set input_shape={data.X.shape[1:]}")
        if isinstance(backbone, torch.nn.Module) and not self.freeze_backbone:
            warn_of_frozen(name, backbone)
        if isinstance(backbone, str) and not self.freeze_backbone:
            warn_of_size(name, backbone, config.recipe, len(data.X))
        self._warn_of_few(config, data)

    @with_callbacks
    def _train(
        self,
        config: TrainingConfig,
        data: TrainingData,
        rng: np.random.Generator,
        start: FittedNetwork | None,
        X: ArrayLike,
        y: ArrayLike,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Train and set the fitted attributes.

        scikit-learn's callbacks see a task "fit" that consists of "train" and perhaps "refit", and
        these of epochs. They get X and y as ``fit`` got them.
        """
        task = FitTask.of_fit(self, X, y, max_subtasks=1 + may_refit(config, data, start))
        watch = Watch(task, self._describe, checkpoint)
        trained = meta_train(config, data, rng, start=start, watch=watch)
        if trained.best_epoch == 0 and trained.history and data.validation.any():
            warn_user(
                f"Training brought {config.owner} nothing: no epoch scored better on the held-out "
                f"{self._units} than the network it started from, which is kept (best_epoch_ is "
                f"0). If history_ shows that {self._harm}, lower lr; else the start may be as "
                "good as it gets.",
                ConvergenceWarning,
            )
        self.__dict__.update(self._fitted_attributes(trained))
        task.knowing(dict).end()  # nothing to add: the learner is fitted

    def _describe(self, trained: Trained) -> dict[str, Any]:
        """Return all attributes of the learner as if training had ended here."""
        learner = copy.copy(self)  # without what belongs to this fit alone
        learner.__dict__.update(self._fitted_attributes(trained))
        del learner.net_  # which is not done yet
        return learner.__dict__

    # ------------------------------------------------------------------ interrupted fits

    def _settings(self, start: FittedNetwork | None) -> str | None:
        """Return a fingerprint of all that the result depends on besides the data.

        None if ``checkpoint`` is None.
        """
        if self.checkpoint is None:
            return None
        params = self.get_params(deep=False)
        params = {name: params[name] for name in params.keys() - WITHOUT_EFFECT}
        params["callbacks"] = [callback_parameters(it) for it in self.callbacks or ()]
        device = resolve_device(self.device).type
        return fingerprint(params, device, None if start is None else start.module.state_dict())

    def _unfinished_fit(
        self,
        settings: str | None,
        data: TrainingData,
        aligned: dict[str, Any],
        seed: int,
    ) -> AbstractContextManager[Checkpoint | None]:
        """Open the checkpoint of an interrupted fit of the same settings on the same data."""
        if self.checkpoint is None:
            return nullcontext()
        given = [aligned.get(name) for name in ("groups", "class_groups", "tasks")]
        arrays = [None if values is None else np.asarray(values) for values in given]
        checked = {name: value for name, value in vars(self).items() if name.endswith("_")}
        what = (settings, data.X, data.codes, data.values, arrays, checked)
        return open_checkpoint(self.checkpoint, type(self).__name__, seed, *what)

    # ------------------------------------------------------------------ the fitted network

    def set_params(self, **params: Any) -> Self:
        """Set parameters; those of where a fitted network predicts take effect at once.

        Parameters
        ----------
        **params : dict
            Parameters by name. ``device`` and ``predict_batch_size`` of a fitted learner go for its
            network and for all classifiers of it; the others for the next ``fit``.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter does not exist, or the new ``device`` or ``predict_batch_size`` of a
            fitted learner is none.

        Examples
        --------
        >>> from sklearn_fewshot import ProtoNetClassifier
        >>> ProtoNetClassifier().set_params(n_way=5)
        ProtoNetClassifier(n_way=5)
        """
        super().set_params(**params)
        if self.__sklearn_is_fitted__() and params.keys() & {"device", "predict_batch_size"}:
            self._validate_params()
            predict_on(self._network, self.device, self.predict_batch_size)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Embed samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples.

        Returns
        -------
        embedding : float32 ndarray of shape (n_samples, embedding_dim)

        Raises
        ------
        ValueError
            If the array does not fit the learner.
        TypeError
            If the network does not embed rows.

        Warns
        -----
        UserWarning
            If X has another range than the data of ``fit``, or lies far from them.
        """
        check_is_fitted(self)
        X = check_like_fitted(self, X)
        self._network.warn_of_range(X)
        return self._network.embed(X).reshape(len(X), -1).astype(np.float32, copy=False)

    @property
    def module_(self) -> FewShotModule:
        """The trained torch module, in evaluation mode."""
        if not hasattr(self, "_network"):
            raise AttributeError(f"{type(self).__name__} has no module_ before fit.")
        return self._network.module

    @property
    def _n_features_out(self) -> int:
        return int(np.prod(self._network.embedding_shape))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether ``fit`` has succeeded."""
        return hasattr(self, "_network")

    def __sklearn_tags__(self) -> Any:
        """Return the tags: a transformer of two- to four-dimensional input."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Leave out attributes that only the training process needs, and cached ones."""
        state = super().__getstate__().copy()
        for name in ("net_", *DURING_FIT):
            state.pop(name, None)
        if isinstance(state.get("backbone"), torch.nn.Module):
            state["backbone"] = on_cpu(state["backbone"])
        return state


def _start_scale_if(
    measures_start: Callable[[torch.nn.Module], bool], module: Any, task: Task
) -> None:
    """Measure the initial scale, if the head starts from the distances of the backbone."""
    module = embedding_part(module)
    if isinstance(module, EmbeddingModule) and measures_start(module.backbone):
        start_scale(module, task)
