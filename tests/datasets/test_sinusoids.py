"""Sinusoids are what the formula says."""

import numpy as np

from sklearn_fewshot.datasets import make_sinusoids


def test_each_task_is_a_sinusoid_in_range():
    X, y, tasks = make_sinusoids(n_tasks=50, n_samples=12, random_state=0)
    assert X.shape == (600, 1)
    assert np.abs(X).max() <= 5
    amplitudes = []
    for task in range(50):
        rows = tasks == task
        assert rows.sum() == 12
        design = np.column_stack([np.sin(X[rows, 0]), np.cos(X[rows, 0])])
        weight, residual, *_ = np.linalg.lstsq(design, y[rows], rcond=None)
        assert residual < 1e-20
        amplitudes.append(np.hypot(*weight))
        assert weight[1] <= 0  # -a sin(phase), with phases from 0 to pi
    assert min(amplitudes) >= 0.1
    assert max(amplitudes) <= 5


def test_seeds_and_noise():
    exact, again, noisy = (
        make_sinusoids(5, 1000, noise=noise, random_state=0)[1] for noise in (0, 0, 0.5)
    )
    np.testing.assert_array_equal(exact, again)
    assert abs(np.std(noisy - exact) - 0.5) < 0.03
