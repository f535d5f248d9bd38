"""Old and new classes together, none of these, confidence, examples without a label."""

import copy
import pickle
import tracemalloc
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    FewShotPipeline,
    MatchingNetClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
    adapt,
)
from sklearn_fewshot.adapted import _predictions
from sklearn_fewshot.calibration import _held_out
from sklearn_fewshot.calibration._model import ShotBias
from sklearn_fewshot.episodes import EpisodePlan, EpisodeSampler
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score
from sklearn_fewshot.network import Representation
from sklearn_fewshot.training import _meta_train

NONE = "none"


@pytest.fixture(scope="module")
def any_learner(make_any, table):
    """A learner of each kind. Shared: nobody may refit it."""
    return make_any(max_epochs=1).fit(table.X, table.y)


@pytest.fixture
def unequal(table):
    """Support rows of 1, 2, 4 and 6 examples a class."""
    labels = np.unique(table.y_new)
    rows = [np.flatnonzero(table.y_new == k)[:n] for k, n in zip(labels, (1, 2, 4, 6), strict=True)]
    return np.random.default_rng(0).permutation(np.concatenate(rows))


def same(a, b, X, rtol=1e-5):
    scores, others = (np.atleast_2d(model.decision_function(X)) for model in (a, b))
    np.testing.assert_allclose(scores, others, rtol=0, atol=rtol * np.abs(others).max())


# ------------------------------------------------------------------ old and new classes


def test_the_base_classes_alone_are_unchanged_by_include_base(any_learner, table):
    both = any_learner.adapt(table.X_new, table.y_new, include_base=True)
    alone = both.drop_classes(np.unique(table.y_new))
    np.testing.assert_array_equal(alone.predict(table.X), any_learner.predict(table.X))
    same(alone, any_learner, table.X)


def test_classes_of_few_examples_are_lifted_by_what_was_measured(make_any, table, unequal):
    learner = make_any(max_epochs=1).fit(table.X, table.y)
    X, y = table.X_new[unequal], table.y_new[unequal]
    lifted = learner.adapt(X, y)
    bias = ShotBias(strength=1.5, power=0.5, saturation=5.0)
    learner._network.calibration = learner._network.calibration._replace(shot_bias=None)
    plain = learner.adapt(X, y).decision_function(table.X)
    learner._network.calibration = learner._network.calibration._replace(shot_bias=bias)
    scores = lifted.decision_function(table.X)
    offset = 1.5 * (np.array([1.0, 2.0, 4.0, 5.0]) ** -0.5 - 5.0**-0.5)
    np.testing.assert_allclose(scores - plain, np.tile(offset, (len(plain), 1)), atol=1e-4)


def recall_of_large_and_small(learner, X, y, place):
    """Recalls if one class has thirty examples, and four have one; each of five is the large."""
    recalls, query = [], place >= 40
    for large in np.unique(y):
        support = (place < 1) | ((place < 30) & (y == large))
        right = learner.adapt(X[support], y[support]).predict(X[query]) == y[query]
        recalls.append([right[y[query] == large].mean(), right[y[query] != large].mean()])
    return np.mean(recalls, axis=0)


def test_unequal_shots_are_corrected_but_not_too_much(make_learner):
    """By a head that is fitted to the support set; the mean of five data sets."""
    corrected, plain = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y = np.repeat(np.arange(29), 60)
        X = 1.6 * rng.normal(size=(29, 8))[y] + rng.normal(size=(len(y), 8))
        is_base, place = y < 24, np.arange(len(y)) % 60
        learner = make_learner(readout="anchored", max_epochs=0, random_state=seed)
        learner.fit(X[is_base], y[is_base])
        new = X[~is_base], y[~is_base], place[~is_base]
        corrected.append(recall_of_large_and_small(learner, *new))
        network = learner._network
        network.calibration = network.calibration._replace(shot_bias=None)
        plain.append(recall_of_large_and_small(learner, *new))
    of_large, of_small = np.mean(corrected, axis=0)
    assert of_large > of_small > np.mean(plain, axis=0)[1] + 0.03


