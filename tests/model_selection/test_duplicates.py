"""Laws of equal rows."""

import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline

from sklearn_fewshot.model_selection import (
    EpisodeSplit,
    duplicate_groups,
    episodic_score,
)
from sklearn_fewshot.model_selection._duplicates import n_answered_by_support

ROWS = [[0.5, 1.0], [2.0, 3.0], [0.5, 1.0], [0.5, 1.5], [2.0, 3.0]]
GROUPS = [0, 1, 0, 2, 1]


def as_pictures(rows):
    return np.array(rows).repeat(6, axis=1).reshape(len(rows), 1, 3, 4)


FORMS = {
    "list": list,
    "float64": np.array,
    "float32": lambda rows: np.array(rows, dtype=np.float32),
    "integers": lambda rows: (2 * np.array(rows)).astype(int),
    "columns first": np.asfortranarray,
    "objects": lambda rows: np.array(rows, dtype=object),
    "text": lambda rows: np.array(rows).astype(str),
    "text objects": lambda rows: np.array(rows).astype(str).astype(object),
    "pictures": as_pictures,
    "csr": scipy.sparse.csr_matrix,
    "csc array": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_array,
    "texts": lambda rows: [str(row) for row in rows],
    "text objects, one a sample": lambda rows: np.array([str(row) for row in rows], dtype=object),
}


@pytest.mark.parametrize("n_bytes", [8, 32, 2**25])
@pytest.mark.parametrize("name", FORMS)
def test_equal_rows_are_found_in_every_form(name, n_bytes):
    with sklearn.config_context(working_memory=n_bytes / 2**20):
        assert_array_equal(duplicate_groups(FORMS[name](ROWS)), GROUPS)


def test_equal_rows_are_found_in_data_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS, columns=["a", "b"], index=[9, 8, 7, 6, 5])
    assert_array_equal(duplicate_groups(frame), GROUPS)
    assert_array_equal(duplicate_groups(frame.assign(c=["x", "y", "x", "x", "y"])), GROUPS)
    assert_array_equal(duplicate_groups(frame.assign(c=list("xyzxy"))), [0, 1, 2, 3, 1])
    assert_array_equal(duplicate_groups(frame["a"].astype(str)), [0, 1, 0, 0, 1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, object])
def test_both_zeros_are_equal(dtype):
    assert_array_equal(duplicate_groups(np.array([[0.0], [-0.0], [1.0]], dtype=dtype)), [0, 0, 1])


def test_lists_of_mixed_numbers_are_compared_by_value():
    with sklearn.config_context(working_memory=0):
        assert_array_equal(duplicate_groups([[1, 2], [1.0, 2.0], [1.5, 2]]), [0, 0, 1])


def test_long_objects_are_compared_to_their_ends():
    texts = np.array([["a" * 5000 + "b"], ["a" * 5000 + "c"], ["a" * 5000 + "b"]], dtype=object)
    assert_array_equal(duplicate_groups(texts), [0, 1, 0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=14))
def test_groups_that_share_equal_rows_become_one(samples):
    rows, owners = np.array(samples).T
    found = duplicate_groups(rows[:, None], groups=owners)
    # A plain closure: join until nothing changes.
    expected = np.arange(len(rows))
    for _ in rows:
        for values in (rows, owners):
            for value in values:
                expected[values == value] = expected[values == value].min()
    assert_array_equal(found, np.unique(expected, return_inverse=True)[1])
    assert_array_equal(
        found[np.sort(np.unique(found, return_index=True)[1])], range(max(found) + 1)
    )


def test_groups_may_be_text_and_must_be_one_a_sample():
    assert_array_equal(duplicate_groups(ROWS, groups=list("abcde")), GROUPS)
    assert_array_equal(duplicate_groups(ROWS, groups=list("abaab")), [0, 1, 0, 0, 1])
    with pytest.raises(ValueError, match=r"groups must have one entry per sample: 5\. Got 2"):
        duplicate_groups(ROWS, groups=[0, 1])


# ------------------------------------------------------------------ the warning

RNG = np.random.default_rng(0)
y = np.repeat(["a", "b", "c"], 12)
COPIES = RNG.normal(size=(18, 2)).repeat(2, axis=0)  # each row twice, in one class


def test_queries_that_their_support_answers_are_counted():
    split = EpisodeSplit(30, n_way=2, n_shot=2, n_query=3)
    expected = sum(
        tuple(row) in {tuple(other) for other in COPIES[support]}
        for support, query in split.split(COPIES, y)
        for row in COPIES[query]
    )
    plan = split.freeze(COPIES, y)._episodes
    assert n_answered_by_support(COPIES, plan) == expected > 0
    with pytest.warns(UserWarning, match=rf"^{expected} of 180 queries have an equal row") as told:
        episodic_score(NearestCentroid(), COPIES, y, episodes=split)
    assert told[0].filename == __file__


def test_keeping_equal_rows_on_one_side_ends_the_warning():
    groups = duplicate_groups(COPIES)
    params = {"n_way": 2, "n_shot": 2, "n_query": 3, "n_episodes": 30}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        episodic_score(KNeighborsClassifier(1), COPIES, y, groups=groups, **params)


def test_equal_queries_alone_do_not_matter():
    distinct = RNG.normal(size=(36, 2))
    distinct[[0, 1]] = 0.0
    plan = EpisodeSplit(1, n_way=2, n_query=1).freeze(distinct, y)._episodes
    plan = plan._replace(support=np.array([[[5], [20]]]), query=np.array([[[0], [1]]]))
    assert n_answered_by_support(distinct, plan) == 0
    plan = plan._replace(support=np.array([[[1], [20]]]), query=np.array([[[0], [21]]]))
    assert n_answered_by_support(distinct, plan) == 1


@pytest.mark.parametrize("as_object", [False, True])
def test_documents_are_scored_as_they_are(as_object):
    texts = [f"{label} word{i}" for i, label in enumerate(y)]
    texts = np.array(texts, dtype=object) if as_object else texts
    vectorizer = TfidfVectorizer(token_pattern=r"\w+").fit(list(texts))
    result = episodic_score(
        NearestCentroid(), texts, y, preprocess=make_pipeline(vectorizer), n_way="all", n_query=3
    )
    assert result.mean == 1.0
