"""Laws of results: intervals, confusion, recall, strata; each score equals a plain loop."""

import sys
from collections import Counter

import numpy as np
import pytest
import scipy.stats
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import MatchingNetClassifier, ProtoNetClassifier, SiameseNetClassifier, adapt
from sklearn_fewshot.model_selection import (
    EpisodeSplit,
    EpisodicComparison,
    EpisodicResult,
    _evaluation,
    episodic_score,
)

TINY = {"max_epochs": 1, "episodes_per_epoch": 2, "random_state": 0}
RAGGED = {"n_way": (2, 5), "n_shot": (1, 3)}
UNEQUAL = {"query_alpha": 1.0}


def make_table(prefix, n_classes, seed):
    rng = np.random.default_rng(seed)
    means = 1.3 * rng.normal(size=(n_classes, 1, 4))
    X = (means + rng.normal(size=(n_classes, 14, 4))).reshape(-1, 4)
    return X, np.repeat([f"{prefix} {i}" for i in range(n_classes)], 14)


X, y = make_table("new", 6, seed=0)
X_base, y_base = make_table("old", 8, seed=1)
CLASSIFIERS = {
    "proto": ProtoNetClassifier(**TINY).fit(X_base, y_base),
    "full context": MatchingNetClassifier(fce=True, **TINY).fit(X_base, y_base),
    "siamese": SiameseNetClassifier(max_epochs=1, random_state=0).fit(X_base, y_base),
    "pipeline": make_pipeline(StandardScaler(), ProtoNetClassifier(**TINY)).fit(X_base, y_base),
    "neighbour": KNeighborsClassifier(1),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
}


def split_of(**changes):
    params = {"n_way": 3, "n_shot": 2, "n_query": 3, "random_state": 4} | changes
    return EpisodeSplit(12, **params)


def answers_by_loop(name, split):
    """Iterate over classifiers of each episode and the rows of its queries."""
    for support, query in split.split(X, y):
        if name in ("neighbour", "logistic"):
            yield clone(CLASSIFIERS[name]).fit(X[support], y[support]), query
        else:
            yield adapt(CLASSIFIERS[name], X[support], y[support]), query


# ------------------------------------------------------------------ what was answered


@pytest.mark.parametrize("changes", [{}, RAGGED, UNEQUAL, RAGGED | UNEQUAL], ids=str)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_confusion_and_recall_equal_counts_of_a_loop(name, changes):
    split = split_of(**changes)
    result = episodic_score(CLASSIFIERS[name], X, y, episodes=split)
    pairs = Counter()
    for classifier, query in answers_by_loop(name, split):
        pairs.update(zip(y[query].tolist(), classifier.predict(X[query]).tolist(), strict=True))
    labels = np.unique(y)
    expected = np.array([[pairs[true, answer] for answer in labels] for true in labels])
    assert_array_equal(result.classes, labels)
    assert_array_equal(result.confusion_matrix(), expected)
    assert_allclose(result.recall(), expected.diagonal() / expected.sum(axis=1))


@pytest.mark.parametrize("changes", [{}, RAGGED, UNEQUAL], ids=str)
@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_each_score_equals_a_loop(name, scoring, changes):
    if scoring in ("balanced_accuracy", "neg_log_loss") and "query_alpha" in changes:
        changes = changes | {"query_alpha": 50.0}  # a query of each class, which these ask for
    split, scorer = split_of(**changes), get_scorer(scoring)
    expected = [scorer(clf, X[rows], y[rows]) for clf, rows in answers_by_loop(name, split)]
    found = episodic_score(CLASSIFIERS[name], X, y, episodes=split, scoring=scoring)
    # The full context computes in float32.
    assert_allclose(found.scores, expected, rtol=1e-4 if name == "full context" else 1e-7)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_areas_under_the_curve_equal_a_loop(name):
    split, scorer = split_of(n_way=2), get_scorer("roc_auc")
    expected = [scorer(clf, X[rows], y[rows]) for clf, rows in answers_by_loop(name, split)]
    found = episodic_score(CLASSIFIERS[name], X, y, episodes=split, scoring="roc_auc")
    assert_allclose(found.scores, expected)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_that_need_a_query_of_each_class_say_so(name):
    split = split_of(query_alpha=0.01)
    with pytest.raises(ValueError, match=r"Only 1 of the 3 classes .* raise query_alpha or n_quer"):
        episodic_score(CLASSIFIERS[name], X, y, episodes=split, scoring="neg_log_loss")
    assert episodic_score(CLASSIFIERS[name], X, y, episodes=split).scores.shape == (12,)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_accuracies_are_the_shares_of_right_answers(name):
    result = episodic_score(CLASSIFIERS[name], X, y, episodes=split_of(**RAGGED, **UNEQUAL))
    _, plan, predicted, _ = result.answers
    is_query = plan.query >= 0
    right = (predicted == plan.classes[:, :, None]) & is_query
    assert_allclose(result.scores, right.sum(axis=(1, 2)) / is_query.sum(axis=(1, 2)))
    assert (predicted[~is_query] == -1).all()
    assert (predicted[is_query] >= 0).all()
    for answers, codes in zip(predicted, plan.classes, strict=True):
        assert set(answers[answers >= 0]) <= set(codes)


