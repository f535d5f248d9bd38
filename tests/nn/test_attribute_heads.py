"""Heads on attributes, against plain loops in float64."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import nn

from sklearn_fewshot.nn import METRICS as ALL_METRICS
from sklearn_fewshot.nn import EpisodicCrossEntropy, PairSquaredError, log_loss_factor
from sklearn_fewshot.nn.heads import AttributePrototypeHead, AttributeRelationHead

DIM, N_ATTRIBUTES = 6, 4
HEADS = pytest.mark.parametrize("kind", [AttributePrototypeHead, AttributeRelationHead])
METRICS = pytest.mark.parametrize("metric", sorted(ALL_METRICS))


def make_head(kind=AttributePrototypeHead, **options):
    """Make a head with weights of no special kind."""
    head = kind(DIM, N_ATTRIBUTES, **options).double().eval()
    with torch.no_grad():
        for name, value in head.state_dict().items():
            if not name.endswith("log_scale"):
                value.normal_(std=0.5)
    return head


@pytest.fixture
def classes(make_support):
    """Three episodes of four classes, one item each: attributes and a penalty."""
    return make_support(shape=(N_ATTRIBUTES + 1,), n_support=4)


def scored(head, classes, query):
    with torch.no_grad():
        return head.score(head.context(head.represent(classes)), query)


def weights_of(head):
    return {name: value.numpy() for name, value in head.state_dict().items()}


def attributes_of(classes, episode, label):
    """Return the mean of a class's items, and of its penaltys."""
    members = (classes.target[episode] == label) & (classes.weight[episode] > 0)
    item = classes.inputs[episode, members].numpy().mean(axis=0)
    return item[:-1], item[-1]


def relu(x):
    return np.maximum(x, 0.0)


def by_loops(classes, query, score):
    """Call ``score(attributes, penalty, embedding)`` for every pair."""
    result = np.zeros((len(query), query.shape[1], classes.n_classes))
    for episode, q, label in np.ndindex(result.shape):
        attributes, penalty = attributes_of(classes, episode, label)
        result[episode, q, label] = score(attributes, penalty, query[episode, q].numpy())
    return torch.from_numpy(result)


def prototype_score(head, metric):
    w, scale = weights_of(head), float(head.scale)

    def score(attributes, penalty, embedding):
        prototype = w["of_class.weight"] @ attributes
        prototype /= np.sqrt(sum(prototype**2))
        mapped = w["of_query.weight"] @ embedding + w["of_query.bias"]
        return -scale * (cdist(mapped[None], prototype[None], metric)[0, 0] + penalty)

    return score


def relation_score(head):
    w = weights_of(head)

    def score(attributes, penalty, embedding):
        unit = attributes / np.sqrt(sum(attributes**2))
        hidden = relu(w["branch.0.weight"] @ unit + w["branch.0.bias"])
        branch = w["branch.2.weight"] @ hidden + w["branch.2.bias"]
        prototype = w["of_class.weight"] @ unit + 0.1 * branch
        prototype /= np.sqrt(sum(prototype**2))
        mapped = w["of_query.weight"] @ embedding + w["of_query.bias"]
        both = np.concatenate([prototype, mapped])
        first = np.hstack([w["inner.of_class.weight"], w["inner.of_query.weight"]])
        hidden = relu(first @ both)
        hidden = relu(w["inner.of_pair.1.weight"] @ hidden + w["inner.of_pair.1.bias"])
        (log_odds,) = w["inner.of_pair.3.weight"] @ hidden + w["inner.of_pair.3.bias"]
        return np.log(1.0 / (1.0 + np.exp(-log_odds)) * np.exp(-penalty))

    return score


# ------------------------------------------------------------------ scores


@METRICS
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_prototypes_are_scored_as_in_the_equation(metric, scale, classes, make_query):
    head, query = make_head(metric=metric, scale=scale), make_query()
    scores = scored(head, classes, query)
    expected = by_loops(classes, query, prototype_score(head, metric))
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)


def test_relations_are_scored_as_in_the_equation(classes, make_query):
    head, query = make_head(AttributeRelationHead), make_query()
    scores = scored(head, classes, query)
    expected = by_loops(classes, query, relation_score(head))
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    assert scores.std() > 1e-3


@HEADS
def test_probabilities_are_those_of_the_learner_with_examples(kind, classes, make_query):
    head = make_head(kind)
    query = make_query()
    scores = scored(head, classes, query)
    if kind is AttributeRelationHead:
        expected = by_loops(classes, query, relation_score(head)).exp()  # shares of r / exp(h)
    else:
        expected = by_loops(classes, query, prototype_score(head, "sqeuclidean")).exp()
    expected /= expected.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(scores.softmax(dim=-1), expected, rtol=1e-10, atol=1e-12)


@HEADS
def test_items_of_a_class_are_averaged_and_padding_is_nothing(kind, ragged, make_support):
    """With the penaltys; an absent class scores minus infinity."""
    items = make_support(shape=(N_ATTRIBUTES + 1,), seed=5).inputs
    support, head = ragged._replace(inputs=items), make_head(kind)
    query = torch.randn(3, 5, DIM, dtype=torch.float64)
    scores = scored(head, support, query)
    is_relation = kind is AttributeRelationHead
    score = relation_score(head) if is_relation else prototype_score(head, "sqeuclidean")
    for episode, q, label in np.ndindex(3, 5, 4):
        if (episode, label) == (2, 2):
            assert scores[episode, q, label] == -torch.inf
        else:
            expected = score(*attributes_of(support, episode, label), query[episode, q].numpy())
            np.testing.assert_allclose(scores[episode, q, label], expected, rtol=1e-10)
    assert (scores.softmax(dim=-1)[2, :, 2] == 0).all()


