"""How a network is trained, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from ..network import Recipe
from ..nn import DataTensor, EpisodicCrossEntropy, FewShotModule, ValidationEpisodes
from ..utils._input_range import InputRange
from ._data import TrainingData, make_sampler


class Task(NamedTuple):
    """One training: its data on the device, and what draws from them.

    Parameters
    ----------
    data : TrainingData
        Samples, classes and which of them are held out.
    store : DataTensor
        The inputs of what is trained: samples, or embeddings by a frozen backbone.
    sampler : EpisodeSampler
        Draws the training episodes.
    rng : numpy.random.Generator
        Source of randomness of the plans.
    device : torch.device
        Where to train.
    """

    data: TrainingData
    store: DataTensor
    sampler: Any
    rng: np.random.Generator
    device: torch.device

    @property
    def attributes(self) -> torch.Tensor | None:
        """What represents the classes in place of examples, on the device."""
        return self._on_device(self.data.attributes)

    @property
    def values(self) -> torch.Tensor | None:
        """What is predicted in place of classes, on the device."""
        return self._on_device(self.data.values)

    def _on_device(self, values: np.ndarray | None) -> torch.Tensor | None:
        return None if values is None else torch.from_numpy(values).float().to(self.device)

    def episodes(self, n_episodes: int, sampler: Any = None) -> ValidationEpisodes:
        """Draw and freeze some episodes, of training classes unless another sampler is given."""
        plan = (sampler or self.sampler).plan(n_episodes, self.rng)
        return ValidationEpisodes(self.store, plan, self.attributes, self.values)


N_MEASURING_QUERIES = 5  # of a class at least, where episodes measure


def no_change(module: Any, task: Task) -> None:
    """Leave the module as it is."""


def no_measurement(module: Any, task: Task) -> dict[str, Any]:
    """Measure nothing."""
    return {}


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Parameters
    ----------
    recipe : Recipe
        How to build the network.
    owner : str
        Who trains, for error messages.
    criterion : nn.Module
        The loss: called with predictions and targets.
    start : callable
        Called with the untrained module and its task: sets what starts from the data.
    may_project : bool
        Whether a linear path may start as the discriminant projection of the base classes.
    wrap : callable or None
        Called with the module and its task: returns what is trained around it, such as an ordinary
        classifier. None trains the module itself.
    load : callable or None
        Called with the task: returns the batches of an epoch. None draws episodes.
    finish : callable
        Called with the trained module and its task: sets what depends on the trained embedding.
    measure : callable
        Called with the trained module and its task: returns what held-out classes say, by the
        name of the learner's attribute, before these classes are trained on too.
    clip_norm : float or None
        The greatest norm of the gradient of all weights together; None for any.
    embedded : ndarray or None
        The samples, embedded by the frozen backbone, if they are already.
    refits_start : bool
        Whether even the untrained network is fitted to the training classes, so that training
        again on all classes changes it.
    refit : bool
        Whether to train once more on all classes, for as many epochs as scored best.
    max_seconds : float or None
        After which the first training ends with the epoch.
    input_scale : float
        Factor applied to samples.
    input_range : InputRange or None
        Range and spread of the samples, to compare later ones with.
    n_way, n_shot, n_query, rotate_support, meta_batch_size, episodes_per_epoch, max_epochs, \
optimizer, lr, weight_decay, lr_factor, patience, freeze_backbone, augment, callbacks, device, \
precision, calibrate, compile, predict_batch_size, verbose, net_params
        The parameters of learners; ``lr_factor`` is the function that ``lr_schedule`` names.
    """

    recipe: Recipe
    owner: str
    n_way: Any
    n_shot: Any
    n_query: int
    meta_batch_size: int
    episodes_per_epoch: int
    max_epochs: int
    optimizer: Any
    lr: float
    weight_decay: float
    lr_factor: Callable[[float], float] | None
    patience: int | None
    freeze_backbone: bool
    augment: Any
    callbacks: list[Any]
    device: Any
    precision: str
    calibrate: bool
    compile: Any
    predict_batch_size: int
    verbose: int
    net_params: dict[str, Any]
    input_scale: float = 1.0
    input_range: InputRange | None = None
    refit: bool = False
    max_seconds: float | None = None
    clip_norm: float | None = None
    embedded: np.ndarray | None = None
    refits_start: bool = False
    rotate_support: bool = False
    may_project: bool = True
    criterion: torch.nn.Module = field(default_factory=EpisodicCrossEntropy)
    start: Callable[[Any, Task], None] = no_change
    wrap: Callable[[Any, Task], FewShotModule] | None = None
    load: Callable[[Task], Any] | None = None
    finish: Callable[[Any, Task], None] = no_change
    measure: Callable[[Any, Task], dict[str, Any]] = no_measurement

    def replace(self, **changes: Any) -> TrainingConfig:
        """Return the config with other values."""
        return replace(self, **changes)

    def measuring(self) -> TrainingConfig:
        """Return the config of episodes that measure: with as many queries as that takes."""
        return self.replace(n_query=max(self.n_query, N_MEASURING_QUERIES))

    def sampler(self, data: TrainingData, drawn: np.ndarray) -> Any:
        """Return a sampler over the rows of the ``drawn`` classes, bool of shape (n_classes,)."""
        return make_sampler(
            data,
            drawn,
            n_way=self.n_way,
            n_shot=self.n_shot,
            n_query=self.n_query,
            owner=self.owner,
        )
