"""Labels come back as they were given, or an error says why they cannot."""

import numpy as np
import pandas as pd
import pytest

from sklearn_fewshot import FewShotClassifier
from sklearn_fewshot.utils._exact_labels import join_labels
from sklearn_fewshot.utils._validation import check_aligned, is_known

LARGE = 2**53
X = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 5.0], [5.1, 5.0]])
IDENTIFIERS = [LARGE + 1, LARGE + 1, LARGE + 2, LARGE + 2]


@pytest.mark.parametrize(
    "make",
    [
        list,
        np.array,
        lambda y: np.array(y, dtype=np.uint64),
        pd.Series,
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y, dtype="UInt64"),
        lambda y: pd.array(y, dtype="Int64"),
    ],
    ids=["list", "int64", "uint64", "series", "Int64", "UInt64", "array of pandas"],
)
def test_large_identifiers_come_back_exactly(make):
    classifier = FewShotClassifier().fit(X, make(IDENTIFIERS))
    assert classifier.predict(X).tolist() == IDENTIFIERS
    assert classifier.classes_.dtype.kind in "iuO"
    assert classifier.score(X, make(IDENTIFIERS)) == 1.0
    classifier.partial_fit([[9.0, 0.0]], make([LARGE + 3]))
    assert classifier.predict([[9.0, 0.0]]).tolist() == [LARGE + 3]
    classifier.drop_classes(make([LARGE + 2]))
    assert classifier.classes_.tolist() == [LARGE + 1, LARGE + 3]


def test_learners_keep_large_identifiers(make_learner, table):
    codes = np.unique(table.y, return_inverse=True)[1]
    y = pd.Series(codes + LARGE, dtype="Int64")
    learner = make_learner(validation_classes=pd.Series(LARGE + np.arange(3), dtype="Int64"))
    learner.fit(table.X, y)
    assert learner.classes_.tolist() == (LARGE + np.arange(8)).tolist()
    assert set(learner.predict(table.X).tolist()) <= set(y.tolist())
    both = learner.adapt(table.X_new[:1], np.array([LARGE + 9], dtype=np.uint64), include_base=True)
    assert both.classes_.tolist() == [*(LARGE + np.arange(8)).tolist(), LARGE + 9]


def test_signed_and_unsigned_identifiers_go_together():
    classifier = FewShotClassifier().fit(X, np.array(IDENTIFIERS))
    classifier.partial_fit([[9.0, 0.0]], np.array([LARGE + 3], dtype=np.uint64))
    assert classifier.classes_.tolist() == [LARGE + 1, LARGE + 2, LARGE + 3]


def test_what_no_type_holds_exactly_is_an_error():
    classifier = FewShotClassifier().fit(X, np.array(IDENTIFIERS, dtype=np.uint64) + 2**63)
    for labels in (np.array([-1]), np.array([1.0])):
        with pytest.raises(ValueError, match=r"classes would merge\. Use one integer type"):
            classifier.partial_fit([[9.0, 0.0]], labels)
    with pytest.raises(ValueError, match=r"beyond 2\*\*53"):
        FewShotClassifier().fit(X, [LARGE + 1, LARGE + 2, 0.5, 0.5])
    with pytest.raises(ValueError, match=r"beyond 2\*\*53"):
        join_labels(np.array([-1]), np.array([2**64 - 1], dtype=np.uint64))


def test_a_rejected_query_leaves_the_others_exact(learner, table):
    codes = np.unique(table.y_new, return_inverse=True)[1]
    classifier = learner.adapt(table.X_new, codes.astype(np.uint64) + LARGE)
    X = np.concatenate([table.X_new, table.X[:5]])
    labels = classifier.predict(X, reject_label=-1, reject_rate=0.3)
    plain = classifier.predict(X)
    assert (labels == -1).any()
    assert labels[labels != -1].tolist() == plain[labels != -1].tolist()


def test_labels_that_a_float_would_merge_are_not_known():
    given = np.array([LARGE + 1], dtype=np.uint64)
    assert not is_known(given, np.array([LARGE]))[0]
    assert is_known(given, np.array([LARGE + 1]))[0]


def test_groups_of_large_identifiers_stay_apart():
    groups = check_aligned("groups", pd.Series([LARGE, LARGE + 1], dtype="Int64"), 2)
    assert len(np.unique(groups)) == 2


def test_missing_labels_of_pandas_are_named():
    with pytest.raises(ValueError, match="lacks 1 labels"):
        FewShotClassifier().fit(X, pd.Series([1, 1, 2, None], dtype="Int64"))
