"""Callbacks of skorch: each works as skorch says, or an error before the training says what does.

The learners train twice: once with held-out classes, and again on all classes.
"""

import json
import pickle
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV
from skorch import callbacks as skorch_callbacks
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    NeptuneLogger,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
    WarmRestartLR,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from sklearn_fewshot.nn.backbones import MLP
from sklearn_fewshot.training._callbacks import copy_callbacks

N_BATCHES, N_EPOCHS, BEST = 5, 4, 3
small_mlp = partial(MLP, hidden_dim=16, embedding_dim=4)


LOG = {"log", "log_artifact", "log_metric", "log_scalar", "set_terminated", "watch", "write"}
METHODS = LOG | {"add_scalar", "close"}


class Handle:
    """A log as callbacks are given one: it is told things, and cannot be copied."""

    def __init__(self, folder=None):
        self.lock, self.dir = threading.Lock(), folder
        self.told = []

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(name)
        return lambda *args, **kwargs: self.told.append((name, args, kwargs))

    def calls(self, name):
        """Return the arguments of the calls of a method."""
        return [(args, kwargs) for called, args, kwargs in self.told if called == name]


class Field:
    """A log of which parts are logs, as Neptune's."""

    def __init__(self, told, name=""):
        self.lock, self.told, self.name = threading.Lock(), told, name

    def __getitem__(self, name):
        return Field(self.told, f"{self.name}/{name}")

    def __setitem__(self, name, value):
        self.told.append(f"{self.name}/{name}")

    def append(self, *args, **kwargs):
        self.told.append(self.name)


@pytest.fixture
def twice(make_learner, table, script_validation):
    """Fit a learner that trains for four epochs, and again for three."""

    def fit(callback, **params):
        script_validation((0.5, 3.0), (0.6, 2.0), (0.7, 1.5), (0.9, 1.0), (0.8, 1.25))
        learner = make_learner(
            **{"backbone": small_mlp, "max_epochs": N_EPOCHS, "patience": None, "refit": True}
            | {"callbacks": [callback], **params}
        )
        learner.fit(table.X, table.y)
        assert learner.best_epoch_ == BEST
        return learner

    return fit


def equal(state, other):
    return all(torch.equal(value, other[name]) for name, value in state.items())


# ------------------------------------------------------------------ each of them


