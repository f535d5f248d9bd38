"""The arithmetic of calibration, compared with plain loops."""

import numpy as np
import pytest
from scipy.special import softmax

from sklearn_fewshot.calibration._model import (
    LEVELS,
    MOST_WIDENED,
    PRIOR_WEIGHT,
    BaseAndNew,
    Calibration,
    InlierScores,
    SampledQueries,
    ShotBias,
    ShotBiasByWay,
    Temperature,
    fit_shot_bias,
    fit_shot_bias_by_way,
    fit_temperature,
    tabulate_inlier_scores,
    widening,
)

# ------------------------------------------------------------------ scores of inliers


@pytest.fixture(scope="module")
def inliers():
    """Scores between -way and -way / shot, so that every entry of the table differs."""
    n_way, n_shot = np.array([2, 8]), np.array([1, 4, 16])
    quantile = [[-w + LEVELS * (w - w / s + 1) for s in n_shot] for w in n_way]
    return InlierScores(n_way, n_shot, np.array(quantile))


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.123, 0.995])
def test_measured_sizes_give_their_quantiles(inliers, rate):
    for i, n_way in enumerate(inliers.n_way):
        found = inliers.at(n_way, inliers.n_shot, rate)
        expected = [np.interp(rate, LEVELS, row) for row in inliers.quantile[i]]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_between_them_it_is_interpolated_in_logarithms(inliers):
    half = inliers.at(4, np.array([2.0]), 0.3)[0]  # half way from 2 to 8, and from 1 to 4
    corners = [inliers.at(w, np.array([s]), 0.3)[0] for w in (2, 8) for s in (1, 4)]
    assert half == pytest.approx(np.mean(corners))
    assert np.ptp(corners) > 0.1


def test_beyond_them_it_is_that_of_the_nearest(inliers):
    for n_way, n_shot, near_way, near_shot in ((1, 0.5, 2, 1), (1000, 99, 8, 16)):
        found = inliers.at(n_way, np.array([n_shot]), 0.2)
        assert found == inliers.at(near_way, np.array([near_shot]), 0.2)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.5, 0.9])
def test_queries_of_the_task_join_those_that_were_measured(inliers, rate):
    """Recomputed by repeating: every measured score a hundred times, those of the task more."""
    ahead = np.array([-3.0, 0.1, 0.2, 0.3])
    measured = inliers.quantile[1, 1]
    times = round(100 * len(measured) / PRIOR_WEIGHT)
    every = np.repeat(np.append(measured, np.median(measured) + ahead), [100] * 101 + [times] * 4)
    found = inliers.at(8, np.array([4]), rate, ahead)[0]
    least = 0.02 * np.ptp(every)
    assert found == pytest.approx(np.quantile(every, rate), abs=least)


def test_at_rate_zero_no_held_out_query_is_below(inliers):
    ahead = np.array([-50.0, 0.0])
    threshold = inliers.at(8, np.array([4]), 0.0, ahead)[0]
    assert threshold == np.median(inliers.quantile[1, 1]) - 50.0
    assert inliers.at(8, np.array([4]), 0.0)[0] == inliers.quantile[1, 1].min()


def test_the_table_has_a_row_for_each_way():
    rng = np.random.default_rng(0)
    sizes = [(way, shot) for way in (2, 5) for shot in (1, 3, 9)]
    sampled = [queries_of_one_class(rng.normal(size=(7, w)), w, s) for w, s in sizes]
    table = tabulate_inlier_scores(sampled)
    np.testing.assert_array_equal(table.n_way, [2, 5])
    np.testing.assert_array_equal(table.n_shot, [1, 3, 9])
    for size, (way, shot) in zip(sampled, sizes, strict=True):
        row = table.quantile[list(table.n_way).index(way), list(table.n_shot).index(shot)]
        np.testing.assert_array_equal(row, np.quantile(size.logits.max(axis=1), LEVELS))


def queries_of_one_class(logits, n_way, n_shot):
    zeros = np.zeros(len(logits), int)
    return SampledQueries(logits, zeros, zeros, n_way, n_shot)


