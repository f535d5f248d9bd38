"""Support sets through pipelines and searches: transformed as X is, or refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.utils.parallel import Parallel, delayed

from sklearn_fewshot import (
    FewShotClassifier,
    FewShotPipeline,
    adapt,
    make_fewshot_pipeline,
)

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")
REFUSED = r"cannot be passed through scikit-learn.*sklearn_fewshot.adapt\(.*FewShotPipeline"


@pytest.fixture(params=[False, True], ids=["routing off", "routing on"])
def routing(request):
    """Run the test without and with scikit-learn's metadata routing."""
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


@pytest.fixture(scope="module")
def scaled(table):
    """New classes as the pipelines take them."""
    return 100.0 * table.X_new + 7.0


@pytest.fixture(scope="module")
def pipeline(make_learner, table):
    """A fitted pipeline of a scaler and a learner, of the ordinary kind."""
    steps = (StandardScaler(), make_learner(max_epochs=1))
    return make_pipeline(*steps).fit(100.0 * table.X + 7.0, table.y)


@pytest.fixture(scope="module")
def fewshot_pipeline(make_learner, table):
    """The same pipeline, of the kind that takes a support set."""
    steps = (StandardScaler(), make_learner(max_epochs=1))
    return make_fewshot_pipeline(*steps).fit(100.0 * table.X + 7.0, table.y)


@pytest.fixture(scope="module")
def support(scaled, table):
    """A support set that is shorter than X."""
    return {"X_support": scaled[:20], "y_support": table.y_new[:20]}


@pytest.fixture(scope="module")
def frames(table):
    """Columns of numbers and one of words, of the base and the new classes."""
    words = np.array(["low", "middle", "high"])

    def frame(X):
        return pd.DataFrame(X).add_prefix("x").assign(word=words[np.digitize(X[:, 0], [-1, 1])])

    return frame(table.X), frame(table.X_new)


def by_hand(pipeline, X_support, y_support, X):
    """What adapting must be equal to: transform both, then adapt the learner."""
    *steps, learner = (step for _, step in pipeline.steps)
    for step in steps:
        X_support, X = step.transform(X_support), step.transform(X)
    return learner.adapt(X_support, y_support).predict_proba(X)


# ------------------------------------------------------------------ adapt


def test_adapting_a_learner_is_its_method(learner, table):
    np.testing.assert_array_equal(
        adapt(learner, table.X_new, table.y_new).predict_proba(table.X),
        learner.adapt(table.X_new, table.y_new).predict_proba(table.X),
    )


def test_adapting_a_pipeline_transforms_the_support(pipeline, scaled, table, routing):
    adapted = adapt(pipeline, scaled, table.y_new)
    assert isinstance(adapted, Pipeline)
    assert isinstance(adapted[-1], FewShotClassifier)
    np.testing.assert_array_equal(
        adapted.predict_proba(scaled), by_hand(pipeline, scaled, table.y_new, scaled)
    )
    assert adapted.score(scaled, table.y_new) > 0.8


def test_options_of_the_learner_reach_it_through_a_pipeline(pipeline, scaled, table):
    scale, learner = pipeline[0], pipeline[-1]
    both = adapt(pipeline, scaled, table.y_new, include_base=True)
    assert set(both.classes_) == {*table.y, *table.y_new}
    y_support = np.where(np.arange(len(scaled)) % 2, table.y_new, "?")
    options = {"unlabelled": "?", "refinement": "bd_cspn"}
    refined = adapt(FrozenEstimator(pipeline), scaled, y_support, **options)
    for adapted, X, y, given in (
        (both, scaled, table.y_new, {"include_base": True}),
        (refined, scaled, y_support, options),
    ):
        expected = learner.adapt(scale.transform(X), y, **given)
        np.testing.assert_array_equal(
            adapted.predict_proba(X), expected.predict_proba(scale.transform(X))
        )


@pytest.mark.parametrize(
    "options", [{"include_base": True}, {"unlabelled": "?"}, {"refinement": "bd_cspn"}]
)
def test_what_is_adapted_already_takes_no_options(pipeline, scaled, table, options):
    adapted = adapt(pipeline, scaled, table.y_new)
    with pytest.raises(TypeError, match=rf"{next(iter(options))}=.* takes a learner"):
        adapt(adapted, scaled, table.y_new, **options)