def test_equal_shots_are_scored_by_the_equation_alone(make_any, table):
    """To the last bit, whatever was measured."""
    fits = [make_any(max_epochs=1, calibrate=on).fit(table.X, table.y) for on in (True, False)]
    assert fits[0]._network.calibration is not None
    assert fits[1]._network.calibration is None
    scores = [fit.adapt(table.X_new, table.y_new).decision_function(table.X) for fit in fits]
    np.testing.assert_array_equal(*scores)


def test_probabilities_of_episodes_are_those_of_adapted_classifiers(any_learner, table):
    """Of ragged episodes, scored many at a time and one by one."""
    X, y = table.X_new, table.y_new
    episodes = EpisodeSplit(6, n_way=(2, 4), n_shot=(1, 3), n_query=3, random_state=0)
    found = episodic_score(any_learner, X, y, episodes=episodes, scoring="neg_log_loss")
    expected = []
    for support, query in episodes.split(X, y):
        classifier = any_learner.adapt(X[support], y[support])
        proba = classifier.predict_proba(X[query])
        expected.append(-log_loss(y[query], proba, labels=classifier.classes_))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-4)


def test_unequal_shots_of_episodes_are_lifted_as_adapted_classifiers_do(make_any, table):
    learner = make_any(max_epochs=1).fit(table.X, table.y)
    network = learner._network
    network.calibration = network.calibration._replace(shot_bias=ShotBias(1.5, 0.5, 5.0))
    rows = [np.flatnonzero(table.y_new == label) for label in np.unique(table.y_new)]
    support, query = np.full((2, 4, 6), -1), np.full((2, 4, 2), -1)
    classes = np.array([[0, 1, 2, 3], [3, 1, 0, -1]])
    shots = [[1, 2, 4, 6], [5, 1, 2]]
    for episode, counts in enumerate(shots):
        for place, n_shot in enumerate(counts):
            members = rows[classes[episode, place]]
            support[episode, place, :n_shot] = members[:n_shot]
            query[episode, place] = members[6:8]
    plan = EpisodePlan(support, query, classes)
    stored = network.to_tensor(network.encode(table.X_new))
    ((scores, target),) = network.score_plan(stored, plan)
    for episode, counts in enumerate(shots):
        given = support[episode][support[episode] >= 0]
        asked = query[episode][: len(counts)].ravel()
        classifier = learner.adapt(table.X_new[given], table.y_new[given])
        expected = classifier.decision_function(table.X_new[asked])
        found = scores[episode][target[episode] >= 0][:, : len(counts)]
        found = found[:, np.argsort(classes[episode][: len(counts)])]
        tolerance = 1e-4 if network.embeds_rows else 1e-3  # steps magnify rounding
        atol = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_ten_thousand_classes_in_linear_memory():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10_000), 5)
    X = (3.0 * rng.normal(size=(10_000, 16))[y] + rng.normal(size=(50_000, 16))).astype(np.float32)
    classifier = FewShotClassifier().fit(X, y)
    tracemalloc.start()
    predicted = classifier.predict(X[:2000])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**22 * 8  # a few blocks of scores; all differences would be 2.6 GB
    assert np.mean(predicted == y[:2000]) > 0.5
    classifier.partial_fit(X[:2] + 100.0, [10_000, 10_001])
    assert set(classifier.predict(X[:2] + 100.0)) <= {10_000, 10_001}


# ------------------------------------------------------------------ confidence