def queries_of_classes(n_classes, n_queries=200, seed=0):
    """Queries whose best scores have another mean and spread in each class."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(n_classes), n_queries)
    mean, spread = rng.normal(size=n_classes), rng.uniform(0.5, 1.5, size=n_classes)
    best = mean[code] + spread[code] * rng.normal(size=len(code))
    return SampledQueries(np.column_stack([best, best - 1.0]), code % 2, code, 2, 1)


def test_wider_tails_reject_the_stated_share_of_classes_that_are_left_out():
    """Recomputed class by class."""
    sizes = [queries_of_classes(8, seed=seed) for seed in (1, 2)]
    factor, rejected = widening(sizes), []
    assert 1.0 < factor < MOST_WIDENED
    for size in sizes:
        for code in range(8):
            others = size.best[size.code != code]
            median = np.median(others)
            threshold = median - factor * (median - np.quantile(others, 0.05))
            rejected.append(np.mean(size.best[size.code == code] < threshold))
    assert np.mean(rejected) == pytest.approx(0.05, abs=2e-3)


def test_many_classes_need_no_wider_tails_and_few_do():
    mean = {
        n: np.mean([widening([queries_of_classes(n, seed=seed)]) for seed in range(20)])
        for n in (3, 5, 100)
    }
    assert mean[3] > mean[5] > mean[100] + 0.02
    assert mean[100] == pytest.approx(1.0, abs=0.04)
    assert widening([queries_of_classes(2)]) <= MOST_WIDENED
    assert widening([queries_of_classes(1)]) == 1.0


def test_only_the_lower_half_is_widened():
    size = queries_of_classes(3)
    plain, found = np.quantile(size.best, LEVELS), tabulate_inlier_scores([size]).quantile[0, 0]
    below = LEVELS < 0.5
    np.testing.assert_array_equal(found[~below], plain[~below])
    expected = plain[50] - widening([size]) * (plain[50] - plain[below])
    np.testing.assert_allclose(found[below], expected)
    assert (found[below] < plain[below]).all()


# ------------------------------------------------------------------ inverse_temperature


def sampled_queries(inverse_temperature, n_way, n_shot, n_queries=4000, seed=0):
    """Queries whose right class is drawn with the probabilities of that inverse_temperature."""
    rng = np.random.default_rng([seed, n_way, n_shot])
    logits = 2.0 * rng.normal(size=(n_queries, n_way))
    proba = softmax(inverse_temperature * logits, axis=1)
    target = (proba.cumsum(axis=1) > rng.uniform(size=(n_queries, 1))).argmax(axis=1)
    return SampledQueries(logits, target, target, n_way, n_shot)


def test_the_inverse_temperature_by_which_labels_were_drawn_is_found():
    coefficients = -1.0, 0.3, 0.4
    sampled = [
        sampled_queries(np.exp(np.dot(coefficients, [1, np.log(way), np.log(shot)])), way, shot)
        for way in (2, 5, 20)
        for shot in (1, 3, 10)
    ]
    found = fit_temperature(sampled).coefficients
    np.testing.assert_allclose(found, coefficients, atol=0.06)
    for size in sampled:
        inverse_temperature = np.exp(np.dot(found, [1, np.log(size.n_way), np.log(size.n_shot)]))
        confidence = softmax(inverse_temperature * size.logits, axis=1).max(axis=1).mean()
        accuracy = np.mean(size.logits.argmax(axis=1) == size.target)
        assert confidence == pytest.approx(accuracy, abs=0.02)


@pytest.mark.parametrize("right", [True, False])
def test_always_right_and_never_right_are_finite(right):
    logits = np.tile([1.0, 0.0, 0.0], (50, 1))
    target = np.zeros(50, int) if right else np.ones(50, int)
    found = fit_temperature([SampledQueries(logits, target, target, 3, 1)]).coefficients
    assert np.isfinite(found).all()
    proba = softmax(np.exp(found[0]) * logits[0])[0]
    assert 0.95 < proba < 0.995 if right else proba < 0.4


def test_one_size_shows_no_trend():
    found = fit_temperature([sampled_queries(0.5, 4, 2)]).coefficients
    at_hand = np.dot(found, [1, np.log(4), np.log(2)])
    assert np.exp(at_hand) == pytest.approx(0.5, rel=0.1)


def test_the_temperature_goes_by_the_geometric_mean_of_the_shots_within_what_was_measured():
    calibration = Calibration(Temperature((0.1, 0.2, 0.3), (2, 8), (1, 16)), None, None, None, 8)
    count = np.array([1, 4, 16, 4])
    expected = np.exp(0.1 + 0.2 * np.log(4) + 0.3 * np.log(4))
    assert calibration.inverse_temperature(count) == pytest.approx(expected)
    largest = calibration.inverse_temperature(np.full(8, 16))
    assert calibration.inverse_temperature(np.full(5000, 700)) == largest


# ------------------------------------------------------------------ shot bias


def test_the_offset_is_the_deficit_relative_to_the_largest_class():
    bias = ShotBias(strength=3.0, power=0.5, saturation=25.0)
    count = np.array([[1, 4, 25, 100, 0], [7, 7, 7, 7, 0]])
    expected = [3.0 * (k**-0.5 - 25**-0.5) for k in (1, 4, 25, 25)]
    np.testing.assert_allclose(bias.offset(count)[0], [*expected, 0.0], atol=1e-15)
    assert not bias.offset(count)[1].any()


def test_between_numbers_of_classes_the_offset_is_interpolated_in_logarithms():
    few, many = ShotBias(1.0, 1.0, 20.0), ShotBias(5.0, 0.5, 20.0)
    bias = ShotBiasByWay(np.array([4.0, 64.0]), (few, many))
    for n_way, part in ((2, 0.0), (4, 0.0), (16, 0.5), (64, 1.0), (500, 1.0)):
        count = np.append(np.arange(1, n_way + 1), np.zeros(3))  # padded
        expected = (1 - part) * few.offset(count) + part * many.offset(count)
        np.testing.assert_allclose(bias.offset(count), expected)
        np.testing.assert_allclose(bias.of_logits(3.0).offset(count), 3.0 * expected)


def test_each_number_of_classes_has_its_own_bias():
    """Heads that are fitted to the support set lack less in a small one."""
    small, large = gaussian_posings(1.0, 1.0), gaussian_posings(1.0, 6.0)
    bias = fit_shot_bias_by_way([5, 50], [small, large])
    assert bias.biases == (fit_shot_bias(small), fit_shot_bias(large))
    for n_way, strength in ((5, 1.0), (50, 6.0)):
        count = np.append(np.full(n_way - 1, 50), 1)
        assert bias.offset(count)[-1] == pytest.approx(strength * (1 - 1 / 50), abs=0.8)
    one = ShotBiasByWay(np.array([7.0]), (fit_shot_bias(small),))
    np.testing.assert_array_equal(
        one.offset(np.array([1, 9])), one.biases[0].offset(np.array([1, 9]))
    )


def split_of(gap, n_new, is_new, code):
    """Queries that are answered rightly if and only if their own side wins."""
    base, new = np.full(len(gap), 50), np.full(len(gap), n_new)
    return BaseAndNew(gap, base, new, ~is_new, is_new, code, is_new)


def test_the_harmonic_mean_is_of_mean_recalls():
    gap = np.array([2.0, 0.5, 1.0, 3.0, 0.2])
    is_new = np.array([False, False, True, True, True])
    code = np.array([0, 1, 2, 2, 3])
    split = split_of(gap, 1, is_new, code)
    rise = 1.0 - 50.0**-1.0
    for strength in (0.0, 0.3, 0.8, 1.5, 5.0):
        new_wins = strength * rise > gap
        right = np.where(is_new, new_wins, ~new_wins)
        sides = (0, 1), (2, 3)
        base, new = (np.mean([right[code == k].mean() for k in side]) for side in sides)
        expected = 2 * base * new / (base + new) if base + new else 0.0
        assert split.harmonic_mean(np.array([strength]), 1.0)[0] == pytest.approx(expected)


def gaussian_posings(power, strength, n_classes=40, seed=0):
    """New classes of K examples lack ``strength / K**power``; noise blurs the border."""
    rng = np.random.default_rng(seed)
    splits = []
    for n_shot in (1, 2, 5, 10):
        code = np.repeat(np.arange(n_classes), 20)
        is_new = code % 2 == 1
        lacks = strength * (n_shot**-power - 50.0**-power)
        gap = np.where(is_new, -1.0, 1.0) + lacks + 0.5 * rng.normal(size=len(code))
        splits.append(split_of(gap, n_shot, is_new, code))
    return splits


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_a_bias_that_is_there_is_found(power):
    bias = fit_shot_bias(gaussian_posings(power, 4.0))
    for n_shot in (1, 2, 5):
        found = bias.offset(np.array([n_shot, 50]))[0]
        assert found == pytest.approx(4.0 * (n_shot**-power - 50.0**-power), abs=0.6)


def test_no_bias_is_found_where_there_is_none():
    bias = fit_shot_bias(gaussian_posings(1.0, 0.0))
    assert abs(bias.offset(np.array([1, 50]))[0]) < 0.2


def test_fewer_examples_are_never_taken_for_better():
    assert fit_shot_bias(gaussian_posings(1.0, -3.0)).strength == 0.0


def test_from_few_classes_little_is_learned():
    """The standard error is larger, and the bias smaller: here 0.6, 1.4, 1.9 and 2.0 of 2."""
    biases = [fit_shot_bias(gaussian_posings(1.0, 2.0, n_classes=n)) for n in (2, 4, 10, 200)]
    offsets = [bias.offset(np.array([1, 50]))[0] for bias in biases]
    assert offsets[0] < offsets[1] - 0.2 < offsets[2] - 0.4
    assert offsets[3] == pytest.approx(2.0 * (1 - 1 / 50), abs=0.1)
