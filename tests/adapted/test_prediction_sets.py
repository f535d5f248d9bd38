"""Prediction sets: which classes a query may be of, and how often the right one is missing."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    FewShotPipeline,
    FewShotRegressor,
    RidgeNetRegressor,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
    adapt,
    load_model,
    save_model,
)

pytestmark = pytest.mark.filterwarnings("ignore:alpha=")  # of sets that have all classes
HELD_OUT = ["base-0", "base-9", "base-12", "base-21"]
ALPHAS = (0.1, 0.21, 0.3, 0.6, 0.99)


@pytest.fixture(scope="module")
def any_learner(make_any, table):
    """A learner of each kind. Shared: nobody may refit it."""
    return make_any(max_epochs=1, validation_classes=HELD_OUT).fit(table.X, table.y)


@pytest.fixture(scope="module")
def learner(make_learner, table):
    """A learner with enough held-out classes. Shared: nobody may refit it."""
    return make_learner(validation_classes=HELD_OUT).fit(table.X, table.y)


@pytest.fixture
def unequal(table):
    """Support rows of 1, 2, 4 and 6 examples a class."""
    labels = np.unique(table.y_new)
    rows = [np.flatnonzero(table.y_new == k)[:n] for k, n in zip(labels, (1, 2, 4, 6), strict=True)]
    return np.random.default_rng(0).permutation(np.concatenate(rows))


@pytest.fixture
def classifier(any_learner, table, unequal):
    return any_learner.adapt(table.X_new[unequal], table.y_new[unequal])


def margins(classifier, alpha):
    """Return how far a logit may be below the highest, for each class."""
    return classifier._network.calibration.set_margin(classifier._support.weight, alpha)


def check_same(found, expected, classifier, X, alpha):
    """Equal sets, but for classes at the margin to rounding errors."""
    logits = classifier.decision_function(X)
    distance = logits.max(axis=1, keepdims=True) - logits - margins(classifier, alpha)
    is_far = np.abs(distance) > 1e-5 * np.abs(logits).max()
    np.testing.assert_array_equal(found[is_far], expected[is_far])
    assert is_far.any()


# ------------------------------------------------------------------ what is in a set


@pytest.mark.parametrize("alpha", ALPHAS)
def test_classes_are_in_the_set_down_to_a_share_of_the_highest_probability(
    any_learner, table, alpha
):
    classifier = any_learner.adapt(table.X_new, table.y_new)
    found, proba = classifier.predict_set(table.X, alpha), classifier.predict_proba(table.X)
    assert found.dtype == bool
    assert found.shape == proba.shape
    share = any_learner._network.calibration.sets.at(4, 10, alpha)
    expected = proba >= share * proba.max(axis=1, keepdims=True)
    check_same(found, expected, classifier, table.X, alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_classes_of_unequal_shots_are_in_the_set_down_to_their_own_margins(
    classifier, table, alpha
):
    logits, margin = classifier.decision_function(table.X), margins(classifier, alpha)
    expected = np.column_stack(
        [logits[:, k] >= logits.max(axis=1) - margin[k] for k in range(logits.shape[1])]
    )
    check_same(classifier.predict_set(table.X, alpha), expected, classifier, table.X, alpha)


def test_the_prediction_is_in_every_set(classifier, table):
    columns = np.searchsorted(classifier.classes_, classifier.predict(table.X))
    for alpha in (1e-9, *ALPHAS, 1 - 1e-9):
        assert classifier.predict_set(table.X, alpha)[np.arange(len(table.X)), columns].all()


def test_a_smaller_alpha_has_every_class_of_a_larger_one(classifier, table):
    sets = [classifier.predict_set(table.X, alpha) for alpha in ALPHAS]
    for larger, smaller in pairwise(sets):
        assert (larger | ~smaller).all()
    assert sets[0].sum() > sets[-1].sum()


def test_one_class_is_in_every_set(any_learner, table):
    only = any_learner.adapt(table.X_new[:1], table.y_new[:1])
    for alpha in (1e-6, 0.1, 0.9):
        assert only.predict_set(table.X, alpha).all()


@pytest.fixture(scope="module")
def draws(make_learner):
    """Four draws of 80 classes; of 40 that a learner gets, it holds out 20."""
    y, found = np.repeat(np.arange(80), 40), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = 1.4 * rng.normal(size=(80, 6))[y] + rng.normal(size=(len(y), 6))
        learner = make_learner(max_epochs=0, validation_fraction=0.5)
        found.append((X, learner.fit(X[y < 40], y[y < 40])))
    return y, found


def missing_share(learner, X, y, shots, alpha):
    """Return how often each class is missing, of 40 new classes in tasks of five."""
    place, missing = np.arange(len(y)) % 40, []
    for first in range(40, 80, 5):
        some = (y >= first) & (y < first + 5)
        support, query = some & (place < np.resize(shots, 80)[y]), some & (place >= 20)
        sets = learner.adapt(X[support], y[support]).predict_set(X[query], alpha)
        code = y[query] - first
        is_missing = ~sets[np.arange(len(sets)), code]
        missing.append([is_missing[code == k].mean() for k in range(5)])
    return np.mean(missing, axis=0)


@pytest.mark.parametrize(("n_shot", "alpha"), [(1, 0.1), (1, 0.2), (5, 0.1)])
def test_the_class_is_missing_at_most_as_often_as_stated(draws, n_shot, alpha):
    """Of new classes, on average over draws; the prediction alone is wrong in 30 and 13 %."""
    y, fits = draws
    found = [missing_share(learner, X, y, [n_shot], alpha).mean() for X, learner in fits]
    assert (alpha - 1 / 21) / 2 < np.mean(found) < alpha


def test_classes_of_few_examples_beside_many_are_missing_at_most_as_often_as_stated(draws):
    y, fits = draws
    found = [missing_share(learner, X, y, [1, 20, 20, 1, 20], 0.1) for X, learner in fits]
    few, many = (np.mean(found, axis=0)[columns].mean() for columns in ([0, 3], [1, 2, 4]))
    assert 0.01 < few < 0.1
    assert 0.01 < many < 0.1


# ------------------------------------------------------------------ what it does not depend on


def test_the_order_of_examples_and_their_number_of_copies_do_not_matter(
    any_learner, classifier, table, unequal
):
    X, y = table.X_new[unequal], table.y_new[unequal]
    expected = classifier.predict_set(table.X, 0.3)
    order = np.random.default_rng(1).permutation(len(y))
    shuffled = any_learner.adapt(X[order], y[order]).predict_set(table.X, 0.3)
    check_same(shuffled, expected, classifier, table.X, 0.3)
    module = any_learner.module_
    if "duplicates" not in getattr(module, "head", module).breaks:
        twice = any_learner.adapt(np.concatenate([X, X]), np.concatenate([y, y]))
        check_same(twice.predict_set(table.X, 0.3), expected, classifier, table.X, 0.3)


def test_renaming_the_classes_permutes_the_columns(any_learner, classifier, table, unequal):
    codes = np.unique(table.y_new[unequal], return_inverse=True)[1]
    names = np.array(["d", "a", "c", "b"])
    renamed = any_learner.adapt(table.X_new[unequal], names[codes])
    found = renamed.predict_set(table.X, 0.3)[:, np.argsort(np.argsort(names))]
    check_same(found, classifier.predict_set(table.X, 0.3), classifier, table.X, 0.3)


def test_a_set_does_not_depend_on_the_other_queries(classifier, table):
    expected = classifier.predict_set(table.X, 0.3)
    alone = np.concatenate([classifier.predict_set(x[None], 0.3) for x in table.X])
    check_same(alone, expected, classifier, table.X, 0.3)


# ------------------------------------------------------------------ learners, pipelines, files


def test_learners_predict_sets_of_a_support_set_and_of_base_classes(any_learner, table):
    support = {"X_support": table.X_new[:20], "y_support": table.y_new[:20]}
    expected = any_learner.adapt(table.X_new[:20], table.y_new[:20]).predict_set(table.X, 0.3)
    np.testing.assert_array_equal(any_learner.predict_set(table.X, 0.3, **support), expected)
    of_base = any_learner.predict_set(table.X)
    assert of_base.shape == (len(table.X), 8)
    is_right = of_base[np.arange(len(table.X)), np.searchsorted(any_learner.classes_, table.y)]
    assert is_right.mean() > 0.8


def test_pipelines_transform_queries_and_support(make_learner, table):
    steps = [("scale", StandardScaler()), ("learn", make_learner(validation_classes=HELD_OUT))]
    pipe = FewShotPipeline(steps).fit(100.0 * table.X + 7.0, table.y)
    X_new = 100.0 * table.X_new + 7.0
    support = {"X_support": X_new[:20], "y_support": table.y_new[:20]}
    scaled = pipe[0].transform(X_new)
    expected = pipe[-1].adapt(scaled[:20], table.y_new[:20]).predict_set(scaled, 0.3)
    adapted = adapt(pipe, **support)
    np.testing.assert_array_equal(adapted.predict_set(X_new, 0.3), expected)
    np.testing.assert_array_equal(pipe.predict_set(X_new, 0.3, **support), expected)
    np.testing.assert_array_equal(pipe.predict_set(X_new), pipe[-1].predict_set(scaled))
    with pytest.raises(ValueError, match="y_support"):
        pipe.predict_set(X_new, X_support=X_new)


def test_files_pickles_and_clones_predict_the_same_sets(learner, table, tmp_path):
    classifier = learner.adapt(table.X_new[:20], table.y_new[:20])
    save_model(classifier, tmp_path / "model")
    others = (
        load_model(tmp_path / "model"),
        pickle.loads(pickle.dumps(classifier)),
        clone(classifier).fit(table.X_new[:20], table.y_new[:20]),
    )
    for other in others:
        for alpha in (0.2, 0.5):
            expected = classifier.predict_set(table.X, alpha)
            np.testing.assert_array_equal(other.predict_set(table.X, alpha), expected)


def test_classifiers_that_grow_have_the_sets_of_all_their_examples(learner, table):
    grown = learner.adapt(table.X_new[:8], table.y_new[:8])
    grown.partial_fit(table.X_new[8:], table.y_new[8:])
    expected = learner.adapt(table.X_new, table.y_new)
    check_same(
        grown.predict_set(table.X, 0.3), expected.predict_set(table.X, 0.3), expected, table.X, 0.3
    )


def test_a_refitted_learner_has_the_thresholds_of_its_first_training(make_learner, table):
    once, again = (
        make_learner(validation_classes=HELD_OUT, refit=refit).fit(table.X, table.y)
        for refit in (False, True)
    )
    shares = [it._network.calibration.sets.share for it in (once, again)]
    np.testing.assert_allclose(*shares)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, np.nan, "0.1", None, [0.1]])
def test_alpha_is_a_share_between_zero_and_one(learner, table, alpha):
    classifier = learner.adapt(table.X_new, table.y_new)
    with pytest.raises(ValueError, match=r"The 'alpha' parameter .* in \(0, 1\). Got"):
        classifier.predict_set(table.X, alpha)


def test_without_calibration_there_are_no_sets(make_learner, table):
    uncalibrated = make_learner(calibrate=False, max_epochs=1).fit(table.X, table.y)
    unseen = ZeroShotProtoNetClassifier(max_epochs=1, random_state=0).fit(table.X, table.y)
    raw = FewShotClassifier().fit(table.X_new, table.y_new)
    adapted = uncalibrated.adapt(table.X_new, table.y_new)
    for estimator in (adapted, raw, unseen._classifier()):
        with pytest.raises(TypeError, match="calibrate=True"):
            estimator.predict_set(table.X)


def test_no_held_out_class_is_refused(make_learner, table):
    learner = make_learner(max_epochs=1, validation_fraction=0.0).fit(table.X, table.y)
    with pytest.raises(TypeError, match=r"held out classes in fit.*validation_fraction"):
        learner.predict_set(table.X)
    learner.predict_proba(table.X)


def test_an_alpha_that_tells_nothing_warns(learner, table):
    classifier = learner.adapt(table.X_new, table.y_new)
    with pytest.warns(UserWarning, match=r"alpha=0.19 is less than 4 held-out classes can tell"):
        assert classifier.predict_set(table.X, 0.19).all()
    assert not classifier.predict_set(table.X, 0.2).all()  # a new class is one of five


def test_zero_shot_learners_and_regressors_have_no_sets():
    for estimator in (
        ZeroShotProtoNetClassifier,
        ZeroShotRelationNetClassifier,
        RidgeNetRegressor,
        FewShotRegressor,
    ):
        assert not hasattr(estimator, "predict_set")
    assert not hasattr(FewShotPipeline([("learn", RidgeNetRegressor())]), "predict_set")
