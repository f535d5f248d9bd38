"""When a loaded model is equal to the one that was saved."""

from numpy.testing import assert_array_equal

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")


def check_equal(loaded, estimator, X, methods=METHODS):
    """Predictions are equal to the last bit."""
    assert type(loaded) is type(estimator)
    for method in methods:
        if hasattr(estimator, method):
            expected = getattr(estimator, method)(X)
            found = getattr(loaded, method)(X)
            assert_array_equal(found, expected)
            assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
