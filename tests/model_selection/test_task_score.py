"""Evaluation of few-shot regression: one function, splits, scikit-learn and loops agree."""

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer, mean_absolute_error
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    FewShotRegressor,
    NeuralProcessRegressor,
    ProtoNetClassifier,
    RidgeNetRegressor,
    adapt,
)
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.model_selection import TaskSplit, task_baselines, task_score

X, y, TASKS = make_sinusoids(n_tasks=30, n_samples=16, random_state=0)
BASE = TASKS < 20
NEW = X[~BASE], y[~BASE], TASKS[~BASE]
SIZE = {"n_shot": 4, "n_query": 6, "n_episodes": 60, "random_state": 3}
BUDGET = {"n_shot": (1, 8), "n_query": 5, "max_epochs": 1, "episodes_per_epoch": 64}
BUDGET |= {"refit": False, "random_state": 0}


@pytest.fixture(scope="module", params=[RidgeNetRegressor, NeuralProcessRegressor])
def learner(request):
    return request.param(**BUDGET).fit(X[BASE], y[BASE], tasks=TASKS[BASE])


@pytest.mark.parametrize("n_shot", [4, (1, 6)])
def test_support_and_queries_are_other_rows_of_one_task(n_shot):
    split = TaskSplit(40, n_shot=n_shot, n_query=6, random_state=0)
    assert split.get_n_splits() == 40
    sizes = set()
    for support, query in split.split(X, groups=TASKS):
        assert len({*TASKS[support], *TASKS[query]}) == 1
        assert len({*support, *query}) == len(support) + 6
        sizes.add(len(support))
    assert sizes == ({4} if n_shot == 4 else set(range(1, 7)))


def test_without_tasks_there_is_one():
    support, query = next(TaskSplit(1, n_shot=3, n_query=2).split(X))
    assert len({*support, *query}) == 5


@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2", "neg_mean_absolute_error"])
@pytest.mark.parametrize("n_shot", [4, (1, 8)])
def test_many_episodes_at_a_time_are_one_after_another(learner, scoring, n_shot):
    size = SIZE | {"n_shot": n_shot}
    scorer, split = (
        get_scorer(scoring),
        TaskSplit(60, **{k: size[k] for k in size if k != "n_episodes"}),
    )
    expected = [
        scorer(learner.adapt(NEW[0][support], NEW[1][support]), NEW[0][query], NEW[1][query])
        for support, query in split.split(NEW[0], groups=NEW[2])
    ]
    result = task_score(learner, *NEW, scoring=scoring, **size)
    np.testing.assert_allclose(result.scores, expected, rtol=1e-4, atol=1e-5)
    by_sklearn = cross_val_score(
        FewShotRegressor(learner), *NEW[:2], groups=NEW[2], cv=split, scoring=scoring
    )
    np.testing.assert_allclose(by_sklearn, expected)


def test_a_callable_gets_an_adapted_regressor(learner):
    def absolute(regressor, X, y):
        assert regressor.n_support_ == 4
        return -mean_absolute_error(y, regressor.predict(X))

    expected = task_score(learner, *NEW, scoring="neg_mean_absolute_error", **SIZE).scores
    found = task_score(learner, *NEW, scoring=absolute, **SIZE)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-5)
    assert str(found).endswith("(absolute, 4-shot, 6 queries, 60 episodes, interval over episodes)")


def test_the_outer_shape_of_a_learner_makes_no_difference(learner):
    expected = task_score(learner, *NEW, **SIZE).scores
    for same in (
        adapt(learner, X[:3], y[:3]),
        FewShotRegressor(learner),
        make_pipeline(StandardScaler(with_mean=False, with_std=False).fit(X), learner),
    ):
        np.testing.assert_array_equal(task_score(same, *NEW, **SIZE).scores, expected)
    np.testing.assert_array_equal(task_score(learner, *NEW, n_jobs=2, **SIZE).scores, expected)


