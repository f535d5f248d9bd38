"""The parameters that all learners share: their constraints, and the constructor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Self, TypedDict, Unpack, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator

from ..nn import AUGMENTATIONS, METRICS
from ..nn.backbones import BACKBONES
from ..training._callbacks import copy_callbacks
from ..training._net import OPTIMIZERS
from ..utils._fresh import unfitted_copy
from ..utils._names import unknown_parameter
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import ArrayLike, Backbone, RandomState, Range
from ._signature import complete_signature


def cosine_schedule(progress: float) -> float:
    """Decay from 1 to 0 along half a cosine."""
    return 0.5 * (1.0 + float(np.cos(np.pi * progress)))


def step_schedule(progress: float) -> float:
    """Halve at every tenth of the training."""
    return float(0.5 ** int(10 * progress))


def linear_schedule(progress: float) -> float:
    """Decay from 1 to 0 in proportion."""
    return 1.0 - progress


SCHEDULES: dict[str, Callable[[float], float] | None] = {
    "cosine": cosine_schedule,
    "linear": linear_schedule,
    "step": step_schedule,
    "constant": None,
}


# Constraints of learners that compare by a distance.
METRIC_CONSTRAINTS: dict[str, list[Any]] = {
    "metric": [StrOptions(set(METRICS)), callable],
    "scale": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "learn_scale": ["boolean"],
}


class SharedParameters(TypedDict, total=False):
    """Names and types of the parameters that learners of classes and of tasks share."""

    backbone: Backbone
    meta_batch_size: int
    episodes_per_epoch: int
    max_epochs: int
    optimizer: Literal["adam", "adamw", "sgd"] | Callable[..., torch.optim.Optimizer]
    weight_decay: float
    lr_schedule: Literal["cosine", "linear", "step", "constant"] | Callable[[float], float]
    validation_fraction: float
    patience: int | None
    refit: bool | Literal["auto"]
    freeze_backbone: bool
    augment: Literal["affine"] | Callable[[torch.Tensor], torch.Tensor] | None
    callbacks: list[Any] | tuple[Any, ...] | None
    input_shape: Sequence[int] | None
    device: str | torch.device
    precision: Literal["auto", "float32", "bfloat16"]
    calibrate: bool
    compile: bool | Literal["reduce-overhead", "max-autotune"]
    predict_batch_size: int
    checkpoint: str | os.PathLike[str] | None
    warm_start: bool
    random_state: RandomState
    verbose: int
    net_params: dict[str, Any] | None


class CommonParameters(SharedParameters, total=False):
    """Names and types of the parameters that all learners share, for type checkers.

    See Also
    --------
    with_common_parameters : Lets a constructor take them as ``**common``.

    Examples
    --------
    >>> from typing import Unpack
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.base import CommonParameters
    >>> def small(**common: Unpack[CommonParameters]) -> ProtoNetClassifier:
    ...     return ProtoNetClassifier(backbone="mlp", **common)
    >>> small(n_way=5)
    ProtoNetClassifier(backbone='mlp', n_way=5)
    """

    n_way: Range | Literal["all"]
    n_shot: Range | Literal["auto"]
    n_query: int
    rotate_support: bool
    lr: float | Literal["auto"]
    validation_classes: ArrayLike | None


class CommonRegressorParameters(SharedParameters, total=False):
    """Names and types of the parameters that all regressors share, for type checkers.

    See Also
    --------
    with_common_parameters : Lets a constructor take them as ``**common``.

    Examples
    --------
    >>> from typing import Unpack
    >>> from sklearn_fewshot import RidgeNetRegressor
    >>> from sklearn_fewshot.base import CommonRegressorParameters
    >>> def quick(**common: Unpack[CommonRegressorParameters]) -> RidgeNetRegressor:
    ...     return RidgeNetRegressor(max_epochs=3, **common)
    >>> quick(n_shot=2)
    RidgeNetRegressor(max_epochs=3, n_shot=2)
    """

    n_shot: Range
    n_query: int
    lr: float
    validation_tasks: ArrayLike | None


class TrainingParameters(BaseEstimator):
    """An estimator with the parameters that learners of classes and of tasks share."""

    _parameter_constraints: dict[str, list[Any]] = {
        "backbone": [StrOptions({"auto", *BACKBONES}), torch.nn.Module, callable],
        "n_query": [Interval(Integral, 1, None, closed="left")],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "episodes_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "lr_schedule": [StrOptions(set(SCHEDULES)), callable],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
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
        backbone: Backbone = "auto",
        meta_batch_size: int = 1,
        episodes_per_epoch: int = 50,
        max_epochs: int = 30,
        optimizer: Literal["adam", "adamw", "sgd"] | Callable[..., torch.optim.Optimizer] = "adam",
        weight_decay: float = 0.0,
        lr_schedule: (
            Literal["cosine", "linear", "step", "constant"] | Callable[[float], float]
        ) = "cosine",
        validation_fraction: float = 0.2,
        patience: int | None = 10,
        refit: bool | Literal["auto"] = "auto",
        freeze_backbone: bool = False,
        augment: Literal["affine"] | Callable[[torch.Tensor], torch.Tensor] | None = None,
        callbacks: list[Any] | tuple[Any, ...] | None = None,
        input_shape: Sequence[int] | None = None,
        device: str | torch.device = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        calibrate: bool = True,
        compile: bool | Literal["reduce-overhead", "max-autotune"] = False,
        predict_batch_size: int = 128,
        checkpoint: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.backbone = backbone
        self.meta_batch_size = meta_batch_size
        self.episodes_per_epoch = episodes_per_epoch
        self.max_epochs = max_epochs
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.validation_fraction = validation_fraction
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

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy; callbacks share what cannot be copied, such as an open log."""
        bare = unfitted_copy(self)
        bare.callbacks = None
        cloned = super(TrainingParameters, bare).__sklearn_clone__()
        cloned.callbacks = copy_callbacks(self.callbacks)
        return cast(Self, cloned)

    def set_params(self, **params: Any) -> Self:
        """Set parameters; a name that is none is an error that names the nearest one."""
        known = self.get_params(deep=False)
        for name in params:
            if name.partition("__")[0] not in known:
                raise ValueError(unknown_parameter(type(self).__name__, name, known))
        return cast(Self, super().set_params(**params))


