"""The Relation head, against one that concatenates the maps of every pair."""

from itertools import product

import numpy as np
import pytest
import sklearn
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from sklearn_fewshot.nn import PairSquaredError, Support
from sklearn_fewshot.nn.heads import RelationHead, _relation

SIDES = pytest.mark.parametrize("sides", [(1, 1), (2, 2), (3, 3), (5, 13), (9, 4), (1, 6)])
CHANNELS, DIM = 3, 6
SHAPES = pytest.mark.parametrize("shape", [(CHANNELS, 5, 4), (DIM,)], ids=["maps", "vectors"])
TRAINING = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def make_head(shape, *, training=False, **options):
    """Make a head with weights and running statistics of no special kind."""
    head = RelationHead(shape, n_filters=4, hidden_dim=10, **options).double()
    with torch.no_grad():
        for value in head.state_dict().values():
            if value.is_floating_point():
                value.normal_(std=0.5)
        for module in head.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 2.0)
    return head.train(training)


def scored(head, support, query):
    with torch.no_grad():
        return head.score(head.context(head.represent(support)), query)


def class_maps_by_loops(support, *, add=False):
    """Average (or add up) the examples of each class."""
    shape = (len(support.target), support.n_classes, *support.inputs.shape[2:])
    maps = torch.zeros(shape, dtype=torch.float64)
    for episode, label in product(*map(range, maps.shape[:2])):
        members = (support.target[episode] == label) & (support.weight[episode] > 0)
        if members.any():
            total = sum(support.inputs[episode, members])
            maps[episode, label] = total if add else total / members.sum()
    return maps


def every_pair(class_maps, query):
    """Concatenate class map and query map along channels, pair by pair."""
    indices = product(range(len(query)), range(query.shape[1]), range(class_maps.shape[1]))
    return torch.stack([torch.cat([class_maps[e, k], query[e, q]]) for e, q, k in indices])


def related_as_in_the_paper(head, class_maps, query):
    """Apply one first layer to the concatenation, and ReLU before max-pooling."""
    both = torch.cat([head.of_class.weight, head.of_query.weight], dim=1)
    pairs = every_pair(class_maps, query)
    with torch.no_grad():
        if not head.is_spatial:
            relation = head.of_pair(linear(pairs, both))
        else:
            norm, pool, relu, second, norm_2, pool_2, relu_2, *dense = head.of_pair
            x = pool(relu(norm(conv2d(pairs, both, padding=1))))
            x = pool_2(relu_2(norm_2(second(x))))
            relation = nn.Sequential(*dense)(x)
    return relation.view(*query.shape[:2], class_maps.shape[1])


# ------------------------------------------------------------------ the function


@SIDES
@TRAINING
def test_maps_are_related_as_in_the_paper(sides, training, make_support, make_query):
    shape = (CHANNELS, *sides)
    head = make_head(shape, training=training)
    support, query = make_support(shape=shape), make_query(shape=shape)
    scores = scored(head, support, query)
    expected = related_as_in_the_paper(head, class_maps_by_loops(support), query)
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    assert scores.std() > 1e-3


@TRAINING
def test_vectors_are_related_by_a_perceptron_on_the_pair(training, make_support, make_query):
    head, support, query = make_head((DIM,), training=training), make_support(), make_query()
    expected = related_as_in_the_paper(head, class_maps_by_loops(support), query)
    torch.testing.assert_close(scored(head, support, query), expected, rtol=1e-10, atol=1e-12)
    assert expected.std() > 1e-3


@SHAPES
@pytest.mark.parametrize("n_bytes", [1, 480, 4000])
def test_blocks_of_pairs_change_nothing(shape, n_bytes, make_support, make_query):
    head, support, query = make_head(shape), make_support(shape=shape), make_query(shape=shape)
    expected = scored(head, support, query)
    sizes = []
    handle = head.of_pair.register_forward_hook(lambda _, args, out: sizes.append(args[0].nbytes))
    with sklearn.config_context(working_memory=n_bytes / 2**20):
        scores = scored(head, support, query)
    handle.remove()
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    of_one_pair = head.of_query(query[0, :1]).nbytes
    assert len(sizes) > 1
    assert max(sizes) <= max(n_bytes, of_one_pair)


