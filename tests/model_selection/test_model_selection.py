"""Few-shot learners in scikit-learn's own model selection."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    adapt,
    make_fewshot_pipeline,
)
from sklearn_fewshot.model_selection import (
    ClassKFold,
    ClassShuffleSplit,
    EpisodicScorer,
    class_learning_curve,
    episodic_score,
)

N_CLASSES = 16
SCORER = EpisodicScorer(n_way=4, n_query=3, n_episodes=20)
TINY = {
    "n_way": 4,
    "n_shot": 1,
    "n_query": 3,
    "episodes_per_epoch": 2,
    "max_epochs": 1,
    "refit": False,
    "random_state": 0,
}


def make_table():
    """Shuffled rows of sixteen classes, of eight families, by three speakers."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(N_CLASSES), 12))
    X = rng.normal(size=(N_CLASSES, 6))[codes] + 0.5 * rng.normal(size=(len(codes), 6))
    speaker = np.empty(len(codes), dtype=int)
    for code in range(N_CLASSES):
        speaker[codes == code] = np.arange(12) % 3
    return 50.0 * X + 3.0, np.array([f"class {code:02}" for code in codes]), codes % 8, speaker


X, y, family, speaker = make_table()
CLASSES = np.unique(y)
FAMILY = pd.Series(family, index=y).groupby(level=0).first()
OLD = np.isin(y, CLASSES[:12])
NEW = ~OLD


class RecordingLearner(ProtoNetClassifier):
    """Remember what came with X and y."""

    def fit(self, X, y, *, groups=None, class_groups=None):
        super().fit(X, y, groups=groups, class_groups=class_groups)
        self.came_ = {"y": y, "groups": groups, "class_groups": class_groups}
        return self


class RecordingScorer(EpisodicScorer):
    """Say which speakers came, by a score that no accuracy is."""

    def score(self, estimator, X, y, groups=None):
        return 100.0 if groups is None else super().score(estimator, X, y, groups)

    __call__ = score


def tiny(cls=ProtoNetClassifier, **params):
    return make_pipeline(StandardScaler(), cls(**{**TINY, **params}))


def by_hand(estimator, train, test, groups=None, scorer=SCORER):
    """What a fold's score must be equal to."""
    fitted = clone(estimator).fit(X[train], y[train])
    return scorer(fitted, X[test], y[test], None if groups is None else groups[test])


# ------------------------------------------------------------------ cross-validation


def test_each_fold_is_scored_on_episodes_of_classes_that_it_was_not_trained_on():
    scores = cross_val_score(tiny(), X, y, cv=ClassKFold(4), scoring=SCORER)
    folds = list(ClassKFold(4).split(X, y))
    assert_array_equal(scores, [by_hand(tiny(), *fold) for fold in folds])
    for train, test in folds:
        assert not set(y[train]) & set(y[test])
    assert scores.mean() > 0.6


def test_the_score_of_the_learner_itself_is_refused_on_new_classes():
    with pytest.raises(ValueError, match=r"No label of y is known here.*EpisodicScorer"):
        cross_val_score(tiny(), X, y, cv=ClassKFold(4), error_score="raise")


def test_fold_learners_can_be_adapted():
    found = cross_validate(
        make_fewshot_pipeline(*(step for _, step in tiny().steps)),
        X,
        y,
        cv=ClassKFold(4),
        scoring=SCORER,
        return_estimator=True,
        return_indices=True,
    )
    for estimator, test in zip(found["estimator"], found["indices"]["test"], strict=True):
        support, query = np.array_split(test, 2)
        one_call = estimator.predict(X[query], X_support=X[support], y_support=y[support])
        assert_array_equal(adapt(estimator, X[support], y[support]).predict(X[query]), one_call)
        assert (one_call == y[query]).mean() > 0.6


def test_many_scores_at_once_are_those_of_each_alone():
    scoring = {
        "1-shot": SCORER,
        "3-shot": clone(SCORER).set_params(n_shot=3),
        "log-loss": clone(SCORER).set_params(scoring="neg_log_loss"),
    }
    found = cross_validate(tiny(), X, y, cv=ClassKFold(4), scoring=scoring)
    for name, scorer in scoring.items():
        alone = cross_val_score(tiny(), X, y, cv=ClassKFold(4), scoring=scorer)
        assert_array_equal(found[f"test_{name}"], alone)
    assert found["test_3-shot"].mean() > found["test_1-shot"].mean()


def test_numbers_are_identical_in_parallel():
    grid = {"protonetclassifier__n_shot": [1, 2]}
    search = GridSearchCV(tiny(), grid, cv=ClassKFold(2), scoring=SCORER, refit=False)
    serial, parallel = (
        clone(search).set_params(n_jobs=n_jobs).fit(X, y).cv_results_ for n_jobs in (1, 2)
    )
    for split in ("split0_test_score", "split1_test_score"):
        assert_array_equal(serial[split], parallel[split])


