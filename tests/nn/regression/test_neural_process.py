"""Conditional neural processes: the invariances, the prior, and the formula."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from sklearn_fewshot.nn import Support
from sklearn_fewshot.nn.regression import NeuralProcessHead


def support_set(n_support, seed=0):
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(1, n_support, 3, generator=rng)
    target = torch.randn(1, n_support, 2, generator=rng)
    return Support(inputs, target, torch.ones(1, n_support), n_classes=1)


@pytest.fixture
def head():
    return NeuralProcessHead(n_features=3, n_targets=2, hidden_dim=16).eval()


QUERY = torch.linspace(-1.0, 1.0, 12).reshape(1, 4, 3)


@torch.no_grad()
def predict(head, support):
    return head.score(head.context(support), QUERY)[0]


def test_it_is_the_formula(head):
    support = support_set(5)
    pairs = torch.cat([support.inputs[0], support.target[0]], dim=1)
    with torch.no_grad():
        r = torch.stack([head.encoder(pair) for pair in pairs]).mean(dim=0)
        output = torch.stack([head.decoder(torch.cat([q, r])) for q in QUERY[0]])
    expected = torch.cat([output[:, :2], (0.1 + 0.9 * softplus(output[:, 2:])).log()], dim=1)
    torch.testing.assert_close(predict(head, support), expected, atol=1e-5, rtol=1e-5)


def test_order_and_duplicates_change_nothing(head):
    support = support_set(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = Support(*(it[:, order] for it in support[:3]), n_classes=1)
    twice = Support(*(torch.cat([it, it], dim=1) for it in support[:3]), n_classes=1)
    for other in (shuffled, twice):
        torch.testing.assert_close(predict(head, other), predict(head, support))


def test_padding_has_no_influence(head):
    support, junk = support_set(3), support_set(4, seed=1)
    padded = Support(
        torch.cat([support.inputs, junk.inputs], dim=1),
        torch.cat([support.target, junk.target], dim=1),
        torch.cat([support.weight, 0.0 * junk.weight], dim=1),
        n_classes=1,
    )
    torch.testing.assert_close(predict(head, padded), predict(head, support))


def test_nothing_is_a_vector_of_its_own_and_trained(head):
    support = support_set(2)
    empty = support._replace(weight=torch.zeros(1, 2))
    torch.testing.assert_close(head.context(empty)["mean"][0], head.nothing)
    many = Support(*(it.expand(400, *it.shape[1:]) for it in support[:3]), n_classes=1)
    means = head.train().context(many)["mean"]
    share = (means == head.nothing).all(dim=1).float().mean()
    assert 0.01 < float(share) < 0.12


def test_the_standard_deviation_has_a_least_value(head):
    with torch.no_grad():
        head.decoder[-1].bias[2:] = -100.0
    np.testing.assert_allclose(predict(head, support_set(2))[:, 2:].exp(), 0.1, rtol=1e-5)
