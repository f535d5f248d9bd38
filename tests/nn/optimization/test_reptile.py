"""Reptile: minibatches of Adam without momentum, and the gradient that moves weights there."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_fewshot.nn import EpisodeBatch, EpisodicCrossEntropy, Support
from sklearn_fewshot.nn.heads import PrototypicalHead
from sklearn_fewshot.nn.optimization import ReptileModule
from sklearn_fewshot.nn.optimization._reptile import _place_in_class


def make(**options):
    module = ReptileModule.build(
        (4,),
        adaptation={"n_targets": None, "inner_lr": 0.01, "batch_size": 3} | options,
        backbone=nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)),
        head=PrototypicalHead,
    )
    return module.double()


@pytest.fixture
def support():
    torch.manual_seed(1)
    inputs = torch.randn(1, 6, 4, dtype=torch.float64)
    return Support(inputs, torch.tensor([[0, 1, 2, 0, 1, 2]]), torch.ones(1, 6).double(), 3)


def plain(module, support, n_steps):
    """Train on whole support sets by torch's own optimizer, from zero rows."""
    x, y = support.inputs[0], support.target[0]
    body = dict(module.initial.backbone.named_parameters())
    body = {name: value.detach().clone().requires_grad_() for name, value in body.items()}
    unit = 2.0**0.5

    def features(x):
        return torch.func.functional_call(module.initial.backbone, body, (x,))

    centre = torch.stack([features(x)[y == k].mean(0) for k in range(3)]).mean(0).detach()
    w, b = (torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 3), (3,)))
    optimizer = torch.optim.Adam([*body.values(), w, b], lr=0.01, betas=(0.0, 0.999))
    for _ in range(n_steps):
        optimizer.zero_grad()
        cross_entropy(unit * (features(x) - centre) @ w.T + b, y).backward()
        optimizer.step()
    return body, w


def test_steps_are_those_of_adam_without_momentum(support):
    module = make(adapt_steps=4, batch_size=6)
    with torch.no_grad():
        state = module.adapt(support)
    body, w = plain(module, support, 4)
    torch.testing.assert_close(state["weight"][0], w.detach())
    for name, value in body.items():
        torch.testing.assert_close(state[f"body.{name}"][0], value.detach())


def test_the_gradient_leads_to_where_the_training_ended(support):
    module = make(n_steps=3, batch_size=6)
    batch = EpisodeBatch(
        inputs=support.inputs[0],
        support=torch.tensor([[0, 1, 2]]),
        support_target=torch.tensor([[0, 1, 2]]),
        weight=torch.ones(1, 3).double(),
        query=torch.tensor([[3, 4, 5]]),
        target=torch.tensor([[0, 1, 2]]),
        n_classes=3,
    )
    loss = module.training_loss(batch, EpisodicCrossEntropy())
    loss.backward()
    body, _ = plain(module, support, 3)  # support and queries are trained on
    assert 0.0 < loss.item() < 1.2  # the loss of the task after the steps, near log 3
    for name, parameter in module.initial.backbone.named_parameters():
        torch.testing.assert_close(parameter.grad, parameter.detach() - body[name].detach())


def test_minibatches_go_round_all_classes(support):
    module = make()
    task = {name: value[0] for name, value in module.tasks(support).items()}
    first, second = (module._minibatch(task, j) for j in range(2))
    assert sorted(first["target"].tolist()) == sorted(second["target"].tolist()) == [0, 1, 2]
    rows = torch.cat([first["inputs"], second["inputs"]])
    assert len(torch.unique(rows, dim=0)) == 6


@pytest.mark.parametrize("batch_size", [4, 10])
def test_padding_is_never_drawn(support, batch_size):
    module = make(batch_size=batch_size)
    padded = Support(
        torch.cat([support.inputs, torch.full((1, 2, 4), 1e6).double()], dim=1),
        torch.cat([support.target, torch.tensor([[0, 1]])], dim=1),
        torch.cat([support.weight, torch.zeros(1, 2).double()], dim=1),
        3,
    )
    with torch.no_grad():
        expected, found = module.adapt(support), module.adapt(padded)
    torch.testing.assert_close(found["weight"], expected["weight"])


class LargestResult(TorchDispatchMode):
    """Remembers how many values the largest tensor has that is made."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        parts = made if isinstance(made, tuple) else (made,)
        self.numel = max(self.numel, *(part.numel() for part in parts))
        return made


def test_examples_are_numbered_within_their_class_in_little_memory():
    torch.manual_seed(0)
    target, weight = torch.randint(0, 4, (2, 200)), torch.randint(0, 2, (2, 200)).double()
    with LargestResult() as largest:
        found = _place_in_class({"target": target, "weight": weight, "count": torch.ones(2, 4)})
    assert largest.numel == target.numel()
    is_there = one_hot(target) * (weight > 0).unsqueeze(-1)
    earlier = is_there.cumsum(dim=1) - is_there
    torch.testing.assert_close(found, earlier.gather(2, target.unsqueeze(-1)).squeeze(-1))
