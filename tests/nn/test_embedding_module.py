"""Networks around a backbone: rows embedded once, support sets condensed, samples classified."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sklearn_fewshot.nn import (
    ClassifierModule,
    CosineClassifier,
    EmbeddingModule,
    EmbedsRows,
    EpisodeBatch,
    EpisodicCrossEntropy,
    Joins,
    SampleBatch,
    Support,
    heads,
    predict_episodes,
    take_rows,
)
from sklearn_fewshot.nn.backbones import Frozen, make_backbone
from sklearn_fewshot.nn.heads import CentroidHead, PrototypicalHead

ABSTRACT = ("Head", "MetricHead", "UnitLengthHead")
HEADS = [getattr(heads, name) for name in heads.__all__ if name not in ABSTRACT]
OF_EXAMPLES = [head for head in HEADS if head.takes_examples]
OF_ATTRIBUTES = [head for head in HEADS if not head.takes_examples]


def make_module(head, embedding_dim=3, **options):
    backbone = nn.Sequential(nn.Linear(6, embedding_dim), nn.Tanh())
    return EmbeddingModule(backbone, head.for_embeddings((embedding_dim,)), **options).eval()


def by_name(cls):
    return cls.__name__


@pytest.fixture(params=OF_EXAMPLES, ids=by_name)
def module(request):
    return make_module(request.param)


@pytest.fixture
def support(make_support):
    return make_support()._replace(inputs=make_support().inputs.float())


@pytest.fixture
def query(make_query):
    return make_query().float()


def embedded_by_hand(module, inputs):
    return torch.stack([module.head.prepare(module.backbone(rows)) for rows in inputs])


def check_close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_the_verbs_are_those_of_the_head_on_embeddings(module, support, query):
    head = module.head
    state = module.adapt(support)
    represented = head.represent(support._replace(inputs=embedded_by_hand(module, support.inputs)))
    expected = head.context(represented)
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name])
    queries = embedded_by_hand(module, query)
    check_close(module.predict(state, query), head.score(expected, queries))


def test_embedding_first_changes_nothing(module, support, query):
    """What modules that embed rows promise: each row is embedded by itself."""
    assert isinstance(module, EmbedsRows)
    embedded = module.embed(support.inputs.flatten(0, 1)).unflatten(0, (3, 12))
    state = module.adapt_embedded(support._replace(inputs=embedded))
    of_query = torch.stack([module.embed(rows) for rows in query])
    check_close(
        module.predict_embedded(state, of_query), module.predict(module.adapt(support), query)
    )


def test_condensed_support_sets_can_be_joined_with_more_examples(module, support, query):
    """What modules that join promise."""
    assert isinstance(module, Joins)
    embedded = support._replace(inputs=embedded_by_hand(module, support.inputs))
    parts = [Support(*(v[:, part] for v in embedded[:3]), 4) for part in (slice(7), slice(7, 12))]
    old = module.condense(parts[0])
    columns = zip(old[:3], parts[1][:3], strict=True)
    joined = Support(*(torch.cat(column, dim=1) for column in columns), 4)
    of_query = embedded_by_hand(module, query)
    expected = module.predict(module.adapt(support), query)
    check_close(module.predict_embedded(module.adapt_embedded(joined), of_query), expected)
    condensed = module.condense(embedded)
    check_close(module.predict_embedded(module.adapt_embedded(condensed), of_query), expected)
    assert condensed.inputs.shape[1] == (4 if module.head.averages else 12)


def test_episodes_are_predicted_as_by_the_verbs(module, batch):
    embedding = module.embed(batch.inputs)
    predictions = predict_episodes(module, batch, partial(take_rows, embedding))
    support = batch.support_sets(partial(take_rows, batch.inputs))
    expected = module.predict(module.adapt(support), take_rows(batch.inputs, batch.query))
    check_close(predictions, expected)


def test_a_training_step_embeds_the_stack_once(module, batch):
    sizes = []
    module.backbone.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    criterion = EpisodicCrossEntropy()
    loss = module.training_loss(batch, criterion)
    assert sizes == [len(batch.inputs)]
    support = batch.support_sets(partial(take_rows, batch.inputs))
    logits = module.predict(module.adapt(support), take_rows(batch.inputs, batch.query))
    check_close(loss, criterion(logits, batch.target))
    loss.backward()
    for parameter in module.backbone.parameters():
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", ["n_outputs", "independent_queries", "score_shift"])
def test_what_the_head_declares_the_module_does(name):
    class Declared(PrototypicalHead):
        n_outputs, independent_queries, score_shift = 3, False, False

    for head in (PrototypicalHead(), Declared()):
        assert getattr(EmbeddingModule(nn.Identity(), head), name) == getattr(head, name)


def test_lower_precision_ends_with_the_backbone(batch):
    exact, rough = (make_module(PrototypicalHead, autocast_dtype=t) for t in (None, torch.bfloat16))
    rough.load_state_dict(exact.state_dict())
    embedding = rough.embed(batch.inputs)
    assert embedding.dtype == torch.float32
    error = (embedding - exact.embed(batch.inputs)).abs().max()
    assert 1e-6 < error < 0.1
    assert rough.training_loss(batch, EpisodicCrossEntropy()).dtype == torch.float32
    classifier = ClassifierModule(exact.backbone, exact.head, nn.Linear(3, 4), torch.bfloat16)
    assert torch.equal(classifier.embed(batch.inputs), embedding)
    loss = classifier.training_loss(
        SampleBatch(batch.inputs, torch.arange(10) % 4), EpisodicCrossEntropy()
    )
    assert loss.dtype == torch.float32


# ------------------------------------------------------------------ built from options


def test_options_reach_backbone_and_head():
    module = EmbeddingModule.build(
        (6,),
        head=PrototypicalHead,
        head_options={"scale": 3.0},
        backbone="mlp",
        backbone_options={"hidden_dim": 8, "embedding_dim": 4},
    )
    assert float(module.head.scale) == pytest.approx(3.0)
    assert module.embed(torch.zeros(5, 6)).shape == (5, 4)


def test_backbones_suit_the_samples_unless_told_otherwise():
    for shape in ((6,), (1, 16, 16)):
        module = EmbeddingModule.build(shape, head=PrototypicalHead)
        assert type(module.backbone) is type(make_backbone("auto", shape))
        assert module.embed(torch.zeros(5, *shape)).shape[0] == 5


def test_on_top_of_a_frozen_backbone_only_the_top_and_the_head_are_trained(batch):
    module = EmbeddingModule.build(
        (6,),
        head=heads.RelationHead,
        backbone=nn.Linear(6, 5),
        top_options={"hidden_dim": 7},
    )
    frozen, top = module.backbone
    assert isinstance(frozen, Frozen)
    assert 7 in {len(p) for p in top.parameters()}
    module.train().training_loss(batch, EpisodicCrossEntropy()).backward()
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.grad is not None for p in (*top.parameters(), *module.head.parameters()))


# ------------------------------------------------------------------ episodes of described classes


@pytest.mark.parametrize("cls", OF_ATTRIBUTES, ids=by_name)
def test_queries_are_scored_against_the_classes_of_their_episode(cls):
    """By hand, episode by episode; the second has a class fewer."""
    module, items = make_module(cls, embedding_dim=5), torch.randn(7, 5)
    classes = torch.tensor([[6, 0, 3], [2, 5, -1]])
    batch = EpisodeBatch(
        inputs=torch.randn(10, 6),
        support=torch.zeros(2, 0, dtype=torch.int64),
        support_target=torch.zeros(2, 0, dtype=torch.int64),
        weight=torch.zeros(2, 0),
        query=torch.tensor([[8, 9, 1], [7, 3, 0]]),
        target=torch.tensor([[2, 0, 1], [1, 0, 0]]),
        n_classes=3,
        classes=classes,
        attributes=items[classes],
    )
    scores = predict_episodes(module, batch, partial(take_rows, module.embed(batch.inputs)))
    costs = []
    for episode, members in enumerate([[6, 0, 3], [2, 5]]):
        n = len(members)
        alone = Support(items[members][None], torch.arange(n)[None], torch.ones(1, n), n)
        query = batch.inputs[batch.query[episode]][None]
        expected = module.predict(module.adapt(alone), query)
        torch.testing.assert_close(scores[[episode], :, :n], expected, rtol=1e-5, atol=1e-6)
        costs.append(cross_entropy(expected[0], batch.target[episode]))
    assert (scores[1, :, 2] == -torch.inf).all()
    loss = module.training_loss(batch, EpisodicCrossEntropy())
    torch.testing.assert_close(loss, torch.stack(costs).mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", OF_ATTRIBUTES, ids=by_name)
def test_attributes_are_not_embedded(cls):
    """They need not even have the shape of a sample."""
    module = EmbeddingModule(nn.Linear(6, 5), cls(5, n_attributes=2)).eval()
    seen = []
    module.backbone.register_forward_hook(lambda _, args, out: seen.append(args[0].shape))
    support = Support(torch.randn(2, 3, 3), torch.arange(3).expand(2, 3), torch.ones(2, 3), 3)
    state = module.adapt(support)
    assert not seen
    assert module.predict(state, torch.randn(2, 4, 6)).shape == (2, 4, 3)


# ------------------------------------------------------------------ ordinary classification


def test_a_classifier_trains_on_samples_and_scores_episodes_by_its_head(batch):
    backbone, head, classifier = nn.Linear(6, 3), CentroidHead(3), nn.Linear(3, 4)
    module = ClassifierModule(backbone, head, classifier)
    target = torch.arange(10) % 4
    loss = module.training_loss(SampleBatch(batch.inputs, target), EpisodicCrossEntropy())
    torch.testing.assert_close(loss, cross_entropy(classifier(backbone(batch.inputs)), target))
    loss.backward()
    assert all(p.grad is not None for p in (*backbone.parameters(), *classifier.parameters()))
    take = partial(take_rows, module.embed(batch.inputs))
    expected = predict_episodes(EmbeddingModule(backbone, head), batch, take)
    assert torch.equal(predict_episodes(module, batch, take), expected)


def test_to_the_criterion_samples_are_one_episode_of_all_classes():
    seen = []

    def criterion(logits, target):
        seen.append((logits.shape, target.tolist()))
        return logits.sum()

    module = ClassifierModule(nn.Linear(6, 3), CentroidHead(3), nn.Linear(3, 4))
    module.training_loss(SampleBatch(torch.randn(5, 6), torch.tensor([3, 0, 1, 1, 2])), criterion)
    assert seen == [((1, 5, 4), [[3, 0, 1, 1, 2]])]


def test_maps_are_flattened_before_they_are_classified():
    backbone = nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (3, 2, 2)))
    module = ClassifierModule(backbone, CentroidHead(12), nn.Linear(12, 4))
    inputs, target = torch.randn(5, 6), torch.arange(5) % 4
    loss = module.training_loss(SampleBatch(inputs, target), EpisodicCrossEntropy())
    logits = module.classifier(backbone[0](inputs))
    torch.testing.assert_close(loss, cross_entropy(logits, target))


def test_the_cosine_classifier_sees_directions_only():
    classifier, x = CosineClassifier(6, 4), torch.randn(5, 6)
    logits = classifier(x).detach().numpy()
    for i, k in np.ndindex(5, 4):
        a, b = x[i].numpy(), classifier.weight[k].detach().numpy()
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        np.testing.assert_allclose(logits[i, k], 10.0 * cosine, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(classifier(100.0 * x).detach(), logits, rtol=1e-5, atol=1e-6)
    assert [name for name, _ in classifier.named_parameters()] == ["weight"]