@SHAPES
def test_padding_and_absent_classes(shape, ragged, make_support, make_query):
    support = ragged._replace(inputs=make_support(shape=shape, seed=5).inputs)
    head, query = make_head(shape), make_query(shape=shape)
    scores = scored(head, support, query)
    expected = related_as_in_the_paper(head, class_maps_by_loops(support), query)
    expected[2, :, 2] = -torch.inf
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    relation = expected.sigmoid()
    odds = relation / (1.0 - relation)
    shares = odds / odds.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(scores.softmax(dim=-1), shares, rtol=1e-10, atol=1e-12)


@SHAPES
def test_the_sum_is_the_mean_times_the_shots(shape, ragged, make_support, make_query):
    support = ragged._replace(inputs=make_support(shape=shape, seed=5).inputs)
    head, query = make_head(shape, reduction="sum"), make_query(shape=shape)
    expected = related_as_in_the_paper(head, class_maps_by_loops(support, add=True), query)
    expected[2, :, 2] = -torch.inf
    scores = scored(head, support, query)
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    head.reduction = "mean"
    assert (scored(head, support, query) - scores)[:2].abs().max() > 1e-3


@SHAPES
def test_maps_in_float32_are_added_up_by_weights_in_float64(shape, make_support, make_query):
    """Such are the representations that learners keep."""
    support, query = make_support(shape=shape), make_query(shape=shape).float()
    head = make_head(shape, reduction="sum").float()
    single = support._replace(inputs=support.inputs.float())
    scores = scored(head, single, query)
    represented = head.represent(single)
    represented = represented._replace(weight=represented.weight.double())
    with torch.no_grad():
        assert torch.equal(head.score(head.context(represented), query), scores)


@SHAPES
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_condensed_support_set_takes_more_examples(shape, reduction, make_support, make_query):
    head, query = make_head(shape, reduction=reduction), make_query(shape=shape)
    old, new = make_support(0, shape), make_support(1, shape)

    def joined(*parts):
        columns = zip(*(part[:3] for part in parts), strict=True)
        return Support(*(torch.cat(column, dim=1) for column in columns), 4)

    expected = scored(head, joined(old, new), query)
    scores = scored(head, joined(head.represent(old), new), query)
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)


@SHAPES
def test_queries_and_episodes_are_related_alone_in_evaluation(shape, make_support, make_query):
    head, support, query = make_head(shape), make_support(shape=shape), make_query(shape=shape)
    together = scored(head, support, query)
    for episode in range(3):
        alone = Support(*(value[[episode]] for value in support[:3]), 4)
        for q in range(5):
            score = scored(head, alone, query[[episode], q : q + 1])
            torch.testing.assert_close(score[0, 0], together[episode, q], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("memory", ["channels first", "channels last"])
def test_the_layout_in_memory_changes_nothing(memory, make_support, make_query):
    shape = (CHANNELS, 5, 4)
    head, support, query = make_head(shape), make_support(shape=shape), make_query(shape=shape)
    expected = scored(head, support, query)
    if memory == "channels last":
        query = query.movedim(2, -1).contiguous().movedim(-1, 2)
    torch.testing.assert_close(scored(head, support, query), expected, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------ log-odds


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [1e2, 1e4, 1e6])
def test_classes_are_told_apart_however_unrelated_a_query_is(dtype, distance):
    """The log-odds are too low for the relation scores to be numbers above zero."""
    head = RelationHead((DIM,)).to(dtype).eval()
    places = torch.zeros(1, 2, DIM, dtype=dtype)
    places[0, 1] = distance
    support = Support(places, torch.tensor([[0, 1]]), torch.ones(1, 2), 2)
    scores = scored(head, support, torch.full((1, 1, DIM), 3 * distance, dtype=dtype))
    assert scores.isfinite().all()
    assert (scores < 0).all()
    assert scores[0, 0, 1] > scores[0, 0, 0]
    assert scored(head, support, places).argmax(dim=-1).tolist() == [[0, 1]]


# ------------------------------------------------------------------ gradients and start


@SHAPES
def test_training_reaches_every_weight(shape, ragged, make_support, make_query):
    """Also with padding and an absent class; the score of these pairs is not asked for.

    By more than rounding errors, which is all that reaches a bias under a normalisation.
    """
    support = ragged._replace(inputs=make_support(shape=shape, seed=5).inputs)
    head, query = make_head(shape, training=True), make_query(shape=shape)
    target = torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, 0, -1], [0, 1, 3, -1, -1]])
    scores = head.score(head.context(head.represent(support)), query)
    PairSquaredError()(scores, target).backward()
    for parameter in head.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 1e-12