@HEADS
def test_a_penalty_lowers_the_logit_by_its_unit(kind, classes, make_query):
    head, query, penalty = make_head(kind), make_query(), 0.7
    plain, lowered = classes.inputs.clone(), classes.inputs.clone()
    plain[..., -1] = 0.0
    lowered[..., -1] = penalty * (classes.target < 2)
    scores, other = (scored(head, classes._replace(inputs=e), query) for e in (plain, lowered))
    expected = penalty * float(head.penalty_unit) * (classes.target < 2).unsqueeze(1)
    by_class = torch.zeros_like(scores).scatter(
        2, classes.target.unsqueeze(1).expand_as(scores), expected.expand_as(scores).double()
    )
    torch.testing.assert_close(scores - other, by_class, rtol=1e-6, atol=1e-9)


@HEADS
def test_the_unit_of_attributes_does_not_matter(kind, classes, make_query):
    head, query = make_head(kind), make_query()
    scaled = classes.inputs.clone()
    scaled[..., :-1] *= 1000.0
    scores = scored(head, classes, query)
    other = scored(head, classes._replace(inputs=scaled), query)
    torch.testing.assert_close(scores, other, rtol=1e-9, atol=1e-12)


@HEADS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_have_the_precision_of_the_queries(kind, dtype, classes, make_query):
    """Weights are float32; heads that are exact compute in float64 at prediction."""
    head = kind(DIM, N_ATTRIBUTES).eval()
    if dtype == torch.float64 and not head.exact:
        return
    embedding, query = classes.inputs.to(dtype), make_query().to(dtype)
    assert scored(head, classes._replace(inputs=embedding), query).dtype == dtype


def test_which_heads_compute_in_float64():
    assert AttributePrototypeHead(DIM, N_ATTRIBUTES).exact
    assert not AttributeRelationHead(DIM, N_ATTRIBUTES).exact


# ------------------------------------------------------------------ start


@HEADS
def test_queries_start_as_the_map_given(kind):
    head = kind(DIM, N_ATTRIBUTES)
    weight, offset = torch.randn(DIM, N_ATTRIBUTES).double(), torch.randn(N_ATTRIBUTES).double()
    head.start_as(weight, offset)
    rows = torch.randn(7, DIM)
    mapped = head.of_query(rows)
    torch.testing.assert_close(mapped.double(), rows.double() @ weight + offset, rtol=0, atol=1e-5)
    assert mapped.requires_grad


@HEADS
def test_attributes_start_as_they_are(kind, classes):
    head = kind(DIM, N_ATTRIBUTES)
    attributes = classes.inputs[..., :-1].float()
    prototype = nn.functional.normalize(head.prototype(attributes), dim=-1)
    unit = attributes / attributes.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(prototype, unit, rtol=0, atol=1e-6)


@HEADS
def test_untrained_heads_choose_the_nearest_attributes(kind, classes):
    """By a distance in the space of the attributes, where the mapped query lies on the sphere."""
    head = kind(DIM, N_ATTRIBUTES).double().eval()
    classes.inputs[..., -1] = 0.0
    unit = nn.functional.normalize(classes.inputs[..., :-1], dim=-1)
    head.start_as(torch.eye(DIM, N_ATTRIBUTES), torch.zeros(N_ATTRIBUTES))
    query = torch.cat([unit, torch.zeros(3, 4, 2)], dim=-1)  # the classes themselves
    scores = scored(head, classes, query)
    assert torch.equal(scores.argmax(dim=-1), classes.target)


def test_the_scale_starts_where_the_log_loss_is_least(classes, make_query):
    head, query = make_head(learn_scale=True), make_query()
    classes.inputs[..., -1] = 0.0
    logits = scored(head, classes, query)
    target = torch.from_numpy(np.random.default_rng(0).integers(0, 2, logits.shape[:2]))
    head.start_from(logits, torch.where(target == 0, logits.argmax(dim=-1), 0))
    again = scored(head, classes, query)
    assert log_loss_factor(again, torch.where(target == 0, again.argmax(dim=-1), 0)) == (
        pytest.approx(1.0, rel=1e-3)
    )


@HEADS
def test_an_item_may_have_the_length_of_an_embedding(kind):
    head = kind.for_embeddings((DIM,))
    assert head.n_attributes == DIM - 1
    assert kind.for_embeddings((2, 3), n_attributes=9).of_query.weight.shape == (9, 6)


def test_sizes_are_those_that_model_files_were_written_with():
    """A file holds the weights, not the sizes: with other defaults it could not be read."""
    head = AttributeRelationHead(DIM, N_ATTRIBUTES)
    assert head.branch[0].weight.shape == (256, N_ATTRIBUTES)
    assert head.inner.of_class.weight.shape == (2 * N_ATTRIBUTES, N_ATTRIBUTES)


# ------------------------------------------------------------------ gradients


@HEADS
def test_gradients_are_right(kind, classes, make_query):
    head, query = make_head(kind), make_query()[:, :2]

    def scores(embedding, query, *_):
        given = head.represent(classes._replace(inputs=embedding))
        return head.score(head.context(given), query)

    inputs = (classes.inputs.requires_grad_(), query.requires_grad_(), *head.parameters())
    assert torch.autograd.gradcheck(scores, inputs, fast_mode=True)


@HEADS
def test_training_reaches_every_weight(kind, classes, make_query):
    head = make_head(kind).train()
    if kind is AttributePrototypeHead:
        head.inner.log_scale.requires_grad_()
    loss = EpisodicCrossEntropy() if kind is AttributePrototypeHead else PairSquaredError("log")
    target = torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, 0, -1], [0, 1, 3, -1, -1]])
    loss(head.score(head.context(head.represent(classes)), make_query()), target).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
