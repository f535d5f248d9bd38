"""The calibration of a network that was trained again, with nothing held out."""

import copy

import numpy as np
import pytest
import torch

from sklearn_fewshot import ProtoNetClassifier, RelationNetClassifier
from sklearn_fewshot.calibration import (
    EncodedData,
    SampledQueries,
    ShotBias,
    ShotBiasByWay,
    carry_over,
    sample_queries,
)
from sklearn_fewshot.calibration._carry_over import match
from sklearn_fewshot.training import _calibrated


def scored(network, calibration, table):
    codes = np.unique(table.y, return_inverse=True)[1]
    data = EncodedData(network.encode(table.X), codes, None)
    return list(sample_queries(network, data, calibration.tasks, np.random.default_rng(0)))


@pytest.fixture
def larger_scores(learner):
    """A network and the same with scores that are three times as large."""
    network = copy.copy(learner._network)
    bias = ShotBiasByWay(np.array([4.0]), (ShotBias(1.5, 0.5, 5.0),))
    network.calibration = network.calibration._replace(shot_bias=bias)
    other = copy.copy(network)
    other.module = copy.deepcopy(network.module)
    with torch.no_grad():
        other.module.head.log_scale += np.log(3.0)
    return network, other


def test_the_unit_of_the_scores_is_carried_over(larger_scores, table):
    """Same probabilities, same rejections, same correction of unequal shots."""
    network, other = larger_scores
    before = network.calibration
    found = carry_over(before, *(scored(it, before, table) for it in (network, other)))
    count = np.array([1, 2, 4, 3])
    np.testing.assert_allclose(found.inliers.quantile, 3.0 * before.inliers.quantile, rtol=1e-3)
    ratio = found.inverse_temperature(count) / before.inverse_temperature(count)
    assert ratio == pytest.approx(1 / 3, rel=1e-3)
    np.testing.assert_allclose(
        found.shot_correction(count), 3.0 * before.shot_correction(count), rtol=1e-3
    )


def test_the_same_network_keeps_its_calibration(learner, table):
    network = learner._network
    sizes = scored(network, network.calibration, table)
    found = carry_over(network.calibration, sizes, sizes)
    np.testing.assert_allclose(found.inliers.quantile, network.calibration.inliers.quantile)
    count = np.full(4, 2)
    expected = network.calibration.inverse_temperature(count)
    assert found.inverse_temperature(count) == pytest.approx(expected)


def queries(best):
    logits = np.column_stack([best, best - 1.0])
    return SampledQueries(logits, np.zeros(len(best), int), np.zeros(len(best), int), 2, 1)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.3, -4.0), (20.0, 7.0)])
def test_matched_quantiles_give_slope_and_offset(slope, offset):
    best = np.random.default_rng(0).normal(size=400)
    after = queries(offset + slope * np.random.default_rng(1).permutation(best))
    np.testing.assert_allclose(match(queries(best), after), (slope, offset), atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [(0.0, 1.0), (-3.0, 2.0)])
def test_equal_scores_give_only_an_offset(old, new):
    slope, offset = match(queries(np.full(9, old)), queries(np.full(9, new)))
    assert (slope, offset) == (1.0, new - old)


@pytest.mark.parametrize("cls", [ProtoNetClassifier, RelationNetClassifier])
def test_a_refit_measures_how_scores_change(cls, table, monkeypatch):
    """On classes that both trainings had: none that the first one held out."""
    seen = []

    def spy(network, data, *args):
        seen.append((network, data))
        return sample_queries(network, data, *args)

    monkeypatch.setattr(_calibrated, "sample_queries", spy)
    held_out = ["base-0", "base-9"]
    budget = {"max_epochs": 2, "n_way": 3, "episodes_per_epoch": 4, "random_state": 0}
    learner = cls(refit=True, validation_classes=held_out, **budget).fit(table.X, table.y)
    assert len(seen) == 2
    assert seen[1][0] is learner._network
    for network, data in seen:
        kept = network.encode(table.X[~np.isin(table.y, held_out)])
        np.testing.assert_array_equal(np.unique(data.rows, axis=0), np.unique(kept, axis=0))
    first, again = (network.calibration for network, _ in seen)
    assert again.n_held_out == first.n_held_out == 2
    assert not np.array_equal(again.inliers.quantile, first.inliers.quantile)
