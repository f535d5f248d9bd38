"""Matching Networks: attention by plain loops, the scale, full context embeddings."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from sklearn_fewshot import MatchingNetClassifier
from sklearn_fewshot.nn import METRICS
from sklearn_fewshot.nn.heads import FullContextHead, MatchingHead

BUDGET = {
    "n_way": 5,
    "n_shot": 1,
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "refit": False,
    "random_state": 0,
}


def make(**params):
    return MatchingNetClassifier(**{**BUDGET, **params})


@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("class_balanced", [True, False])
def test_predictions_equal_plain_loops(metric, class_balanced, table):
    params = {"metric": metric, "class_balanced": class_balanced, "calibrate": False}
    learner = make(**params).fit(table.X, table.y)
    X_support, y_support = table.X_new[:17], table.y_new[:17]  # unequal shots
    classifier = learner.adapt(X_support, y_support)
    support, query = (learner.transform(X).astype(float) for X in (X_support, table.X))
    attention = np.exp(-learner.scale_ * cdist(query, support, metric))
    expected = np.zeros((len(query), 4))
    for k, label in enumerate(np.unique(y_support)):
        members = y_support == label
        expected[:, k] = attention[:, members].sum(axis=1) / (
            members.sum() if class_balanced else 1
        )
    expected /= expected.sum(axis=1, keepdims=True)
    proba = classifier.predict_proba(table.X)
    np.testing.assert_allclose(proba, expected, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(
        np.exp(classifier.score_samples(table.X) - classifier.decision_function(table.X).T).T,
        expected.max(axis=1, keepdims=True) / expected,
        rtol=1e-4,
    )


def test_so_sharp_an_attention_is_the_nearest_neighbour(table):
    learner = make(backbone="identity", metric="euclidean", scale=1e4, max_epochs=0)
    classifier = learner.fit(table.X, table.y).adapt(table.X_new, table.y_new)
    neighbour = KNeighborsClassifier(1).fit(table.X_new, table.y_new)
    np.testing.assert_array_equal(classifier.predict(table.X), neighbour.predict(table.X))


# ------------------------------------------------------------------ the scale


@pytest.mark.parametrize("kind", ["table", "pictures"])
def test_the_cosine_starts_at_ten_and_learns(kind, request):
    toy = request.getfixturevalue(kind)
    untrained = make(max_epochs=0).fit(toy.X, toy.y)
    assert untrained.scale_ == pytest.approx(10.0)
    trained = make(validation_fraction=0.0).fit(toy.X, toy.y)
    assert trained.scale_ != pytest.approx(10.0, rel=1e-5)
    assert trained.module_.head.metric is METRICS["cosine"]


@pytest.mark.parametrize("fce", [False, True])
def test_the_scale_of_the_paper_stays_one(fce, table):
    params = {"fce": fce, "validation_fraction": 0.0, "calibrate": False}
    learner = make(scale=1, learn_scale=False, **params)
    learner.fit(table.X, table.y)
    assert learner.scale_ == 1.0
    proba = learner.adapt(table.X_new, table.y_new).predict_proba(table.X)
    assert proba.max() < 1 / (1 + 3 * np.exp(-2.0)) + 1e-6  # of four classes


def test_distances_are_measured_behind_networks_that_start_from_the_input(table):
    start = {"max_epochs": 0, "metric": "sqeuclidean"}
    measured = make(backbone="identity", **start).fit(table.X, table.y)
    twice = make(backbone="identity", **start).fit(2 * table.X, table.y)
    assert twice.scale_ == pytest.approx(measured.scale_ / 4, rel=1e-4)
    assert make(backbone="mlp", **start).fit(table.X, table.y).scale_ == 1.0
    fixed = make(backbone="identity", scale=3.0, **start).fit(table.X, table.y)
    assert fixed.scale_ == pytest.approx(3.0)


# ------------------------------------------------------------------ bigger classes


def test_balance_protects_small_classes(table):
    """Nine examples of one class, one of the other, on both sides of a query."""
    params = {"backbone": "identity", "metric": "sqeuclidean", "scale": 0.01, "max_epochs": 0}
    places = np.array([[-1.0, 0, 0, 0, 0, 0]] * 9 + [[0.9, 0, 0, 0, 0, 0]])
    labels = ["many"] * 9 + ["one"]
    verdict = {
        balanced: make(class_balanced=balanced, **params)
        .fit(table.X, table.y)
        .adapt(places, labels)
        .predict(np.zeros((1, 6)))[0]
        for balanced in (True, False)
    }
    assert verdict == {True: "one", False: "many"}


# ------------------------------------------------------------------ full context


def test_the_head_is_the_one_asked_for(table):
    learner = make(fce=True, n_steps=2, max_epochs=1).fit(table.X, table.y)
    assert type(learner.module_.head) is FullContextHead
    assert learner.module_.head.n_steps == 2
    assert type(make(max_epochs=1).fit(table.X, table.y).module_.head) is MatchingHead


def test_an_example_given_twice_matters_only_in_full_context(table):
    rows = np.append(np.arange(12), [0, 0, 0])
    for fce in (False, True):
        params = {"n_shot": (1, 3), "class_balanced": True, "calibrate": False}
        learner = make(fce=fce, **params).fit(table.X, table.y)
        X_support, y_support = table.X_new[:12], table.y_new[:12]
        once = learner.adapt(X_support, y_support)
        everything_twice = learner.adapt(np.tile(X_support, (2, 1)), np.tile(y_support, 2))
        change = once.predict_proba(table.X) - everything_twice.predict_proba(table.X)
        assert (np.abs(change).max() > 1e-6) == fce
        other = learner.adapt(X_support[rows], y_support[rows])
        assert np.abs(once.predict_proba(table.X) - other.predict_proba(table.X)).max() > 1e-6


def test_full_context_tells_queries_of_many_chunks_apart(table):
    """More queries than fit in a chunk, each scored as if alone."""
    learner = make(fce=True, predict_batch_size=16).fit(table.X, table.y)
    classifier = learner.adapt(table.X_new[:15], table.y_new[:15])
    together = classifier.decision_function(table.X)
    one_by_one = np.concatenate([classifier.decision_function(x[None]) for x in table.X])
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-6 * np.abs(together).max())
