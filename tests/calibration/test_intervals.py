"""Calibrated standard deviations: the coverage that they promise, on tasks of known errors."""

import numpy as np
import pytest
import torch

from sklearn_fewshot import RidgeNetRegressor
from sklearn_fewshot.calibration import Intervals, calibrate_intervals
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.network import Recipe, RegressionNetwork
from sklearn_fewshot.nn import FewShotModule

N_TASKS, N_SAMPLES, NOISE = 60, 30, 0.7


class Mean(FewShotModule):
    """Predicts the mean of the support set, with a standard deviation far too large."""

    def __init__(self, input_shape, log_std=3.0):
        super().__init__()
        self.log_std = log_std

    def adapt(self, support):
        weight = support.weight.unsqueeze(-1)
        total = weight.sum(dim=1).clamp_min(1e-12)
        return {"mean": (weight * support.target).sum(dim=1) / total}

    def predict(self, state, inputs):
        mean = state["mean"].unsqueeze(1).expand(-1, inputs.shape[1], -1)
        if self.log_std is None:
            return mean
        return torch.cat([mean, torch.full_like(mean, self.log_std)], dim=-1)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(N_TASKS), N_SAMPLES)
    values = rng.normal(size=N_TASKS)[codes] + NOISE * rng.normal(size=len(codes))
    return np.zeros((len(codes), 1), np.float32), values[:, None], codes


def network_of(log_std):
    recipe = Recipe(Mean, (1,), {"log_std": log_std})
    return RegressionNetwork(recipe.build(), recipe, input_scale=1.0, device="cpu", batch_size=64)


@pytest.mark.parametrize("log_std", [None, 0.0, 3.0])
def test_the_factor_is_that_of_the_true_errors(log_std, data):
    intervals = calibrate_intervals(network_of(log_std), *data, n_held_out=N_TASKS)
    assert intervals.n_held_out == N_TASKS
    np.testing.assert_array_equal(intervals.shots, [0, 1, 2, 3, 5, 10, 20])
    for n_shot in (1, 3, 10):  # a query's error has the variance of its noise and of their mean
        true = NOISE * np.sqrt(1 + 1 / n_shot)
        std = intervals.std_factor(n_shot) * np.exp(log_std or 0.0)
        np.testing.assert_allclose(std, true, rtol=0.1)
    prior = intervals.std_factor(0) * np.exp(log_std or 0.0)
    np.testing.assert_allclose(prior, np.sqrt(1 + NOISE**2), rtol=0.2)


def test_between_and_beyond_the_measured_shots_it_is_interpolated():
    intervals = Intervals(np.array([0, 1, 4]), np.array([4.0, 2.0, 1.0]), 5)
    assert intervals.std_factor(4) == intervals.std_factor(1000) == 1.0
    assert 1.0 < intervals.std_factor(2) < 2.0 < intervals.std_factor(0.5) < 4.0


def test_small_tasks_are_calibrated_as_far_as_they_go(data):
    rows, values, codes = (part[data[2] < 2] for part in data)
    keep = np.r_[0:3, 30:33]
    intervals = calibrate_intervals(network_of(0.0), rows[keep], values[keep], codes[keep], 2)
    np.testing.assert_array_equal(intervals.shots, [0, 1, 2])
    single = np.array([0, 30])
    assert (
        calibrate_intervals(network_of(0.0), rows[single], values[single], codes[single], 2) is None
    )


# ------------------------------------------------------------------ of a whole learner

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
