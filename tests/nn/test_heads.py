"""The contract of every head, and the Prototypical head against plain loops."""

from inspect import signature

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import softmax
from torch import nn

import sklearn_fewshot
from sklearn_fewshot.nn import METRICS, EpisodicCrossEntropy, Support, from_state, heads, to_state
from sklearn_fewshot.nn.heads import FullContextHead, Head, PrototypicalHead
from sklearn_fewshot.nn.heads._matching import in_canonical_order

DIM = 6
ABSTRACT = ("Head", "MetricHead", "UnitLengthHead")
HEADS = [getattr(heads, name) for name in heads.__all__ if name not in ABSTRACT]
LAWS = {"duplicates", "weights"}
# An option of each head that is not its default.
OPTIONS = {
    "GradientHead": {"n_steps": 5},
    "AnchoredCentroidHead": {"metric": METRICS["euclidean"]},
    "AnchoredHead": {"n_steps": 3},
    "AttributePrototypeHead": {"n_attributes": 3},
    "AttributeRelationHead": {"n_attributes": 3},
    "CentroidHead": {"metric": METRICS["cityblock"]},
    "FullContextHead": {"n_steps": 2},
    "InContextHead": {"n_layers": 1},
    "MatchingHead": {"class_balanced": False},
    "MemoryHead": {"n_labels": 7},
    "MetaNetHead": {"hidden_dim": 7},
    "PrototypicalHead": {"metric": METRICS["cityblock"]},
    "RelationHead": {"reduction": "sum"},
    "RidgeHead": {"scale": 1.0},
    "SiameseHead": {"aggregate": "mean"},
}
# Heads whose inner gradients count as constants.
CONSTANTS = {"MetaNetHead"}
# Heads of many weights, for derivatives of each of these.
SMALL = {
    "InContextHead": {"token_dim": 4, "n_heads": 2, "n_layers": 1},
    "MemoryHead": {"n_labels": 4, "memory_slots": 5, "memory_width": 3, "controller_dim": 4},
}
# Learners, and the head that has an option of theirs.
DEFAULTS = [
    ("MatchingNetClassifier", "FullContextHead", "n_steps"),
    ("MatchingNetClassifier", "MatchingHead", "class_balanced"),
    ("RelationNetClassifier", "RelationHead", "reduction"),
    ("SiameseNetClassifier", "SiameseHead", "aggregate"),
    ("BaselineClassifier", "CentroidHead", "scale"),
]
ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))


@pytest.fixture(params=HEADS, ids=lambda cls: cls.__name__)
def head(request):
    """Make a head for vectors."""
    return request.param.for_embeddings((DIM,))


@pytest.fixture
def support(make_support):
    return make_support()


@pytest.fixture
def query(make_query):
    return make_query()


def scored(head, support, query):
    head = head.to(support.inputs.dtype).eval()
    with torch.inference_mode():
        return head.score(head.context(head.represent(support)), query).numpy()


def relative_difference(scores, expected):
    """Return the largest difference, as a share of the largest score; inf where one is."""
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(scores)):
        return np.inf
    return np.abs(scores[finite] - expected[finite]).max() / np.abs(expected[finite]).max()


def check_equal(head, scores, expected):
    assert relative_difference(scores, expected) < 1e-12


def check_law(head, law, scores, expected):
    """The law holds, or the head says why not, and then it really does not."""
    if law not in head.breaks:
        check_equal(head, scores, expected)
    else:
        assert relative_difference(scores, expected) > 1e-3


def joined(*parts):
    """Put items of several support sets side by side."""
    columns = zip(*(part[:3] for part in parts), strict=True)
    return Support(*(torch.cat(column, dim=1) for column in columns), parts[0].n_classes)


def items(support, index):
    """Take some items of every episode."""
    return Support(*(value[:, index] for value in support[:3]), support.n_classes)


