"""Regressors that adapt their own weights."""

import pickle

import numpy as np
import pytest
from torch import nn

from sklearn_fewshot import MAMLRegressor, ReptileRegressor, load_model, save_model
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.model_selection import task_score

BUDGET = {"max_epochs": 2, "episodes_per_epoch": 50, "n_shot": (1, 10), "random_state": 0}
LEARNERS = {
    "MAML": MAMLRegressor(n_steps=2, **BUDGET),
    "Meta-SGD": MAMLRegressor(n_steps=1, learn_step_size="element", **BUDGET),
    "first-order MAML": MAMLRegressor(first_order=True, learn_step_size=False, **BUDGET),
    "Reptile": ReptileRegressor(n_steps=3, adapt_steps=20, **BUDGET | {"n_shot": 10}),
}


@pytest.fixture(scope="module")
def sinusoids():
    return make_sinusoids(n_tasks=60, n_samples=30, random_state=0)


@pytest.fixture(scope="module", params=LEARNERS.values(), ids=LEARNERS)
def fitted(request, sinusoids):
    """Shared: nobody may refit it."""
    X, y, tasks = sinusoids
    return request.param.fit(X, y, tasks=tasks)


@pytest.fixture(scope="module")
def new():
    X, y, _ = make_sinusoids(n_tasks=1, n_samples=30, random_state=1)
    return X, y


def test_examples_move_the_predictions_towards_them(fitted, new):
    X, y = new
    before, after = fitted.predict(X), fitted.adapt(X, y).predict(X)
    assert np.mean((after - y) ** 2) < np.mean((before - y) ** 2)


def test_the_order_of_the_examples_changes_nothing(fitted, new):
    X, y = new
    expected = fitted.adapt(X[:8], y[:8]).predict(X)
    found = fitted.adapt(X[:8][::-1], y[:8][::-1]).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_query_is_independent_of_the_others(fitted, new):
    X, y = new
    regressor = fitted.adapt(X[:8], y[:8])
    alone = np.concatenate([regressor.predict(x[None]) for x in X])
    np.testing.assert_allclose(alone, regressor.predict(X), rtol=1e-5, atol=1e-6)


def test_more_examples_are_adapted_to_with_the_first(fitted, new):
    X, y = new
    grown = fitted.adapt(X[:3], y[:3]).partial_fit(X[3:8], y[3:8])
    expected = fitted.adapt(X[:8], y[:8]).predict(X)
    np.testing.assert_allclose(grown.predict(X), expected, rtol=1e-5, atol=1e-5)


def test_many_episodes_at_once_are_those_of_one_after_the_other(fitted, sinusoids):
    X, y, tasks = sinusoids
    options = {"n_shot": 5, "n_query": 5, "n_episodes": 6}

    def squared_error(estimator, X, y):
        return -float(np.mean((estimator.predict(X) - y.ravel()) ** 2))

    many = task_score(fitted, X, y, tasks, **options)
    each = task_score(fitted, X, y, tasks, scoring=squared_error, **options)
    np.testing.assert_allclose(many.scores, each.scores, rtol=1e-4)


def test_intervals_are_those_of_held_out_tasks(fitted, new):
    X, y = new
    values, std = fitted.adapt(X[:5], y[:5]).predict(X, return_std=True)
    assert values.shape == std.shape == y.shape
    assert (std > 0).all()
    assert np.ptp(std) == pytest.approx(0.0, abs=1e-9)  # by the number of examples alone


def test_pickles_and_files_predict_the_same(fitted, new, tmp_path):
    X, y = new
    regressor = fitted.adapt(X[:8], y[:8])
    save_model(regressor, tmp_path / "regressor.skops")
    for other in (pickle.loads(pickle.dumps(regressor)), load_model(tmp_path / "regressor.skops")):
        np.testing.assert_allclose(other.predict(X), regressor.predict(X), rtol=1e-5, atol=1e-6)


def test_several_targets(sinusoids):
    X, y, tasks = sinusoids
    both = np.column_stack([y, -2.0 * y])
    learner = MAMLRegressor(n_steps=1, **BUDGET).fit(X, both, tasks=tasks)
    assert learner.adapt(X[:5], both[:5]).predict(X[:3]).shape == (3, 2)


def test_steps_of_a_given_size_can_be_any_number(sinusoids, new):
    (X, y, tasks), (X_new, y_new) = sinusoids, new
    learner = MAMLRegressor(n_steps=1, learn_step_size=False, **BUDGET).fit(X, y, tasks=tasks)
    errors = [
        np.mean((learner.with_steps(n).adapt(X_new, y_new).predict(X_new) - y_new) ** 2)
        for n in (0, 1, 20)
    ]
    assert errors == sorted(errors, reverse=True)
    np.testing.assert_allclose(
        learner.with_steps(0).adapt(X_new, y_new).predict(X_new), learner.predict(X_new), rtol=1e-5
    )


def test_more_steps_than_were_learned_are_refused(sinusoids):
    X, y, tasks = sinusoids
    learner = MAMLRegressor(n_steps=1, learn_step_size="element", **BUDGET)
    with pytest.raises(ValueError, match=r"learned for n_steps=1. Got 5"):
        learner.fit(X, y, tasks=tasks).with_steps(5)


def test_steps_that_diverge_are_an_error(sinusoids):
    X, y, tasks = sinusoids
    learner = MAMLRegressor(
        n_steps=9,
        step_size=1e10,
        learn_step_size=False,
        calibrate=False,
        **BUDGET | {"max_epochs": 0},
    ).fit(X, y, tasks=tasks)
    with pytest.raises(ArithmeticError, match=r"after step \d, with n_steps=9 .* 1e\+10"):
        learner.adapt(X[:5], y[:5])
    with pytest.raises(ArithmeticError, match=r"diverged in .* episodes, with n_steps=9"):
        task_score(learner, X, y, tasks, n_episodes=5)


def test_training_learns_what_sinusoids_have_in_common(sinusoids):
    X, y, tasks = make_sinusoids(n_tasks=300, n_samples=30, random_state=2)
    backbone = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
    options = BUDGET | {"episodes_per_epoch": 5000, "lr": 1e-2, "calibrate": False}
    learner = MAMLRegressor(backbone=backbone, **options).fit(X, y, tasks=tasks)
    trained = task_score(learner, *sinusoids, n_shot=10, n_episodes=100)
    untrained = task_score(learner.with_steps(0), *sinusoids, n_shot=10, n_episodes=100)
    assert trained.mean > 0.6 * untrained.mean  # negative squared errors