def test_refitting_an_adapted_pipeline_leaves_its_transformers(pipeline, scaled, table):
    adapted = adapt(pipeline, scaled, table.y_new)
    expected = adapted.predict_proba(scaled)
    few = np.random.default_rng(0).permutation(len(scaled))[:9]
    again = clone(adapted).fit(scaled[few], table.y_new[few])
    np.testing.assert_array_equal(
        again.predict_proba(scaled), by_hand(pipeline, scaled[few], table.y_new[few], scaled)
    )
    np.testing.assert_array_equal(adapted.predict_proba(scaled), expected)


def test_adapting_nested_pipelines(make_learner, table):
    inner = make_pipeline(PCA(4, random_state=0), make_learner(max_epochs=1))
    outer = make_pipeline(StandardScaler(), "passthrough", inner).fit(table.X, table.y)
    adapted = adapt(outer, table.X_new, table.y_new)
    expected = by_hand(
        inner, outer[0].transform(table.X_new), table.y_new, outer[0].transform(table.X)
    )
    np.testing.assert_array_equal(adapted.predict_proba(table.X), expected)
    assert isinstance(adapted[-1], Pipeline)


@pytest.mark.parametrize(
    "before",
    [(), ("passthrough",), ("passthrough", "passthrough"), (None,)],
    ids=["alone", "passthrough", "twice", "None"],
)
def test_adapting_pipelines_that_transform_nothing(make_learner, table, before):
    pipe = make_pipeline(*before, make_learner(max_epochs=0)).fit(table.X, table.y)
    np.testing.assert_array_equal(
        adapt(pipe, table.X_new, table.y_new).predict_proba(table.X),
        pipe[-1].adapt(table.X_new, table.y_new).predict_proba(table.X),
    )


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_adapting_works_on_data_frames(make_learner, table, frames, output):
    base, new = frames
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), ["x0", "x3"]),
            ("word", OneHotEncoder(sparse_output=False), ["word"]),
            ("as it is", "passthrough", ["x1"]),
        ],
        remainder="drop",
    )
    pipe = make_pipeline(columns, make_learner(max_epochs=0)).set_output(transform=output)
    pipe.fit(base, table.y)
    adapted = adapt(pipe, new, table.y_new)
    np.testing.assert_array_equal(
        adapted.predict_proba(base), by_hand(pipe, new, table.y_new, base)
    )
    reordered = new[new.columns[::-1]]
    np.testing.assert_array_equal(
        adapt(pipe, reordered, table.y_new).predict_proba(base), adapted.predict_proba(base)
    )
    assert hasattr(adapted[-1], "feature_names_in_") == (output == "pandas")
    with pytest.raises(ValueError, match="columns are missing"):
        adapt(pipe, new.drop(columns="word"), table.y_new)


@pytest.mark.parametrize("make", [make_pipeline, make_fewshot_pipeline])
def test_adapting_pipelines_with_a_memory(make_learner, table, tmp_path, make):
    pipe = make(StandardScaler(), PCA(4), make_learner(max_epochs=0), memory=str(tmp_path))
    pipe.fit(table.X, table.y)
    expected = by_hand(pipe, table.X_new, table.y_new, table.X)
    for fitted in (pipe, clone(pipe).fit(table.X, table.y)):  # the second is fitted from the cache
        adapted = adapt(fitted, table.X_new, table.y_new)
        np.testing.assert_array_equal(adapted.predict_proba(table.X), expected)
        adapted.fit(table.X_new[:9], table.y_new[:9])
    np.testing.assert_array_equal(by_hand(pipe, table.X_new, table.y_new, table.X), expected)


@pytest.mark.parametrize("make", [make_pipeline, make_fewshot_pipeline])
@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_adapting_a_search_takes_its_best_estimator(make_learner, table, make, search, routing):
    params = {"standardscaler": [StandardScaler(), MinMaxScaler()]}
    limit = {"n_iter": 2} if search is RandomizedSearchCV else {}
    pipe = make(StandardScaler(), make_learner(max_epochs=0))
    fitted = search(pipe, params, cv=2, **limit).fit(table.X, table.y)
    adapted = adapt(fitted, table.X_new, table.y_new)
    assert type(adapted) is type(pipe)
    np.testing.assert_array_equal(
        adapted.predict_proba(table.X),
        by_hand(fitted.best_estimator_, table.X_new, table.y_new, table.X),
    )


