"""Copies of an example tell nothing: confidence and rejection depend on distinct examples."""

import pickle

import numpy as np
import pytest

from sklearn_fewshot import FewShotClassifier
from sklearn_fewshot.adapted._examples import Examples
from sklearn_fewshot.calibration import ShotBias
from sklearn_fewshot.network import Representation
from sklearn_fewshot.utils._digest import digests


@pytest.fixture(scope="module")
def any_learner(make_any, table):
    """A learner of each kind that corrects unequal shots. Shared: nobody may refit it."""
    learner = make_any(max_epochs=1).fit(table.X, table.y)
    network = learner._network
    network.calibration = network.calibration._replace(shot_bias=ShotBias(1.5, 0.5, 50.0))
    return learner


def support(table, sizes):
    labels = np.unique(table.y_new)
    rows = [np.flatnonzero(table.y_new == k)[:n] for k, n in zip(labels, sizes, strict=True)]
    rows = np.random.default_rng(0).permutation(np.concatenate(rows))
    return table.X_new[rows], table.y_new[rows]


def assert_same_decisions(a, b, X):
    atol = 1e-4  # of learned metrics, in float32
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=atol)
    for rate in (0.05, 0.3):
        threshold, other = (it.rejection_threshold(rate) for it in (a, b))
        size = np.abs(b.score_samples(X)).max()
        np.testing.assert_allclose(threshold, other, rtol=0, atol=atol * size)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 2, 4, 6), (10, 10, 10, 10)])
def test_every_example_twice_changes_nothing(any_learner, table, sizes):
    module = any_learner.module_
    if "duplicates" in getattr(module, "head", module).breaks:
        pytest.skip("it reads copies one by one")
    X, y = support(table, sizes)
    once, twice = any_learner.adapt(X, y), any_learner.adapt(np.repeat(X, 2, 0), np.repeat(y, 2))
    assert_same_decisions(twice, once, table.X)
    np.testing.assert_array_equal(twice.class_count_, 2 * once.class_count_)


def test_an_example_given_five_times_is_one_example(learner, table):
    X, y = support(table, (1, 1, 1, 1))
    once = learner.adapt(X, y)
    for copies in (5, 30):
        many = learner.adapt(np.repeat(X, copies, 0), np.repeat(y, copies))
        assert_same_decisions(many, once, table.X)
        assert many.predict_proba(table.X).max(axis=1).mean() < 0.999


def test_copies_are_recognised_whenever_they_come(any_learner, table):
    """In one call, in later ones, after a pickle, and when classes were dropped."""
    X, y = support(table, (2, 3, 4, 6))
    X, y = np.concatenate([X, X[::2], X]), np.concatenate([y, y[::2], y])
    together = any_learner.adapt(X, y)
    grown = any_learner.adapt(X[:7], y[:7])
    for start in range(7, len(y), 4):
        grown = pickle.loads(
            pickle.dumps(grown.partial_fit(X[start : start + 4], y[start : start + 4]))
        )
    assert_same_decisions(grown, together, table.X)
    first = np.unique(y)[0]
    kept = any_learner.adapt(X[y != first], y[y != first])
    assert_same_decisions(grown.drop_classes(first), kept, table.X)


def test_a_class_may_have_more_copies_than_are_kept(learner, table):
    X, y = support(table, (10, 10, 10, 10))
    once, often = learner.adapt(X, y), learner.adapt(np.tile(X, (7, 1)), np.tile(y, 7))
    assert_same_decisions(often, once, table.X)
    assert len(often._support.shown.digest) == 40


def test_copies_of_unlabelled_examples_count_once(learner, table):
    X, y = support(table, (3, 3, 3, 3))
    X, y = np.concatenate([X, table.X_new[:30]]), np.concatenate([y, ["?"] * 30])
    once = learner.adapt(X, y, unlabelled="?")
    twice = learner.adapt(np.repeat(X, 2, 0), np.repeat(y, 2), unlabelled="?")
    assert_same_decisions(twice, once, table.X)


def test_copies_beside_the_base_classes(learner, table):
    X, y = support(table, (1, 2, 4, 6))
    once = learner.adapt(X, y, include_base=True)
    twice = learner.adapt(np.repeat(X, 2, 0), np.repeat(y, 2), include_base=True)
    assert_same_decisions(twice, once, table.X)


def test_the_mean_is_of_all_examples():
    classifier = FewShotClassifier().fit([[0.0], [0.0], [3.0], [9.0]], [0, 0, 0, 1])
    np.testing.assert_allclose(classifier.state_["prototype"][0], [[1.0], [9.0]])
    np.testing.assert_array_equal(classifier.class_count_, [3, 1])
    np.testing.assert_array_equal(classifier._support.weight, [2, 1])


def test_the_same_row_in_two_classes_is_no_copy():
    with pytest.warns(UserWarning, match="several labels"):
        classifier = FewShotClassifier().fit([[1.0], [1.0]], ["a", "b"])
    np.testing.assert_array_equal(classifier._support.weight, [1, 1])


def test_digests_are_of_values():
    values = [[0.0, 1.0], [2.0, 3.0], [0.0, 1.0], [-0.0, 1.0]]
    found = digests(np.array(values))
    assert len(set(found)) == 2
    assert found[0] == found[2] == found[3]
    for dtype in (np.float32, np.int64, np.uint8):
        np.testing.assert_array_equal(digests(np.array(values).astype(dtype)), found)


def test_distinct_examples_keep_their_order():
    code, digest = np.array([1, 0, 1, 1, 0, 1]), np.array([7, 7, 5, 7, 7, 9])
    items = Representation.of_examples(np.arange(6.0)[:, None], code, 2)
    found = Examples.of(items, digest)
    np.testing.assert_array_equal(found.items.embedding[:, 0], [0, 1, 2, 5])
    np.testing.assert_array_equal(found.items.weight, [2, 2, 1, 1])
    np.testing.assert_array_equal(found.n_copies, [1, 1])
    np.testing.assert_array_equal(found.first(1).digest, [7, 7])
