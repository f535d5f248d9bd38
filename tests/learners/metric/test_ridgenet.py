"""The ridge learner: scikit-learn's Ridge on its embedding, and what is learned."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

from sklearn_fewshot import RidgeNetClassifier
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn.heads import RidgeHead

BUDGET = {
    "n_way": 5,
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "refit": False,
    "random_state": 0,
}


def make(**params):
    return RidgeNetClassifier(**{**BUDGET, **params})


@pytest.fixture(scope="module", params=["table", "pictures", "series"])
def toy(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("n_each", [2, 6])  # as many examples as the embedding has features
def test_predictions_are_those_of_scikit_learns_ridge(toy, n_each):
    learner = make(calibrate=False, n_shot=1, n_query=1).fit(toy.X, toy.y)
    labels = np.unique(toy.y_new)
    rows = np.concatenate([np.flatnonzero(toy.y_new == label)[:n_each] for label in labels])
    support, query = (learner.transform(X).astype(float) for X in (toy.X_new[rows], toy.X))
    size = np.sqrt(((support - support.mean(axis=0)) ** 2).sum(axis=1).mean())
    ridge = Ridge(alpha=learner.penalty_).fit(support / size, toy.y_new[rows, None] == labels)
    expected = learner.scale_ * (ridge.predict(query / size) - 1 / len(labels))
    classifier = learner.adapt(toy.X_new[rows], toy.y_new[rows])
    np.testing.assert_allclose(classifier.decision_function(toy.X), expected, atol=1e-4)


def test_penalty_and_scale_are_learned(table):
    learner = make(validation_fraction=0.0, penalty=2.0, lr=0.01).fit(table.X, table.y)
    assert isinstance(learner.module_.head, RidgeHead)
    assert learner.penalty_ != pytest.approx(2.0, rel=1e-3)
    start = make(validation_fraction=0.0, max_epochs=0, penalty=2.0).fit(table.X, table.y)
    assert start.penalty_ == pytest.approx(2.0)
    assert learner.scale_ != pytest.approx(start.scale_, rel=1e-3)
    fixed = make(validation_fraction=0.0, penalty=2.0, learn_penalty=False).fit(table.X, table.y)
    assert fixed.penalty_ == pytest.approx(2.0)


def test_random_networks_start_at_ten_and_others_where_the_log_loss_is_least(table):
    params = {"max_epochs": 0, "validation_fraction": 0.0}
    assert make(backbone="mlp", **params).fit(table.X, table.y).scale_ == pytest.approx(10.0)
    assert make(scale=3.0, **params).fit(table.X, table.y).scale_ == pytest.approx(3.0)
    started = make(backbone="identity", **params).fit(table.X, table.y)
    typical = np.median(started.predict_proba(table.X).max(axis=1))
    assert 0.3 < typical < 0.999  # neither flat nor saturated


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_unit_of_the_features_does_not_matter(table, factor):
    params = {"backbone": "identity", "max_epochs": 0}
    unit, other = (make(**params).fit(f * table.X, table.y) for f in (1.0, factor))
    np.testing.assert_allclose(
        other.predict_proba(factor * table.X), unit.predict_proba(table.X), atol=1e-4
    )


@pytest.mark.parametrize(
    "wrong", [{"penalty": 0.0}, {"penalty": "auto"}, {"learn_penalty": "no"}, {"scale": -1.0}]
)
def test_wrong_parameters_are_refused(table, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"The '{name}' parameter of RidgeNetClassifier"):
        make(**wrong).fit(table.X, table.y)


def test_many_examples_say_which_features_matter():
    """The new classes are the corners of a cube in three quiet features of twelve."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(24), 20)
    means = 6.0 * rng.normal(size=(24, 12))
    means[16:] = 0.0
    means[16:, :3] = np.array(list(np.ndindex(2, 2, 2))) * 2.0 - 1.0
    X = means[y] + rng.normal(size=(len(y), 12)) * np.repeat([0.25, 2.0], [3, 9])
    base = y < 16
    learner = RidgeNetClassifier(backbone="identity", max_epochs=1, random_state=0)
    learner.fit(X[base], y[base])
    task = {"n_way": 8, "n_shot": 15, "n_query": 5, "n_episodes": 20, "random_state": 0}
    assert episodic_score(NearestCentroid(), X[~base], y[~base], **task).mean < 0.6
    assert episodic_score(learner, X[~base], y[~base], **task).mean > 0.7
