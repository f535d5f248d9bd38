"""Thresholds of prediction sets, compared with plain loops and with new classes."""

from itertools import pairwise

import numpy as np
import pytest

from sklearn_fewshot.calibration import (
    Calibration,
    SampledQueries,
    SetThresholds,
    Temperature,
    carry_over,
)
from sklearn_fewshot.calibration._conformal import (
    ALPHAS,
    levels_for_new_classes,
    tabulate_set_thresholds,
)


def queries(n_classes, rng, n_way=4, n_shot=1, n_queries=50, spread=1.0):
    """Queries whose class is ahead of independent others by a lead that differs between classes."""
    code = np.repeat(np.arange(n_classes), n_queries)
    lead = 2.0 + spread * rng.normal(size=n_classes)
    logits = 1.5 * rng.normal(size=(len(code), n_way))
    target = rng.integers(n_way, size=len(code))
    logits[np.arange(len(code)), target] += lead[code]
    return SampledQueries(logits, target, code, n_way, n_shot)


def shares(size, inverse_temperature=1.0):
    """Return the score of each query, by a loop."""
    found = []
    for logits, target in zip(size.logits, size.target, strict=True):
        proba = np.exp(inverse_temperature * (logits - logits.max()))
        found.append(proba[target] / proba.max())
    return np.array(found)


def tabulate(*sizes, factor=1.0):
    return tabulate_set_thresholds(list(sizes), lambda count: factor)


def missed(size, thresholds, alpha):
    """Return whether the class of each query is missing from its set."""
    return shares(size) < thresholds.at(size.n_way, size.n_shot, alpha)


# ------------------------------------------------------------------ one size of episodes


@pytest.mark.parametrize("alpha", [0.004, 0.05, 0.1, 0.29, 0.5, 0.9])
def test_of_equal_classes_it_is_the_quantile_of_split_conformal_prediction(alpha):
    """The ``floor(alpha (n + 1))``-th smallest of ``n`` scores."""
    score = np.tile(np.random.default_rng(0).uniform(size=100), 5)
    code = np.repeat(np.arange(5), 100)
    logits = np.column_stack([np.log(score), np.zeros(500)])
    found = tabulate(SampledQueries(logits, 0 * code, code, 2, 1)).at(2, 1, alpha)
    assert found == pytest.approx(np.sort(score)[round(500 * alpha) - 1])


def test_levels_are_those_at_which_classes_that_are_left_out_are_right():
    """Recomputed class by class: as many queries are missed as stated, and one more is too many."""
    rng = np.random.default_rng(1)
    sizes = [queries(5, rng, n_shot=shot, n_queries=20) for shot in (1, 5)]
    scores, codes = [shares(size) for size in sizes], [size.code for size in sizes]
    level = levels_for_new_classes(scores, codes)

    def n_missed(of):
        count = 0
        for score, code in zip(scores, codes, strict=True):
            for k in range(5):
                others = np.sort(score[code != k])
                rank = int(of * (len(others) + 1) + 1e-9)
                count += np.sum(score[code == k] < (others[rank - 1] if rank else 0.0))
        return count

    for alpha, found in zip(ALPHAS, level, strict=True):
        assert n_missed(found) <= alpha * 200 + 1e-6
        assert found == alpha or n_missed(found + 1 / 80) > alpha * 200
    assert (level < ALPHAS).any()


