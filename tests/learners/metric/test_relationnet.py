"""Relation Networks: scores between zero and one, maps for pictures, the sum of the paper."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from sklearn_fewshot import RelationNetClassifier
from sklearn_fewshot.nn import PairSquaredError
from sklearn_fewshot.nn.backbones import Conv4, Conv4Maps, ResidualMLP, Spectral

BUDGET = {
    "n_way": 5,
    "n_shot": 1,
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "validation_fraction": 0.0,
    "random_state": 0,
}


def make(**params):
    return RelationNetClassifier(**{**BUDGET, **params})


@pytest.fixture(scope="module", params=["table", "pictures", "series"])
def toy(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def fitted(toy):
    """Shared: nobody may refit it."""
    return make().fit(toy.X, toy.y)


def test_probabilities_are_shares_of_the_odds_of_the_relation_scores(fitted, toy):
    classifier = fitted.adapt(toy.X_new, toy.y_new)
    scores, proba = classifier.decision_function(toy.X), classifier.predict_proba(toy.X)
    inverse_temperature = fitted._network.calibration.inverse_temperature(classifier.class_count_)
    relation = expit(scores)
    odds = (relation / (1.0 - relation)) ** inverse_temperature
    np.testing.assert_allclose(proba, odds / odds.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(classifier.score_samples(toy.X), scores.max(axis=1))


def test_the_score_of_a_class_does_not_depend_on_the_others(fitted, toy):
    classifier = fitted.adapt(toy.X_new, toy.y_new)
    scores = classifier.decision_function(toy.X)
    for column, label in enumerate(classifier.classes_):
        rows = toy.y_new == label
        alone = fitted.adapt(toy.X_new[rows], toy.y_new[rows])
        np.testing.assert_allclose(alone.score_samples(toy.X), scores[:, column], atol=1e-5)


def test_predictions_go_through_the_trained_modules(fitted, toy):
    """The embedding of the examples of a class is averaged, and related to that of the query."""
    backbone, head = fitted.module_.backbone, fitted.module_.head
    shape = fitted.representation_.embedding.shape[1:]
    support, query = (
        torch.from_numpy(fitted.transform(X)).unflatten(1, shape) for X in (toy.X_new, toy.X[:7])
    )
    scores = fitted.adapt(toy.X_new, toy.y_new).decision_function(toy.X[:7])
    for column, label in enumerate(np.unique(toy.y_new)):
        class_map = support[toy.y_new == label].mean(dim=0, keepdim=True)
        with torch.inference_mode():
            pair = head.of_class(class_map) + head.of_query(query)
            expected = head.of_pair(pair).flatten()
        np.testing.assert_allclose(scores[:, column], expected, atol=1e-5)
    assert not backbone.training
    assert not head.training


@pytest.mark.parametrize(
    ("kind", "backbone", "expected"),
    [
        ("pictures", "auto", Conv4Maps),
        ("pictures", "conv4", Conv4),
        ("series", "auto", Spectral),
        ("table", "auto", ResidualMLP),
    ],
)
def test_pictures_keep_their_maps_unless_told_otherwise(kind, backbone, expected, request):
    toy = request.getfixturevalue(kind)
    learner = make(backbone=backbone, max_epochs=1).fit(toy.X, toy.y)
    assert type(learner.module_.backbone) is expected
    assert learner.module_.head.is_spatial == (expected is Conv4Maps)
    assert learner.get_params()["backbone"] == backbone
    n_features = np.prod(learner.representation_.embedding.shape[1:])
    assert learner.transform(toy.X_new).shape == (len(toy.X_new), n_features)


def test_frozen_pictures_are_related_as_vectors(pictures):
    learner = make(freeze_backbone=True, max_epochs=1).fit(pictures.X, pictures.y)
    assert not learner.module_.head.is_spatial
    assert learner.adapt(pictures.X_new, pictures.y_new).predict(pictures.X).shape == (36,)


@pytest.mark.parametrize("kind", ["table", "pictures"])
def test_only_the_sum_depends_on_the_number_of_examples(kind, request):
    toy = request.getfixturevalue(kind)
    change = {}
    for reduction in ("mean", "sum"):
        learner = make(reduction=reduction, calibrate=False).fit(toy.X, toy.y)
        once = learner.adapt(toy.X_new, toy.y_new)
        twice = learner.adapt(np.concatenate([toy.X_new] * 2), np.concatenate([toy.y_new] * 2))
        change[reduction] = np.abs(once.predict_proba(toy.X) - twice.predict_proba(toy.X)).max()
    assert change["mean"] < 1e-5
    assert change["sum"] > 1e-4


def test_the_loss_is_the_squared_error(table):
    learner = make().fit(table.X, table.y)
    assert type(learner.net_.criterion_) is PairSquaredError
    assert all(0 < row["train_loss"] < 1 for row in learner.history_)


def test_statistics_of_training_are_used_at_prediction(pictures):
    """Neither the queries nor their number change them."""
    learner = make().fit(pictures.X, pictures.y)
    before = {name: value.clone() for name, value in learner.module_.state_dict().items()}
    assert any("running_mean" in name and name.startswith("head") for name in before)
    learner.adapt(pictures.X_new, pictures.y_new).predict(pictures.X)
    for name, value in learner.module_.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_vectors_start_as_a_distance_whatever_their_size(factor, table):
    """Before training, behind a network that starts from the input itself."""
    learner = make(backbone="identity", max_epochs=0).fit(factor * table.X, table.y)
    classifier = learner.adapt(factor * table.X_new, table.y_new)
    assert classifier.score(factor * table.X_new, table.y_new) > 0.8
    scores = classifier.decision_function(factor * table.X_new)
    assert 0.01 < np.median(expit(scores)) < 0.5


def test_a_random_perceptron_in_front_does_not_silence_the_relation_module():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 15)
    X = 4.0 * rng.normal(size=(30, 5))[y] + rng.normal(size=(len(y), 5))
    learner = make(backbone="mlp", n_way=10, episodes_per_epoch=20, max_epochs=4).fit(X, y)
    losses = [row["train_loss"] for row in learner.history_]
    assert losses[-1] < 0.6 * 0.1  # 1 / n_way: what scores of zero for every pair would cost


@pytest.mark.filterwarnings("ignore:.*(too few examples|no validation classes|one class alone)")
def test_one_pair_of_the_smallest_maps_can_be_trained_on():
    """Of three pictures in two classes, one class alone has two: an episode is a single pair."""
    X = np.random.default_rng(0).random((3, 1, 16, 16))
    learner = RelationNetClassifier(n_way="all", n_query=1, max_epochs=1, episodes_per_epoch=2)
    learner.fit(X, ["a", "b", "a"])
    assert np.isfinite(learner.adapt(X, ["a", "b", "a"]).decision_function(X)).all()
