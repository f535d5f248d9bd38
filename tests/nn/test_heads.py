"""The contract of every head, and the Prototypical head against plain loops."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax

from sklearn_fewshot.nn import METRICS, EpisodicCrossEntropy, SupportSet, heads
from sklearn_fewshot.nn.heads import Head, PrototypicalHead

N_EPISODES, N_SUPPORT, N_QUERIES, N_CLASSES, DIM = 3, 12, 5, 4, 6
EVERY_HEAD = pytest.mark.parametrize(
    "head",
    [
        getattr(heads, name).for_embeddings((DIM,))
        for name in heads.__all__
        if name not in ("Head", "MetricHead")
    ],
    ids=lambda head: type(head).__name__,
)
ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))


def make_support(seed=0, n_support=N_SUPPORT, n_padding=0):
    """Unequal shots in mixed order, every class present; the last items are padding."""
    rng = np.random.default_rng(seed)
    code = np.array(
        [
            rng.permutation(np.append(np.arange(N_CLASSES), rng.integers(N_CLASSES, size=rest)))
            for rest in [n_support - N_CLASSES] * N_EPISODES
        ]
    )
    embedding = rng.normal(size=(N_EPISODES, n_support + n_padding, DIM))
    weight = np.repeat([[1.0] * n_support + [0.0] * n_padding], N_EPISODES, axis=0)
    code = np.pad(code, ((0, 0), (0, n_padding)))
    return SupportSet(*(torch.from_numpy(v) for v in (embedding, code, weight)), N_CLASSES)


def make_query(seed=9):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(N_EPISODES, N_QUERIES, DIM)))


def scored(head, support, query):
    head = head.to(support.embedding.dtype).eval()
    with torch.inference_mode():
        return head.score(head.context(head.represent(support)), query).numpy()


def check_close(scores, expected):
    tolerance = 1e-12 * np.abs(expected[np.isfinite(expected)]).max()
    np.testing.assert_allclose(scores, expected, rtol=0, atol=tolerance)


def joined(*parts):
    """Put items of several support sets side by side."""
    columns = zip(*(part[:3] for part in parts), strict=True)
    return SupportSet(*(torch.cat(column, dim=1) for column in columns), N_CLASSES)


# ------------------------------------------------------------------ the contract of every head


@EVERY_HEAD
def test_scores_have_one_column_a_class(head):
    scores = scored(head, make_support(), make_query())
    assert scores.shape == (N_EPISODES, N_QUERIES, N_CLASSES)
    assert np.isfinite(scores).all()


@EVERY_HEAD
def test_the_order_of_the_support_changes_nothing(head):
    support, query = make_support(), make_query()
    order = torch.from_numpy(np.random.default_rng(3).permutation(N_SUPPORT))
    shuffled = SupportSet(*(v[:, order] for v in support[:3]), N_CLASSES)
    check_close(scored(head, shuffled, query), scored(head, support, query))


@EVERY_HEAD
def test_renaming_the_classes_permutes_the_columns(head):
    support, query = make_support(), make_query()
    renamed = torch.tensor([2, 0, 3, 1])
    scores = scored(head, support._replace(code=renamed[support.code]), query)
    check_close(scores[..., renamed], scored(head, support, query))


@EVERY_HEAD
def test_giving_every_example_twice_changes_nothing(head):
    support, query = make_support(), make_query()
    check_close(scored(head, joined(support, support), query), scored(head, support, query))


@EVERY_HEAD
def test_weights_count_examples(head):
    support, query = make_support(), make_query()
    doubled = joined(support, SupportSet(*(v[:, :5] for v in support[:3]), N_CLASSES))
    weight = support.weight.clone()
    weight[:, :5] = 2.0
    check_close(scored(head, support._replace(weight=weight), query), scored(head, doubled, query))


@EVERY_HEAD
def test_padding_has_no_influence(head):
    padded, query = make_support(n_padding=7), make_query()
    bare = SupportSet(*(v[:, :N_SUPPORT] for v in padded[:3]), N_CLASSES)
    check_close(scored(head, padded, query), scored(head, bare, query))


@EVERY_HEAD
def test_a_condensed_support_set_takes_more_examples(head):
    old, new, query = make_support(0), make_support(1), make_query()
    condensed = head.represent(old)
    check_close(scored(head, joined(condensed, new), query), scored(head, joined(old, new), query))
    check_close(scored(head, condensed, query), scored(head, old, query))


@EVERY_HEAD
def test_a_query_and_an_episode_are_scored_alone(head):
    support, query = make_support(), make_query()
    scores = scored(head, support, query)
    check_close(scored(head, support, query[:, 2:3]), scores[:, 2:3])
    alone = SupportSet(*(v[1:2] for v in support[:3]), N_CLASSES)
    check_close(scored(head, alone, query[1:2]), scores[1:2])


@EVERY_HEAD
def test_a_class_without_examples_is_never_chosen(head):
    support, query = make_support(), make_query()
    absent = support.code == 2
    scores = scored(head, support._replace(weight=support.weight.masked_fill(absent, 0.0)), query)
    assert (scores[..., 2] == -np.inf).all()
    assert np.isfinite(scores[..., [0, 1, 3]]).all()
    proba = head.proba(torch.from_numpy(scores)).numpy()
    assert (proba[..., 2] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=-1), 1.0)


@EVERY_HEAD
def test_embeddings_of_any_shape_are_accepted(head):
    support, query = make_support(), make_query()
    unflattened = support._replace(embedding=support.embedding.unflatten(2, (2, 3)))
    assert head.represent(unflattened).embedding.shape[2:] == (2, 3)
    check_close(scored(head, unflattened, query.unflatten(2, (2, 3))), scored(head, support, query))


@EVERY_HEAD
def test_nothing_is_kept_in_the_module(head):
    before = {name: value.clone() for name, value in head.state_dict().items()}
    attributes = set(vars(head))
    scored(head, make_support(), make_query())
    assert set(vars(head)) == attributes
    for name, value in head.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_head_must_say_how_it_represents_and_scores():
    with pytest.raises(NotImplementedError):
        Head().represent(make_support())
    with pytest.raises(NotImplementedError):
        Head().score(make_support(), make_query())


# ------------------------------------------------------------------ Prototypical Networks


def prototypes_by_loops(support):
    prototypes = np.zeros((N_EPISODES, N_CLASSES, DIM))
    for episode in range(N_EPISODES):
        for code in range(N_CLASSES):
            total, count = np.zeros(DIM), 0.0
            for item in range(support.code.shape[1]):
                if support.code[episode, item] == code:
                    weight = float(support.weight[episode, item])
                    total += weight * support.embedding[episode, item].numpy()
                    count += weight
            prototypes[episode, code] = total / count
    return prototypes


@ALL_METRICS
def test_prototypical_scores_and_loss_equal_plain_loops(metric):
    support, query = make_support(n_padding=3), make_query()
    head = PrototypicalHead(metric, scale=0.7).double()
    scores = scored(head, support, query)
    prototypes = prototypes_by_loops(support)
    target = np.random.default_rng(4).integers(N_CLASSES, size=(N_EPISODES, N_QUERIES))
    losses = []
    for episode in range(N_EPISODES):
        expected = -0.7 * cdist(query[episode].numpy(), prototypes[episode], metric)
        np.testing.assert_allclose(scores[episode], expected, rtol=1e-7)  # scale is kept in float32
        for row, code in zip(expected, target[episode], strict=True):
            losses.append(np.log(np.exp(row).sum()) - row[code])
    loss = EpisodicCrossEntropy()(torch.from_numpy(scores), torch.from_numpy(target))
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-7)


@ALL_METRICS
def test_prototypical_gradients_are_right(metric):
    head = PrototypicalHead(metric, scale=0.7, learn_scale=True).double()
    support, query = make_support(), make_query()
    target = torch.from_numpy(np.arange(N_EPISODES * N_QUERIES) % N_CLASSES).view(N_EPISODES, -1)
    criterion = EpisodicCrossEntropy()

    def loss(embedding, query, _):  # the third is the head's own parameter
        represented = head.represent(support._replace(embedding=embedding))
        return criterion(head.score(represented, query), target)

    inputs = (support.embedding.requires_grad_(), query.requires_grad_(), head.log_scale)
    assert torch.autograd.gradcheck(loss, inputs)


def test_the_scale_is_positive_and_learned_only_on_request():
    head = PrototypicalHead(scale=3.0)
    assert float(head.scale) == pytest.approx(3.0)
    assert not head.log_scale.requires_grad
    assert PrototypicalHead(learn_scale=True).log_scale.requires_grad


def test_the_starting_scale_makes_the_median_distance_one():
    head = PrototypicalHead(scale=5.0).double()
    distance = torch.tensor([[[1.0, 2.0, 4.0, torch.inf]]], dtype=torch.float64)
    head.start_from(-5.0 * distance)
    assert float(head.scale) == pytest.approx(0.5)


def test_the_starting_scale_stays_where_all_distances_vanish():
    head = PrototypicalHead(scale=5.0)
    head.start_from(torch.zeros(2, 3, 4))
    assert float(head.scale) == pytest.approx(5.0)


# ------------------------------------------------------------------ the loss


def test_episodes_of_a_ragged_batch_count_equally():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 4, 3))
    scores[1, :, 2] = -np.inf  # two classes only
    target = np.array([[0, 1, 2, 0], [1, 0, -1, -1]])
    means = []
    for episode in range(2):
        real = target[episode] >= 0
        logs = log_softmax(scores[episode][real], axis=1)
        means.append(-np.mean(logs[np.arange(real.sum()), target[episode][real]]))
    loss = EpisodicCrossEntropy()(torch.from_numpy(scores), torch.from_numpy(target))
    np.testing.assert_allclose(loss, np.mean(means))


def test_absent_classes_and_padding_have_finite_gradients():
    scores = torch.randn(1, 3, 3)
    scores[..., 2] = -torch.inf
    scores.requires_grad_()
    EpisodicCrossEntropy()(scores, torch.tensor([[0, 1, -1]])).backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[0, 2] == 0).all()