def test_probabilities_are_sharpened_and_keep_their_order(any_learner, table, unequal):
    classifier = any_learner.adapt(table.X_new[unequal], table.y_new[unequal])
    proba = classifier.predict_proba(table.X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(
        classifier.classes_[proba.argmax(axis=1)], classifier.predict(table.X)
    )
    inverse_temperature = any_learner._network.calibration.inverse_temperature(
        classifier.class_count_
    )
    scores = classifier.decision_function(table.X)
    if (scores >= 0).all() and (scores <= 1).all():
        scores = np.log(scores) - np.log1p(-scores)
    expected = softmax(inverse_temperature * scores, axis=1)
    np.testing.assert_allclose(proba, expected, rtol=1e-4, atol=1e-7)


def test_scikit_learns_calibration_works_on_adapted_classifiers(learner, table):
    classifier = learner.adapt(table.X_new[:20], table.y_new[:20])
    for wrapped in (FrozenEstimator(classifier), classifier):
        calibrated = CalibratedClassifierCV(wrapped, cv=2, method="sigmoid")
        calibrated.fit(table.X_new[20:], table.y_new[20:])
        proba = calibrated.predict_proba(table.X_new)
        assert proba.shape == (len(table.X_new), 4)
        assert np.mean(calibrated.predict(table.X_new) == table.y_new) > 0.5


# ------------------------------------------------------------------ none of these


@pytest.fixture(params=["equal shots", "unequal shots", "one example"])
def classifier(request, any_learner, table, unequal):
    rows = {
        "equal shots": np.arange(len(table.y_new)),
        "unequal shots": unequal,
        "one example": np.unique(table.y_new, return_index=True)[1],
    }[request.param]
    return any_learner.adapt(table.X_new[rows], table.y_new[rows])


def test_what_scores_below_the_threshold_of_its_class_is_rejected(classifier, table):
    X = np.concatenate([table.X_new, table.X, table.X_new + 30.0])
    labels = classifier.predict(X)
    for rate in (0.0, 0.05, 0.5):
        threshold = classifier.rejection_threshold(rate)[
            np.searchsorted(classifier.classes_, labels)
        ]
        answers = classifier.predict(X, reject_label=NONE, reject_rate=rate)
        is_kept = classifier.score_samples(X) >= threshold
        np.testing.assert_array_equal(answers, np.where(is_kept, labels, NONE))


def test_a_higher_rate_rejects_all_that_a_lower_one_does(classifier, table):
    rejected = [
        classifier.predict(table.X, reject_label=NONE, reject_rate=rate) == NONE
        for rate in (0.0, 0.1, 0.3, 0.6, 0.99)
    ]
    for fewer, more in pairwise(rejected):
        assert (more | ~fewer).all()
    assert rejected[-1].sum() > rejected[0].sum()


def test_at_rate_zero_nobody_seen_in_calibration_is_rejected(make_any, table, monkeypatch):
    """Of every size of episodes: their worst query is at the threshold or above."""
    seen = []

    def spy(sizes):
        seen.append(sizes)
        return found(sizes)

    found = _held_out.tabulate_inlier_scores
    monkeypatch.setattr(_held_out, "tabulate_inlier_scores", spy)
    learner = make_any(max_epochs=1).fit(table.X, table.y)
    for size in seen[-1]:  # those of the network of base classes come before, if it is another
        threshold = learner._network.threshold(np.full(size.n_way, size.n_shot), 0.0, np.empty(0))
        assert (size.best >= threshold[0] - 1e-9).all()


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_about_as_many_known_queries_are_rejected_as_stated(make_learner, rate):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(80), 30)
    X = 3.0 * rng.normal(size=(80, 8))[y] + rng.normal(size=(2400, 8))
    old = y < 50
    learner = make_learner(validation_fraction=0.4).fit(X[old], y[old])
    for n_shot in (1, 5):
        place = np.arange(len(y)) % 30
        support, query = ~old & (place < n_shot), ~old & (place >= 10)
        classifier = learner.adapt(X[support], y[support])
        rejected = classifier.predict(X[query], reject_label=-1, reject_rate=rate) == -1
        assert 0.4 * rate < rejected.mean() < 2.0 * rate
        far = classifier.predict(X[query] + 40.0, reject_label=-1, reject_rate=rate)
        assert (far == -1).mean() > 0.95


def test_examples_of_the_task_move_the_threshold(learner, table):
    """Classes that are wider than those held out: leaving out says so, with three examples."""
    wide = table.X_new * 1.0
    for label in np.unique(table.y_new):
        rows = table.y_new == label
        wide[rows] += 4.0 * (wide[rows] - wide[rows].mean(axis=0))
    for n_shot, moves in ((2, False), (8, True)):
        rows = np.concatenate(
            [np.flatnonzero(table.y_new == k)[:n_shot] for k in np.unique(table.y_new)]
        )
        tight, loose = (
            learner.adapt(X[rows], table.y_new[rows]).rejection_threshold(0.05)
            for X in (table.X_new, wide)
        )
        assert (loose < tight - 0.1).all() if moves else (loose == tight).all()


