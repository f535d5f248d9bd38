"""The skorch net that meta-trains a network. Only this file and ``_callbacks`` know skorch."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from torch.optim.lr_scheduler import LambdaLR

from ..nn import EpisodeLoader, ValidationEpisodes, evaluate, kept_memory
from ..utils._progress import progress_bar
from ._checkpoint import CheckpointPart, is_plain
from ._sklearn_callbacks import FitTask

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class EpisodicTask(NamedTuple):
    """What the net is fitted on: training episodes and, if any, frozen validation episodes."""

    train: EpisodeLoader
    valid: ValidationEpisodes | None
    title: str = ""  # of the progress bar
    fit_task: FitTask = FitTask()  # this training, for scikit-learn's callbacks
    saved: CheckpointPart | None = None  # where its state is kept after each epoch
    first: Sequence[dict[str, Any]] = ()  # the epochs of the training that this one repeats


class TrainingDiverged(ArithmeticError):
    """The loss became NaN or infinite."""


class _StopTraining(Exception):
    """Raised by callbacks to end training early; not an error."""


class EpisodicNet(NeuralNet):
    """A skorch net whose batches are batches of episodes.

    It differs from :class:`skorch.NeuralNet` in where batches come from (an
    :class:`EpisodicTask`), in reading the loss once an epoch instead of once a batch if no callback
    of the user asks for it, in scoring frozen validation episodes, as one batch and also before the
    first epoch, and in letting Ctrl-C through.
    """

    reads_batches = False  # set if there are callbacks of the user
    first: Sequence[dict[str, Any]] = ()  # the epochs of the training that this one repeats

    def get_split_datasets(self, X: EpisodicTask, y: None = None, **fit_params: Any) -> Any:
        """Return the two parts of the task."""
        return X.train, X.valid

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the dataset itself: it iterates over ready batches."""
        return dataset

    def check_data(self, X: EpisodicTask, y: None = None) -> None:
        """Accept a task unchecked; the learner has checked the arrays."""

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Compute loss and gradients; the mode is set where it differs, not at every step."""
        if not self.module_.training:
            self._set_training(True)
        loss = self.module_.training_loss(batch, self.criterion_)
        loss.backward()
        return {"loss": loss, "y_pred": None}  # skorch's callbacks take both

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def partial_fit(self, X: EpisodicTask, y: None = None, **fit_params: Any) -> EpisodicNet:
        """Train for ``max_epochs``; unlike in skorch, KeyboardInterrupt propagates."""
        fit_params.pop("_routing_method", None)
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        n_done, has_ended = self._resume(X)
        for _ in range(n_done, self.max_epochs):
            if has_ended:
                break
            has_ended = self._fit_epoch(X)
            if X.saved is not None:
                X.saved.save(training_state(self, X) | {"has_ended": has_ended})
        self._best_weights.restore(self)  # callbacks may save what training came to
        self.notify("on_train_end", X=X, y=y)
        return self

    @property
    def _best_weights(self) -> BestWeights:
        return next(it for _, it in self.callbacks_ if isinstance(it, BestWeights))

    def _resume(self, task: EpisodicTask) -> tuple[int, bool]:
        """Go on from what was saved; returns the epochs done, and whether they were all."""
        state = None if task.saved is None else task.saved.state
        if state is None:
            return 0, False
        load_training_state(self, task, state)
        return len(state["history"]), state["has_ended"]

    def _fit_epoch(self, task: EpisodicTask) -> bool:
        """Train for one epoch; returns whether a callback wants it to be the last."""
        epoch = task.fit_task.begin("epoch", self)
        stops = False
        try:
            self.fit_loop(task, epochs=1)
        except _StopTraining:
            stops = True
        return epoch.end(self) or stops

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks; skorch's EarlyStopping ends training by an interrupt of its own."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            if method_name == "on_epoch_end" and any(
                isinstance(cb, EarlyStopping) and cb.misses_ == cb.patience
                for _, cb in self.callbacks_
            ):
                raise _StopTraining from None
            raise

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run one epoch of training, or one evaluation of the validation episodes."""
        if iterator is None:
            return
        if not training:
            self._validate(iterator)
            return
        start = time.perf_counter()
        self._set_training(True)
        losses = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=True)
            step = step_fn(batch)
            losses.append(step["loss"].detach())
            if self.reads_batches:  # it makes a GPU wait
                self.history.record_batch("train_loss", float(losses[-1]))
                self.history.record_batch("train_batch_size", len(batch.inputs))
            self.notify("on_batch_end", batch=batch, training=True, **step)
        self._record("train_loss", float(torch.stack(losses).mean()), lower_is_better=True)
        self.history.record("train_batch_count", len(losses))
        self.history.record("duration", time.perf_counter() - start)
        self._repeat_validation()

    def _repeat_validation(self) -> None:
        """Note what the first training noted and this one, which holds nothing out, does not.

        So callbacks that decide by validation results decide as they did then.
        """
        epoch, row = len(self.history) - 1, self.history[-1]
        for name, value in (self.first[epoch] if epoch < len(self.first) else {}).items():
            row.setdefault(name, value)

    def _validate(self, episodes: ValidationEpisodes) -> None:
        """Score the frozen episodes, which are one batch to callbacks."""
        self.notify("on_batch_begin", batch=episodes, training=False)
        accuracy, loss = evaluate(self.module_, self.criterion_, episodes)
        self.history.record_batch("valid_loss", loss)
        if accuracy is not None:
            self._record("valid_acc", accuracy, lower_is_better=False)
        self._record("valid_loss", loss, lower_is_better=True)
        self.notify(
            "on_batch_end", batch=episodes, training=False, loss=torch.tensor(loss), y_pred=None
        )

    def _record(self, name: str, value: float, *, lower_is_better: bool) -> None:
        """Note a value of the epoch, and whether it is the best yet, as skorch's scorings do."""
        *before, row = self.history
        compare = np.less if lower_is_better else np.greater
        is_best = all(compare(value, past[name]) for past in before)
        row.update({name: value, f"{name}_best": is_best})


