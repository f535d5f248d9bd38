"""Memory maps: what comes of them is what comes of the array, and they are never loaded whole."""

import ctypes
import os
import sys

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from numpy.lib.stride_tricks import as_strided
from torch import nn

from sklearn_fewshot import FewShotClassifier
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn import DataTensor
from sklearn_fewshot.utils import _memory_map
from sklearn_fewshot.utils._memory_map import (
    blocks_of,
    release_pages,
    rows_from_disk,
    stays_on_disk,
)

CPU = torch.device("cpu")
PAGE = 4096 // 8  # float64 values

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="pages are counted by /proc")


@pytest.fixture
def save(tmp_path):
    """Save an array and map its file."""

    def save(X, mode="r"):
        np.save(tmp_path / "x.npy", X)
        return np.load(tmp_path / "x.npy", mmap_mode=mode)

    return save


@pytest.fixture
def as_map(save, monkeypatch):
    """The same, and maps of any size stay on disk, to be read a few rows at a time."""
    monkeypatch.setattr(_memory_map, "LOADED_BELOW", 0)
    monkeypatch.setattr(_memory_map, "READ_BYTES", 2000)
    monkeypatch.setattr(_memory_map, "READ_AHEAD_BYTES", _memory_map.SCATTERED_BYTES // 7)
    return save


def mapped_bytes():
    """Return how much of files is mapped into this process and resident."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[2]) * os.sysconf("SC_PAGESIZE")


def forget_peak():
    """Return the resident size of this process and make it the greatest so far."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pytest.skip("this system does not forget the peak")
    return peak_bytes()


def peak_bytes():
    """Return the greatest resident size of this process."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


# ------------------------------------------------------------------ what stays on disk


VIEWS = {
    "itself": lambda X: X,
    "some rows": lambda X: X[3:],
    "plain array": np.asarray,
    "reshaped": lambda X: X.reshape(len(X), -1),
    "strided": lambda X: X[::-2, :, ::3],
    "channels moved": lambda X: np.moveaxis(X, -1, 1),
    "as joblib passes views": lambda X: as_strided(X[::2], X[::2].shape, X[::2].strides),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_of_a_map_stay_on_disk_and_give_the_same_rows(as_map, view):
    X = np.random.default_rng(0).integers(256, size=(50, 6, 5, 3), dtype=np.uint8)
    there = view(as_map(X))
    assert stays_on_disk(there)
    assert not stays_on_disk(view(X))
    rows = np.random.default_rng(1).integers(len(there), size=60)  # in no order, some twice
    np.testing.assert_array_equal(rows_from_disk(there, rows), view(X)[rows])
    blocks = list(blocks_of(there))
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), view(X))


def test_what_was_copied_from_a_map_is_in_memory(as_map):
    X = as_map(np.zeros((9, 4)))
    for copied in (X.copy(), X[[1, 2]], X + 1, X.tolist(), None):
        assert not stays_on_disk(copied)


def test_small_maps_are_loaded(save):
    X = save(np.arange(12.0).reshape(3, 4))
    assert not stays_on_disk(X)
    assert isinstance(DataTensor(X, CPU).data, torch.Tensor)


@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "u8", "f2", "f4", "f8", ">f4", ">i2"])
@pytest.mark.parametrize("shape", [(12,), (1, 3, 4), (3, 2, 2)])
def test_a_map_gives_the_network_the_same_input_as_the_array(as_map, dtype, shape):
    X = np.random.default_rng(0).integers(2, size=(40, *shape)).astype(dtype)
    data, expected = (DataTensor(part, CPU, scale=0.5) for part in (as_map(X), X))
    assert not isinstance(data.data, torch.Tensor)
    assert len(data) == len(expected)
    assert data.data.shape == expected.data.shape
    rows = np.random.default_rng(1).integers(40, size=50)
    taken, wanted = data.take(rows), expected.take(rows)
    assert taken.stride() == wanted.stride()
    assert taken.dtype == wanted.dtype
    assert torch.equal(taken, wanted)


# ------------------------------------------------------------------ pages that were read


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_nothing_written_to_a_map_is_lost(as_map, mode):
    X = as_map(np.zeros((8, PAGE)), mode)
    X[2:5] = 1.0
    release_pages(X[1:])
    assert X.sum() == 3 * PAGE
    np.testing.assert_array_equal(rows_from_disk(X, np.arange(8)), X)
    assert X.sum() == 3 * PAGE


@linux_only
def test_pages_that_were_read_are_given_back(as_map):
    X = as_map(np.ones((64 * 2**20 // PAGE // 8, PAGE)))
    before = mapped_bytes()
    assert X.sum() == X.size
    assert mapped_bytes() - before > X.nbytes / 2
    release_pages(X.reshape(-1, 2)[::2])
    assert mapped_bytes() - before < X.nbytes / 16


@linux_only
def test_locked_pages_stay(as_map):
    X = as_map(np.ones((8, PAGE)))
    if ctypes.CDLL(None).mlock(ctypes.c_void_p(X.ctypes.data), ctypes.c_size_t(PAGE)):
        pytest.skip("this process may not lock memory")
    release_pages(X)
    assert X.sum() == X.size


# ------------------------------------------------------------------ learners


def check_same(learner, other, X, X_new, y_new):
    """Weights, fitted attributes and predictions are the same to the last digit."""
    states = (each.module_.state_dict() for each in (learner, other))
    for value, expected in zip(*(state.values() for state in states), strict=True):
        assert torch.equal(value, expected)
    assert learner.input_scale_ == other.input_scale_
    for value, expected in zip(
        *(each._network.input_range for each in (learner, other)), strict=True
    ):
        np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(learner.transform(X), other.transform(np.array(X)))
    proba, expected = (each.adapt(X_new, y_new).predict_proba(X_new) for each in (learner, other))
    np.testing.assert_array_equal(proba, expected)
    np.testing.assert_array_equal(learner.predict_proba(X), other.predict_proba(np.array(X)))


def test_every_learner_of_a_map_is_the_learner_of_the_array(make_any, pictures, as_map):
    X = as_map(pictures.X)
    quick = {"max_epochs": 1, "calibrate": False}
    learner = make_any(**quick).fit(X, pictures.y)
    other = make_any(**quick).fit(pictures.X, pictures.y)
    check_same(learner, other, X, pictures.X_new, pictures.y_new)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tables_and_their_linear_start_too(make_learner, table, as_map, dtype):
    X = as_map(table.X.astype(dtype))
    learner, other = (make_learner().fit(part, table.y) for part in (X, np.array(X)))
    check_same(learner, other, X, table.X_new, table.y_new)


def test_pictures_that_lie_with_their_channels_last(make_learner, pictures, as_map):
    X = np.moveaxis(as_map(np.moveaxis(pictures.X, 1, -1).repeat(3, axis=-1)), -1, 1)
    learner, other = (make_learner().fit(part, pictures.y) for part in (X, np.array(X)))
    check_same(learner, other, X, np.array(X)[:12], pictures.y[:12])


def test_flat_pictures_with_an_input_shape(make_learner, pictures, as_map):
    flat = pictures.X.reshape(len(pictures.X), -1)
    X, params = as_map(flat), {"input_shape": (1, 16, 16)}
    learner, other = (make_learner(**params).fit(part, pictures.y) for part in (X, flat))
    check_same(learner, other, X, flat[:12], pictures.y[:12])


def test_a_frozen_backbone_embeds_a_map(make_learner, pictures, as_map):
    X = as_map(pictures.X)
    params = {"freeze_backbone": True}
    learner, other = (make_learner(**params).fit(part, pictures.y) for part in (X, pictures.X))
    check_same(learner, other, X, pictures.X_new, pictures.y_new)


def test_classifiers_adapt_to_a_map(picture_learner, pictures, as_map):
    X, y = as_map(pictures.X_new), pictures.y_new
    for learner in (picture_learner, None):
        X, there = (part.reshape(len(part), -1) if learner is None else part for part in (X, X))
        here = np.array(there)
        proba = FewShotClassifier(learner).fit(there, y).predict_proba(there)
        np.testing.assert_array_equal(
            proba, FewShotClassifier(learner).fit(here, y).predict_proba(here)
        )


def test_episodes_of_a_map_are_scored_like_those_of_the_array(picture_learner, pictures, as_map):
    params = {"n_way": 3, "n_shot": 1, "n_query": 3, "n_episodes": 30, "random_state": 0}
    X, y = as_map(pictures.X_new), pictures.y_new
    result, expected = (episodic_score(picture_learner, part, y, **params) for part in (X, X + 0))
    np.testing.assert_array_equal(result.scores, expected.scores)


def test_other_processes_get_the_map(picture_learner, pictures, as_map):
    X, expected = as_map(pictures.X), picture_learner.transform(pictures.X)
    jobs = (delayed(picture_learner.transform)(part) for part in (X, X[::2]))
    every, second = Parallel(n_jobs=2)(jobs)
    np.testing.assert_array_equal(every, expected)
    np.testing.assert_array_equal(second, picture_learner.transform(pictures.X[::2]))


# ------------------------------------------------------------------ values are checked in blocks


BAD_VALUES = {"NaN": np.nan, "infinity": -np.inf, "beyond float32": 1e300}


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
@pytest.mark.parametrize("row", [0, -1])
def test_a_bad_value_in_a_map_gives_the_error_of_the_array(make_learner, table, as_map, value, row):
    X, messages = table.X.copy(), []
    X[row, 2] = value
    fitted = make_learner(max_epochs=0).fit(table.X, table.y)
    for samples in (as_map(X), X):
        with pytest.raises(ValueError, match="X") as fit_error:
            make_learner().fit(samples, table.y)
        with pytest.raises(ValueError, match="X") as transform_error:
            fitted.transform(samples)
        messages.append([str(fit_error.value), str(transform_error.value)])
    assert messages[0] == messages[1]


@pytest.mark.parametrize("largest", [1, 255, 4000])
def test_the_scale_goes_by_the_largest_value_wherever_it_is(
    make_learner, pictures, as_map, largest
):
    for row in (0, -1):
        X = np.ones((len(pictures.X), 1, 16, 16), dtype=np.uint16)
        X[row, 0, 3, 5] = largest
        learner = make_learner(max_epochs=0, backbone="mlp").fit(as_map(X), pictures.y)
        assert learner.input_scale_ == (1.0 if largest == 1 else 1 / largest)


# ------------------------------------------------------------------ memory


class Mean(nn.Module):
    """A cheap network of pictures."""

    def __init__(self, input_shape):
        super().__init__()
        self.linear = nn.Linear(input_shape[-1], 4)

    def forward(self, x):
        return self.linear(x.mean(dim=(1, 2)))


@linux_only
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_a_map_is_never_loaded_whole(make_learner, save, monkeypatch, dtype):
    y = np.arange(80).repeat(200)
    X = np.random.default_rng(0).integers(256, size=(len(y), 1, 32, 32)).astype(dtype)
    learner = make_learner(backbone=Mean, calibrate=False)
    learner.fit(X[::10], y[::10]).predict(X[:500])  # what is imported on the way is no matter
    X = save(X)
    monkeypatch.setattr(_memory_map, "LOADED_BELOW", X.nbytes)
    monkeypatch.setattr(_memory_map, "READ_BYTES", X.nbytes // 32)
    monkeypatch.setattr(_memory_map, "READ_AHEAD_BYTES", _memory_map.SCATTERED_BYTES // 8)
    before = forget_peak()
    learner.fit(X, y).transform(X)
    learner.predict(X)
    episodic_score(learner, X, y + 100, n_way=5, n_shot=1, n_query=3, n_episodes=50)
    assert peak_bytes() - before < 0.8 * X.nbytes
