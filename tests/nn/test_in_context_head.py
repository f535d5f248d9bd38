"""In-context attention against plain loops, and what it starts as."""

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax
from torch import nn

from sklearn_fewshot.nn import Support
from sklearn_fewshot.nn.heads import InContextHead, PrototypicalHead
from sklearn_fewshot.nn.heads._in_context import softmax_within_classes

DIM = 6


def scored(head, support, query):
    with torch.no_grad():
        return head.score(head.context(support), query).numpy()


def random_head(**options):
    head = InContextHead(n_features=DIM, token_dim=4, n_heads=2, **options).double()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    return head


def numbers(layer):
    return [parameter.detach().numpy() for parameter in layer.parameters()]


def apply(layer, x):
    weight, bias = numbers(layer)
    return weight @ x + bias


def norm(layer, x):
    weight, bias = numbers(layer)
    return weight * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + bias


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def attend(layer, token, items, bonus):
    """Return a token after a layer; ``bonus`` is of each attention head and item."""
    seen = [norm(layer.before, item) for item in items]
    read = []
    q = apply(layer.query, norm(layer.before, token)).reshape(2, 2)
    for h in range(2):
        k = [apply(layer.key, item).reshape(2, 2)[h] for item in seen]
        v = [apply(layer.value, item).reshape(2, 2)[h] for item in seen]
        a = softmax([q[h] @ one / np.sqrt(2) + bonus[h][j] for j, one in enumerate(k)])
        read.append(sum(share * one for share, one in zip(a, v, strict=True)))
    token = token + apply(layer.mix, np.concatenate(read))
    first, second = layer.each[1], layer.each[3]
    return token + apply(second, gelu(apply(first, norm(layer.each[0], token))))


def by_loops(head, X, code, query, n_classes):
    """Score the queries of one episode."""
    scale = float(head.scale.detach())
    unit = np.sqrt(2 * scale)
    present = np.unique(code)
    centre = np.mean([X[code == k].mean(axis=0) for k in present], axis=0)
    items = [apply(head.enter, unit * (x - centre)) for x in X]
    tokens = [apply(head.enter, unit * (x - centre)) for x in query]
    for layer in head.layers:
        own = layer.bias.detach().numpy()
        bonus = [[[own[h] * (a == b) for b in code] for h in range(2)] for a in code]
        nothing = np.zeros((2, len(X)))
        tokens = [attend(layer, token, items, nothing) for token in tokens]
        items = [attend(layer, item, items, bonus[i]) for i, item in enumerate(items)]

    def changed(x, token):
        return x + apply(head.leave[1], norm(head.leave[0], token)) / unit

    items = [changed(x, token) for x, token in zip(X, items, strict=True)]
    scores = np.full((len(query), n_classes), -np.inf)
    for q, (x, token) in enumerate(zip(query, tokens, strict=True)):
        f = changed(x, token)
        for k in present:
            mine = [item for item, c in zip(items, code, strict=True) if c == k]
            closeness = -float(head.closeness.detach()) * scale
            a = softmax([closeness * ((f - item) ** 2).sum() for item in mine])
            prototype = sum(share * item for share, item in zip(a, mine, strict=True))
            scores[q, k] = -scale * ((f - prototype) ** 2).sum()
    return scores


def test_scores_equal_plain_loops(ragged, make_query):
    head, query = random_head(n_layers=2), make_query()
    scores = scored(head, ragged, query)
    for e, weight in enumerate(ragged.weight.numpy()):
        X, code = (part[e][torch.from_numpy(weight > 0)].numpy() for part in ragged[:2])
        expected = by_loops(head, X, code, query[e].numpy(), ragged.n_classes)
        np.testing.assert_allclose(scores[e], expected, rtol=1e-9)


def test_with_one_example_per_class_it_starts_as_a_prototypical_network(make_support, make_query):
    support = make_support(n_support=4)
    head = InContextHead(n_features=DIM, scale=0.7).double()
    prototypical = PrototypicalHead(scale=0.7).double()
    expected = scored(prototypical, prototypical.represent(support), make_query())
    np.testing.assert_allclose(scored(head, support, make_query()), expected, rtol=1e-10)


def test_without_closeness_it_starts_as_one_for_any_number(make_support, make_query):
    head = InContextHead(n_features=DIM).double()
    nn.init.zeros_(head.closeness)
    prototypical = PrototypicalHead()
    support = make_support()
    expected = scored(prototypical, prototypical.represent(support), make_query())
    np.testing.assert_allclose(scored(head, support, make_query()), expected, rtol=1e-10)


def test_large_closeness_is_the_nearest_example_of_a_class(make_support, make_query):
    head = InContextHead(n_features=DIM).double()
    nn.init.constant_(head.closeness, 1e4)
    support, query = make_support(), make_query()
    square = torch.cdist(query, support.inputs).square()
    for k in range(4):
        of_class = square.masked_fill((support.target != k).unsqueeze(1), torch.inf)
        nearest = -of_class.amin(dim=2).numpy()
        np.testing.assert_allclose(scored(head, support, query)[..., k], nearest, rtol=1e-8)


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_distances_far_from_the_origin_keep_their_digits(shift):
    """In float32: inner products are those of differences."""
    inputs, query = torch.randn(1, 6, DIM) + shift, torch.randn(1, 4, DIM) + shift
    support = Support(inputs, torch.tensor([[0, 0, 0, 1, 1, 1]]), torch.ones(1, 6), 2)
    head = InContextHead(n_features=DIM)
    exact = InContextHead(n_features=DIM).double()
    exact.load_state_dict(head.state_dict())
    precise = Support(inputs.double(), support.target, support.weight.double(), 2)
    expected = scored(exact, precise, query.double())
    np.testing.assert_allclose(scored(head, support, query), expected, rtol=1e-3)


def test_a_softmax_within_classes_sums_to_one_in_each(ragged):
    logits = torch.randn(3, 5, 12, dtype=torch.float64) + ragged.weight.log().unsqueeze(1)
    shares = softmax_within_classes(logits, ragged).numpy()
    for e in range(3):
        for k in range(4):
            mine = (ragged.target[e] == k).numpy() & (ragged.weight[e] > 0).numpy()
            if mine.any():
                expected = softmax(logits[e].numpy()[:, mine], axis=1)
                np.testing.assert_allclose(shares[e][:, mine], expected, rtol=1e-10)
    assert not shares.transpose(0, 2, 1)[ragged.weight.numpy() == 0].any()
