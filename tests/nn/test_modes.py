"""Modes and precision: as they were afterwards, whatever happens within."""

import pytest
import torch
from torch import nn

from sklearn_fewshot.nn import autocast, evaluating

CPU = torch.device("cpu")


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_whatever_happens(training):
    module = nn.Linear(2, 2).train(training)
    with evaluating(module):
        assert not module.training
        assert not module(torch.ones(1, 2)).requires_grad
    assert module.training == training
    with pytest.raises(ZeroDivisionError), evaluating(module):
        1 / 0  # noqa: B018
    assert module.training == training
    assert torch.is_grad_enabled()


def test_each_part_gets_its_own_mode_back():
    module = nn.Sequential(nn.Linear(2, 2).eval(), nn.Dropout(), nn.Sequential(nn.ReLU().eval()))
    before = [part.training for part in module.modules()]
    assert len(set(before)) == 2
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == before


def test_gradients_can_be_taken_inside():
    """By `torch.func` and by `enable_grad`; what comes out can be trained on afterwards."""
    module, x = nn.Linear(3, 1), torch.randn(5, 3)
    parameters = dict(module.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(module, parameters, (x,)).square().mean()

    expected = torch.autograd.grad(loss(parameters), list(parameters.values()))
    with evaluating(module):
        by_func = torch.func.grad(loss)({name: p.detach() for name, p in parameters.items()})
        with torch.enable_grad():
            by_hand = torch.autograd.grad(loss(parameters), list(parameters.values()))
        after = module(x)
    for a, b, c in zip(by_func.values(), by_hand, expected, strict=True):
        torch.testing.assert_close(a, c)
        torch.testing.assert_close(b, c)
    assert not after.requires_grad
    (module(x.detach()) + after).sum().backward()  # no inference tensor


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_precision_is_lower_only_within_and_only_on_request(dtype):
    module, x = nn.Linear(3, 1), torch.randn(5, 3)
    with autocast(CPU, dtype):
        assert module(x).dtype == (dtype or torch.float32)
    assert module(x).dtype == torch.float32
