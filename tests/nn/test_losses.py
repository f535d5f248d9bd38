"""The losses, recomputed with plain loops: ragged batches, absent classes, divergence."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax

from sklearn_fewshot.nn import (
    BalancedPairCrossEntropy,
    EpisodicCrossEntropy,
    PairSquaredError,
    log_loss_factor,
)

PADDING = -1
LOSSES = pytest.mark.parametrize(
    "loss",
    [
        EpisodicCrossEntropy(),
        PairSquaredError(),
        PairSquaredError(link="log"),
        BalancedPairCrossEntropy(),
    ],
    ids=lambda loss: type(loss).__name__ + getattr(loss, "link", ""),
)


@pytest.fixture
def scores():
    """Two episodes: the second has two queries fewer and lacks class 2."""
    values = np.random.default_rng(0).normal(size=(2, 4, 3))
    values[1, :, 2] = -np.inf
    return torch.from_numpy(values)


@pytest.fixture
def target():
    return torch.tensor([[0, 1, 2, 0], [1, 0, PADDING, PADDING]])


def real_pairs(scores, target):
    """Yield score and "same class?" of the pairs of each episode that count."""
    for episode, codes in enumerate(target):
        yield [
            (float(scores[episode, query, label]), bool(code == label))
            for query, code in enumerate(codes)
            for label in range(scores.shape[-1])
            if code != PADDING and scores[episode, query, label] != -np.inf
        ]


def test_cross_entropy_is_the_mean_over_queries_then_over_episodes(scores, target):
    means = []
    for episode in range(2):
        real = target[episode] != PADDING
        logs = log_softmax(scores[episode][real].numpy(), axis=1)
        costs = [-row[code] for row, code in zip(logs, target[episode][real], strict=True)]
        means.append(sum(costs) / len(costs))
    np.testing.assert_allclose(EpisodicCrossEntropy()(scores, target), np.mean(means))


@pytest.mark.parametrize(("link", "inverse"), [("logit", expit), ("log", np.exp)])
def test_pair_squared_error_equals_plain_loops(link, inverse, scores, target):
    means = [
        sum((inverse(score) - same) ** 2 for score, same in pairs) / len(pairs)
        for pairs in real_pairs(scores, target)
    ]
    np.testing.assert_allclose(PairSquaredError(link)(scores, target), np.mean(means))


def test_relation_scores_are_log_odds_unless_told_otherwise(scores, target):
    """And the same scores cost the same, by whichever link they are given."""
    expected = PairSquaredError("log")(torch.nn.functional.logsigmoid(scores), target)
    torch.testing.assert_close(PairSquaredError()(scores, target), expected)


def test_balanced_pair_cross_entropy_equals_plain_loops(scores, target):
    means = []
    for pairs in real_pairs(scores, target):
        same = [-np.log(expit(score)) for score, is_same in pairs if is_same]
        different = [-np.log(expit(-score)) for score, is_same in pairs if not is_same]
        means.append(0.5 * sum(same) / len(same) + 0.5 * sum(different) / len(different))
    np.testing.assert_allclose(BalancedPairCrossEntropy()(scores, target), np.mean(means))


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_single_query_is_enough_and_need_not_be_of_the_last_class(code, scores):
    """A pair of the same class and two of different ones."""
    shares, target = scores[:1, :1].sigmoid(), torch.tensor([[code]])
    errors = [(float(share) - (k == code)) ** 2 for k, share in enumerate(shares[0, 0])]
    np.testing.assert_allclose(PairSquaredError()(shares.logit(), target), np.mean(errors))
    np.testing.assert_allclose(PairSquaredError("log")(shares.log(), target), np.mean(errors))
    costs = [-np.log(s if k == code else 1 - s) for k, s in enumerate(shares[0, 0].tolist())]
    expected = 0.5 * costs[code] + 0.5 * (sum(costs) - costs[code]) / 2
    np.testing.assert_allclose(BalancedPairCrossEntropy()(shares.logit(), target), expected)


@pytest.mark.parametrize("n_way", [2, 5, 20])
def test_the_balance_does_not_depend_on_the_number_of_classes(n_way):
    """One same pair stands against n_way - 1 different ones; undecided scores cost log 2."""
    scores, target = torch.full((1, n_way, n_way), 0.3), torch.arange(n_way).unsqueeze(0)
    expected = -0.5 * (np.log(expit(0.3)) + np.log(expit(-0.3)))
    np.testing.assert_allclose(BalancedPairCrossEntropy()(scores, target), expected, rtol=1e-6)


@LOSSES
def test_gradients_are_right(loss, scores, target):
    def of_finite(values):
        filled = torch.full_like(scores, -torch.inf).masked_scatter(scores > -torch.inf, values)
        return loss(filled, target)

    assert torch.autograd.gradcheck(of_finite, scores[scores > -torch.inf].requires_grad_())


@LOSSES
def test_absent_classes_and_padding_have_no_gradient(loss, scores, target):
    loss(scores.requires_grad_(), target).backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[1, :, 2] == 0).all()
    assert (scores.grad[1, 2:] == 0).all()
    assert (scores.grad[0] != 0).all()


@LOSSES
def test_scores_of_padding_do_not_matter(loss, scores, target):
    expected = loss(scores, target)
    scores[1, 2:] = torch.nan
    assert loss(scores, target) == expected


@LOSSES
def test_divergence_is_not_hidden(loss, scores, target):
    scores[0, 1, 2] = torch.nan
    assert loss(scores, target).isnan()


@LOSSES
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_confident_scores_have_a_finite_loss(loss, target, size):
    scores = size * torch.randn(2, 4, 3)
    if getattr(loss, "link", None) == "log":
        scores = -scores.abs()  # logarithms of relation scores, which are at most one
    scores.requires_grad_()
    value = loss(scores, target)
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()


def test_perfect_scores_cost_nothing(target):
    perfect = torch.nn.functional.one_hot(target.clamp_min(0), 3).double()
    assert PairSquaredError("log")(perfect.log().clamp_min(-1e3), target) == 0
    for loss in (EpisodicCrossEntropy(), PairSquaredError(), BalancedPairCrossEntropy()):
        assert loss(1e3 * (perfect - 0.5), target) < 1e-12


# ------------------------------------------------------------------ temperature


def smoothed_loss(factor, scores, target):
    """Cross-entropy of scores times a factor with a hundredth of each target spread."""
    losses = []
    for row, code in zip(scores.flatten(0, 1).numpy(), target.flatten().tolist(), strict=True):
        if code == PADDING:
            continue
        present = row[np.isfinite(row)]
        wanted = np.full(len(present), 0.01 / len(present))
        wanted[code] += 0.99
        losses.append(-wanted @ log_softmax(factor * present))
    return np.mean(losses)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e5])
@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_the_factor_of_the_logits_has_the_least_log_loss(scores, target, size, gain):
    own = torch.nn.functional.one_hot(target.clamp_min(0), 3)
    scores = size * (scores + gain * own)
    factor = log_loss_factor(scores, target)
    best = smoothed_loss(factor, scores, target)
    assert best < smoothed_loss(1.02 * factor, scores, target)
    assert best < smoothed_loss(factor / 1.02, scores, target)


def test_classes_without_an_error_have_a_finite_factor(target):
    scores = 2.0 * torch.nn.functional.one_hot(target.clamp_min(0), 3).double()
    factor = log_loss_factor(scores, target)
    probability = (factor * scores).softmax(dim=-1).amax(dim=-1)
    np.testing.assert_allclose(probability, 1.0 - 0.02 / 3, rtol=1e-4)


def test_logits_that_are_worse_than_chance_become_nearly_flat(target):
    scores = -torch.nn.functional.one_hot(target.clamp_min(0), 3).double()
    assert 0.0 < log_loss_factor(scores, target) < 0.2


def test_equal_logits_keep_their_factor(target):
    assert log_loss_factor(torch.full((2, 4, 3), 7.0), target) == 1.0
