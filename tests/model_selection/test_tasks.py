"""Evaluation on episodes whose classes are those of one task."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_fewshot import FewShotClassifier
from sklearn_fewshot.model_selection import (
    ClassKFold,
    EpisodeSplit,
    EpisodicScorer,
    FrozenEpisodes,
    compare_on_episodes,
    episodic_cross_validate,
    episodic_score,
    shot_curve,
)

FIRST = FunctionTransformer(lambda X: X[:, :1])
SETTING = {"n_way": 2, "n_query": 2, "n_episodes": 40}


class SeesTasks(ClassifierMixin, BaseEstimator):
    """Is right where the support set is of the task of the queries and of no other.

    Rows are (task, label).
    """

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.tasks_ = set(X[:, 0])
        return self

    def predict(self, X):
        is_right = set(X[:, 0]) == self.tasks_ and len(self.tasks_) == 1
        return X[:, 1].astype(int) if is_right else np.full(len(X), -1)


@pytest.fixture(scope="module")
def assays():
    """Tasks of two to four labels, six rows of each: X holds task and label."""
    rows = [(task, label) for task in range(6) for label in range(2 + task % 3) for _ in range(6)]
    X = np.random.default_rng(0).permutation(rows).astype(float)
    return X, X[:, 1].astype(int), np.char.add("t", X[:, 0].astype(int).astype(str))


pytestmark = pytest.mark.filterwarnings("ignore:.*equal row in the support set")


@pytest.mark.parametrize("n_way", [2, "all"])
@pytest.mark.parametrize("alpha", [None, 2.0])
def test_episodes_are_of_one_task(assays, n_way, alpha):
    X, y, tasks = assays
    split = EpisodeSplit(50, n_way=n_way, n_query=2, query_alpha=alpha)
    seen = set()
    for support, query in split.split(X, y, tasks=tasks):
        (task,) = set(tasks[support]) | set(tasks[query])
        assert not set(support) & set(query)
        assert set(y[query]) <= set(y[support])
        assert len(support) == len(set(y[support])) == (2 if n_way == 2 else 2 + int(task[1]) % 3)
        np.testing.assert_array_equal(y[support], np.sort(y[support]))
        seen.add(task)
    assert len(seen) == 6


def test_every_way_to_score_takes_tasks(assays):
    X, y, tasks = assays
    estimator = SeesTasks()
    assert episodic_score(estimator, X, y, tasks=tasks, **SETTING).mean == 1.0
    assert episodic_score(estimator, X, y, **SETTING).mean < 0.5
    assert EpisodicScorer(**SETTING)(estimator.fit(X, y), X, y, tasks=tasks) == 1.0
    comparison = compare_on_episodes({"it": estimator}, X, y, tasks=tasks, **SETTING)
    assert comparison.results["it"].mean == 1.0
    curve = shot_curve(estimator, X, y, n_shots=(1, 3), tasks=tasks, **SETTING)
    np.testing.assert_array_equal(curve.mean, 1.0)
    done = episodic_cross_validate(estimator, X, y, tasks=tasks, cv=GroupKFold(2), **SETTING)
    np.testing.assert_array_equal(done.scores, 1.0)


def test_other_names_of_the_tasks_change_no_episode(assays):
    X, y, tasks = assays
    split = EpisodeSplit(20, n_way="all", n_query=2)
    for one, other in zip(
        split.split(X, y, tasks=tasks), split.split(X, y, tasks=-X[:, 0]), strict=True
    ):
        for side in (0, 1):
            np.testing.assert_array_equal(one[side], other[side])


def test_one_task_is_as_none(assays):
    X, y, tasks = assays
    one = tasks == "t2"
    scores = [
        episodic_score(NearestCentroid(), X[one], y[one], tasks=given, **SETTING).scores
        for given in (None, tasks[one])
    ]
    np.testing.assert_array_equal(*scores)


def test_groups_are_kept_apart_within_a_task(assays):
    X, y, tasks = assays
    groups = np.random.default_rng(0).integers(8, size=len(y))
    split = EpisodeSplit(30, n_way=2, n_query=1)
    for support, query in split.split(X, y, groups, tasks):
        assert not set(groups[support]) & set(groups[query])
        assert len(set(tasks[support]) | set(tasks[query])) == 1


def test_results_say_how_many_classes_tasks_have(assays):
    X, y, tasks = assays
    result = episodic_score(SeesTasks(), X, y, tasks=tasks, n_way="all", n_query=2, n_episodes=40)
    assert result.mean == 1.0
    assert "(2 to 4-way" in str(result)


def test_nothing_is_said_of_other_classes_where_these_come_in_tasks(assays):
    X, y, tasks = assays
    noisy = X + np.random.default_rng(0).normal(size=X.shape)
    estimators = {"all": NearestCentroid(), "first": make_pipeline(FIRST, NearestCentroid())}
    found = compare_on_episodes(estimators, noisy, y, tasks=tasks, **SETTING | {"n_episodes": 300})
    assert "on these classes." in found.verdict
    result = found.results["all"]
    with pytest.raises(ValueError, match=r"come together.*class_groups="):
        result.interval_over("classes")
    names = np.char.add(np.char.add(tasks, "/"), y.astype(str))
    unshared = episodic_score(NearestCentroid(), noisy, names, tasks=tasks, **SETTING)
    owner = [name.partition("/")[0] for name in unshared.classes]
    interval = unshared.interval_over("classes", class_groups=owner)
    assert interval.name.endswith("over 6 groups of classes")


def test_frozen_episodes_keep_their_tasks(assays, tmp_path):
    X, y, tasks = assays
    frozen = EpisodeSplit(20, n_way="all", n_query=2).freeze(X, y, tasks=tasks)
    frozen.save(tmp_path / "episodes.npz")
    again = FrozenEpisodes.load(tmp_path / "episodes.npz")
    assert again.n_way == (2, 4)
    assert episodic_score(SeesTasks(), X, y, episodes=again).mean == 1.0


def test_learners_and_classifiers_have_the_same_episodes(assays):
    X, y, tasks = assays
    noisy = X + np.random.default_rng(0).normal(scale=2.0, size=X.shape)
    setting = {"tasks": tasks, "n_way": "all", "n_query": 3, "n_episodes": 50}
    identity = FewShotClassifier().fit(noisy[:8], y[:8])
    scores = [
        episodic_score(estimator, noisy, y, **setting).scores
        for estimator in (identity, NearestCentroid())
    ]
    np.testing.assert_allclose(*scores)


def test_whole_tasks_are_split(assays):
    X, y, tasks = assays
    result = episodic_cross_validate(NearestCentroid(), X, y, tasks=tasks, **SETTING)
    assert len(result.results) == 10
    assert all(set(names) < set(tasks) for names in result.test_classes)
    lab = X[:, 0].astype(int) // 2
    both = episodic_cross_validate(
        NearestCentroid(), X, y, tasks=tasks, class_groups=lab, cv=GroupKFold(3), **SETTING
    )
    assert {frozenset(names) for names in both.test_classes} == {
        frozenset({"t0", "t1"}),
        frozenset({"t2", "t3"}),
        frozenset({"t4", "t5"}),
    }


def test_class_splitters_name_what_splits_tasks(assays):
    X, y, tasks = assays
    with pytest.raises(ValueError, match=r"Class 0 is in the groups .* GroupKFold"):
        next(ClassKFold(2).split(X, y, tasks))


def test_a_learner_is_trained_within_tasks_too(make_learner, assays):
    X, y, tasks = assays
    noisy = X + np.random.default_rng(0).normal(size=X.shape)
    done = episodic_cross_validate(
        make_learner(n_way=2, n_query=2),
        noisy,
        y,
        tasks=tasks,
        cv=GroupKFold(2),
        return_estimator=True,
        **SETTING,
    )
    assert all(row[0].n_way_ == 2 for row in done.estimators)


# ------------------------------------------------------------------ labels of base classes


def test_labels_of_several_tasks_are_no_sign_of_training_on_the_classes(learner, table):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6))
    y, tasks = np.repeat(np.unique(table.y)[:2], 40), np.tile(["a", "b"], 40)
    setting = {"n_way": 2, "n_query": 2, "n_episodes": 5}
    episodic_score(learner, X, y, tasks=tasks, **setting)
    with pytest.warns(UserWarning, match="trained on 2 of the 2 classes"):
        episodic_score(learner, X, y, **setting)
    episodic_score(learner, X[::2], y[::2], tasks=tasks[::2], **setting)
    own = np.where(tasks == "a", y, np.char.add("own ", y))
    with pytest.warns(UserWarning, match="trained on 2 of the 4 classes"):
        episodic_score(learner, X, own, tasks=tasks, **setting)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_way": 3}, r"of episodic_score must .*smallest task, 2\. Got 3\. Task 't\d' has 2 cl"),
        ({"n_query": 6}, r"Class 0 of task 't\d' has 6 examples"),
        ({"tasks": ["a", "b"]}, r"inconsistent numbers of samples"),
    ],
)
def test_clamped_episodes_are_refused(assays, change, message):
    X, y, tasks = assays
    with pytest.raises(ValueError, match=message):
        episodic_score(NearestCentroid(), X, y, **{"tasks": tasks} | SETTING | change)


def test_a_task_of_one_class_is_named(assays):
    X, y, tasks = assays
    kept = (tasks != "t3") | (y == 1)
    with pytest.raises(ValueError, match=r"which needs two\. Task 't3' has 1 class; give"):
        episodic_score(NearestCentroid(), X[kept], y[kept], tasks=tasks[kept], **SETTING)


def test_a_sample_without_a_task_is_named(assays):
    X, y, _ = assays
    given = X[:, 0].copy()
    given[4] = np.nan
    with pytest.raises(ValueError, match=r"tasks lacks 1 entries .* position 4"):
        episodic_score(NearestCentroid(), X, y, tasks=given, **SETTING)


# ------------------------------------------------------------------ metadata routing


def test_tasks_reach_splitter_and_scorer_by_routing(assays):
    X, y, tasks = assays
    with sklearn.config_context(enable_metadata_routing=True):
        split = EpisodeSplit(10, n_way=2, n_query=2)
        scores = cross_val_score(
            SeesTasks(), X, y, cv=split, params={"tasks": tasks}, error_score="raise"
        )
        np.testing.assert_array_equal(scores, 1.0)
        scores = cross_val_score(
            SeesTasks(),
            X,
            y,
            cv=GroupKFold(2).set_split_request(groups="tasks"),
            scoring=EpisodicScorer(**SETTING).set_score_request(tasks=True),
            params={"tasks": tasks},
            error_score="raise",
        )
        np.testing.assert_array_equal(scores, 1.0)
