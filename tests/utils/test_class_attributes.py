"""ClassAttributes: checked once, sorted, and without a length that scikit-learn would go by."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.validation import _is_arraylike

from sklearn_fewshot import ClassAttributes
from sklearn_fewshot.utils._attributes import as_class_attributes


def test_rows_stay_with_their_labels():
    given = ClassAttributes(["c", "a", "b"], [[3, 30], [1, 10], [2, 20]], names=["x", "y"])
    assert list(given.labels) == ["a", "b", "c"]
    np.testing.assert_array_equal(given.matrix, [[1, 10], [2, 20], [3, 30]])
    assert given.matrix.dtype == np.float64
    assert given.names == ("x", "y")
    np.testing.assert_array_equal(given.of(np.array(["c", "a", "c"])), given.matrix[[2, 0, 2]])


def test_it_keeps_what_it_was_given():
    labels, matrix = np.array(["b", "a"]), np.eye(2)
    given = ClassAttributes(labels, matrix)
    matrix[:], labels[:] = 7.0, "z"
    np.testing.assert_array_equal(given.matrix, [[0, 1], [1, 0]])
    assert list(given.labels) == ["a", "b"]


def test_it_has_no_length_and_is_no_array():
    given = ClassAttributes([1, 2], np.eye(2))
    assert not _is_arraylike(given)
    assert not hasattr(given, "__len__")


def test_a_pickle_is_the_same():
    given = ClassAttributes(["b", "a"], np.eye(2), names=["x", "y"])
    copied = pickle.loads(pickle.dumps(given))
    assert list(copied.labels) == ["a", "b"]
    np.testing.assert_array_equal(copied.matrix, given.matrix)
    assert copied.names == given.names


def test_classes_can_be_left_out():
    given = ClassAttributes([3, 1, 2], [[3], [1], [2]], names=["size"])
    others = given.without([1, 9])
    assert list(others.labels) == [2, 3]
    np.testing.assert_array_equal(others.matrix, [[2], [3]])
    assert others.names == ("size",)
    assert given.without([1, 2, 3]) is None
    assert list(given.without(["1"]).labels) == [1, 2, 3]  # a number is no string of digits


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([2, 1], "i"),
        (np.array([2.5, 1.0]), "f"),
        (pd.Index([2, 1]), "i"),
        (pd.Index(["b", "a"]), "U"),
        (np.array(["b", "a"], dtype=object), "U"),
        ([np.int64(2), np.int32(1)], "i"),
        ([True, False], "b"),
        (iter(["b", "a"]), "U"),
    ],
)
def test_labels_keep_their_kind(labels, kind):
    assert ClassAttributes(labels, np.eye(2)).labels.dtype.kind == kind


@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        ([1, "b"], TypeError, "labels of one sortable type. Got a mixture of int, str"),
        ([1.0, np.nan], ValueError, "labels of class attributes contain NaN"),
        (["a", "a"], ValueError, "each class once. Got 'a' more than once"),
        (["a"], ValueError, "Got 1 labels and 2 rows"),
        ("ab", ValueError, "Got 1 labels and 2 rows"),
        ([["a"], ["b"]], ValueError, r"one label per class. Got labels of shape \(2, 1\)"),
        ([], ValueError, r"one label per class. Got labels of shape \(0,\)"),
    ],
)
def test_bad_labels_are_refused(labels, error, match):
    with pytest.raises(error, match=match):
        ClassAttributes(labels, np.eye(2))


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        ([1.0, 2.0], r"matrix of real numbers .* shape \(2,\)"),
        (np.ones((2, 1, 1)), r"shape \(2, 1, 1\)"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        (np.eye(2) * 1j, "Got dtype complex128"),
        ([["x"], ["y"]], "matrix of real numbers"),
        (np.array([["x"], ["y"]], dtype=object), "must be numbers.*string to float: 'x'"),
        ([[1], [2, 3]], "equally many for each class"),
        ([[1], [None]], "NaN or infinity for 'b'"),
        (pd.DataFrame({"x": pd.array([1, None], dtype="Int64")}), "NaN|NAType|NA"),
        ([[np.inf], [1]], "NaN or infinity for 'a'.* Impute them, or leave out"),
    ],
)
def test_bad_attributes_are_refused(matrix, match):
    with pytest.raises(ValueError, match=match):
        ClassAttributes(["a", "b"], matrix)


def test_every_attribute_has_a_name_or_none_has():
    with pytest.raises(ValueError, match="Got 3 names for 2 attributes"):
        ClassAttributes(["a", "b"], np.eye(2), names=["x", "y", "z"])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, object])
def test_numbers_of_any_kind_are_taken(dtype):
    matrix = ClassAttributes(["a", "b"], np.eye(2, dtype=dtype)).matrix
    np.testing.assert_array_equal(matrix, np.eye(2))
    assert matrix.dtype == np.float64


def test_frames_give_their_names_if_they_have_any():
    frame = pd.DataFrame(np.eye(2), index=["b", "a"])
    assert as_class_attributes(frame, "it").names is None
    assert as_class_attributes(frame.add_prefix("x"), "it").names == ("x0", "x1")
    mixed = frame.set_axis(["x", 1], axis=1)
    assert as_class_attributes(mixed, "it").names is None
    with_flags = pd.DataFrame({"flies": [True, False], "legs": [2, 4]}, index=["bat", "ant"])
    np.testing.assert_array_equal(as_class_attributes(with_flags, "it").matrix, [[0, 4], [1, 2]])


def test_frames_of_repeated_classes_are_refused_with_the_remedy():
    frame = pd.DataFrame(np.eye(3), index=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"frame.groupby\(level=0\).mean\(\)"):
        as_class_attributes(frame, "it")
    averaged = as_class_attributes(frame.groupby(level=0).mean(), "it")
    np.testing.assert_array_equal(averaged.matrix, [[0.5, 0, 0.5], [0, 1, 0]])
