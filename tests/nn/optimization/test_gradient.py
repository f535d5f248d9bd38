"""Modules that take gradient steps, beside plain loops in float64, finite differences, laws."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sklearn_fewshot.nn import (
    EmbeddingModule,
    EpisodeBatch,
    EpisodicCrossEntropy,
    Support,
    evaluating,
)
from sklearn_fewshot.nn.heads import GradientHead, PrototypicalHead
from sklearn_fewshot.nn.optimization import GradientModule

N_WAY, N_SHOT, N_QUERY, DIM = 3, 2, 2, 4
DEFAULTS = {"start": "prototype", "n_targets": None, "n_steps": 2, "step_size": 0.1}


def small_net():
    return nn.Sequential(nn.Linear(DIM, 5), nn.Tanh(), nn.Linear(5, 3))


def normed_net():
    return nn.Sequential(nn.Linear(DIM, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def make(backbone=small_net, **options):
    module = GradientModule.build(
        (DIM,),
        adaptation=DEFAULTS | options,
        backbone=backbone(),
        head=PrototypicalHead,
        head_options={"scale": 0.7, "learn_scale": True},
    )
    if options.get("start") == "shared":
        nn.init.normal_(module.readout.row)
    return module.double()


@pytest.fixture
def support():
    torch.manual_seed(1)
    inputs = torch.randn(2, N_WAY * N_SHOT, DIM, dtype=torch.float64)
    target = torch.arange(N_WAY).repeat(N_SHOT).expand(2, -1)
    return Support(inputs, target, torch.ones(2, N_WAY * N_SHOT).double(), N_WAY)


@pytest.fixture
def batch(support):
    inputs = torch.cat([support.inputs, torch.randn(2, N_WAY * N_QUERY, DIM).double()], dim=1)
    place = torch.arange(inputs.shape[0] * inputs.shape[1]).view(2, -1)
    return EpisodeBatch(
        inputs=inputs.flatten(0, 1),
        support=place[:, : N_WAY * N_SHOT],
        support_target=support.target,
        weight=support.weight,
        query=place[:, N_WAY * N_SHOT :],
        target=torch.arange(N_WAY).repeat_interleave(N_QUERY).expand(2, -1),
        n_classes=N_WAY,
    )


def plain_maml(module, batch, *, first_order=False, adapts="all"):
    """Return the loss of a batch by loops of ordinary autograd, from prototypes."""
    losses = []
    for e in range(2):
        x, y = batch.inputs[batch.support[e]], batch.support_target[e]
        weights = dict(module.initial.backbone.named_parameters())
        unit = (2.0 * module.initial.head.scale).sqrt()

        def features(x, weights):
            return torch.func.functional_call(module.initial.backbone, weights, (x,))

        z = features(x, weights)
        prototype = torch.stack([z[y == k].mean(0) for k in range(N_WAY)])
        centre = prototype.mean(0)
        w = unit * (prototype - centre)
        b = -0.5 * (w**2).sum(1)
        # Copies: that the prototypes depend on the weights is no part of the inner gradient.
        weights, w, b = {k: v + 0.0 for k, v in weights.items()}, w + 0.0, b + 0.0
        for _ in range(module.n_steps):
            logits = unit * (features(x, weights) - centre) @ w.T + b
            loss = cross_entropy(logits, y)
            names = list(weights)
            variables = [*weights.values(), w, b]
            slopes = torch.autograd.grad(loss, variables, create_graph=True)
            slopes = [slope.detach() for slope in slopes] if first_order else slopes
            size = module.step_size
            if adapts == "all":
                w, b = w - N_WAY * size * slopes[-2], b - N_WAY * size * slopes[-1]
            weights = {k: weights[k] - size * slopes[i] for i, k in enumerate(names)}
        logits = unit * (features(batch.inputs[batch.query[e]], weights) - centre) @ w.T + b
        losses.append(cross_entropy(logits, batch.target[e]))
    return torch.stack(losses).mean()


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return {k: p.grad.clone() for k, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("adapts", ["all", "body"])
def test_loss_and_gradient_are_those_of_plain_loops(batch, first_order, adapts):
    options = {"learn_step_size": False, "multi_step_loss": False, "adapts": adapts}
    module = make(first_order=first_order, **options)
    loss = module.training_loss(batch, EpisodicCrossEntropy())
    expected = plain_maml(module, batch, first_order=first_order, adapts=adapts)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    ours, theirs = gradients(module, loss), gradients(module, expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


@pytest.mark.parametrize("options", [{"learn_step_size": "layer"}, {"start": "shared"}])
def test_the_meta_gradient_is_that_of_finite_differences(batch, options):
    module = make(multi_step_loss=True, n_batches=10, **options)

    def loss():
        return copy.deepcopy(module).training_loss(batch, EpisodicCrossEntropy())

    found = gradients(module, module.training_loss(batch, EpisodicCrossEntropy()))
    module.n_trained.zero_()
    module._n_trained = None
    assert found  # of weights, scale and step sizes
    for name, parameter in module.named_parameters():
        if name not in found:
            continue
        for i in range(min(3, parameter.numel())):
            flat, delta = parameter.data.view(-1), 1e-6
            flat[i] += delta
            above = loss().item()
            flat[i] -= 2 * delta
            below = loss().item()
            flat[i] += delta
            expected = (above - below) / (2 * delta)
            assert found[name].view(-1)[i].item() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_first_order_differs_from_second_order(batch):
    both = [make(first_order=first_order) for first_order in (False, True)]
    both[1].load_state_dict(both[0].state_dict())
    a, b = (gradients(it, it.training_loss(batch, EpisodicCrossEntropy())) for it in both)
    assert any(not torch.allclose(a[name], b[name], rtol=1e-3) for name in a)


def test_one_constant_step_size_for_each_weight_is_one_for_all(batch):
    """Meta-SGD before its step sizes are learned is MAML."""
    maml = make(learn_step_size=False)
    sgd = make(learn_step_size="element")
    sgd.load_state_dict(maml.state_dict(), strict=False)
    losses = [it.training_loss(batch, EpisodicCrossEntropy()) for it in (maml, sgd)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-7)  # 0.1 in float32


@pytest.mark.parametrize("kind", ["body", "head"])
def test_without_steps_it_is_a_prototypical_network(support, kind):
    support = Support(support.inputs.float(), support.target, support.weight.float(), N_WAY)
    queries = torch.randn(2, 5, DIM)
    module = make(n_steps=0).float()
    network = module.initial
    if kind == "head":
        head = GradientHead(scale=0.7, n_features=3, n_steps=0)
        module = EmbeddingModule(module.initial.backbone, head)
    with evaluating(module):
        found = module.predict(module.adapt(support), queries)
        expected = network.predict(network.adapt(support), queries)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("start", ["prototype", "shared"])
def test_the_steps_of_the_last_layer_alone_are_those_of_a_plain_loop(support, start):
    head = GradientHead(scale=0.7, n_features=DIM, n_steps=3, step_size=0.2, start=start)
    nn.init.normal_(head.row)
    head = head.double()
    state = head.context(support)
    unit = float((2 * head.scale).sqrt().detach())
    for e in range(2):
        x, y = support.inputs[e], support.target[e]
        means = torch.stack([x[y == k].mean(0) for k in range(N_WAY)])
        z = unit * (x - means.mean(0))
        w = unit * (means - means.mean(0)) if start == "prototype" else head.row.expand(N_WAY, -1)
        b = -0.5 * (w**2).sum(1) if start == "prototype" else torch.zeros(N_WAY).double()
        w, b = w.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
        for _ in range(3):
            slope = torch.autograd.grad(cross_entropy(z @ w.T + b, y), [w, b])
            w = (w - 0.2 * N_WAY * slope[0]).detach().requires_grad_()
            b = (b - 0.2 * N_WAY * slope[1]).detach().requires_grad_()
        torch.testing.assert_close(state["weight"][e], w)
        torch.testing.assert_close(state["bias"][e], b)


@pytest.mark.parametrize("backbone", [small_net, normed_net])
def test_a_loop_over_tasks_gives_the_same_gradient(batch, backbone):
    module = make(backbone)
    assert not module.loops
    found = []
    for loops in (False, True):
        one = copy.deepcopy(module)  # training moves the running moments
        one.loops = loops
        found.append(gradients(one, one.training_loss(batch, EpisodicCrossEntropy())))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-5, atol=1e-8)


class Sorting(nn.Linear):
    """Its control flow depends on values: it cannot be vectorised."""

    def forward(self, x):
        return super().forward(x if float(x.sum()) > 1e9 else -x)


def test_a_network_that_cannot_be_vectorised_is_run_in_a_loop(batch):
    module = make(lambda: Sorting(DIM, 3))
    assert module.loops
    assert module.training_loss(batch, EpisodicCrossEntropy()).isfinite()


@pytest.mark.parametrize("backbone", [small_net, normed_net])
def test_a_query_is_independent_of_the_others_and_of_training_mode(support, backbone):
    module = make(backbone).train()
    queries = torch.randn(2, 6, DIM, dtype=torch.float64)
    with torch.no_grad():
        state = module.adapt(support)
        together = module.predict(state, queries)
        alone = module.predict(state, queries[:, 2:3])
        module.eval()
        evaluated = module.predict(module.adapt(support), queries)
    torch.testing.assert_close(together[:, 2:3], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(together, evaluated, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backbone", [small_net, normed_net])
def test_padding_changes_nothing(support, backbone):
    module = make(backbone)
    queries = torch.randn(2, 4, DIM, dtype=torch.float64)
    padded = Support(
        torch.cat([support.inputs, 100.0 * torch.ones(2, 2, DIM).double()], dim=1),
        torch.cat([support.target, torch.tensor([[3, 0], [3, 0]])], dim=1),
        torch.cat([support.weight, torch.zeros(2, 2).double()], dim=1),
        N_WAY + 1,  # the last class has no example
    )
    with torch.no_grad():
        expected = module.predict(module.adapt(support), queries)
        found = module.predict(module.adapt(padded), queries)
    torch.testing.assert_close(found[..., :N_WAY], expected, rtol=0, atol=1e-10)
    assert (found[..., N_WAY] == -torch.inf).all()


def test_gradients_of_padded_episodes_are_finite(batch):
    module = make(normed_net)
    ragged = batch._replace(n_classes=N_WAY + 2, weight=batch.weight.clone())
    ragged.weight[0, -2:] = 0.0
    found = gradients(module, module.training_loss(ragged, EpisodicCrossEntropy()))
    assert all(value.isfinite().all() for value in found.values())


def test_renaming_classes_permutes_the_logits(support):
    module = make(normed_net)
    queries = torch.randn(2, 4, DIM, dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        expected = module.predict(module.adapt(support), queries)
        renamed = support._replace(target=order[support.target])
        found = module.predict(module.adapt(renamed), queries)
    torch.testing.assert_close(found[..., order], expected)


def test_examples_given_twice_change_nothing_without_batch_norm(support):
    module = make()
    queries = torch.randn(2, 4, DIM, dtype=torch.float64)
    twice = Support(*(torch.cat([value, value], dim=1) for value in support[:3]), support.n_classes)
    with torch.no_grad():
        expected = module.predict(module.adapt(support), queries)
        found = module.predict(module.adapt(twice), queries)
    torch.testing.assert_close(found, expected)


def test_steps_on_equal_rows_recognise_the_examples():
    module = make(start="shared", n_steps=60, step_size=0.3)
    torch.manual_seed(3)
    means = 3.0 * torch.randn(N_WAY, DIM).double()
    inputs = (means.repeat(4, 1) + 0.1 * torch.randn(4 * N_WAY, DIM).double()).unsqueeze(0)
    target = torch.arange(N_WAY).repeat(4).unsqueeze(0)
    with torch.no_grad():
        state = module.adapt(Support(inputs, target, torch.ones(1, 4 * N_WAY).double(), N_WAY))
        logits = module.predict(state, inputs)
    assert (logits.argmax(dim=-1) == target).all()


# ------------------------------------------------------------------ over the training


def test_weights_of_the_steps_move_to_the_last():
    module = make(n_steps=4, n_batches=100)
    seen = []
    for n_trained in (0, 10, 20, 99):
        module._n_trained = n_trained
        weights = module._step_weights()
        assert sum(weights.values()) == pytest.approx(1.0)
        seen.append(weights[4])
    assert seen[0] == pytest.approx(0.25)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert make(n_steps=4, multi_step_loss=False)._step_weights() == {4: 1.0}
    assert make(n_steps=1)._step_weights() == {1: 1.0}


def test_a_share_of_the_training_is_first_order(batch):
    module = make(first_order=0.5, n_batches=4)
    constant = []
    for _ in range(4):
        constant.append(module._gradients_are_constant())
        module.training_loss(batch, EpisodicCrossEntropy())
    assert constant == [True, True, False, False]


def test_the_progress_of_training_is_part_of_its_state(batch):
    module = make(n_batches=4)
    module.training_loss(batch, EpisodicCrossEntropy())
    other = make(n_batches=4)
    other.load_state_dict(module.state_dict())
    assert other._progress() == 0.25


def test_steps_that_diverge_are_an_error_that_names_step_and_size(support):
    module = make(step_size=1e300, n_steps=3, learn_step_size=False)
    one = Support(*(value[:1] for value in support[:3]), N_WAY)
    with torch.no_grad(), pytest.raises(ArithmeticError, match=r"step [12], .*n_steps=3.*1e\+300"):
        module.check_steps(one, module.adapt(one))


def test_too_many_steps_are_refused():
    with pytest.raises(ValueError, match="n_steps must be an int in"):
        make(n_steps=10**6)


def test_threads_may_adapt_one_module_at_the_same_time(support):
    from concurrent.futures import ThreadPoolExecutor

    module = make(normed_net).eval()
    queries = torch.randn(2, 4, DIM, dtype=torch.float64)

    def scores(shift):
        with torch.no_grad():
            moved = support._replace(inputs=support.inputs + shift)
            return module.predict(module.adapt(moved), queries + shift).numpy()

    expected = [scores(shift) for shift in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(scores, list(range(4)) * 5), expected * 5, strict=True):
            np.testing.assert_array_equal(found, wanted)
