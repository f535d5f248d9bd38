"""The training data as the trained network sees them: never all of them at once."""

import numpy as np
import pytest
import sklearn

from sklearn_fewshot.training import _meta_train
from sklearn_fewshot.training._encoded import Encoded, represent


@pytest.fixture
def watched():
    """Samples, what encodes them, and the number of rows of each call."""
    sizes = []

    def encode(X):
        sizes.append(len(X))
        return 2.0 * X

    X = np.arange(3000.0).reshape(1000, 3)
    return X, Encoded(encode, X, batch_size=10), sizes


@pytest.mark.parametrize(
    "some",
    [slice(3, 900), np.arange(1000) % 3 == 0, np.array([5, 2, 2, 999]), np.zeros(1000, dtype=bool)],
    ids=["slice", "mask", "numbers", "none"],
)
def test_it_takes_what_an_array_takes(watched, some):
    X, encoded, _ = watched
    np.testing.assert_array_equal(encoded[some], 2.0 * X[some])
    assert len(encoded) == len(X)


def test_rows_are_gathered_in_bounded_memory(watched):
    X, encoded, sizes = watched
    with sklearn.config_context(working_memory=24 * 100 / 2**20):
        np.testing.assert_array_equal(encoded[np.arange(1000)], 2.0 * X)
    assert sizes == [100] * 10


def test_base_classes_are_condensed_in_bounded_memory(learner, table, monkeypatch):
    whole = learner.transform(table.X)
    sizes = []

    def watch(network, encoded, data):
        monkeypatch.setattr(encoded, "encode", count(encoded.encode))
        return represent(network, encoded, data)

    def count(encode):
        return lambda X: sizes.append(len(X)) or encode(X)

    monkeypatch.setattr(_meta_train, "represent", watch)
    with sklearn.config_context(working_memory=1e-9):  # a batch at a time
        again = type(learner)(**learner.get_params() | {"predict_batch_size": 7}).fit(
            table.X, table.y
        )
    assert sum(sizes) == len(table.X)
    assert max(sizes) == 7
    means = [whole[table.y == label].mean(axis=0) for label in learner.classes_]
    np.testing.assert_allclose(again.representation_.embedding, means, rtol=1e-5, atol=1e-5)
