"""Bayesian ridge regression: beside scikit-learn's, beside its formula, primal and dual."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from sklearn_fewshot.nn import Support
from sklearn_fewshot.nn.regression import BayesianRidgeHead

D, T = 4, 2


def task(n_support, n_queries=6, seed=0):
    """Return one episode in float64: a support set, and queries."""
    rng = torch.Generator().manual_seed(seed)
    inputs, target, query = (
        torch.randn(1, n, width, generator=rng, dtype=torch.float64)
        for n, width in ((n_support, D), (n_support, T), (n_queries, D))
    )
    weight = torch.ones(1, n_support, dtype=torch.float64)
    return Support(inputs, target, weight, n_classes=1), query


def make_head(seed=1, penalty=0.5, **options):
    """Return a head with a prior mean and unequal noise."""
    head = BayesianRidgeHead(D, T, penalty=penalty, **options).eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.mean.copy_(torch.randn(D + 1, T, generator=rng))
        head.log_noise.copy_(torch.tensor([-1.0, 0.5]))
    return head


@torch.no_grad()
def predict(head, support, query):
    values, log_std = head.score(head.context(support), query)[0].split(T, dim=-1)
    return values.numpy(), log_std.exp().numpy()


def with_ones(rows):
    return np.column_stack([rows.numpy(), np.ones(len(rows))])


@pytest.mark.parametrize("n_support", [0, 1, 4, 5, 6, 20])  # dual up to 5, primal above
def test_it_is_the_formula(n_support):
    head = make_head()
    support, query = task(n_support)
    values, std = predict(head, support, query)
    phi, rows = with_ones(support.inputs[0]), with_ones(query[0])
    mean = head.mean.detach().double().numpy()
    noise, penalty = (it.detach().double().numpy() for it in (head.noise, head.penalty))
    covariance = np.linalg.inv(phi.T @ phi + penalty * np.eye(D + 1))
    residual = support.target[0].numpy() - phi @ mean
    np.testing.assert_allclose(values, rows @ (mean + covariance @ phi.T @ residual), atol=1e-9)
    leverage = np.einsum("qd,de,qe->q", rows, covariance, rows)
    np.testing.assert_allclose(std, noise * np.sqrt(1 + leverage)[:, None], rtol=1e-6)


@pytest.mark.parametrize("n_support", [3, 12])
def test_without_a_prior_mean_it_is_scikit_learns_ridge(n_support):
    head = BayesianRidgeHead(D, T, penalty=0.25).eval()
    support, query = task(n_support)
    ridge = Ridge(alpha=0.25, fit_intercept=False)
    ridge.fit(with_ones(support.inputs[0]), support.target[0].numpy())
    values, _ = predict(head, support, query)
    np.testing.assert_allclose(values, ridge.predict(with_ones(query[0])), atol=1e-6)


@pytest.mark.parametrize("n_support", [2, 9])
def test_padding_has_no_influence_and_weights_count(n_support):
    head = make_head()
    support, query = task(n_support)
    padded = Support(*(torch.cat([it, it], dim=1) for it in support[:3]), n_classes=1)
    weight = padded.weight.clone()
    weight[:, n_support:] = 0.0
    expected = predict(head, support, query)
    for found, value in zip(
        predict(head, padded._replace(weight=weight), query), expected, strict=True
    ):
        np.testing.assert_allclose(found, value, atol=1e-9)
    twice = predict(head, support._replace(weight=2.0 * support.weight), query)
    for found, value in zip(predict(head, padded, query), twice, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-9)


def test_more_examples_are_more_certain():
    head = make_head()
    support, query = task(12)
    stds = []
    for n in (0, 2, 5, 6, 12):
        some = Support(*(it[:, :n] for it in support[:3]), n_classes=1)
        stds.append(predict(head, some, query)[1])
    assert (np.diff(stds, axis=0) < 0).all()


def test_the_gradient_passes_through_the_solution():
    head = make_head().train()
    support, query = task(3)
    inputs = support.inputs.clone().requires_grad_()
    head.score(head.context(support._replace(inputs=inputs)), query).sum().backward()
    for gradient in (inputs.grad, head.mean.grad, head.log_penalty.grad, head.log_noise.grad):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_the_first_steps_of_training_have_unit_variance():
    head = make_head(n_squared_steps=2)
    support, query = task(3)
    true = predict(head, support, query)[1]
    assert not np.allclose(true, 1.0)
    head.train()
    for _ in range(2):
        np.testing.assert_allclose(predict(head, support, query)[1], 1.0)
    np.testing.assert_allclose(predict(head, support, query)[1], true)
    fresh = make_head(n_squared_steps=2)
    np.testing.assert_allclose(predict(fresh, support, query)[1], true)  # not in evaluation