def some_of(values, seed=0):
    """Return the values in random order."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(values))


# ------------------------------------------------------------------ the contract of every head


def test_scores_have_one_column_a_class(head, support, query):
    scores = scored(head, support, query)
    assert scores.shape == (*query.shape[:2], support.n_classes)
    assert np.isfinite(scores).all()


def test_the_order_of_the_support_changes_nothing(head, support, query):
    shuffled = items(support, some_of(range(12)))
    check_equal(head, scored(head, shuffled, query), scored(head, support, query))


def test_renaming_the_classes_permutes_the_columns(head, support, query):
    renamed = torch.tensor([2, 0, 3, 1])
    scores = scored(head, support._replace(target=renamed[support.target]), query)
    check_equal(head, scores[..., renamed], scored(head, support, query))


def test_giving_every_example_twice_changes_nothing(head, support, query):
    twice = scored(head, joined(support, support), query)
    check_law(head, "duplicates", twice, scored(head, support, query))


def test_weights_count_examples(head, support, query):
    doubled = joined(support, items(support, slice(5)))
    weight = support.weight.clone()
    weight[:, :5] = 2.0
    weighted = scored(head, support._replace(weight=weight), query)
    check_law(head, "weights", weighted, scored(head, doubled, query))


def test_broken_laws_are_declared_with_a_reason(head):
    assert set(head.breaks) <= LAWS
    assert all(len(reason.split()) > 5 for reason in head.breaks.values())


def test_padding_has_no_influence(head, make_support, query):
    padded = make_support(n_padding=7)
    expected = scored(head, items(padded, slice(12)), query)
    check_equal(head, scored(head, padded, query), expected)
    check_equal(head, scored(head, items(padded, some_of(range(19))), query), expected)


def test_episodes_of_a_ragged_batch_are_scored_as_if_alone(head, ragged, query):
    scores = scored(head, ragged, query)
    for episode, weight in enumerate(ragged.weight):
        real = Support(*(v[[episode]][:, weight > 0] for v in ragged[:3]), ragged.n_classes)
        expected = scored(head, real, query[[episode]])
        check_equal(head, scores[[episode]], expected)


def test_a_condensed_support_set_takes_more_examples(head, make_support, query):
    old, new = make_support(0), make_support(1)
    condensed = head.represent(old)
    more = scored(head, joined(condensed, new), query)
    check_equal(head, more, scored(head, joined(old, new), query))
    check_equal(head, scored(head, condensed, query), scored(head, old, query))


def test_the_order_of_the_episodes_changes_nothing(head, ragged, query):
    scores = scored(head, ragged, query)
    flipped = Support(*(value.flip(0) for value in ragged[:3]), ragged.n_classes)
    check_equal(head, scored(head, flipped, query.flip(0)), scores[::-1])


def test_what_a_head_makes_of_a_support_set_is_one(head, ragged):
    support = head.double().represent(ragged)
    assert support.target.shape == support.weight.shape == support.inputs.shape[:2]
    assert support.n_classes == ragged.n_classes
    assert support.target.min() >= 0
    assert support.target.max() < support.n_classes
    present = torch.zeros(3, 4).double().scatter_add(1, support.target, support.weight.double())
    assert (present > 0).sum(dim=1).tolist() == [4, 4, 3]


def test_a_state_is_a_dictionary_of_tensors_with_the_episodes_first(head, ragged, query):
    """So some episodes of a state are the state of these episodes."""
    state = head.double().eval().context(head.represent(ragged))
    assert type(state) is dict
    assert all(isinstance(value, torch.Tensor) and len(value) == 3 for value in state.values())
    with torch.inference_mode():
        scores = head.score(state, query).numpy()
        of_last = head.score({name: value[2:] for name, value in state.items()}, query[2:])
    check_equal(head, of_last.numpy(), scores[2:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_of_the_weights_is_neither_needed_nor_contagious(dtype, head, ragged, query):
    """Weights of representations are float64, those of episodes float32."""
    if dtype == torch.float64 and not head.exact:
        return
    head = head.eval()
    ragged.weight[0, :6] = 3.0
    given, query = ragged._replace(inputs=ragged.inputs.to(dtype)), query.to(dtype)
    with torch.inference_mode():
        scores, expected = (
            head.score(head.context(head.represent(given._replace(weight=weight))), query)
            for weight in (given.weight.float(), given.weight)
        )
    assert scores.dtype == expected.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert relative_difference(scores.numpy(), expected.numpy()) < tolerance


def test_no_tensor_is_made_on_another_device(head, ragged, query):
    """Tensors of the device "meta" have shapes alone, and go with no others."""
    head, query = head.to("meta").eval(), query.to("meta", torch.float32)
    support = ragged._replace(inputs=ragged.inputs.float())
    support = Support(*(value.to("meta") for value in support[:3]), support.n_classes)
    # Packed sequences need the lengths, which are numbers.
    in_context = in_canonical_order if isinstance(head, FullContextHead) else head.context
    represented = head.represent(support)
    assert {value.device.type for value in represented[:3]} == {"meta"}
    state = in_context(represented)
    state = state if isinstance(state, dict) else to_state(state)
    assert {value.device.type for value in state.values()} == {"meta"}
    assert head.score(state, query).device.type == "meta"


def test_a_query_and_an_episode_are_scored_alone(head, support, query):
    scores = scored(head, support, query)
    check_equal(head, scored(head, support, query[:, 2:3]), scores[:, 2:3])
    alone = Support(*(v[1:2] for v in support[:3]), support.n_classes)
    check_equal(head, scored(head, alone, query[1:2]), scores[1:2])


@pytest.mark.parametrize("label", [0, 2, 3])
def test_a_class_without_examples_is_never_chosen(label, head, support, query):
    absent = support.target == label
    scores = scored(head, support._replace(weight=support.weight.masked_fill(absent, 0.0)), query)
    assert (scores[..., label] == -np.inf).all()
    assert np.isfinite(np.delete(scores, label, axis=-1)).all()
    proba = softmax(scores, axis=-1)
    assert (proba[..., label] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=-1), 1.0)


def test_embeddings_of_any_shape_are_accepted(head, support, query):
    unflattened = support
    if head.takes_examples:  # attributes of classes are vectors
        unflattened = support._replace(inputs=support.inputs.unflatten(2, (2, 3)))
        assert head.represent(unflattened).inputs.shape[2:] == (2, 3)
    scores = scored(head, unflattened, query.unflatten(2, (2, 3)))
    check_equal(head, scores, scored(head, support, query))


@pytest.mark.parametrize("cls", HEADS, ids=lambda cls: cls.__name__)
def test_options_reach_the_head(cls):
    ((name, value),) = OPTIONS[cls.__name__].items()
    assert getattr(cls.for_embeddings((DIM,)), name) != value
    assert getattr(cls.for_embeddings((DIM,), **{name: value}), name) == value


@pytest.mark.parametrize(("learner", "cls", "option"), DEFAULTS)
def test_options_left_out_are_those_of_the_learner(learner, cls, option):
    head = getattr(heads, cls).for_embeddings((DIM,))
    default = signature(getattr(sklearn_fewshot, learner)).parameters[option].default
    assert getattr(head, option) == pytest.approx(default)


def test_nothing_is_kept_in_the_module(head, support, query):
    before = {name: value.clone() for name, value in head.state_dict().items()}
    attributes = set(vars(head))
    scored(head, support, query)
    assert set(vars(head)) == attributes
    for name, value in head.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "cls", [cls for cls in HEADS if cls.__name__ not in CONSTANTS], ids=lambda cls: cls.__name__
)
def test_gradients_are_right(cls, make_support, make_query):
    """At random weights, for which no point lies on a kink."""
    head = cls.for_embeddings((2,), **SMALL.get(cls.__name__, {})).double()
    parameters = [parameter.requires_grad_() for parameter in head.parameters()]
    for parameter in parameters:
        nn.init.normal_(parameter, std=0.5)
    support, query = make_support(shape=(2,), n_support=6), make_query(shape=(2,))[:, :2]

    def scores(embedding, query, *_):
        given = head.represent(support._replace(inputs=embedding))
        return head.score(head.context(given), query)

    inputs = (support.inputs.requires_grad_(), query.requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(scores, inputs)


def test_scores_stay_finite_after_the_start_was_adjusted_to_them(head, support, query):
    logits = torch.from_numpy(scored(head, support, query))
    head.start_from(logits, logits.argmax(dim=-1))
    assert np.isfinite(scored(head, support, query)).all()


def test_a_head_must_say_how_it_scores_and_keeps_the_support_unless_it_says_more(support, query):
    assert Head().represent(support) is support
    state = Head().context(support)
    assert all(a is b for a, b in zip(from_state(state)[:3], support[:3], strict=True))
    with pytest.raises(NotImplementedError):
        Head().score(state, query)


# ------------------------------------------------------------------ Prototypical Networks


def prototypes_by_loops(support):
    prototypes = np.zeros((len(support.target), support.n_classes, DIM))
    for episode, codes in enumerate(support.target):
        for code in range(support.n_classes):
            total, count = np.zeros(DIM), 0.0
            for item in range(len(codes)):
                if codes[item] == code:
                    weight = float(support.weight[episode, item])
                    total += weight * support.inputs[episode, item].numpy()
                    count += weight
            prototypes[episode, code] = total / count
    return prototypes


@ALL_METRICS
def test_prototypical_scores_equal_plain_loops(metric, make_support, query):
    support = make_support(n_padding=3)
    scores = scored(PrototypicalHead(metric, scale=0.7), support, query)
    for episode, prototypes in enumerate(prototypes_by_loops(support)):
        expected = -0.7 * cdist(query[episode].numpy(), prototypes, metric)
        np.testing.assert_allclose(scores[episode], expected, rtol=1e-7)  # scale is kept in float32


@ALL_METRICS
def test_prototypical_gradients_are_right(metric, support, query):
    head = PrototypicalHead(metric, scale=0.7, learn_scale=True).double()
    target = torch.from_numpy(np.arange(15) % 4).view(3, 5)
    criterion = EpisodicCrossEntropy()

    def loss(embedding, query, _):  # the third is the head's own parameter
        represented = head.represent(support._replace(inputs=embedding))
        return criterion(head.score(head.context(represented), query), target)

    inputs = (support.inputs.requires_grad_(), query.requires_grad_(), head.log_scale)
    assert torch.autograd.gradcheck(loss, inputs)


def test_the_scale_is_positive_and_learned_only_on_request():
    head = PrototypicalHead(scale=3.0)
    assert float(head.scale) == pytest.approx(3.0)
    assert not head.log_scale.requires_grad
    assert PrototypicalHead(learn_scale=True).log_scale.requires_grad
    assert float(PrototypicalHead().scale) == 1.0  # as in the paper


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_starting_scale_has_the_least_log_loss(size):
    head = PrototypicalHead(scale=5.0).double()
    distance = torch.tensor([[[1.0, 2.0, 4.0, torch.inf]] * 3 + [[2.0, 1.0, 4.0, torch.inf]]])
    target = torch.tensor([[0, 0, 0, 0]])
    head.start_from(-5.0 * size * distance.double(), target)
    found = float(head.scale) * size

    def loss(scale):
        return float(EpisodicCrossEntropy()(-scale * distance, target))

    assert loss(found) < min(loss(0.8 * found), loss(1.25 * found))


def test_the_starting_scale_stays_where_all_distances_vanish():
    head = PrototypicalHead(scale=5.0)
    head.start_from(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))
    assert float(head.scale) == pytest.approx(5.0)
