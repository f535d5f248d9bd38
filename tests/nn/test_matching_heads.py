"""Matching heads: attention by plain loops, and recurrent networks read step by step."""

from itertools import chain

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import expit

from sklearn_fewshot.nn import METRICS, EpisodicCrossEntropy, Support, to_state
from sklearn_fewshot.nn.heads import FullContextHead, MatchingHead
from sklearn_fewshot.nn.heads._matching import in_canonical_order

DIM = 6
ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))


@pytest.fixture
def support(make_support):
    return make_support()


@pytest.fixture
def query(make_query):
    return make_query()


def attention_by_loops(support, query, *, metric="cosine", scale=10.0, balanced=True):
    """Return the share of a query's attention that each class gets (eq. 1 of the paper)."""
    proba = np.zeros((*query.shape[:2], support.n_classes))
    for episode in range(len(query)):
        distance = cdist(query[episode].numpy(), support.inputs[episode].numpy(), metric)
        weight, codes = support.weight[episode].numpy(), support.target[episode].numpy()
        for q, row in enumerate(distance):
            for item, d in enumerate(row):
                count = sum(weight[codes == codes[item]]) if balanced else 1.0
                attention = weight[item] * np.exp(-scale * d)
                if attention:
                    proba[episode, q, codes[item]] += attention / count
            proba[episode, q] /= sum(proba[episode, q])
    return proba


def attention(head, support, query):
    with torch.no_grad():
        return head.score(to_state(support), query).softmax(dim=-1)


# ------------------------------------------------------------------ attention


@ALL_METRICS
@pytest.mark.parametrize("balanced", [False, True])
def test_the_softmax_of_the_scores_is_the_attention_of_each_class(metric, balanced, ragged, query):
    head = MatchingHead(metric, scale=3.0, class_balanced=balanced).double()
    scale = head.scale.item()
    expected = attention_by_loops(ragged, query, metric=metric, scale=scale, balanced=balanced)
    np.testing.assert_allclose(attention(head, ragged, query), expected, rtol=1e-7)


@ALL_METRICS
def test_the_cross_entropy_is_minus_the_logarithm_of_the_attention(metric, ragged, query):
    head = MatchingHead(metric, scale=3.0).double()
    target = torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, 0, -1], [0, 1, 3, -1, -1]])
    attention = attention_by_loops(ragged, query, metric=metric, scale=head.scale.item())
    means = []
    for shares, codes in zip(attention, target, strict=True):
        logs = [np.log(share[code]) for share, code in zip(shares, codes, strict=True) if code >= 0]
        means.append(-sum(logs) / len(logs))
    loss = EpisodicCrossEntropy()(head.score(to_state(ragged), query), target)
    np.testing.assert_allclose(loss.detach(), np.mean(means), rtol=1e-7)


def test_balance_keeps_bigger_classes_from_being_preferred(query):
    """Nine examples against one, all at the same place."""
    places = query[:1, :1].expand(1, 10, DIM)
    code = torch.tensor([[0] * 9 + [1]])
    support = Support(places, code, torch.ones(1, 10), 2)
    for balanced, share in ((True, 0.5), (False, 0.9)):
        head = MatchingHead(class_balanced=balanced).double()
        np.testing.assert_allclose(attention(head, support, query[:1])[..., 0], share)


def test_without_balance_two_copies_of_everything_change_no_probability(support, query):
    head = MatchingHead(class_balanced=False).double()
    doubled = support._replace(weight=2.0 * support.weight)
    once, twice = (attention(head, given, query) for given in (support, doubled))
    torch.testing.assert_close(once, twice, rtol=1e-12, atol=0.0)


# ------------------------------------------------------------------ the scale of the paper


def one_shot(embedding):
    """Make a support set of one example a class."""
    n_way = len(embedding)
    code, weight = torch.arange(n_way), torch.ones(n_way)
    return Support(*(value.unsqueeze(0) for value in (embedding, code, weight)), n_way)


