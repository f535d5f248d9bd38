"""Laws that every learner keeps, on vectors, pictures and series."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_fewshot import (
    MANNClassifier,
    MetaLSTMClassifier,
    MetaNetClassifier,
    RelationNetClassifier,
    ReptileClassifier,
)
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score
from sklearn_fewshot.nn.optimization._adapting import embedding_part

METHODS = ("predict_proba", "decision_function", "score_samples")


@pytest.fixture(scope="module", params=["table", "pictures", "series"])
def toy(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def fitted(make_any, toy):
    """A learner that has hardly learned. Shared: nobody may refit it."""
    return make_any(max_epochs=1, validation_fraction=0.0).fit(toy.X, toy.y)


@pytest.fixture(scope="module")
def unequal(toy):
    """A support set of unequal shots, in mixed order: 1, 2, 3, ... examples a class."""
    rows = [
        np.flatnonzero(toy.y_new == label)[: 1 + place]
        for place, label in enumerate(np.unique(toy.y_new))
    ]
    rows = np.random.default_rng(0).permutation(np.concatenate(rows))
    return toy.X_new[rows], toy.y_new[rows]


TOLERANCE = 1e-5  # of the largest score: one float32, summed up


def check_same(classifier, expected, X, tolerance, columns=slice(None)):
    """Equal labels and, up to rounding, scores; ``columns`` of the first are those of the other."""
    assert list(classifier.classes_[columns]) == list(expected.classes_)
    scores, other = classifier.predict_proba(X)[:, columns], expected.predict_proba(X)
    np.testing.assert_allclose(scores, other, rtol=0, atol=10 * tolerance)
    scores, other = classifier.score_samples(X), expected.score_samples(X)
    np.testing.assert_allclose(scores, other, rtol=0, atol=tolerance * np.abs(other).max())


def states(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


# ------------------------------------------------------------------ whole small trainings


@pytest.fixture(scope="module")
def patches():
    """Coarse patterns under noise: 24 base and 6 new classes."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 6)
    patterns = np.kron(rng.integers(190, size=(30, 1, 4, 4)), np.ones((4, 4)))
    X = (patterns[y] + rng.integers(60, size=(180, 1, 16, 16))).astype(np.uint8)
    return X[y < 24], y[y < 24], X[y >= 24], y[y >= 24]


def test_training_on_pictures_is_far_above_chance_on_new_classes(make_any, patches):
    if isinstance(make_any(), MANNClassifier):
        return  # it learns slowly: a test of its own
    X, y, X_new, y_new = patches
    learner = make_any(episodes_per_epoch=10, max_epochs=6, lr=3e-3, validation_fraction=0.0)
    learner.fit(X, y)
    result = episodic_score(
        learner, X_new, y_new, n_way=5, n_shot=2, n_query=3, n_episodes=30, random_state=0
    )
    assert result.mean > 0.6  # chance is 0.2
    assert learner.score(X, y) > 0.4  # of 24 classes


@pytest.mark.parametrize("kind", ["table", "series"])
def test_new_vectors_and_series_are_recognised_far_above_chance(make_any, kind, request):
    if isinstance(make_any(), MANNClassifier):
        return  # it learns slowly: a test of its own
    toy = request.getfixturevalue(kind)
    learner = make_any(validation_fraction=0.0).fit(toy.X, toy.y)
    result = episodic_score(
        learner, toy.X_new, toy.y_new, n_way=3, n_shot=2, n_query=4, n_episodes=30, random_state=0
    )
    assert result.mean > 0.7  # chance is 0.33
    assert learner.score(toy.X, toy.y) > 0.7  # of six or eight classes


