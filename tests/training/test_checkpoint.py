"""Interrupted fits go on where they were, and end as if nothing had happened."""

import os
import pickle
import re
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

import sklearn_fewshot
from sklearn_fewshot import (
    BaselineClassifier,
    ProtoNetClassifier,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
)
from sklearn_fewshot.learners import _base
from sklearn_fewshot.nn.backbones import MLP
from sklearn_fewshot.training import _checkpoint, _meta_train
from sklearn_fewshot.training._checkpoint import CheckpointPart, open_checkpoint
from sklearn_fewshot.training._fingerprint import fingerprint

small_mlp = partial(MLP, hidden_dim=16, embedding_dim=4)


class Tripped(Exception):
    """An interruption."""


class Trip(Callback):
    """Raise at the end of an epoch, counted over all trainings since it was set.

    What it counts by belongs to the class: all of its objects are the same parameter.
    """

    n_left = 0

    def on_epoch_end(self, net, **kwargs):
        Trip.n_left -= 1
        if Trip.n_left == 0:
            raise Tripped


@pytest.fixture
def stop_after(monkeypatch):
    """Make fits raise after so many saves; None lets them end."""
    save = CheckpointPart.save

    def stop_after(n_saves):
        left = iter(range(n_saves or 0, 0, -1))

        def save_and_stop(self, state):
            save(self, state)
            if next(left, None) == 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(CheckpointPart, "save", save_and_stop)

    return stop_after


def interrupted(learner, *args, **kwargs):
    """Fit, and see that it is interrupted."""
    with pytest.raises((KeyboardInterrupt, Tripped)):
        learner.fit(*args, **kwargs)


def files(folder, suffix=""):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(suffix))


def rows(learner):
    """Return the history, how long it took apart."""
    return [{k: v for k, v in row.items() if k != "duration"} for row in learner.history_]


def check_same(learner, expected, X):
    """Equal to the last bit: weights, what was learned beside them, predictions."""
    state, other = learner.module_.state_dict(), expected.module_.state_dict()
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name]), name
    assert rows(learner) == rows(expected)
    assert learner.best_epoch_ == expected.best_epoch_
    np.testing.assert_array_equal(learner.classes_, expected.classes_)
    for name in ("seen_bias_", "threshold_", "scale_", "n_way_"):
        assert getattr(learner, name, None) == getattr(expected, name, None)
    kept, others = (
        (
            it.representation_,
            it._network.calibration,
            [row["epoch"] for row in it.net_.history],
        )
        for it in (learner, expected)
    )
    assert fingerprint(kept) == fingerprint(others)
    np.testing.assert_array_equal(learner.predict_proba(X), expected.predict_proba(X))


def first_of_training(capsys):
    """Return the first state of the bar of a training."""
    lines = capsys.readouterr().err.split("\r")
    return next(line for line in lines if line.startswith("epoch"))


# ------------------------------------------------------------------ every learner


def check_epochs(make, folder, X, y, epochs=(2, 4), **given):
    """Interrupt in epochs of two trainings of two each, before these are saved, and fit again."""
    make = partial(make, callbacks=[Trip()], refit=True, max_epochs=2)
    Trip.n_left = 0
    expected = make().fit(X, y, **given)
    n_epochs = -Trip.n_left
    assert n_epochs >= 2
    for epoch in sorted({min(epoch, n_epochs) for epoch in epochs}):
        learner = make(checkpoint=folder)
        Trip.n_left = epoch
        interrupted(learner, X, y, **given)
        assert not hasattr(learner, "module_")
        assert len(files(folder)) == (epoch > 1)
        learner.fit(X, y, **given)
        assert Trip.n_left == epoch - 1 - n_epochs  # no epoch twice, but that which was lost
        check_same(learner, expected, X)
        assert files(folder) == []


def test_an_interrupted_fit_ends_as_if_it_had_not_been(make_any, table, tmp_path):
    check_epochs(make_any, tmp_path, table.X, table.y)


def test_it_may_be_any_epoch(make_learner, table, tmp_path):
    check_epochs(make_learner, tmp_path, table.X, table.y, epochs=(1, 2, 3, 4))