class Counted(ProgressBar):
    """Note how far the bar has come at the end of each epoch."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("counted", self.pbar_.n)
        net.history.record("total", self.pbar_.total)
        net.history.record("has_loss", int("train_loss=" in self.pbar_.postfix))
        super().on_epoch_end(net, **kwargs)


@pytest.mark.parametrize("total", ["auto", "count"])
def test_the_progress_bar_counts_every_batch(twice, total):
    learner = twice(Counted(total, detect_notebook=False))
    for row in learner.history_[1:]:  # held-out classes are one batch more
        assert row["counted"] == row["total"] == N_BATCHES + 1
    for row in learner.net_.history:
        assert row["counted"] == N_BATCHES
        assert row["has_loss"]


def test_tensorboard_has_every_epoch_once_and_is_closed_at_the_end(twice):
    writer = Handle()
    learner = twice(TensorBoard(writer))
    losses = [
        (call["global_step"], call["scalar_value"])
        for _, call in writer.calls("add_scalar")
        if call["tag"] == "Loss/valid_loss"
    ]
    assert losses == [(row["epoch"], row["valid_loss"]) for row in learner.history_]
    assert [name for name, *_ in writer.told].index("close") == len(writer.told) - 1


def test_mlflow_gets_epochs_batches_and_files(twice):
    client, run = Handle(), SimpleNamespace(info=SimpleNamespace(run_id="7"))
    twice(MlflowLogger(run, client, log_on_batch_end=True))
    names = [args[1] for args, _ in client.calls("log_metric")]
    assert names.count("valid_acc_epoch") == N_EPOCHS
    assert names.count("train_loss_batch") == N_EPOCHS * N_BATCHES
    files = [args[1].name for args, _ in client.calls("log_artifact")]
    assert files == ["params.pth", "optimizer.pth", "criterion.pth", "history.json"]
    assert client.told[-1][0] == "set_terminated"


def test_wandb_gets_epochs_and_the_best_weights(twice, tmp_path):
    run = Handle(tmp_path)
    twice(WandbLogger(run))
    assert [args[0]["valid_acc"] for args, _ in run.calls("log")] == [0.6, 0.7, 0.9, 0.8]
    assert torch.load(tmp_path / "best_model.pth")


def test_sacred_gets_epochs_and_batches(twice):
    experiment = Handle()
    twice(SacredLogger(experiment, log_on_batch_end=True))
    names = [args[0] for args, _ in experiment.calls("log_scalar")]
    assert names.count("train_loss_epoch") == N_EPOCHS
    assert names.count("train_loss_batch") == N_EPOCHS * N_BATCHES


def test_neptune_gets_epochs_and_batches(twice, monkeypatch):
    monkeypatch.setattr(NeptuneLogger, "_model_summary_file", staticmethod(str))  # imports neptune
    told = []
    twice(NeptuneLogger(Field(told), log_on_batch_end=True, close_after_train=False))
    assert told.count("/training/train/epoch/loss") == N_EPOCHS
    assert told.count("/training/train/batch/loss") == N_EPOCHS * N_BATCHES


@pytest.mark.parametrize("monitor", ["valid_loss_best", "valid_acc_best", "train_loss_best", None])
def test_a_checkpoint_has_the_kept_weights_and_can_be_read(twice, tmp_path, monitor):
    saved = Checkpoint(monitor, dirname=str(tmp_path), f_pickle="net.pkl")
    learner = twice(saved, verbose=1)
    assert {path.name for path in tmp_path.iterdir()} == {
        "params.pt", "optimizer.pt", "criterion.pt", "history.json", "net.pkl",
    }  # fmt: skip
    assert json.loads((tmp_path / "history.json").read_text())[0]["event_cp"] is True
    if monitor != "train_loss_best":
        assert equal(torch.load(tmp_path / "params.pt"), learner.module_.state_dict())
        net = pickle.loads((tmp_path / "net.pkl").read_bytes())
        assert equal(net.module_.state_dict(), learner.module_.state_dict())


def test_what_is_saved_at_the_end_is_what_is_kept(twice, tmp_path):
    for params in ({}, {"refit": False}):
        learner = twice(TrainEndCheckpoint(dirname=str(tmp_path)), **params)
        saved = torch.load(tmp_path / "train_end_params.pt")
        assert equal(saved, learner.module_.state_dict())


@pytest.mark.parametrize(
    "callback",
    [EarlyStopping(patience=1), EarlyStopping("valid_acc", lower_is_better=False, patience=1)],
)
def test_early_stopping_reads_loss_or_accuracy_of_held_out_classes(twice, callback):
    learner = twice(callback, max_epochs=9)
    assert len(learner.history_) == N_EPOCHS
    assert len(learner.net_.history) == BEST


@pytest.mark.parametrize("policy", [ReduceLROnPlateau, "ReduceLROnPlateau"])
def test_the_learning_rate_falls_where_held_out_classes_gain_nothing(twice, policy):
    schedule = LRScheduler(
        policy, monitor="valid_acc", mode="max", patience=0, threshold=0.6, factor=0.5
    )
    learner = twice(schedule, lr=0.01, lr_schedule="constant")
    # 0.7 and 0.9 are no gain of 60 % over the 0.6 of the first epoch.
    assert [row["event_lr"] for row in learner.history_] == [0.01, 0.01, 0.005, 0.0025]
    again = [row["event_lr"] for row in learner.net_.history]
    assert again == [0.01, 0.01, 0.005]  # the second training decides as the first did


@pytest.mark.parametrize(
    "schedule",
    [
        LRScheduler(StepLR, step_size=1),
        LRScheduler("StepLR", step_size=1, step_every="batch"),
        LRScheduler(WarmRestartLR),
    ],
)
def test_other_schedules_set_the_learning_rate(twice, schedule):
    learner = twice(schedule, lr=0.01, lr_schedule="constant")
    assert learner.net_.optimizer_.param_groups[0]["lr"] != 0.01


def of_history(net, X, y):
    return net.history[-1]["train_loss"] + len(list(net.module_.parameters()))


@pytest.mark.parametrize("use_caching", [False, True])
def test_a_scoring_of_history_and_network_can_be_monitored(twice, use_caching):
    score = EpochScoring(of_history, name="mine", use_caching=use_caching)
    stop = EarlyStopping("mine", patience=9)
    learner = twice(("mine", score), callbacks=[score, stop])
    assert all(row["mine"] > row["train_loss"] for row in learner.history_)
    assert learner.history_[0]["mine_best"] is True


def test_scorings_of_batches_have_the_loss(twice):
    learner = twice(PassthroughScoring("train_loss", on_train=True))
    assert learner.history_[0]["train_loss"] > 0


def test_tables_and_times_are_printed(twice, capsys):
    twice(EpochTimer(), callbacks=[EpochTimer(), PrintLog(sink=print)], net_params={"verbose": 1})
    out = capsys.readouterr().out
    assert "valid_acc" in out
    assert "dur" in out


@pytest.mark.parametrize(
    "callback",
    [
        GradientNormClipping(1e-9),
        Freezer("head.*"),
        Unfreezer("*"),
        ParamMapper("*"),
        Initializer("backbone.*.weight", fn=torch.nn.init.zeros_),
        EarlyStopping,  # skorch takes classes, too
        ("named", TensorBoard(Handle())),
    ],
    ids=lambda it: type(it).__name__,
)
def test_the_others_train(twice, callback):
    twice(callback)


def test_every_callback_of_skorch_is_tried_here():
    known = {
        name
        for name in skorch_callbacks.__all__
        if isinstance(getattr(skorch_callbacks, name), type)
    }
    assert known - set(globals()) <= {"Callback"}


# ------------------------------------------------------------------ trainings of two kinds


def test_a_training_without_an_epoch_tells_callbacks_nothing(twice, make_learner, table, tmp_path):
    saved = TrainEndCheckpoint(dirname=str(tmp_path), fn_prefix="{last_epoch[epoch]}")
    make_learner(callbacks=[saved], max_epochs=0).fit(table.X, table.y)
    assert list(tmp_path.iterdir()) == []


def test_held_out_results_are_there_for_any_callback_of_both_trainings(twice):
    class Reads(Callback):
        def on_epoch_end(self, net, **kwargs):
            row = net.history[-1]
            net.history.record("read", row["valid_acc"] + row["valid_loss"])

    learner = twice(Reads())
    assert [row["read"] for row in learner.net_.history] == [2.6, 2.2, 1.9]


def test_the_second_training_is_not_said_to_be_validated(twice, capsys):
    twice(EpochTimer(), verbose=1)
    err = capsys.readouterr().err
    assert "validation accuracy" in err
    assert "validation accuracy" not in err[err.index("again on all classes") :]


def test_every_learner_takes_them(make_any, table, tmp_path):
    callbacks = [
        ProgressBar(detect_notebook=False),
        Checkpoint(dirname=str(tmp_path)),
        EarlyStopping(),
        TensorBoard(Handle()),
        EpochScoring(of_history, name="mine"),
    ]
    learner = make_any(callbacks=callbacks, refit=True).fit(table.X, table.y)
    assert (tmp_path / "params.pt").exists()
    assert "mine" in learner.history_[0]


# ------------------------------------------------------------------ logs cannot be copied


def test_clones_and_searches_share_the_log(make_learner, table):
    writer = Handle()
    learner = make_learner(callbacks=[("log", TensorBoard(writer))], max_epochs=1)
    ((_, copied),) = clone(learner).callbacks
    assert copied is not learner.callbacks[0][1]
    assert copied.writer is writer
    search = GridSearchCV(learner, {"lr": [1e-3, 1e-2]}, cv=2).fit(table.X, table.y)
    assert len(writer.calls("close")) == 2 * 2 + 1
    assert search.best_score_ > 0


def test_a_callback_of_the_user_may_hold_something_open(make_learner, table):
    class Logs(Callback):
        def __init__(self, log):
            self.log, self.n_epochs = log, 0

        def on_epoch_end(self, net, **kwargs):
            self.n_epochs += 1
            self.log.write(net.history[-1]["epoch"])

    log = Handle()
    callback = Logs(log)
    make_learner(callbacks=[callback], patience=None).fit(table.X, table.y)
    assert log.calls("write") == [((1,), {}), ((2,), {})]
    assert callback.n_epochs == 0  # it was copied, all the same


def test_a_copy_has_the_kind_of_the_parameter():
    assert copy_callbacks(None) is None
    assert type(copy_callbacks((EarlyStopping(),))) is tuple


def test_a_fit_with_a_log_resumes(make_learner, table, tmp_path):
    class CtrlC(Callback):
        n_left = 2

        def on_epoch_end(self, net, **kwargs):
            CtrlC.n_left -= 1
            if CtrlC.n_left == 0:
                raise KeyboardInterrupt

    def learner(log):
        callbacks = [TensorBoard(log), CtrlC()]
        return make_learner(callbacks=callbacks, max_epochs=3, checkpoint=tmp_path)

    with pytest.raises(KeyboardInterrupt):
        learner(Handle()).fit(table.X, table.y)
    log = Handle()  # opened anew, in another process perhaps
    learner(log).fit(table.X, table.y)
    assert {call["global_step"] for _, call in log.calls("add_scalar")} == {2, 3}


# ------------------------------------------------------------------ errors before the training


@pytest.mark.parametrize(
    ("callback", "params", "message"),
    [
        (EpochScoring("accuracy"), {}, "valid_acc.*ScoringMonitor"),
        (EpochScoring(accuracy_score, use_caching=False), {}, "valid_acc.*ScoringMonitor"),
        (EpochScoring(make_scorer(accuracy_score)), {}, "valid_acc.*ScoringMonitor"),
        (EpochScoring(None), {}, "valid_acc.*ScoringMonitor"),
        (BatchScoring(of_history), {}, "valid_acc.*ScoringMonitor"),
        (InputShapeSetter(), {}, "function as backbone"),
        (LoadInitState(Checkpoint()), {}, "warm_start=True.* checkpoint="),
        (Checkpoint(load_best=True), {}, "keeps itself.*load_best=False"),
        (EarlyStopping(load_best=True), {}, "keeps itself.*load_best=False"),
        (LRScheduler(StepLR, step_size=1), {}, "lr_schedule='constant'"),
        (EarlyStopping(), {"validation_fraction": 0.0}, "validation_fraction"),
        (EarlyStopping, {"validation_fraction": 0.0}, "validation_fraction"),
        (Checkpoint("valid_acc_best"), {"validation_fraction": 0.0}, "'train_loss'"),
        (("log", WandbLogger(Handle())), {"validation_fraction": 0.0}, "save_model=False"),
        (
            LRScheduler(ReduceLROnPlateau, monitor="valid_loss"),
            {"validation_fraction": 0.0, "lr_schedule": "constant"},
            "'train_loss'",
        ),
    ],
)
def test_what_cannot_work_is_said_before_the_training(
    make_any, table, monkeypatch, callback, params, message
):
    monkeypatch.setattr("sklearn_fewshot.training._meta_train.train_once", None)
    name = getattr(callback, "__name__", type(callback).__name__)
    name = "WandbLogger" if name == "tuple" else name
    with pytest.raises(ValueError, match=rf"cannot use the callback {name}: .*{message}"):
        make_any(callbacks=[callback], **params).fit(table.X, table.y)


@pytest.mark.parametrize("callback", [print, "EarlyStopping", object(), dict])
def test_what_is_no_callback_of_skorch_is_said(make_learner, table, callback):
    with pytest.raises(TypeError, match=r"must hold callbacks of skorch.* set_callbacks"):
        make_learner(callbacks=[callback]).fit(table.X, table.y)


def test_without_held_out_classes_the_training_loss_serves(make_learner, table, tmp_path):
    callbacks = [
        EarlyStopping("train_loss"),
        Checkpoint("train_loss_best", dirname=str(tmp_path)),
        LRScheduler(ReduceLROnPlateau),
        WandbLogger(Handle(), save_model=False),
    ]
    learner = make_learner(
        callbacks=callbacks, validation_fraction=0.0, lr_schedule="constant", max_epochs=2
    )
    learner.fit(table.X, table.y)
    assert np.isfinite(learner.history_[0]["event_lr"])
