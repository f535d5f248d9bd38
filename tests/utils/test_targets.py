"""Checks of the values that are predicted."""

import numpy as np
import pytest

from sklearn_fewshot.utils._targets import scales_of


@pytest.mark.parametrize("value", [0.0, 0.1, -1e5 / 3, 1e-300])
def test_a_constant_column_has_scale_one(value):
    y = np.column_stack([np.full(1000, value), np.arange(1000.0)])
    np.testing.assert_array_equal(scales_of(y), [1.0, y[:, 1].std()])


def test_small_deviations_are_kept():
    y = 1.0 + 1e-9 * np.arange(10.0)[:, None]
    np.testing.assert_array_equal(scales_of(y), y.std(axis=0))