@pytest.mark.parametrize("cls", [ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier])
def test_learners_of_attributes_go_on_as_well(cls, table, tmp_path):
    labels = np.unique(table.y)
    matrix = np.random.default_rng(3).normal(size=(len(labels), 4))
    make = partial(cls, n_way=5, episodes_per_epoch=5, random_state=0)
    given = {"class_attributes": (labels, matrix)}
    check_epochs(make, tmp_path, table.X, table.y, **given)


def test_other_attributes_are_another_fit(table, tmp_path, stop_after):
    labels = np.unique(table.y)
    learner = ZeroShotProtoNetClassifier(n_way=5, episodes_per_epoch=2, checkpoint=tmp_path)
    for number in (1, 2):
        stop_after(1)
        matrix = np.random.default_rng(number).normal(size=(len(labels), 4))
        interrupted(learner, table.X, table.y, class_attributes=(labels, matrix))
        assert len(files(tmp_path)) == number


# ------------------------------------------------------------------ ways to train


WAYS = {
    "momentum": {"optimizer": "sgd", "net_params": {"optimizer__momentum": 0.9}},
    "optimizer of torch": {"optimizer": torch.optim.RMSprop, "lr": 1e-3},
    "constant rate": {"lr_schedule": "constant"},
    "own schedule": {"lr_schedule": lambda progress: 1.0 - progress},
    "frozen backbone": {"backbone": small_mlp, "freeze_backbone": True},
    "batches of unequal episodes": {"n_shot": (1, 3), "n_way": (2, 5), "meta_batch_size": 2},
    "no validation": {"validation_fraction": 0.0},
    "no calibration": {"calibrate": False},
    "schedule of skorch": {
        "callbacks": [LRScheduler("StepLR", step_size=1)],
        "lr_schedule": "constant",
    },
}


@pytest.mark.parametrize("params", WAYS.values(), ids=WAYS)
def test_every_way_to_train_goes_on(make_learner, table, tmp_path, stop_after, params):
    params = {"max_epochs": 3, "patience": None, **params}
    expected = make_learner(**params).fit(table.X, table.y)
    learner = make_learner(checkpoint=tmp_path, **params)
    stop_after(2)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    check_same(learner.fit(table.X, table.y), expected, table.X)


def test_pictures_go_on(make_learner, pictures, tmp_path, stop_after):
    """Batch norm, random distortions."""
    params = {"max_epochs": 3, "augment": "affine"}
    expected = make_learner(**params).fit(pictures.X, pictures.y)
    learner = make_learner(checkpoint=tmp_path, **params)
    for _ in range(2):
        stop_after(1)
        interrupted(learner, pictures.X, pictures.y)
    stop_after(None)
    check_same(learner.fit(pictures.X, pictures.y), expected, pictures.X)


def test_a_warm_start_goes_on_from_its_own_start(make_learner, table, tmp_path, stop_after):
    first, other = (make_learner(random_state=seed).fit(table.X, table.y) for seed in (0, 1))
    expected = pickle.loads(pickle.dumps(first)).set_params(warm_start=True)
    expected.fit(table.X, table.y)
    for learner in (first, other):
        learner.set_params(warm_start=True, random_state=0, checkpoint=tmp_path)
        stop_after(1)
        interrupted(learner, table.X, table.y)
    assert len(files(tmp_path)) == 2
    stop_after(None)
    check_same(first.fit(table.X, table.y), expected, table.X)


def test_patience_that_was_used_up_stays_so(
    make_learner, table, tmp_path, script_validation, stop_after
):
    results = [0.5, 0.6, 0.9, 0.7, 0.7, 0.6, 0.6]
    learner = make_learner(max_epochs=50, patience=2, checkpoint=tmp_path, calibrate=False)
    script_validation(*results)
    expected = clone(learner).set_params(checkpoint=None).fit(table.X, table.y)
    assert len(expected.history_) == 4
    for n_saves, seen in ((3, results), (1, [0.5, *results[4:]])):
        script_validation(*seen)
        stop_after(n_saves)
        interrupted(learner, table.X, table.y)
    script_validation(0.5)  # of the untrained network: no epoch is left
    check_same(learner.fit(table.X, table.y), expected, table.X)


