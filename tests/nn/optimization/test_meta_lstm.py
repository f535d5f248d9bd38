"""The LSTM meta-learner."""

import math

import pytest
import torch
from torch import nn

from sklearn_fewshot.nn import EpisodeBatch, EpisodicCrossEntropy, Support
from sklearn_fewshot.nn._preprocess import preprocess
from sklearn_fewshot.nn.heads import PrototypicalHead
from sklearn_fewshot.nn.optimization import GradientModule, MetaLSTMModule

OPTIONS = {"head": PrototypicalHead, "head_options": {"scale": 0.5}}


def net():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.fixture
def support():
    torch.manual_seed(1)
    inputs = torch.randn(2, 6, 4, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 0, 1, 2]).expand(2, -1)
    return Support(inputs, target, torch.ones(2, 6).double(), 3)


def test_with_constant_gates_it_is_gradient_descent(support):
    options = {"n_steps": 3}
    module = MetaLSTMModule.build((4,), adaptation=options, backbone=net(), **OPTIONS).double()
    options |= {"start": "shared", "n_targets": None, "step_size": 0.1, "learn_step_size": False}
    descent = GradientModule.build((4,), adaptation=options, backbone=net(), **OPTIONS).double()
    nn.init.normal_(module.readout.row)
    descent.load_state_dict(module.state_dict(), strict=False)
    with torch.no_grad():
        for gate, bias in ((module.forget_gate, 50.0), (module.input_gate, math.log(1 / 9))):
            gate.weight.zero_()
            gate.bias.fill_(bias)  # sigmoids of 1 and of 0.1
        found, expected = module.adapt(support), descent.adapt(support)
    for name in ("weight", "bias", "body.0.weight", "body.2.bias"):
        torch.testing.assert_close(found[name], expected[name])


def test_gates_and_start_are_trained(support):
    module = MetaLSTMModule.build((4,), adaptation={}, backbone=net(), **OPTIONS).double()
    place = torch.arange(12).view(2, 6)
    batch = EpisodeBatch(
        inputs=support.inputs.flatten(0, 1),
        support=place[:, :3],
        support_target=support.target[:, :3],
        weight=torch.ones(2, 3).double(),
        query=place[:, 3:],
        target=support.target[:, 3:],
        n_classes=3,
    )
    module.training_loss(batch, EpisodicCrossEntropy()).backward()
    for name in ("lstm.weight", "forget_gate.weight", "input_gate.bias", "readout.row"):
        assert module.get_parameter(name).grad.abs().sum() > 0


def test_it_starts_as_slow_gradient_descent():
    module = MetaLSTMModule.build((4,), adaptation={}, backbone=net(), **OPTIONS)
    assert module.forget_gate.bias.sigmoid() > 0.98
    assert module.input_gate.bias.sigmoid() < 0.02


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e-3, 1.0, 1e6])
def test_numbers_of_any_size_are_seen_as_about_one(size):
    seen = preprocess(torch.tensor([size, -size], dtype=torch.float64))
    assert seen.abs().max() <= 1.5
    assert torch.equal(seen[0, 0], seen[1, 0])
    assert torch.equal(seen[0, 1], -seen[1, 1])
