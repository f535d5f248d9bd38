"""Episodes, batches and plans for the tests of torch parts."""

import numpy as np
import pytest
import torch

from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.nn import EpisodeBatch, Support

N_EPISODES, N_SUPPORT, N_QUERIES, N_CLASSES, DIM = 3, 12, 5, 4, 6


def _make_support(seed=0, shape=(DIM,), n_support=N_SUPPORT, n_padding=0, n_classes=N_CLASSES):
    rng = np.random.default_rng(seed)
    n_items = n_support + n_padding
    extra = rng.integers(n_classes, size=(N_EPISODES, n_support - n_classes))
    every_class = np.broadcast_to(np.arange(n_classes), (N_EPISODES, n_classes))
    code = rng.permuted(np.hstack([every_class, extra]), axis=1)
    code = np.hstack([code, rng.integers(n_classes, size=(N_EPISODES, n_padding))])
    embedding = rng.normal(size=(N_EPISODES, n_items, *shape))
    weight = np.broadcast_to(np.arange(n_items) < n_support, (N_EPISODES, n_items)).astype(float)
    return Support(*(torch.from_numpy(v) for v in (embedding, code, weight)), n_classes)


def _make_query(seed=9, shape=(DIM,)):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(N_EPISODES, N_QUERIES, *shape)))


@pytest.fixture(scope="session")
def make_support():
    """Make support sets of unequal shots in mixed order, every class present, padding last."""
    return _make_support


@pytest.fixture(scope="session")
def make_query():
    """Make as many episodes of queries as `make_support` makes support sets."""
    return _make_query


@pytest.fixture
def ragged():
    """Three support sets with padding in between, each smaller than the last.

    The third one lacks class 2.
    """
    support = _make_support(seed=5)
    weight = support.weight.clone()
    weight[1, [0, 4, 7]] = 0.0
    weight[2, ::2] = 0.0
    weight[2, support.target[2] == 2] = 0.0
    return support._replace(weight=weight)


@pytest.fixture
def batch():
    """Two episodes of two classes; the second has an example and a query fewer."""
    return EpisodeBatch(
        inputs=torch.randn(10, 6),
        support=torch.tensor([[0, 1, 2, 3], [4, 5, 6, 0]]),
        support_target=torch.tensor([[0, 0, 1, 1], [1, 0, 0, 0]]),
        weight=torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]),
        query=torch.tensor([[8, 9, 5], [7, 3, 0]]),
        target=torch.tensor([[0, 1, 1], [1, 0, -1]]),
        n_classes=2,
        classes=torch.tensor([[4, 2], [0, 3]]),
    )


CODES = np.repeat(np.arange(6), 12)


def _make_plan(n_episodes=7, seed=0, n_way=(2, 4), n_shot=(1, 3), n_query=2):
    sampler = EpisodeSampler(CODES, n_way=n_way, n_shot=n_shot, n_query=n_query)
    return sampler.plan(n_episodes, np.random.default_rng(seed))


@pytest.fixture(scope="session")
def make_plan():
    """Plan episodes of six classes of twelve rows each, ragged unless told otherwise."""
    return _make_plan