def test_training_makes_a_random_network_see_what_matters(make_any):
    """Nine of twelve features are noise; the network has random weights."""
    if isinstance(make_any(), RelationNetClassifier):
        return  # its comparison of vectors starts as a distance, and is made for such backbones
    slow = ReptileClassifier | MetaLSTMClassifier | MANNClassifier | MetaNetClassifier
    if isinstance(make_any(), slow):
        return  # they learn slowly: tests of their own
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 15)
    means = np.hstack([rng.normal(scale=4.0, size=(30, 3)), np.zeros((30, 9))])
    X = means[y] + rng.normal(size=(len(y), 12)) * np.repeat([1.0, 8.0], [3, 9])
    base = y < 24
    accuracy = []
    budget = {"backbone": "mlp", "n_way": 10, "episodes_per_epoch": 20, "lr": 3e-3}
    for max_epochs in (0, 3):
        learner = make_any(max_epochs=max_epochs, validation_fraction=0.0, **budget)
        learner.fit(X[base], y[base])
        result = episodic_score(
            learner, X[~base], y[~base], n_way=6, n_shot=3, n_query=5, n_episodes=10
        )
        accuracy.append(result.mean)
    assert accuracy[0] < 0.5
    assert accuracy[1] > 0.7


# ------------------------------------------------------------------ support sets


def test_any_support_set_makes_a_classifier(fitted, toy, unequal):
    labels, first = np.unique(toy.y_new, return_index=True)
    one_each, two_classes = (toy.X_new[first], labels), (toy.X_new[first[:2]], labels[:2])
    one_class = (toy.X_new[:1], toy.y_new[:1])
    for X_support, y_support in (unequal, one_each, two_classes, one_class):
        classifier = fitted.adapt(X_support, y_support)
        classes = np.unique(y_support)
        assert list(classifier.classes_) == list(classes)
        for n_queries in (1, len(toy.X)):
            proba = classifier.predict_proba(toy.X[:n_queries])
            assert proba.shape == (n_queries, len(classes))
            np.testing.assert_allclose(proba.sum(axis=1), 1.0)
            predicted = classifier.predict(toy.X[:n_queries])
            np.testing.assert_array_equal(predicted, classes[proba.argmax(axis=1)])
            for method in METHODS:
                assert np.isfinite(getattr(classifier, method)(toy.X[:n_queries])).all()


def test_examples_are_recognised_as_their_own_class(fitted, toy):
    """One example a class, asked for again. A comparison that is learned need not know equality."""
    labels, first = np.unique(toy.y_new, return_index=True)
    head = getattr(fitted.module_, "head", None)
    if head is None or not head.exact:
        return
    classifier = fitted.adapt(toy.X_new[first], labels)
    np.testing.assert_array_equal(classifier.predict(toy.X_new[first]), labels)


def test_the_order_of_the_support_changes_nothing(fitted, toy, unequal):
    X_support, y_support = unequal
    order = np.random.default_rng(1).permutation(len(y_support))
    shuffled = fitted.adapt(X_support[order], y_support[order])
    check_same(shuffled, fitted.adapt(X_support, y_support), toy.X, TOLERANCE)


def test_renaming_the_classes_permutes_the_columns(fitted, toy, unequal):
    X_support, y_support = unequal
    labels, codes = np.unique(y_support, return_inverse=True)
    places = np.random.default_rng(0).permutation(len(labels))
    names = np.array([f"it's {3 * place} o'clock" for place in places])
    renamed = fitted.adapt(X_support, names[codes])
    columns = np.argsort(np.argsort(names))
    expected = fitted.adapt(X_support, y_support)
    np.testing.assert_allclose(
        renamed.predict_proba(toy.X)[:, columns],
        expected.predict_proba(toy.X),
        rtol=0,
        atol=10 * TOLERANCE,
    )
    decided = expected.predict_proba(toy.X)
    decided = np.ptp(np.sort(decided, axis=1)[:, -2:], axis=1) > 1e-3
    expected_names = dict(zip(labels, names, strict=True))
    for name, label, is_decided in zip(
        renamed.predict(toy.X), expected.predict(toy.X), decided, strict=True
    ):
        assert name == expected_names[label] or not is_decided


# ------------------------------------------------------------------ predicting is pure


def test_predicting_twice_gives_the_same(fitted, toy, unequal):
    classifier, before = fitted.adapt(*unequal), states(fitted.module_)
    for estimator in (classifier, fitted):
        for method in ("predict", "transform", *METHODS):
            if hasattr(estimator, method):
                first, second = (getattr(estimator, method)(toy.X_new) for _ in range(2))
                np.testing.assert_array_equal(first, second)
    assert equal_states(states(fitted.module_), before)


