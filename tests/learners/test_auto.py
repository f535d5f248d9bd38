"""Several learners in one: what is trained, how they are pooled, what is left out."""

import copy

import numpy as np
import pytest
import torch
from joblib import effective_n_jobs
from sklearn.base import clone
from torch import nn

from sklearn_fewshot import (
    AutoFewShotClassifier,
    InContextClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    ZeroShotProtoNetClassifier,
)
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn import PooledModule, Support
from sklearn_fewshot.nn.backbones import Frozen
from sklearn_fewshot.nn.heads import AnchoredHead, PrototypicalHead
from tests.members.members import GradientNetClassifier

BUDGET = {
    "n_way": 5,
    "n_shot": (1, 2),
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "random_state": 0,
}


def make(**params):
    return AutoFewShotClassifier(**{**BUDGET, "estimators": ["raw", "linear"], **params})


@pytest.fixture(scope="module")
def learner(table):
    return make(estimators="auto").fit(table.X, table.y)


# ------------------------------------------------------------------ what is trained


def test_vectors_and_images_have_learners_of_their_own(learner, pictures):
    of_vectors = ["raw", "linear", "ProtoNet", "MatchingNet", "RelationNet"]
    assert [name for name, _ in learner._estimators((6,))] == of_vectors
    assert [name for name, _ in learner._estimators((1, 28, 28))] == ["ProtoNet", "Baseline"]
    assert list(dict.fromkeys(row["learner"] for row in learner.history_)) == of_vectors[2:]


def test_learners_by_name_have_the_parameters_of_the_whole():
    (_, linear), (_, trained) = make(lr=0.5, estimators=["linear", "ProtoNet"])._estimators((6,))
    assert (linear.lr, linear.max_epochs) == (0.5, 0)
    assert (trained.lr, trained.max_epochs) == (0.5, 2)


def test_given_learners_keep_their_parameters_and_stay_unfitted(table):
    own = ProtoNetClassifier(max_epochs=1, episodes_per_epoch=3, metric="cityblock")
    learner = make(estimators=[("city", own), "raw"]).fit(table.X, table.y)
    names = set(learner.leaderboard_["learner"])
    assert names == {"city", "city, anchored", "raw", "raw, anchored", "pool"}
    assert [row["train_batch_count"] for row in learner.history_] == [3]
    assert not hasattr(own, "classes_")
    assert clone(learner).estimators[0][1].metric == "cityblock"


def test_series_and_pictures(series, pictures):
    for toy in (series, pictures):
        learner = make(estimators="auto", max_epochs=1).fit(toy.X, toy.y)
        assert learner.adapt(toy.X_new, toy.y_new).score(toy.X_new, toy.y_new) > 0.6


def test_a_frozen_backbone_embeds_each_sample_once_in_training(table):
    class Counted(nn.Linear):
        n_rows = 0

        def forward(self, rows):
            Counted.n_rows += len(rows)
            return super().forward(rows)

    params = {"calibrate": False, "predict_batch_size": 1, "refit": False}
    learner = make(backbone=Counted(6, 4), freeze_backbone=True, **params)
    learner.set_params(estimators=["linear", "ProtoNet", "MatchingNet"])
    learner.fit(table.X, table.y)
    building = 100  # the shapes of networks are found on zeros
    assert Counted.n_rows <= 2 * len(table.X) + building  # for training, and for the base classes


@pytest.mark.parametrize("backbone", ["mlp", lambda: nn.Linear(6, 4)])
def test_frozen_backbones_with_random_weights_are_not_shared(backbone, table):
    """Each learner draws its own, and predicts with the one that it was trained on."""
    learner = make(backbone=backbone, freeze_backbone=True, calibrate=False)
    learner.set_params(estimators=["ProtoNet", "MatchingNet"], refit=False).fit(table.X, table.y)
    frozen = [part for part in learner.module_.modules() if isinstance(part, Frozen)]
    assert len(frozen) == 2
    one, other = (next(part.parameters()) for part in frozen)
    assert not torch.equal(one, other)


# ------------------------------------------------------------------ how they are pooled