def test_adapting_a_pipeline_that_ends_in_a_search(make_learner, table):
    search = GridSearchCV(make_learner(), {"max_epochs": [0]}, cv=2)
    pipe = make_pipeline(StandardScaler(), search).fit(table.X, table.y)
    expected = make_pipeline(pipe[0], pipe[-1].best_estimator_)
    np.testing.assert_array_equal(
        adapt(pipe, table.X_new, table.y_new).predict_proba(table.X),
        by_hand(expected, table.X_new, table.y_new, table.X),
    )


def test_adapted_objects_are_adapted_again(pipeline, learner, scaled, table):
    once = adapt(pipeline, scaled[:9], table.y_new[:9])
    twice = adapt(once, scaled, table.y_new)
    np.testing.assert_array_equal(
        twice.predict_proba(scaled), adapt(pipeline, scaled, table.y_new).predict_proba(scaled)
    )
    classifier = learner.adapt(table.X_new[:9], table.y_new[:9])
    before = classifier.predict_proba(table.X)
    again = adapt(classifier, table.X_new, table.y_new)
    np.testing.assert_array_equal(
        again.predict_proba(table.X),
        learner.adapt(table.X_new, table.y_new).predict_proba(table.X),
    )
    np.testing.assert_array_equal(classifier.predict_proba(table.X), before)


def test_adapting_frozen_things(pipeline, learner, scaled, table):
    for estimator, X in ((learner, table.X_new), (pipeline, scaled)):
        np.testing.assert_array_equal(
            adapt(FrozenEstimator(estimator), X, table.y_new).predict_proba(X),
            adapt(estimator, X, table.y_new).predict_proba(X),
        )


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


def test_a_search_without_a_best_estimator_says_what_it_lacks(make_learner, table):
    unfitted = GridSearchCV(make_learner(max_epochs=0), {"n_shot": [1]}, cv=2, refit=False)
    for search in (unfitted, clone(unfitted).fit(table.X, table.y)):
        with pytest.raises(NotFittedError, match=r"GridSearchCV has no best_.*refit=True"):
            adapt(search, table.X_new, table.y_new)


# ------------------------------------------------------------------ FewShotPipeline


def test_steps_are_named_after_their_types(fewshot_pipeline):
    assert list(fewshot_pipeline.named_steps) == ["standardscaler", "protonetclassifier"]
    made = make_fewshot_pipeline(StandardScaler(), FewShotClassifier(), verbose=True, memory="m")
    assert isinstance(made, FewShotPipeline)
    assert (made.verbose, made.memory, made.transform_input) == (True, "m", None)
    assert isinstance(made[:-1], FewShotPipeline)


@pytest.mark.parametrize("n_support", [20, 40], ids=["shorter than X", "as long as X"])
@pytest.mark.parametrize("method", METHODS)
def test_one_call_equals_adapting_first(
    fewshot_pipeline, scaled, table, method, n_support, routing
):
    assert len(scaled) == 40
    support = {"X_support": scaled[:n_support], "y_support": table.y_new[:n_support]}
    one_call = getattr(fewshot_pipeline, method)(scaled, **support)
    adapted = adapt(fewshot_pipeline, *support.values())
    np.testing.assert_array_equal(one_call, getattr(adapted, method)(scaled))


def test_one_call_scores_too(fewshot_pipeline, support, scaled, table, routing):
    hits = adapt(fewshot_pipeline, *support.values()).predict(scaled) == table.y_new
    assert fewshot_pipeline.score(scaled, table.y_new, **support) == hits.mean()


def test_one_call_weighs_too(fewshot_pipeline, support, scaled, table):
    hits = adapt(fewshot_pipeline, *support.values()).predict(scaled) == table.y_new
    weight = np.arange(len(scaled))
    score = fewshot_pipeline.score(scaled, table.y_new, weight, **support)
    assert score == pytest.approx(np.average(hits, weights=weight))


@pytest.mark.parametrize("method", METHODS)
def test_without_a_support_set_it_is_a_pipeline(
    fewshot_pipeline, pipeline, scaled, method, routing
):
    np.testing.assert_array_equal(
        getattr(fewshot_pipeline, method)(scaled), getattr(pipeline, method)(scaled)
    )


def test_half_a_support_set_is_refused(fewshot_pipeline, scaled, table):
    with pytest.raises(ValueError, match="got X_support without y_support"):
        fewshot_pipeline.predict(scaled, X_support=scaled)
    with pytest.raises(ValueError, match="got y_support without X_support"):
        fewshot_pipeline.score(scaled, table.y_new, y_support=table.y_new)