def test_the_score_of_a_query_does_not_depend_on_the_others(fitted, toy, unequal):
    """To the last digits of float32 within a chunk size, which all vectors share; see `embed`."""
    classifier = fitted.adapt(*unequal)
    together = classifier.decision_function(toy.X_new)
    atol = (1e-6 if toy.X.ndim == 2 else 1e-5) * np.abs(together).max()
    for rows in ([3], [5, 3], [3, 0, 1, 2, 4, 5, 6, 7, 8], np.arange(len(toy.X_new))[::-1]):
        some = classifier.decision_function(toy.X_new[rows])
        np.testing.assert_allclose(some, together[rows], rtol=0, atol=atol)


def test_a_pickle_is_small_and_predicts_the_same(fitted, toy, unequal):
    pickled = pickle.dumps(fitted)
    weights = sum(v.numel() * v.element_size() for v in fitted.module_.state_dict().values())
    kept = sum(array.nbytes for array in fitted.representation_[:3])
    kept += fitted._network.calibration.inliers.quantile.nbytes
    assert len(pickled) < weights + kept + 24_000
    loaded = pickle.loads(pickled)
    tolerance = 1e-7 if fitted._network.initial is None else TOLERANCE  # steps magnify rounding
    pairs = [(loaded, fitted), (loaded.adapt(*unequal), fitted.adapt(*unequal))]
    pairs.append((pickle.loads(pickle.dumps(pairs[1][1])), pairs[1][1]))
    for copied, original in pairs:
        np.testing.assert_array_equal(copied.predict(toy.X_new), original.predict(toy.X_new))
        for method in METHODS:
            scores, expected = (getattr(it, method)(toy.X_new) for it in (copied, original))
            atol = tolerance * np.abs(expected).max()
            np.testing.assert_allclose(scores, expected, rtol=0, atol=atol)


# ------------------------------------------------------------------ classifiers that grow


def test_partial_fit_equals_fit_on_everything(fitted, toy):
    """Example by example: of known and of new classes."""
    grown = fitted.adapt(toy.X_new[:4], toy.y_new[:4])
    for row in range(4, 15):
        grown.partial_fit(toy.X_new[[row]], toy.y_new[[row]])
    expected = fitted.adapt(toy.X_new[:15], toy.y_new[:15])
    is_rough = isinstance(fitted, MetaNetClassifier)  # small gradients magnify rounding
    check_same(grown, expected, toy.X, 20 * TOLERANCE if is_rough else TOLERANCE)
    np.testing.assert_array_equal(grown.class_count_, expected.class_count_)


def test_classes_that_are_dropped_leave_no_trace(fitted, toy):
    classifier = fitted.adapt(toy.X_new, toy.y_new)
    label = classifier.classes_[1]
    others = toy.y_new != label
    expected = fitted.adapt(toy.X_new[others], toy.y_new[others])
    check_same(classifier.drop_classes([label]), expected, toy.X, TOLERANCE)


def test_base_classes_can_be_kept_beside_new_ones(fitted, toy, unequal):
    if fitted._network.initial is not None:
        return  # base classes are compared by the network before it is adapted
    both = fitted.adapt(*unequal, include_base=True)
    assert list(both.classes_) == sorted([*fitted.classes_, *np.unique(unequal[1])])
    only_new = both.drop_classes(fitted.classes_)
    check_same(only_new, fitted.adapt(*unequal), toy.X_new, TOLERANCE)


def test_the_base_classes_are_those_of_their_own_examples(fitted, toy):
    if fitted._network.initial is not None:
        return  # base classes are compared by the network before it is adapted
    expected = fitted.adapt(toy.X, toy.y)
    check_same(fitted, expected, toy.X_new, TOLERANCE)


# ------------------------------------------------------------------ ways to train


def make_backbone(toy):
    """Make a small network of the user's own."""
    n_features = int(np.prod(toy.X.shape[1:]))
    return nn.Sequential(nn.Flatten(), nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU())


