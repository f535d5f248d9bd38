"""TaskDisplay draws the curves of regressors beside the examples."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sklearn_fewshot import FewShotRegressor
from sklearn_fewshot.inspection import TaskDisplay

X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])


def test_curves_are_what_regressors_predict():
    regressors = {"ours": FewShotRegressor().fit(X, y), "line": LinearRegression().fit(X, y)}
    grid = np.array([[3.0], [-1.0], [0.5]])
    display = TaskDisplay.from_estimators(regressors, X, y, X=grid)
    np.testing.assert_array_equal(display.x, [-1.0, 0.5, 3.0])
    for line, regressor in zip(display.lines_, regressors.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), regressor.predict(np.sort(grid, axis=0)))
    assert (
        len(display.ax_.collections) == 1
    )  # the interval, of the one that has standard deviations
    assert [text.get_text() for text in display.ax_.get_legend().texts] == [
        "ours",
        "line",
        "examples",
    ]
    np.testing.assert_array_equal(display.ax_.lines[-1].get_xdata(), X[:, 0])


def test_points_reach_beyond_the_examples():
    display = TaskDisplay.from_estimators({"": FewShotRegressor().fit(X, y)}, X, y)
    assert display.x[0] == -1
    assert display.x[-1] == 3
    band = display.ax_.collections[0].get_paths()[0].vertices[:, 1]
    values, std = FewShotRegressor().fit(X, y).predict(display.x[:, None], return_std=True)
    np.testing.assert_allclose(band.max(), (values + 1.645 * std).max())


def test_other_shapes_are_errors():
    regressor = FewShotRegressor().fit(X, y)
    with pytest.raises(ValueError, match="X_support must be of shape"):
        TaskDisplay.from_estimators({"": regressor}, np.zeros((3, 2)), y)
    with pytest.raises(ValueError, match="y_support must be of shape"):
        TaskDisplay.from_estimators({"": regressor}, X, y[:2])
    two = FewShotRegressor().fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match=r"draws one target\. Got 2"):
        TaskDisplay.from_estimators({"": two}, X, y)
