"""Open-set scores are what ``score_samples`` and ``predict(reject_label=...)`` say."""

import pickle
import re
import warnings

import numpy as np
import pytest
import scipy.stats
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import FewShotClassifier, MAMLClassifier, ProtoNetClassifier, adapt
from sklearn_fewshot.model_selection import (
    EpisodeSplit,
    EpisodicResult,
    FrozenEpisodes,
    OpenSetResult,
    episodic_score,
)
from sklearn_fewshot.model_selection._calibration_error import calibration_error_interval
from sklearn_fewshot.model_selection._draw import draw_episodes
from sklearn_fewshot.model_selection._open_set_score import OpenSetWorker, score_queries
from sklearn_fewshot.model_selection._split import episode_rows
from sklearn_fewshot.model_selection._unknown_queries import add_unknown
from sklearn_fewshot.utils._random import draw_seed

MEASURES = ("auroc", "false_rejection", "unknown_rejected", "accuracy_of_rest")
SIZES = {"n_way": 3, "n_shot": 4, "n_query": 5, "n_episodes": 12, "random_state": 4}
N_FEATURES = 5


def make_table(prefix, n_classes, n_per_class, seed, spread=2.0):
    """Classes that overlap."""
    rng = np.random.default_rng(seed)
    means = spread * rng.normal(size=(n_classes, 1, N_FEATURES))
    X = means + rng.normal(size=(n_classes, n_per_class, N_FEATURES))
    names = [f"{prefix} {i}" for i in range(n_classes)]
    return X.reshape(-1, N_FEATURES), np.repeat(names, n_per_class)


X_base, y_base = make_table("old", 14, 20, seed=1)
X, y = make_table("new", 8, 16, seed=0)
TINY = {"max_epochs": 1, "episodes_per_epoch": 2, "random_state": 0}
learner = ProtoNetClassifier(**TINY).fit(X_base, y_base)
scaler = StandardScaler().fit(X_base)
pipe = make_pipeline(scaler, ProtoNetClassifier(**TINY).fit(scaler.transform(X_base), y_base))


def plans_of(n_unknown, X=X, y=y, groups=None, tasks=None, sizes=SIZES, episodes=None):
    """Return the episodes, with the unknown queries in columns of their own."""
    if episodes is None:
        kept = {name: value for name, value in sizes.items() if name != "n_episodes"}
        episodes = EpisodeSplit(sizes["n_episodes"], **kept)
    drawn = draw_episodes(episodes, X, y, groups, tasks, "this test")
    seed = draw_seed(sizes["random_state"])
    return drawn.plan, add_unknown(drawn, groups, tasks, n_unknown, seed, "this test")


def by_hand(adapted, n_unknown, reject_rate=0.05, sizes=SIZES, **data):
    """Adapt to each support set and ask the public methods."""
    plan, wide = plans_of(n_unknown, sizes=sizes, **data)
    measures = []
    for (support, query), (_, every) in zip(episode_rows(plan), episode_rows(wide), strict=True):
        clf = adapted(X[support], y[support])
        unknown = every[len(query) :]
        assert_array_equal(every[: len(query)], query)
        scores = np.concatenate([clf.score_samples(X[rows]) for rows in (query, unknown)])
        is_known = np.repeat([1, 0], [len(query), len(unknown)])
        answers, outliers = (
            clf.predict(X[rows], reject_label="none", reject_rate=reject_rate)
            for rows in (query, unknown)
        )
        is_kept = answers != "none"
        right = (answers == y[query])[is_kept]
        measures.append(
            (
                roc_auc_score(is_known, scores),
                1 - is_kept.mean(),
                np.mean(outliers == "none"),
                right.mean() if len(right) else np.nan,
            )
        )
    return dict(zip(MEASURES, np.array(measures).T, strict=True))


def assert_equal_measures(open_set, expected):
    for name in MEASURES:
        assert_allclose(getattr(open_set, name), expected[name], atol=1e-12, err_msg=name)


# ------------------------------------------------------------------ what is computed


