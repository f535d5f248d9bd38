"""Networks around a backbone: episodes scored, samples classified, modes restored."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sklearn_fewshot.nn import (
    ClassifierModule,
    CosineClassifier,
    EpisodicCrossEntropy,
    EpisodicModule,
    SupportSet,
    evaluating,
)
from sklearn_fewshot.nn._module import EpisodeBatch
from sklearn_fewshot.nn.heads import CentroidHead, PrototypicalHead


def make_batch(n_rows=10):
    return EpisodeBatch(
        inputs=torch.randn(n_rows, 6),
        support=torch.tensor([[0, 1, 2, 3], [4, 5, 6, 0]]),
        code=torch.tensor([[0, 0, 1, 1], [1, 0, 0, 0]]),
        weight=torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]),
        query=torch.tensor([[8, 9], [7, 3]]),
        n_classes=2,
    )


def test_queries_are_scored_against_the_support_of_their_episode():
    backbone, head, batch = nn.Linear(6, 3), PrototypicalHead(), make_batch()
    scores = EpisodicModule(backbone, head)(batch)
    for episode in range(2):
        real = batch.weight[episode] > 0
        alone = SupportSet(
            backbone(batch.inputs[batch.support[episode]])[real].unsqueeze(0),
            batch.code[episode][real].unsqueeze(0),
            torch.ones(1, int(real.sum())),
            2,
        )
        query = backbone(batch.inputs[batch.query[episode]]).unsqueeze(0)
        expected = head.score(head.represent(alone), query)
        torch.testing.assert_close(scores[[episode]], expected)


def test_a_classifier_trains_on_samples_and_scores_episodes_by_its_head():
    backbone, head, classifier = nn.Linear(6, 3), CentroidHead(), nn.Linear(3, 4)
    module, batch = ClassifierModule(backbone, head, classifier), make_batch()
    logits = module(batch.inputs)
    assert logits.shape == (1, 10, 4)
    torch.testing.assert_close(logits[0], classifier(backbone(batch.inputs)))
    target = torch.arange(10) % 4
    loss = EpisodicCrossEntropy()(logits, target.unsqueeze(0))
    torch.testing.assert_close(loss, cross_entropy(logits[0], target))
    embedding = backbone(batch.inputs)
    expected = EpisodicModule(backbone, head).score_episodes(embedding, batch)
    assert torch.equal(module.score_episodes(embedding, batch), expected)


def test_maps_are_flattened_before_they_are_classified():
    backbone = nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (3, 2, 2)))
    module = ClassifierModule(backbone, CentroidHead(), nn.Linear(12, 4))
    assert module(torch.randn(5, 6)).shape == (1, 5, 4)


def test_the_cosine_classifier_sees_directions_only():
    classifier, x = CosineClassifier(6, 4, scale=10.0), torch.randn(5, 6)
    logits = classifier(x).detach().numpy()
    for i, k in np.ndindex(5, 4):
        a, b = x[i].numpy(), classifier.weight[k].detach().numpy()
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        np.testing.assert_allclose(logits[i, k], 10.0 * cosine, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(classifier(100.0 * x).detach(), logits, rtol=1e-5, atol=1e-6)
    assert [name for name, _ in classifier.named_parameters()] == ["weight"]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_whatever_happens(training):
    module = nn.Linear(2, 2).train(training)
    with evaluating(module):
        assert not module.training
        assert not module(torch.ones(1, 2)).requires_grad
    assert module.training == training
    with pytest.raises(ZeroDivisionError), evaluating(module):
        1 / 0  # noqa: B018
    assert module.training == training
