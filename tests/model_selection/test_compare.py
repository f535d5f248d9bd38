"""Laws of comparisons: the same episodes, paired differences, baselines of every kind."""

import sys

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklearn_fewshot import FewShotClassifier, ProtoNetClassifier
from sklearn_fewshot.model_selection import (
    ClassKFold,
    EpisodeSplit,
    EpisodicComparison,
    EpisodicResult,
    EpisodicScorer,
    _baselines,
    compare_on_episodes,
    episodic_score,
)
from sklearn_fewshot.model_selection._baselines import (
    PENALTIES,
    base_class_lda,
    centred_unit_length,
    support_baselines,
    tuned_logistic_regression,
)


def make_table(prefix, n_classes, seed):
    rng = np.random.default_rng(seed)
    X = 2 * rng.normal(size=(n_classes, 1, 4)) + rng.normal(size=(n_classes, 12, 4))
    return X.reshape(-1, 4), np.repeat([f"{prefix} {i}" for i in range(n_classes)], 12)


X, y = make_table("new", 5, seed=0)
X_base, y_base = make_table("old", 8, seed=1)
PARAMS = {"n_way": 3, "n_query": 4, "n_episodes": 12, "random_state": 2}


def tiny():
    return ProtoNetClassifier(max_epochs=1, episodes_per_epoch=2, random_state=0)


learner = tiny().fit(X_base, y_base)
pipe = make_pipeline(StandardScaler(), tiny()).fit(X_base, y_base)
SUPPORT_BASELINES = [
    "nearest centroid",
    "nearest centroid, unit length",
    "1-nearest neighbour",
    "logistic regression",
]
OF_BASE = [
    "tuned logistic regression",
    "SimpleShot",
    "base-class LDA",
    "base-class LDA, unit length",
]


def after(name, baselines=SUPPORT_BASELINES):
    return [f"{baseline} after {name}" for baseline in baselines]


def result_of(scores, scoring="accuracy"):
    return EpisodicResult(np.asarray(scores, dtype=float), 5, 1, 15, scoring)


# ------------------------------------------------------------------ differences


def test_differences_are_those_of_a_paired_t_test():
    compared = compare_on_episodes({"learner": pipe, "baseline": NearestCentroid()}, X, y, **PARAMS)
    a, b = (compared.results[name].scores for name in ("learner", "baseline"))
    expected = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    found = compared.difference("baseline")
    assert_allclose(found[1:3], expected)
    assert found.mean == pytest.approx((b - a).mean())
    assert found.name == "95 % t-interval over 12 episodes, paired"
    turned = compared.difference("learner", "baseline")
    assert_allclose(turned[:3], [-found.mean, -found.high, -found.low])


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
def test_each_is_scored_as_it_is_alone(scoring):
    estimators = {"learner": learner, "pipe": pipe, "baseline": KNeighborsClassifier(1)}
    params = PARAMS | {"n_way": (2, 4), "n_shot": (1, 2), "scoring": scoring}
    compared = compare_on_episodes(estimators, X, y, **params)
    assert list(compared.results) == list(estimators)
    for name, estimator in estimators.items():
        alone = episodic_score(estimator, X, y, **params)
        assert_array_equal(compared.results[name].scores, alone.scores)
        assert str(compared.results[name]) == str(alone)


def test_groups_and_drawn_episodes_are_taken():
    groups, split = np.arange(len(y)) % 6, EpisodeSplit(5, n_way=2, n_query=2, query_alpha=1.0)
    compared = compare_on_episodes({"a": learner}, X, y, groups=groups, episodes=split)
    alone = episodic_score(learner, X, y, groups=groups, episodes=split)
    assert_array_equal(compared.results["a"].answers.plan.query, alone.answers.plan.query)
    frozen = split.freeze(X, y, groups)
    compared = compare_on_episodes({"a": learner}, X, y, episodes=frozen)
    assert_array_equal(compared.results["a"].scores, alone.scores)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (
            [0.8, 1.0, 0.9, 0.9],
            [0.5, 0.7, 0.7, 0.6],
            "a is better than b by 27.50 ± 7.96 % on these classes.",
        ),
        (
            [0.5, 0.7, 0.7, 0.6],
            [0.8, 1.0, 0.9, 0.9],
            "a is worse than b by 27.50 ± 7.96 % on these classes.",
        ),
        ([0.5, 0.9, 0.7, 0.6], [0.8, 0.7, 0.6, 0.9], "No difference is shown between a and b."),
        ([0.5, 0.5], [0.5, 0.5], "No difference is shown between a and b."),
        ([0.9], [0.5], "No difference is shown between a and b."),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(first, second, sentence):
    compared = EpisodicComparison({"a": result_of(first), "b": result_of(second)})
    assert compared.verdict == sentence
    assert str(compared).endswith(sentence)


