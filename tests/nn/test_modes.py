"""Modes and precision: as they were afterwards, whatever happens within."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sklearn_fewshot.nn import autocast, embed, evaluating, evaluation_view

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


def test_a_block_that_ends_leaves_the_mode_to_those_that_still_run():
    """Also where one thread uses the whole and another a part of it."""
    whole = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.ReLU().eval()))
    before = [part.training for part in whole.modules()]
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with evaluating(whole[1]):
            entered.set()
            assert leave.wait(60)
            return whole[1][0].training

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert entered.wait(60)
        with evaluating(whole):
            pass
        modes = [part.training for part in whole.modules()]
        leave.set()
        assert not held.result()
    assert modes == [True, True, False, False, False]
    assert [part.training for part in whole.modules()] == before


@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_embed_as_one_does(n_threads):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    X = torch.randn(4, 3).numpy()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    expected = embed(module, X, batch_size=4)
    with ThreadPoolExecutor(n_threads) as pool:
        got = list(pool.map(lambda _: embed(module, X, batch_size=4), range(200)))
    assert all((embedding == expected).all() for embedding in got)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(part.training for part in module.modules())


class MergesWeights(nn.Linear):
    """As low-rank adapters do, in `eval`."""

    def train(self, mode=True):
        with torch.no_grad():
            self.weight += 1
        return super().train(mode)


def test_a_view_shares_the_weights_and_changes_nothing():
    module = nn.Sequential(MergesWeights(3, 2), nn.BatchNorm1d(2), nn.Dropout().eval())
    module.register_buffer("shift", torch.ones(2))
    module[0].also = module[1].weight  # neither twice nor apart in the view
    state = {name: value.clone() for name, value in module.state_dict().items()}
    view = evaluation_view(module)
    x = 5 + torch.randn(9, 3)
    assert torch.equal(view(x), view[1](module[0](x)))
    assert [part.training for part in module.modules()] == [True, True, True, False]
    assert not any(part.training for part in view.modules())
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    for name, value in view.state_dict(keep_vars=True).items():
        assert value is module.state_dict(keep_vars=True)[name]
    assert view[0].also is module[1].weight
    assert evaluation_view(view) is view


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