def test_a_backbone_given_is_where_every_fit_starts(make_any, toy):
    backbone = make_backbone(toy)
    before = states(backbone)
    learner = make_any(backbone=backbone, validation_fraction=0.0).fit(toy.X, toy.y)
    assert equal_states(states(backbone), before)
    assert not equal_states(states(embedding_part(learner.module_).backbone), before)
    first = states(learner.module_)
    assert equal_states(states(learner.fit(toy.X, toy.y).module_), first)


def test_a_frozen_backbone_stays_as_it_is(make_any, toy):
    backbone = make_backbone(toy)
    learner = make_any(backbone=backbone, freeze_backbone=True, validation_fraction=0.0)
    learner.fit(toy.X, toy.y)
    frozen, _ = embedding_part(learner.module_).backbone
    assert equal_states(states(frozen.module), states(backbone))
    classifier = learner.adapt(toy.X_new, toy.y_new)
    expected = learner.adapt(toy.X_new[::-1], toy.y_new[::-1])
    check_same(classifier, expected, toy.X, TOLERANCE)


def test_episodes_of_several_sizes_train_in_one_batch(make_any, toy):
    ranges = {"n_way": (2, 5), "n_shot": (1, 3), "meta_batch_size": 3}
    learner = make_any(**ranges, validation_fraction=0.0).fit(toy.X, toy.y)
    assert all(np.isfinite(row["train_loss"]) for row in learner.history_)
    assert all(value.isfinite().all() for value in learner.module_.state_dict().values())


def test_held_out_classes_choose_the_weights(make_any, table):
    """Their episodes are of several sizes, too."""
    ranges = {"n_way": (2, 4), "n_shot": (1, 3), "n_query": 4}
    learner = make_any(validation_classes=np.unique(table.y)[:4], max_epochs=3, **ranges)
    learner.fit(table.X, table.y)
    accuracy = [row["valid_acc"] for row in learner.history_]
    assert all(np.isfinite(row["valid_loss"]) for row in learner.history_)
    assert min(accuracy) > (0.2 if isinstance(learner, MANNClassifier) else 0.5)  # chance: 1/3
    if learner.best_epoch_ > 0:
        assert accuracy[learner.best_epoch_ - 1] == max(accuracy)


def test_episodic_scores_repeat_with_the_seed(fitted, toy):
    params = {"n_way": 3, "n_shot": (1, 2)[toy.X.ndim == 2], "n_query": 3, "n_episodes": 20}
    first, again = (
        episodic_score(fitted, toy.X_new, toy.y_new, random_state=0, **params) for _ in range(2)
    )
    assert first.scores.shape == (20,)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert 0.2 < first.mean <= 1.0


def test_episodic_scores_are_those_of_adapted_classifiers(fitted, toy):
    """Scored in one stack, as by hand one by one."""
    params = {"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 10, "random_state": 0}
    result = episodic_score(fitted, toy.X_new, toy.y_new, **params)
    by_hand = []
    for support, query in EpisodeSplit(**params).split(toy.X_new, toy.y_new):
        classifier = fitted.adapt(toy.X_new[support], toy.y_new[support])
        by_hand.append(classifier.score(toy.X_new[query], toy.y_new[query]))
    assert result.mean == pytest.approx(np.mean(by_hand), abs=0.03)  # near ties fall either way


def test_the_embedding_is_flat_and_named(fitted, toy):
    embedding = fitted.transform(toy.X_new)
    assert embedding.shape == (len(toy.X_new), len(fitted.get_feature_names_out()))
    assert embedding.dtype == np.float32


def test_the_backbone_of_a_fitted_learner_is_trained_further_if_it_is_thawed(
    learner, make_learner, table
):
    backbone = learner.module_.backbone
    before = states(backbone)
    short = {"max_epochs": 1, "lr": 1e-2, "validation_fraction": 0.0}
    with pytest.warns(UserWarning, match="No parameter of the backbone .* requires a gradient"):
        same = make_learner(backbone=backbone, **short).fit(table.X, table.y)
    assert equal_states(same.module_.backbone.state_dict(), before)
    thawed = copy.deepcopy(backbone).requires_grad_()
    other = make_learner(backbone=thawed, **short).fit(table.X, table.y)
    assert not equal_states(other.module_.backbone.state_dict(), before)
