"""The head of Meta Networks against plain loops and gradients by autograd."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import nn

from sklearn_fewshot.nn import Support
from sklearn_fewshot.nn.heads import MetaNetHead, _meta_net

DIM, HIDDEN, META = 6, 5, 4


@pytest.fixture
def head():
    head = MetaNetHead(DIM, hidden_dim=HIDDEN, meta_dim=META).double()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.7)
    return head


def pre(x):
    """Return logarithm and sign of a number."""
    if abs(x) >= np.exp(-10):
        return np.array([np.log(abs(x)) / 10, np.sign(x)])
    return np.array([-1.0, np.exp(10) * x])


def numbers(layer):
    return [parameter.detach().numpy() for parameter in layer.parameters()]


def slow(layer, z):
    weight, bias = numbers(layer)
    return np.maximum(weight @ z + bias, 0)


def distances(head, hidden, means):
    scale = float(head.log_scale.detach().exp()) / HIDDEN
    return np.array([-scale * ((hidden - mean) ** 2).sum() for mean in means])


def gradient_by_autograd(head, layer, Z, code, index, means):
    """Return the gradient of the loss of one example by the layer's weights, with fixed means."""
    weight = layer.weight.detach().clone().requires_grad_()
    hidden = (weight @ torch.from_numpy(Z[index]) + layer.bias.detach()).relu()
    square = (hidden - torch.from_numpy(np.array(means))).square().sum(dim=1)
    logits = -head.log_scale.detach().exp() / HIDDEN * square
    loss = nn.functional.cross_entropy(logits, torch.tensor(int(code[index])))
    return torch.autograd.grad(loss, weight)[0].numpy()


def task_weights(head, gradients):
    """Return the fast weights that the recurrent network makes of the classes' gradients."""
    w_in, w_state, b_in, b_state = numbers(head.read_gradients)
    weight, bias = numbers(head.task_weight)
    fast = np.zeros((HIDDEN, DIM))
    for place in np.ndindex(HIDDEN, DIM):
        h = c = np.zeros(META)
        for gradient in gradients:
            gates = w_in @ pre(gradient[place]) + b_in + w_state @ h + b_state
            write, keep, value, show = np.split(gates, 4)
            c = expit(keep) * c + expit(write) * np.tanh(value)
            h = expit(show) * np.tanh(c)
        fast[place] = (weight @ h + bias)[0]
    return fast


def example_weights(head, gradient):
    first, bias, second, last = numbers(head.example_weight)
    fast = np.zeros(gradient.shape)
    for place in np.ndindex(*gradient.shape):
        fast[place] = (second @ np.maximum(first @ pre(gradient[place]) + bias, 0) + last)[0]
    return fast


def by_loops(head, X, code, query):
    """Score the queries of one episode whose classes all have an example."""
    n_classes = code.max() + 1
    centre = np.mean([X[code == k].mean(axis=0) for k in range(n_classes)], axis=0)
    spread = [((X[code == k] - centre) ** 2).mean() for k in range(n_classes)]
    size = np.sqrt(np.mean(spread))
    Z = (X - centre) / size
    # 1. Fast weights of the task.
    u = np.array([slow(head.slow_representation, z) for z in Z])
    means = [u[code == k].mean(axis=0) for k in range(n_classes)]
    slopes = np.array(
        [
            gradient_by_autograd(head, head.slow_representation, Z, code, i, means)
            for i in range(len(Z))
        ]
    )
    axis = np.cos(np.arange(1, DIM + 1))
    order = np.argsort([(X[code == k] @ axis).mean() for k in range(n_classes)])
    fast = task_weights(head, [slopes[code == k].mean(axis=0) for k in order])
    key = [slow(head.slow_representation, z) + np.maximum(fast @ z, 0) for z in Z]
    # 2. Fast weights of the examples.
    b = np.array([slow(head.slow_base, z) for z in Z])
    means = [b[code == k].mean(axis=0) for k in range(n_classes)]
    hidden_fast, output_fast = [], []
    for i in range(len(Z)):
        slope = gradient_by_autograd(head, head.slow_base, Z, code, i, means)
        hidden_fast.append(example_weights(head, slope))
        p = softmax(distances(head, b[i], means)) - np.eye(n_classes)[code[i]]
        output_fast.append(example_weights(head, np.outer(p, b[i])))
    # 3. Queries.
    scores = []
    for x in query:
        z = (x - centre) / size
        r = slow(head.slow_representation, z) + np.maximum(fast @ z, 0)
        cosine = [r @ one / np.linalg.norm(r) / np.linalg.norm(one) for one in key]
        a = softmax(float(head.log_strength.detach().exp()) * np.array(cosine))
        mixed = sum(share * weights for share, weights in zip(a, hidden_fast, strict=True))
        hidden = slow(head.slow_base, z) + np.maximum(mixed @ z, 0)
        rows = sum(share * weights for share, weights in zip(a, output_fast, strict=True))
        scores.append(distances(head, hidden, means) + rows @ hidden)
    return np.array(scores)


def test_scores_equal_plain_loops(head, make_support, make_query):
    support, query = make_support(n_support=7), make_query()[:, :3]
    with torch.no_grad():
        scores = head.score(head.context(support), query).numpy()
    for e in range(len(scores)):
        X, code = support.inputs[e].numpy(), support.target[e].numpy()
        expected = by_loops(head, X, code, query[e].numpy())
        np.testing.assert_allclose(scores[e], expected, rtol=1e-6)


def test_fast_weights_are_made_some_at_a_time(head, make_support, make_query, monkeypatch):
    support, query = make_support(), make_query()
    with torch.no_grad():
        expected = head.score(head.context(support), query)
        monkeypatch.setattr(_meta_net, "FAST_VALUES", 1)
        torch.testing.assert_close(head.score(head.context(support), query), expected)


def test_training_reaches_every_weight(head, make_support, make_query):
    support, query = make_support(), make_query()
    head.score(head.context(support), query).square().mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_equal_examples_give_finite_scores(head):
    support = Support(torch.zeros(1, 4, DIM), torch.tensor([[0, 1, 0, 1]]), torch.ones(1, 4), 2)
    head = head.float()
    assert head.score(head.context(support), torch.zeros(1, 2, DIM)).isfinite().all()