def test_few_classes_that_differ_need_larger_sets_and_many_do_not():
    levels = {
        n: np.mean(
            [
                levels_for_new_classes([shares(size)], [size.code])[ALPHAS == 0.1]
                for size in (queries(n, np.random.default_rng(seed)) for seed in range(20))
            ]
        )
        for n in (3, 6, 60)
    }
    assert levels[3] < levels[6] - 0.005 < levels[60] - 0.01
    assert levels[60] == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize("n_classes", [3, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_new_classes_are_missed_as_often_as_stated(n_classes, alpha):
    """On average over draws of classes to hold out: 400 draws, each of 20 new classes."""
    rng, found = np.random.default_rng(n_classes), []
    for _ in range(400):
        thresholds = tabulate(queries(n_classes, rng))
        found.append(missed(queries(20, rng, n_queries=10), thresholds, alpha).mean())
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) < alpha + 0.2 * alpha + 3 * error
    assert np.mean(found) > alpha / 2


def test_what_few_classes_cannot_tell_has_all_classes():
    """A class that scores below all others: of three, one in three may be such."""
    score = np.concatenate([np.linspace(0.8, 1.0, 100), np.linspace(0.01, 0.1, 50)])
    code = np.repeat([0, 1, 2], 50)
    size = SampledQueries(np.log(np.column_stack([score, np.ones(150)])), code * 0, code, 2, 1)
    thresholds = tabulate(size)
    assert thresholds.at(2, 1, 0.3) == 0.0
    assert thresholds.at(2, 1, 0.5) > 0.0


# ------------------------------------------------------------------ between sizes, and beyond


@pytest.fixture(scope="module")
def thresholds():
    """Every entry of the table differs."""
    n_way, n_shot = np.array([2, 8]), np.array([1, 4, 16])
    share = [[ALPHAS ** (1 + 1 / s + 1 / w) for s in n_shot] for w in n_way]
    return SetThresholds(n_way, n_shot, np.array(share))


def test_measured_sizes_have_their_thresholds(thresholds):
    for i, n_way in enumerate((2, 8)):
        for j, n_shot in enumerate((1, 4, 16)):
            for level, alpha in enumerate(ALPHAS):
                found = thresholds.at(n_way, n_shot, alpha)
                assert found == thresholds.share[i, j, level]


def test_alpha_is_rounded_down(thresholds):
    for alpha, lower in ((0.0999, 0.09), (0.0499, 0.049), (0.001999, 0.001), (0.9999, 0.99)):
        assert thresholds.at(8, 4, alpha) == thresholds.at(8, 4, lower)
    assert thresholds.at(8, 4, 0.0009) == 0.0


def test_between_sizes_it_is_interpolated_in_logarithms(thresholds):
    half = thresholds.at(4, 2, 0.3)  # half way from 2 to 8, and from 1 to 4
    corners = [thresholds.at(w, s, 0.3) for w in (2, 8) for s in (1, 4)]
    assert half == pytest.approx(np.mean(corners))
    assert np.ptp(corners) > 0.1


def test_each_class_has_the_margin_of_its_own_number_of_examples(thresholds):
    """In units of the logits, at the temperature of tasks in which all classes have as many."""
    temperature = Temperature((0.1, 0.2, 0.3), (2, 8), (1, 16))
    calibration = Calibration(temperature, None, thresholds, None, 8)
    count = np.array([1, 4, 2, 4, 16, 1, 3, 99])
    found = calibration.set_margin(count, 0.3)
    for n_shot, margin in zip(count, found, strict=True):
        factor = calibration.inverse_temperature(np.full(8, n_shot))
        assert np.exp(-factor * margin) == pytest.approx(thresholds.at(8, n_shot, 0.3))
    assert np.isinf(calibration.set_margin(count, 1e-6)).all()
    assert calibration._replace(sets=None).set_margin(count, 0.3) is None


def test_beyond_the_shots_it_is_that_of_the_nearest(thresholds):
    assert thresholds.at(8, 500, 0.2) == thresholds.at(8, 16, 0.2)
    assert thresholds.at(1, 1, 0.2) == thresholds.at(2, 1, 0.2)


def test_beyond_the_ways_it_is_that_of_a_smaller_share(thresholds):
    """Three times as many other classes: each third of them may be ahead in a third of alpha."""
    expected = thresholds.at(8, 4, 0.02)
    assert thresholds.at(22, 4, 0.06) == expected
    assert thresholds.at(8 * 10**4, 4, 0.06) == 0.0


@pytest.mark.parametrize("n_way", [5, 8, 20])
def test_with_more_classes_than_were_held_out_no_more_are_missed(n_way):
    rng = np.random.default_rng(0)
    thresholds = tabulate(queries(60, rng, n_way=4))
    rates = [
        missed(queries(60, rng, n_way=n_way), thresholds, alpha).mean() for alpha in (0.1, 0.2)
    ]
    assert (np.array(rates) < [0.115, 0.22]).all()
    # Without the correction it would be too many.
    at = thresholds.at(4, 1, 0.1)
    assert np.mean(shares(queries(60, rng, n_way=20)) < at) > 0.2


# ------------------------------------------------------------------ what it does not depend on


def test_a_larger_alpha_has_a_larger_threshold():
    rng = np.random.default_rng(0)
    sizes = [queries(6, rng, n_way=w, n_shot=s) for w in (2, 4) for s in (1, 5)]
    thresholds = tabulate(*sizes)
    assert (np.diff(thresholds.share, axis=-1) >= 0).all()
    assert thresholds.share.min() >= 0.0
    assert thresholds.share.max() <= 1.0
    for n_way, n_shot in ((3, 1), (4, 2), (9, 20)):
        found = [thresholds.at(n_way, n_shot, alpha) for alpha in np.linspace(0.001, 0.999, 400)]
        assert all(lower <= higher for lower, higher in pairwise(found))


def test_the_unit_of_the_logits_does_not_matter():
    size = queries(6, np.random.default_rng(0))
    found = tabulate(size._replace(logits=50.0 * size.logits), factor=1 / 50)
    np.testing.assert_allclose(found.share, tabulate(size).share)


def test_training_again_keeps_the_thresholds(learner):
    """They are of probabilities, which have no unit."""
    size = queries(6, np.random.default_rng(0))
    calibration = learner._network.calibration._replace(sets=tabulate(size), inliers=None)
    larger = size._replace(logits=3.0 * size.logits)
    assert carry_over(calibration, [size], [larger]).sets is calibration.sets
