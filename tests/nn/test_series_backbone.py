"""The backbone of series: padding is masked everywhere, and any length is taken."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool1d

from sklearn_fewshot.nn.backbones import (
    Frozen,
    Identity,
    ResidualMLP,
    SeriesFeatures,
    Spectral,
    mask_padding,
    takes_any_length,
)
from sklearn_fewshot.nn.backbones._linear_start import MAX_LINEAR_FEATURES
from sklearn_fewshot.nn.backbones._series import average_steps


def trained_like(length=20, **options):
    """Return a network none of whose parts is at its start."""
    module = Spectral((2, length), **options)
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
    module, x = trained_like(dropout=0.0).train(), torch.randn(4, 2, 20)
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


@pytest.mark.parametrize("length", [3, 7, 8, 20, 50, 129])
@pytest.mark.parametrize("n_steps", [1, 4, 8, 20])
def test_averages_are_those_of_adaptive_pooling(length, n_steps):
    x = torch.randn(3, 2, length)
    filled, is_step = mask_padding(padded(x, 11))
    assert_close(average_steps(filled, is_step, n_steps), adaptive_avg_pool1d(x, n_steps))


def test_averages_of_a_long_series_keep_their_digits():
    x, is_step = mask_padding(1000.0 + torch.randn(1, 1, 100_000))
    exact = adaptive_avg_pool1d(x.double(), 128)
    assert float((average_steps(x, is_step, 128).double() - exact).abs().max()) < 1e-4


def welch(z, window, n_parts):
    """Log power spectra of the parts of one series, with plain loops."""
    taper = torch.hann_window(window).double().numpy()
    starts = [0, *(s for s in range(window // 2, len(z), window // 2) if len(z) - s > window // 2)]
    power = []
    for start in starts:
        frame, weight = np.zeros(window), 0.0
        for i, value in enumerate(z[start : start + window]):
            frame[i] = taper[i] * value
            weight += taper[i] ** 2
        power.append(np.abs(np.fft.rfft(frame)) ** 2 / weight)
    bounds = [
        (part * len(power) // n_parts, -(-(part + 1) * len(power) // n_parts))
        for part in range(n_parts)
    ]
    return np.log(1e-3 + np.array([np.mean(power[start:stop], axis=0) for start, stop in bounds]))


@pytest.mark.parametrize("length", [5, 33, 50, 200])
def test_features_are_shape_loudness_and_spectra(length):
    front, x = SeriesFeatures((2, 50)), 3.0 * torch.randn(4, 2, length) + 1.0
    assert front.window == 16
    features = front(padded(x, 9)).unflatten(1, (2, -1)).double().numpy()
    for row, ours in zip(x.double().numpy(), features, strict=True):
        for series, got in zip(row, ours, strict=True):
            z = (series - series.mean()) / series.std()
            shape = adaptive_avg_pool1d(torch.from_numpy(series)[None], 16)[0]
            # Band after band, as channels of the averages are.
            spectra = [welch(z, 16, n_parts).T.ravel() for n_parts in (1, 4)]
            expected = np.concatenate([shape, [np.log(series.var() + 1e-3)], *spectra])
            np.testing.assert_allclose(got, expected, atol=1e-3)


def test_features_of_a_spectrum_do_not_depend_on_the_phase():
    time = torch.arange(1024.0)
    waves = [torch.sin(2 * math.pi * 0.11 * time + phase) for phase in (0.0, 1.0, 2.5)]
    other = torch.sin(2 * math.pi * 0.17 * time)
    features = SeriesFeatures((1, 1024))(torch.stack([*waves, other])[:, None])
    distance = torch.cdist(features, features)
    assert distance[:3, :3].max() < 0.1 * distance[3, :3].min()


def test_channels_are_standardised_by_the_training_data():
    x = torch.randn(20, 2, 30)
    unit = torch.tensor([[1e6], [1e-6]])
    ours, theirs = SeriesFeatures((2, 30)), SeriesFeatures((2, 30))
    theirs.start_from(padded(x, 5))
    ours.start_from(x * unit)
    assert_close(ours(x * unit), theirs(x))
    ours.start_from(1e3 * x + 1e3)
    assert_close(ours(1e3 * x + 1e3), theirs(x), tolerance=1e-4)


def test_constant_series_have_finite_features():
    x = torch.zeros(3, 2, 40)
    x[1] = 1e6
    front = SeriesFeatures((2, 40))
    front.start_from(x[:1])
    assert front(x).isfinite().all()


@pytest.mark.parametrize(("channels", "window"), [(1, 64), (8, 32), (16, 16), (40, 2)])
def test_the_window_keeps_the_features_few(channels, window):
    front = SeriesFeatures((channels, 1000))
    assert front.window == window
    assert front(torch.zeros(1, channels, 1000)).shape == (1, front.n_features)
    assert front.n_features <= MAX_LINEAR_FEATURES or window == 2


def test_which_networks_take_any_length():
    class Own(nn.Module):
        takes_any_length = True

    own = Spectral((2, 20))
    for backbone in ("auto", "spectral", Spectral, own, Own, Own()):
        assert takes_any_length(backbone)
    assert takes_any_length(nn.Sequential(Frozen(own), ResidualMLP((40,))))
    assert takes_any_length(nn.Sequential(own, nn.ReLU()))
    others = ["mlp", "identity", ResidualMLP, Identity((3,)), lambda: own]
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
