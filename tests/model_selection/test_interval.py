"""Laws of intervals and tests: against binomial ones, textbook values, and what they cover."""

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_fewshot.model_selection._interval import holm, p_value, share_interval, t_interval

N_REPEATS = 400


def test_of_single_trials_it_is_nearly_the_exact_binomial_interval():
    values = np.repeat([1.0, 0.0], [370, 30])
    found = share_interval(values, "trials")
    exact = scipy.stats.binomtest(370, 400).proportion_ci(method="exact")
    assert_allclose(found[1:3], exact, atol=2e-4)
    assert found.name == "95 % Korn-Graubard interval over 400 trials"


@pytest.mark.parametrize("share", [0.0, 0.8, 1.0])  # 0.8 is no sum of powers of 1/2
def test_equal_values_count_as_one_trial_each(share):
    found = share_interval(np.full(20, share), "episodes", confidence=0.9)
    exact = scipy.stats.binomtest(round(20 * share), 20).proportion_ci(0.9, method="exact")
    assert_allclose(found[:3], [share, *exact])


def test_away_from_the_ends_it_is_the_t_interval():
    values = np.random.default_rng(0).normal(0.5, 0.05, size=200)
    assert_allclose(share_interval(values, "u")[1:3], t_interval(values, "u")[1:3], atol=2e-4)


def test_wrong_and_right_change_places():
    values = np.random.default_rng(0).beta(8, 1, size=30)
    right, wrong = share_interval(values, "u"), share_interval(1 - values, "u")
    assert_allclose([right.low, right.high], [1 - wrong.high, 1 - wrong.low])


@pytest.mark.parametrize("n_episodes", [20, 100])
def test_scores_near_one_are_covered(n_episodes):
    rng = np.random.default_rng(0)
    is_hard = rng.random((N_REPEATS, n_episodes)) < 0.05
    scores = np.where(is_hard, rng.beta(4, 1, size=is_hard.shape), 1.0)
    truth = 1 - 0.05 * 0.2
    covered = {
        kind: np.mean([low <= truth <= high for _, low, high, _ in (kind(s, "u") for s in scores)])
        for kind in (share_interval, t_interval)
    }
    assert covered[share_interval] > 0.89  # three standard errors from 0.92 and 0.95
    assert covered[t_interval] < 0.87


def test_p_values_are_those_of_scipy():
    values = np.random.default_rng(0).normal(0.3, size=12)
    assert p_value(values) == pytest.approx(scipy.stats.ttest_1samp(values, 0.0).pvalue)


def test_values_without_spread_have_the_p_value_of_their_signs():
    assert p_value(np.zeros(5)) == p_value(np.array([0.3])) == 1.0
    assert p_value(np.full(5, 0.25)) == scipy.stats.binomtest(5, 5).pvalue
    assert p_value(1e-16 * np.arange(-3, 9)) == 1.0  # rounding


def test_holm_rejects_step_by_step():
    # Three comparisons at 0.05: 0.01 < 0.05 / 3, 0.02 < 0.05 / 2, 0.06 > 0.05.
    assert_allclose(holm(np.array([0.02, 0.01, 0.06])), [0.04, 0.03, 0.06])
    assert_allclose(holm(np.array([0.03, 0.02])), [0.04, 0.04])  # never below a smaller one
    assert_array_equal(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    assert_array_equal(holm(np.array([0.03])), [0.03])