def test_early_stopping_of_the_user_goes_on_counting(make_learner, table, tmp_path, stop_after):
    stop = EarlyStopping(patience=3, threshold=1e9, threshold_mode="abs", sink=lambda line: None)
    params = {"max_epochs": 30, "patience": None, "callbacks": [stop]}
    expected = make_learner(**params).fit(table.X, table.y)
    learner = make_learner(checkpoint=tmp_path, **params)
    stop_after(2)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    check_same(learner.fit(table.X, table.y), expected, table.X)


class Remembers(Callback):
    """Keep something plain by skorch's convention, and something that is not."""

    def __init__(self, unused=0):
        self.unused = unused

    def on_train_begin(self, net, **kwargs):
        self.seen_, self.where_, self.sum_ = [], object(), torch.zeros(1)

    def on_epoch_end(self, net, **kwargs):
        self.seen_.append(net.history[-1]["epoch"])
        self.sum_ += 1


def test_callbacks_go_on_with_what_is_plain(make_learner, table, tmp_path, stop_after):
    learner = make_learner(callbacks=[Remembers()], max_epochs=3, checkpoint=tmp_path)
    stop_after(2)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    (_, callback), *_ = learner.fit(table.X, table.y).net_.callbacks_
    assert callback.seen_ == [1, 2, 3]
    assert callback.sum_ == 3


# ------------------------------------------------------------------ seeds


def test_a_drawn_seed_is_taken_up_again(make_learner, table, tmp_path, stop_after, monkeypatch):
    seeds = iter([11, 11, 12, 13])
    monkeypatch.setattr(_base, "draw_seed", lambda random_state: next(seeds))
    expected = make_learner(random_state=None).fit(table.X, table.y)
    learner = make_learner(random_state=None, checkpoint=tmp_path)
    stop_after(1)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    check_same(learner.fit(table.X, table.y), expected, table.X)
    assert rows(learner.fit(table.X, table.y)) != rows(expected)  # ended: a new seed


def test_a_random_state_in_the_same_state_names_the_same_fit(
    make_learner, table, tmp_path, stop_after
):
    def make(**params):
        return make_learner(random_state=np.random.RandomState(5), **params)

    expected = make().fit(table.X, table.y)
    stop_after(1)
    interrupted(make(checkpoint=tmp_path), table.X, table.y)
    stop_after(None)
    check_same(make(checkpoint=tmp_path).fit(table.X, table.y), expected, table.X)


# ------------------------------------------------------------------ one file for each fit


def test_other_parameters_or_data_are_another_fit(make_learner, table, tmp_path, stop_after):
    groups = np.arange(len(table.y)) % 2
    X = table.X.copy()
    X[3, 2] += 1e-9
    cases = [
        ({}, (table.X, table.y), {}),
        ({"lr": 1e-4}, (table.X, table.y), {}),
        ({"lr_schedule": lambda progress: 1.0}, (table.X, table.y), {}),
        ({"lr_schedule": lambda progress: 2.0}, (table.X, table.y), {}),
        ({"backbone": MLP((6,), embedding_dim=4)}, (table.X, table.y), {}),
        ({"backbone": MLP((6,), embedding_dim=4)}, (table.X, table.y), {}),  # other weights
        ({"callbacks": [Remembers()]}, (table.X, table.y), {}),
        ({"callbacks": [Remembers(1)]}, (table.X, table.y), {}),
        ({"callbacks": [("named", Remembers)]}, (table.X, table.y), {}),
        ({"random_state": 1}, (table.X, table.y), {}),
        ({"random_state": None}, (table.X, table.y), {}),
        ({}, (X, table.y), {}),
        ({}, (table.X, table.y[::-1]), {}),
        ({}, (table.X[1:], table.y[1:]), {}),
        ({}, (table.X, table.y), {"groups": groups}),
        ({}, (table.X, table.y), {"class_groups": table.y}),
        ({}, (table.X, table.y), {"tasks": [name > "base-2" for name in table.y]}),
    ]
    for number, (params, args, kwargs) in enumerate(cases):
        stop_after(1)
        interrupted(make_learner(checkpoint=tmp_path, **params), *args, **kwargs)
        assert len(files(tmp_path)) == number + 1
    for params, args, kwargs in cases[:2]:
        expected = make_learner(**params).fit(*args, **kwargs)
        learner = make_learner(checkpoint=str(tmp_path), verbose=0, **params)  # as a string
        check_same(learner.fit(*args, **kwargs), expected, table.X)
    assert len(files(tmp_path)) == len(cases) - 2


