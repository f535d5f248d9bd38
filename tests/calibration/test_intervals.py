"""Intervals of held-out tasks cover what they say, for every number of examples."""

import numpy as np
import pytest

from sklearn_fewshot import RidgeNetRegressor
from sklearn_fewshot.datasets import make_sinusoids

X, y, TASKS = make_sinusoids(n_tasks=200, n_samples=40, noise=0.3, random_state=0)


@pytest.fixture(scope="module")
def learners():
    """The same network with and without calibration."""
    params = {"max_epochs": 4, "episodes_per_epoch": 400, "refit": False, "random_state": 0}
    return [
        RidgeNetRegressor(calibrate=calibrate, **params).fit(X, y, tasks=TASKS)
        for calibrate in (True, False)
    ]


@pytest.mark.parametrize("n_shot", [0, 1, 5, 15])
def test_ninety_percent_of_new_tasks_are_inside(learners, n_shot):
    new = make_sinusoids(n_tasks=150, n_samples=40, noise=0.3, random_state=1)
    inside = []
    for task in range(150):
        rows = new[2] == task
        inputs, values = new[0][rows], new[1][rows]
        support = {"X_support": inputs[:n_shot], "y_support": values[:n_shot]} if n_shot else {}
        found, std = learners[0].predict(inputs[20:], return_std=True, **support)
        inside.append(np.abs(values[20:] - found) < 1.645 * std)
    assert 0.83 < np.mean(inside) < 0.96


def test_one_factor_of_a_number_of_examples_and_no_value_changes(learners):
    calibrated, raw = (it.adapt(X[:5], y[:5]).predict(X, return_std=True) for it in learners)
    np.testing.assert_allclose(calibrated[0], raw[0])
    factor = calibrated[1] / raw[1]
    np.testing.assert_allclose(factor, factor[0])
    assert learners[0].n_calibration_tasks_ == 40
    assert learners[1].n_calibration_tasks_ == 0