def test_examples_are_left_out_once_per_support_set(learner, table, monkeypatch):
    calls = []
    counted = _predictions.leave_one_out_scores
    monkeypatch.setattr(
        _predictions, "leave_one_out_scores", lambda *args: calls.append(1) or counted(*args)
    )
    classifier = learner.adapt(table.X_new, table.y_new)
    state = pickle.dumps(classifier)
    first = classifier.rejection_threshold(0.1)
    classifier.predict(table.X_new, reject_label=NONE)
    np.testing.assert_array_equal(classifier.rejection_threshold(0.1), first)
    assert len(calls) == 1
    assert pickle.dumps(classifier) == state
    classifier.drop_classes(table.y_new[:1])
    rest = table.y_new != table.y_new[0]
    other = learner.adapt(table.X_new[rest], table.y_new[rest])
    for it in (classifier, copy.copy(classifier), other):
        np.testing.assert_allclose(it.rejection_threshold(0.1), other.rejection_threshold(0.1))
    assert len(calls) == 4


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
def test_labels_of_any_length_and_kind_are_returned(learner, table):
    classifier = learner.adapt(table.X_new, table.y_new)
    long = classifier.predict(table.X + 90.0, reject_label="none of all these classes")
    assert set(long) == {"none of all these classes"}
    numbers = learner.adapt(table.X_new, np.arange(len(table.X_new)) % 3)
    assert set(numbers.predict(table.X + 90.0, reject_label=-1)) == {-1}


BAD_REJECTIONS = {
    "a class": ({"reject_label": "new-24"}, ValueError, "is one of the classes"),
    "a number": ({"reject_label": -1}, ValueError, "of the type of the classes"),
    "an array": ({"reject_label": ["a", "b"]}, ValueError, "of the type of the classes"),
    "rate of one": ({"reject_label": NONE, "reject_rate": 1.0}, ValueError, r"in \[0, 1\)"),
    "negative": ({"reject_label": NONE, "reject_rate": -0.1}, ValueError, r"in \[0, 1\)"),
    "NaN": ({"reject_label": NONE, "reject_rate": np.nan}, ValueError, r"in \[0, 1\)"),
    "text": ({"reject_label": NONE, "reject_rate": "5%"}, ValueError, r"in \[0, 1\)"),
}


@pytest.mark.parametrize(
    ("params", "error", "message"), BAD_REJECTIONS.values(), ids=BAD_REJECTIONS
)
def test_bad_rejections_are_refused(learner, table, params, error, message):
    classifier = learner.adapt(table.X_new, table.y_new)
    with pytest.raises(error, match=message):
        classifier.predict(table.X, **params)


def test_without_measured_scores_nothing_can_be_rejected(make_learner, table):
    uncalibrated = make_learner(calibrate=False, max_epochs=1).fit(table.X, table.y)
    unseen = ZeroShotProtoNetClassifier(max_epochs=1, random_state=0)
    unseen.fit(table.X, table.y)
    raw = FewShotClassifier().fit(table.X_new, table.y_new)
    for estimator in (uncalibrated.adapt(table.X_new, table.y_new), raw):
        with pytest.raises(TypeError, match="calibrate=True"):
            estimator.predict(table.X, reject_label=NONE)
    with pytest.raises(TypeError, match="calibrate=True"):
        unseen._classifier().predict(table.X, reject_label=NONE)


@pytest.mark.parametrize("routing", [False, True])
def test_pipelines_reject_too(make_learner, table, routing):
    pipe = FewShotPipeline([("scale", StandardScaler()), ("learn", make_learner(max_epochs=1))])
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            pipe[-1].set_predict_request(reject_label=True, reject_rate=True)
        pipe.fit(table.X, table.y)
        adapted = adapt(pipe, table.X_new, table.y_new)
        if routing:
            adapted[-1].set_predict_request(reject_label=True, reject_rate=True)
        X = np.concatenate([table.X_new, table.X_new + 50.0])
        found = adapted.predict(X, reject_label=NONE, reject_rate=0.1)
    scaled = adapted[:-1].transform(X)
    expected = adapted[-1].predict(scaled, reject_label=NONE, reject_rate=0.1)
    np.testing.assert_array_equal(found, expected)
    assert set(found[len(table.X_new) :]) == {NONE}


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
def test_learners_reject_what_is_of_no_base_class(make_learner, table):
    learner = make_learner(backbone="identity").fit(table.X, table.y)  # where far away is far
    answers = learner.predict(table.X + 60.0, reject_label=NONE)
    assert set(answers) == {NONE}
    assert np.mean(learner.predict(table.X, reject_label=NONE) == NONE) < 0.2