@pytest.mark.parametrize(("n_way", "bound"), [(5, 0.65), (20, 0.28)])
def test_at_the_literal_scale_one_query_is_never_sure(n_way, bound):
    """Its own class ahead, all others behind it: no embedding can do better."""
    head = MatchingHead(scale=1.0, learn_scale=False).double()
    query = torch.randn(1, 1, DIM, dtype=torch.float64)
    others = -query[0].expand(n_way - 1, DIM)
    best = attention(head, one_shot(torch.cat([query[0], others])), query)[0, 0, 0]
    by_hand = np.e / (np.e + (n_way - 1) / np.e)
    assert best.item() == pytest.approx(by_hand, rel=1e-6)
    assert bound - 0.01 < best < bound + 0.001
    for _ in range(50):
        rivals = torch.randn(n_way - 1, DIM, dtype=torch.float64)
        assert attention(head, one_shot(torch.cat([query[0], rivals])), query)[0, 0, 0] < best


@pytest.mark.parametrize(("n_way", "bound"), [(5, 0.47), (20, 0.13)])
def test_at_the_literal_scale_all_queries_together_are_less_sure_still(n_way, bound):
    """The best that classes can do for each other are the corners of a simplex."""
    corners = torch.eye(n_way, dtype=torch.float64) - 1.0 / n_way

    def certainty(scale):
        head = MatchingHead(scale=scale).double()
        return attention(head, one_shot(corners), corners.unsqueeze(0))[0].diagonal()

    np.testing.assert_allclose(certainty(1.0), bound, atol=0.005)
    assert (certainty(10.0) > 0.99).all()


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize("cls", [MatchingHead, FullContextHead])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absent_classes_and_padding_give_no_nan(cls, scale, dtype, ragged, query):
    head = cls.for_embeddings((DIM,), scale=scale).to(dtype)
    embedding = ragged.inputs.to(dtype).requires_grad_()
    query = query.to(dtype).requires_grad_()
    scores = head.score(head.context(ragged._replace(inputs=embedding)), query)
    assert scores[:2].isfinite().all()
    assert (scores[2, :, 2] == -torch.inf).all()
    target = torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, 0, -1], [0, 1, 3, -1, -1]])
    loss = EpisodicCrossEntropy()(scores, target)
    loss.backward()
    assert loss.isfinite()
    for value in (embedding, query, *head.parameters()):
        assert value.grad.isfinite().all()
    assert (embedding.grad[ragged.weight == 0] == 0).all()


# ------------------------------------------------------------------ full context embeddings


def lstm_step(x, h, c, weights):
    """One step of a long short-term memory; torch orders the gates so."""
    of_input, of_state, bias = weights
    write, keep, value, show = np.split(of_input @ x + of_state @ h + bias, 4)
    c = expit(keep) * c + expit(write) * np.tanh(value)
    return expit(show) * np.tanh(c), c