def test_another_version_is_another_fit(make_learner, table, tmp_path, stop_after, monkeypatch):
    learner = make_learner(checkpoint=tmp_path)
    for release in ("1.0", "1.1"):
        monkeypatch.setattr(sklearn_fewshot, "__version__", release)
        stop_after(1)
        interrupted(learner, table.X, table.y)
    assert len(files(tmp_path)) == 2


def test_the_same_fit_twice_at_a_time_has_two_files(tmp_path):
    """Else two fits that drew a seed each would end up as one."""
    take_up = partial(open_checkpoint, tmp_path, "Learner")
    with suppress(Tripped), take_up(1, "a") as first, take_up(2, "a") as other:
        assert (first.seed, other.seed) == (1, 2)
        for checkpoint in (first, other):
            checkpoint.part("train").save({"epoch": checkpoint.seed})
        assert len(files(tmp_path, ".lock")) == 2
        raise Tripped
    assert len(files(tmp_path, ".ckpt")) == len(files(tmp_path)) == 2
    for _ in range(2):
        with suppress(Tripped), take_up(3, "a") as first, take_up(4, "a") as other:
            with take_up(5, "a") as third:
                assert (first.seed, other.seed, third.seed) == (1, 2, 5)
                assert third.part("train").state is None
            assert [it.part("train").state for it in (first, other)] == [{"epoch": 1}, {"epoch": 2}]
            raise Tripped
    for seed in (1, 2, 6):  # one after the other
        with take_up(6, "a") as checkpoint:
            assert checkpoint.seed == seed
    assert files(tmp_path) == []


def test_a_search_in_two_processes_leaves_nothing(table, tmp_path):
    learner = ProtoNetClassifier(
        backbone=small_mlp,
        n_way=3,
        n_shot=1,
        episodes_per_epoch=3,
        max_epochs=2,
        refit=False,
        validation_fraction=0.0,
        random_state=0,
    )
    best = []
    for checkpoint in (None, tmp_path):
        search = GridSearchCV(
            learner.set_params(checkpoint=checkpoint),
            {"lr": [1e-3, 1e-2], "n_query": [2, 3]},
            cv=2,
            n_jobs=2,
            error_score="raise",
        )
        best.append(search.fit(table.X, table.y))
    assert files(tmp_path) == []
    for name in ("mean_test_score", "params"):
        assert list(best[0].cv_results_[name]) == list(best[1].cv_results_[name])
    check_same(best[1].best_estimator_, best[0].best_estimator_, table.X)


# ------------------------------------------------------------------ interruptions


