"""Logistic regressions of many episodes at once: equal to scikit-learn's, one by one."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sklearn_fewshot.nn._logistic import fit_logistic

N_CLASSES = 4


def make_episodes(n_shot, n_features, scale=1.0, seed=0):
    """Return samples of three episodes, in which classes overlap, with weights."""
    rng = np.random.default_rng(seed)
    code = np.tile(np.repeat(np.arange(N_CLASSES), n_shot), (3, 1))
    X = scale * (rng.normal(size=(*code.shape, n_features)) + 0.5 * code[..., None] + 1.0)
    weight = rng.integers(1, 4, size=code.shape).astype(float)
    return tuple(map(torch.from_numpy, (X, code, weight)))


def predict_proba(coefficients, X):
    return (X @ coefficients[..., :-1].mT + coefficients[..., -1].unsqueeze(1)).softmax(dim=-1)


# Where C is large the reference changes its solver, and says so.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize(("n_shot", "n_features"), [(1, 20), (3, 3), (15, 2)])
def test_probabilities_equal_scikit_learn(n_shot, n_features, C):
    X, code, weight = make_episodes(n_shot, n_features)
    proba = predict_proba(fit_logistic(X, code, weight, N_CLASSES, C), X)
    for episode in range(3):
        data = (values[episode].numpy() for values in (X, code, weight))
        reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000)
        rows, labels, counts = data
        expected = reference.fit(rows, labels, sample_weight=counts).predict_proba(rows)
        np.testing.assert_allclose(proba[episode], expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("C", [1e-4, 1.0, 1e6])
def test_the_slope_vanishes(C, scale):
    """Of the loss in the coefficients, by automatic differentiation."""
    X, code, weight = make_episodes(5, 6, scale)
    fitted = fit_logistic(X, code, weight, N_CLASSES, C).requires_grad_()
    logits = X @ fitted[..., :-1].mT + fitted[..., -1].unsqueeze(1)
    log_p = logits.log_softmax(dim=-1).gather(2, code.unsqueeze(-1))[..., 0]
    loss = -C * (weight * log_p).sum() + 0.5 * (fitted[..., :-1] ** 2).sum()
    (slope,) = torch.autograd.grad(loss, fitted)
    size = C * (weight.unsqueeze(-1) * (1.0 + X.abs())).sum()  # of its terms, which cancel
    assert slope.abs().max() < 1e-8 * size + 1e-6 * min(1.0, C)


@pytest.mark.parametrize("C", [1e-4, 1.0, 1e6])
def test_padding_and_other_episodes_change_nothing(C):
    X, code, weight = make_episodes(3, 5)
    weight[1, 4:] = 0.0  # one episode lacks classes, one has a class alone
    weight[2, 3:] = 0.0
    together = fit_logistic(X, code, weight, N_CLASSES, C)
    for episode in range(3):
        real = weight[episode] > 0
        alone = (values[[episode]][:, real] for values in (X, code, weight))
        expected = predict_proba(fit_logistic(*alone, N_CLASSES, C), X[[episode]])
        proba = predict_proba(together[[episode]], X[[episode]])
        present = sorted(set(code[episode, real].tolist()))
        torch.testing.assert_close(
            proba[..., present], expected[..., present], rtol=1e-4, atol=1e-5
        )
    assert (together[1, 2:] == 0).all()
    assert (together[2, 1:] == 0).all()


def test_weights_count_as_copies():
    X, code, weight = make_episodes(3, 5)
    copies = weight[0].long()
    copied = (values[[0]].repeat_interleave(copies, dim=1) for values in (X, code))
    ones = torch.ones(1, int(copies.sum()), dtype=torch.float64)
    expected = fit_logistic(X[[0]], code[[0]], weight[[0]], N_CLASSES, 1.0)
    found = fit_logistic(*copied, ones, N_CLASSES, 1.0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_equal_samples_of_two_classes_are_told_apart_by_number_alone():
    X, code = torch.ones(1, 4, 3, dtype=torch.float64), torch.tensor([[0, 0, 0, 1]])
    fitted = fit_logistic(X, code, torch.ones(1, 4, dtype=torch.float64), 2, 100.0)
    expected = torch.tensor([[[0.75, 0.25]]], dtype=torch.float64).expand(1, 4, 2)
    torch.testing.assert_close(predict_proba(fitted, X), expected, rtol=0, atol=1e-6)
