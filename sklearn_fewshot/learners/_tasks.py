"""The part of learners that is about tasks: their values, and which tasks are held out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from ..episodes import drawable_classes
from ..network import FittedNetwork
from ..nn.regression import GaussianLoss
from ..training._config import TrainingConfig
from ..training._data import TrainingData, given_validation_tasks, hold_out
from ..training._meta_train import Trained
from ..utils._targets import check_targets, scales_of
from ..utils._tasks import encode_tasks
from ..utils._typing import ArrayLike
from ..utils._warnings import warn_user
from ._base import BaseMetaLearner
from ._classes import n_held_out_of
from ._parameters import RegressorParameters


class LearnsTasks(BaseMetaLearner, RegressorParameters):
    """Trains on episodes of one task each."""

    _units: ClassVar[str] = "tasks"
    _harm: ClassVar[str] = "valid_loss rises"

    _parameter_docs = {
        "meta_batch_size": "Episodes, of one task each, per optimisation step.",
        "validation_fraction": "Share of the tasks held out of training, on which the best weights "
        "are chosen; at\nleast two, and two are left. 0 trains on all tasks and keeps the last "
        "weights.",
        "patience": "Epochs without improvement on the held-out tasks after which training stops.",
        "refit": "Whether to train once more on all tasks, including the held-out ones, for the "
        'best number\nof epochs. "auto" does so with fewer than 100 tasks, unless '
        "``validation_tasks`` are given.",
        "calibrate": "Whether to fit, after training, on held-out tasks (all tasks if none were "
        "held out), one\nfactor of the standard deviations for each number of support examples, "
        "so that intervals\nof 90 % cover 90 % of the queries. A second training (``refit``) takes "
        "them over.",
        "random_state": "Seed of task split, weights and episodes. Results repeat exactly on the "
        "same machine with\nthe same number of threads, except for concurrent ``fit`` calls in "
        "threads of one process.",
    }

    def _ways(self) -> Any:
        return 1

    def _named_validation(self) -> ArrayLike | None:
        return self.validation_tasks

    def _criterion(self) -> torch.nn.Module:
        return GaussianLoss()

    def _shots(self) -> Any:
        return self.n_shot

    def _learning_rate(self) -> float:
        return self.lr

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        return config.replace(may_project=False)  # which would be of classes

    def _n_steps(self) -> int:
        """Return the steps of the longest training."""
        return self.max_epochs * -(-self.episodes_per_epoch // self.meta_batch_size)

    def _check_data(
        self,
        X: ArrayLike,
        y: ArrayLike,
        seed: int,
        *,
        tasks: ArrayLike | None = None,
        **options: Any,
    ) -> TrainingData:
        """Validate everything that ``fit`` takes and hold out the validation tasks."""
        owner = type(self).__name__
        X = self._check_samples(X)
        values = self._standardise(check_targets(X, y, owner))
        labels, codes = encode_tasks(tasks, len(X))
        self.tasks_ = labels
        drawable = drawable_classes(codes, None)
        if not drawable.any():
            raise ValueError(
                f"{owner} needs a task of at least two samples, for support and queries. Got "
                f"{len(X)} sample{'s' * (len(X) > 1)}, no two of one task."
            )
        fraction = self.validation_fraction if self.validation_tasks is None else 0.0
        validation = hold_out(codes, labels, None, None, fraction=fraction, seed=seed)
        if self.validation_tasks is not None:
            validation = given_validation_tasks(labels, self.validation_tasks, drawable, owner)
        return TrainingData(X, codes, labels, None, validation, values=values)

    def _standardise(self, y: np.ndarray) -> np.ndarray:
        """Return values as the network predicts them, and set what turns them back."""
        self._y_ndim = y.ndim
        y = y.reshape(len(y), -1)
        self.n_outputs_ = y.shape[1]
        self.y_mean_, self.y_scale_ = y.mean(axis=0), scales_of(y)
        return (y - self.y_mean_) / self.y_scale_

    def _check_start(self, start: FittedNetwork | None) -> None:
        before = getattr(start, "n_targets", self.n_outputs_)
        if before != self.n_outputs_:
            raise ValueError(
                f"{type(self).__name__} has warm_start=True and was fitted on {before} targets. "
                f"Got {self.n_outputs_}."
            )

    def _warn_of_few(self, config: TrainingConfig, data: TrainingData) -> None:
        name = type(self).__name__
        n_clamped = config.sampler(data, data.training).n_clamped_
        if n_clamped:
            warn_user(
                f"{n_clamped} of the {int(data.training.sum())} training tasks of {name} have too "
                f"few samples for n_shot={self.n_shot} and n_query={self.n_query}: they take part "
                "with fewer, or, with a single sample, not at all. Lower n_shot or n_query, add "
                "samples, or drop these tasks."
            )
        if not data.validation.any() and self.validation_fraction > 0:
            warn_user(
                f"{name} has no validation tasks ({len(data.classes)} tasks in all, "
                f"validation_fraction={self.validation_fraction}): it trains for max_epochs="
                f"{self.max_epochs} and keeps the last weights. Pass the tasks of the samples, at "
                "least four of two samples or more, or set validation_fraction=0."
            )

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        return super()._fitted_attributes(trained) | {
            "_without_support": trained.representation,
            "n_calibration_tasks_": n_held_out_of(trained.network),
        }