def test_answers_do_not_depend_on_the_scoring():
    results = [
        episodic_score(CLASSIFIERS["pipeline"], X, y, episodes=split_of(**RAGGED), scoring=scoring)
        for scoring in ("accuracy", "f1_macro", get_scorer("accuracy"))
    ]
    for result in results[1:]:
        assert_array_equal(result.answers.predicted, results[0].answers.predicted)


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
@pytest.mark.parametrize("changes", [RAGGED, UNEQUAL, {"n_way": "all"}], ids=str)
def test_blocks_change_neither_scores_nor_answers(monkeypatch, changes, scoring):
    args, params = (CLASSIFIERS["proto"], X, y), {"scoring": scoring}
    whole = episodic_score(*args, episodes=split_of(**changes), **params)
    for n_values in (1, 150, 1000):
        monkeypatch.setattr(_evaluation, "VALUES_AT_A_TIME", n_values)
        found = episodic_score(*args, episodes=split_of(**changes), **params)
        assert_array_equal(found.scores, whole.scores)
        assert_array_equal(found.answers.predicted, whole.answers.predicted)


@pytest.mark.parametrize("name", ["proto", "neighbour"])
def test_processes_change_neither_scores_nor_answers(monkeypatch, name):
    monkeypatch.setattr(_evaluation, "VALUES_AT_A_TIME", 1000)
    monkeypatch.setattr(_evaluation, "FITS_AT_A_TIME", 3)
    args, params = (CLASSIFIERS[name], X, y), {"episodes": split_of(**RAGGED)}
    alone, together = (episodic_score(*args, n_jobs=n_jobs, **params) for n_jobs in (1, 2))
    assert_array_equal(alone.scores, together.scores)
    assert_array_equal(alone.answers.predicted, together.answers.predicted)


def test_several_plans_score_as_each_alone():
    splits = [split_of(), split_of(**RAGGED), split_of(n_way="all").freeze(X, y)]
    together = episodic_score(CLASSIFIERS["pipeline"], X, y, episodes=splits)
    for split, result in zip(splits, together, strict=True):
        alone = episodic_score(CLASSIFIERS["pipeline"], X, y, episodes=split)
        assert_array_equal(result.scores, alone.scores)
        assert str(result) == str(alone)


def test_what_is_no_list_of_episodes_is_refused():
    with pytest.raises(ValueError, match="'episodes' parameter of episodic_score is an empty list"):
        episodic_score(CLASSIFIERS["proto"], X, y, episodes=[])
    with pytest.raises(TypeError, match=r"or a list of these\. Got \(\)"):
        episodic_score(CLASSIFIERS["proto"], X, y, episodes=())


