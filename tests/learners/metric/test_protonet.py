"""Prototypical Networks: the equations of the paper, recomputed with plain loops."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid

from sklearn_fewshot.nn import METRICS

ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))


def chebyshev(a, b):
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).abs().amax(dim=-1)


@ALL_METRICS
def test_predictions_equal_plain_loops(make_learner, table, metric):
    learner = make_learner(metric=metric, calibrate=False).fit(table.X, table.y)
    X_support, y_support = table.X_new[:17], table.y_new[:17]  # unequal shots
    classifier = learner.adapt(X_support, y_support)
    support = learner.transform(X_support).astype(np.float64)
    query = learner.transform(table.X).astype(np.float64)
    prototypes = []
    for label in np.unique(y_support):
        members = [row for row, y in zip(support, y_support, strict=True) if y == label]
        prototypes.append(sum(members) / len(members))
    expected = -learner.scale_ * cdist(query, prototypes, metric)
    scores = classifier.decision_function(table.X)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    for row, proba in zip(scores, classifier.predict_proba(table.X), strict=True):
        exponentials = [np.exp(score - max(row)) for score in row]
        np.testing.assert_allclose(proba, exponentials / sum(exponentials), rtol=1e-12)


@pytest.mark.parametrize("metric", [*sorted(METRICS), chebyshev])
def test_every_metric_can_be_trained(make_learner, table, metric):
    learner = make_learner(metric=metric, max_epochs=1).fit(table.X, table.y)
    classifier = learner.adapt(table.X_new[:20], table.y_new[:20])
    assert classifier.score(table.X_new[20:], table.y_new[20:]) > 0.6


def test_without_a_network_it_is_the_nearest_centroid(make_learner, table):
    learner = make_learner(backbone="identity", max_epochs=0).fit(table.X, table.y)
    classifier = learner.adapt(table.X_new, table.y_new)
    centroid = NearestCentroid().fit(table.X_new, table.y_new)
    np.testing.assert_array_equal(classifier.predict(table.X), centroid.predict(table.X))
    np.testing.assert_allclose(classifier._support.representation.embedding, centroid.centroids_)


def test_the_score_of_a_sample_does_not_depend_on_how_many_classes_there_are(learner, table):
    all_classes = learner.adapt(table.X_new, table.y_new)
    nearest = all_classes.predict(table.X)
    for label in np.unique(table.y_new):
        rows = table.y_new == label
        alone = learner.adapt(table.X_new[rows], table.y_new[rows])
        np.testing.assert_allclose(
            alone.score_samples(table.X)[nearest == label],
            all_classes.score_samples(table.X)[nearest == label],
            rtol=1e-6,  # the embeddings are float32
        )


# ------------------------------------------------------------------ the scale


def test_the_scale_stays_unless_it_is_learned(make_learner, table):
    fixed, learned = (
        make_learner(scale=0.3, learn_scale=learn, validation_fraction=0.0).fit(table.X, table.y)
        for learn in (False, True)
    )
    assert fixed.scale_ == pytest.approx(0.3)
    assert learned.scale_ != pytest.approx(0.3, rel=1e-4)
    assert learned.scale_ > 0


def test_random_networks_start_at_the_scale_of_the_paper(make_learner, table):
    learner = make_learner(backbone="mlp", max_epochs=0).fit(table.X, table.y)
    assert learner.scale_ == pytest.approx(1.0)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_networks_that_start_from_the_input_fit_their_scale_to_it(make_learner, table, factor):
    params = {"backbone": "identity", "max_epochs": 0}
    learner = make_learner(**params).fit(factor * table.X, table.y)
    unit = make_learner(**params).fit(table.X, table.y)
    assert learner.scale_ == pytest.approx(unit.scale_ / factor**2, rel=1e-4)
    typical = np.median(learner.predict_proba(factor * table.X).max(axis=1))
    assert 0.3 < typical < 0.999  # neither flat nor saturated
    np.testing.assert_allclose(
        learner.predict_proba(factor * table.X), unit.predict_proba(table.X), rtol=1e-3, atol=1e-6
    )


# ------------------------------------------------------------------ a whole small training


def test_meta_training_learns_which_features_matter(make_learner):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 20)
    means = np.hstack([rng.normal(scale=4.0, size=(30, 3)), np.zeros((30, 9))])
    X = means[y] + rng.normal(size=(600, 12)) * np.repeat([1.0, 8.0], [3, 9])
    base = y < 24
    learner = make_learner(n_way=20, max_epochs=5, episodes_per_epoch=20, refit="auto")
    learner.fit(X[base], y[base])
    X, y = X[~base], y[~base]
    support = np.concatenate([np.flatnonzero(y == label)[:3] for label in np.unique(y)])
    rest = np.setdiff1d(np.arange(len(y)), support)
    trained = learner.adapt(X[support], y[support]).score(X[rest], y[rest])
    floor = NearestCentroid().fit(X[support], y[support]).score(X[rest], y[rest])
    assert floor < 0.5
    assert trained > 0.8
