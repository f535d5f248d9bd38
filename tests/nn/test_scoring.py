"""Plans of episodes scored: like one by one, in any blocks, each distinct row embedded once."""

from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from scipy.special import logsumexp
from torch import nn

from sklearn_fewshot.episodes import EpisodePlan
from sklearn_fewshot.nn import (
    DataTensor,
    EmbeddingModule,
    EpisodicCrossEntropy,
    FewShotModule,
    ValidationEpisodes,
    class_means,
    collate,
    evaluate,
    evaluating,
    is_padding,
    over_stored_rows,
    predict_episodes,
    score_plan,
    take_rows,
    with_values,
)
from sklearn_fewshot.nn.backbones import MLP
from sklearn_fewshot.nn.heads import AttributePrototypeHead, PrototypicalHead

CPU = torch.device("cpu")
CODES = np.repeat(np.arange(6), 12)
X = (np.random.default_rng(0).normal(size=(72, 5)) + CODES[:, None]).astype(np.float32)
ROWS = torch.from_numpy(X)
BLOCKS = pytest.mark.parametrize("n_bytes", [1, 300, 1000])


class Centred(FewShotModule):
    """A plain module that is transductive: rows are seen relative to the mean of the queries."""

    independent_queries = False

    def adapt(self, support):
        means = class_means(support)
        return {"mean": means.inputs, "absent": means.weight == 0}

    def predict(self, state, inputs):
        shift = inputs.mean(dim=1, keepdim=True)
        logits = -torch.cdist(inputs - shift, state["mean"] - shift).square()
        logits = logits * shift.norm(dim=2, keepdim=True)
        return logits.masked_fill(state["absent"].unsqueeze(1), -torch.inf)


