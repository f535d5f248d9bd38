"""Laws of episodic scores."""

import pickle
import re
import sys
import warnings

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer, log_loss, make_scorer, matthews_corrcoef
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    MAMLClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    adapt,
)
from sklearn_fewshot.model_selection import (
    ClassKFold,
    EpisodeSplit,
    EpisodicResult,
    EpisodicScorer,
    _evaluation,
    episodic_score,
)
from sklearn_fewshot.model_selection._baselines import base_class_lda, support_baselines

EPISODES = {"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 30, "random_state": 4}
N_FEATURES = 5


def make_table(n_classes=6, n_per_class=10, seed=0):
    """Classes that overlap, with unscaled features and string labels."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_classes, 1, N_FEATURES))
    X = means + rng.normal(size=(n_classes, n_per_class, N_FEATURES))
    X = X * 10.0 ** np.arange(N_FEATURES)[::-1] + 3.0
    names = [f"{'old' if seed else 'new'} {i}" for i in range(n_classes)]
    return X.reshape(-1, N_FEATURES), np.repeat(names, n_per_class)


def tiny_learner(**params):
    params = {"max_epochs": 1, "episodes_per_epoch": 2, "random_state": 0, **params}
    return ProtoNetClassifier(**params)


X, y = make_table()
X_base, y_base = make_table(n_classes=8, seed=1)
scaler = StandardScaler().fit(X_base)
learner = tiny_learner().fit(scaler.transform(X_base), y_base)
pipe = make_pipeline(scaler, learner)


def split_of(episodes):
    kept = {name: value for name, value in episodes.items() if name != "n_episodes"}
    return EpisodeSplit(episodes["n_episodes"], **kept)


def scores_by_loop(adapted, scoring="accuracy", episodes=EPISODES, groups=None):
    """Score with plain loops: ``adapted(X_support, y_support)`` is a fitted classifier."""
    scorer = get_scorer(scoring)
    return [
        scorer(adapted(X[support], y[support]), X[query], y[query])
        for support, query in split_of(episodes).split(X, y, groups)
    ]


# ------------------------------------------------------------------ what is computed


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_way": "all"}, {"n_way": 2, "n_shot": 1}, {"n_way": (2, 5), "n_shot": (1, 3)}],
)
def test_accuracies_of_a_learner_equal_a_loop_over_adapt(changes):
    episodes = EPISODES | changes
    expected = scores_by_loop(lambda *support: adapt(pipe, *support), episodes=episodes)
    result = episodic_score(pipe, X, y, **episodes)
    assert_array_equal(result.scores, expected)
    assert 0.4 < result.mean < 1.0


@pytest.mark.parametrize(
    "scoring", ["f1_macro", "neg_log_loss", "roc_auc_ovr", make_scorer(matthews_corrcoef)]
)
def test_other_scores_of_a_learner_equal_a_loop_over_adapt(scoring):
    expected = scores_by_loop(lambda *support: adapt(pipe, *support), scoring)
    assert_allclose(episodic_score(pipe, X, y, scoring=scoring, **EPISODES).scores, expected)


def test_two_way_episodes_are_scored_as_binary():
    episodes = EPISODES | {"n_way": 2}
    expected = scores_by_loop(lambda *support: adapt(pipe, *support), "roc_auc", episodes)
    assert_allclose(episodic_score(pipe, X, y, scoring="roc_auc", **episodes).scores, expected)


def test_scorers_get_a_classifier_of_the_real_labels():
    def scorer(estimator, X_query, y_query):
        assert isinstance(estimator, FewShotClassifier)
        assert_array_equal(estimator.classes_, np.unique(y_query))
        assert set(y_query) <= set(y)
        assert_array_equal(clone(estimator).fit(X_query, y_query).classes_, estimator.classes_)
        return -log_loss(y_query, estimator.predict_proba(X_query))

    scores = episodic_score(pipe, X, y, scoring=scorer, **EPISODES).scores
    assert_allclose(scores, episodic_score(pipe, X, y, scoring="neg_log_loss", **EPISODES).scores)


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
def test_any_other_classifier_is_fitted_on_every_support(scoring):
    baseline = make_pipeline(StandardScaler(), KNeighborsClassifier(1))
    expected = scores_by_loop(lambda *support: clone(baseline).fit(*support), scoring)
    assert_array_equal(episodic_score(baseline, X, y, scoring=scoring, **EPISODES).scores, expected)
    with pytest.raises(NotFittedError):
        baseline.predict(X)


def test_learners_and_other_classifiers_meet_the_same_episodes():
    ours = episodic_score(FewShotClassifier(), X, y, **EPISODES)
    theirs = episodic_score(NearestCentroid(), X, y, **EPISODES)
    by_split = cross_val_score(FewShotClassifier(), X, y, cv=split_of(EPISODES))
    assert_array_equal(ours.scores, theirs.scores)
    assert_array_equal(ours.scores, by_split)


def test_equal_seeds_give_equal_scores():
    def scores(seed):
        return episodic_score(pipe, X, y, **EPISODES | {"random_state": seed}).scores.tolist()

    assert scores(1) == scores(1) == scores(np.random.RandomState(1))
    assert scores(1) != scores(2)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
@pytest.mark.parametrize("n_way", [3, "all"])
def test_scores_do_not_depend_on_how_the_work_is_cut(monkeypatch, scoring, n_way):
    small_batches = tiny_learner(predict_batch_size=16).fit(scaler.transform(X_base), y_base)
    estimator = make_pipeline(scaler, small_batches)
    episodes = EPISODES | {"n_way": n_way, "scoring": scoring}
    whole = episodic_score(estimator, X, y, **episodes).scores
    for n_values in (1, 100, 1000):
        monkeypatch.setattr(_evaluation, "VALUES_AT_A_TIME", n_values)
        monkeypatch.setattr(_evaluation, "MAX_ROWS", n_values)
        assert_array_equal(episodic_score(estimator, X, y, **episodes).scores, whole)


EQUAL_ROWS = pytest.mark.filterwarnings("ignore:.* queries have an equal row:UserWarning")


@EQUAL_ROWS
def test_ties_go_to_the_first_label_as_in_predict():
    constant = np.zeros((len(y), 2))
    result = episodic_score(FewShotClassifier(), constant, y, **EPISODES)
    assert_array_equal(result.scores, np.full(30, 1 / 3))


class CountsRows(TransformerMixin, BaseEstimator):
    """Note which rows pass, by their first column."""

    def __init__(self, seen):
        self.seen = seen

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        self.seen.extend(X[:, 0].tolist())
        return X


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
def test_each_row_that_an_episode_uses_is_transformed_once():
    seen = []
    numbered = np.column_stack([np.arange(len(X)), scaler.transform(X)[:, 1:]])
    counted = make_pipeline(CountsRows(seen).fit(X), learner)
    split = EpisodeSplit(2, n_way=3, n_query=3, random_state=0)
    used = {row for sides in split.split(X, y) for side in sides for row in side}
    episodic_score(counted, numbered, y, n_way=3, n_query=3, n_episodes=2, random_state=0)
    assert len(used) < len(X) / 2
    assert sorted(seen) == sorted(used)


class SharesNoGroup(ClassifierMixin, BaseEstimator):
    """Predict rightly if no query has the group (the first column) of a support example."""

    def fit(self, X, y):
        self.groups_ = set(X[:, 0])
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        strange = np.isin(X[:, 0], list(self.groups_))
        return np.where(strange, "wrong", X[:, 1].astype(int).astype(str))


@EQUAL_ROWS
def test_groups_keep_support_and_queries_apart():
    labels = np.repeat(np.arange(6), 10)
    groups = np.tile(np.repeat([7, 8, 9], [4, 3, 3]), 6)
    rows = np.column_stack([groups, labels])
    args = SharesNoGroup(), rows, labels.astype(str)
    assert episodic_score(*args, groups=groups, **EPISODES).mean == 1.0
    assert episodic_score(*args, **EPISODES).mean < 1.0


def test_groups_reach_learners_too():
    drawer = np.tile(np.arange(5), 12)
    expected = scores_by_loop(lambda *support: adapt(pipe, *support), groups=drawer)
    result = episodic_score(pipe, X, y, groups=drawer, **EPISODES)
    assert_array_equal(result.scores, expected)


# ------------------------------------------------------------------ estimators of every shape


def fitted_search():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), tiny_learner()),
        {"protonetclassifier__max_epochs": [1]},
        cv=ClassKFold(2),
        scoring=EpisodicScorer(n_way=2, n_query=2, n_episodes=5),
    )
    return search.fit(X_base, y_base)


SHAPES = {
    "nested pipeline": lambda: make_pipeline(make_pipeline(scaler), make_pipeline(learner)),
    "adapted pipeline": lambda: adapt(pipe, X[:20], y[:20]),
    "frozen pipeline": lambda: FrozenEstimator(pipe),
    "frozen learner in a pipeline": lambda: make_pipeline(scaler, FrozenEstimator(learner)),
    "search": fitted_search,
    "frozen steps, unfitted end": lambda: make_pipeline(
        FrozenEstimator(scaler), FewShotClassifier(learner)
    ),
    "pickled": lambda: pickle.loads(pickle.dumps(pipe)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_whatever_stands_around_a_learner_is_kept_as_fitted(name):
    scores = episodic_score(SHAPES[name](), X, y, **EPISODES).scores
    assert_array_equal(scores, episodic_score(pipe, X, y, **EPISODES).scores)


@pytest.mark.parametrize(
    "estimator",
    [learner, learner.adapt(scaler.transform(X[:20]), y[:20]), FewShotClassifier(learner)],
    ids=["learner", "adapted", "unfitted classifier"],
)
def test_preprocess_comes_first(estimator):
    expected = episodic_score(pipe, X, y, **EPISODES).scores
    assert_array_equal(
        episodic_score(estimator, X, y, preprocess=scaler, **EPISODES).scores, expected
    )
    scaled = scaler.transform(X)
    assert_array_equal(episodic_score(estimator, scaled, y, **EPISODES).scores, expected)


def test_preprocess_puts_a_floor_behind_the_transformers_or_the_embedding():
    behind_scaler = episodic_score(NearestCentroid(), X, y, preprocess=pipe[:-1], **EPISODES)
    scaled = episodic_score(NearestCentroid(), scaler.transform(X), y, **EPISODES)
    assert_array_equal(behind_scaler.scores, scaled.scores)
    behind_learner = episodic_score(NearestCentroid(), X, y, preprocess=pipe, **EPISODES)
    assert_allclose(behind_learner.mean, episodic_score(pipe, X, y, **EPISODES).mean, atol=0.02)


def test_a_refitted_learner_does_not_change_what_was_adapted():
    other = tiny_learner().fit(scaler.transform(X_base), y_base)
    adapted = other.adapt(scaler.transform(X[:20]), y[:20])
    args = scaler.transform(X), y
    before = episodic_score(adapted, *args, **EPISODES).scores
    other.set_params(backbone="identity", metric="cityblock").fit(scaler.transform(X_base), y_base)
    assert_array_equal(episodic_score(adapted, *args, **EPISODES).scores, before)
    assert (episodic_score(other, *args, **EPISODES).scores != before).any()


def test_data_frames_and_lists_are_taken():
    pd = pytest.importorskip("pandas")
    expected = episodic_score(NearestCentroid(), X, y, **EPISODES).scores
    for rows, labels in (
        (pd.DataFrame(X, index=np.arange(len(X))[::-1]), pd.Series(y, index=np.arange(len(y)) + 7)),
        (X.tolist(), y.tolist()),
    ):
        for estimator in (NearestCentroid(), FewShotClassifier()):
            assert_array_equal(episodic_score(estimator, rows, labels, **EPISODES).scores, expected)


# ------------------------------------------------------------------ refusals and warnings


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_shot": 8}, r"'n_shot' parameter of episodic_score .*Class 'new 0' has 10 examples"),
        ({"n_way": 7}, r"'n_way' parameter of episodic_score .*number of classes, 6\. Got 7\."),
        ({"n_query": 0}, r"'n_query' parameter of episodic_score must be an int of at least 1"),
        ({"n_episodes": 0}, r"'n_episodes' parameter of episodic_score .*at least 1\. Got 0\."),
        ({"scoring": "acuracy"}, r"'scoring' parameter of episodic_score must be a str among"),
        ({"groups": np.zeros(60)}, r"parameter of episodic_score .*in 1 group"),
        ({"groups": [0]}, r"inconsistent numbers of samples"),
        ({"random_state": "a"}, r"cannot be used to seed"),
    ],
)
@pytest.mark.parametrize("estimator", [pipe, NearestCentroid()], ids=["learner", "baseline"])
def test_episodes_that_cannot_be_drawn_are_refused(estimator, params, message):
    with pytest.raises(ValueError, match=message):
        episodic_score(estimator, X, y, **EPISODES | params)


@pytest.mark.parametrize("estimator", [learner, FewShotClassifier(), NearestCentroid()])
def test_nan_is_refused(estimator):
    broken = X.copy()
    broken[:, 2] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        episodic_score(estimator, broken, y, **EPISODES)
    with pytest.raises(ValueError, match="y contains NaN"):
        episodic_score(estimator, X[:4], [0.0, 0.0, 1.0, np.nan], **EPISODES)


def test_other_features_than_those_of_fit_are_refused():
    with pytest.raises(ValueError, match="features"):
        episodic_score(learner, X[:, 1:], y, **EPISODES)


@pytest.mark.parametrize(
    "estimator",
    [
        tiny_learner(),
        make_pipeline(scaler, tiny_learner()),
        FewShotClassifier(tiny_learner()),
        make_pipeline(StandardScaler(), learner),
        GridSearchCV(tiny_learner(), {}),
        GridSearchCV(pipe, {}),
    ],
    ids=["learner", "pipeline", "classifier", "scaler", "search", "search of a fitted pipeline"],
)
def test_what_is_not_fitted_is_refused(estimator):
    with pytest.raises(NotFittedError):
        episodic_score(estimator, X, y, **EPISODES)


@pytest.mark.parametrize(
    "estimator", [LinearRegression(), scaler, make_pipeline(scaler), "NearestCentroid", None]
)
def test_what_is_no_classifier_is_refused(estimator):
    with pytest.raises(TypeError, match="episodic_score takes a learner or a classifier"):
        episodic_score(estimator, X, y, **EPISODES)


@pytest.mark.parametrize(
    ("estimator", "preprocess", "who"),
    [
        (pipe, None, "ProtoNetClassifier"),
        (adapt(pipe, X[:20], y[:20]), None, "ProtoNetClassifier"),
        (NearestCentroid(), pipe, "ProtoNetClassifier"),
        (NearestCentroid(), base_class_lda(X_base, y_base), "LinearDiscriminantAnalysis"),
    ],
)
def test_scoring_on_trained_classes_warns(estimator, preprocess, who):
    mixed = np.concatenate([X[:30], X_base[:20]]), np.concatenate([y[:30], y_base[:20]])
    message = rf"{who} was trained on 2 of the 5 classes of y, .* \('old 0', 'old 1'\)"
    with pytest.warns(UserWarning, match=message) as record:
        episodic_score(estimator, *mixed, preprocess=preprocess, **EPISODES)
    assert record[0].filename == __file__


def test_warnings_of_the_classifier_come_once():
    constant = X.copy()
    constant[:, 0] = 1.0  # NearestCentroid warns of features that do not vary
    baseline = NearestCentroid()
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        episodic_score(baseline, constant, y, **EPISODES)
    assert len(record) == 1
    with pytest.warns(UserWarning, match="at least 1 zero standard deviation"):
        episodic_score(baseline, constant, y, **EPISODES)


def test_numbers_and_text_are_different_labels():
    numbered = tiny_learner().fit(X_base, np.unique(y_base, return_inverse=True)[1])
    text = np.unique(y, return_inverse=True)[1].astype(str)
    episodic_score(numbered, X, text, **EPISODES)


# ------------------------------------------------------------------ the result


def result_of(scores, scoring="accuracy", n_way=5, n_shot=1, n_query=15):
    return EpisodicResult(np.asarray(scores, dtype=float), n_way, n_shot, n_query, scoring)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            result_of([0.98, 0.9862] * 500),
            "98.31 ± 0.02 % (5-way 1-shot, 15 queries, 1000 episodes, interval over episodes)",
        ),
        (
            result_of([0.5], n_way=(2, 5), n_shot=(1, 3), n_query=1),
            "50.00 % (2 to 5-way 1 to 3-shot, 1 query, 1 episode, interval over episodes)",
        ),
        (
            result_of([0.5, 0.7, 0.6], scoring="f1_macro"),
            "60.00 ± 25.74 % "
            "(f1_macro, 5-way 1-shot, 15 queries, 3 episodes, interval over episodes)",
        ),
        (
            result_of([-0.31, -0.37, -0.35, -0.33], scoring="neg_log_loss"),
            "-0.34 ± 0.041 "
            "(neg_log_loss, 5-way 1-shot, 15 queries, 4 episodes, interval over episodes)",
        ),
    ],
)
def test_the_line_to_report(result, text):
    assert str(result) == text
    assert repr(result) == f"<EpisodicResult: {text}>"


def test_the_line_counts_all_classes():
    result = episodic_score(pipe, X, y, **EPISODES | {"n_way": "all"})
    assert "(6-way 2-shot, 3 queries, 30 episodes," in str(result)
    assert result.n_way == 6


def test_the_line_names_a_callable():
    def hits(estimator, X, y):
        return 3.0

    result = episodic_score(pipe, X, y, scoring=hits, **EPISODES)
    assert str(result).startswith("3 ± 0 (hits, ")


def test_results_become_data_frames():
    pytest.importorskip("pandas")
    frame = result_of([0.25, 0.75]).to_frame()
    assert frame["score"].tolist() == [0.25, 0.75]
    assert frame.index.name == "episode"


def test_a_missing_pandas_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas"):
        result_of([0.25, 0.75]).to_frame()


# ------------------------------------------------------------------ the scorer

SCORER = EpisodicScorer(n_way=2, n_query=2, n_episodes=20, random_state=3)


def test_the_scorer_is_the_mean_of_the_function():
    params = {"n_way": 3, "n_shot": (1, 2), "n_query": 4, "n_episodes": 10, "random_state": 5}
    for scoring in ("accuracy", "f1_macro"):
        scorer = EpisodicScorer(scoring=scoring, **params)
        result = episodic_score(pipe, X, y, scoring=scoring, **params)
        assert scorer(pipe, X, y) == scorer.score(pipe, X, y) == result.mean


def test_the_scorer_is_an_object_of_scikit_learn():
    scorer = EpisodicScorer(n_way="all", n_shot=(1, 5), scoring="f1_macro")
    assert repr(scorer) == "EpisodicScorer(n_shot=(1, 5), n_way='all', scoring='f1_macro')"
    for copied in (clone(scorer), pickle.loads(pickle.dumps(scorer))):
        assert copied.get_params() == scorer.get_params()


@pytest.mark.parametrize("seed", [None, np.random.RandomState(0), -1])
def test_the_scorer_takes_integer_seeds_only(seed):
    with pytest.raises(ValueError, match="'random_state' parameter of EpisodicScorer must be an i"):
        EpisodicScorer(random_state=seed)(pipe, X, y)


def test_errors_name_the_scorer():
    with pytest.raises(ValueError, match=r"'n_shot' parameter of EpisodicScorer .*Class 'new 0'"):
        EpisodicScorer()(pipe, X, y)
    with pytest.raises(TypeError, match="EpisodicScorer takes a learner or a classifier"):
        EpisodicScorer()(scaler, X, y)


def test_cross_validation_over_classes():
    estimator = make_pipeline(StandardScaler(), tiny_learner())
    scores = cross_val_score(estimator, X, y, cv=ClassKFold(3), scoring=SCORER, error_score="raise")
    expected = [
        SCORER(clone(estimator).fit(X[train], y[train]), X[test], y[test])
        for train, test in ClassKFold(3).split(X, y)
    ]
    assert_array_equal(scores, expected)
    in_parallel = cross_val_score(estimator, X, y, cv=ClassKFold(3), scoring=SCORER, n_jobs=2)
    assert_array_equal(in_parallel, scores)


def test_the_scorer_stands_beside_others():
    f1 = clone(SCORER).set_params(scoring="f1_macro")
    scoring = {"episodes": SCORER, "f1": f1}
    args = tiny_learner(), X_base, y_base
    found = cross_validate(*args, cv=ClassKFold(2), scoring=scoring, error_score="raise")
    alone = cross_val_score(*args, cv=ClassKFold(2), scoring=SCORER)
    assert_array_equal(found["test_episodes"], alone)
    assert found["test_f1"].shape == (2,)


def test_searches_over_class_disjoint_folds():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PCA(), tiny_learner()),
        {"pca__n_components": [1, 4]},
        cv=ClassKFold(2),
        scoring=SCORER,
        error_score="raise",
    ).fit(X_base, y_base)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ == {"pca__n_components": 4}
    assert search.get_params()["scoring__n_way"] == 2
    with pytest.warns(UserWarning, match="trained on 8 of the 8 classes"):
        assert search.score(X_base, y_base) > 0.5


@EQUAL_ROWS
def test_groups_reach_the_scorer_by_routing():
    labels = np.repeat(np.arange(6), 10)
    groups = np.tile(np.repeat([7, 8, 9], [4, 3, 3]), 6)
    rows = np.column_stack([groups, labels])
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = clone(clone(SCORER).set_score_request(groups=True))
        for scoring in (scorer, {"episodes": scorer}):
            found = cross_validate(
                SharesNoGroup(),
                rows,
                labels.astype(str),
                cv=ClassKFold(2),
                scoring=scoring,
                params={"groups": groups},
                error_score="raise",
            )
            scores = found["test_score" if scoring is scorer else "test_episodes"]
            assert_array_equal(scores, [1.0, 1.0])
    without = SCORER(SharesNoGroup().fit(rows, labels), rows, labels.astype(str))
    assert without < 1.0


# ------------------------------------------------------------------ baselines


@pytest.mark.parametrize("n_shot", [1, 2])
def test_support_floors_beat_chance(n_shot):
    baselines = support_baselines(n_shot)
    assert ("shrinkage LDA" in baselines) == (n_shot > 1)
    for baseline in baselines.values():
        episodes = EPISODES | {"n_shot": n_shot, "n_episodes": 20}
        assert episodic_score(baseline, X, y, preprocess=scaler, **episodes).mean > 0.4


def test_the_base_class_lda_uses_the_base_classes():
    lda = base_class_lda(X_base, y_base)
    projected = episodic_score(NearestCentroid(), X, y, preprocess=lda, **EPISODES)
    raw = episodic_score(NearestCentroid(), X, y, **EPISODES)
    assert projected.mean > raw.mean + 0.1
    assert episodic_score(LogisticRegression(), X, y, preprocess=lda, **EPISODES).mean > raw.mean


# ---------------------------------------------------------------------- transductive

TRANSDUCTIVE = EPISODES | {"n_episodes": 6}


@pytest.mark.parametrize("refinement", ["alpha_tim", "bd_cspn", "soft_kmeans"])
@pytest.mark.parametrize("alpha", [None, 1.0], ids=["equal", "unequal"])
def test_queries_are_the_unlabelled_examples_of_their_episode(refinement, alpha):
    sizes = TRANSDUCTIVE | {"query_alpha": alpha}
    result = episodic_score(pipe, X, y, **sizes, transductive=refinement)
    for (support, query), score in zip(split_of(sizes).split(X, y), result.scores, strict=True):
        both = np.concatenate([support, query])
        marked = np.concatenate([y[support], np.full(len(query), "?")])
        adapted = adapt(pipe, X[both], marked, unlabelled="?", refinement=refinement)
        found = adapted[-1].transduction_[len(support) :]
        assert_allclose(score, np.mean(found == y[query]))
    inductive = episodic_score(pipe, X, y, **sizes)
    assert not np.array_equal(result.answers.predicted, inductive.answers.predicted)


def test_transductive_results_say_so():
    result = episodic_score(pipe, X, y, **TRANSDUCTIVE, transductive="bd_cspn")
    assert "(transductive by bd_cspn, 3-way 2-shot, " in str(result)
    assert "transductive by bd_cspn" in result._repr_html_()
    for per in ("episode", "class"):
        assert set(result.to_frame(per)["transductive"]) == {"bd_cspn"}
    (part,) = result.by("n_way").values()
    assert part.transductive == "bd_cspn"
    inductive = episodic_score(pipe, X, y, **TRANSDUCTIVE)
    assert inductive.transductive is None
    assert "transductive" not in str(inductive)
    assert "transductive" not in inductive.to_frame().columns


def test_transductive_scores_do_not_depend_on_jobs_or_scorer():
    options = TRANSDUCTIVE | {"transductive": "alpha_tim"}
    result = episodic_score(pipe, X, y, **options)
    by_scorer = episodic_score(pipe, X, y, **options, scoring=get_scorer("accuracy"))
    in_parallel = episodic_score(pipe, X, y, **options, n_jobs=2)
    for other in (by_scorer, in_parallel):
        assert_allclose(other.scores, result.scores)
        assert_array_equal(other.answers.predicted, result.answers.predicted)


def test_only_learners_with_means_can_be_transductive():
    with pytest.raises(TypeError, match=r"takes a fitted learner.* NearestCentroid"):
        episodic_score(NearestCentroid(), X, y, **TRANSDUCTIVE, transductive="alpha_tim")
    matching = MatchingNetClassifier(max_epochs=0, refit=False, random_state=0)
    matching = make_pipeline(scaler, matching.fit(scaler.transform(X_base), y_base))
    with pytest.raises(TypeError, match="compares with means"):
        episodic_score(matching, X, y, **TRANSDUCTIVE, transductive="alpha_tim")
    with pytest.raises(ValueError, match="'transductive' parameter of episodic_score"):
        episodic_score(pipe, X, y, **TRANSDUCTIVE, transductive=True)


def test_learners_that_train_in_every_episode_say_how_long_it_takes(table, capsys):
    learner = MAMLClassifier(n_steps=1, max_epochs=0, calibrate=False, random_state=0)
    learner.fit(table.X, table.y)
    task = {"n_way": 3, "n_query": 4, "n_episodes": 20}
    quiet = episodic_score(learner, table.X_new, table.y_new, **task)
    assert capsys.readouterr().err == ""
    shown = episodic_score(learner, table.X_new, table.y_new, **task, verbose=True)
    assert re.search(r"at most \d+ s", capsys.readouterr().err)
    np.testing.assert_array_equal(shown.scores, quiet.scores)


def test_their_support_sets_are_adapted_to_once(table, monkeypatch):
    learner = MAMLClassifier(n_steps=1, max_epochs=0, calibrate=False, random_state=0)
    learner.fit(table.X, table.y)
    adapted = []
    adapt = type(learner.module_).adapt

    def count(self, support):
        adapted.append(len(support.inputs))
        return adapt(self, support)

    monkeypatch.setattr(type(learner.module_), "adapt", count)
    monkeypatch.setattr(_evaluation, "VALUES_AT_A_TIME", 10)  # less than an episode
    episodic_score(learner, table.X_new, table.y_new, n_way=3, n_query=4, n_episodes=7)
    assert adapted == [1] * 7
