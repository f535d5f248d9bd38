"""The two verbs: what is predicted, and lost, of episodes by modules that have nothing more."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sklearn_fewshot.nn import (
    EmbeddingModule,
    EpisodicCrossEntropy,
    FewShotModule,
    Joins,
    Support,
    class_means,
    episode_loss,
    is_padding,
    predict_episodes,
    take_rows,
)
from sklearn_fewshot.nn.backbones import Identity
from sklearn_fewshot.nn.heads import PrototypicalHead


class NearestMean(FewShotModule):
    """A plain module, which does what Prototypical Networks without a backbone do."""

    def __init__(self, input_shape=(6,), factor=1.0):
        super().__init__()
        self.input_shape = input_shape
        self.factor = nn.Parameter(torch.tensor(factor))

    def adapt(self, support):
        means = class_means(support)
        return {"mean": means.inputs, "absent": means.weight == 0}

    def predict(self, state, inputs):
        distance = torch.cdist(inputs, state["mean"], compute_mode="donot_use_mm_for_euclid_dist")
        logits = -self.factor * distance.square()
        return logits.masked_fill(state["absent"].unsqueeze(1), -torch.inf)


class Centred(NearestMean):
    """A transductive module: queries are seen relative to their mean."""

    independent_queries = False

    def predict(self, state, inputs):
        return super().predict(state, inputs - inputs.mean(dim=1, keepdim=True))


class MeanValue(FewShotModule):
    """A regression that takes the mean of the values of the support set."""

    def adapt(self, support):
        weight = support.weight.unsqueeze(-1)
        return {
            "mean": (support.target * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        }

    def predict(self, state, inputs):
        return state["mean"].expand(-1, inputs.shape[1], -1)


def squared_error(predictions, target):
    """Mean over the real queries of an episode, then over episodes."""
    real = ~is_padding(target)
    errors = (predictions - target.nan_to_num()).square().mean(dim=-1) * real
    return (errors.sum(dim=1) / real.sum(dim=1)).mean()


@pytest.fixture
def take(batch):
    return partial(take_rows, batch.inputs)


def alone(batch, episode):
    """Return support set, queries and their classes of one episode, without any padding."""
    real, is_query = batch.weight[episode] > 0, batch.target[episode] >= 0
    support = Support(
        batch.inputs[batch.support[episode][real]][None],
        batch.support_target[episode][real][None],
        torch.ones(1, int(real.sum())),
        batch.n_classes,
    )
    query = batch.inputs[batch.query[episode][is_query]][None]
    return support, query, batch.target[episode][is_query]


def test_queries_are_predicted_from_the_support_of_their_episode(batch, take):
    module = NearestMean()
    predictions = predict_episodes(module, batch, take)
    assert predictions.shape == (*batch.target.shape, batch.n_classes)
    for episode, target in enumerate(batch.target):
        support, query, _ = alone(batch, episode)
        expected = module.predict(module.adapt(support), query)
        torch.testing.assert_close(predictions[[episode]][:, target >= 0], expected)


def test_a_plain_module_and_one_that_embeds_rows_are_served_alike(batch, take):
    plain, embedding = NearestMean(), EmbeddingModule(Identity((6,)), PrototypicalHead())
    expected = predict_episodes(embedding, batch, take)
    torch.testing.assert_close(predict_episodes(plain, batch, take), expected)
    loss = EpisodicCrossEntropy()
    torch.testing.assert_close(
        plain.training_loss(batch, loss), embedding.training_loss(batch, loss)
    )


@pytest.mark.parametrize("cls", [NearestMean, Centred])
def test_the_loss_is_the_mean_over_episodes_without_padding(cls, batch, take):
    module = cls(factor=0.3)
    costs = []
    for episode in range(len(batch.target)):
        support, query, target = alone(batch, episode)
        logits = module.predict(module.adapt(support), query)
        costs.append(cross_entropy(logits[0], target))
    expected = torch.stack(costs).mean()
    criterion = EpisodicCrossEntropy()
    torch.testing.assert_close(episode_loss(module, batch, take, criterion), expected)
    torch.testing.assert_close(module.training_loss(batch, criterion), expected)


@pytest.mark.parametrize("cls", [NearestMean, Centred])
def test_where_padding_points_at_changes_no_loss(cls, batch):
    module, criterion = cls(), EpisodicCrossEntropy()
    expected = module.training_loss(batch, criterion)
    support = batch.support.where(batch.weight > 0, 9)
    query = batch.query.where(batch.target >= 0, 9)
    other = batch._replace(support=support, query=query)
    assert not torch.equal(query, batch.query)
    torch.testing.assert_close(module.training_loss(other, criterion), expected)


def test_queries_that_depend_on_each_other_are_divided_only_where_there_is_padding(batch, take):
    """Without padding one call serves all episodes, and gives the same."""
    module, criterion, calls = Centred(), EpisodicCrossEntropy(), []

    class Counting(Centred):
        def predict(self, state, inputs):
            calls.append(inputs.shape[:2])
            return super().predict(state, inputs)

    episode_loss(Counting(), batch, take, criterion)
    assert calls == [(1, 3), (1, 2)]
    calls.clear()
    full = batch._replace(target=batch.target.clamp_min(0))
    together = episode_loss(Counting(), full, take, criterion)
    assert calls == [(2, 3)]
    one_by_one = [episode_loss(module, one, take, criterion) for one in full.one_by_one()]
    torch.testing.assert_close(together, torch.stack(one_by_one).mean())


def test_values_are_predicted_in_regression(batch, take):
    values = torch.randn(2, 3, 2)
    values[1, 1:] = torch.nan
    batch = batch._replace(target=values, support_target=torch.randn(2, 4, 2), n_classes=1)
    module, costs = MeanValue(), []
    for episode in range(2):
        real = batch.weight[episode] > 0
        expected = batch.support_target[episode][real].mean(dim=0)
        torch.testing.assert_close(
            predict_episodes(module, batch, take)[episode], expected.expand(3, 2)
        )
        errors = (values[episode] - expected)[: 3 if episode == 0 else 1]
        costs.append(errors.square().mean())
    expected = torch.stack(costs).mean()
    torch.testing.assert_close(module.training_loss(batch, squared_error), expected)
    module.independent_queries = False
    torch.testing.assert_close(module.training_loss(batch, squared_error), expected)


@pytest.mark.parametrize("cls", [NearestMean, Centred])
def test_the_loss_has_gradients(cls, batch):
    module = cls()
    module.training_loss(batch, EpisodicCrossEntropy()).backward()
    assert module.factor.grad.isfinite()
    assert module.factor.grad != 0


def test_a_module_is_built_from_the_shape_of_its_samples():
    module = NearestMean.build((2, 3), factor=2.0)
    assert module.input_shape == (2, 3)
    assert module.factor.item() == pytest.approx(2.0)


def test_a_module_must_say_how_it_adapts_and_predicts(batch, take):
    module, support = FewShotModule(), batch.support_sets(take)
    for call in (
        partial(module.adapt, support),
        partial(module.predict, {}, take(batch.query)),
        partial(Joins().condense, support),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_modules_answer_for_any_number_of_classes_and_one_by_one_unless_they_say_more():
    module = FewShotModule()
    assert module.n_outputs is None
    assert module.independent_queries
    assert module.score_shift
