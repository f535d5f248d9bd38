"""What all tests share: one thread, quiet plots, reproducible examples, toys, the data folder."""

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import settings

import sklearn_fewshot
from sklearn_fewshot import (
    AutoFewShotClassifier,
    BaselineClassifier,
    MAMLClassifier,
    MANNClassifier,
    MatchingNetClassifier,
    MetaLSTMClassifier,
    MetaNetClassifier,
    ProtoNetClassifier,
    ReptileClassifier,
)
from sklearn_fewshot.base import BaseFewShotLearner
from sklearn_fewshot.training import _net

os.environ.setdefault("MPLBACKEND", "Agg")

# Tiny nets run ten times slower on two busy threads than on one.
torch.set_num_threads(1)

# No deadline: the time of one example says more about the machine than about the code.
settings.register_profile("sklearn_fewshot", deadline=None, derandomize=True)
settings.load_profile("sklearn_fewshot")


def data_missing(reason):
    """Skip the test, or fail it where SKLEARN_FEWSHOT_DATA promises the data."""
    (pytest.fail if os.environ.get("SKLEARN_FEWSHOT_DATA") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the real data sets, from the environment variable SKLEARN_FEWSHOT_DATA."""
    folder = os.environ.get("SKLEARN_FEWSHOT_DATA")
    if not folder:
        data_missing("SKLEARN_FEWSHOT_DATA is not set")
    if not Path(folder).is_dir():
        data_missing(f"SKLEARN_FEWSHOT_DATA is not a folder: {folder}")
    return Path(folder)


@pytest.fixture(scope="session")
def load_data(data_dir):
    """Open an archive of the data folder: ``load_data("letter/letter.npz")["X"]``."""
    with ExitStack() as archives:

        def load(name):
            if not (data_dir / name).is_file():
                data_missing(f"{name} is not in the data folder {data_dir}")
            return archives.enter_context(np.load(data_dir / name))

        yield load


@pytest.fixture
def count_cases(record_property):
    """Note how many cases a test tries and loses: ``count_cases("files", tried=300, lost=0)``."""

    def count(part, *, tried, lost):
        record_property("cases", (part, int(tried), int(lost)))

    return count


def pytest_terminal_summary(terminalreporter):
    """Print what `count_cases` was told, added up over tests and processes."""
    total = {}
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties:
            if name == "cases" and report.when == "call":
                part, tried, lost = value
                before = total.get(part, (0, 0))
                total[part] = (before[0] + tried, before[1] + lost)
    for part, (tried, lost) in sorted(total.items()):
        terminalreporter.write_line(f"{tried} {part}: {lost} lost")


@pytest.fixture(autouse=True)
def seeded():
    """Give the networks that tests make for themselves the same weights in every run."""
    torch.manual_seed(0)


class Toy(NamedTuple):
    """Samples of base classes to train on, and of new classes. Read-only: nobody may write."""

    X: np.ndarray
    y: np.ndarray
    X_new: np.ndarray
    y_new: np.ndarray


def _toy(X, codes, names, n_base):
    """Shuffle, name the classes and split them."""
    order = np.random.default_rng(1).permutation(len(codes))
    X, codes = X[order], codes[order]
    is_base, y = codes < n_base, names[codes]
    parts = Toy(X[is_base], y[is_base], X[~is_base], y[~is_base])
    for part in parts:
        part.flags.writeable = False
    return parts


@pytest.fixture(scope="session")
def table():
    """Eight base and four new classes of vectors, with string labels."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(12), 10)
    X = 2.0 * rng.normal(size=(12, 6))[codes] + rng.normal(size=(120, 6))
    names = np.array([f"{'base' if code < 8 else 'new'}-{3 * code}" for code in range(12)])
    return _toy(X, codes, names, n_base=8)


@pytest.fixture(scope="session")
def pictures():
    """Six base and three new classes of 8-bit pictures, with integer labels and gaps."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(9), 6)
    faint = rng.integers(0, 60, size=(54, 1, 16, 16))
    X = (rng.integers(0, 190, size=(9, 1, 16, 16))[codes] + faint).astype(np.uint8)
    return _toy(X, codes, 10 * np.arange(9) + 7, n_base=6)


@pytest.fixture(scope="session")
def series():
    """Six base and three new classes of two-channel series."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(9), 6)
    X = np.cumsum(rng.normal(size=(9, 2, 20)), axis=2)[codes] + rng.normal(size=(54, 2, 20))
    return _toy(X, codes, np.arange(9), n_base=6)


BUDGET = {
    "n_way": 5,
    "n_shot": 1,
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "refit": False,
    "random_state": 0,
}


@pytest.fixture(scope="session")
def make_learner():
    """Make a learner that trains once, in a fraction of a second."""
    return partial(_make, ProtoNetClassifier, {})


# Every learner that is given examples, and what it is under other options.
LEARNERS = {
    name: (cls, {})
    for name, cls in ((name, getattr(sklearn_fewshot, name)) for name in sklearn_fewshot.__all__)
    if isinstance(cls, type)
    and issubclass(cls, BaseFewShotLearner)
    and not name.startswith("ZeroShot")  # these are given attributes instead
}
SMALL_BATCHES = {"batch_size": 32}  # as much as an episode
LEARNERS |= {
    "AutoFewShotClassifier": (
        AutoFewShotClassifier,
        {"estimators": ["ProtoNet", "MatchingNet"]},
    ),
    "MatchingNetClassifier with full context": (MatchingNetClassifier, {"fce": True}),
    "MAMLClassifier": (
        MAMLClassifier,
        {"n_steps": 2, "meta_batch_size": 1, "multi_step_loss": False},
    ),
    "MAMLClassifier of the last layer": (MAMLClassifier, {"adapts": "head", "meta_batch_size": 1}),
    "MetaLSTMClassifier": (MetaLSTMClassifier, {"n_steps": 1, "hidden_dim": 2}),
    "ReptileClassifier": (ReptileClassifier, {"adapt_steps": 4, "n_steps": 2}),
    "MANNClassifier": (
        MANNClassifier,
        {"memory_width": 8, "n_reads": 1, "controller_dim": 16, "meta_batch_size": 5},
    ),
    "MetaNetClassifier": (MetaNetClassifier, {"hidden_dim": 8, "meta_dim": 4}),
    "BaselineClassifier": (BaselineClassifier, SMALL_BATCHES),
    "BaselineClassifier with regression": (
        BaselineClassifier,
        {"readout": "anchored", **SMALL_BATCHES},
    ),
}


def _make(cls, options, **params):
    return cls(**{**BUDGET, **options, **params})


@pytest.fixture(scope="session", params=LEARNERS.values(), ids=LEARNERS)
def make_any(request):
    """Make a learner of each kind, as small as those of `make_learner`."""
    return partial(_make, *request.param)


@pytest.fixture(scope="session")
def learner(make_learner, table):
    """A learner fitted on the base classes of the table. Shared: nobody may refit it."""
    return make_learner().fit(table.X, table.y)


@pytest.fixture(scope="session")
def picture_learner(make_learner, pictures):
    """A learner fitted on the base classes of the pictures. Shared: nobody may refit it."""
    return make_learner(max_epochs=1).fit(pictures.X, pictures.y)


@pytest.fixture
def script_validation(monkeypatch):
    """Make up the validation results of the untrained network and of the epochs that follow.

    A result is an accuracy, or accuracy and loss.
    """

    def script(*results):
        made_up = iter([(r, 1.0) if np.isscalar(r) else r for r in results])
        monkeypatch.setattr(_net, "evaluate", lambda *args: next(made_up))

    return script
