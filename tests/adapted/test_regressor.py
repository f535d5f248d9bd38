"""FewShotRegressor: without a learner, and as an ordinary regressor."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_regressor
from sklearn.linear_model import Ridge

from sklearn_fewshot import FewShotRegressor, adapt

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), np.array([5.0, -100.0]) + RNG.normal(size=(12, 2))


@pytest.mark.parametrize("n_support", [2, 3, 9])  # dual, and primal
def test_without_a_learner_it_is_ridge_regression_of_standardised_values(n_support):
    rows, values = X[:n_support], Y[:n_support]
    mean, scale = values.mean(axis=0), values.std(axis=0)
    ridge = Ridge(alpha=1.0).fit(rows, (values - mean) / scale)
    expected = mean + scale * ridge.predict(X)
    np.testing.assert_allclose(FewShotRegressor().fit(rows, values).predict(X), expected)


def test_without_a_learner_the_origin_of_the_rows_makes_no_difference():
    here, there = (
        FewShotRegressor().fit(X[:5] + move, Y[:5]).predict(X + move, return_std=True)
        for move in (0.0, 20.0)
    )
    np.testing.assert_allclose(here, there)


def test_without_a_learner_ridge_is_the_usual_one_where_values_are_standardised():
    rows, values = np.array([[20.0], [21.0], [22.0], [23.0]]), np.array([1.0, 2.0, 3.0, 4.0])
    predicted = FewShotRegressor().fit(rows, values).predict(rows)
    np.testing.assert_allclose(predicted, [1.25, 2 + 1 / 12, 3 - 1 / 12, 3.75])


def test_one_example_is_its_value():
    regressor = FewShotRegressor().fit(X[:1], Y[:1, 0])
    np.testing.assert_allclose(regressor.predict(X), Y[0, 0])
    assert regressor.n_support_ == regressor.n_outputs_ == 1


def test_learning_on_equals_learning_at_once():
    once = FewShotRegressor().fit(X[:7], Y[:7])
    regressor = FewShotRegressor()
    for rows in (slice(0, 2), slice(2, 3), slice(3, 7)):
        regressor.partial_fit(X[rows], Y[rows])
    np.testing.assert_array_equal(regressor.predict(X), once.predict(X))
    for name, value in once.state_.items():
        np.testing.assert_array_equal(regressor.state_[name], value)


def test_a_failed_call_changes_nothing():
    regressor = FewShotRegressor().fit(X[:7], Y[:7])
    expected = regressor.predict(X)
    for call in (
        lambda: regressor.partial_fit(X[:2], Y[:2, 0]),
        lambda: regressor.partial_fit(X[:2, :2], Y[:2]),
        lambda: regressor.fit(X[:2], [np.inf, 0.0]),
    ):
        with pytest.raises(ValueError, match=r"2 targets|3 features|infinity"):
            call()
    np.testing.assert_array_equal(regressor.predict(X), expected)


def test_it_is_a_regressor_that_scores_by_r2():
    regressor = FewShotRegressor().fit(X, X @ [1.0, 2.0, 3.0])
    assert is_regressor(regressor)
    assert regressor.score(X, X @ [1.0, 2.0, 3.0]) > 0.9
    again = adapt(regressor, X[:4], Y[:4, 0])
    np.testing.assert_array_equal(
        again.predict(X), FewShotRegressor().fit(X[:4], Y[:4, 0]).predict(X)
    )


def test_frames_are_compared_by_their_columns():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    regressor = FewShotRegressor().fit(frame[:5], pd.DataFrame(Y)[:5])
    np.testing.assert_array_equal(regressor.feature_names_in_, ["a", "b", "c"])
    with pytest.raises(ValueError, match="feature names"):
        regressor.predict(frame[["b", "a", "c"]])
    with pytest.raises(ValueError, match="feature names"):
        regressor.partial_fit(frame[["b", "a", "c"]], Y)


def test_more_examples_are_more_certain():
    few, many = (FewShotRegressor().fit(X[:n], Y[:n, 0]) for n in (1, 12))
    std = [it.predict(X, return_std=True)[1] / it._support.scale.scale for it in (few, many)]
    assert (std[1] < std[0]).all()
