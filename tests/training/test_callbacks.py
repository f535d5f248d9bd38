"""Callbacks of scikit-learn: what they are told, what they score, and what they must not change."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping

from sklearn_fewshot import (
    AutoFewShotClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
)
from sklearn_fewshot.base import BaseFewShotLearner
from sklearn_fewshot.learners._parameters import LearnerParameters
from sklearn_fewshot.training._net import TrainingDiverged

pytest.importorskip("sklearn.callback")  # from scikit-learn 1.9 on

from sklearn.callback import ProgressBar, ScoringMonitor

WITHOUT = """
import sys
import numpy as np
import sklearn.linear_model, sklearn.model_selection, sklearn.pipeline, sklearn.preprocessing
sys.modules["sklearn.callback"] = None  # as before scikit-learn 1.9
from sklearn_fewshot import ProtoNetClassifier
X, y = np.random.default_rng(0).normal(size=(60, 4)), np.repeat(np.arange(6), 10)
learner = ProtoNetClassifier(max_epochs=1, episodes_per_epoch=2, random_state=0)
assert not hasattr(learner, "set_callbacks")
print(learner.fit(X, y).predict(X).shape)
"""


def test_learners_fit_where_scikit_learn_has_no_callbacks():
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert run.stdout == "(60,)\n", run.stderr


class Follower:
    """Write down what it is told; ``stop_at`` are the numbers of the ends at which it says stop."""

    def __init__(self, task="epoch", stop_at=()):
        self.task, self.stop_at = task, stop_at
        self.told, self.ended, self.X = [], [], []

    def setup(self, estimator, context):
        self.told.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.task_name} of {context.max_subtasks}")

    def on_fit_task_end(self, estimator, context, *, X, y):
        self.told.append(f"end {context.task_name}")
        self.X.append(X)
        if context.task_name != self.task:
            return False
        self.ended.append(context.task_id)
        return len(self.ended) in self.stop_at

    def teardown(self, estimator, context):
        self.told.append("teardown")


class Keeper(Follower):
    """Keep the learner of each end."""

    def __init__(self):
        super().__init__()
        self.learners = {}

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        path = [task.task_name for task in (context.parent, context) if task is not None]
        self.learners.setdefault(" ".join(path), []).append(fitted_estimator)


class Raise(Follower):
    """Raise at the end of the first epoch."""

    def on_fit_task_end(self, estimator, context):
        raise OSError("disk full")


def epochs(monitor):
    return [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]


def same_states(a, b):
    a, b = a.module_.state_dict(), b.module_.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ------------------------------------------------------------------ what they are told


def test_fit_consists_of_trainings_and_these_of_epochs(make_learner, table):
    follower = Follower()
    make_learner().set_callbacks(follower).fit(table.X, table.y)
    epoch = ["begin epoch of 0", "end epoch"]
    train = ["begin train of 2", *epoch, *epoch, "end train"]
    assert follower.told == ["setup", "begin fit of 1", *train, "end fit", "teardown"]
    assert all(X is table.X for X in follower.X)


def test_the_second_training_is_a_task_of_its_own(make_learner, table, script_validation):
    script_validation(0.5, 0.6, 0.8, 0.7)
    follower = Follower()
    learner = make_learner(backbone="mlp", max_epochs=3, patience=None, refit=True)
    learner.set_callbacks(follower).fit(table.X, table.y)
    assert learner.best_epoch_ == 2
    assert follower.ended == [0, 1, 2, 0, 1]
    begun = [line for line in follower.told if line.startswith("begin") and "epoch" not in line]
    assert begun == ["begin fit of 2", "begin train of 3", "begin refit of 2"]


def test_an_epoch_at_which_training_stops_has_ended_too(make_learner, table, script_validation):
    script_validation(0.9, 0.6, 0.5)
    follower = Follower()
    make_learner(max_epochs=5, patience=2).set_callbacks(follower).fit(table.X, table.y)
    assert follower.ended == [0, 1]


def test_it_has_ended_too_where_early_stopping_of_skorch_stops(make_learner, table):
    follower = Follower()
    stop = EarlyStopping(patience=1, monitor="train_loss", threshold=1e9, sink=None)
    learner = make_learner(max_epochs=5, callbacks=[stop], validation_fraction=0.0)
    learner.set_callbacks(follower).fit(table.X, table.y)
    assert len(learner.history_) == 2
    assert follower.ended == [0, 1]


def test_a_callback_can_stop_a_training(make_learner, table):
    learner = make_learner(max_epochs=5, patience=None, validation_fraction=0.0)
    learner.set_callbacks(Follower(stop_at=[2])).fit(table.X, table.y)
    assert len(learner.history_) == 2


def test_a_callback_that_stops_gets_the_best_weights(make_learner, table, script_validation):
    script_validation(0.5, 0.9, 0.7)
    keeper, stop = Keeper(), Follower(stop_at=[2])
    learner = make_learner(backbone="mlp", max_epochs=5, patience=None)
    learner.set_callbacks(keeper, stop).fit(table.X, table.y)
    assert learner.best_epoch_ == 1
    first, second = keeper.learners["train epoch"]
    assert same_states(learner, first)
    assert not same_states(learner, second)


def test_a_callback_can_prevent_the_second_training(make_learner, table, script_validation):
    script_validation(0.5, 0.6, 0.8)
    follower = Follower(task="train", stop_at=[1])
    learner = make_learner(backbone="mlp", refit=True).set_callbacks(follower)
    learner.fit(table.X, table.y)
    assert "end train" in follower.told
    assert "begin refit of 2" not in follower.told


# ------------------------------------------------------------------ the learner at an epoch


def test_at_an_epoch_it_is_the_learner_that_fit_would_give_there(make_any, table):
    if isinstance(make_any(), AutoFewShotClassifier):
        return  # at an epoch it is one of its learners: see below
    params = {"validation_fraction": 0.0, "lr_schedule": "constant", "max_epochs": 3}
    keeper = Keeper()
    make_any(**params).set_callbacks(keeper).fit(table.X, table.y)
    assert len(keeper.learners["train epoch"]) == 3
    for n_epochs, then in enumerate(keeper.learners["train epoch"], 1):
        expected = make_any(**params | {"max_epochs": n_epochs}).fit(table.X, table.y)
        assert same_states(then, expected)
        assert len(then.history_) == n_epochs
        assert vars(expected).keys() - {"net_"} == vars(then).keys() - {"_skl_callbacks"}
        np.testing.assert_array_equal(then.predict_proba(table.X), expected.predict_proba(table.X))
        adapted = (each.adapt(table.X_new, table.y_new) for each in (then, expected))
        np.testing.assert_array_equal(*(each.decision_function(table.X_new) for each in adapted))


def test_of_several_learners_it_is_the_one_in_training(make_learner, table):
    params = {"validation_fraction": 0.0, "lr_schedule": "constant"}
    budget = make_learner(**params).get_params(deep=False)
    keeper, of_family = Keeper(), LearnerParameters().get_params()
    several = AutoFewShotClassifier(
        estimators=["ProtoNet", "MatchingNet"], **{name: budget[name] for name in of_family}
    )
    several.set_callbacks(keeper).fit(table.X, table.y)
    seen = [type(then.module_.head).__name__ for then in keeper.learners["train epoch"]]
    assert seen == ["PrototypicalHead"] * 2 + ["MatchingHead"] * 2
    for then in keeper.learners["train epoch"]:
        assert then.adapt(table.X_new, table.y_new).score(table.X_new, table.y_new) > 0.8


@pytest.mark.parametrize("kind", ["pictures", "series"])
def test_pictures_and_series_too(make_learner, request, kind):
    data = request.getfixturevalue(kind)
    keeper, params = Keeper(), {"validation_fraction": 0.0}
    final = make_learner(**params).set_callbacks(keeper).fit(data.X, data.y)
    *_, last = keeper.learners["train epoch"]
    np.testing.assert_array_equal(last.predict_proba(data.X), final.predict_proba(data.X))


def test_behind_a_frozen_backbone_too(make_learner, table):
    keeper, params = Keeper(), {"backbone": "mlp", "freeze_backbone": True, "refit": True}
    final = make_learner(**params).set_callbacks(keeper).fit(table.X, table.y)
    if final.best_epoch_ > 0:
        assert same_states(keeper.learners["refit epoch"][-1], final)
    assert not same_states(*keeper.learners["train epoch"])


def test_what_is_calibrated_is_calibrated_at_each_epoch(make_any, table):
    keeper = Keeper()
    learner = SiameseNetClassifier(max_epochs=2, episodes_per_epoch=5, lr=0.1, random_state=0)
    learner.set_params(refit=False).set_callbacks(keeper).fit(table.X, table.y)
    thresholds = [then.threshold_ for then in keeper.learners["train epoch"]]
    assert len(set(thresholds)) == 2
    assert learner.threshold_ in thresholds or learner.best_epoch_ == 0


def test_zero_shot_learners_too(table):
    keeper = Keeper()
    labels = np.unique(table.y)
    attributes = labels, np.random.default_rng(0).normal(size=(len(labels), 5))
    learner = ZeroShotProtoNetClassifier(
        max_epochs=2, episodes_per_epoch=3, validation_fraction=0.0, random_state=0
    )
    learner.set_callbacks(keeper).fit(table.X, table.y, class_attributes=attributes)
    *_, last = keeper.learners["train epoch"]
    assert last.seen_bias_ == learner.seen_bias_
    np.testing.assert_array_equal(last.predict_proba(table.X), learner.predict_proba(table.X))


def test_at_the_end_of_fit_it_is_the_fitted_learner(make_learner, table):
    keeper = Keeper()
    learner = make_learner(refit=True).set_callbacks(keeper).fit(table.X, table.y)
    (end,) = keeper.learners["fit"]
    assert same_states(end, learner)
    assert keeper.learners["fit train"] == [None]  # same as at the end, or not needed


def test_a_learner_of_an_epoch_can_be_kept_pickled_and_fitted(make_learner, table):
    keeper = Keeper()
    make_learner().set_callbacks(keeper).fit(table.X, table.y)
    for then in keeper.learners["train epoch"]:
        expected = then.predict_proba(table.X)
        loaded = pickle.loads(pickle.dumps(then.set_callbacks()))
        np.testing.assert_allclose(loaded.predict_proba(table.X), expected, atol=1e-7)
        loaded.fit(table.X, table.y)


def test_a_monitor_has_the_score_of_each_epoch(make_learner, table):
    monitor, keeper = ScoringMonitor(scoring=["accuracy", "neg_log_loss"]), Keeper()
    make_learner(lr=0.1, backbone="mlp").set_callbacks(monitor, keeper).fit(table.X, table.y)
    learners = keeper.learners["train epoch"]
    assert [row["accuracy"] for row in epochs(monitor)] == [
        then.score(table.X, table.y) for then in learners
    ]
    assert len({row["neg_log_loss"] for row in epochs(monitor)}) == len(learners) == 2


def test_frames_are_scored_with_their_names(make_learner, table):
    pd = pytest.importorskip("pandas")
    monitor = ScoringMonitor(scoring="accuracy")
    X = pd.DataFrame(table.X, columns=list("abcdef"))
    learner = make_learner().set_callbacks(monitor).fit(X, table.y)  # warnings are errors
    learner.fit(table.X, table.y)
    assert len(monitor.get_logs(select="all")) == 2


# ------------------------------------------------------------------ what they must not change


def test_they_do_not_change_what_is_learnt(make_any, table):
    watched = make_any().set_callbacks(ScoringMonitor(scoring="accuracy"), ProgressBar())
    assert same_states(watched.fit(table.X, table.y), make_any().fit(table.X, table.y))


def test_nor_what_is_learnt_again_on_all_classes(make_learner, table, script_validation):
    monitor, learners = ScoringMonitor(scoring="accuracy"), []
    for callbacks in ([monitor], []):
        script_validation(0.5, 0.6, 0.8, 0.7)
        learner = make_learner(backbone="mlp", max_epochs=3, lr=0.01, refit=True)
        learners.append(learner.set_callbacks(*callbacks).fit(table.X, table.y))
    assert len(epochs(monitor)) == 3 + 2
    assert same_states(*learners)


def test_without_them_nothing_is_copied_or_scored(make_learner, table, monkeypatch):
    def refuse(*args):
        raise AssertionError("nobody asked")

    monkeypatch.setattr(BaseFewShotLearner, "_describe", refuse)
    learner = make_learner(refit=True).fit(table.X, table.y)
    assert not [name for name in vars(learner) if "callback" in name and name != "callbacks"]
    learner.set_callbacks(Follower()).fit(table.X, table.y)  # does not ask for the learner


@pytest.mark.parametrize("fitted_before", [False, True])
def test_a_failing_callback_leaves_the_learner_as_it_was(make_learner, table, fitted_before):
    learner = make_learner()
    if fitted_before:
        learner.fit(table.X, table.y)
    follower = Follower()
    before = dict(vars(learner.set_callbacks(follower, Raise())))
    with pytest.raises(OSError, match="disk full"):
        learner.fit(table.X, table.y)
    assert vars(learner).keys() == before.keys()
    assert all(vars(learner)[name] is before[name] for name in before)
    assert follower.told[-1] == "teardown"


def test_divergence_is_named_before_anything_is_scored(make_learner, table):
    class Poison(Callback):
        def on_batch_end(self, net, **kwargs):
            for parameter in net.module_.parameters():
                parameter.data.fill_(np.nan)

    learner = make_learner(callbacks=[Poison()], backbone="mlp")
    with pytest.raises(TrainingDiverged):
        learner.set_callbacks(ScoringMonitor(scoring="accuracy")).fit(table.X, table.y)


@pytest.mark.parametrize(
    "duplicate", [clone, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_copies_have_them_and_predict_the_same(make_learner, table, duplicate):
    monitor = ScoringMonitor(scoring="accuracy")
    learner = make_learner().set_callbacks(monitor).fit(table.X, table.y)
    copied = duplicate(learner)
    if duplicate is clone:
        copied.fit(table.X, table.y)
    np.testing.assert_allclose(
        copied.predict_proba(table.X), learner.predict_proba(table.X), atol=1e-7
    )
    copied.fit(table.X, table.y)
    copied.set_callbacks()
    assert not hasattr(copied, "_skl_callbacks")


# ------------------------------------------------------------------ under scikit-learn's searches


def search(learner, **params):
    grid = {"protonetclassifier__lr": [1e-3, 1e-1]}
    return GridSearchCV(make_pipeline(StandardScaler(), learner), grid, cv=2, **params)


def test_a_monitor_sees_the_epochs_of_every_fit_of_a_search(make_learner, table):
    monitor = ScoringMonitor(scoring="accuracy")
    searched = search(make_learner().set_callbacks(monitor)).fit(table.X, table.y)
    (log,) = monitor.get_logs(select="all")
    assert log.estimator_name == "GridSearchCV"
    assert len(epochs(monitor)) == 2 * (4 + 1)  # two splits of two candidates, then the best
    final = searched.best_estimator_[-1]
    X = searched.best_estimator_[:-1].transform(table.X)
    refit = [row for row in log.data if row["task_id_path"] == (0, 1, 1)]
    assert [row["accuracy"] for row in refit] == [final.score(X, table.y)]


def test_progress_bars_of_a_search_show_the_epochs_of_learners(make_learner, table, capsys):
    bar = ProgressBar(max_propagation_depth=None)
    search(make_learner()).set_callbacks(bar).fit(table.X, table.y)
    shown = capsys.readouterr().out
    assert shown.count("ProtoNetClassifier - fit") == shown.count("ProtoNetClassifier - train") == 5


def test_progress_bars_go_no_deeper_than_they_should(make_learner, table, capsys):
    search(make_learner()).set_callbacks(ProgressBar()).fit(table.X, table.y)
    shown = capsys.readouterr().out
    assert "Pipeline - fit" in shown
    assert "train" not in shown