def test_the_table_shows_scores_differences_and_conditions():
    results = {"a": [0.8, 1.0, 0.9, 0.9], "long": [0.5, 0.7, 0.7, 0.6]}
    compared = EpisodicComparison({name: result_of(scores) for name, scores in results.items()})
    assert str(compared).splitlines() == [
        "a     90.00 (68.65 to 98.72) %",
        "long  62.50 ± 15.98 %   (-27.50 ± 7.96 % against a)",
        "(5-way 1-shot, 15 queries, 4 episodes, interval over episodes; differences paired)",
        "a is better than long by 27.50 ± 7.96 % on these classes.",
    ]
    assert repr(compared) == "<EpisodicComparison of a, long>"


def test_verdicts_may_be_on_classes_of_other_groups():
    family = np.where(np.isin(y, ["new 0", "new 1"]), "small", "large")
    params = PARAMS | {"n_episodes": 60}
    estimators = {"learner": learner, "neighbour": KNeighborsClassifier(1)}
    compared = compare_on_episodes(estimators, X, y, class_groups=family, **params)
    assert compared.class_groups.tolist() == [1, 1, 0, 0, 0]
    assert "over 2 groups of classes" in compared.difference("neighbour", over="classes").name
    assert "over 60 episodes" in compared.difference("neighbour").name
    each = compare_on_episodes(estimators, X, y, class_groups=y, **params)
    plain = compare_on_episodes(estimators, X, y, **params)
    for name in ("learner", "neighbour"):
        one, other = (it.difference(name, over="classes") for it in (each, plain))
        assert one[:3] == pytest.approx(other[:3])
    with pytest.raises(
        ValueError, match=r"one group for each class\. Class 'new 0' is in the groups"
    ):
        compare_on_episodes(estimators, X, y, class_groups=np.arange(len(y)) % 2, **params)


