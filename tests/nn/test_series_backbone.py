"""The backbone of series: padding is masked everywhere, and any length is taken."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool1d

from sklearn_fewshot.nn.backbones import (
    Conv1d,
    Frozen,
    Identity,
    ResidualMLP,
    mask_padding,
    takes_any_length,
)
from sklearn_fewshot.nn.backbones._series import MaskedBatchNorm1d, average_steps


def trained_like(length=20, **options):
    """Return a network none of whose parts is at its start."""
    module = Conv1d((2, length), **options)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
        elif name.endswith("running_mean"):
            buffer.normal_()
    return module


def padded(x, n_steps):
    return torch.cat([x, torch.full((*x.shape[:2], n_steps), torch.nan)], dim=2)


def assert_close(actual, desired, *, tolerance=1e-5):
    assert actual.isfinite().all()
    torch.testing.assert_close(
        actual, desired, rtol=0, atol=tolerance * float(desired.detach().abs().max())
    )


@pytest.mark.parametrize("n_padding", [1, 2, 3, 8, 45])
@pytest.mark.parametrize("length", [1, 2, 5, 19, 20, 33])
def test_padding_changes_no_embedding(length, n_padding):
    module, x = trained_like().eval(), torch.randn(4, 2, length)
    assert_close(module(padded(x, n_padding)), module(x))


def test_padding_of_each_length_changes_no_embedding():
    module = trained_like().eval()
    series = [torch.randn(1, 2, length) for length in (1, 2, 3, 7, 12, 19, 20, 31)]
    together = torch.cat([padded(one, 31 - one.shape[2]) for one in series])
    assert_close(module(together), torch.cat([module(one) for one in series]))


def test_padding_changes_nothing_in_training():
    module, x = trained_like().train(), torch.randn(4, 2, 20)
    other = copy.deepcopy(module)
    embedding, again = module(x), other(padded(x, 9))
    assert_close(again, embedding)
    weight = torch.randn_like(embedding)
    (weight * embedding).sum().backward()
    (weight * again).sum().backward()
    for ours, theirs in zip(other.parameters(), module.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(other.buffers(), module.buffers(), strict=True):
        assert_close(ours.float(), theirs.float())


def test_no_gradient_comes_from_padding():
    x = padded(torch.randn(3, 2, 12), 5).requires_grad_()
    trained_like()(x).square().sum().backward()
    assert (x.grad[..., 12:] == 0).all()
    assert (x.grad[..., :12] != 0).all()


def test_statistics_of_batch_norm_are_those_of_the_steps():
    torch.manual_seed(1)
    series = [3.0 * torch.randn(1, 4, length) + 5.0 for length in (6, 9, 2)]
    steps = torch.cat(series, dim=2)
    x = torch.cat([padded(one, 9 - one.shape[2]) for one in series])
    x, is_step = mask_padding(x)
    ours, theirs = MaskedBatchNorm1d(4), nn.BatchNorm1d(4)
    for norm in (ours, theirs):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    theirs.load_state_dict(ours.state_dict())
    normalised = ours(x, is_step)
    expected = theirs(steps)
    assert_close(normalised.transpose(0, 1)[:, is_step[:, 0]], expected[0])
    for name, buffer in theirs.named_buffers():
        assert_close(ours.get_buffer(name).float(), buffer.float())


def test_a_single_step_has_no_unbiased_variance():
    norm = MaskedBatchNorm1d(1)
    x = torch.tensor([[[2.0, 0.0]]])
    normalised = norm(x, torch.tensor([[[True, False]]]))
    assert float(normalised.detach()[0, 0, 0]) == 0.0
    assert float(norm.running_var) == pytest.approx(0.9)


@pytest.mark.parametrize("length", [3, 7, 8, 20, 50, 129])
@pytest.mark.parametrize("n_steps", [1, 4, 8, 20])
def test_averages_are_those_of_adaptive_pooling(length, n_steps):
    x = torch.randn(3, 2, length)
    assert_close(average_steps(x, None, n_steps), adaptive_avg_pool1d(x, n_steps))
    filled, is_step = mask_padding(padded(x, 11))
    assert_close(average_steps(filled, is_step, n_steps), adaptive_avg_pool1d(x, n_steps))


def test_averages_of_a_long_series_keep_their_digits():
    x = 1000.0 + torch.randn(1, 1, 100_000)
    exact = adaptive_avg_pool1d(x.double(), 128)
    assert float((average_steps(x, None, 128).double() - exact).abs().max()) < 1e-4


def test_the_linear_path_sees_series_of_the_fitted_length_unchanged():
    x = torch.randn(5, 2, 20)
    assert torch.equal(Conv1d((2, 20)).features(x), x.flatten(1))


def test_the_linear_path_scales_time_uniformly():
    ramp = torch.linspace(0, 1, 40).view(1, 1, 40)
    features = Conv1d((1, 20)).features(torch.cat([padded(ramp[..., ::2], 20), ramp]))
    assert float((features[0] - features[1]).abs().max()) < 0.02


def test_which_networks_take_any_length():
    class Own(nn.Module):
        takes_any_length = True

    conv = Conv1d((2, 20))
    for backbone in ("auto", "conv1d", Conv1d, conv, Own, Own()):
        assert takes_any_length(backbone)
    assert takes_any_length(nn.Sequential(Frozen(conv), ResidualMLP((40,))))
    assert takes_any_length(nn.Sequential(conv, nn.ReLU()))
    others = ["mlp", "identity", ResidualMLP, Identity((3,)), lambda: conv]
    others += [nn.Sequential(Frozen(Identity((3,))), ResidualMLP((3,))), nn.Sequential()]
    for backbone in others:
        assert not takes_any_length(backbone)


def test_the_masked_network_works_under_lower_precision():
    module, x = trained_like().eval(), padded(torch.randn(4, 2, 20), 5)
    with torch.no_grad():
        exact = module(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = module(x)
    assert float((rough.float() - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_mask_padding_leaves_its_input_alone():
    x = padded(torch.ones(1, 2, 3), 2)
    before = x.clone()
    filled, is_step = mask_padding(x)
    np.testing.assert_array_equal(x, before)
    assert filled.isfinite().all()
    assert is_step.sum() == 3