def test_copies_take_support_sets(fewshot_pipeline, support, scaled, table):
    expected = fewshot_pipeline.predict_proba(scaled, **support)
    refitted = clone(fewshot_pipeline).fit(100.0 * table.X + 7.0, table.y)
    for copied in (pickle.loads(pickle.dumps(fewshot_pipeline)), refitted):
        np.testing.assert_array_equal(copied.predict_proba(scaled, **support), expected)


def test_an_adapted_fewshot_pipeline_takes_support_sets_still(fewshot_pipeline, support, scaled):
    adapted = adapt(fewshot_pipeline, scaled[20:], np.repeat(["a", "b"], 10))
    assert isinstance(adapted, FewShotPipeline)
    np.testing.assert_array_equal(
        adapted.predict(scaled, **support), fewshot_pipeline.predict(scaled, **support)
    )


def test_a_fewshot_pipeline_may_hold_pipelines(make_learner, table):
    inner = make_pipeline(PCA(4, random_state=0), make_learner(max_epochs=0))
    pipe = make_fewshot_pipeline(StandardScaler(), inner).fit(table.X, table.y)
    np.testing.assert_array_equal(
        pipe.predict_proba(table.X, X_support=table.X_new, y_support=table.y_new),
        adapt(pipe, table.X_new, table.y_new).predict_proba(table.X),
    )


def test_groups_are_routed_to_fit_on_request(make_learner, table):
    writer = np.arange(len(table.y)) % 5
    family = table.y
    with sklearn.config_context(enable_metadata_routing=True):
        learner = make_learner(max_epochs=0).set_fit_request(groups=True, class_groups=True)
        pipeline = make_fewshot_pipeline(StandardScaler(), learner)
        pipeline.fit(table.X, table.y, groups=writer, class_groups=family)
        with pytest.raises(UnsetMetadataPassedError, match="groups"):
            make_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y, groups=writer)


# ------------------------------------------------------------------ the pipeline trap

# The data are such that nothing but the call tells: the scaler changes little, all widths are
# equal, and the support set has labels of the base classes, as in a second project with classes
# 0 to 4.


@pytest.fixture(scope="module")
def near(make_learner, table):
    """Estimators that would not transform a support set, or would drop it."""

    small = {"max_epochs": 0, "n_query": 1}  # for folds of folds

    def fitted(estimator):
        return estimator.fit(table.X, table.y)

    plain = fitted(make_pipeline(StandardScaler(), make_learner(**small)))
    inner = make_fewshot_pipeline(StandardScaler(), make_learner(**small))
    steps = make_pipeline(StandardScaler(), make_learner(**small))
    search = GridSearchCV(steps, {}, cv=2, error_score="raise")
    return {
        "Pipeline": plain,
        "adapted Pipeline": adapt(plain, table.X, table.y),
        "FewShotPipeline in a Pipeline": fitted(make_pipeline(StandardScaler(), inner)),
        "search in a Pipeline": fitted(
            make_pipeline(StandardScaler(), GridSearchCV(make_learner(**small), {}, cv=2))
        ),
        "search": fitted(search),
    }


ARRIVES_RAW = ["predict", "predict_proba", "decision_function", "score_samples", "transform"]
WITH_A_SUPPORT_SET = {
    **{method: lambda est, X, y, s, m=method: getattr(est, m)(X, **s) for method in ARRIVES_RAW},
    "score": lambda est, X, y, s: est.score(X, y, **s),
    "fit": lambda est, X, y, s: clone(est).fit(X, y, **s),
    "cross_val_score": lambda est, X, y, s: cross_val_score(
        est, X, y, params=s, cv=2, error_score="raise"
    ),
    "cross_val_predict": lambda est, X, y, s: cross_val_predict(est, X, y, params=s, cv=2),
    "search.fit": lambda est, X, y, s: GridSearchCV(est, {}, cv=2, error_score="raise").fit(
        X, y, **s
    ),
}
OF_EACH = [
    "Pipeline",
    "adapted Pipeline",
    "FewShotPipeline in a Pipeline",
    "search in a Pipeline",
    "search",
]


