"""Whatever labels, shapes and types come in: it works and obeys the laws, or it is refused."""

import warnings
from functools import partial
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_fewshot import BaselineClassifier, MatchingNetClassifier, ProtoNetClassifier

DTYPES = ["u1", "i2", "i8", ">i4", "f2", "f4", "f8", ">f8", "?"]
SHAPES = [(1,), (5,), (2, 9), (1, 16, 16), (3, 16, 17)]
TINY = {"episodes_per_epoch": 2, "max_epochs": 1, "random_state": 0}

mixed_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
LABELS = {
    "integers": st.integers(-(2**40), 2**40),
    "strings": mixed_text,
    "floats that are numbers of classes": st.integers(-50, 50).map(float),
    "strings as objects": mixed_text,
}


@st.composite
def class_names(draw, at_least=2, at_most=7):
    """Draw names of classes of one kind, and the dtype of their array."""
    kind = draw(st.sampled_from(sorted(LABELS)))
    names = draw(st.lists(LABELS[kind], min_size=at_least, max_size=at_most, unique=True))
    dtype = object if kind.endswith("objects") else None
    return np.array(names, dtype=dtype)


@st.composite
def tasks(draw):
    """Draw samples and labels of base classes and of a support set of new ones."""
    shape = draw(st.sampled_from(SHAPES))
    dtypes = DTYPES[1:] if len(shape) == 2 else DTYPES  # series of bytes look like pictures
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    names = draw(class_names(at_least=3))
    n_base = draw(st.integers(2, len(names) - 1)) if len(names) > 3 else 2
    sizes = draw(st.lists(st.integers(1, 5), min_size=len(names), max_size=len(names)))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    codes = rng.permutation(np.repeat(np.arange(len(names)), sizes))
    X = 60 * rng.random((len(names), *shape))[codes] + 20 * rng.random((len(codes), *shape))
    X = X > 40 if dtype.kind == "b" else X.astype(dtype)
    is_base = codes < n_base
    return X[is_base], names[codes[is_base]], X[~is_base], names[codes[~is_base]]


def quietly(call, *args, **params):
    """Call without warnings: small data are warned of, rightly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **params)


def fitted(make, X, y):
    """Return the fitted learner; None if no class has two examples, which is refused."""
    learner = make(**TINY)
    if np.unique(y, return_counts=True)[1].max() >= 2:
        return quietly(learner.fit, X, y)
    with pytest.raises(ValueError, match="two examples"):
        quietly(learner.fit, X, y)
    return None


LEARNERS = {
    "ProtoNet": ProtoNetClassifier,
    "MatchingNet": MatchingNetClassifier,
    "Baseline": partial(BaselineClassifier, batch_size=8),
}


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@settings(max_examples=30)
@given(task=tasks())
def test_any_data_work_and_obey_the_laws(make, task):
    X, y, X_new, y_new = task
    learner = fitted(make, X, y)
    if learner is None:
        return
    assert list(learner.classes_) == sorted(set(y.tolist()))
    classifier = quietly(learner.adapt, X_new, y_new)
    scores = quietly(classifier.decision_function, X)
    proba = quietly(classifier.predict_proba, X)
    assert proba.shape == (len(X), len(set(y_new.tolist())))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-6)
    assert set(quietly(classifier.predict, X).tolist()) <= set(y_new.tolist())
    tolerance = 1e-5 * max(1.0, np.abs(scores).max())

    order = np.random.default_rng(0).permutation(len(y_new))
    shuffled = quietly(learner.adapt, X_new[order], y_new[order])
    np.testing.assert_allclose(quietly(shuffled.decision_function, X), scores, atol=tolerance)

    one = quietly(classifier.decision_function, X[:1])
    np.testing.assert_allclose(one, scores[:1], atol=tolerance)

    renamed = np.unique(y_new, return_inverse=True)[1][..., None] * -3
    permuted = quietly(learner.adapt, X_new, renamed.ravel())
    flipped = quietly(permuted.decision_function, X)
    expected = -scores if scores.ndim == 1 else scores[:, ::-1]
    if len(set(y_new.tolist())) > 1:
        np.testing.assert_allclose(flipped, expected, atol=tolerance)


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
        if find_spec("polars"):
            import polars

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
    from_map = make_learner().fit(X, table.y).transform(X)
    np.testing.assert_array_equal(from_map, make_learner().fit(table.X, table.y).transform(table.X))


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