def test_the_pool_is_the_weighted_sum_of_its_members(learner, table):
    module = learner.module_
    assert isinstance(module, PooledModule)
    rows = np.concatenate([np.flatnonzero(table.y_new == k)[:4] for k in np.unique(table.y_new)])
    X_support, y_support = table.X_new[rows], table.y_new[rows]
    codes = np.unique(y_support, return_inverse=True)[1]
    classifier = learner.adapt(X_support, y_support)
    rows, queries = (learner.transform(X).astype(float) for X in (X_support, table.X))
    head = copy.deepcopy(module.head).double()
    share = np.interp(np.log(4), head.log_n_shots.numpy(), np.arange(len(head.log_n_shots)))
    total = 0.0
    for number, (one, (start, stop)) in enumerate(zip(head.heads, head.columns, strict=True)):
        part = rows[:, start:stop], queries[:, start:stop]
        total += weight_at(head.weight[number], share) * logits_of(one, *part, codes)
    scores = classifier.decision_function(table.X)
    np.testing.assert_allclose(scores, total, atol=1e-4 * np.abs(total).max())


def weight_at(weight, place):
    return np.interp(place, np.arange(len(weight)), weight.numpy())


def logits_of(head, rows, queries, codes):
    inputs, query = torch.from_numpy(rows)[None], torch.from_numpy(queries)[None]
    n_classes = codes.max() + 1
    support = Support(inputs, torch.from_numpy(codes)[None], torch.ones(1, len(codes)), n_classes)
    with torch.inference_mode():
        return head.score(head.context(head.represent(support)), query)[0].numpy()


def test_the_leaderboard_lists_every_member_at_every_shot(learner):
    board = learner.leaderboard_
    assert list(board.columns) == [
        "learner", "n_shot", "accuracy", "half_width", "weight", "seconds"
    ]  # fmt: skip
    for n_shot, part in board.groupby("n_shot"):
        assert part["accuracy"].is_monotonic_decreasing, n_shot
        assert part["learner"].is_unique
        members = part[part["learner"] != "pool"]
        assert members["weight"].sum() == pytest.approx(1.0)
        assert (members["weight"] >= 0).all()
    assert board["accuracy"].between(0, 1).all()
    assert (board["seconds"] > 0).all()
    assert "ProtoNet, anchored" in set(board["learner"])


