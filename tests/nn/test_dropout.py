import numpy as np
import pytest
import torch
from torch import nn

from sklearn_fewshot.nn.backbones import ResidualMLP
from sklearn_fewshot.nn.backbones._dropout import QuickDropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_are_dropped_at_the_rate_and_the_rest_keep_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(400, 333)  # not a multiple of eight
    out = QuickDropout(p)(x)
    rate = 1.0 - round(256 * (1.0 - p)) / 256
    assert abs(rate - p) <= 1 / 512
    dropped = (out == 0).double()
    for axis in (0, 1):  # nowhere more than elsewhere: five standard deviations of a mean
        n = x.shape[axis]
        assert (dropped.mean(dim=axis) - rate).abs().max() < 5 * np.sqrt(rate * (1 - rate) / n)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1.0 / (1.0 - rate)))


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (QuickDropout(0.5)(torch.ones(100_000)) == 0).double() - 0.5
    for lag in (1, 2, 4, 7, 8, 16):
        assert abs(float((dropped[lag:] * dropped[:-lag]).mean()) / 0.25) < 5 / np.sqrt(100_000)


def test_the_gradient_goes_where_the_value_went():
    x = torch.randn(50, 20, requires_grad=True)
    out = QuickDropout(0.5)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 2.0))


def test_a_seed_repeats_it():
    x = torch.ones(1000)
    first, second, third = (
        (torch.manual_seed(seed), QuickDropout(0.5)(x))[1] for seed in (3, 3, 4)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert (first != third).any()


@pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (0.001, 1.0), (1.0, 0.0)])
def test_nothing_and_everything(p, expected):
    torch.manual_seed(0)
    assert abs(QuickDropout(p)(torch.ones(5000)).mean() - expected) < 0.005


def test_prediction_drops_nothing():
    x = torch.randn(30, 20)
    assert QuickDropout(0.5).eval()(x) is x or (QuickDropout(0.5).eval()(x) == x).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_dtype_stays(dtype):
    assert QuickDropout(0.5)(torch.ones(10, dtype=dtype)).dtype == dtype


def test_the_default_for_tables_uses_it_where_torch_would_have_its_own():
    network = ResidualMLP((4,))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert [type(layer) for layer in layers] == [QuickDropout] * 2