# ------------------------------------------------------------------ classifiers that grow


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_examples_does_not_matter(any_learner, table, unequal, seed):
    X, y = table.X_new[unequal], table.y_new[unequal]
    expected = any_learner.adapt(X, y)
    order = np.random.default_rng(seed).permutation(len(y))
    grown = FewShotClassifier(any_learner)
    for rows in np.array_split(order, 5):
        grown.partial_fit(X[rows], y[rows])
    same(grown, expected, table.X, 1e-3)
    np.testing.assert_allclose(
        grown.rejection_threshold(0.1), expected.rejection_threshold(0.1), rtol=1e-3, atol=1e-5
    )


def test_calibration_is_pickled_cloned_and_copied(learner, table):
    classifier = learner.adapt(table.X_new, table.y_new)
    expected = classifier.rejection_threshold(0.1)
    again = clone(classifier).fit(table.X_new, table.y_new)
    for other in (pickle.loads(pickle.dumps(classifier)), again):
        np.testing.assert_allclose(other.rejection_threshold(0.1), expected)
        np.testing.assert_allclose(other.predict_proba(table.X), classifier.predict_proba(table.X))


@pytest.mark.parametrize("params", [{"refit": True}, {"warm_start": True}])
def test_training_again_keeps_or_renews_the_calibration(make_learner, table, params):
    learner = make_learner(**params).fit(table.X, table.y)
    assert learner._network.calibration is not None
    assert learner.fit(table.X, table.y)._network.calibration is not None


def test_a_learner_says_how_many_classes_its_calibration_rests_on(make_learner, table):
    held_out = ["base-0", "base-9", "base-3"]
    for params, expected in (
        ({"validation_classes": held_out}, 3),
        ({"validation_classes": held_out, "refit": True}, 3),
        ({"validation_fraction": 0.0}, 0),
        ({"calibrate": False}, 0),
    ):
        learner = make_learner(**params).fit(table.X, table.y)
        assert learner.n_calibration_classes_ == expected


def test_refitted_learners_keep_what_held_out_classes_said(make_learner, table, monkeypatch):
    held_out = []

    def spy(network, data, classes, verbose):
        held_out.append(classes)
        return calibrate(network, data, classes, verbose)

    calibrate = _meta_train.calibrate
    monkeypatch.setattr(_meta_train, "calibrate", spy)
    make_learner(refit=True, max_epochs=3).fit(table.X, table.y)
    assert len(held_out) == 1
    assert 0 < held_out[0].sum() < len(held_out[0])


# ------------------------------------------------------------------ examples without a label


@pytest.fixture
def half_labelled(table):
    """Two labelled examples of each class, and the rest without a label."""
    y = table.y_new.copy()
    place = np.array([np.sum(y[:row] == label) for row, label in enumerate(y)])
    y[place >= 2] = "?"
    return table.X_new, y


def test_refined_means_are_those_of_soft_k_means(learner, half_labelled, table):
    """Ren et al. (2018), by loops: a step with one more cluster of what is of no class."""
    X, y = half_labelled
    classifier = learner.adapt(X, y, unlabelled="?", refinement="soft_kmeans")
    network = learner._network
    embedding, is_labelled = network.embed(X).astype(float), y != "?"
    classes = np.unique(y[is_labelled])
    means = np.stack([embedding[y == k].mean(axis=0) for k in classes])
    inverse_temperature = network.calibration.inverse_temperature(np.full(4, 2))
    outlier = network.calibration.quantile(np.full(4, 2), 0.1, np.empty(0))[0]
    total, mass = 2.0 * means, np.full(4, 2.0)
    for x in embedding[~is_labelled]:
        scores = [-learner.scale_ * np.sum((x - mean) ** 2) for mean in means] + [outlier]
        share = softmax(inverse_temperature * np.array(scores))[:4]
        total, mass = total + share[:, None] * x, mass + share
    np.testing.assert_allclose(classifier.state_["prototype"][0], total / mass[:, None], rtol=1e-6)
    np.testing.assert_allclose(classifier._support.weight, mass, rtol=1e-6)
    np.testing.assert_array_equal(classifier.class_count_, 2)


