"""Give learners data that nobody would think of: ``python -m tests.stress.any_input 1000``.

Labels, shapes, dtypes, sizes of classes, ways and shots are drawn by hypothesis. A task is lost if
anything but a documented error comes of it, or if a law of the family does not hold.
"""

import argparse
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sklearn_fewshot import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
)

LEARNERS = {
    "ProtoNetClassifier": ProtoNetClassifier,
    "MatchingNetClassifier": MatchingNetClassifier,
    "MatchingNetClassifier with full context": partial(MatchingNetClassifier, fce=True),
    "RelationNetClassifier": RelationNetClassifier,
    "SiameseNetClassifier": SiameseNetClassifier,
    "RidgeNetClassifier": RidgeNetClassifier,
    "BaselineClassifier": partial(BaselineClassifier, batch_size=8),
    "BaselineClassifier with regression": partial(
        BaselineClassifier, batch_size=8, readout="anchored"
    ),
}
TINY = {"episodes_per_epoch": 2, "max_epochs": 1, "precision": "float32", "random_state": 0}
DTYPES = ["u1", "i2", "i8", ">i4", "f2", "f4", "f8", ">f8", "?"]
SHAPES = [(1,), (5,), (2, 9), (1, 16, 16), (3, 16, 17)]

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


ways = st.one_of(st.integers(2, 9), st.just("all"), st.just((2, 5)))
shots = st.one_of(st.integers(1, 9), st.just((1, 4)))
options = st.fixed_dictionaries({"n_way": ways, "n_shot": shots, "n_query": st.integers(1, 9)})


def check_task(make, task, params):
    """Fit, adapt and predict; raise if something is not as it should be."""
    X, y, X_new, y_new = task
    learner = make(**TINY, **params)
    if np.unique(y, return_counts=True)[1].max() < 2:
        with pytest.raises(ValueError, match="two examples"):
            learner.fit(X, y)
        return
    learner.fit(X, y)
    assert list(learner.classes_) == sorted(set(y.tolist()))
    check_laws(learner, X, X_new, y_new)


def check_laws(learner, X, X_new, y_new):
    """Raise if the scores of queries depend on what they should not depend on."""
    classifier = learner.adapt(X_new, y_new)
    scores = classifier.decision_function(X)
    tolerance = 2e-5 * max(1.0, np.abs(scores).max())
    same = partial(np.testing.assert_allclose, rtol=0, atol=tolerance)

    proba, known = classifier.predict_proba(X), set(y_new.tolist())
    assert proba.shape == (len(X), len(known))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-6)
    assert set(classifier.predict(X).tolist()) <= known

    # Of queries, only the one that is asked for matters; of the support set, no order.
    same(classifier.decision_function(X[:1]), scores[:1])
    order = np.random.default_rng(0).permutation(len(y_new))
    same(learner.adapt(X_new[order], y_new[order]).decision_function(X), scores)

    # Classes of equal sizes are not lifted beside one another, however large they are.
    is_even = len(set(classifier.class_count_)) == 1
    if is_even and "duplicates" not in learner.module_.head.breaks:
        twice = learner.adapt(np.concatenate([X_new, X_new]), np.concatenate([y_new, y_new]))
        same(twice.decision_function(X), scores)

    # Names are names: in the opposite order the columns are, too.
    renamed = -3 * np.unique(y_new, return_inverse=True)[1].reshape(-1)
    expected = -scores if scores.ndim == 1 else scores[:, ::-1]
    if len(known) > 1:
        same(learner.adapt(X_new, renamed).decision_function(X), expected)


def run(make, n_tasks, seed_of_tasks):
    """Try tasks of hypothesis' choice; returns how many, and what went wrong with the simplest."""
    n_tried = 0

    @seed(seed_of_tasks)
    @settings(
        max_examples=n_tasks,
        database=None,
        derandomize=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(task=tasks(), params=options)
    def every(task, params):
        nonlocal n_tried
        n_tried += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small data are warned of, rightly
            check_task(make, task, params)

    try:
        with np.printoptions(threshold=20, edgeitems=2):  # in the report of a task that is lost
            every()
    except Exception as error:
        return n_tried, error
    return n_tried, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("n_tasks", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    total, lost = 0, 0
    for name, make in LEARNERS.items():
        n_tried, error = run(make, options.n_tasks // len(LEARNERS), options.seed)
        total += n_tried
        lost += error is not None
        if error is not None:
            print(f"{name}: {error!r}", *getattr(error, "__notes__", ()), sep="\n")
    print(f"{total} tasks, {len(LEARNERS)} learners (seed {options.seed}): {lost} lost")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
