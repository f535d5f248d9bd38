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
from sklearn_fewshot.calibration._conformal import ALPHAS, tabulate_set_thresholds


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
def test_with_a_query_of_each_class_it_is_the_quantile_of_split_conformal_prediction(alpha):
    """The ``floor(alpha (n + 1))``-th smallest of ``n`` scores."""
    score = np.random.default_rng(0).permutation(np.arange(1, 1000) / 1000)
    logits, code = np.column_stack([np.log(score), np.zeros(999)]), np.arange(999)
    found = tabulate(SampledQueries(logits, 0 * code, code, 2, 1)).at(2, 1, alpha)
    assert found == pytest.approx(alpha)


@pytest.mark.parametrize("n_queries", [1, 7, 40])
def test_it_is_the_quantile_of_hierarchical_conformal_prediction(n_queries):
    """Recomputed by loops: the highest score that at most ``alpha`` of the mass is below."""
    rng = np.random.default_rng(n_queries)
    size = queries(6, rng, n_queries=n_queries)
    some = rng.permutation(len(size.code))[: 4 * n_queries + 2]  # classes of unequal sizes
    size = SampledQueries(size.logits[some], size.target[some], size.code[some], 4, 1)
    score, classes = shares(size), np.unique(size.code)
    thresholds = tabulate(size)
    for alpha in ALPHAS[::7]:
        expected = 0.0
        for candidate in score:
            of_class = [np.mean(score[size.code == k] < candidate) for k in classes]
            mass = (1.0 + sum(of_class)) / (len(classes) + 1)  # of the new class all may be below
            if mass <= alpha + 1e-9:
                expected = max(expected, candidate)
        assert thresholds.at(4, 1, alpha) == pytest.approx(expected)


def test_copies_of_a_classes_queries_change_nothing():
    size = queries(6, np.random.default_rng(0))
    rows = np.concatenate([np.arange(len(size.code)), np.flatnonzero(size.code < 2)])
    more = SampledQueries(size.logits[rows], size.target[rows], size.code[rows], 4, 1)
    np.testing.assert_allclose(tabulate(more).share, tabulate(size).share, rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4, 9, 19])
def test_what_few_classes_cannot_tell_has_all_classes(n_classes):
    thresholds = tabulate(queries(n_classes, np.random.default_rng(0)))
    for alpha in ALPHAS:
        assert (thresholds.at(4, 1, alpha) == 0.0) == (alpha < 1 / (n_classes + 1) - 1e-9)


@pytest.mark.parametrize("n_classes", [4, 9, 30])
@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
def test_no_more_queries_of_new_classes_are_missed_than_stated(n_classes, spread):
    """On average over draws of classes to hold out: 200 draws, each of 20 new classes.

    Whether all classes are equally difficult, or some always right and others always wrong.
    """
    rng, found = np.random.default_rng(n_classes), []
    for _ in range(200):
        thresholds = tabulate(queries(n_classes, rng, n_queries=20, spread=spread))
        new = queries(20, rng, n_queries=10, spread=spread)
        found.append([missed(new, thresholds, alpha).mean() for alpha in (0.05, 0.1, 0.3)])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.mean(found, axis=0) <= np.array([0.05, 0.1, 0.3]) + 2 * error).all()
    least = np.array([0.05, 0.1, 0.3]) - 1 / (n_classes + 1)  # as unknown as the new class is
    assert (np.mean(found, axis=0) >= least / 3).all()


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
