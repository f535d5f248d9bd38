"""Sinusoids are what their docstring says."""

import numpy as np

from sklearn_fewshot.datasets import make_sinusoids


def test_each_task_is_a_sine_of_its_own():
    X, y, tasks = make_sinusoids(n_tasks=200, n_samples=25, random_state=0)
    assert X.min() >= -5
    assert X.max() <= 5
    for task in range(200):
        own = tasks == task
        basis = np.column_stack([np.sin(X[own, 0]), np.cos(X[own, 0])])
        (a, b), residual, *_ = np.linalg.lstsq(basis, y[own], rcond=None)
        assert residual < 1e-18
        assert 0.1 <= np.hypot(a, b) <= 5.0
        assert b <= 0  # a sin(x - p) with p from 0 to pi
    np.testing.assert_array_equal(np.bincount(tasks), 25)


def test_noise_has_its_standard_deviation_and_changes_nothing_else():
    plain, noisy = (make_sinusoids(500, 20, noise=s, random_state=0) for s in (0.0, 0.3))
    np.testing.assert_array_equal(plain[0], noisy[0])
    np.testing.assert_allclose((noisy[1] - plain[1]).std(), 0.3, rtol=0.05)


def test_the_seed_decides():
    one, same, other = (make_sinusoids(5, 4, random_state=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
