"""Sinusoids: the tasks on which few-shot regression is compared."""

from __future__ import annotations

import numpy as np

from ..utils._random import draw_seed
from ..utils._typing import RandomState


def make_sinusoids(
    n_tasks: int = 1000,
    n_samples: int = 30,
    *,
    noise: float = 0.0,
    random_state: RandomState = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Make tasks of sinusoidal regression (Finn et al., 2017).

    Each task is a function :math:`a \sin(x - \varphi)` with an amplitude :math:`a` from 0.1 to
    5 and a phase :math:`\varphi` from 0 to :math:`\pi`, known at some points ``x`` from -5 to 5;
    all are uniformly distributed.

    Parameters
    ----------
    n_tasks : int, default=1000
        Number of tasks.
    n_samples : int, default=30
        Points of each task.
    noise : float, default=0.0
        Standard deviation of normal noise on the values.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    X : float64 ndarray of shape (n_tasks * n_samples, 1)
        Points, task by task.
    y : float64 ndarray of shape (n_tasks * n_samples,)
        Values.
    tasks : int ndarray of shape (n_tasks * n_samples,)
        Task of each point.

    See Also
    --------
    sklearn_fewshot.RidgeNetRegressor : Learns from such tasks.

    References
    ----------
    C. Finn, P. Abbeel and S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
    Networks", ICML 2017.

    Examples
    --------
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> X, y, tasks = make_sinusoids(n_tasks=3, n_samples=10, random_state=0)
    >>> X.shape, y.shape, tasks[[0, 9, 10]]
    ((30, 1), (30,), array([0, 0, 1]))
    """
    rng = np.random.default_rng(draw_seed(random_state))
    amplitude = rng.uniform(0.1, 5.0, size=(n_tasks, 1))
    phase = rng.uniform(0.0, np.pi, size=(n_tasks, 1))
    x = rng.uniform(-5.0, 5.0, size=(n_tasks, n_samples))
    y = amplitude * np.sin(x - phase) + noise * rng.standard_normal(x.shape)
    return x.reshape(-1, 1), y.ravel(), np.repeat(np.arange(n_tasks), n_samples)
