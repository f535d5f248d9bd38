"""FewShotClassifier: support sets as values."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestCentroid

from sklearn_fewshot import FewShotClassifier, adapt

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")


@pytest.fixture
def make_classifier(request, learner):
    """Make a classifier over the fitted learner, or over raw rows."""
    frozen = None if request.param is None else learner
    return lambda: FewShotClassifier(frozen)


OVER_BOTH = pytest.mark.parametrize(
    "make_classifier", ["network", None], ids=["network", "raw rows"], indirect=True
)


def check_equal(classifier, expected, X, rtol=1e-7):
    """Equal to rounding in float32, which rows at other places of a batch may differ by."""
    np.testing.assert_array_equal(classifier.classes_, expected.classes_)
    np.testing.assert_array_equal(classifier.class_count_, expected.class_count_)
    np.testing.assert_allclose(
        classifier.decision_function(X), expected.decision_function(X), rtol=rtol, atol=1e-6
    )
    np.testing.assert_array_equal(classifier.predict(X), expected.predict(X))


# ------------------------------------------------------------------ the support is a set


@OVER_BOTH
def test_the_order_of_the_support_changes_nothing(make_classifier, table):
    order = np.random.default_rng(3).permutation(len(table.y_new))
    check_equal(
        make_classifier().fit(table.X_new[order], table.y_new[order]),
        make_classifier().fit(table.X_new, table.y_new),
        table.X,
    )


@OVER_BOTH
def test_giving_every_example_twice_changes_no_score(make_classifier, table):
    once = make_classifier().fit(table.X_new, table.y_new)
    twice = make_classifier().fit(np.tile(table.X_new, (2, 1)), np.tile(table.y_new, 2))
    np.testing.assert_allclose(
        twice.decision_function(table.X), once.decision_function(table.X), rtol=1e-7, atol=1e-6
    )
    np.testing.assert_array_equal(twice.class_count_, 2 * once.class_count_)


@OVER_BOTH
def test_renaming_the_classes_permutes_the_columns(make_classifier, table):
    plain = make_classifier().fit(table.X_new, table.y_new)
    names = dict(zip(plain.classes_, [30, 10, 40, 20], strict=True))
    renamed = make_classifier().fit(table.X_new, [names[label] for label in table.y_new])
    assert list(renamed.classes_) == [10, 20, 30, 40]
    for method in ("predict_proba", "decision_function"):
        np.testing.assert_allclose(
            getattr(renamed, method)(table.X)[:, [2, 0, 3, 1]],
            getattr(plain, method)(table.X),
            rtol=1e-7,
            atol=1e-6,
        )


@OVER_BOTH
def test_partial_fit_equals_fit_on_everything_in_any_order(make_classifier, table):
    everything = make_classifier().fit(table.X_new, table.y_new)
    rng = np.random.default_rng(0)
    by_class = [np.flatnonzero(table.y_new == label) for label in np.unique(table.y_new)]
    one_by_one = [[row] for row in rng.permutation(len(table.y_new))]
    for parts in (by_class, one_by_one, np.array_split(rng.permutation(len(table.y_new)), 3)):
        grown = make_classifier()
        for rows in parts:
            grown.partial_fit(table.X_new[rows], table.y_new[rows])
        check_equal(grown, everything, table.X)


@OVER_BOTH
def test_dropping_classes_equals_never_having_seen_them(make_classifier, table):
    dropped = np.unique(table.y_new)[[1, 3]]
    kept = ~np.isin(table.y_new, dropped)
    classifier = make_classifier().fit(table.X_new, table.y_new).drop_classes(dropped)
    expected = make_classifier().fit(table.X_new[kept], table.y_new[kept])
    check_equal(classifier, expected, table.X)
    check_equal(
        classifier.partial_fit(table.X_new[~kept], table.y_new[~kept]),
        make_classifier().fit(table.X_new, table.y_new),
        table.X,
    )


def test_one_label_can_be_dropped_without_a_list(table):
    classifier = FewShotClassifier().fit(table.X_new, table.y_new)
    first, *others = classifier.classes_
    assert list(classifier.drop_classes(first).classes_) == others


def test_announced_classes_need_not_come(table):
    classifier = FewShotClassifier()
    known = np.unique(table.y_new)
    classifier.partial_fit(table.X_new[:1], table.y_new[:1], classes=known)
    np.testing.assert_array_equal(classifier.classes_, table.y_new[:1])


def test_numeric_labels_of_several_kinds_go_together(table):
    codes = np.unique(table.y_new, return_inverse=True)[1]
    classifier = FewShotClassifier().fit(table.X_new, codes.astype(np.int16))
    classifier.partial_fit(table.X[:2], np.array([7.0, 7.0]))
    assert list(classifier.classes_) == [0, 1, 2, 3, 7]


def test_strings_of_several_kinds_go_together(table):
    classifier = FewShotClassifier().fit(table.X_new, table.y_new.astype(object))
    classifier.partial_fit(table.X[:1], np.array(["a much longer label than before"]))
    assert "a much longer label than before" in classifier.classes_


# ------------------------------------------------------------------ predictions


def test_raw_rows_are_compared_with_class_means(table):
    classifier = FewShotClassifier().fit(table.X_new, table.y_new)
    centroid = NearestCentroid().fit(table.X_new, table.y_new)
    np.testing.assert_array_equal(classifier.predict(table.X), centroid.predict(table.X))
    distance = np.square(table.X[:, None] - centroid.centroids_).sum(axis=2)
    np.testing.assert_allclose(classifier.decision_function(table.X), -distance, rtol=1e-9)


def test_two_classes_give_one_column_positive_for_the_second(learner, table):
    two = np.isin(table.y_new, np.unique(table.y_new)[:2])
    classifier = learner.adapt(table.X_new[two], table.y_new[two])
    decision = classifier.decision_function(table.X)
    assert decision.shape == (len(table.X),)
    np.testing.assert_array_equal(
        classifier.predict(table.X), classifier.classes_[(decision > 0).astype(int)]
    )
    proba = classifier.predict_proba(table.X)
    assert proba.shape == (len(table.X), 2)
    inverse_temperature = learner._network.calibration.inverse_temperature(classifier.class_count_)
    np.testing.assert_allclose(
        proba[:, 1], 1 / (1 + np.exp(-inverse_temperature * decision)), rtol=1e-7
    )


def test_one_class_is_certain(learner, table):
    classifier = learner.adapt(table.X_new[:1], table.y_new[:1])
    assert set(classifier.predict(table.X)) == set(table.y_new[:1])
    np.testing.assert_array_equal(classifier.predict_proba(table.X), np.ones((len(table.X), 1)))


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
def test_scores_of_samples_are_higher_near_the_support(learner, table):
    classifier = learner.adapt(table.X_new, table.y_new)
    near = classifier.score_samples(table.X_new)
    far = classifier.score_samples(table.X_new + 50.0)
    assert near.min() > far.max()


@pytest.mark.parametrize("method", METHODS)
def test_queries_are_scored_in_bounded_blocks(learner, table, monkeypatch, method):
    classifier = learner.adapt(table.X_new, table.y_new)
    X = np.tile(table.X, (20, 1))
    expected = getattr(classifier, method)(X)
    sizes, predict = [], type(classifier._network).predict

    def spy(self, state, rows, count):
        sizes.append(len(rows))
        return predict(self, state, rows, count)

    monkeypatch.setattr(type(classifier._network), "predict", spy)
    n_values = len(classifier.classes_) + classifier.state_["prototype"].shape[2]  # of a row
    with sklearn.config_context(working_memory=8 * n_values * 512 / 2**20):
        np.testing.assert_array_equal(getattr(classifier, method)(X), expected)
    assert sizes == [512, 512, 512, 64]


# ------------------------------------------------------------------ scores


def test_score_is_the_accuracy(learner, table):
    classifier = learner.adapt(table.X_new[:20], table.y_new[:20])
    hits = classifier.predict(table.X_new) == table.y_new
    assert classifier.score(table.X_new, table.y_new) == pytest.approx(hits.mean())
    weight = np.arange(len(hits))
    expected = np.average(hits, weights=weight)
    assert classifier.score(table.X_new, table.y_new, sample_weight=weight) == expected


def test_unknown_labels_count_as_errors_and_warn(learner, table):
    known = table.y_new != table.y_new[0]
    classifier = learner.adapt(table.X_new[known], table.y_new[known])
    with pytest.warns(UserWarning, match=f"among the 3 known classes.*{table.y_new[0]}") as record:
        score = classifier.score(table.X_new, table.y_new)
    assert len(record) == 1
    hits = classifier.predict(table.X_new) == table.y_new
    assert score == pytest.approx(hits.mean())
    assert score <= known.mean()


# ------------------------------------------------------------------ learner and clone


def test_the_learner_is_taken_as_it_is_at_fit(make_learner, table):
    learner = make_learner(backbone="mlp").fit(table.X, table.y)
    classifier = FewShotClassifier(learner).fit(table.X_new, table.y_new)
    expected = classifier.predict_proba(table.X)
    learner.set_params(random_state=1).fit(table.X, table.y)
    np.testing.assert_array_equal(classifier.predict_proba(table.X), expected)
    refitted = classifier.fit(table.X_new, table.y_new).predict_proba(table.X)
    assert not np.array_equal(refitted, expected)


def test_a_clone_shares_a_fitted_learner(learner, table):
    classifier = FewShotClassifier(learner).fit(table.X_new, table.y_new)
    cloned = clone(classifier)
    assert cloned.learner is learner
    with pytest.raises(NotFittedError):
        cloned.predict(table.X)


def test_a_clone_has_its_own_unfitted_learner(make_learner):
    classifier = FewShotClassifier(make_learner(lr=0.5))
    cloned = clone(classifier)
    assert cloned.learner is not classifier.learner
    assert cloned.learner.lr == 0.5


def test_a_clone_keeps_metadata_requests():
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = FewShotClassifier().set_score_request(sample_weight=True)
        routing = clone(classifier).get_metadata_routing()
    assert routing.score.requests["sample_weight"] is True


def test_a_frozen_learner_works_too(learner, table):
    frozen = FewShotClassifier(FrozenEstimator(learner)).fit(table.X_new, table.y_new)
    check_equal(clone(frozen).fit(table.X_new, table.y_new), frozen, table.X)
    check_equal(frozen, learner.adapt(table.X_new, table.y_new), table.X)


def test_cross_validation_does_not_train_the_learner(learner, table, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the learner was trained")

    monkeypatch.setattr(type(learner), "fit", fail)
    scores = cross_val_score(FewShotClassifier(learner), table.X_new, table.y_new, cv=2)
    assert scores.min() > 0.6


def test_column_names_are_those_of_the_learner(make_learner, table):
    names = [f"x{i}" for i in range(6)]
    learner = make_learner(max_epochs=0).fit(pd.DataFrame(table.X, columns=names), table.y)
    classifier = learner.adapt(pd.DataFrame(table.X_new, columns=names), table.y_new)
    assert list(classifier.feature_names_in_) == names
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(pd.DataFrame(table.X, columns=names[::-1]))
    with pytest.raises(ValueError, match="feature names"):
        learner.adapt(pd.DataFrame(table.X_new, columns=names[::-1]), table.y_new)


def test_refitting_forgets_column_names(table):
    classifier = FewShotClassifier().fit(pd.DataFrame(table.X_new).add_prefix("x"), table.y_new)
    classifier.fit(table.X_new, table.y_new)
    assert not hasattr(classifier, "feature_names_in_")
    classifier.predict(table.X)


def test_a_classifier_without_a_support_set_is_not_fitted_to_adapt(learner, table):
    with pytest.raises(NotFittedError):
        adapt(FewShotClassifier(learner), table.X_new, table.y_new)
