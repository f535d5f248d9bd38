"""FewShotClassifier, adapt and FewShotPipeline: support sets as values."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    FewShotPipeline,
    _few_shot,
    adapt,
    make_fewshot_pipeline,
)

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")


@pytest.fixture
def make_classifier(request, learner):
    """Make a classifier over the fitted learner, or over raw rows."""
    frozen = None if request.param is None else learner
    return lambda: FewShotClassifier(frozen)


OVER_BOTH = pytest.mark.parametrize(
    "make_classifier", ["network", None], ids=["network", "raw rows"], indirect=True
)


def check_equal(classifier, expected, X, rtol=1e-9):
    np.testing.assert_array_equal(classifier.classes_, expected.classes_)
    np.testing.assert_array_equal(classifier.class_count_, expected.class_count_)
    np.testing.assert_allclose(
        classifier.decision_function(X), expected.decision_function(X), rtol=rtol
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
        twice.decision_function(table.X), once.decision_function(table.X), rtol=1e-9
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
            rtol=1e-9,
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
    np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-decision)), rtol=1e-9)


def test_one_class_is_certain(learner, table):
    classifier = learner.adapt(table.X_new[:1], table.y_new[:1])
    assert set(classifier.predict(table.X)) == set(table.y_new[:1])
    np.testing.assert_array_equal(classifier.predict_proba(table.X), np.ones((len(table.X), 1)))


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
    sizes, score = [], type(classifier._network).score

    def spy(self, representation, embedding):
        sizes.append(len(embedding))
        return score(self, representation, embedding)

    monkeypatch.setattr(type(classifier._network), "score", spy)
    monkeypatch.setattr(_few_shot, "SCORES_AT_A_TIME", 4 * 512)
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


# ------------------------------------------------------------------ adapt


@pytest.fixture(scope="module")
def pipeline(make_learner, table):
    """A fitted pipeline of a scaler and a learner, of the ordinary kind."""
    steps = (StandardScaler(), make_learner(max_epochs=1))
    return make_pipeline(*steps).fit(100.0 * table.X + 7.0, table.y)


@pytest.fixture(scope="module")
def scaled(table):
    """New classes as the pipelines take them."""
    return 100.0 * table.X_new + 7.0


def by_hand(pipeline, X_support, y_support, X):
    """What adapting must be equal to: transform both, then adapt the learner."""
    *steps, learner = (step for _, step in pipeline.steps)
    for step in steps:
        X_support, X = step.transform(X_support), step.transform(X)
    return learner.adapt(X_support, y_support).predict_proba(X)


def test_adapting_a_learner_is_its_method(learner, table):
    check_equal(
        adapt(learner, table.X_new, table.y_new), learner.adapt(table.X_new, table.y_new), table.X
    )


def test_adapting_a_pipeline_transforms_the_support(pipeline, scaled, table):
    adapted = adapt(pipeline, scaled, table.y_new)
    assert isinstance(adapted, Pipeline)
    assert isinstance(adapted[-1], FewShotClassifier)
    np.testing.assert_array_equal(
        adapted.predict_proba(scaled), by_hand(pipeline, scaled, table.y_new, scaled)
    )
    assert adapted.score(scaled, table.y_new) > 0.8


def test_refitting_an_adapted_pipeline_leaves_its_transformers(pipeline, scaled, table):
    adapted = adapt(pipeline, scaled, table.y_new)
    expected = adapted.predict_proba(scaled)
    few = np.random.default_rng(0).permutation(len(scaled))[:9]
    again = clone(adapted).fit(scaled[few], table.y_new[few])
    np.testing.assert_array_equal(
        again.predict_proba(scaled), by_hand(pipeline, scaled[few], table.y_new[few], scaled)
    )
    np.testing.assert_array_equal(adapted.predict_proba(scaled), expected)


def test_adapting_nested_pipelines(make_learner, scaled, table):
    inner = make_pipeline(PCA(4, random_state=0), make_learner(max_epochs=1))
    outer = make_pipeline(StandardScaler(), "passthrough", inner).fit(table.X, table.y)
    adapted = adapt(outer, table.X_new, table.y_new)
    expected = by_hand(
        inner, outer[0].transform(table.X_new), table.y_new, outer[0].transform(table.X)
    )
    np.testing.assert_array_equal(adapted.predict_proba(table.X), expected)


def test_adapting_a_search_takes_its_best_estimator(make_learner, table):
    steps = Pipeline([("scale", StandardScaler()), ("learn", make_learner(max_epochs=1))])
    grid = {"scale": [StandardScaler(), MinMaxScaler()]}
    search = GridSearchCV(steps, grid, cv=2).fit(table.X, table.y)
    adapted = adapt(search, table.X_new, table.y_new)
    expected = adapt(search.best_estimator_, table.X_new, table.y_new)
    np.testing.assert_array_equal(adapted.predict_proba(table.X), expected.predict_proba(table.X))


def test_adapted_objects_are_adapted_again(pipeline, learner, scaled, table):
    once = adapt(pipeline, scaled[:9], table.y_new[:9])
    twice = adapt(once, scaled, table.y_new)
    np.testing.assert_array_equal(
        twice.predict_proba(scaled), adapt(pipeline, scaled, table.y_new).predict_proba(scaled)
    )
    classifier = learner.adapt(table.X_new[:9], table.y_new[:9])
    before = classifier.predict_proba(table.X)
    again = adapt(classifier, table.X_new, table.y_new)
    check_equal(again, learner.adapt(table.X_new, table.y_new), table.X)
    np.testing.assert_array_equal(classifier.predict_proba(table.X), before)


def test_adapting_frozen_things(pipeline, learner, scaled, table):
    for estimator, X in ((learner, table.X_new), (pipeline, scaled)):
        np.testing.assert_array_equal(
            adapt(FrozenEstimator(estimator), X, table.y_new).predict_proba(X),
            adapt(estimator, X, table.y_new).predict_proba(X),
        )


def test_adapting_works_on_data_frames(make_learner, table):
    frame, new = (pd.DataFrame(X).add_prefix("x") for X in (table.X, table.X_new))
    first = ColumnTransformer([("scale", StandardScaler(), ["x0", "x3"])], remainder="drop")
    pipeline = make_pipeline(first, make_learner(max_epochs=0)).fit(frame, table.y)
    adapted = adapt(pipeline, new, table.y_new)
    assert adapted.predict(new).shape == table.y_new.shape


def test_adapting_leaves_the_estimator_alone(pipeline, scaled, table):
    before = pipeline.predict_proba(scaled)
    adapt(pipeline, scaled, table.y_new)
    np.testing.assert_array_equal(pipeline.predict_proba(scaled), before)
    np.testing.assert_array_equal(pipeline.classes_, np.unique(table.y))


@pytest.mark.parametrize(
    "estimator",
    [
        NearestCentroid(),
        make_pipeline(StandardScaler(), NearestCentroid()),
        GridSearchCV(NearestCentroid(), {"metric": ["euclidean", "manhattan"]}, cv=2),
    ],
    ids=["classifier", "pipeline", "search"],
)
def test_only_learners_can_be_adapted(estimator, table):
    with pytest.raises(TypeError, match=r"learner,.* Got NearestCentroid"):
        adapt(estimator.fit(table.X, table.y), table.X_new, table.y_new)


def test_only_fitted_estimators_can_be_adapted(make_learner, table):
    for estimator in (make_learner(), make_pipeline(StandardScaler(), make_learner())):
        with pytest.raises(NotFittedError):
            adapt(estimator, table.X_new, table.y_new)


# ------------------------------------------------------------------ pipelines


@pytest.fixture(scope="module")
def fewshot_pipeline(make_learner, table):
    """The same pipeline, of the kind that takes a support set."""
    steps = (StandardScaler(), make_learner(max_epochs=1))
    return make_fewshot_pipeline(*steps).fit(100.0 * table.X + 7.0, table.y)


def test_steps_are_named_after_their_types(fewshot_pipeline):
    assert list(fewshot_pipeline.named_steps) == ["standardscaler", "protonetclassifier"]
    made = make_fewshot_pipeline(StandardScaler(), FewShotClassifier(), verbose=True, memory="m")
    assert isinstance(made, FewShotPipeline)
    assert (made.verbose, made.memory, made.transform_input) == (True, "m", None)
    assert isinstance(made[:-1], FewShotPipeline)


@pytest.mark.parametrize("method", METHODS)
def test_one_call_equals_adapting_first(fewshot_pipeline, scaled, table, method):
    support = {"X_support": scaled[:20], "y_support": table.y_new[:20]}
    one_call = getattr(fewshot_pipeline, method)(scaled, **support)
    adapted = adapt(fewshot_pipeline, *support.values())
    np.testing.assert_array_equal(one_call, getattr(adapted, method)(scaled))


def test_one_call_scores_too(fewshot_pipeline, scaled, table):
    support = {"X_support": scaled[:20], "y_support": table.y_new[:20]}
    weight = np.arange(len(scaled))
    adapted = adapt(fewshot_pipeline, *support.values())
    for sample_weight in (None, weight):
        assert fewshot_pipeline.score(
            scaled, table.y_new, sample_weight, **support
        ) == adapted.score(scaled, table.y_new, sample_weight)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_support_set_it_is_a_pipeline(fewshot_pipeline, pipeline, scaled, method):
    np.testing.assert_array_equal(
        getattr(fewshot_pipeline, method)(scaled), getattr(pipeline, method)(scaled)
    )


def test_half_a_support_set_is_refused_by_pipelines(fewshot_pipeline, scaled, table):
    with pytest.raises(ValueError, match="got X_support without y_support"):
        fewshot_pipeline.predict(scaled, X_support=scaled)
    with pytest.raises(ValueError, match="got y_support without X_support"):
        fewshot_pipeline.score(scaled, table.y_new, y_support=table.y_new)


# ------------------------------------------------------------------ the pipeline trap


def test_a_raw_support_set_in_a_plain_pipeline_warns(pipeline, scaled, table):
    with pytest.warns(UserWarning, match=r"sklearn_fewshot.adapt\(pipeline.*FewShotPipeline"):
        pipeline.predict(scaled, X_support=scaled, y_support=table.y_new)


def test_a_support_set_of_another_width_is_refused(make_learner, table):
    pipeline = make_pipeline(PCA(4), make_learner(max_epochs=0)).fit(table.X, table.y)
    with pytest.raises(ValueError, match=r"6 features.*4"):
        pipeline.predict(table.X, X_support=table.X_new, y_support=table.y_new)


def test_under_metadata_routing_a_support_set_needs_a_request(make_learner, table):
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), make_learner(max_epochs=0))
        pipeline.fit(table.X, table.y)
        with pytest.raises(UnsetMetadataPassedError, match="X_support"):
            pipeline.predict(table.X, X_support=table.X_new, y_support=table.y_new)


def test_under_metadata_routing_a_fewshot_pipeline_works(fewshot_pipeline, scaled, table):
    support = {"X_support": scaled[:20], "y_support": table.y_new[:20]}
    expected = fewshot_pipeline.predict_proba(scaled, **support)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = fewshot_pipeline.predict_proba(scaled, **support)
    np.testing.assert_array_equal(routed, expected)


def test_groups_are_routed_to_fit_on_request(make_learner, table):
    writer = np.arange(len(table.y)) % 5
    family = table.y
    with sklearn.config_context(enable_metadata_routing=True):
        learner = make_learner(max_epochs=0).set_fit_request(groups=True, class_groups=True)
        pipeline = make_fewshot_pipeline(StandardScaler(), learner)
        pipeline.fit(table.X, table.y, groups=writer, class_groups=family)
        with pytest.raises(UnsetMetadataPassedError, match="groups"):
            make_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y, groups=writer)


def test_an_adapted_fewshot_pipeline_takes_support_sets_still(make_learner, table):
    pipe = make_fewshot_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)
    first, second = np.arange(len(table.y_new)) % 2 == 0, np.arange(len(table.y_new)) % 2 == 1
    adapted = adapt(pipe, table.X_new[first], table.y_new[first])
    assert isinstance(adapted, FewShotPipeline)
    support = {"X_support": table.X_new[second], "y_support": table.y_new[second]}
    np.testing.assert_array_equal(
        adapted.predict(table.X_new, **support), pipe.predict(table.X_new, **support)
    )