# ------------------------------------------------------------------ searches


def check_results(search, n_candidates):
    """All candidates were scored, and the refitted best one recognises new classes."""
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == n_candidates
    assert np.isfinite(scores).all()
    assert_array_equal(search.classes_, np.unique(y[OLD]))
    adapted = adapt(search, X[NEW][:24], y[NEW][:24])
    assert adapted.score(X[NEW][24:], y[NEW][24:]) > 0.6


SEARCH = {"cv": ClassKFold(2), "scoring": SCORER, "error_score": "raise"}


def test_a_grid_over_the_parameters_of_a_learner():
    grid = {
        "protonetclassifier__metric": ["sqeuclidean", "cosine"],
        "protonetclassifier__n_shot": [1, (1, 3)],
    }
    search = GridSearchCV(tiny(), grid, **SEARCH).fit(X[OLD], y[OLD])
    check_results(search, n_candidates=4)
    best = clone(tiny()).set_params(**search.best_params_)
    expected = cross_val_score(best, X[OLD], y[OLD], cv=ClassKFold(2), scoring=SCORER)
    assert search.best_score_ == expected.mean()


def test_a_grid_over_the_learner_and_the_scaler():
    pipe = make_fewshot_pipeline(StandardScaler(), ProtoNetClassifier())
    grid = {
        "protonetclassifier": [ProtoNetClassifier(**TINY), MatchingNetClassifier(**TINY)],
        "standardscaler": [StandardScaler(), MinMaxScaler(), "passthrough"],
    }
    search = GridSearchCV(pipe, grid, **SEARCH).fit(X[OLD], y[OLD])
    check_results(search, n_candidates=6)


def test_refitting_follows_the_score_that_is_named():
    def by_shot(estimator, X, y):
        return -float(estimator[-1].n_shot)

    grid = {"protonetclassifier__n_shot": [1, 2]}
    options = SEARCH | {"scoring": {"episodes": SCORER, "by shot": by_shot}}
    search = GridSearchCV(tiny(), grid, refit="by shot", **options).fit(X[OLD], y[OLD])
    assert search.best_params_ == {"protonetclassifier__n_shot": 1}
    alone = GridSearchCV(tiny(), grid, **SEARCH).fit(X[OLD], y[OLD])
    assert_array_equal(
        search.cv_results_["mean_test_episodes"], alone.cv_results_["mean_test_score"]
    )
    assert adapt(search, X[NEW], y[NEW]).score(X[NEW], y[NEW]) > 0.6


def test_a_random_search():
    space = {
        "protonetclassifier__lr": [1e-4, 1e-3, 1e-2],
        "protonetclassifier__max_epochs": [0, 1],
    }
    search = RandomizedSearchCV(tiny(), space, n_iter=3, random_state=0, **SEARCH)
    check_results(search.fit(X[OLD], y[OLD]), n_candidates=3)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_successive_halving_with_episodes_as_the_resource(in_pipeline):
    prefix = "protonetclassifier__" if in_pipeline else ""
    learner = tiny() if in_pipeline else ProtoNetClassifier(**TINY)
    resource = f"{prefix}episodes_per_epoch"
    search = HalvingRandomSearchCV(
        learner,
        {f"{prefix}lr": [1e-4, 1e-3, 1e-2, 1e-1]},
        resource=resource,
        min_resources=1,
        max_resources=4,
        n_candidates=4,
        factor=2,
        random_state=0,
        return_train_score=False,  # True by default here; on trained classes the scorer warns
        **SEARCH,
    ).fit(X[OLD], y[OLD])
    check_results(search, n_candidates=4 + 2 + 1)
    assert search.n_resources_ == [1, 2, 4]
    assert search.best_estimator_.get_params()[resource] == 4


def test_a_search_chooses_between_trained_learners():
    scaler = StandardScaler().fit(X[OLD])
    learners = [
        FrozenEstimator(ProtoNetClassifier(**TINY | changes).fit(scaler.transform(X[OLD]), y[OLD]))
        for changes in ({}, {"backbone": "identity", "metric": "cityblock"})
    ]
    pipe = make_pipeline(FrozenEstimator(scaler), FewShotClassifier())
    grid = {"fewshotclassifier__learner": [None, *learners]}
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X[NEW], y[NEW])
    for score, learner in zip(
        search.cv_results_["mean_test_score"], [None, *learners], strict=True
    ):
        pipe.set_params(fewshotclassifier__learner=learner)
        assert score == cross_val_score(pipe, X[NEW], y[NEW], cv=3).mean()
    assert search.best_score_ > 0.6


# ------------------------------------------------------------------ metadata routing