class Stubborn(ClassifierMixin, BaseEstimator):
    """Answer the same to everything."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.answer)


@pytest.mark.parametrize("answer", ["a", "new 2 and a half", "zzz"])
def test_an_answer_that_is_no_class_is_wrong_and_no_other_class(answer):
    result = episodic_score(Stubborn(answer), X, y, episodes=split_of())
    assert not result.scores.any()
    assert not result.confusion_matrix().any()
    assert_array_equal(result.recall(), np.zeros(6))
    assert result.interval_over("classes").mean == 0.0


def test_a_frozen_classifier_of_other_classes_is_never_right():
    frozen = FrozenEstimator(LogisticRegression().fit(X_base, y_base))
    assert episodic_score(frozen, X, y, episodes=split_of()).mean == 0.0


# ------------------------------------------------------------------ intervals


def result_of(scores):
    return EpisodicResult(np.asarray(scores, dtype=float), 5, 1, 15, "accuracy")


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_t_intervals_are_those_of_scipy(confidence):
    scores = np.random.default_rng(0).random(30)
    found = result_of(scores).interval_over(method="t", confidence=confidence)
    expected = scipy.stats.ttest_1samp(scores, 0.0).confidence_interval(confidence)
    assert_allclose(found[1:3], expected)
    assert found.mean == pytest.approx(scores.mean())
    assert found.half_width == pytest.approx((expected[1] - expected[0]) / 2)
    assert found.name == f"{100 * confidence:g} % t-interval over 30 episodes"


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro", "neg_log_loss"])
def test_only_shares_have_bounded_intervals(scoring):
    result = EpisodicResult(np.array([0.9, 1.0, 1.0, 1.0]), 5, 1, 15, scoring)
    is_share = scoring != "neg_log_loss"
    assert (result.interval[1] <= 1.0) == is_share
    assert ("Korn-Graubard" in result.interval_over().name) == is_share
    assert result.interval == result.interval_over()[1:3]
    assert result.half_width == pytest.approx(np.diff(result.interval)[0] / 2)


def test_uneven_intervals_are_written_by_their_ends():
    assert str(result_of([1.0] * 19 + [0.9])).startswith("99.50 (")
    assert " to 99.9" in str(result_of([1.0] * 19 + [0.9]))
    even = result_of(np.random.default_rng(0).random(400))
    assert str(even).startswith(f"{100 * even.mean:.2f} ± {100 * even.half_width:.2f} %")


def test_bootstrap_intervals_are_those_of_scipy():
    scores = np.random.default_rng(0).beta(8, 2, size=40)
    found = result_of(scores).interval_over(method="bootstrap", n_resamples=20000, confidence=0.9)
    args = {"n_resamples": 20000, "confidence_level": 0.9, "method": "percentile", "rng": 1}
    try:
        expected = scipy.stats.bootstrap((scores,), np.mean, **args)
    except TypeError:  # before scipy 1.15
        args["random_state"] = args.pop("rng")
        expected = scipy.stats.bootstrap((scores,), np.mean, **args)
    assert_allclose(found[1:3], expected.confidence_interval, atol=0.002)
    assert found.name == "90 % bootstrap interval over 40 episodes"


def test_a_bootstrap_in_small_blocks_is_the_same():
    scores = np.random.default_rng(0).random(51)
    whole = result_of(scores).interval_over(method="bootstrap")
    with sklearn.config_context(working_memory=8 * 70 / 2**20):
        assert result_of(scores).interval_over(method="bootstrap") == whole


def test_bootstraps_repeat_and_differ_with_the_seed():
    result = result_of(np.random.default_rng(0).random(50))
    first, again, other = (
        result.interval_over(method="bootstrap", random_state=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_intervals_over_classes_are_around_the_mean_score():
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of(**RAGGED))
    over_classes = result.interval_over("classes")
    assert over_classes.mean == pytest.approx(result.mean)
    assert over_classes.low < result.mean < over_classes.high
    assert over_classes.name == "95 % Korn-Graubard interval over 6 classes"
    for method in ("t", "bootstrap"):
        other = result.interval_over("classes", method=method)
        assert other.mean == pytest.approx(result.mean)
        assert other.name.endswith("interval over 6 classes")


def test_only_classes_that_were_drawn_are_counted():
    result = episodic_score(CLASSIFIERS["proto"], X, y, n_way=3, n_query=3, n_episodes=1)
    assert np.isnan(result.recall()).sum() == 3
    assert "over 3 classes" in result.interval_over("classes").name


def test_classes_of_one_group_are_sampled_together():
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of(**RAGGED))
    each = result.interval_over("classes")
    alone = result.interval_over("classes", class_groups=list("fbcaed"))
    assert alone[:3] == pytest.approx(each[:3])
    assert alone.name == "95 % Korn-Graubard interval over 6 groups of classes"
    pairs = result.interval_over("classes", class_groups=[0, 0, 1, 1, 2, 2])
    assert pairs.mean == pytest.approx(each.mean)
    assert "over 3 groups of classes" in pairs.name


@pytest.mark.parametrize("method", ["auto", "t", "bootstrap"])
def test_a_single_value_has_no_interval(method):
    found = result_of([0.7]).interval_over(method=method)
    assert found.mean == 0.7
    assert np.isnan(found[1:3]).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"unit": "class"}, r"takes unit \"episodes\" or \"classes\".* Got 'class' and 'auto'"),
        ({"method": "bca"}, r"\"t\" or \"bootstrap\"\. Got 'episodes' and 'bca'"),
        ({"class_groups": [0, 1]}, r"pass unit=\"classes\""),
        ({"confidence": 95}, r"'confidence' must be between 0 and 1, such as 0\.95\. Got 95"),
        ({"confidence": 1.5, "method": "bootstrap"}, r"'confidence' must be .*Got 1\.5"),
        ({"n_resamples": 0, "method": "bootstrap"}, r"'n_resamples' must be an int .*Got 0"),
        ({"unit": "classes"}, "scores only, no predictions"),
    ],
)
def test_intervals_that_mean_nothing_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        result_of([0.5, 0.7]).interval_over(**params)


def test_two_classes_tell_nothing_of_others():
    """Without one of them the other is always right, so that no class would differ from another."""
    result = episodic_score(CLASSIFIERS["proto"], X, y, n_way=2, n_query=3, n_episodes=1)
    with pytest.raises(ValueError, match="takes three classes or more"):
        result.interval_over("classes")
    pair = np.isin(y, np.unique(y)[:2])
    params = {"n_way": "all", "n_query": 3, "n_episodes": 30}
    scored = {k: episodic_score(CLASSIFIERS[k], X[pair], y[pair], **params) for k in CLASSIFIERS}
    assert "others" not in EpisodicComparison(scored).verdict


def test_groups_must_be_of_all_classes():
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of())
    with pytest.raises(ValueError, match=r"group of each .*: 6 entries\. Got shape \(5,\)"):
        result.interval_over("classes", class_groups=np.zeros(5))


def test_intervals_over_classes_are_refused_for_other_scores():
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of(), scoring="neg_log_loss")
    with pytest.raises(
        ValueError, match=r"they are neg_log_loss\. Score with scoring=\"accuracy\""
    ):
        result.interval_over("classes")


# ------------------------------------------------------------------ tables and strata


def test_a_table_of_episodes_describes_each():
    pytest.importorskip("pandas")
    split = split_of(**RAGGED, **UNEQUAL)
    frame = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split).to_frame()
    for (support, query), (_, row) in zip(split.split(X, y), frame.iterrows(), strict=True):
        labels, shots = np.unique(y[support], return_counts=True)
        queries = np.array([(y[query] == label).sum() for label in labels])
        assert row["n_way"] == len(labels)
        assert (row["n_shot_min"], row["n_shot_max"]) == (shots.min(), shots.max())
        assert row["n_query"] == len(query)
        expected = queries.max() / queries.min() if queries.min() else np.inf
        assert row["imbalance"] == expected


def test_a_table_of_classes_names_the_worst_mistake():
    pytest.importorskip("pandas")
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of())
    frame = result.to_frame(per="class")
    mistakes = result.confusion_matrix()
    assert_array_equal(frame.index, np.unique(y))
    assert_array_equal(frame["recall"], result.recall())
    assert_array_equal(frame["n_queries"], mistakes.sum(axis=1))
    for label, other in frame["mistaken_for"].items():
        row = mistakes[np.unique(y) == label][0] * (np.unique(y) != label)
        assert row[np.unique(y) == other].item() == row.max() if row.max() else other is None


def test_tables_of_anything_else_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"per=\"episode\" or per=\"class\"\. Got 'classes'"):
        result_of([0.5]).to_frame(per="classes")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"EpisodicResult\.to_frame needs pandas"):
        result_of([0.5]).to_frame()


@pytest.mark.parametrize("column", ["n_way", "n_shot_min", "n_shot_max", "n_query", "imbalance"])
def test_strata_divide_the_episodes(column):
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of(**RAGGED, **UNEQUAL))
    strata = result.by(column)
    assert list(strata) == sorted(strata)
    scores = np.concatenate([part.scores for part in strata.values()])
    assert_array_equal(np.sort(scores), np.sort(result.scores))
    assert sum(part.confusion_matrix() for part in strata.values()).tolist() == (
        result.confusion_matrix().tolist()
    )


def test_strata_say_what_they_are_of():
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of(**RAGGED))
    assert {part.n_way for part in result.by("n_way").values()} == set(result.by("n_way"))
    for shot, part in result.by("n_shot_max").items():
        assert part.n_shot == shot
        assert f"{shot}-shot" in str(part)


def test_strata_of_no_column_are_refused():
    result = episodic_score(CLASSIFIERS["proto"], X, y, episodes=split_of())
    with pytest.raises(ValueError, match=r"grouped by n_way, n_shot_min.*Got 'score'"):
        result.by("score")
    with pytest.raises(ValueError, match="grouped by nothing"):
        result_of([0.5]).by("n_way")


def test_a_scorer_named_like_one_of_shares_is_not_taken_for_it():
    def accuracy(classifier, X, y):
        return (classifier.score(X, y) - 0.2) / 0.8

    result = episodic_score(
        KNeighborsClassifier(1), X, y, scoring=accuracy, n_query=3, n_episodes=5
    )
    assert result.scoring == "scorer accuracy"
    assert not result.has_classes
    assert "%" not in str(result).partition("(")[0]


@pytest.mark.parametrize("n_missing", [0, 1])
def test_scores_that_are_nan_are_an_error(n_missing):
    def nothing(classifier, X, y):
        return float("nan")

    options = {"query_alpha": 0.05, "n_query": 1} if n_missing else {"n_query": 3}
    message = "returned NaN for an episode." + " Only 1 of the 2 classes" * n_missing
    with pytest.raises(ValueError, match=message):
        episodic_score(
            KNeighborsClassifier(1), X, y, scoring=nothing, n_way=2, n_episodes=9, **options
        )