def test_ctrl_c_leaves_the_learner_unfitted_and_the_checkpoint(make_learner, table, tmp_path):
    class CtrlC(Callback):
        def on_batch_begin(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    learner = make_learner(callbacks=[CtrlC()], checkpoint=tmp_path / "made" / "here")
    with pytest.raises(KeyboardInterrupt):
        learner.fit(table.X, table.y)
    assert not [name for name in vars(learner) if name.endswith("_") or name == "_network"]
    (name,) = files(tmp_path / "made" / "here")
    assert re.fullmatch(r"ProtoNetClassifier-[0-9a-f]{32}\.ckpt", name)


def test_an_end_between_training_and_calibration_costs_no_epoch(
    make_learner, table, tmp_path, monkeypatch
):
    expected = make_learner().fit(table.X, table.y)
    learner = make_learner(checkpoint=tmp_path, callbacks=[Trip()])
    Trip.n_left = 0
    with monkeypatch.context() as patch:
        patch.setattr(_meta_train, "calibrate", Trip.on_epoch_end)  # any function that raises here
        with pytest.raises(TypeError):
            learner.fit(table.X, table.y)
    assert Trip.n_left == -2
    check_same(learner.fit(table.X, table.y), expected, table.X)
    assert Trip.n_left == -2


def test_killed_fits_go_on(count_cases):
    """Three times; `make stress` does it twenty times."""
    script = [sys.executable, "-W", "error", "-m", "tests.stress.kill_fits", "3", "--seed", "1"]
    root = Path(__file__).parents[2]
    if not hasattr(os, "fork"):
        pytest.skip("needs processes that can be forked")
    done = subprocess.run(script, cwd=root, capture_output=True, text=True, timeout=200)
    count_cases("killed fits", tried=3, lost=done.returncode != 0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"3 kills, .* 0 lost$", done.stdout.strip())


KILLS_ITSELF = """
import os, signal, sys
import numpy as np, torch
from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.training import _checkpoint

def die_in_the_third_save(path, content, write=_checkpoint._write, saves=[]):
    saves.append(path)
    if len(saves) == 3:  # half of the file is on the disk
        _checkpoint._partial_path(path).write_bytes(path.read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)

_checkpoint._write = die_in_the_third_save
torch.set_num_threads(1)
folder, params = sys.argv[1], eval(sys.argv[2])
data = np.load(folder + "/data.npz")
ProtoNetClassifier(checkpoint=folder + "/unfinished", **params).fit(data["X"], data["y"])
"""


def test_what_a_killed_process_left_another_one_goes_on_with(table, tmp_path, capsys):
    params = {"n_way": 5, "episodes_per_epoch": 5, "max_epochs": 4, "random_state": 0}
    np.savez(tmp_path / "data.npz", X=table.X, y=table.y)
    script = [sys.executable, "-c", KILLS_ITSELF, str(tmp_path), repr(params)]
    env = os.environ | {"PYTHONHASHSEED": "7"}
    assert subprocess.run(script, env=env, timeout=200).returncode == -signal.SIGKILL
    folder = tmp_path / "unfinished"
    assert [Path(name).suffix for name in files(folder)] == [".ckpt", ".lock", ".part"]
    learner = ProtoNetClassifier(checkpoint=folder, verbose=1, **params).fit(table.X, table.y)
    assert first_of_training(capsys).startswith("epoch 3/4: ")
    check_same(learner, ProtoNetClassifier(**params).fit(table.X, table.y), table.X)
    assert files(folder) == []


def test_a_kill_while_saving_leaves_the_epoch_before(make_learner, table, tmp_path, monkeypatch):
    """The file is replaced as a whole, when the new one is on the disk."""
    expected = make_learner(max_epochs=3).fit(table.X, table.y)
    steps = []

    def noted(name, function):
        def call(*args):
            steps.append(name)
            if len(steps) == 4:  # the second save: written, but not yet in place
                raise KeyboardInterrupt
            return function(*args)

        return call

    learner = make_learner(max_epochs=3, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(_checkpoint.os, name, noted(name, getattr(os, name)))
        interrupted(learner, table.X, table.y)
    assert steps == ["fsync", "replace"] * 2
    assert len(files(tmp_path)) == 1
    check_same(learner.fit(table.X, table.y), expected, table.X)


# ------------------------------------------------------------------ files that are of no use


def spoilt(content, how):
    middle = len(content) // 2
    return {
        "empty": b"",
        "cut": content[:middle],
        "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "foreign": pickle.dumps({"seed": 0}),
        "longer": content + b"\0",
    }[how]


@pytest.mark.parametrize("how", ["empty", "cut", "changed", "foreign", "longer"])
def test_a_damaged_file_is_ignored_and_said(make_learner, table, tmp_path, stop_after, how):
    learner = make_learner(backbone=small_mlp, checkpoint=tmp_path)
    expected = clone(learner).set_params(checkpoint=None).fit(table.X, table.y)
    stop_after(1)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoilt(path.read_bytes(), how))
    with pytest.warns(
        UserWarning, match=r"\.ckpt is ignored, and training starts again: it is"
    ) as warned:
        learner.fit(table.X, table.y)
    assert [warning.filename for warning in warned] == [__file__]  # the line that called fit
    check_same(learner, expected, table.X)
    assert files(tmp_path) == []


def test_a_file_of_another_fit_is_ignored_and_said(make_learner, table, tmp_path, stop_after):
    learner = make_learner(backbone=small_mlp, checkpoint=tmp_path)
    stop_after(1)
    interrupted(learner, table.X, table.y)
    (path,) = tmp_path.iterdir()
    stop_after(1)
    interrupted(learner.set_params(lr=0.5), table.X, table.y)
    (other,) = set(tmp_path.iterdir()) - {path}
    stop_after(None)
    other.write_bytes(path.read_bytes())
    with pytest.warns(UserWarning, match="starts again: it is of another fit"):
        learner.fit(table.X, table.y)


def test_reading_a_file_runs_no_code(make_learner, table, tmp_path, stop_after):
    learner = make_learner(backbone=small_mlp, checkpoint=tmp_path)
    stop_after(1)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    (path,) = tmp_path.iterdir()
    _checkpoint._write(path, Bomb())
    with pytest.warns(UserWarning, match=r"holds what no checkpoint does \(UnpicklingError\)"):
        learner.fit(table.X, table.y)
    assert Bomb.n_exploded == 0


class Bomb:
    n_exploded = 0

    def __reduce__(self):
        return explode, ()


def explode():
    Bomb.n_exploded += 1
    return {}


# ------------------------------------------------------------------ folders


def test_a_folder_that_cannot_be_written_to_is_said_before_training(make_learner, table, tmp_path):
    (tmp_path / "file").write_text("")
    learner = make_learner(checkpoint=tmp_path / "file")
    message = r"'checkpoint' parameter of ProtoNetClassifier must be a folder .* Got '.*file'"
    with pytest.raises(OSError, match=message):
        learner.fit(table.X, table.y)
    assert not hasattr(learner, "module_")


def test_a_folder_without_permission_is_said(make_learner, table, tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_checkpoint.os, "open", refuse)
    with pytest.raises(PermissionError, match="must be a folder that can be written to"):
        make_learner(checkpoint=tmp_path).fit(table.X, table.y)


def test_a_full_disk_ends_no_training(make_learner, table, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    expected = make_learner(max_epochs=3).fit(table.X, table.y)
    monkeypatch.setattr(_checkpoint.os, "fsync", refuse)
    learner = make_learner(max_epochs=3, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="could not be written: .*No space") as warned:
        learner.fit(table.X, table.y)
    assert [warning.filename for warning in warned] == [__file__]
    check_same(learner, expected, table.X)
    assert files(tmp_path) == []


def test_a_history_that_no_file_can_hold_is_said(make_learner, table, tmp_path):
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("thing", object())

    learner = make_learner(callbacks=[Records()], checkpoint=tmp_path)
    with pytest.raises(TypeError, match=r"A checkpoint holds numbers.* Got object"):
        learner.fit(table.X, table.y)


def test_without_a_checkpoint_nothing_is_hashed_or_written(make_learner, table, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError

    for module, name in (
        (_base, "fingerprint"),
        (_checkpoint, "fingerprint"),
        (CheckpointPart, "save"),
    ):
        monkeypatch.setattr(module, name, refuse)
    make_learner().fit(table.X, table.y)


def test_the_parameter_is_like_any_other(tmp_path):
    for path in (tmp_path, str(tmp_path), None):
        learner = BaselineClassifier(checkpoint=path)
        assert clone(learner).checkpoint == path
        assert pickle.loads(pickle.dumps(learner)).checkpoint == path
    with pytest.raises(ValueError, match="The 'checkpoint' parameter of BaselineClassifier must"):
        learner.set_params(checkpoint=3).fit(np.zeros((4, 2)), [0, 0, 1, 1])


def test_the_bar_begins_where_a_training_resumes(make_learner, table, tmp_path, stop_after, capsys):
    learner = make_learner(checkpoint=tmp_path, verbose=1, max_epochs=3)
    stop_after(2)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    capsys.readouterr()
    learner.set_params(verbose=0).fit(table.X, table.y)  # verbose is not part of the fit
    assert capsys.readouterr() == ("", "")
    stop_after(2)
    interrupted(learner, table.X, table.y)
    stop_after(None)
    learner.set_params(verbose=1).fit(table.X, table.y)
    first = first_of_training(capsys)
    assert first.startswith("epoch 3/3: ")
    assert " 10/15 " in first