@TRAINING
def test_gradients_through_maps_are_right(training, make_support, make_query):
    shape = (2, 3, 3)
    head = make_head(shape, training=training)
    support, query = make_support(shape=shape, n_support=5), make_query(shape=shape)[:, :1]

    def scores(embedding, query, *_):
        given = head.represent(support._replace(inputs=embedding))
        return head.score(head.context(given), query)

    inputs = (support.inputs.requires_grad_(), query.requires_grad_(), *head.parameters())
    assert torch.autograd.gradcheck(scores, inputs, fast_mode=True)


def test_sizes_are_those_that_model_files_were_written_with():
    """A file holds the weights, not the sizes: with other defaults it could not be read."""
    assert RelationHead((CHANNELS, 5, 4)).of_class.weight.shape == (64, CHANNELS, 3, 3)
    assert RelationHead((DIM,)).of_class.weight.shape == (128, DIM)


def test_untrained_maps_are_undecided(make_support, make_query):
    shape = (CHANNELS, 5, 4)
    scores = scored(
        RelationHead(shape).double().eval(), make_support(shape=shape), make_query(shape=shape)
    )
    assert 0.01 < scores.sigmoid().median() < 0.99


def test_untrained_vectors_are_related_by_their_distance(make_support, make_query):
    """A sample is related to itself more than to anything else, and to near ones more."""
    head, query = RelationHead((DIM,)).double().eval(), make_query()
    places = Support(query, torch.arange(5).expand(3, 5), torch.ones(3, 5).double(), 5)
    scores = scored(head, places, query).sigmoid()
    itself = scores.diagonal(dim1=1, dim2=2)
    np.testing.assert_allclose(itself, 1 / (1 + np.exp(-2.0)), atol=0.1)
    assert (scores <= itself.unsqueeze(-1)).all()
    distance = torch.cdist(query, query)
    assert np.corrcoef(distance.flatten(), scores.flatten())[0, 1] < -0.5


TARGET = torch.zeros(2, 3, dtype=torch.int64)  # the start does not look at it


@pytest.mark.parametrize(("shape", "log_odds"), [((CHANNELS, 5, 4), -4.6), ((DIM,), 4.6)])
def test_the_start_leaves_maps_alone_and_vectors_whose_pairs_are_near(shape, log_odds):
    head = RelationHead(shape)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.start_from(torch.full((2, 3, 4), log_odds), TARGET)
    for name, value in head.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_start_fits_vectors_of_any_size(size, make_support, make_query):
    """In a few rounds: of saturated scores only the direction can be seen."""
    head, support, query = RelationHead((DIM,)).eval(), make_support(), size * make_query()
    support = support._replace(inputs=size * support.inputs)
    support, query = support._replace(inputs=support.inputs.float()), query.float()
    for _ in range(4):
        head.start_from(scored(head, support, query), TARGET)
    log_odds = scored(head, support, query)
    assert log_odds.median().item() == pytest.approx(-2.0, abs=0.05)


@pytest.mark.parametrize("n_maps", [1, 2])
@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_maps_are_normalised_by_the_batch_but_for_a_single_position(n_maps, side, training):
    """A single position has no variance: running statistics take its place, and stay."""
    rng = torch.Generator().manual_seed(0)
    ours, theirs = _relation._BatchNorm(3), nn.BatchNorm2d(3)
    state = {name: torch.rand(3, generator=rng) + 0.5 for name in ("weight", "bias")}
    state |= {f"running_{name}": torch.rand(3, generator=rng) + 0.5 for name in ("mean", "var")}
    state["num_batches_tracked"] = torch.tensor(4)
    for norm in (ours, theirs):
        norm.load_state_dict(state)
        norm.eps = 0.01
    is_single = n_maps * side * side == 1
    maps = torch.rand(n_maps, 3, side, side, generator=rng)
    got = ours.train(training)(maps)
    expected = theirs.train(training and not is_single)(maps)
    torch.testing.assert_close(got, expected)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
