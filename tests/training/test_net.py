"""Meta-training: which weights are kept, how training ends, what it says and calls."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback, EarlyStopping
from torch.torch_version import TorchVersion

from sklearn_fewshot.nn.backbones import MLP
from sklearn_fewshot.training import _net
from sklearn_fewshot.training._net import TrainingDiverged

small_mlp = partial(MLP, hidden_dim=16, embedding_dim=4)


class Recorder(Callback):
    """Remember, in lists that copies share, what an epoch looked like."""

    def __init__(self):
        self.weights, self.lr, self.nets = [], [], []

    def __deepcopy__(self, memo):
        return self

    def on_train_begin(self, net, **kwargs):
        self.nets.append(net)

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self.lr.append(net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net, **kwargs):
        self.weights.append({k: v.clone() for k, v in net.module_.state_dict().items()})


class Raise(Callback):
    """Raise at the end of an epoch."""

    def __init__(self, error, epoch):
        self.error, self.epoch = error, epoch

    def on_epoch_end(self, net, **kwargs):
        if net.history[-1]["epoch"] == self.epoch:
            raise self.error


def equal_states(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


# ------------------------------------------------------------------ which weights are kept


def kept_epoch(learner, recorder):
    """Return the epoch whose weights the learner has; None if they are of no epoch."""
    state = learner.module_.state_dict()
    epochs = [i for i, weights in enumerate(recorder.weights, 1) if equal_states(state, weights)]
    return epochs[0] if epochs else None


@pytest.mark.parametrize(
    ("results", "best"),
    [
        ([0.5, 0.6, 0.8, 0.7, 0.8], 2),
        ([0.5, 0.6, (0.8, 0.9), 0.7, (0.8, 0.8)], 4),  # equal accuracies: the loss decides
        ([0.5, 0.6, 0.7, 0.8, 0.9], 4),
        ([0.9, 0.6, 0.8, 0.7, 0.9], 0),
    ],
)
def test_the_best_weights_are_restored(make_learner, table, script_validation, results, best):
    recorder = Recorder()
    learner = make_learner(backbone=small_mlp, max_epochs=4, patience=None, callbacks=[recorder])
    script_validation(*results)
    learner.fit(table.X, table.y)
    assert learner.best_epoch_ == best
    assert kept_epoch(learner, recorder) == (best or None)


def test_patience_ends_training_and_restores_the_best_weights(
    make_learner, table, script_validation
):
    recorder = Recorder()
    learner = make_learner(backbone=small_mlp, max_epochs=50, patience=2, callbacks=[recorder])
    script_validation(0.5, 0.6, 0.5, 0.7, 0.7, 0.6)
    learner.fit(table.X, table.y)
    assert len(learner.history_) == 5
    assert kept_epoch(learner, recorder) == learner.best_epoch_ == 3


def test_the_untrained_network_is_a_candidate(make_learner, table):
    untrained = make_learner(max_epochs=0).fit(table.X, table.y)
    ruined = make_learner(lr=30.0, lr_schedule="constant").fit(table.X, table.y)
    assert ruined.history_[-1]["valid_loss"] > np.log(2)  # worse than guessing
    assert ruined.best_epoch_ == untrained.best_epoch_ == 0
    assert equal_states(ruined.module_.state_dict(), untrained.module_.state_dict())
    np.testing.assert_array_equal(ruined.predict_proba(table.X), untrained.predict_proba(table.X))


def test_without_validation_the_last_weights_are_kept(make_learner, table):
    recorder = Recorder()
    learner = make_learner(validation_fraction=0.0, max_epochs=3, callbacks=[recorder])
    learner.fit(table.X, table.y)
    assert equal_states(learner.module_.state_dict(), recorder.weights[-1])
    assert learner.best_epoch_ == 3
    assert [set(row) & {"valid_acc", "valid_loss"} for row in learner.history_] == [set()] * 3


# ------------------------------------------------------------------ how training ends


def test_ctrl_c_leaves_the_learner_as_it_was(make_learner, table):
    learner = make_learner(max_epochs=3).set_params(callbacks=[Raise(KeyboardInterrupt(), 2)])
    with pytest.raises(KeyboardInterrupt):
        learner.fit(table.X, table.y)
    assert not [name for name in vars(learner) if name.endswith("_") or name == "_network"]

    learner.set_params(callbacks=None).fit(table.X, table.y)
    before, predicted = dict(vars(learner)), learner.predict_proba(table.X)
    learner.set_params(callbacks=[Raise(KeyboardInterrupt(), 1)])
    with pytest.raises(KeyboardInterrupt):
        learner.fit(table.X[:, :3], table.y)
    assert vars(learner).keys() == before.keys()
    assert all(vars(learner)[name] is before[name] for name in before if name != "callbacks")
    np.testing.assert_array_equal(learner.predict_proba(table.X), predicted)


def test_ctrl_c_stops_a_cross_validation(make_learner, table):
    learner = make_learner(callbacks=[Raise(KeyboardInterrupt(), 1)])
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(learner, table.X, table.y, cv=2)


def test_errors_of_callbacks_are_raised(make_learner, table):
    learner = make_learner(callbacks=[Raise(OSError("disk full"), 1)])
    with pytest.raises(OSError, match="disk full"):
        learner.fit(table.X, table.y)


def test_early_stopping_of_the_user_ends_training(make_learner, table):
    stop = EarlyStopping(patience=2, threshold=1e9, threshold_mode="abs", sink=lambda line: None)
    learner = make_learner(backbone=small_mlp, max_epochs=30, patience=None, callbacks=[stop])
    learner.fit(table.X, table.y)
    assert len(learner.history_) < 30
    assert stop.misses_ == 0  # it was copied
    assert learner.score(table.X, table.y) > 1 / 8


def test_diverging_training_is_named_with_its_epoch_and_learning_rate(make_learner, table):
    learner = make_learner(callbacks=[Poison(epoch=2)], max_epochs=5, lr=0.25)
    with pytest.raises(TrainingDiverged, match=r"epoch 2 is nan.*Lower the .*\(lr=0.25\)"):
        learner.fit(table.X, table.y)
    assert not hasattr(learner, "module_")


def test_diverging_training_names_the_learning_rate_that_was_in_effect(make_learner, table):
    learner = make_learner(
        callbacks=[Poison(epoch=2)],
        max_epochs=5,
        lr=0.25,
        lr_schedule=lambda progress: 1 - progress,
    )
    with pytest.raises(TrainingDiverged, match=r"epoch 2 is nan; .* learning rate of 0\.2\. Lower"):
        learner.fit(table.X, table.y)


class Poison(Callback):
    """Put NaN into the weights."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.nan)


