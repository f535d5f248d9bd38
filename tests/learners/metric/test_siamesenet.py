"""Siamese Networks: scores by plain loops, and the verifier with its threshold."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.special import expit, logit

from sklearn_fewshot import SiameseNetClassifier
from sklearn_fewshot.nn import METRICS

ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))
BUDGET = {
    "n_way": 5,
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "refit": False,
    "random_state": 0,
}


def make(**params):
    return SiameseNetClassifier(**{**BUDGET, **params})


@pytest.fixture(scope="module", params=["table", "pictures", "series"])
def toy(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def fitted(toy):
    """Shared: nobody may refit it."""
    return make(lr=1e-3).fit(toy.X, toy.y)


def all_pairs(X, y):
    """Return every pair of two different samples once, and whether their classes are the same."""
    i, j = np.triu_indices(len(X), k=1)
    return np.stack([X[i], X[j]], axis=1), y[i] == y[j]


def many_classes(n_classes=80, n_each=6, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), n_each)
    return 2.0 * rng.normal(size=(n_classes, 8))[y] + rng.normal(size=(len(y), 8)), y


# ------------------------------------------------------------------ classes


@ALL_METRICS
@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_predictions_equal_plain_loops(metric, aggregate, table):
    params = {"metric": metric, "aggregate": aggregate, "calibrate": False}
    learner = make(**params).fit(table.X, table.y)
    X_support, y_support = table.X_new[:17], table.y_new[:17]  # unequal shots
    classifier = learner.adapt(X_support, y_support)
    support, query = (learner.transform(X).astype(float) for X in (X_support, table.X[:20]))
    head = learner.module_.head
    weights, bias = head.weight.double().numpy(), float(head.bias)
    pairs = np.zeros((20, 17))
    for i, j in np.ndindex(pairs.shape):
        by_dimension = np.abs(query[i] - support[j])
        if metric in ("cityblock", "sqeuclidean"):
            by_dimension **= 2 if metric == "sqeuclidean" else 1
        else:
            by_dimension = cdist(query[[i]], support[[j]], metric)[0]
        pairs[i, j] = sum(weights * by_dimension) + bias
    over_class = np.max if aggregate == "max" else np.mean
    labels = np.unique(y_support)
    expected = np.stack([over_class(pairs[:, y_support == k], axis=1) for k in labels], axis=1)
    scores = classifier.decision_function(table.X[:20])
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    odds = expit(expected) / (1.0 - expit(expected))
    shares = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.predict_proba(table.X[:20]), shares, rtol=1e-4)


def test_with_one_example_a_class_the_score_is_that_of_the_pair(fitted, toy):
    labels, first = np.unique(toy.y_new, return_index=True)
    scores = fitted.adapt(toy.X_new[first], labels).decision_function(toy.X)
    for column, row in enumerate(first):
        pairs = np.stack([toy.X, np.broadcast_to(toy.X_new[row], toy.X.shape)], axis=1)
        np.testing.assert_allclose(fitted.pair_score(pairs), expit(scores[:, column]), atol=1e-5)


# ------------------------------------------------------------------ pairs


def test_a_pair_has_one_score_and_no_order(fitted, toy):
    pairs, _ = all_pairs(toy.X_new, toy.y_new)
    score = fitted.pair_score(pairs)
    assert score.shape == (len(pairs),)
    assert score.dtype == np.float64
    assert ((score >= 0) & (score <= 1)).all()
    np.testing.assert_allclose(fitted.pair_score(pairs[:, ::-1]), score, atol=1e-6)
    np.testing.assert_allclose(fitted.pair_score(pairs[3:4]), score[3:4], atol=1e-5)


def test_a_sample_and_itself_are_at_distance_zero(fitted, toy):
    pairs = np.stack([toy.X_new, toy.X_new], axis=1)
    np.testing.assert_allclose(fitted.pair_distance(pairs), 0.0, atol=1e-6)
    bias = float(fitted.module_.head.bias)
    np.testing.assert_allclose(fitted.pair_score(pairs), expit(bias), atol=1e-6)


def test_scores_and_distances_say_the_same(fitted, toy):
    pairs, _ = all_pairs(toy.X_new, toy.y_new)
    bias = float(fitted.module_.head.bias)
    expected = expit(bias - fitted.pair_distance(pairs))
    np.testing.assert_allclose(fitted.pair_score(pairs), expected, rtol=1e-12)


def test_a_verdict_is_the_score_against_the_threshold(fitted, toy):
    pairs, is_same = all_pairs(toy.X_new, toy.y_new)
    verdict = fitted.predict_pairs(pairs)
    assert verdict.dtype.kind == "i"
    np.testing.assert_array_equal(verdict == 1, fitted.pair_score(pairs) > fitted.threshold_)
    np.testing.assert_array_equal(verdict == -1, fitted.pair_score(pairs) <= fitted.threshold_)
    right = (verdict == 1) == is_same
    assert right[is_same].mean() > 0.5
    assert right[~is_same].mean() > 0.7


def test_equal_pictures_are_equal_pairs_whatever_their_dtype(pictures):
    learner = make(max_epochs=1).fit(pictures.X, pictures.y)
    pairs, _ = all_pairs(pictures.X_new, pictures.y_new)
    of_integers, of_floats = (learner.pair_score(pairs.astype(d)) for d in (np.uint8, float))
    np.testing.assert_array_equal(of_integers, of_floats)


def test_pairs_of_rows_fit_a_learner_of_reshaped_pictures(pictures):
    rows = pictures.X.reshape(len(pictures.X), -1)
    learner = make(input_shape=(1, 16, 16), max_epochs=1).fit(rows, pictures.y)
    pairs = np.stack([rows[:5], rows[5:10]], axis=1)
    assert learner.pair_score(pairs).shape == (5,)


def test_lists_and_read_only_arrays_are_taken(table):
    for backbone in ("auto", "identity"):
        learner = make(backbone=backbone, max_epochs=1).fit(table.X, table.y)
        pairs = np.stack([table.X[:4], table.X[4:8]], axis=1)
        pairs.flags.writeable = False
        np.testing.assert_array_equal(learner.pair_score(pairs.tolist()), learner.pair_score(pairs))


def test_pairs_need_no_column_names(table):
    frame = pd.DataFrame(table.X).add_prefix("x")
    learner = make(max_epochs=1).fit(frame, table.y)
    pairs = np.stack([table.X[:4], table.X[4:8]], axis=1)
    assert learner.pair_score(pairs).shape == (4,)


@pytest.mark.parametrize("method", ["pair_score", "pair_distance", "predict_pairs"])
def test_what_is_no_pair_is_refused_with_what_was_got(method, learner_of_rows, table):
    wrong = {
        r"\(n_pairs, 2, \.\.\.\).*np\.stack.*Got shape \(80, 6\)": table.X,
        r"\(n_pairs, 2, \.\.\.\).*Got shape \(4, 3, 6\)": table.X[:12].reshape(4, 3, 6),
        r"\(n_pairs, 2, \.\.\.\).*Got shape \(0,\)": [],
        "X has 5 features, but .* is expecting 6": np.zeros((4, 2, 5)),
        r"samples of shape \(2, 3\)": np.zeros((4, 2, 2, 3)),
        "NaN": np.full((4, 2, 6), np.nan),
    }
    for message, pairs in wrong.items():
        with pytest.raises(ValueError, match=message):
            getattr(learner_of_rows, method)(pairs)


@pytest.fixture(scope="module")
def learner_of_rows(table):
    return make(max_epochs=1).fit(table.X, table.y)


def test_pictures_that_are_no_pairs_are_refused(pictures):
    learner = make(max_epochs=1).fit(pictures.X, pictures.y)
    with pytest.raises(ValueError, match=r"Got shape \(36, 1, 16, 16\)"):
        learner.pair_score(pictures.X)
    with pytest.raises(ValueError, match=r"samples of shape \(16, 16\)"):
        learner.pair_score(np.zeros((4, 2, 16, 16)))


def test_a_learner_must_be_fitted_to_compare():
    with pytest.raises(ValueError, match="not fitted"):
        make().pair_score(np.zeros((1, 2, 6)))


# ------------------------------------------------------------------ the threshold


@pytest.mark.parametrize("metric", ["sqeuclidean", "cityblock"])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_the_false_accept_rate_holds_on_new_classes(metric, rate):
    X, y = many_classes()
    old = y < 50
    learner = make(false_accept_rate=rate, metric=metric, n_way=20).fit(X[old], y[old])
    pairs, is_same = all_pairs(X[~old], y[~old])
    accepted = learner.predict_pairs(pairs) == 1
    assert rate / 2 < accepted[~is_same].mean() < 2 * rate
    assert accepted[is_same].mean() > accepted[~is_same].mean() + 0.3


def test_a_higher_false_accept_rate_lowers_the_threshold():
    X, y = many_classes(20)
    rates = (0.01, 0.1, 0.5, 0.9)
    thresholds = [make(false_accept_rate=rate).fit(X, y).threshold_ for rate in rates]
    assert thresholds == sorted(thresholds, reverse=True)
    assert len(set(thresholds)) == 4


def test_the_threshold_is_a_quantile_over_pairs_with_a_held_out_class(table):
    held_out = np.unique(table.y)[:3]
    learner = make(validation_classes=held_out, false_accept_rate=0.2).fit(table.X, table.y)
    pairs, is_same = all_pairs(table.X, table.y)
    i, j = np.triu_indices(len(table.X), k=1)
    with_held_out = np.isin(table.y[i], held_out) | np.isin(table.y[j], held_out)
    score = learner.pair_score(pairs[with_held_out & ~is_same])
    assert learner.threshold_ == pytest.approx(np.quantile(score, 0.8), rel=1e-4)


@pytest.mark.parametrize("validation_fraction", [0.0, 0.2])
def test_a_few_rows_of_many_are_enough(validation_fraction, table, monkeypatch):
    """Blocks of rows, thinned; the held-out classes keep their share."""
    monkeypatch.setattr("sklearn_fewshot.learners.metric._siamesenet.N_CALIBRATION_ROWS", 15)
    params = {"validation_fraction": validation_fraction, "predict_batch_size": 7}
    few = make(**params).fit(table.X, table.y)
    monkeypatch.undo()
    every = make(**params).fit(table.X, table.y)
    assert 0 < few.threshold_ < 1
    assert logit(few.threshold_) == pytest.approx(logit(every.threshold_), abs=1.0)


def test_the_threshold_can_be_set_on_pairs_of_the_user(table):
    learner = make().fit(table.X, table.y)
    pairs, is_same = all_pairs(table.X_new, table.y_new)
    y = np.where(is_same, 1, -1)
    for rate in (0.1, 0.25):
        assert learner.calibrate_threshold(pairs, y, false_accept_rate=rate) is learner
        accepted = learner.predict_pairs(pairs[~is_same]) == 1
        assert accepted.mean() == pytest.approx(rate, abs=0.01)
    learner.set_params(false_accept_rate=0.4).calibrate_threshold(pairs, y)
    assert np.mean(learner.predict_pairs(pairs[~is_same]) == 1) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    "y", [[1, 0, -1], [1, 1, 1], [1, -1], ["same", "same", "different"], [[1], [-1], [1]]]
)
def test_labels_of_pairs_are_one_and_minus_one(y, learner_of_rows, table):
    pairs = np.stack([table.X[:3], table.X[3:6]], axis=1)
    before = learner_of_rows.threshold_
    with pytest.raises(ValueError, match=r"1 \(same class\) or -1 .* 3 pairs.*Got"):
        learner_of_rows.calibrate_threshold(pairs, y)
    assert learner_of_rows.threshold_ == before


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, "low"])
def test_the_false_accept_rate_is_a_share(rate, table):
    with pytest.raises(ValueError, match="'false_accept_rate' parameter of SiameseNetClassifier"):
        make(false_accept_rate=rate).fit(table.X, table.y)


# ------------------------------------------------------------------ training


@pytest.mark.parametrize("factor", [1e-2, 1e3])
def test_the_start_fits_the_weights_to_the_input(factor, table):
    """Behind a network that starts from the input itself."""
    learner = make(backbone="identity", max_epochs=0).fit(factor * table.X, table.y)
    unit = make(backbone="identity", max_epochs=0).fit(table.X, table.y)
    classifier = learner.adapt(factor * table.X_new, table.y_new)
    expected = unit.adapt(table.X_new, table.y_new)
    np.testing.assert_allclose(
        classifier.predict_proba(factor * table.X), expected.predict_proba(table.X), rtol=1e-3
    )
    pairs, is_same = all_pairs(factor * table.X_new, table.y_new)
    score = learner.pair_score(pairs)
    assert np.median(score[is_same]) > 0.5 > np.median(score[~is_same])


def test_training_learns_to_verify():
    """Features that do not matter lose their weight, or gain the opposite one."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(40), 10)
    means = np.hstack([rng.normal(scale=3.0, size=(40, 3)), np.zeros((40, 9))])
    X = means[y] + rng.normal(size=(400, 12)) * np.repeat([1.0, 4.0], [3, 9])
    old = y < 30
    area = []
    for max_epochs in (0, 4):
        learner = make(backbone="identity", n_way=20, lr=0.05, max_epochs=max_epochs)
        learner.set_params(episodes_per_epoch=20, validation_fraction=0.0).fit(X[old], y[old])
        pairs, is_same = all_pairs(X[~old], y[~old])
        score = learner.pair_score(pairs)
        area.append(np.mean(score[is_same][:, None] > score[~is_same][::7]))
    assert area[0] < 0.75
    assert area[1] > 0.85