@pytest.fixture
def routed():
    """A pipeline, folds and a scorer that ask for their groups, under metadata routing."""
    with sklearn.config_context(enable_metadata_routing=True):
        learner = RecordingLearner(**TINY).set_fit_request(groups=True, class_groups=True)
        yield (
            make_pipeline(StandardScaler(), learner),
            ClassKFold(4),
            clone(SCORER).set_score_request(groups=True),
        )


def test_speakers_and_families_reach_those_who_ask_in_cross_validation(routed):
    pipe, cv, scorer = routed
    found = cross_validate(
        pipe,
        X,
        y,
        cv=cv,
        scoring=scorer,
        params={"groups": speaker, "class_groups": family},
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )
    for i, estimator in enumerate(found["estimator"]):
        train, test = found["indices"]["train"][i], found["indices"]["test"][i]
        came = estimator[-1].came_
        assert_array_equal(came["y"], y[train])
        assert_array_equal(came["groups"], speaker[train])
        assert_array_equal(came["class_groups"], family[train])
        assert not set(family[train]) & set(family[test])
        options = {"n_way": 4, "n_query": 3, "n_episodes": 20, "groups": speaker[test]}
        expected = episodic_score(estimator, X[test], y[test], **options).mean
        assert found["test_score"][i] == expected
        assert expected != episodic_score(estimator, X[test], y[test], **options | {"groups": None})


def test_speakers_and_families_reach_those_who_ask_in_a_search(routed):
    pipe, cv, scorer = routed
    search = GridSearchCV(
        pipe,
        {"recordinglearner__n_shot": [1, 2]},
        cv=cv,
        scoring={"episodes": scorer, "again": scorer},
        refit="episodes",
        error_score="raise",
    ).fit(X, y, groups=speaker, class_groups=family)
    came = search.best_estimator_[-1].came_
    assert_array_equal(came["groups"], speaker)
    assert_array_equal(came["class_groups"], family)
    expected = cross_val_score(
        clone(pipe).set_params(**search.best_params_),
        X,
        y,
        cv=cv,
        scoring=scorer,
        params={"groups": speaker, "class_groups": family},
    )
    assert search.best_score_ == expected.mean()


def test_groups_that_nobody_asked_for_are_refused(routed):
    pipe, cv, scorer = routed
    params = {"groups": speaker, "class_groups": family}
    for silent in (
        {"estimator": tiny(), "cv": cv, "scoring": scorer},
        {"estimator": pipe, "cv": cv, "scoring": SCORER},
    ):
        with pytest.raises(ValueError, match="groups"):
            cross_validate(X=X, y=y, params=params, error_score="raise", **silent)


def test_without_routing_params_go_to_fit_and_groups_to_the_folds():
    learner = RecordingLearner(**TINY)
    found = cross_validate(
        learner,
        X,
        y,
        groups=family,
        cv=ClassKFold(4),
        scoring=SCORER,
        params={"groups": speaker, "class_groups": family},
        return_estimator=True,
        return_indices=True,
    )
    for estimator, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        assert_array_equal(estimator.came_["groups"], speaker[train])
        assert_array_equal(estimator.came_["class_groups"], family[train])


# ------------------------------------------------------------------ learning curves


class RemembersClasses(ClassifierMixin, BaseEstimator):
    """Know which classes it was trained on, and on how many rows of each."""

    def fit(self, X, y):
        self.classes_, self.class_count_ = np.unique(y, return_counts=True)
        return self

    def predict(self, X):
        return np.repeat(self.classes_[:1], len(X))


def as_number(classes):
    """Write a set of classes as a number, with a bit for each."""
    return float(np.sum(2 ** np.flatnonzero(np.isin(CLASSES, classes))))


def as_set(number):
    return {i for i in range(N_CLASSES) if int(number) >> i & 1}


def old_classes(estimator, X, y):
    assert not np.isin(y, estimator.classes_).any()
    assert (estimator.class_count_ == 12).all()
    return as_number(estimator.classes_)


def new_classes(estimator, X, y):
    return as_number(y)


def n_families(estimator, X, y):
    assert not set(FAMILY[estimator.classes_]) & set(FAMILY[np.unique(y)])
    return FAMILY[estimator.classes_].nunique()


def test_curves_train_on_more_and_more_of_the_same_whole_classes():
    cv = ClassShuffleSplit(3, test_size=4, random_state=0)
    sizes, scores = class_learning_curve(
        RemembersClasses(), X, y, train_sizes=[2, 5, 12], cv=cv, scoring=old_classes
    )
    assert sizes.tolist() == [2, 5, 12]
    assert scores.shape == (3, 3)
    for split in scores.T:
        few, some, all_ = (as_set(number) for number in split)
        assert (len(few), len(some), len(all_)) == (2, 5, 12)
        assert few < some < all_
    assert len(set(scores[0])) > 1
    assert cv.train_size is None