class Greedy(torch.nn.Linear):
    """Ask for more memory than any computer has, in training or in prediction."""

    def __init__(self, n_features, when):
        super().__init__(n_features, n_features)
        self.when = when

    def forward(self, x):
        if self.when == ("training" if self.training else "prediction"):
            torch.empty(2**50)
        return super().forward(x)


def test_training_that_needs_too_much_memory_says_what_to_lower(make_learner, table):
    learner = make_learner(backbone=Greedy(6, "training"))
    with pytest.raises(MemoryError, match=r"Lower meta_batch_size, n_way.* n_query") as raised:
        learner.fit(table.X, table.y)
    assert isinstance(raised.value.__cause__, RuntimeError)  # as torch raises it
    assert not hasattr(learner, "module_")


def test_embedding_that_needs_too_much_memory_says_what_to_lower(make_learner, table):
    learner = make_learner(backbone=Greedy(6, None), predict_batch_size=64, calibrate=False)
    learner.fit(table.X, table.y).module_.backbone.when = "prediction"
    with pytest.raises(MemoryError, match=r"Lower predict_batch_size=64\."):
        learner.predict(table.X)


@pytest.mark.parametrize("error", [MemoryError(), torch.cuda.OutOfMemoryError("CUDA is full")])
def test_memory_that_runs_out_anywhere_in_fit_is_one_error(make_learner, table, error):
    with pytest.raises(MemoryError, match=r"Memory ran out\. Lower meta_batch_size"):
        make_learner(callbacks=[Raise(error, 1)]).fit(table.X, table.y)


