"""The Siamese head: weighted distances by plain loops, aggregation, and its start."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import expit

from sklearn_fewshot.nn import METRICS, to_state
from sklearn_fewshot.nn.heads import SiameseHead

DIM = 6
WEIGHTED = {"cityblock": np.abs, "sqeuclidean": np.square}
SIGNS = {
    "both": [0.5, -1.0, 2.0, -0.3, -1.5, 0.1],
    "negative": [-0.5, -1.0, -2.0, -0.3, -1.5, -0.1],
    "positive": [0.5, 1.0, 2.0, 0.3, 1.5, 0.1],
    "some zero": [0.5, 0.0, 2.0, -0.3, 0.0, -0.1],
}
ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))
ALL_SIGNS = pytest.mark.parametrize("signs", SIGNS)
ALL_AGGREGATES = pytest.mark.parametrize("aggregate", ["max", "mean"])


@pytest.fixture
def query(make_query):
    return make_query()


def make_head(metric="cityblock", signs="both", aggregate="max"):
    head = SiameseHead(DIM, metric, aggregate).double()
    with torch.no_grad():
        head.unit.fill_(1.0)
        head.relative_weight.copy_(torch.tensor(SIGNS[signs])[: len(head.weight)])
        head.bias.fill_(0.7)
    return head.requires_grad_(False)


def log_odds_by_loops(head, metric, a, b):
    """Sum the weighted differences one dimension at a time."""
    result = np.zeros((len(a), len(b)))
    for i, j in np.ndindex(result.shape):
        if metric in WEIGHTED:
            differences = [WEIGHTED[metric](x - y) for x, y in zip(a[i], b[j], strict=True)]
        else:
            differences = [float(cdist(a[[i]], b[[j]], metric)[0, 0])]
        weights = [weight.item() for weight in head.weight]
        result[i, j] = sum(w * d for w, d in zip(weights, differences, strict=True))
    return result + head.bias.item()


@ALL_METRICS
@ALL_SIGNS
def test_log_odds_equal_plain_loops(metric, signs, make_support, query):
    head, support = make_head(metric, signs), make_support()
    got = head.log_odds(query, support.inputs).numpy()
    for episode, (a, b) in enumerate(zip(query.numpy(), support.inputs.numpy(), strict=True)):
        expected = log_odds_by_loops(head, metric, a, b)
        np.testing.assert_allclose(got[episode], expected, rtol=1e-10, atol=1e-10)


@ALL_METRICS
def test_weights_in_float32_take_no_digits_from_embeddings_in_float64(metric, make_support, query):
    head, embedding = make_head(metric).float(), make_support().inputs
    single = head.log_odds(query, embedding)
    expected = head.double().log_odds(query, embedding)
    torch.testing.assert_close(single, expected, rtol=1e-12, atol=1e-12)


@ALL_METRICS
@ALL_AGGREGATES
def test_a_class_scores_as_its_pairs_do(metric, aggregate, ragged, query):
    head = make_head(metric, aggregate=aggregate)
    scores = head.score(to_state(ragged), query).numpy()
    over_class = max if aggregate == "max" else np.mean
    for episode in range(3):
        support = ragged.inputs[episode].numpy()
        pairs = log_odds_by_loops(head, metric, query[episode].numpy(), support)
        for q, label in np.ndindex(scores.shape[1:]):
            members = (ragged.target[episode] == label) & (ragged.weight[episode] > 0)
            expected = over_class(pairs[q, members]) if members.any() else -np.inf
            np.testing.assert_allclose(scores[episode, q, label], expected, rtol=1e-10)


@ALL_METRICS
@ALL_SIGNS
def test_a_sample_and_itself_differ_by_nothing(metric, signs, query):
    head = make_head(metric, signs)
    itself = head.log_odds(query.unsqueeze(2), query.unsqueeze(2)).flatten()
    np.testing.assert_allclose(itself.sigmoid(), expit(0.7), rtol=1e-12)


@ALL_METRICS
def test_pairs_have_no_order(metric, make_support, query):
    head, other = make_head(metric), make_support().inputs
    there, back = head.log_odds(query, other), head.log_odds(other, query)
    torch.testing.assert_close(there, back.mT, rtol=1e-10, atol=1e-10)


def test_probabilities_are_normalised_odds_of_same(ragged, query):
    head = make_head()
    scores = head.score(to_state(ragged), query)
    same = expit(scores.numpy())
    odds = same / (1.0 - same)
    expected = odds / odds.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(scores.softmax(dim=-1), expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [1e2, 1e4])
def test_classes_are_told_apart_where_nothing_is_alike(dtype, distance, ragged, query):
    """The log-odds are too low for their probabilities to be numbers above zero."""
    head = make_head(signs="negative").to(dtype)
    state = to_state(ragged._replace(inputs=ragged.inputs.to(dtype)))
    scores = head.score(state, query.to(dtype) + distance)
    assert (scores < -100).all()
    proba = scores.softmax(dim=-1)
    np.testing.assert_allclose(proba.sum(dim=-1), 1.0, rtol=1e-6)
    far = ragged.inputs.masked_fill((ragged.weight == 0).unsqueeze(-1), -torch.inf)
    nearest = (far * head.weight.double()).sum(dim=-1).argmin(dim=1)  # below all queries: linear
    expected = ragged.target.gather(1, nearest.unsqueeze(1)).expand(3, 5)
    assert torch.equal(scores.argmax(dim=-1), expected)


# ------------------------------------------------------------------ gradients


@ALL_METRICS
@pytest.mark.parametrize("signs", ["both", "negative", "positive"])
@ALL_AGGREGATES
def test_gradients_are_right(metric, signs, aggregate, make_support, make_query):
    """Weights of exactly zero, which lie on a kink of the computation, are left out."""
    head = make_head(metric, signs, aggregate).requires_grad_()
    support, query = make_support(n_support=5), make_query()[:, :2]

    def scores(embedding, query, *_):
        return head.score(to_state(support._replace(inputs=embedding)), query)

    inputs = (support.inputs.requires_grad_(), query.requires_grad_(), *head.parameters())
    assert torch.autograd.gradcheck(scores, inputs)


@pytest.mark.parametrize("metric", WEIGHTED)
def test_equal_samples_and_lost_dimensions_have_finite_gradients(metric, query):
    head = make_head(metric, "some zero").requires_grad_()
    head.log_odds(query.requires_grad_(), query).sum().backward()
    assert query.grad.isfinite().all()
    assert head.relative_weight.grad.isfinite().all()


# ------------------------------------------------------------------ start


@ALL_METRICS
@pytest.mark.parametrize("dim", [1, 64])
def test_it_starts_by_calling_near_samples_the_same(metric, dim):
    head = SiameseHead(dim, metric)
    assert len(head.weight) == (dim if metric in WEIGHTED else 1)
    assert (head.weight < 0).all()
    place = torch.ones(1, dim)
    with torch.no_grad():
        assert head.log_odds(place, place) > 0
        if metric in WEIGHTED:
            assert head.log_odds(place, place - 1.0).item() == pytest.approx(-2.0)


@ALL_METRICS
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_the_start_puts_the_median_pair_at_negative_log_odds(metric, size, make_support, query):
    head, support = SiameseHead(DIM, metric).double(), make_support(n_padding=3)
    weight = support.weight.masked_fill(support.target == 2, 0.0)  # -inf among the scores
    support = support._replace(inputs=size * support.inputs, weight=weight)
    with torch.no_grad():
        state = to_state(support)
        scores = head.score(state, size * query)
        head.start_from(scores, scores.argmax(dim=-1))
        scores = head.score(state, size * query)
    assert scores[scores.isfinite()].median().item() == pytest.approx(-2.0)
    assert (head.weight < 0).all()


def test_the_start_stays_where_all_pairs_are_equal():
    head = SiameseHead(DIM)
    before = head.weight.clone()
    head.start_from(head.bias.detach().expand(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))
    assert torch.equal(head.weight, before)