@pytest.mark.parametrize("reject_rate", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("n_shot", [1, 4, (2, 6)])
def test_measures_are_those_of_the_adapted_classifier(n_shot, reject_rate):
    sizes = SIZES | {"n_shot": n_shot}
    result = episodic_score(pipe, X, y, n_unknown=4, reject_rate=reject_rate, **sizes)
    expected = by_hand(lambda *support: adapt(pipe, *support), 4, reject_rate, sizes)
    assert_equal_measures(result.open_set, expected)
    assert 0.6 < result.open_set.auroc.mean() < 1.0
    assert result.open_set.reject_rate == reject_rate
    assert result.open_set.n_unknown == 4


@pytest.mark.parametrize("changes", [{"n_way": (2, 4)}, {"query_alpha": 0.5}])
def test_unequal_episodes_are_measured_too(changes):
    sizes = SIZES | changes
    result = episodic_score(learner, X, y, n_unknown=2, **sizes)
    assert_equal_measures(result.open_set, by_hand(learner.adapt, 2, sizes=sizes))
    n_padding = np.isnan(result.open_set.queries.score).sum(axis=1)
    assert n_padding.max() > 0


def test_networks_that_adapt_their_weights_are_measured_too():
    maml = MAMLClassifier(n_steps=2, meta_batch_size=1, multi_step_loss=False, **TINY)
    maml.fit(X_base, y_base)
    sizes = SIZES | {"n_episodes": 4}
    result = episodic_score(maml, X, y, n_unknown=2, **sizes)
    assert_equal_measures(result.open_set, by_hand(maml.adapt, 2, sizes=sizes))


def test_an_adapted_classifier_is_as_good_as_its_learner():
    clf = learner.adapt(X_base[:40], y_base[:40])
    expected = episodic_score(learner, X, y, n_unknown=2, **SIZES).open_set
    found = episodic_score(clf, X, y, n_unknown=2, **SIZES).open_set
    assert_equal_measures(found, vars(expected))


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
def test_scores_of_known_queries_are_those_without_unknown_ones(scoring):
    alone = episodic_score(pipe, X, y, scoring=scoring, **SIZES)
    both = episodic_score(pipe, X, y, scoring=scoring, n_unknown=3, **SIZES)
    assert_array_equal(both.scores, alone.scores)
    assert_array_equal(both.answers.predicted, alone.answers.predicted)
    assert str(both) == str(alone)
    assert alone.open_set is None


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
def test_with_nothing_rejected_the_accuracy_of_the_rest_is_the_score():
    X_far, y_far = make_table("far", 8, 16, seed=0, spread=20.0)
    result = episodic_score(learner, X_far, y_far, n_unknown=2, reject_rate=0.0, **SIZES)
    assert result.open_set.false_rejection.max() == 0.0
    assert_allclose(result.open_set.accuracy_of_rest, result.scores)


@pytest.mark.filterwarnings("ignore:X lies more than 10 training standard deviations")
def test_far_outliers_are_told_apart_and_rejected():
    is_far = np.isin(y, np.unique(y)[:2])
    X_far = X + 300.0 * is_far[:, None]
    near = np.flatnonzero(~is_far)
    sizes = {"n_way": 6, "n_shot": 4, "n_query": 5}
    known = EpisodeSplit(10, **sizes, random_state=0).freeze(X[near], y[near])._episodes
    frozen = FrozenEpisodes(near[known.support], near[known.query], known.classes + 2, y=y, **sizes)
    open_set = episodic_score(learner, X_far, y, episodes=frozen, n_unknown=2).open_set
    assert_array_equal(open_set.auroc, 1.0)
    assert_array_equal(open_set.unknown_rejected, 1.0)


def test_unknown_queries_of_the_same_distribution_cannot_be_told_apart():
    rng = np.random.default_rng(0)
    noise, names = rng.normal(size=(800, N_FEATURES)), np.repeat(np.arange(20), 40)
    open_set = episodic_score(
        learner, noise, names, n_unknown=5, n_episodes=100, n_query=30, random_state=0
    ).open_set
    interval = open_set.interval("auroc")
    assert interval.low < 0.5 < interval.high
    assert interval.half_width < 0.02
    assert_allclose(open_set.false_rejection.mean(), open_set.unknown_rejected.mean(), atol=0.02)


def test_other_labels_change_nothing():
    renamed = np.array([f"class {9 - int(name[-1])}" for name in y])  # in the opposite order
    episodes = EpisodeSplit(8, n_way=3, n_shot=4, n_query=5, random_state=0).freeze(X, y)
    rows, sizes = episodes._episodes, {"n_way": 3, "n_shot": 4, "n_query": 5}
    backwards = FrozenEpisodes(
        rows.support[:, ::-1], rows.query[:, ::-1], 7 - rows.classes[:, ::-1], y=renamed, **sizes
    )
    one = episodic_score(learner, X, y, episodes=episodes, n_unknown=3)
    other = episodic_score(learner, X, renamed, episodes=backwards, n_unknown=3)
    assert_equal_measures(other.open_set, vars(one.open_set))
    assert other.open_set.calibration_error == pytest.approx(one.open_set.calibration_error)


def test_a_query_that_scores_the_threshold_is_kept():
    clf = learner.adapt(X[:48:4], y[:48:4])
    scores = clf.score_samples(X)
    clf._threshold = lambda support, rate: np.full(3, np.median(scores[:-1]))  # of an odd number
    queries = score_queries(clf, X, y, np.isin(y, clf.classes_), 0.05)
    answers = clf.predict(X, reject_label="none")
    assert_array_equal(queries.is_rejected, answers == "none")
    assert queries.is_rejected[:-1].sum() == (len(X) - 2) / 2


def test_warnings_of_the_classifier_come_once():
    doubled, names = np.concatenate([X, X]), np.concatenate([y, np.roll(y, 16)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        episodic_score(learner, doubled, names, scoring="f1_macro", n_unknown=2, **SIZES)
    conflicts = [it for it in caught if "examples of the support set have" in str(it.message)]
    assert len(conflicts) == 1


# ------------------------------------------------------------------ which queries are unknown


def test_unknown_classes_are_others_with_as_many_queries():
    plan, wide = plans_of(4)
    assert wide.classes.shape == (12, 7)
    assert_array_equal(wide.classes[:, :3], plan.classes)
    for (_, every), classes in zip(episode_rows(wide), wide.classes, strict=True):
        assert len(set(classes)) == 7
        assert_array_equal(np.repeat(classes, 5), np.unique(y, return_inverse=True)[1][every])
        assert len(set(every)) == len(every)
    assert np.all(wide.support[:, 3:] == -1)


def test_all_other_classes_are_equally_likely():
    sizes = SIZES | {"n_episodes": 4000}
    *_, wide = plans_of(2, sizes=sizes)
    times = np.bincount(wide.classes[:, 3:].ravel(), minlength=8)
    assert scipy.stats.chisquare(times).pvalue > 1e-3


def test_episodes_may_use_every_class():
    *_, wide = plans_of(5)
    assert_array_equal(np.sort(wide.classes, axis=1), np.broadcast_to(np.arange(8), (12, 8)))


def test_unknown_queries_share_no_group_with_the_support_set():
    groups = np.tile(np.arange(4), len(y) // 4)
    sizes = SIZES | {"n_shot": 1}
    *_, wide = plans_of(5, groups=groups, sizes=sizes)
    n_shared = [
        np.isin(groups[every], groups[support]).sum() for support, every in episode_rows(wide)
    ]
    assert max(n_shared) == 0
    *_, without = plans_of(5, sizes=sizes)
    assert any(np.isin(groups[e], groups[s]).any() for s, e in episode_rows(without))
    result = episodic_score(learner, X, y, groups=groups, n_unknown=5, **sizes)
    expected = by_hand(learner.adapt, 5, sizes=sizes, groups=groups)
    assert_equal_measures(result.open_set, expected)


def test_unknown_classes_are_of_the_task_of_the_support_set():
    order = np.random.default_rng(0).permutation(len(y))
    codes = np.unique(y, return_inverse=True)[1][order]
    tasks = np.array(["a", "b"])[codes // 4]
    plan, wide = plans_of(1, X=X[order], y=y[order], tasks=tasks)
    assert_array_equal(wide.classes[:, 3] // 4, plan.classes[:, 0] // 4)
    labels = np.array(["w", "x", "y", "z"])[codes % 4]  # each label in both tasks
    _, shared = plans_of(1, y=labels, tasks=tasks)
    for support, every in episode_rows(shared):
        assert len(set(tasks[np.append(support, every)])) == 1
    assert_array_equal(np.sort(shared.classes, axis=1), np.broadcast_to(np.arange(4), (12, 4)))


def test_given_episodes_draw_their_unknown_queries_by_the_seed():
    episodes = EpisodeSplit(6, n_way=3, n_shot=4, n_query=5, random_state=4)
    frozen = episodes.freeze(X, y)
    scores = [
        episodic_score(learner, X, y, episodes=given, n_unknown=2, random_state=seed).open_set
        for given, seed in ((episodes, 4), (frozen, 4), (frozen, 5))
    ]
    assert_equal_measures(scores[0], vars(scores[1]))
    assert np.any(scores[1].auroc != scores[2].auroc)
    several = episodic_score(
        learner, X, y, episodes=[frozen, episodes], n_unknown=2, random_state=4
    )
    for result in several:
        assert_equal_measures(result.open_set, vars(scores[0]))


def test_results_do_not_depend_on_jobs():
    sizes = SIZES | {"n_episodes": 60}
    one = episodic_score(learner, X, y, n_unknown=2, **sizes).open_set
    with parallel_config("threading"):
        two = episodic_score(learner, X, y, n_unknown=2, n_jobs=2, **sizes).open_set
    assert_equal_measures(two, vars(one))


def test_work_goes_to_other_processes_unchanged():
    worker = OpenSetWorker(learner._network, learner._network.encode(X), y, 0.05)
    *_, wide = plans_of(2)
    there = pickle.loads(pickle.dumps(worker))(wide)
    for found, expected in zip(there, worker(wide), strict=True):
        assert_array_equal(found, expected)


# ------------------------------------------------------------------ the calibration error


def test_calibration_error_is_that_of_the_probabilities_of_all_known_queries():
    clf_gaps, n_queries = np.zeros(15), 0
    plan, _ = plans_of(2)
    for support, query in episode_rows(plan):
        clf = learner.adapt(X[support], y[support])
        proba = clf.predict_proba(X[query])
        is_right = clf.classes_[proba.argmax(axis=1)] == y[query]
        for confidence, right in zip(proba.max(axis=1), is_right, strict=True):
            clf_gaps[int(np.ceil(confidence * 15)) - 1] += float(right) - confidence
        n_queries += len(query)
    open_set = episodic_score(learner, X, y, n_unknown=2, **SIZES).open_set
    assert open_set.calibration_error == pytest.approx(np.abs(clf_gaps).sum() / n_queries)
    interval = open_set.interval("calibration_error")
    assert interval.mean == open_set.calibration_error
    assert 0.0 <= interval.low < interval.mean < interval.high
    assert interval.name == "95 % bootstrap interval over 12 episodes"


@pytest.mark.parametrize("error", [0.0, 0.05])
def test_the_interval_of_the_calibration_error_has_its_confidence(error):
    rng = np.random.default_rng(0)
    n_episodes, n_queries = 40, 50
    n_covered = 0
    for _ in range(100):
        confidence = rng.uniform(0.3, 0.9, size=(n_episodes, n_queries))
        is_right = rng.random(confidence.shape) < confidence + error
        gaps = np.zeros((n_episodes, 15))
        place = np.ceil(confidence * 15).astype(int) - 1
        np.add.at(gaps, (np.arange(n_episodes)[:, None], place), is_right - confidence)
        _, low, high, _ = calibration_error_interval(gaps, np.full(n_episodes, n_queries), "it")
        n_covered += low <= error <= high
    assert n_covered >= 88


# ------------------------------------------------------------------ intervals and texts


def made_up(**changes):
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(0.2, 0.9, size=20) for name in MEASURES}
    return OpenSetResult(**(values | {"n_unknown": 5} | changes))


@pytest.mark.parametrize("name", MEASURES)
def test_intervals_are_those_of_scores(name):
    open_set = made_up()
    values = getattr(open_set, name)
    expected = EpisodicResult(values, 5, 1, 15, "accuracy").interval_over()
    assert open_set.interval(name) == expected


def test_episodes_without_a_kept_query_have_no_accuracy_and_are_counted():
    rest = np.linspace(0.5, 1.0, 20)
    rest[:3] = np.nan
    open_set = made_up(accuracy_of_rest=rest)
    interval = open_set.interval("accuracy_of_rest")
    assert interval.mean == pytest.approx(rest[3:].mean())
    assert interval.name.endswith("over 17 episodes")
    assert re.search(r"accuracy of the rest 78.95 .* % in 17 episodes \(5 unknown", str(open_set))
    none = made_up(accuracy_of_rest=np.full(20, np.nan))
    assert np.isnan(none.interval("accuracy_of_rest").mean)
    assert "every known query is rejected" in none.interval("accuracy_of_rest").name


def test_a_single_episode_has_means_without_intervals():
    sizes = SIZES | {"n_episodes": 1}
    open_set = episodic_score(learner, X, y, n_unknown=2, **sizes).open_set
    for name in (*MEASURES, "calibration_error"):
        interval = open_set.interval(name)
        assert np.isfinite(interval.mean)
        assert np.isnan([interval.low, interval.high]).all()
    assert "1 episode, interval over episodes)" in str(open_set)


def test_the_line_to_report_names_everything():
    values = {name: np.tile([0.5, 0.7], 10) for name in MEASURES}
    open_set = OpenSetResult(**values, n_unknown=1, reject_rate=0.1)
    share = "60.00 ± 4.91 %"
    assert str(open_set) == (
        f"AUROC {share}, rejected {share} of known and {share} of unknown queries, accuracy "
        f"of the rest {share} (1 unknown class, reject_rate=0.1, 20 episodes, interval over "
        "episodes)"
    )
    assert repr(open_set) == f"<OpenSetResult: {open_set}>"
    measured = episodic_score(learner, X, y, n_unknown=2, **SIZES).open_set
    assert ", calibration error " in str(measured)
    for text in ("AUROC", "unknown queries rejected", "calibration error", "12 episodes"):
        assert text in measured._repr_html_()


def test_frames_and_strata_have_the_measures():
    pytest.importorskip("pandas")
    sizes = SIZES | {"n_way": (2, 4)}
    result = episodic_score(learner, X, y, n_unknown=2, **sizes)
    frame = result.to_frame()
    for name in MEASURES:
        assert_array_equal(frame[name], getattr(result.open_set, name))
    assert "auroc" not in result.to_frame("class")
    parts = result.by("n_way")
    for n_way, part in parts.items():
        at = frame["n_way"] == n_way
        assert_array_equal(part.open_set.auroc, frame["auroc"][at])
        assert_array_equal(part.to_frame()["auroc"], frame["auroc"][at])
        assert len(part.open_set.queries.score) == at.sum()
    with pytest.raises(ValueError, match="Episodes can be grouped by"):
        result.by("auroc")


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "estimator",
    [
        NearestCentroid(),
        make_pipeline(StandardScaler(), NearestCentroid()),
        FewShotClassifier(),
        FewShotClassifier().fit(X, y),
        ProtoNetClassifier(**TINY, calibrate=False).fit(X_base, y_base),
    ],
    ids=["classifier", "pipeline", "raw", "raw, fitted", "not calibrated"],
)
def test_what_cannot_reject_is_refused(estimator):
    with pytest.raises(TypeError, match=r"n_unknown scores rejection.* calibrate=True.* Got "):
        episodic_score(estimator, X, y, n_unknown=2, **SIZES)


def test_what_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        episodic_score(ProtoNetClassifier(), X, y, n_unknown=2, **SIZES)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_unknown": 6}, r"at most 5 here: .* 3 of the 8 classes in .* 5 of the other 5.* Got 6"),
        ({"n_unknown": 1, "n_way": "all"}, "at most 0 here: .* 8 of the 8 classes"),
        ({"n_unknown": -1}, "'n_unknown' parameter of episodic_score"),
        ({"n_unknown": 1.5}, "'n_unknown' parameter of episodic_score"),
        ({"n_unknown": 2, "reject_rate": 1.0}, "'reject_rate' parameter of episodic_score"),
        (
            {"n_unknown": 2, "transductive": "alpha_tim"},
            "n_unknown=2 and transductive='alpha_tim' cannot be given together",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        episodic_score(learner, X, y, **SIZES | params)


def test_errors_count_the_classes_of_the_task_and_the_rows_of_other_groups():
    tasks = np.repeat(["a", "b"], len(y) // 2)
    with pytest.raises(ValueError, match=r"at most 1 here: .* 3 of the 4 classes of its task"):
        episodic_score(learner, X, y, tasks=tasks, n_unknown=2, **SIZES)
    first = np.isin(y, np.unique(y)[:3])
    sizes = {"n_way": 3, "n_shot": 4, "n_query": 5}
    rows = EpisodeSplit(3, **sizes, random_state=0).freeze(X[first], y[first])._episodes
    given = FrozenEpisodes(rows.support, rows.query, rows.classes, y=y, **sizes)
    groups = np.where(first, np.arange(len(y)), 1000)  # all others are of one group,
    groups[rows.support[:, 0, 0]] = 1000  # which each support set has
    with pytest.raises(ValueError, match=r"at most 0 here: .* of groups that the support set does"):
        episodic_score(learner, X, y, groups=groups, episodes=given, n_unknown=1)


def test_a_rate_without_unknown_classes_warns():
    with pytest.warns(UserWarning, match="reject_rate=0.1 has no effect without unknown classes"):
        episodic_score(learner, X, y, reject_rate=0.1, **SIZES)


def test_measures_that_there_are_not_are_refused():
    with pytest.raises(
        ValueError, match=r"interval takes auroc, .* or calibration_error. Got 'f1'"
    ):
        made_up().interval("f1")
    with pytest.raises(ValueError, match="no queries to compute the calibration error from"):
        made_up().calibration_error  # noqa: B018
