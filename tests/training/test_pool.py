"""The weights of pooled networks: least log-loss on held-out classes, and what is kept."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sklearn_fewshot.training._pool import RIDGE, Scores, choose_pool, pool_weights

N_EPISODES, N_QUERIES, N_CLASSES = 40, 20, 4


@pytest.fixture
def target():
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.integers(N_CLASSES, size=(N_EPISODES, N_QUERIES)))
    codes[0, :5] = -1  # padding
    return codes


def make_scores(target, signal, seed=0, factor=1.0):
    """Log-probabilities that know the class as well as the signal is strong."""
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.normal(size=(*target.shape, N_CLASSES)))
    own = torch.nn.functional.one_hot(target.clamp_min(0), N_CLASSES).double()
    return Scores(signal * (signal * own + noise), target, factor)  # the optimal temperature


def log_loss(weight, scores):
    total = sum(w * one.logits for w, one in zip(weight, scores, strict=True))
    return float(cross_entropy(total.flatten(0, 1), scores[0].target.flatten(), ignore_index=-1))


def test_what_knows_nothing_gets_no_weight(target):
    scores = [make_scores(target, 1.5, seed=1), make_scores(target, 0.0, seed=2)]
    scores[1] = scores[1]._replace(logits=make_scores(target, 1.0, seed=3).logits.roll(1, dims=-1))
    weight = pool_weights(scores)
    assert weight[0] > 0.8
    assert weight[1] == 0.0


def test_equal_members_have_equal_weights(target):
    one = make_scores(target, 1.0)
    first, second = pool_weights([one, one])
    assert first == pytest.approx(second, abs=1e-4)


def test_independent_members_are_worth_more_together(target):
    """Log-probabilities of independent evidence add up: weights of one each."""
    scores = [make_scores(target, 1.5, seed=seed) for seed in (1, 2)]
    weight = pool_weights(scores)
    np.testing.assert_allclose(weight, 1.0, atol=0.25)
    assert log_loss(weight, scores) < min(log_loss(one, scores) for one in ([1, 0], [0, 1]))


def test_no_other_weights_have_a_lower_loss(target):
    scores = [make_scores(target, signal, seed=k) for k, signal in enumerate((0.5, 1.0, 1.5))]

    def penalised(weight):
        return log_loss(weight, scores) + RIDGE * float(((weight - 1 / 3) ** 2).sum())

    best = pool_weights(scores)
    rng = np.random.default_rng(0)
    for step in (0.3, 0.03, 0.003):
        for _ in range(20):
            other = np.maximum(best + step * rng.normal(size=3), 0.0)
            assert penalised(other) > penalised(best) - 1e-7


def test_classes_that_an_episode_lacks_do_not_count(target):
    scores = [make_scores(target.clamp_max(2), signal, seed=3) for signal in (0.7, 1.0)]
    absent = [
        one._replace(logits=torch.cat([one.logits, torch.full((40, 20, 1), -torch.inf)], dim=-1))
        for one in scores
    ]
    np.testing.assert_allclose(pool_weights(absent), pool_weights(scores), atol=1e-6)


def test_members_of_little_weight_are_dropped(target):
    good, useless = make_scores(target, 2.0, factor=3.0), make_scores(target, 3.0)
    useless = useless._replace(logits=useless.logits.roll(1, dims=-1))
    pool = choose_pool([{1: good, 5: good}, {1: useless, 5: useless}], fit=True)
    assert pool.kept == [0]
    assert pool.n_shots == [1, 5]
    np.testing.assert_allclose(pool.share, [[1.0, 1.0], [0.0, 0.0]])
    alone = pool_weights([good])
    np.testing.assert_allclose(pool.weight, 3.0 * alone * np.ones((1, 2)), rtol=1e-6)


def test_without_held_out_classes_all_are_equal(target):
    one, other = make_scores(target, 2.0, factor=3.0), make_scores(target, 0.1, factor=2.0)
    pool = choose_pool([{1: one}, {1: other}], fit=False)
    assert pool.kept == [0, 1]
    np.testing.assert_allclose(pool.weight, [[1.5], [1.0]])
    pool = choose_pool([{}, {}], fit=False)
    np.testing.assert_allclose(pool.weight, [[0.5], [0.5]])