@pytest.mark.parametrize("n_support", [60, 80], ids=["shorter than X", "as long as X"])
@pytest.mark.parametrize("name", OF_EACH)
@pytest.mark.parametrize("case", WITH_A_SUPPORT_SET)
def test_no_support_set_arrives_raw_or_is_dropped_or_cut(
    near, table, case, name, n_support, routing
):
    assert len(table.X) == 80
    support = {"X_support": table.X[:n_support], "y_support": table.y[:n_support]}
    errors = (ValueError, TypeError, AttributeError)  # of scikit-learn, where it notices itself
    with pytest.raises(errors, match=r"support|has no attribute|metadata_routing"):
        WITH_A_SUPPORT_SET[case](near[name], table.X, table.y, support)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("Pipeline", "predict"),
        ("Pipeline", "predict_proba"),
        ("Pipeline", "score"),
        ("adapted Pipeline", "score"),
        ("FewShotPipeline in a Pipeline", "predict"),
        ("FewShotPipeline in a Pipeline", "score"),
        ("search in a Pipeline", "score"),
    ],
)
def test_where_scikit_learn_says_nothing_the_error_names_the_way(near, table, name, case):
    support = {"X_support": table.X, "y_support": table.y}
    with pytest.raises(ValueError, match=REFUSED):
        WITH_A_SUPPORT_SET[case](near[name], table.X, table.y, support)


@pytest.mark.parametrize("case", ["predict", "score"])
def test_new_classes_and_other_units_are_refused_by_the_same_words(pipeline, scaled, table, case):
    support = {"X_support": scaled, "y_support": table.y_new}
    with pytest.raises(ValueError, match=REFUSED):
        WITH_A_SUPPORT_SET[case](pipeline, scaled, table.y_new, support)


def test_other_widths_are_refused_by_the_same_words(make_learner, table):
    pipeline = make_pipeline(PCA(4), make_learner(max_epochs=0)).fit(table.X, table.y)
    with pytest.raises(ValueError, match=REFUSED):
        pipeline.predict(table.X, X_support=table.X_new, y_support=table.y_new)


def test_cross_validation_fails_loudly_by_default_too(near, table):
    params = {"X_support": table.X, "y_support": table.y}
    with pytest.raises(ValueError, match="does not accept the X_support parameter"):
        cross_val_score(near["Pipeline"], table.X, table.y, params=params, cv=2)


@pytest.fixture
def requesting(make_learner):
    """A learner that requests support sets, as scikit-learn's errors advise."""
    with sklearn.config_context(enable_metadata_routing=True):
        learner = make_learner(max_epochs=0)
        learner.set_predict_request(X_support=True, y_support=True)
        yield learner.set_score_request(X_support=True, y_support=True)


@pytest.mark.parametrize("case", ["predict", "score", "cross_val_score", "search.fit"])
def test_a_metadata_request_does_not_open_the_trap(requesting, table, case):
    support = {"X_support": table.X, "y_support": table.y}
    pipe = make_pipeline(StandardScaler(), requesting).fit(table.X, table.y)
    with pytest.raises((ValueError, TypeError), match="support"):
        WITH_A_SUPPORT_SET[case](pipe, table.X, table.y, support)


@pytest.mark.parametrize("case", ["cross_val_score", "search.fit"])
def test_cross_validation_does_not_cut_support_sets_that_are_requested(requesting, table, case):
    support = {"X_support": table.X, "y_support": table.y}
    for estimator in (requesting, make_fewshot_pipeline(StandardScaler(), requesting)):
        with pytest.raises((ValueError, TypeError), match="support"):
            WITH_A_SUPPORT_SET[case](estimator, table.X, table.y, support)


def test_pipelines_without_a_support_set_are_left_alone(near, table, routing):
    for estimator in near.values():
        assert estimator.score(table.X, table.y) > 0.5
        assert (estimator.predict(table.X) == table.y).mean() > 0.5
    if not routing:
        assert near["Pipeline"].score(table.X, table.y, sample_weight=np.arange(80)) > 0.5


class OwnPipeline(Pipeline):
    """Somebody else's way to transform a support set."""

    def predict_among(self, X, X_support, y_support):
        before = self[:-1]
        return self[-1].predict(
            before.transform(X), X_support=before.transform(X_support), y_support=y_support
        )


def test_whoever_transforms_the_support_set_may_pass_it_on(pipeline, support, scaled):
    expected = adapt(pipeline, *support.values()).predict(scaled)
    found = OwnPipeline(pipeline.steps).predict_among(scaled, *support.values())
    np.testing.assert_array_equal(found, expected)


def test_calls_may_be_handed_to_scikit_learns_workers(fewshot_pipeline, support, scaled):
    jobs = [delayed(fewshot_pipeline.predict)(half, **support) for half in np.split(scaled, 2)]
    halves = Parallel(n_jobs=2, prefer="threads")(jobs)
    np.testing.assert_array_equal(
        np.concatenate(halves), fewshot_pipeline.predict(scaled, **support)
    )