def states_by_steps(sequence, lstm):
    """Return the state after each item of a sequence."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    of_input, of_state, *biases = (getattr(lstm, n).detach().numpy() for n in names)
    h = c = np.zeros(of_state.shape[1])
    states = []
    for x in sequence:
        h, c = lstm_step(x, h, c, (of_input, of_state, sum(biases)))
        states.append(h)
    return states


def examples_in_order(support, episode):
    """Return (class, example) of the real items: classes by the mean of their keys, then by key."""
    direction = np.cos(np.arange(1.0, DIM + 1.0))
    classes = {}
    for x, code, weight in zip(*(value[episode].numpy() for value in support[:3]), strict=True):
        if weight > 0:
            classes.setdefault(code, []).append(x)
    in_order = sorted(classes, key=lambda code: np.mean([x @ direction for x in classes[code]]))
    return [
        (code, x) for code in in_order for x in sorted(classes[code], key=lambda x: x @ direction)
    ]


def read(h, g):
    """Attention by the dot product, over the examples."""
    attention = np.exp([h @ example for example in g])
    return sum(a * example for a, example in zip(attention, g, strict=True)) / sum(attention)


def embedded_in_context(head, query, g):
    """Return f(q, S) of one query, by the equations of the notes."""
    weight, bias = (value.detach().numpy() for value in (head.gates.weight, head.gates.bias))
    h = c = np.zeros(DIM)
    r = read(h, g)
    for _ in range(head.n_steps):
        keep, write, show, value = np.split(weight @ np.concatenate([query, h, r]) + bias, 4)
        c = expit(keep) * c + expit(write) * np.tanh(value)
        h = expit(show) * np.tanh(c) + query
        r = read(h, g)
    return h


def full_context_by_loops(head, support, query):
    """Return the scores, one episode and one query at a time."""
    scores = np.full((*query.shape[:2], support.n_classes), -np.inf)
    for episode in range(len(query)):
        codes, examples = zip(*examples_in_order(support, episode), strict=True)
        forward = states_by_steps(examples, head.forward_lstm)
        backward = states_by_steps(examples[::-1], head.backward_lstm)[::-1]
        g = [sum(parts) for parts in zip(forward, backward, examples, strict=True)]
        for q, row in enumerate(query[episode].numpy()):
            f = embedded_in_context(head, row, g)
            for code in set(codes):
                members = [x for x, of in zip(g, codes, strict=True) if of == code]
                near = [
                    np.exp(head.scale.item() * (f @ x / np.linalg.norm(f) / np.linalg.norm(x) - 1))
                    for x in members
                ]
                scores[episode, q, code] = np.log(sum(near) / len(near))
    return scores


def make_full_context(**options):
    """Make a head whose recurrent networks matter: torch starts them small."""
    head = FullContextHead(DIM, **options).double()
    with torch.no_grad():
        for parameter in chain(
            head.forward_lstm.parameters(),
            head.backward_lstm.parameters(),
            head.gates.parameters(),
        ):
            parameter.copy_(torch.randn_like(parameter))
    return head


def scored(head, support, query):
    with torch.inference_mode():
        return head.score(head.context(support), query).numpy()


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_full_context_equals_the_equations_step_by_step(n_steps, ragged, query):
    head = make_full_context(n_steps=n_steps)
    expected = full_context_by_loops(head, ragged, query)
    np.testing.assert_allclose(scored(head, ragged, query), expected, rtol=1e-10, atol=1e-10)


def test_every_step_changes_the_scores(support, query):
    one, five = (make_full_context(n_steps=n_steps) for n_steps in (1, 5))
    five.load_state_dict(one.state_dict())
    assert np.abs(scored(one, support, query) - scored(five, support, query)).max() > 1e-3


def test_the_context_changes_what_an_example_means(support, query):
    """Another example of class 0 moves the scores of the others."""
    head = make_full_context()
    weight = support.weight.clone()
    weight[:, (support.target == 0).any(dim=0).nonzero()[0]] = 0.0
    fewer = support._replace(weight=weight)
    difference = scored(head, support, query) - scored(head, fewer, query)
    assert np.abs(difference[..., 1:]).max() > 1e-3


def test_the_order_is_by_class_then_by_example_with_padding_last(ragged):
    sorted_, length = in_canonical_order(ragged), (ragged.weight > 0).sum(dim=1)
    for episode, n_real in enumerate(length):
        assert (sorted_.weight[episode, :n_real] == 1).all()
        assert (sorted_.weight[episode, n_real:] == 0).all()
        for place, (code, example) in enumerate(examples_in_order(ragged, episode)):
            assert sorted_.target[episode, place] == code
            np.testing.assert_array_equal(sorted_.inputs[episode, place], example)


def test_the_order_does_not_depend_on_the_unit_of_the_weights(ragged):
    expected = in_canonical_order(ragged)
    got = in_canonical_order(ragged._replace(weight=ragged.weight / 1000))
    assert torch.equal(got.target, expected.target)
    assert torch.equal(got.inputs, expected.inputs)


def test_the_order_is_one_of_examples_not_of_rows_or_names(ragged):
    shuffled = torch.randperm(12)
    renamed = torch.tensor([2, 0, 3, 1])
    other = Support(
        ragged.inputs[:, shuffled],
        renamed[ragged.target[:, shuffled]],
        ragged.weight[:, shuffled],
        ragged.n_classes,
    )
    expected, got = in_canonical_order(ragged), in_canonical_order(other)
    real = expected.weight > 0
    assert torch.equal(got.inputs[real], expected.inputs[real])
    assert torch.equal(got.target[real], renamed[expected.target[real]])


def test_one_pass_serves_all_episodes_and_queries(ragged, query):
    head = make_full_context()
    together = scored(head, ragged, query)
    for episode in range(3):
        alone = Support(*(value[[episode]] for value in ragged[:3]), ragged.n_classes)
        for q in range(5):
            score = scored(head, alone, query[[episode], q : q + 1])
            np.testing.assert_allclose(score[0, 0], together[episode, q], rtol=1e-10)


def test_float32_is_close_to_float64(ragged, query):
    head = make_full_context()
    expected = scored(head, ragged, query)
    single = ragged._replace(inputs=ragged.inputs.float())
    np.testing.assert_allclose(scored(head.float(), single, query.float()), expected, rtol=1e-3)