def test_examples_without_a_label_help(make_learner):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(40), 20)
    X = 2.0 * rng.normal(size=(40, 6))[y] + rng.normal(size=(800, 6))
    learner = make_learner(validation_fraction=0.4).fit(X[y < 30], y[y < 30])
    place, new = np.arange(800) % 20, y >= 30
    one, more, asked = new & (place == 0), new & (place > 0) & (place < 8), new & (place >= 8)
    labels = np.concatenate([y[one], np.full(more.sum(), -1)])
    refined = learner.adapt(np.concatenate([X[one], X[more]]), labels, unlabelled=-1)
    plain = learner.adapt(X[one], y[one])
    assert refined.score(X[asked], y[asked]) > plain.score(X[asked], y[asked]) + 0.02


def test_only_when_asked_for(learner, half_labelled):
    X, y = half_labelled
    assert "?" in learner.adapt(X, y).classes_
    assert "?" not in learner.adapt(X, y, unlabelled="?").classes_
    minus = learner.adapt(X, np.where(y == "?", -1, 3))
    np.testing.assert_array_equal(minus.classes_, [-1, 3])


def test_no_unlabelled_rows_change_nothing(learner, table):
    plain = learner.adapt(table.X_new, table.y_new)
    with pytest.warns(UserWarning, match="unlabelled='\\?' marks no example"):
        asked = learner.adapt(table.X_new, table.y_new, unlabelled="?")
    np.testing.assert_array_equal(
        asked.decision_function(table.X), plain.decision_function(table.X)
    )


def test_far_away_rows_are_of_no_class(make_learner, half_labelled, table):
    learner = make_learner(backbone="identity").fit(table.X, table.y)
    X, y = half_labelled
    labelled = y != "?"
    plain = learner.adapt(X[labelled], y[labelled])
    far = np.concatenate([X[labelled], X[~labelled] + 12.0])
    refined = learner.adapt(far, np.r_[y[labelled], y[~labelled]], unlabelled="?")
    same(refined, plain, table.X, 1e-6)


def test_unlabelled_rows_grow_in_any_order(learner, half_labelled, table):
    X, y = half_labelled
    expected = learner.adapt(X, y, unlabelled="?")
    grown = FewShotClassifier(learner, unlabelled="?")
    first = np.argsort(y == "?", kind="stable")[:8]  # a labelled example of each class to begin
    rest = np.setdiff1d(np.arange(len(y)), first)
    for rows in (first, rest[::2], rest[1::2]):
        grown.partial_fit(X[rows], y[rows])
    same(grown, expected, table.X, 1e-6)
    grown.drop_classes([expected.classes_[0]])
    assert len(grown.classes_) == 3
    assert len(grown._support.unlabelled.rows) == np.sum(y == "?")


def test_only_unlabelled_rows_can_be_added(learner, half_labelled, table):
    X, y = half_labelled
    labelled = y != "?"
    grown = FewShotClassifier(learner, unlabelled="?").partial_fit(X[labelled], y[labelled])
    grown.partial_fit(X[~labelled], y[~labelled])
    same(grown, learner.adapt(X, y, unlabelled="?"), table.X, 1e-6)


@pytest.mark.parametrize("container", [np.asarray, pd.Series], ids=["array", "series"])
def test_numbers_beside_a_mark_of_another_type(learner, half_labelled, table, container):
    X, y = half_labelled
    mixed = np.unique(y, return_inverse=True)[1].astype(object)
    mixed[y == "?"] = "unknown"
    classifier = learner.adapt(X, container(mixed), unlabelled="unknown")
    assert classifier.classes_.dtype.kind == "i"
    same(classifier, learner.adapt(X, y, unlabelled="?"), table.X)


def test_marks_of_another_type_work_in_object_arrays(learner, half_labelled):
    X, y = half_labelled
    mixed = np.array([-1 if label == "?" else str(label) for label in y], dtype=object)
    classifier = learner.adapt(X, mixed, unlabelled=-1)
    assert list(classifier.classes_) == list(learner.adapt(X, y, unlabelled="?").classes_)


def test_unlabelled_examples_beside_the_base_classes(learner, half_labelled, table):
    X, y = half_labelled
    both = learner.adapt(X, y, unlabelled="?", include_base=True)
    assert len(both.classes_) == 12
    assert both.score(table.X_new, table.y_new) > 0.5


