"""The user's skorch callbacks: which can follow a training, and copies of them."""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import Any

from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    NeptuneLogger,
    SacredLogger,
    TensorBoard,
    WandbLogger,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau

# They hold the handle of a log, which is open once, and closed or ended after the training.
LOGGERS = (MlflowLogger, NeptuneLogger, SacredLogger, TensorBoard, WandbLogger)


def check_callbacks(
    callbacks: list[Any], owner: str, *, has_validation: bool, has_schedule: bool
) -> None:
    """Raise, before the training, if one of the callbacks cannot work in it.

    Parameters
    ----------
    callbacks : list
        The ``callbacks`` parameter: callbacks, classes of them, or pairs with a name.
    owner : str
        Whose they are, for error messages.
    has_validation : bool
        Whether classes are held out.
    has_schedule : bool
        Whether the learner changes the learning rate itself.

    Raises
    ------
    TypeError
        If something is no callback of skorch.
    ValueError
        If a callback needs what the training does not have.
    """
    for entry in callbacks:
        callback = _without_name(entry)
        cls = callback if isinstance(callback, type) else type(callback)
        if not issubclass(cls, Callback):
            raise TypeError(
                f"The 'callbacks' parameter of {owner} must hold callbacks of skorch "
                f"(skorch.callbacks.Callback). Got {callback!r}. Callbacks of scikit-learn are set "
                "by set_callbacks."
            )
        reason = _obstacle(callback, cls, has_validation, has_schedule)
        if reason is not None:
            raise ValueError(f"{owner} cannot use the callback {cls.__name__}: {reason}")


def copy_callbacks(callbacks: Any) -> Any:
    """Return copies of callbacks that share what cannot be copied, such as an open log.

    Parameters
    ----------
    callbacks : list, tuple or None
        The ``callbacks`` parameter.

    Returns
    -------
    copied : the same type
    """
    if callbacks is None:
        return None
    return type(callbacks)(_copy(entry) for entry in callbacks)


def without_loggers(callbacks: list[Any]) -> list[Any]:
    """Return the callbacks of a second training: its epochs are not those of the log."""
    return [entry for entry in callbacks if not _is_logger(_without_name(entry))]


def callback_parameters(callback: Any) -> list[Any]:
    """Return what makes a callback another one: its class and parameters, not what it has noted."""
    if isinstance(callback, tuple):
        name, callback = callback
        return [name, *callback_parameters(callback)]
    if isinstance(callback, type):
        return [callback]
    if isinstance(callback, LOGGERS):  # a fit that is resumed writes to a log opened anew
        return [type(callback)]
    return [type(callback), callback.get_params(deep=False)]


def _without_name(entry: Any) -> Any:
    return entry[1] if isinstance(entry, tuple) else entry


def _is_logger(callback: Any) -> bool:
    return isinstance(callback, LOGGERS) or (
        isinstance(callback, type) and issubclass(callback, LOGGERS)
    )


def _copy(entry: Any) -> Any:
    if isinstance(entry, tuple):
        name, callback = entry
        return name, _copy(callback)
    if not isinstance(entry, LOGGERS):
        try:
            return copy.deepcopy(entry)
        except Exception:  # a lock, a stream, a connection: each type raises an error of its own
            pass
    return copy.copy(entry)


def _obstacle(callback: Any, cls: type, has_validation: bool, has_schedule: bool) -> str | None:
    """Return why a callback cannot work and what serves instead; None if it can."""
    if issubclass(cls, BatchScoring) or (
        issubclass(cls, EpochScoring) and not _reads_history(callback)
    ):
        return (
            "it scores predictions for samples, and batches here are episodes. Every epoch of the "
            "history has 'valid_acc' and 'valid_loss', of held-out classes, to monitor. For scores "
            "by scikit-learn use set_callbacks(sklearn.callback.ScoringMonitor(...)); a function "
            "(net, X, y) of your own can read net.history and net.module_ in EpochScoring."
        )
    if issubclass(cls, InputShapeSetter):
        return "backbones are told the shape of a sample. Pass a class or function as backbone."
    if issubclass(cls, LoadInitState):
        return "use warm_start=True to continue a training, or checkpoint=folder to resume one."
    if getattr(callback, "load_best", False):
        return (
            "load_best=True would replace the weights of the best epoch, which the learner keeps "
            "itself, by validation accuracy. Set load_best=False."
        )
    if issubclass(cls, LRScheduler) and has_schedule:
        return (
            "the learner sets the learning rate of every batch itself, by lr_schedule. Set "
            "lr_schedule='constant'."
        )
    if _needs_validation(callback) and not has_validation:
        return (
            "it reads validation results, and no classes are held out. Hold some out by "
            "validation_fraction or validation_classes, or let it monitor 'train_loss' (a "
            "WandbLogger: save_model=False)."
        )
    return None


def _reads_history(callback: Any) -> bool:
    """Whether a scoring calls a function that is not scikit-learn's, so none of predictions."""
    scoring = getattr(callback, "scoring", None)
    function = scoring.func if isinstance(scoring, partial) else scoring
    is_function = inspect.isroutine(function)
    return is_function and not function.__module__.startswith("sklearn.")


def _needs_validation(callback: Any) -> bool:
    if isinstance(callback, type):
        return issubclass(callback, (Checkpoint, EarlyStopping))  # as their defaults monitor
    if isinstance(callback, WandbLogger):
        return bool(callback.save_model)
    if isinstance(callback, LRScheduler) and callback.policy not in (
        ReduceLROnPlateau,
        "ReduceLROnPlateau",
    ):
        return False
    monitor = getattr(callback, "monitor", None)
    return isinstance(monitor, str) and monitor.startswith("valid_")
