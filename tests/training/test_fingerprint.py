"""Fingerprints: equal for equal values in any process, different for all others."""

import copy
import functools
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from skorch.callbacks import EarlyStopping, LRScheduler
from torch import nn

from sklearn_fewshot import ClassAttributes, ProtoNetClassifier
from sklearn_fewshot.training._fingerprint import fingerprint
from sklearn_fewshot.utils import _memory_map


def linear(seed):
    torch.manual_seed(seed)
    return nn.Linear(2, 2)


def values():
    """Return values that differ in one thing from others."""
    circle = [1]
    circle.append(circle)
    factor = 3

    class Local:
        pass

    return [
        *(0, 1, 1.0, True, None, "a", b"a", np.float64(1), ...),
        *((1,), [1], {1, 2, "x"}, {1: 2}, {2: 1}, [[1], 2], [[1, 2]], [1, [1]], circle),
        *(np.arange(3), np.arange(3.0), np.arange(3.0)[:, None], np.array(3), np.zeros((0, 3))),
        *(np.array(["a", "b"]), np.array(["a", 1], object), np.array("2020", dtype="M8[D]")),
        *(np.array(["a", "b"], dtype=object), np.array("2020", dtype="M8[Y]")),
        *(torch.ones(2), torch.ones(2, dtype=torch.bfloat16), torch.tensor(1.0)),
        *(linear(0), linear(1), linear(0).requires_grad_(False), nn.Sequential(linear(0))),
        *(lambda x: x, lambda x: x + 1, lambda x: x + 2, lambda x: x * factor, lambda x, y=1: x),
        *(functools.partial(nn.Linear, 3), functools.partial(nn.Linear, 4)),
        *(EarlyStopping(), EarlyStopping(patience=6), LRScheduler()),
        *(np.random.RandomState(0), np.random.RandomState(1), np.random.default_rng(0)),
        *(torch.float32, torch.device("cpu"), pathlib.Path("a"), print, np.mean, torch.optim.Adam),
        *(ProtoNetClassifier(), ProtoNetClassifier(lr=1), ClassAttributes(["a"], [[1]])),
        *("x".join, np, Local, Local()),
    ]


def test_different_values_have_different_fingerprints():
    digits = [fingerprint(value) for value in values()]
    assert len(set(digits)) == len(digits)
    assert all(len(it) == 32 and set(it) <= set("0123456789abcdef") for it in digits)
    assert fingerprint(1, 2) != fingerprint((1, 2)) != fingerprint(2, 1)


def test_equal_values_have_equal_fingerprints():
    assert [fingerprint(it) for it in values()] == [fingerprint(it) for it in values()]


def test_one_object_in_two_places_counts_as_two_equal_ones():
    for value in ((2, 5), "name", np.arange(3), torch.ones(2), linear, nn.Linear):
        copied = copy.deepcopy([value, value])
        assert fingerprint([value, value]) == fingerprint([copied[0], copy.deepcopy(value)])


@pytest.mark.parametrize("value", [threading.Lock(), (it for it in ())])
def test_what_cannot_be_pickled_is_refused(value):
    with pytest.raises(TypeError, match=r"must be such as pickle takes.*checkpoint=None"):
        fingerprint({"backbone": value})


SCRIPT = """
from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.training._fingerprint import fingerprint
learner = ProtoNetClassifier(lr_schedule=lambda progress: 1 - progress, n_way={"a", "b", "c"})
print(fingerprint(learner, {"a", "b"}, {"a": 1}))
"""


def test_fingerprints_are_the_same_in_every_process():
    def told(seed):
        env = os.environ | {"PYTHONHASHSEED": str(seed)}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
        ).stdout

    assert told(1) == told(2)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_count_by_their_content(order, tmp_path, monkeypatch):
    """In memory or in a file, of which some rows are read at a time."""
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    path = tmp_path / "X.npy"
    np.save(path, np.asarray(X, order=order))
    monkeypatch.setattr(_memory_map, "LOADED_BELOW", 0)
    monkeypatch.setattr(_memory_map, "READ_BYTES", 100)
    assert fingerprint(np.load(path, mmap_mode="r")) == fingerprint(X) == fingerprint(X[::1])
    assert fingerprint(np.asarray(X, order=order)) == fingerprint(X)
    assert fingerprint(X[::-1]) != fingerprint(X)
