"""On another device than the processor: no mixed devices, no waiting for values inside a step.

Tensors of torch's ``FakeTensorMode`` have shapes and a device but no values. Reading a value, as
``item()`` does and as shapes that depend on data do, would make a GPU wait for all work before it;
here it raises, as does an operation on two devices. The other device is "meta": a processor cannot
record gradients, or even take slices, of fake "cuda" tensors.
"""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from sklearn_fewshot import (
    MAMLRegressor,
    NeuralProcessRegressor,
    ReptileRegressor,
    RidgeNetRegressor,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
)
from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.nn import (
    ClassifierModule,
    DataTensor,
    EmbeddingModule,
    EmbedsRows,
    EpisodeLoader,
    EpisodicCrossEntropy,
    SampleBatch,
    predict_episodes,
    take_rows,
)
from sklearn_fewshot.nn.backbones import Conv4, Identity
from sklearn_fewshot.nn.heads import PrototypicalHead

REGRESSORS = [MAMLRegressor, NeuralProcessRegressor, ReptileRegressor, RidgeNetRegressor]
ELSEWHERE = torch.device("meta")
UNTRAINED = {"max_epochs": 0, "validation_fraction": 0.0, "calibrate": False, "random_state": 0}


def like(tensor, device):
    """Return a tensor without values of the same size on another device."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device)


def moved(module, device):
    """Return a network whose parameters and buffers are on another device."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            part.register_parameter(name, nn.Parameter(like(value, device)))
        for name, value in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, like(value, device))
    return module


def batch_of(X, codes, attributes=None, values=None):
    """Return episodes of unequal sizes."""
    sampler = EpisodeSampler(codes, n_way=(2, 4), n_shot=(1, 3), n_query=2, clamp=True)
    loader = EpisodeLoader(
        DataTensor(X, torch.device("cpu")),
        sampler,
        n_episodes=3,
        meta_batch_size=3,
        rng=np.random.default_rng(0),
        attributes=attributes,
        values=values,
    )
    return next(iter(loader))


def of_values(predictions, target):
    """Return a loss of the predicted values, the first of what is predicted."""
    return (predictions[..., :1] - target).square().sum()


def check_steps(module, batch, criterion):
    """Train for a step, with gradients, and adapt and predict as validation does."""
    module = copy.deepcopy(module).train().requires_grad_()
    module.training_loss(batch, criterion)  # a network may read its state before the first step
    tensors = {k: v for k, v in batch._asdict().items() if isinstance(v, torch.Tensor)}
    with FakeTensorMode():
        batch = batch._replace(**{name: like(v, ELSEWHERE) for name, v in tensors.items()})
        moved(module, ELSEWHERE).training_loss(batch, criterion).backward()
        slopes = [p.grad for p in module.parameters() if p.grad is not None]
        assert slopes
        assert {slope.device for slope in slopes} == {ELSEWHERE}
        module.eval()
        with torch.no_grad():
            rows = module.embed(batch.inputs) if isinstance(module, EmbedsRows) else batch.inputs
            predictions = predict_episodes(module, batch, partial(take_rows, rows))
        assert predictions.device == ELSEWHERE


@pytest.mark.parametrize("kind", ["table", "pictures", "series"])
def test_learners_of_classes(make_any, request, kind):
    data = request.getfixturevalue(kind)
    learner = make_any(**UNTRAINED).fit(data.X, data.y)
    batch = batch_of(data.X, np.unique(data.y, return_inverse=True)[1])
    check_steps(learner.module_, batch, EpisodicCrossEntropy())


@pytest.mark.parametrize("cls", REGRESSORS)
def test_learners_of_values(cls):
    rng = np.random.default_rng(0)
    X, tasks = rng.normal(size=(80, 3)).astype(np.float32), np.repeat(np.arange(8), 10)
    learner = cls(n_shot=3, n_query=3, **UNTRAINED).fit(X, X[:, 0], tasks=tasks)
    batch = batch_of(X, tasks, values=torch.from_numpy(X[:, :1]))
    check_steps(learner.module_, batch, of_values)


@pytest.mark.parametrize("cls", [ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier])
def test_learners_of_attributes(cls, table):
    labels, codes = np.unique(table.y, return_inverse=True)
    attributes = np.random.default_rng(0).normal(size=(len(labels), 4))
    learner = cls(**UNTRAINED).fit(table.X, table.y, class_attributes=(labels, attributes))
    with_penalty = np.column_stack([attributes, np.zeros(len(labels))])
    batch = batch_of(table.X, codes, attributes=torch.from_numpy(with_penalty).float())
    check_steps(learner.module_, batch, EpisodicCrossEntropy())


def test_ordinary_classification():
    backbone = Conv4((1, 16, 16), n_filters=4)
    module = ClassifierModule(backbone, PrototypicalHead(), nn.Linear(4, 5))
    batch = SampleBatch(torch.zeros(6, 1, 16, 16), torch.zeros(6, dtype=torch.int64))
    with FakeTensorMode():
        batch = SampleBatch(*(like(part, ELSEWHERE) for part in batch))
        loss = moved(module, ELSEWHERE).training_loss(batch, EpisodicCrossEntropy())
        loss.backward()
        assert loss.device == ELSEWHERE


class Waits(PrototypicalHead):
    """Reads a value in each step."""

    def score(self, state, query):
        return super().score(state, query) * (1.0 if query.sum().item() > 0 else 2.0)


class ShapesByData(PrototypicalHead):
    """Has rows whose number depends on their values."""

    def score(self, state, query):
        return super().score(state, query) + query[query > 0].sum()


class StaysBehind(PrototypicalHead):
    """Makes a tensor where it is made by default."""

    def score(self, state, query):
        scores = super().score(state, query)
        return scores + torch.arange(scores.shape[-1])


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (Waits, DataDependentOutputException),
        (ShapesByData, DynamicOutputShapeException),
        (StaysBehind, RuntimeError),
    ],
)
def test_what_these_tests_find(head, error, table):
    module = EmbeddingModule(Identity((6,)), head(learn_scale=True))
    batch = batch_of(table.X[:, :6], np.unique(table.y, return_inverse=True)[1])
    with pytest.raises(error):
        check_steps(module, batch, EpisodicCrossEntropy())
