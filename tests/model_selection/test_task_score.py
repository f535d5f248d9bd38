"""Few-shot regression is scored on the same episodes for everyone."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_absolute_error, mean_squared_error
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import FewShotRegressor, ProtoNetClassifier, RidgeNetRegressor
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.model_selection import TaskSplit, task_baselines, task_score

X, y, TASKS = make_sinusoids(n_tasks=30, n_samples=20, random_state=0)
CLASSIFIER = ProtoNetClassifier(n_shot=1, n_query=2, max_epochs=0, validation_fraction=0.0)
CLASSIFIER.fit(np.repeat(np.eye(2), 3, axis=0), np.repeat([0, 1], 3))
BUDGET = {"n_shot": 5, "max_epochs": 1, "episodes_per_epoch": 160, "lr": 3e-3, "random_state": 0}
EPISODES = {"n_episodes": 12, "n_shot": (2, 6), "n_query": 4, "random_state": 3}


@pytest.fixture(scope="module")
def learner():
    learner = RidgeNetRegressor(**BUDGET)
    return learner.fit(X, y, tasks=TASKS)


def loop(regressor, scorer):
    """Score by scikit-learn, an episode at a time."""
    split = TaskSplit(**EPISODES)
    return cross_val_score(regressor, X, y, groups=TASKS, cv=split, scoring=scorer)


@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2", "neg_mean_absolute_error"])
def test_scores_are_those_of_a_loop(learner, scoring):
    for it, looped in ((learner, FewShotRegressor(learner)), (Ridge(), Ridge())):
        found = task_score(it, X, y, TASKS, scoring=scoring, **EPISODES)
        np.testing.assert_allclose(found.scores, loop(looped, scoring), rtol=1e-3, atol=1e-4)


def test_a_callable_scorer_gets_an_adapted_regressor(learner):
    scorer = make_scorer(mean_absolute_error)
    found = task_score(learner, X, y, TASKS, scoring=scorer, **EPISODES).scores
    named = task_score(learner, X, y, TASKS, scoring="neg_mean_absolute_error", **EPISODES).scores
    np.testing.assert_allclose(found, -named, rtol=1e-4)


def test_processes_and_pipelines_change_nothing(learner):
    expected = task_score(learner, X, y, TASKS, **EPISODES).scores
    parallel = task_score(learner, X, y, TASKS, n_jobs=2, **EPISODES).scores
    np.testing.assert_array_equal(parallel, expected)
    scaler = StandardScaler().fit(X / 7.0)  # undoes the division, up to a constant factor
    pipe = make_pipeline(scaler, learner)
    direct = task_score(learner, scaler.transform(X), y, TASKS, **EPISODES).scores
    np.testing.assert_allclose(task_score(pipe, X, y, TASKS, **EPISODES).scores, direct, rtol=1e-4)
    adapted = learner.adapt(X[:3], y[:3])
    np.testing.assert_array_equal(task_score(adapted, X, y, TASKS, **EPISODES).scores, expected)


def test_several_targets_are_scored(learner):
    Y = np.column_stack([y, -y])
    both = task_score(Ridge(), X, Y, TASKS, **EPISODES).mean
    np.testing.assert_allclose(both, task_score(Ridge(), X, y, TASKS, **EPISODES).mean)


def test_an_episode_is_of_one_task_and_its_sides_share_no_row():
    for support, query in TaskSplit(**EPISODES).split(X, groups=TASKS):
        assert len(set(TASKS[support]) | set(TASKS[query])) == 1
        assert not set(support) & set(query)
        assert 2 <= len(support) <= 6
        assert len(query) == 4


def test_all_samples_are_one_task_without_labels():
    scores = task_score(Ridge(), X[:40], y[:40], **EPISODES).scores
    zeros = task_score(Ridge(), X[:40], y[:40], np.zeros(40), **EPISODES).scores
    np.testing.assert_array_equal(scores, zeros)


def test_the_result_says_its_conditions():
    text = str(task_score(Ridge(), X, y, TASKS, n_episodes=5))
    assert "5-shot" in text
    assert "-way" not in text


def test_baselines_are_what_their_names_say():
    base, new = TASKS < 20, TASKS >= 20
    baselines = task_baselines(X[base], y[base])
    assert list(baselines)[:2] == list(task_baselines())
    support, query = (X[new][:5], y[new][:5]), (X[new][5:20], y[new][5:20])
    mean = baselines["mean of the support"].fit(*support).predict(query[0])
    np.testing.assert_allclose(mean, support[1].mean())
    trees, shifted = (list(baselines.values())[i].fit(*support) for i in (2, 3))
    residual = (support[1] - trees.predict(support[0])).sum() / 6
    expected = trees.predict(query[0]) + residual
    np.testing.assert_allclose(shifted.predict(query[0]), expected)
    for regressor in baselines.values():
        score = task_score(regressor, X[new], y[new], TASKS[new], **EPISODES)
        assert np.isfinite(score.scores).all()
    assert mean_squared_error(query[1], expected) > 0


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        (
            {"n_shot": 17},
            ValueError,
            "Task 0 has 20 examples, too few like those of 29 other",
        ),
        ({"n_episodes": 0}, ValueError, "'n_episodes' parameter of task_score must be an int"),
        ({"tasks": TASKS[:3]}, ValueError, "inconsistent numbers of samples"),
        ({"y": TASKS.astype(str) + "a"}, ValueError, "y of task_score must hold numbers"),
        ({"y": np.full(len(y), np.nan)}, ValueError, "contains NaN"),
        ({"estimator": CLASSIFIER}, TypeError, "must be a fitted regressor.*FewShotClassifier"),
        ({"estimator": RidgeNetRegressor()}, NotFittedError, "not fitted"),
        ({"estimator": StandardScaler()}, TypeError, "task_score takes a regressor"),
    ],
)
def test_bad_input_is_explained(params, error, match):
    given = {"estimator": Ridge(), "X": X, "y": y, "tasks": TASKS} | params
    with pytest.raises(error, match=match):
        task_score(**given)
