"""The most probable classes of a query, and their probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import adapt, make_fewshot_pipeline
from sklearn_fewshot.adapted import _top
from sklearn_fewshot.adapted._top import largest


@pytest.fixture(scope="module")
def classifier(make_learner, table):
    return make_learner().fit(table.X, table.y).adapt(table.X_new[::2], table.y_new[::2])


@pytest.mark.parametrize("k", [1, 2, 4, np.int64(9)])
def test_the_first_are_the_most_probable(classifier, table, k):
    labels, proba = classifier.predict_top(table.X, k)
    n = min(k, 4)
    assert labels.shape == proba.shape == (len(table.X), n)
    assert labels.dtype == classifier.classes_.dtype
    every = classifier.predict_proba(table.X)
    np.testing.assert_array_equal(labels[:, 0], classifier.predict(table.X))
    columns = np.searchsorted(classifier.classes_, labels)
    np.testing.assert_array_equal(np.take_along_axis(every, columns, axis=1), proba)
    np.testing.assert_array_equal(proba, -np.sort(-every, axis=1)[:, :n])


def test_by_default_there_are_five(make_any, table):
    learner = make_any().fit(table.X, table.y)
    labels, _ = learner.predict_top(table.X)
    assert labels.shape[1] == min(5, len(learner.classes_))
    np.testing.assert_array_equal(labels[:, 0], learner.predict(table.X))


def test_learners_and_pipelines_have_them_too(make_learner, table):
    pipe = make_fewshot_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)
    support = {"X_support": table.X_new[:20], "y_support": table.y_new[:20]}
    scaled = {"X_support": pipe[0].transform(table.X_new[:20]), "y_support": table.y_new[:20]}
    X = pipe[0].transform(table.X)
    for found, expected in (
        (pipe.predict_top(table.X, 2), pipe[-1].predict_top(X, 2)),
        (pipe.predict_top(table.X, 2, **support), pipe[-1].predict_top(X, 2, **scaled)),
        (
            adapt(pipe, *support.values()).predict_top(table.X, 2),
            pipe.predict_top(table.X, 2, **support),
        ),
    ):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    with pytest.raises(ValueError, match="needs both halves"):
        pipe.predict_top(table.X, 2, X_support=table.X_new)


@pytest.mark.parametrize("k", [0, -1, 2.0, "2", None, True])
def test_k_is_a_number_of_classes(classifier, table, k):
    with pytest.raises(ValueError, match=f"'k' parameter of predict_top must be .* Got {k!r}"):
        classifier.predict_top(table.X, k)


@given(arrays(np.float64, (3, 40), elements=st.integers(-9, 9)), st.integers(1, 40))
def test_of_many_columns_the_same_are_the_largest(scores, k):
    """Of equal ones any may be taken, in ascending order."""
    before, _top.FEW = _top.FEW, 0
    try:
        columns = largest(scores, k)
    finally:
        _top.FEW = before
    found = np.take_along_axis(scores, columns, axis=1)
    np.testing.assert_array_equal(found, -np.sort(-scores, axis=1)[:, :k])
    assert all(len(set(row)) == k for row in columns)
    assert all(
        left < right or high > low
        for row, values in zip(columns, found, strict=True)
        for left, right, high, low in zip(row, row[1:], values, values[1:], strict=False)
    )