def test_other_errors_of_torch_stay_as_they_are(make_learner, table):
    with pytest.raises(RuntimeError, match=r"^shapes$"):
        make_learner(callbacks=[Raise(RuntimeError("shapes"), 1)]).fit(table.X, table.y)


# ------------------------------------------------------------------ learning rate and optimizer


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("constant", lambda progress: 1.0),
        ("cosine", lambda progress: 0.5 + 0.5 * np.cos(np.pi * progress)),
        ("step", lambda progress: 0.5 ** int(10 * progress)),
        (lambda progress: 1.0 - progress, lambda progress: 1.0 - progress),
    ],
    ids=["constant", "cosine", "step", "callable"],
)
def test_the_learning_rate_follows_its_schedule(make_learner, table, schedule, factor):
    recorder = Recorder()
    learner = make_learner(
        lr=0.01, lr_schedule=schedule, max_epochs=4, patience=None, callbacks=[recorder]
    )
    learner.fit(table.X, table.y)
    expected = [0.01 * factor(step / 20) for step in range(20)]
    np.testing.assert_allclose(recorder.lr, expected)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        (torch.optim.RMSprop, torch.optim.RMSprop),
    ],
)
def test_the_optimizer_is_chosen_by_name_or_class(make_learner, table, optimizer, expected):
    learner = make_learner(optimizer=optimizer, weight_decay=0.125, lr=1e-4).fit(table.X, table.y)
    assert type(learner.net_.optimizer_) is expected
    assert learner.net_.optimizer_.param_groups[0]["weight_decay"] == 0.125


def test_net_params_reach_skorch(make_learner, table):
    learner = make_learner(net_params={"optimizer__betas": (0.5, 0.9)}).fit(table.X, table.y)
    assert learner.net_.optimizer_.param_groups[0]["betas"] == (0.5, 0.9)


# ------------------------------------------------------------------ what it tells


def test_the_history_is_plain_data_one_row_an_epoch(make_learner, table):
    learner = make_learner(max_epochs=3, patience=None).fit(table.X, table.y)
    assert type(learner.history_) is list
    assert [row["epoch"] for row in learner.history_] == [1, 2, 3]
    for row in learner.history_:
        assert type(row) is dict
        assert {"train_loss", "valid_loss", "valid_acc", "duration"} <= set(row)
        assert {"train_loss_best", "valid_loss_best", "valid_acc_best"} <= set(row)
        assert all(type(value) in (int, float, bool) for value in row.values())
        assert 0 <= row["valid_acc"] <= 1


def test_nothing_is_printed_by_default(make_learner, table, capsys):
    make_learner().fit(table.X, table.y)
    assert capsys.readouterr() == ("", "")


class Shows(Callback):
    """Note what the bars have shown at the end of an epoch."""

    def __init__(self, read):
        self.read, self.shown = read, []

    def __deepcopy__(self, memo):
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        if not training:
            self.shown.append(self.read())


def test_the_bar_moves_within_an_epoch(make_learner, table, capsys, monkeypatch):
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    monkeypatch.setattr(_net, "progress_bar", partial(_net.progress_bar, mininterval=0))
    shows = Shows(lambda: capsys.readouterr().err)
    make_learner(verbose=1, callbacks=[shows]).fit(table.X, table.y)
    first, second = shows.shown
    for n_batches in range(6):
        assert f" {n_batches}/10 " in first
    assert "epoch 1/2" in first
    assert "epoch 2/2" in second