def test_what_does_not_help_is_left_out():
    """Columns of noise drown the classes, unless the base classes say which they are."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(24), 20)
    means = np.hstack([rng.normal(scale=2.0, size=(24, 4)), np.zeros((24, 12))])
    X = means[y] + rng.normal(size=(len(y), 16)) * np.repeat([1.0, 30.0], [4, 12])
    base = y < 18
    learner = make().fit(X[base], y[base])
    board = learner.leaderboard_.set_index(["n_shot", "learner"])
    assert board.loc[(1, "linear"), "accuracy"] > board.loc[(1, "raw"), "accuracy"] + 0.2
    weight = board.loc[1, "weight"]
    assert weight[["raw", "raw, anchored"]].sum() < 0.1
    new = {"X": X[~base], "y": y[~base], "n_way": 5, "n_query": 5, "n_episodes": 40}
    alone = ProtoNetClassifier(**BUDGET | {"max_epochs": 0}).fit(X[base], y[base])
    pooled, linear = (episodic_score(one, **new).mean for one in (learner, alone))
    assert pooled > linear - 0.05


def test_weights_are_chosen_without_the_classes_of_the_refit(table):
    """The second training, on all classes, keeps what held-out classes have said."""
    first, again = (make(refit=refit).fit(table.X, table.y) for refit in (False, True))
    for column in ("accuracy", "weight"):
        np.testing.assert_array_equal(first.leaderboard_[column], again.leaderboard_[column])
    assert np.abs(first.transform(table.X) - again.transform(table.X)).max() > 1e-3


def test_without_held_out_classes_all_weights_are_equal(table):
    learner = make(validation_fraction=0.0).fit(table.X, table.y)
    members = learner.leaderboard_.query("learner != 'pool'")
    np.testing.assert_allclose(members["weight"], 0.25)
    assert learner.adapt(table.X_new, table.y_new).score(table.X_new, table.y_new) > 0.9


def test_readouts_share_the_embedding(learner):
    heads = list(learner.module_.head.heads)
    columns = learner.module_.head.columns
    pairs = [
        (columns[k], columns[k + 1])
        for k in range(len(heads) - 1)
        if type(heads[k]) is PrototypicalHead and type(heads[k + 1]) is AnchoredHead
    ]
    assert pairs
    assert all(one == other for one, other in pairs)


def test_processes_train_the_same(table):
    assert effective_n_jobs(2) == 2
    alone, together = (make(n_jobs=n_jobs).fit(table.X, table.y) for n_jobs in (None, 2))
    np.testing.assert_allclose(
        together.adapt(table.X_new, table.y_new).predict_proba(table.X),
        alone.adapt(table.X_new, table.y_new).predict_proba(table.X),
        atol=1e-5,
    )


# ------------------------------------------------------------------ limits and refusals


def test_time_that_is_up_leaves_learners_out(table):
    params = {"max_seconds": 1e-9, "estimators": ["raw", "ProtoNet", "MatchingNet"]}
    with pytest.warns(UserWarning, match="without ProtoNet, MatchingNet. Raise max_seconds"):
        learner = make(**params).fit(table.X, table.y)
    assert set(learner.leaderboard_["learner"]) == {"raw", "raw, anchored", "pool"}
    one = make(max_seconds=1e-9, estimators=["ProtoNet"], max_epochs=50).fit(table.X, table.y)
    assert len(one.history_) == 1


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_training_that_diverges_costs_the_others_nothing(n_jobs, table):
    wild = ("wild", ProtoNetClassifier(**BUDGET, lr=1e30, optimizer="sgd", backbone="mlp"))
    with pytest.warns(UserWarning, match="leaves wild out. Training diverged"):
        learner = make(estimators=["raw", wild], n_jobs=n_jobs).fit(table.X, table.y)
    assert set(learner.leaderboard_["learner"]) == {"raw", "raw, anchored", "pool"}
    with (
        pytest.warns(UserWarning, match="leaves wild out"),
        pytest.raises(ArithmeticError, match="Training diverged"),
    ):
        make(estimators=[wild]).fit(table.X, table.y)


def test_bars_name_the_learner(table, capsys):
    make(estimators=["ProtoNet"], verbose=1, max_epochs=1).fit(table.X, table.y)
    assert "ProtoNet, epoch 1/1" in capsys.readouterr().err


def test_time_that_suffices_changes_nothing(table):
    params = {"estimators": ["raw", "ProtoNet"]}
    first, again = (make(max_seconds=it, **params).fit(table.X, table.y) for it in (None, 1e6))
    np.testing.assert_array_equal(first.transform(table.X), again.transform(table.X))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"warm_start": True}, ValueError, "no one network to continue from"),
        ({"estimators": ["raw", "Protonet"]}, TypeError, "Got 'Protonet' in it"),
        ({"estimators": [ProtoNetClassifier()]}, TypeError, r"Got ProtoNetClassifier\(\) in it"),
        ({"estimators": [("a", AutoFewShotClassifier())]}, TypeError, 'must be "auto" or a list'),
        ({"estimators": [("a", ZeroShotProtoNetClassifier())]}, TypeError, "learn from examples"),
        ({"estimators": []}, ValueError, "at least one learner"),
        ({"estimators": ["raw", ("raw", MatchingNetClassifier())]}, ValueError, "name of its own"),
        (
            {"estimators": [("a", InContextClassifier(max_epochs=0))]},
            TypeError,
            "'a' .* reads a support set as a whole",
        ),
        ({"estimators": [("a", GradientNetClassifier())]}, TypeError, "'a' .* does not embed"),
        ({"checkpoint": "folder", "n_jobs": 2}, ValueError, "is not checkpointed"),
        ({"max_seconds": 0}, ValueError, "'max_seconds' parameter"),
        ({"n_jobs": 1.5}, ValueError, "'n_jobs' parameter"),
    ],
)
def test_what_cannot_be_pooled_is_refused(params, error, message, table):
    with pytest.raises(error, match=message):
        make(**params).fit(table.X, table.y)


def test_the_leaderboard_needs_a_fit_and_pandas(monkeypatch, learner):
    with pytest.raises(AttributeError, match="no leaderboard_ before fit"):
        _ = make().leaderboard_
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(AttributeError, match="needs pandas"):
        _ = learner.leaderboard_


def test_learners_have_their_own_defaults_unless_told_otherwise():
    members = dict(AutoFewShotClassifier()._estimators((6,)))
    for name, member in members.items():
        expected = type(member)().get_params()
        changed = {key for key, value in member.get_params().items() if value != expected[key]}
        own = {"raw": {"max_epochs", "backbone"}, "linear": {"max_epochs"}}.get(name, set())
        assert changed == own | {"validation_fraction"}  # another default of all
    told = AutoFewShotClassifier(n_way=7, validation_classes=[1, 2], lr=0.5)._estimators((6,))
    for _, member in told:
        assert (member.n_way, member.validation_classes, member.lr) == (7, [1, 2], 0.5)