def test_bad_unlabelled_support_is_refused(learner, half_labelled):
    X, y = half_labelled
    with pytest.raises(ValueError, match="no label but '\\?'"):
        learner.adapt(X[:3], ["?"] * 3, unlabelled="?")
    with pytest.raises(ValueError, match="same type"):
        learner.adapt(X, y, unlabelled=-1)
    with pytest.raises(ValueError, match="inconsistent"):
        learner.adapt(X, y[:-1], unlabelled="?")
    with pytest.raises(ValueError, match="must be one label"):
        learner.adapt(X, y, unlabelled=["?"])
    classifier = learner.adapt(X, y, unlabelled="?")
    before = dict(vars(classifier))
    with pytest.raises(ValueError, match=r"same type|different types"):
        classifier.partial_fit(X[:2], [1, 2])
    assert all(vars(classifier)[name] is value for name, value in before.items())


@pytest.mark.parametrize(
    "make",
    [
        MatchingNetClassifier,
        SiameseNetClassifier,
        partial(BaselineClassifier, readout="anchored"),
    ],
)
def test_learners_without_means_take_no_unlabelled_examples(make, half_labelled, table):
    learner = make(max_epochs=0, random_state=0, refit=False).fit(table.X, table.y)
    with pytest.raises(TypeError, match="compares with means"):
        learner.adapt(*half_labelled, unlabelled="?")


def test_raw_rows_take_no_unlabelled_examples(half_labelled):
    with pytest.raises(TypeError, match="calibrate=True"):
        FewShotClassifier(unlabelled="?").fit(*half_labelled)


# ------------------------------------------------------------------ data that allow little


DEGENERATE = {
    "two classes": ([12, 12], {}),
    "two examples of each": ([2] * 6, {}),
    "some of a single example": ([1, 1, 5, 6, 7, 2, 9], {}),
    "unequal": ([3, 30, 4, 25, 6, 10], {}),
    "no validation": ([8] * 5, {"validation_fraction": 0.0}),
}


@pytest.mark.parametrize(("sizes", "params"), DEGENERATE.values(), ids=DEGENERATE)
def test_calibration_is_finite_whatever_the_data_allow(make_any, sizes, params):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(sizes), 6))[y] + 0.1 * rng.normal(size=(len(y), 6))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(training classes|validation classes)")
        learner = make_any(max_epochs=1, **params).fit(X, y, groups=np.arange(len(y)))
    found = learner._network.calibration
    assert np.isfinite(found.temperature.coefficients).all()
    assert np.isfinite(found.inliers.quantile).all()
    assert found.shot_bias is None or np.isfinite(found.shot_bias.biases).all()
    classifier = learner.adapt(X[:1], y[:1], include_base=True)
    assert np.isfinite(classifier.predict_proba(X)).all()
    assert np.isfinite(classifier.rejection_threshold(0.05)).all()


def test_with_a_single_class_to_draw_nothing_is_measured(make_any):
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        expected = ".*(training classes|validation classes|one class alone|false_accept_rate)"
        warnings.filterwarnings("ignore", message=expected)
        learner = make_any(max_epochs=1).fit(rng.normal(size=(7, 6)), [0] + [1] * 6)
    assert learner._network.calibration is None
    assert np.isfinite(learner.predict_proba(rng.normal(size=(5, 6)))).all()


def test_held_out_classes_that_make_no_episode_give_way_to_all(make_learner, table):
    single = np.flatnonzero(table.y == "base-0")[1:]
    X, y = np.delete(table.X, single, axis=0), np.delete(table.y, single)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(too few examples|from 'base-3' only)")
        learner = make_learner(validation_classes=["base-0", "base-3"], max_epochs=1).fit(X, y)
    assert learner._network.calibration.inliers.n_way.max() == 7


