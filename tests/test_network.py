"""The network as a value: support items become what classes are known by."""

import numpy as np
import pytest
import sklearn
import torch

from sklearn_fewshot import MatchingNetClassifier, ProtoNetClassifier, RelationNetClassifier
from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.network import Representation

N_CLASSES, DIM = 7, 6


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    code = rng.integers(0, N_CLASSES - 1, size=101)  # the last class has none
    weight = rng.integers(1, 4, size=len(code)).astype(float)
    return Representation(rng.standard_normal((len(code), DIM)), code, weight, N_CLASSES)


def network_of(make, table):
    params = {"backbone": "identity", "max_epochs": 0, "calibrate": False, "random_state": 0}
    return make(**params).fit(table.X[:, :DIM], table.y)._network


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("n_rows", [1, 2, 50, 100, 101])
@pytest.mark.parametrize("make", [ProtoNetClassifier, RelationNetClassifier])
def test_means_are_the_same_however_many_items_are_taken_in_at_a_time(
    make, table, items, monkeypatch, n_rows
):
    network = network_of(make, table)
    expected = network.condense(items)
    sizes, condense = [], network._condense

    def spy(part):
        sizes.append(len(part.code))
        return condense(part)

    monkeypatch.setattr(network, "_condense", spy)
    with sklearn.config_context(working_memory=8 * n_rows * DIM / 2**20):
        result = network.condense(items)
    assert max(sizes) <= n_rows + N_CLASSES
    np.testing.assert_allclose(result.embedding, expected.embedding, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.class_count, expected.class_count)
    np.testing.assert_array_equal(result.code, expected.code)
    assert result.n_classes == N_CLASSES


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_examples_that_stay_examples_stay_whole(table, items):
    network = network_of(MatchingNetClassifier, table)
    expected = network.condense(items)
    with sklearn.config_context(working_memory=0):
        np.testing.assert_array_equal(network.condense(items).embedding, expected.embedding)


def test_gradients_are_recorded_between_the_parts_of_a_plan(learner, table):
    """The mode is set while a part is computed, not while the caller looks at it."""
    network = learner._network
    codes = np.unique(table.y_new, return_inverse=True)[1]
    sampler = EpisodeSampler(codes, n_way=2, n_shot=1, n_query=2)
    plan = sampler.plan(3, np.random.default_rng(0))
    rows = network.to_tensor(network.embed(table.X_new))
    with sklearn.config_context(working_memory=0):  # an episode at a time
        recorded = [torch.is_grad_enabled() for _ in network.score_plan(rows, plan)]
    assert recorded == [True] * 3