class MeanValue(FewShotModule):
    """A regression that adds the first feature of a query to the mean of the support set."""

    def adapt(self, support):
        weight = support.weight.unsqueeze(-1)
        return {
            "mean": (support.target * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        }

    def predict(self, state, inputs):
        return state["mean"] + inputs[..., :1]


class Described(EmbeddingModule):
    """A module on attributes of classes."""

    def __init__(self):
        super().__init__(MLP((5,), hidden_dim=8, embedding_dim=4), AttributePrototypeHead(4, 3))


class Embedding(EmbeddingModule):
    """A module that embeds rows."""

    def __init__(self):
        super().__init__(MLP((5,), hidden_dim=8, embedding_dim=4), PrototypicalHead())


MODULES = pytest.mark.parametrize("cls", [Embedding, Described, Centred, MeanValue])


@pytest.fixture
def attributes():
    return torch.randn(6, 4)


@pytest.fixture
def values():
    return torch.randn(72, 2)


@pytest.fixture
def case(cls, make_plan, attributes, values):
    """A module of a kind, a plan that suits it, and what it is told besides."""
    plan, options = make_plan(20), {}
    if cls is Described:
        options = {"attributes": attributes}
    if cls is MeanValue:
        plan, options = EpisodePlan(*(part[:, :1] for part in plan)), {"values": values}
    plan.query[3, 0, -1] = plan.query[5, 0, -1] = -1
    return cls().eval(), plan, options


def take_of(module):
    rows = module.embed(ROWS) if isinstance(module, EmbeddingModule) else ROWS
    return partial(take_rows, rows)


def scored(module, plan, **options):
    with evaluating(module):
        parts = list(score_plan(module, plan, take_of(module), device=CPU, **options))
    sizes = [len(predictions) for predictions, _ in parts]
    predictions, target = (torch.cat(part) for part in zip(*parts, strict=True))
    return predictions, target, sizes


def real_rows(part):
    """Return an episode without any padding."""
    n_way = int((part.classes >= 0).sum())
    return EpisodePlan(*(rows[:, :n_way] for rows in part))


@MODULES
def test_every_episode_is_predicted_as_if_alone(case):
    """Without the padding of classes and queries that company brings."""
    module, plan, options = case
    predictions, target, _ = scored(module, plan, **options)
    values = options.get("values")
    for episode in range(plan.n_episodes):
        part = real_rows(plan.take([episode]))
        batch = over_stored_rows(part)
        if values is not None:
            batch = with_values(batch, part, values)
        if "attributes" in options:
            batch = batch._replace(attributes=options["attributes"][batch.classes])
        (batch,) = batch.one_by_one()
        with evaluating(module):
            expected = predict_episodes(module, batch, take_of(module))[0]
        real = ~is_padding(target[episode])
        n = expected.shape[-1]
        assert torch.equal(target[episode][real], batch.target[0])
        torch.testing.assert_close(predictions[episode][real][:, :n], expected)
        assert (predictions[episode][real][:, n:] == -torch.inf).all()


@MODULES
@BLOCKS
def test_blocks_of_episodes_change_nothing(case, n_bytes):
    module, plan, options = case
    expected, expected_target, sizes = scored(module, plan, **options)
    assert sizes == [20]
    with sklearn.config_context(working_memory=n_bytes / 2**20):
        predictions, target, sizes = scored(module, plan, **options)
    assert len(sizes) > 1
    torch.testing.assert_close(target, expected_target, rtol=0, atol=0, equal_nan=True)
    real = ~is_padding(target)
    torch.testing.assert_close(predictions[real], expected[real])


@MODULES
def test_a_plan_may_be_of_a_single_episode(case):
    module, plan, options = case
    expected, _, _ = scored(module, plan, **options)
    predictions, target, sizes = scored(module, plan.take([2]), **options)
    assert sizes == [1]
    real = ~is_padding(target)
    torch.testing.assert_close(predictions[real], expected[[2]][real])


def test_bigger_rows_make_smaller_blocks(make_plan):
    plan, module = make_plan(20), Embedding().eval()
    with sklearn.config_context(working_memory=0.02):
        sizes = [scored(module, plan, row_size=row_size)[2] for row_size in (1, 10, 100)]
    assert [len(size) for size in sizes] == sorted({len(size) for size in sizes})
    assert all(sum(size) == 20 for size in sizes)


def test_episodes_of_queries_that_depend_on_each_other_are_never_divided(make_plan):
    """Whatever the blocks: each call has all queries of an episode, and no padding."""
    calls = []

    class Recording(Centred):
        def predict(self, state, inputs):
            calls.append(inputs.shape[1])
            return super().predict(state, inputs)

    plan = make_plan(20)
    n_queries = (plan.query >= 0).sum(axis=(1, 2)).tolist()
    for n_bytes in (1, 2000, 2**25):
        calls.clear()
        with sklearn.config_context(working_memory=n_bytes / 2**20):
            scored(Recording(), plan)
        assert calls == n_queries


def test_one_pass_for_many_ragged_episodes_equals_one_for_each(make_plan):
    """In a stack of rows, as in training."""
    plan, module = make_plan(), Embedding().eval()
    predictions, target, _ = scored(module, plan)
    rows, batch = collate(plan)
    with evaluating(module):
        together = predict_episodes(module, batch, partial(take_rows, module.embed(ROWS[rows])))
    assert torch.equal(batch.target, target)
    real = target >= 0
    torch.testing.assert_close(together[real], predictions[real])


# ------------------------------------------------------------------ frozen episodes


class Counter(nn.Module):
    """A backbone that counts the rows it embeds."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.backbone(x)


def test_frozen_episodes_embed_every_distinct_row_once(make_plan):
    plan, module = make_plan(200), Embedding().eval()
    expected, expected_target, _ = scored(module, plan)
    module.backbone = counter = Counter(module.backbone)
    predictions, target = ValidationEpisodes(DataTensor(X, CPU), plan).score(module, batch_size=5)
    assert sum(counter.sizes) == len(plan.rows())
    assert max(counter.sizes) == 5
    assert torch.equal(target, expected_target)
    torch.testing.assert_close(predictions, expected)


@MODULES
def test_frozen_episodes_are_scored_as_the_plan_is(case):
    """Rows that no episode uses make no difference: there are some."""
    module, plan, options = case
    plan = plan.take(slice(0, 4))
    assert len(plan.rows()) < 72
    expected, expected_target, _ = scored(module, plan, **options)
    predictions, target = ValidationEpisodes(DataTensor(X, CPU), plan, **options).score(module)
    torch.testing.assert_close(target, expected_target, rtol=0, atol=0, equal_nan=True)
    real = ~is_padding(target)
    torch.testing.assert_close(predictions[real], expected[real])


def test_blocks_are_bounded_by_what_is_held_embeddings_or_inputs(make_plan):
    """Wide embeddings of narrow rows, too."""
    plan, sizes = make_plan(20), []

    class Recording(PrototypicalHead):
        def score(self, state, query):
            sizes.append(len(query))
            return super().score(state, query)

    for width in (4, 400):
        module = EmbeddingModule(MLP((5,), embedding_dim=width), Recording())
        with sklearn.config_context(working_memory=0.25):
            ValidationEpisodes(DataTensor(X, CPU), plan).score(module)
    assert sizes[0] == 20
    n_queries = plan.query[0].size
    n_values = 400 * (plan.support[0].size + n_queries) + n_queries * plan.classes.shape[1]
    assert max(sizes[1:]) == 2**18 // (8 * n_values)  # float64, at most


def test_evaluation_equals_plain_loops(make_plan):
    plan, module = make_plan(20), Embedding().eval()
    with torch.no_grad():
        embedding = module.backbone(ROWS).double().numpy()
    hits, losses = [], []
    for support, query, classes in zip(*plan, strict=True):
        way = range(int((classes >= 0).sum()))
        prototypes = np.array([embedding[support[k][support[k] >= 0]].mean(axis=0) for k in way])
        episode_losses = []
        for k in way:
            for row in query[k][query[k] >= 0]:
                scores = -np.square(embedding[row] - prototypes).sum(axis=1)
                hits.append(scores.argmax() == k)
                episode_losses.append(logsumexp(scores) - scores[k])
        losses.append(np.mean(episode_losses))
    frozen = ValidationEpisodes(DataTensor(X, CPU), plan)
    accuracy, loss = evaluate(module, EpisodicCrossEntropy(), frozen)
    assert accuracy == pytest.approx(np.mean(hits))
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_regression_has_a_loss_and_no_accuracy(make_plan, values):
    plan = EpisodePlan(*(part[:, :1] for part in make_plan(20)))
    errors = []
    for support, query in zip(plan.support[:, 0], plan.query[:, 0], strict=True):
        mean = values[support[support >= 0]].mean(dim=0)
        errors += [values[row] - mean - X[row, 0] for row in query[query >= 0]]

    def criterion(predictions, target):
        return (predictions - target)[~is_padding(target)].square().mean()

    frozen = ValidationEpisodes(DataTensor(X, CPU), plan, values=values)
    accuracy, loss = evaluate(MeanValue(), criterion, frozen)
    assert accuracy is None
    assert loss == pytest.approx(torch.stack(errors).square().mean().item(), rel=1e-5)


def test_evaluation_leaves_the_network_as_it_was(make_plan):
    backbone = nn.Sequential(MLP((5,), embedding_dim=4), nn.BatchNorm1d(4))
    module = EmbeddingModule(backbone, PrototypicalHead()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    frozen = ValidationEpisodes(DataTensor(X, CPU), make_plan())
    first = evaluate(module, EpisodicCrossEntropy(), frozen)
    assert module.training
    assert first == evaluate(module, EpisodicCrossEntropy(), frozen)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_modules_may_adapt_by_gradient_steps_where_they_are_evaluated(make_plan):
    """Evaluation records no gradients of its own, but forbids none."""

    class OneStep(FewShotModule):
        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(0.1 * torch.randn(5, 4))

        def adapt(self, support):
            def loss(weight):
                logits = (support.inputs @ weight).transpose(1, 2)
                costs = nn.functional.cross_entropy(logits, support.target, reduction="none")
                return (costs * support.weight).sum()

            weight = self.start.expand(len(support.target), 5, 4)
            return {"weight": weight - 0.1 * torch.func.grad(loss)(weight)}

        def predict(self, state, inputs):
            return inputs @ state["weight"]

    module = OneStep()
    frozen = ValidationEpisodes(DataTensor(X, CPU), make_plan(n_way=4, n_shot=3))
    predictions, _ = frozen.score(module)
    assert not predictions.requires_grad
    unadapted = ROWS @ module.start.detach()
    assert not torch.isin(predictions, unadapted).any()