class BestWeights(Callback):
    """Keep the weights that score best on the validation episodes; stop when patience is out.

    The untrained network is a candidate, so meta-training can fall back to where it started. Ties
    in accuracy are decided by the loss.

    Parameters
    ----------
    patience : int or None
        Epochs without a new best after which training stops; None never stops.
    max_seconds : float or None
        After which training stops at the end of the epoch; None never stops.
    """

    def __init__(self, patience: int | None = None, max_seconds: float | None = None) -> None:
        self.patience = patience
        self.max_seconds = max_seconds

    def on_train_begin(self, net: EpisodicNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Score the untrained network."""
        self._began = time.perf_counter()
        self.best_epoch_ = 0
        self.best_score_: tuple[float, float] | None = None
        self.best_state_: dict[str, Any] | None = None
        if X.valid is not None:
            accuracy, loss = evaluate(net.module_, net.criterion_, X.valid)
            self._keep(net, (accuracy or 0.0, -loss), epoch=0)

    def on_epoch_begin(self, net: EpisodicNet, **kwargs: Any) -> None:
        """Note the learning rate, which a schedule may change within the epoch."""
        self._lr = float(net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net: EpisodicNet, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Compare with the best so far."""
        row = net.history[-1]
        if not np.isfinite(row["train_loss"]):
            raise TrainingDiverged(
                f"Training diverged: the loss of epoch {row['epoch']} is {row['train_loss']}; the "
                f"epoch began with a learning rate of {self._lr:.4g}. Lower the learning rate "
                f"(lr={net.lr}), scale the inputs, or use precision='float32'."
            )
        if dataset_valid is not None:
            score = (row.get("valid_acc", 0.0), -row["valid_loss"])
            if self.best_score_ is None or score > self.best_score_:
                self._keep(net, score, epoch=row["epoch"])
            elif self.patience is not None and row["epoch"] - self.best_epoch_ >= self.patience:
                raise _StopTraining
        if self.max_seconds is not None and time.perf_counter() - self._began > self.max_seconds:
            raise _StopTraining

    def restore(self, net: EpisodicNet) -> None:
        """Restore the best weights; without validation these are the last."""
        if self.best_state_ is None:
            self.best_epoch_ = len(net.history)
        else:
            net.module_.load_state_dict(self.best_state_)

    def _keep(self, net: EpisodicNet, score: tuple[float, float], epoch: int) -> None:
        self.best_score_, self.best_epoch_ = score, epoch
        self.best_state_ = copy.deepcopy(net.module_.state_dict())


class ProgressBar(Callback):
    """A bar of the batches of all epochs, with the last loss and validation accuracy."""

    def on_train_begin(self, net: EpisodicNet, X: Any = None, **kwargs: Any) -> None:
        """Open the bar, at the epoch where an interrupted training resumes.

        It is there before the untrained network is scored, which takes long for large images.
        """
        self._bar: Any = None
        state = None if X.saved is None else X.saved.state
        n_done = 0 if state is None else len(state["history"])
        if n_done == net.max_epochs or (state is not None and state["has_ended"]):
            return
        n_batches = len(X.train)
        self._title = f"{X.title}, " if X.title else ""
        self._bar = progress_bar(
            net.max_epochs * n_batches,
            "batch",
            initial=n_done * n_batches,
            desc=self._describe(net, n_done + 1),
        )

    def on_epoch_begin(self, net: EpisodicNet, **kwargs: Any) -> None:
        """Say which epoch begins."""
        self._bar.set_description(self._describe(net, len(net.history)), refresh=False)

    def on_batch_end(self, net: EpisodicNet, training: bool = False, **kwargs: Any) -> None:
        """Count the batch."""
        if training:
            self._bar.update(1)

    def on_epoch_end(self, net: EpisodicNet, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Show what the epoch came to."""
        row = net.history[-1]
        shown = {"loss": f"{row['train_loss']:.4f}"}
        if dataset_valid is not None and "valid_acc" in row:
            shown["validation accuracy"] = f"{row['valid_acc']:.2%}"
        self._bar.set_postfix(shown, refresh=False)

    def on_train_end(self, net: EpisodicNet, **kwargs: Any) -> None:
        """Close the bar, which stays visible."""
        if self._bar is not None:
            self._bar.close()

    def _describe(self, net: EpisodicNet, epoch: int) -> str:
        return f"{self._title}epoch {epoch}/{net.max_epochs}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the bar: who pickles the net, as a callback may, does not want it."""
        return vars(self) | {"_bar": None}


def train(
    module: torch.nn.Module,
    criterion: torch.nn.Module,
    task: EpisodicTask,
    *,
    optimizer: Any,
    lr: float,
    weight_decay: float,
    lr_factor: Any,
    max_epochs: int,
    schedule_epochs: int,
    patience: int | None,
    max_seconds: float | None,
    clip_norm: float | None,
    device: torch.device,
    callbacks: list[Any],
    verbose: int,
    net_params: dict[str, Any],
) -> tuple[EpisodicNet, int]:
    """Meta-train ``module`` in place.

    Parameters
    ----------
    module, criterion : nn.Module
        The network and its loss.
    task : EpisodicTask
        Training and validation episodes.
    optimizer : str or torch optimizer class
        A name in ``OPTIMIZERS`` or a class.
    lr, weight_decay : float
        Of the optimizer.
    lr_factor : callable or None
        Factor of the learning rate as a function of the training's progress in [0, 1).
    max_epochs, patience : int
        Length of training.
    max_seconds : float or None
        Another limit of it.
    clip_norm : float or None
        The greatest norm of the gradient.
    schedule_epochs : int
        Epochs in which the learning rate goes through its schedule.
    device : torch.device
        Where to train.
    callbacks : list
        The user's skorch callbacks.
    verbose : int
        1 for a progress bar.
    net_params : dict
        Further parameters of the skorch net.

    Returns
    -------
    net : EpisodicNet
        The trained net; ``net.module_`` holds the best weights.
    best_epoch : int
        The epoch they are from; 0 is the untrained network.
    """
    best = BestWeights(patience, max_seconds)
    ours: list[Any] = [("best_weights", best)]
    if clip_norm is not None:
        ours.append(("clip_norm", GradientNormClipping(clip_norm)))
    if lr_factor is not None:
        n_steps = max(1, schedule_epochs * len(task.train))
        ours.append(("lr_schedule", _per_batch_schedule(lr_factor, n_steps)))
    if verbose:
        ours.insert(0, ("progress", ProgressBar()))
    params = {
        "optimizer": OPTIMIZERS.get(optimizer, optimizer),
        "optimizer__weight_decay": weight_decay,
        **_fused_step(optimizer, device),
        "lr": lr,
        "max_epochs": max_epochs,
        "device": str(device),
        "verbose": 0,
        "train_split": None,
        "batch_size": 1,  # skorch's ProgressBar divides the number of batches by it
        "use_caching": False,  # of predictions for samples, which there are not
    } | net_params
    net = EpisodicNet(module, criterion=criterion, callbacks=[*callbacks, *ours], **params)
    net.reads_batches, net.first = bool(callbacks), task.first
    with kept_memory():
        net.fit(task)
    return net, best.best_epoch_


def _fused_step(optimizer: Any, device: torch.device) -> dict[str, bool]:
    """Return what lets the optimizer update all weights in one pass, where torch can."""
    can = device.type == "cuda" or (device.type == "cpu" and torch.__version__ >= "2.4")
    return {"optimizer__fused": True} if can and optimizer in OPTIMIZERS else {}


def _per_batch_schedule(lr_factor: Any, n_steps: int) -> LRScheduler:
    return LRScheduler(
        policy=LambdaLR,
        step_every="batch",
        event_name=None,
        lr_lambda=partial(_factor, lr_factor, n_steps),
    )


def _factor(lr_factor: Any, n_steps: int, step: int) -> Any:
    return lr_factor(step / n_steps)


def training_state(net: EpisodicNet, task: EpisodicTask) -> dict[str, Any]:
    """Return everything that the epochs to come depend on."""
    on_gpu = torch.device(net.device).type == "cuda"
    return {
        "module": net.module_.state_dict(),
        "criterion": net.criterion_.state_dict(),
        "optimizer": net.optimizer_.state_dict(),
        "callbacks": {name: _callback_state(callback) for name, callback in net.callbacks_},
        "history": list(net.history),
        "loader": task.train.state_dict(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(net.device) if on_gpu else None,
    }


def load_training_state(net: EpisodicNet, task: EpisodicTask, state: dict[str, Any]) -> None:
    """Set a net and its task to a state, copied where training changes it in place."""
    state = copy.deepcopy(state)
    net.module_.load_state_dict(state["module"])
    net.criterion_.load_state_dict(state["criterion"])
    net.optimizer_.load_state_dict(state["optimizer"])
    for name, callback in net.callbacks_:
        _load_callback_state(callback, state["callbacks"].get(name, {}))
    net.history.extend(state["history"])
    task.train.load_state_dict(state["loader"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], net.device)


def _callback_state(callback: Any) -> dict[str, Any]:
    """Return what a callback has noted in attributes that end in an underscore, if it is plain.

    That is skorch's convention. An object with a state of its own, such as the schedule of an
    ``LRScheduler``, is kept by that.
    """
    noted = {k: v for k, v in vars(callback).items() if k.endswith("_") and not k.endswith("__")}
    stateful = {k: v.state_dict() for k, v in noted.items() if _has_state(v)}
    return {
        "values": {k: v for k, v in noted.items() if is_plain(v)},
        "states": {k: v for k, v in stateful.items() if is_plain(v)},
    }


def _load_callback_state(callback: Any, state: dict[str, Any]) -> None:
    vars(callback).update(state.get("values", {}))
    for name, value in state.get("states", {}).items():
        getattr(callback, name).load_state_dict(value)


def _has_state(value: Any) -> bool:
    return not isinstance(value, type) and hasattr(value, "load_state_dict")


def history_rows(net: EpisodicNet) -> list[dict[str, Any]]:
    """Return the history as plain dicts, one an epoch, without skorch's batch rows."""
    return [{k: v for k, v in row.items() if k != "batches"} for row in net.history]