def test_any_other_regressor_is_fitted_on_every_support_set():
    split = TaskSplit(60, n_shot=4, n_query=6, random_state=3)
    for regressor in (Ridge(), FewShotRegressor(), make_pipeline(StandardScaler(), Ridge())):
        expected = cross_val_score(
            regressor, *NEW[:2], groups=NEW[2], cv=split, scoring="neg_mean_squared_error"
        )
        np.testing.assert_allclose(task_score(regressor, *NEW, **SIZE).scores, expected)


def test_baselines_are_what_they_are_called():
    baselines = task_baselines(X[BASE], y[BASE])
    assert list(task_baselines()) == list(baselines)[:2]
    scores = {name: task_score(it, *NEW, **SIZE).scores for name, it in baselines.items()}
    mean = task_score(DummyRegressor(), *NEW, **SIZE).scores
    np.testing.assert_array_equal(scores["mean of the support"], mean)
    trees = baselines["boosted trees on the base"].regressor
    split = TaskSplit(60, n_shot=4, n_query=6, random_state=3)
    for number, (support, query) in enumerate(split.split(NEW[0], groups=NEW[2])):
        answers, residual = (
            trees.predict(NEW[0][query]),
            NEW[1][support] - trees.predict(NEW[0][support]),
        )
        for name, shift in (
            ("boosted trees on the base", 0.0),
            ("the same + mean residual", residual.sum() / 5),
        ):
            error = np.mean((answers + shift - NEW[1][query]) ** 2)
            np.testing.assert_allclose(-scores[name][number], error)


def test_baselines_take_several_targets():
    Y = np.column_stack([y, -y])
    for it in task_baselines(X[BASE], Y[BASE]).values():
        assert task_score(it, NEW[0], Y[~BASE], NEW[2], **SIZE).mean < 0


def test_tasks_that_are_too_small_are_named():
    few = np.where(np.arange(len(TASKS)) < 3, "small", "large")
    with pytest.raises(
        ValueError, match=r"queries in every task\. Got 4\. Task 'small' has 3 exam"
    ):
        task_score(Ridge(), X, y, few, **SIZE)
    for call, match in (
        (lambda: task_score(Ridge(), X, y, TASKS[:4]), "inconsistent"),
        (
            lambda: task_score(Ridge(), X, y, TASKS, n_episodes=0),
            "'n_episodes' parameter of task_sc",
        ),
        (lambda: task_score(Ridge(), X, y, TASKS, scoring="nonsense"), "'scoring' parameter"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(TypeError, match=r"task_score takes a regressor. Got NearestCentroid"):
        task_score(NearestCentroid(), X, y, TASKS, **SIZE)


def test_learners_of_another_kind_or_not_fitted_are_refused():
    with pytest.raises(NotFittedError):
        task_score(RidgeNetRegressor(), *NEW, **SIZE)
    classifier = ProtoNetClassifier(n_shot=1, n_query=2, max_epochs=0, validation_fraction=0.0)
    classifier.fit(np.repeat(np.eye(2), 3, axis=0), np.repeat([0, 1], 3))
    with pytest.raises(TypeError, match=r"must be a fitted regressor.*FewShotClassifier"):
        task_score(classifier, *NEW, **SIZE)


@pytest.mark.parametrize("missing", [np.nan, np.datetime64("NaT"), None])
def test_a_sample_without_a_task_is_named(missing):
    tasks = TASKS.astype("M8[D]" if isinstance(missing, np.datetime64) else object)
    tasks[4] = missing
    with pytest.raises(ValueError, match=r"tasks lacks 1 .*first at position 4"):
        task_score(Ridge(), X, y, tasks, **SIZE)
    with pytest.raises(ValueError, match=r"tasks lacks 1 .*first at position 4"):
        next(TaskSplit(2, n_shot=1, n_query=1).split(X, groups=tasks))
