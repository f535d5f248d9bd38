"""Whatever labels, shapes and types come in: it works and obeys the laws, or it is refused."""

import numpy as np
import pandas as pd
import polars
import pytest
import torch

from sklearn_fewshot import ProtoNetClassifier
from tests.stress.any_input import LEARNERS, run

N_TASKS = 30  # of each learner; `make stress` tries more


@pytest.mark.parametrize("name", LEARNERS)
def test_any_data_work_and_obey_the_laws(name, count_cases):
    n_tried, error = run(LEARNERS[name], N_TASKS, seed_of_tasks=0)
    count_cases("tasks of any data", tried=n_tried, lost=error is not None)
    if error is not None:
        raise error
    assert n_tried >= N_TASKS


def test_a_broken_law_is_noticed(monkeypatch):
    """That scores depend on the order of the support set, say."""
    adapt = ProtoNetClassifier.adapt

    def adapt_to_all_but_the_first(self, X, y, **options):
        return adapt(self, X[:1] if len(X) < 2 else X[1:], y[:1] if len(y) < 2 else y[1:])

    monkeypatch.setattr(ProtoNetClassifier, "adapt", adapt_to_all_but_the_first)
    assert isinstance(run(ProtoNetClassifier, N_TASKS, seed_of_tasks=0)[1], AssertionError)


def arrays_of(X):
    """Return the same numbers in other containers and layouts."""
    read_only = X.copy()
    read_only.flags.writeable = False
    forms = {
        "Fortran order": np.asfortranarray(X),
        "read-only": read_only,
        "every second of twice as many": np.repeat(X, 2, axis=0)[::2],
        "big-endian": X.astype(">f4"),
        "float64": X.astype(np.float64),
        "torch": torch.from_numpy(X.copy()),
        "list": X.tolist(),
    }
    if X.ndim == 2:
        columns = [f"column {i}" for i in range(X.shape[1])]
        forms["pandas"] = pd.DataFrame(X, columns=columns)
        forms["polars"] = polars.DataFrame(X, schema=columns)
    return forms


@pytest.mark.filterwarnings("ignore:X (does not have|has) .*feature names:UserWarning")
@pytest.mark.parametrize("shape", [(6,), (2, 20), (1, 16, 16)], ids=["table", "series", "pictures"])
def test_the_container_does_not_matter(make_learner, shape):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(6), 5)
    X = (rng.random((6, *shape))[y] + 0.3 * rng.random((30, *shape))).astype(np.float32)
    base, new = y < 4, y >= 4
    learner = make_learner(precision="float32").fit(X[base], y[base])
    expected = learner.adapt(X[new], y[new]).decision_function(X)
    for name, form in arrays_of(X).items():
        forms = {key: arrays_of(X[rows])[name] for key, rows in (("base", base), ("new", new))}
        again = make_learner(precision="float32").fit(forms["base"], y[base])
        scores = again.adapt(forms["new"], y[new]).decision_function(form)
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_memory_map_is_an_array(make_learner, table, tmp_path):
    np.save(tmp_path / "X.npy", table.X)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.save(tmp_path / "X_new.npy", table.X_new)
    X_new = np.load(tmp_path / "X_new.npy", mmap_mode="r")
    from_map = make_learner().fit(X, table.y).adapt(X_new, table.y_new).decision_function(X)
    learner = make_learner().fit(table.X, table.y)
    expected = learner.adapt(table.X_new, table.y_new).decision_function(table.X)
    np.testing.assert_array_equal(from_map, expected)


def test_labels_that_cannot_be_ordered_are_refused(make_learner, table):
    mixed = np.array([name if i % 2 else i % 3 for i, name in enumerate(table.y)], dtype=object)
    with pytest.raises((TypeError, ValueError), match=r"label|mix|type"):
        make_learner().fit(table.X, mixed)


def test_numbers_as_objects_are_refused_as_everywhere_in_scikit_learn(make_learner, table):
    codes = np.unique(table.y, return_inverse=True)[1].astype(object)
    with pytest.raises(ValueError, match="Unknown label type"):
        make_learner().fit(table.X, codes)


def test_bytes_are_refused_with_the_remedy(make_learner, table):
    with pytest.raises(TypeError, match=r"bytes.* Convert .*string"):
        make_learner().fit(table.X, table.y.astype(bytes))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("n_way", [2, 3, 50, (2, 9), "all"])
@pytest.mark.parametrize("n_shot", [1, 7, (1, 30)])
@pytest.mark.parametrize("n_query", [1, 40])
def test_training_clamps_any_way_shot_and_queries(make_learner, table, n_way, n_shot, n_query):
    learner = make_learner(n_way=n_way, n_shot=n_shot, n_query=n_query, max_epochs=1)
    learner.fit(table.X, table.y)
    assert np.max(learner.n_way_) <= len(learner.classes_)
    assert learner.adapt(table.X_new, table.y_new).score(table.X_new, table.y_new) > 0.5


def test_two_truth_values_are_two_classes(make_learner, table):
    learner = make_learner().fit(table.X, table.y)
    y = np.arange(len(table.X_new)) % 2 == 0
    classifier = learner.adapt(table.X_new, y)
    assert classifier.classes_.tolist() == [False, True]
    assert classifier.predict(table.X_new).dtype == bool
    assert classifier.decision_function(table.X_new).ndim == 1