class LearnerParameters(TrainingParameters):
    """An estimator with the parameters that all learners of classes share."""

    _parameter_constraints: dict[str, list[Any]] = {
        "n_way": [Interval(Integral, 2, None, closed="left"), StrOptions({"all"}), tuple, list],
        "n_shot": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), tuple, list],
        "rotate_support": ["boolean"],
        "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "validation_classes": ["array-like", None],
    }

    def __init__(
        self,
        *,
        n_way: Range | Literal["all"] = 60,
        n_shot: Range | Literal["auto"] = "auto",
        n_query: int = 2,
        rotate_support: bool = True,
        lr: float | Literal["auto"] = "auto",
        validation_classes: ArrayLike | None = None,
        **common: Unpack[SharedParameters],
    ) -> None:
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.rotate_support = rotate_support
        self.lr = lr
        self.validation_classes = validation_classes
        super().__init__(**common)


class RegressorParameters(TrainingParameters):
    """An estimator with the parameters that all few-shot regressors share."""

    _parameter_constraints: dict[str, list[Any]] = {
        "n_shot": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "validation_tasks": ["array-like", None],
    }

    def __init__(
        self,
        *,
        n_shot: Range = (1, 5),
        n_query: int = 5,
        lr: float = 1e-3,
        validation_tasks: ArrayLike | None = None,
        **common: Unpack[SharedParameters],
    ) -> None:
        self.n_shot = n_shot
        self.n_query = n_query
        self.lr = lr
        self.validation_tasks = validation_tasks
        super().__init__(**common)


for _cls in (LearnerParameters, RegressorParameters):
    complete_signature(_cls)