@pytest.mark.parametrize(("groups", "others"), [(False, "others like them"), (True, "those of")])
def test_verdicts_have_a_part_for_other_classes(groups, others):
    """Of data whose second half of features tells nothing."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(12), 8)
    X = np.hstack([3 * np.eye(12)[classes], np.zeros((96, 12))]) + rng.normal(size=(96, 24))
    scored = {
        name: episodic_score(FewShotClassifier(), part, classes, n_query=5, n_episodes=100)
        for name, part in {"all": X, "useless": X[:, 12:]}.items()
    }
    compared = EpisodicComparison(scored, class_groups=np.arange(12) // 2 if groups else None)
    assert f" on these classes, and on {others}" in compared.verdict
    few = EpisodicComparison({name: result_of([0.9, 0.8, 0.95]) for name in "ab"})
    assert "others" not in few.verdict


def test_one_estimator_has_no_verdict():
    compared = EpisodicComparison({"a": result_of([0.5, 0.7])})
    assert compared.verdict == ""
    assert str(compared).splitlines()[-1] == (
        "(5-way 1-shot, 15 queries, 2 episodes, interval over episodes)"
    )


def test_other_scores_are_told_in_their_own_units():
    compared = EpisodicComparison(
        {
            "a": result_of([-0.3, -0.2, -0.1], "neg_log_loss"),
            "b": result_of([-1.3, -1.1, -1.2], "neg_log_loss"),
        }
    )
    assert compared.verdict == "a is better than b by 1 ± 0.25 on these classes."


def test_comparisons_become_data_frames(monkeypatch):
    pytest.importorskip("pandas")
    scores = {"a": [0.5, 0.5, 0.5, 0.5], "b": [0.7, 0.5, 0.4, 0.8]}
    compared = EpisodicComparison({name: result_of(part) for name, part in scores.items()})
    frame = compared.to_frame()
    assert frame.index.tolist() == ["a", "b"]
    assert frame["wins"].tolist() == [0.0, 0.5]
    difference = compared.difference("b")
    columns = ["difference", "difference_low", "difference_high"]
    assert frame.loc["b", columns].tolist() == list(difference[:3])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"EpisodicComparison\.to_frame needs pandas"):
        compared.to_frame()


def test_differences_of_different_episodes_are_refused():
    compared = EpisodicComparison(
        {
            name: episodic_score(learner, X, y, **PARAMS | {"random_state": seed})
            for name, seed in (("a", 0), ("again", 0), ("b", 1))
        }
    )
    assert compared.difference("again").half_width == 0.0
    with pytest.raises(ValueError, match=r"'b' and 'a' have different ones\. Score both with"):
        compared.difference("b")
    unequal = EpisodicComparison({"a": result_of([0.5] * 4), "b": result_of([0.5])})
    with pytest.raises(ValueError, match="have different ones"):
        unequal.difference("b")
    with pytest.raises(ValueError, match=r"No estimator is called 'c'\. There are \['a', 'b'\]"):
        unequal.difference("c")


# ------------------------------------------------------------------ baselines


@pytest.fixture(autouse=True)
def few_episodes_to_tune_on(monkeypatch):
    monkeypatch.setattr(_baselines, "TUNING_EPISODES", 4)


def test_baselines_are_raw_and_after_every_fitted_pipeline():
    estimators = {
        "learner": learner,
        "pipe": pipe,
        "unfitted": make_pipeline(StandardScaler(), KNeighborsClassifier(1)),
    }
    compared = compare_on_episodes(estimators, X, y, baselines=True, **PARAMS)
    assert list(compared.results) == [*estimators, *SUPPORT_BASELINES, *after("pipe")]
    for name, baseline in support_baselines().items():
        raw = episodic_score(baseline, X, y, **PARAMS)
        scaled = episodic_score(baseline, X, y, preprocess=pipe[:-1], **PARAMS)
        assert_array_equal(compared.results[name].scores, raw.scores)
        assert_array_equal(compared.results[f"{name} after pipe"].scores, scaled.scores)


def test_baselines_come_after_the_best_pipeline_of_a_search():
    scorer = EpisodicScorer(n_way=2, n_query=2, n_episodes=3)
    search = GridSearchCV(make_pipeline(StandardScaler(), tiny()), {}, cv=ClassKFold(2))
    search.set_params(scoring=scorer).fit(X_base, y_base)
    compared = compare_on_episodes({"search": search}, X, y, baselines=True, **PARAMS)
    assert list(compared.results) == ["search", *SUPPORT_BASELINES, *after("search")]


@pytest.mark.parametrize(("n_shot", "there"), [(1, False), ((1, 3), False), (2, True)])
def test_discriminant_analysis_needs_two_examples(n_shot, there):
    compared = compare_on_episodes({"a": pipe}, X, y, baselines=True, n_shot=n_shot, **PARAMS)
    assert ("shrinkage LDA" in compared.results) == there
    assert ("shrinkage LDA after a" in compared.results) == there


def test_the_best_baseline_is_named():
    compared = compare_on_episodes({"learner": learner}, X, y, baselines=True, **PARAMS)
    assert compared.baselines == tuple(SUPPORT_BASELINES)
    best = max(SUPPORT_BASELINES, key=lambda name: compared.results[name].mean)
    assert compared.best_baseline == best
    assert f"Best of {len(SUPPORT_BASELINES)} baselines: {best}." in str(compared)
    assert compare_on_episodes({"a": learner}, X, y, **PARAMS).best_baseline is None


def test_the_penalty_is_chosen_on_the_base_classes():
    rng = np.random.default_rng(0)
    y_all = np.repeat(np.arange(12), 8)
    X_all = np.column_stack([y_all % 3, y_all // 3]) + 0.05 * rng.normal(size=(96, 2))
    tuned = tuned_logistic_regression(X_all, y_all, n_way=3, n_shot=3)
    scores = {
        penalty: episodic_score(
            LogisticRegression(C=penalty, max_iter=1000),
            X_all,
            y_all,
            n_way=3,
            n_shot=3,
            n_query=5,
            n_episodes=4,
        ).mean
        for penalty in PENALTIES
    }
    assert scores[tuned.C] == max(scores.values()) > min(scores.values())
    copies = np.round(X_all)  # warnings are errors here: equal rows of the base are not warned of
    assert tuned_logistic_regression(copies, y_all, n_way=3, n_shot=3).C in PENALTIES
    one_large_class = y_all == 3
    assert tuned_logistic_regression(X_all[one_large_class], y_all[one_large_class], 3, 3).C == 1.0


def test_base_classes_give_other_baselines():
    base = (X_base.tolist(), y_base.tolist())
    compared = compare_on_episodes({"pipe": pipe}, X, y, baselines=True, base=base, **PARAMS)
    scaler = StandardScaler().fit(X_base)
    before_each = {"": FunctionTransformer(), " scaled": scaler, " after pipe": pipe[:-1]}
    for suffix, before in before_each.items():
        tuned = tuned_logistic_regression(before.transform(X_base), y_base, PARAMS["n_way"], 1)
        expected = episodic_score(tuned, X, y, preprocess=before, **PARAMS)
        found = compared.results[f"tuned logistic regression{suffix}"]
        assert_array_equal(found.scores, expected.scores)
        lda = base_class_lda(before.transform(X_base), y_base)
        unit = centred_unit_length(lda.transform(before.transform(X_base)))
        for name, steps in {
            "SimpleShot": [centred_unit_length(before.transform(X_base))],
            "base-class LDA": [lda],
            "base-class LDA, unit length": [lda, unit],
        }.items():
            preprocess = make_pipeline(before, *steps)
            expected = episodic_score(NearestCentroid(), X, y, preprocess=preprocess, **PARAMS)
            assert_array_equal(compared.results[name + suffix].scores, expected.scores)


def test_simple_shot_is_that_of_the_paper():
    mean = X_base.mean(axis=0)
    expected = (X - mean) / np.sqrt(((X - mean) ** 2).sum(axis=1, keepdims=True))
    assert_allclose(centred_unit_length(X_base).transform(X), expected, rtol=1e-6)


@pytest.mark.parametrize("as_list", [False, True])
def test_images_are_flattened_for_baselines(as_list):
    def pictures(X):
        return X.repeat(4, axis=1).reshape(-1, 1, 4, 4)

    images = pictures(X)
    small = ProtoNetClassifier(
        backbone="mlp", max_epochs=1, episodes_per_epoch=2, random_state=0
    ).fit(pictures(X_base), y_base)
    compared = compare_on_episodes(
        {"small": small},
        images.tolist() if as_list else images,
        y,
        baselines=True,
        base=(pictures(X_base), y_base),
        **PARAMS,
    )
    whole = [*SUPPORT_BASELINES, *OF_BASE]
    assert list(compared.results) == ["small", *whole, *(f"{name} scaled" for name in whole)]
    raw = episodic_score(NearestCentroid(), images.reshape(len(y), -1), y, **PARAMS)
    assert_array_equal(compared.results["nearest centroid"].scores, raw.scores)


def test_categories_have_baselines_after_their_encoder_only():
    pd = pytest.importorskip("pandas")

    def frame(X):
        kinds = np.where(X[:, 0] > 0, "positive", "negative")
        return pd.DataFrame(X[:, 1:], columns=list("abc")).assign(kind=kinds)

    encoder = make_column_transformer(
        (OneHotEncoder(), ["kind"]), (StandardScaler(), ["a", "b", "c"]), sparse_threshold=0
    )
    encoded = make_pipeline(encoder, tiny()).fit(frame(X_base), y_base)
    compared = compare_on_episodes(
        {"p": encoded}, frame(X), y, baselines=True, base=(frame(X_base), y_base), **PARAMS
    )
    assert list(compared.results) == ["p", *after("p"), *(f"{it} after p" for it in OF_BASE)]


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("estimators", "params", "error", "message"),
    [
        ({}, {}, TypeError, r"takes a dict of names and estimators, at least one\. Got {}"),
        (pipe, {}, TypeError, "takes a dict of names and estimators"),
        ({"a": LinearRegression()}, {}, TypeError, "compare_on_episodes takes a learner or a cl"),
        ({"a": pipe}, {"scoring": "acuracy"}, ValueError, "'scoring' parameter of compare_on_e"),
        ({"a": pipe}, {"n_way": 9}, ValueError, "'n_way' parameter of compare_on_episodes"),
        ({"a": pipe}, {"episodes": 5}, TypeError, "must be an EpisodeSplit, FrozenEpisodes or No"),
        ({"a": pipe}, {"base": (X_base, y_base)}, ValueError, "'base' .* Pass baselines=True"),
        (
            {"nearest centroid": pipe},
            {"baselines": True},
            ValueError,
            r"baselines of the names \['nearest centroid'\]\. Rename",
        ),
        ({1: pipe}, {}, TypeError, r"names must be text\. Got 1"),
        (
            {"a": pipe},
            {"baselines": True, "base": X_base},
            ValueError,
            r"'base' parameter of compare_on_episodes must be \(X_base, y_base\)",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(estimators, params, error, message):
    with pytest.raises(error, match=message):
        compare_on_episodes(estimators, X, y, **PARAMS | params)