@pytest.mark.parametrize("cv", [None, ClassShuffleSplit(4, random_state=1)])
def test_all_sizes_are_new_classes_the_same_classes(cv):
    _, scores = class_learning_curve(
        RemembersClasses(), X, y, train_sizes=[3, 12], cv=cv, scoring=new_classes
    )
    assert_array_equal(scores[0], scores[1])
    assert {len(as_set(number)) for number in scores.ravel()} == {4}
    assert len(set(scores[0])) > 1


def test_a_curve_is_cross_validation_over_random_splits_of_that_size():
    cv = ClassShuffleSplit(2, test_size=6, random_state=3)
    sizes, scores = class_learning_curve(tiny(), X, y, train_sizes=[4, 8], cv=cv, scoring=SCORER)
    for size, row in zip(sizes, scores, strict=True):
        split = ClassShuffleSplit(2, train_size=size, test_size=6, random_state=3)
        assert_array_equal(row, cross_val_score(tiny(), X, y, cv=split, scoring=SCORER))


def test_curves_are_of_episodes_by_default():
    cv = ClassShuffleSplit(1, test_size=5, random_state=0)
    many = np.vstack([X, X + 0.1]), np.tile(y, 2)  # enough for 15 queries
    _, scores = class_learning_curve(tiny(), *many, train_sizes=[4], cv=cv)
    split = ClassShuffleSplit(1, train_size=4, test_size=5, random_state=0)
    expected = cross_val_score(tiny(), *many, cv=split, scoring=EpisodicScorer())
    assert_array_equal(scores, [expected])


def test_groups_of_classes_stay_together_on_a_curve():
    cv = ClassShuffleSplit(3, test_size=2, random_state=0)
    options = {"train_sizes": [1, 6], "cv": cv, "scoring": n_families}
    _, scores = class_learning_curve(RemembersClasses(), X, y, class_groups=family, **options)
    assert_array_equal(scores, [[1, 1, 1], [6, 6, 6]])
    with sklearn.config_context(enable_metadata_routing=True):
        params = {"class_groups": family}
        _, routed = class_learning_curve(RemembersClasses(), X, y, params=params, **options)
    assert_array_equal(routed, scores)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"train_sizes": [0.5, 1.0]}, r"'train_sizes' parameter .*ints, numbers of classes.* Got"),
        ({"train_sizes": 4}, r"'train_sizes' parameter of class_learning_curve"),
        ({"train_sizes": []}, r"'train_sizes' parameter of class_learning_curve"),
        ({"train_sizes": [13]}, r"ClassShuffleSplit splits classes, of which there are 16"),
        ({"cv": ClassKFold(4)}, r"'cv' parameter .* must be a ClassShuffleSplit with an integer"),
        ({"cv": ClassShuffleSplit(4)}, r"integer random_state, .* same test classes"),
    ],
)
def test_curves_that_would_compare_apples_and_pears_are_refused(params, message):
    options = {"train_sizes": [2, 12], "scoring": SCORER, **params}
    with pytest.raises(ValueError, match=message):
        class_learning_curve(FewShotClassifier(), X, y, **options)


def test_scikit_learns_own_curve_cuts_rows_off_instead_of_classes():
    """The reason for `class_learning_curve`: if this fails, it may not be needed any more."""
    order = np.argsort(y, kind="stable")
    sizes, _, scores = learning_curve(
        RemembersClasses(),
        X[order],
        y[order],
        train_sizes=[30],
        cv=ClassKFold(4),
        scoring=lambda estimator, X, y: estimator.class_count_.min(),
        error_score="raise",
    )
    assert sizes.tolist() == [30]
    assert_array_equal(scores, np.full((1, 4), 6))  # twelve, twelve, and half a class


def test_a_search_by_halving_of_rows_says_what_to_halve_instead(make_learner, table):
    params = {
        "cv": ClassKFold(2),
        "scoring": EpisodicScorer(n_way=2, n_shot=1, n_query=3, n_episodes=5),
        "return_train_score": False,
        "random_state": 0,
        "factor": 2,
    }
    learner, grid = make_learner(validation_fraction=0.0), {"lr": [1e-3, 1e-2]}
    rows = HalvingGridSearchCV(learner, grid, min_resources=24, **params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows.fit(table.X, table.y)
    assert np.isnan(rows.cv_results_["mean_test_score"]).any()
    said = [str(warning.message) for warning in caught]
    assert any('resource="max_epochs"' in text for text in said)

    epochs = HalvingGridSearchCV(
        learner, grid, resource="max_epochs", min_resources=1, max_resources=2, **params
    )
    epochs.fit(table.X, table.y)  # warnings are errors
    assert np.isfinite(epochs.cv_results_["mean_test_score"]).all()
