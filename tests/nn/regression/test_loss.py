"""The loss of values: beside scipy's normal distribution, with plain loops."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from sklearn_fewshot.nn.regression import GaussianLoss, split_values

RAGGED = torch.tensor([[[1.0, -1.0], [2.0, 0.5]], [[0.3, 4.0], [torch.nan, torch.nan]]])


def test_it_is_the_mean_over_queries_then_over_episodes():
    torch.manual_seed(0)
    predicted = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    values, log_std = np.split(predicted.detach().numpy(), 2, axis=-1)
    losses = -norm.logpdf(RAGGED.numpy(), values, np.exp(log_std))
    expected = np.mean([losses[0].mean(), losses[1, 0].mean()])
    found = GaussianLoss()(predicted, RAGGED.double())
    np.testing.assert_allclose(found.item(), expected)


def test_in_validation_the_standard_deviations_are_calibrated():
    """By the factor of the least loss: no other one is better, and none that is given matters."""
    torch.manual_seed(0)
    predicted = torch.randn(2, 2, 4, dtype=torch.float64)
    loss = GaussianLoss()
    best = loss(predicted, RAGGED.double()).item()
    for factor in (0.1, 0.5, 1.0, 2.0, 10.0):
        other = predicted + np.log(factor) * torch.tensor([0.0, 0.0, 1.0, 1.0])
        np.testing.assert_allclose(loss(other, RAGGED.double()).item(), best)
        assert loss(other.requires_grad_(), RAGGED.double()).item() >= best


def test_without_standard_deviations_it_is_the_squared_error():
    torch.manual_seed(0)
    predicted = torch.randn(2, 2, 2)
    squares = (predicted - RAGGED).square()
    expected = (squares[0].mean() + squares[1, 0].mean()) / 2
    torch.testing.assert_close(GaussianLoss()(predicted, RAGGED), expected)


def test_padding_has_no_gradient():
    predicted = torch.randn(2, 2, 4, requires_grad=True)
    GaussianLoss()(predicted, RAGGED).backward()
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[1, 1] == 0).all()


def test_other_numbers_of_outputs_are_an_error():
    with pytest.raises(ValueError, match=r"for 2 targets must predict 2 values, or .* Got 3"):
        split_values(torch.zeros(1, 1, 3), 2)
