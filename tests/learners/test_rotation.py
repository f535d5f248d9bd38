"""Which episodes learners of classes train on: shots, queries, roles and learning rate."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_fewshot import (
    BaselineClassifier,
    InContextClassifier,
    MAMLClassifier,
    MANNClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.nn import EpisodeLoader
from sklearn_fewshot.training import _meta_train

ROTATING = [
    ProtoNetClassifier,
    MatchingNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
]
LITERAL = [
    BaselineClassifier,
    InContextClassifier,
    MAMLClassifier,
    MANNClassifier,
    RelationNetClassifier,
]
SHORT = {"n_way": 4, "max_epochs": 1, "episodes_per_epoch": 2, "random_state": 0}


@pytest.fixture
def batches(monkeypatch):
    """All training batches, as they are loaded."""
    seen = []

    class Recorder(EpisodeLoader):
        def __iter__(self):
            for batch in super().__iter__():
                seen.append(batch)
                yield batch

    monkeypatch.setattr(_meta_train, "EpisodeLoader", Recorder)
    return seen


def pictures(size):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(8), 8)
    return rng.random((64, 1, size, size), dtype=np.float32), y


def of_class(batch):
    """The stack positions of each class of each episode: support and queries."""
    return [
        [
            (set(support[target == way].tolist()), set(query[answer == way].tolist()))
            for way in range(batch.n_classes)
        ]
        for support, target, query, answer in zip(
            batch.support, batch.support_target, batch.query, batch.target, strict=True
        )
    ]


@pytest.mark.parametrize("cls", ROTATING, ids=lambda cls: cls.__name__)
def test_each_sample_of_a_batch_is_support_in_turn(cls, batches, table):
    cls(**SHORT, n_shot=1, validation_fraction=0.0).fit(table.X, table.y)
    for batch in batches:
        assert len(batch.support) == 3  # one example and two queries
        assert len(batch.inputs) == 4 * 3
        episodes = of_class(batch)
        for way in range(4):
            supports = [episode[way][0] for episode in episodes]
            rows = set().union(*supports)
            assert len(rows) == 3 == sum(map(len, supports))
            assert all(s | q == rows and not s & q for s, q in (e[way] for e in episodes))


@pytest.mark.parametrize("cls", LITERAL, ids=lambda cls: cls.__name__)
def test_other_learners_train_on_episodes_as_they_are_drawn(cls):
    learner = cls()
    assert not learner.rotate_support
    assert learner.n_query == 5


def test_without_rotation_an_episode_is_one(batches, table):
    literal = ProtoNetClassifier(**SHORT, n_shot=1, rotate_support=False, validation_fraction=0.0)
    literal.fit(table.X, table.y)
    assert [len(batch.support) for batch in batches] == [1, 1]


def test_groups_stay_on_their_side(batches, table):
    """With five queries of a class, unless more are asked for."""
    groups, stored = np.arange(len(table.y)) % 3, table.X.astype(np.float32)
    for n_query, expected in ((2, 5), (6, 6)):
        batches.clear()
        learner = ProtoNetClassifier(**SHORT, n_shot=1, n_query=n_query, validation_fraction=0.0)
        learner.fit(table.X, table.y, groups=groups)
        for batch in batches:
            assert len(batch.query) == 1
            assert batch.query.shape[1] == 4 * expected
            X = batch.inputs.numpy()
            support, query = (
                {groups[np.flatnonzero((x == stored).all(axis=1))[0]] for x in X[rows]}
                for rows in (
                    batch.support[batch.weight > 0].numpy(),
                    batch.query[batch.target >= 0].numpy(),
                )
            )
            assert not support & query


class Flat(nn.Module):
    def __init__(self, input_shape):
        super().__init__()
        self.linear = nn.Linear(int(np.prod(input_shape)), 8)

    def forward(self, inputs):
        return self.linear(inputs.flatten(1))


@pytest.mark.parametrize(
    ("size", "params", "shots", "lr"),
    [
        (16, {}, {1}, 3e-3),
        (16, {"backbone": "conv4_strided"}, {1}, 3e-3),
        (16, {"backbone": "residual_mlp"}, {1, 2, 3, 4, 5}, 1e-3),
        (16, {"backbone": Flat}, {1, 2, 3, 4, 5}, 1e-3),
        (8, {}, {1, 2, 3, 4, 5}, 1e-3),  # as a table
        (16, {"lr": 0.1}, {1}, 0.1),
        (16, {"n_shot": 2}, {2}, 3e-3),
    ],
    ids=["conv4", "strided", "residual MLP", "its own", "small images", "given lr", "given shots"],
)
def test_what_auto_stands_for(size, params, shots, lr, batches):
    X, y = pictures(size)
    few = SHORT | {"episodes_per_epoch": 40, "lr_schedule": "constant"}
    few |= {"n_query": 1, "validation_fraction": 0.0, "calibrate": False}
    learner = ProtoNetClassifier(**few | params).fit(X, y)
    assert learner.net_.lr == lr
    assert {int(batch.weight[0].sum()) // batch.n_classes for batch in batches} == shots


def test_on_a_frozen_backbone_auto_is_as_on_vectors():
    X, y = pictures(16)
    learner = ProtoNetClassifier(**SHORT, backbone=Flat, freeze_backbone=True)
    learner.fit(X, y)
    assert learner.net_.lr == 1e-3


def test_rotation_leaves_the_expected_loss_as_it_is(table):
    """Its divisions are as likely as the one that is drawn."""
    module = ProtoNetClassifier(**SHORT | {"max_epochs": 0}).fit(table.X, table.y).module_
    means = {}
    for rotate in (False, True):
        rng = np.random.default_rng(0)
        learner = ProtoNetClassifier(n_way=4, n_shot=1)
        learner.input_shape_, learner.input_scale_ = table.X.shape[1:], 1.0
        data = learner._check_data(table.X, table.y, 0)
        config = learner._config(data)
        loader = EpisodeLoader(
            _meta_train.DataTensor(table.X, torch.device("cpu")),
            config.sampler(data, data.training),
            n_episodes=300,
            meta_batch_size=1,
            rng=rng,
            rotate=rotate,
        )
        with torch.no_grad():
            losses = [float(module.training_loss(batch, config.criterion)) for batch in loader]
        means[rotate] = np.mean(losses), np.std(losses) / np.sqrt(len(losses))
    (mean, error), (of_rotated, its_error) = means[False], means[True]
    assert abs(mean - of_rotated) < 4 * np.hypot(error, its_error)
    assert its_error < error  # and they tell more