def test_supports_and_queries_of_calibration_share_no_group(make_learner, monkeypatch):
    rng = np.random.default_rng(0)
    y, groups = np.repeat(np.arange(10), 12), np.tile(np.repeat(np.arange(4), 3), 10)
    X = rng.normal(size=(10, 6))[y] + rng.normal(size=(120, 6))
    seen = []

    def spy(network, data, support, queries, new):
        is_new = np.isin(data.codes[support], new)
        seen.append((set(groups[support[is_new]]), set(groups[queries])))
        return score_split(network, data, support, queries, new)

    class Sampler(EpisodeSampler):
        def plan(self, n_episodes, rng):
            plan = super().plan(n_episodes, rng)
            of_row = groups[held_out]
            for support, query in zip(plan.support, plan.query, strict=True):
                seen.append((set(of_row[support[support >= 0]]), set(of_row[query[query >= 0]])))
            return plan

    score_split = _held_out._score_split
    monkeypatch.setattr(_held_out, "_score_split", spy)
    monkeypatch.setattr(_held_out, "EpisodeSampler", Sampler)
    held_out = np.flatnonzero(y >= 5)
    learner = make_learner(max_epochs=1, validation_classes=np.arange(5, 10))
    learner.fit(X, y, groups=groups)
    assert len(seen) > 100
    assert all(not shown & asked for shown, asked in seen)


def test_representations_of_nothing_can_be_joined():
    empty = Representation(np.empty((0, 3)), np.empty(0, int), np.empty(0), 2)
    assert list(empty.class_count) == [0, 0]


def test_a_plain_pipeline_keeps_unlabelled_for_its_classifier(learner, half_labelled, table):
    X, y = half_labelled
    pipe = make_pipeline(StandardScaler(), FewShotClassifier(learner, unlabelled="?"))
    assert "?" not in pipe.fit(X, y).classes_


@pytest.mark.parametrize("mark", [np.nan, pd.NA], ids=["NaN", "NA"])
@pytest.mark.parametrize("missing", [np.nan, None, pd.NA], ids=["NaN", "None", "NA"])
def test_missing_values_are_a_mark(learner, half_labelled, mark, missing):
    X, y = half_labelled
    expected = learner.adapt(X, y, unlabelled="?")
    y = np.array([missing if label == "?" else label for label in y], dtype=object)
    check = learner.adapt(X, y, unlabelled=mark)
    np.testing.assert_array_equal(check.classes_, expected.classes_)
    np.testing.assert_array_equal(check.decision_function(X), expected.decision_function(X))


def test_missing_labels_beside_a_mark_are_an_error(learner, half_labelled):
    X, y = half_labelled
    y = y.astype(object)
    y[0] = pd.NA
    with pytest.raises(ValueError, match="y lacks 1 labels"):
        learner.adapt(X, y, unlabelled="?")


def test_missing_numbers_are_a_mark(learner, half_labelled):
    X, y = half_labelled
    codes = np.unique(y, return_inverse=True)[1] - 1.0  # "?" is the first
    expected = learner.adapt(X, codes, unlabelled=-1)
    codes[codes == -1] = np.nan
    for given in (codes, pd.Series(codes).astype("Int64")):
        found = learner.adapt(X, given, unlabelled=np.nan)
        np.testing.assert_array_equal(found.decision_function(X), expected.decision_function(X))


@pytest.mark.parametrize(
    "ensemble",
    [
        lambda classifier: VotingClassifier([("few", classifier)]),
        lambda classifier: BaggingClassifier(classifier, n_estimators=2, random_state=0),
        OneVsRestClassifier,
    ],
    ids=["voting", "bagging", "one-vs-rest"],
)
def test_a_mark_that_an_ensemble_encoded_warns(learner, half_labelled, ensemble):
    X, y = half_labelled
    codes = np.unique(y, return_inverse=True)[1] - 1
    with pytest.warns(UserWarning, match=r"unlabelled=-1 marks no example: y has .*ensembles"):
        ensemble(FewShotClassifier(learner, unlabelled=-1)).fit(X, codes)


def test_labelled_examples_can_be_added_to_unlabelled_ones(learner, half_labelled):
    X, y = half_labelled
    learner.adapt(X, y, unlabelled="?").partial_fit(X[y != "?"][:1], y[y != "?"][:1])


def test_a_rejection_rate_without_a_label_warns(learner, table):
    classifier = learner.adapt(table.X_new, table.y_new)
    for method in (learner.predict, classifier.predict):
        with pytest.warns(
            UserWarning, match=r"reject_rate=0\.2 has no effect without reject_label"
        ):
            method(table.X, reject_rate=0.2)
        method(table.X)