def test_all_that_takes_long_has_a_bar(make_learner, pictures, table, capsys):
    make_learner(verbose=1).fit(pictures.X, pictures.y)
    err = capsys.readouterr().err
    parts = [err.index(f"\r{part}:") for part in ("epoch 1/2", "embedding", "calibration")]
    assert parts == sorted(parts)
    assert "calibration of unequal shots:" in err
    make_learner(verbose=1, freeze_backbone=True).fit(pictures.X, pictures.y)
    err = capsys.readouterr().err
    assert err.index("embedding:") < err.index("epoch 1/2:")  # by the frozen backbone
    make_learner(verbose=1).fit(table.X, table.y)
    assert "choosing the start:" in capsys.readouterr().err


def test_a_training_has_one_bar_that_says_how_far_it_is(make_learner, table, capsys):
    learner = make_learner(verbose=1, max_epochs=3, patience=None).fit(table.X, table.y)
    out, err = capsys.readouterr()
    row = learner.history_[-1]
    assert out == ""
    assert err.count("\n") == 1
    assert "epoch 3/3: 100%" in err
    assert " 15/15 " in err  # batches
    assert f"loss={row['train_loss']:.4f}, validation accuracy={row['valid_acc']:.2%}]\n" in err


# ------------------------------------------------------------------ callbacks


def test_callbacks_are_skorchs_and_are_copied(make_learner, table):
    class Count(Callback):
        n_epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.n_epochs += 1

    count = Count()
    learner = make_learner(callbacks=[("count", count)], max_epochs=3, patience=None)
    learner.fit(table.X, table.y)
    assert count.n_epochs == 0
    assert dict(learner.net_.callbacks_)["count"].n_epochs == 3


def test_the_net_holds_the_trained_module(make_learner, table):
    learner = make_learner().fit(table.X, table.y)
    assert equal_states(learner.net_.module_.state_dict(), learner.module_.state_dict())


# ------------------------------------------------------------------ steps


class Modes(Callback):
    """Note the mode of the network in every batch, and switch it off at the end of one."""

    seen = []

    def on_grad_computed(self, net, **kwargs):
        Modes.seen.append({part.training for part in net.module_.modules()})

    def on_batch_end(self, net, **kwargs):
        net.module_.eval()


def test_every_step_trains_in_training_mode(make_learner, table):
    Modes.seen = []
    backbone = small_mlp(table.X.shape[1:]).eval()  # as somebody would hand it in
    make_learner(backbone=backbone, callbacks=[Modes()], max_epochs=2).fit(table.X, table.y)
    assert len(Modes.seen) > 2
    assert all(modes == {True} for modes in Modes.seen)


@pytest.mark.parametrize(
    ("optimizer", "device", "version", "fused"),
    [
        ("adam", "cpu", "2.4.0", True),
        ("sgd", "cuda", "2.3.1", True),
        ("adamw", "cpu", "2.3.1", False),  # torch has it for GPUs only
        ("adam", "mps", "2.13.0", False),
        (torch.optim.Adam, "cpu", "2.13.0", False),  # the user's own: as the user says
    ],
)
def test_optimizers_known_by_name_update_all_weights_at_once(
    monkeypatch, optimizer, device, version, fused
):
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    expected = {"optimizer__fused": True} if fused else {}
    assert _net._fused_step(optimizer, torch.device(device)) == expected


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_fused_steps_are_the_same_steps(make_learner, table, optimizer):
    params = {"backbone": small_mlp, "optimizer": optimizer, "weight_decay": 0.01, "max_epochs": 2}
    fused = make_learner(**params).fit(table.X, table.y)
    assert fused.net_.optimizer_.defaults.get("fused") in (True, None)
    plain = make_learner(net_params={"optimizer__fused": False}, **params).fit(table.X, table.y)
    assert not plain.net_.optimizer_.defaults["fused"]
    np.testing.assert_allclose(
        fused.transform(table.X), plain.transform(table.X), rtol=1e-3, atol=1e-3
    )
