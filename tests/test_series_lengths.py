"""Series of unequal length: padding changes no answer, and lengths may differ from those of fit."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from sklearn_fewshot import (
    FewShotClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
    adapt,
    load_model,
    save_model,
)
from sklearn_fewshot.datasets import pad_series
from sklearn_fewshot.inspection import EmbeddingDisplay
from sklearn_fewshot.learners._limits import check_padding
from sklearn_fewshot.learners.optimization._base import AdaptsWeights
from sklearn_fewshot.model_selection import (
    ClassKFold,
    compare_on_episodes,
    episodic_cross_validate,
    episodic_score,
)
from sklearn_fewshot.network import Recipe
from sklearn_fewshot.nn import EmbeddingModule
from sklearn_fewshot.nn.backbones import Spectral, mask_padding
from sklearn_fewshot.utils import _memory_map

TOLERANCE = 1e-5


class Gestures:
    """Curves, one a class, that every sample draws at a speed of its own."""

    def __init__(self, lengths=(12, 20), n_classes=9, n_samples=6, seed=0):
        rng = np.random.default_rng(seed)
        time = np.linspace(0, 1, 60)
        curves = np.cumsum(np.random.default_rng(0).normal(size=(n_classes, 2, 60)), axis=2) / 3
        self.y = np.repeat(np.arange(n_classes), n_samples)
        self.lengths = rng.integers(lengths[0], lengths[1] + 1, len(self.y))
        self.series = [
            np.stack([np.interp(np.linspace(0, 1, length), time, row) for row in curves[code]])
            + 0.1 * rng.normal(size=(2, length))
            for code, length in zip(self.y, self.lengths, strict=True)
        ]
        self.is_base = self.y < n_classes * 2 // 3

    def padded(self, part, length=None):
        return pad_series([self.series[i] for i in np.flatnonzero(part)], length=length)


@pytest.fixture(scope="module")
def gestures():
    return Gestures()


@pytest.fixture(scope="module")
def fitted(make_learner, gestures):
    return make_learner(lr=0.01).fit(gestures.padded(gestures.is_base), base_labels(gestures))


def base_labels(gestures):
    return gestures.y[gestures.is_base]


def new_data(gestures, length=None):
    return gestures.padded(~gestures.is_base, length), gestures.y[~gestures.is_base]


def assert_same(actual, desired):
    assert np.isfinite(actual).all()
    np.testing.assert_allclose(actual, desired, rtol=0, atol=TOLERANCE * np.abs(desired).max())


def test_padding_changes_no_answer_of_any_learner(make_any, gestures):
    if isinstance(make_any(), AdaptsWeights) and make_any().get_params().get("adapts") != "head":
        with pytest.raises(ValueError, match="NaN"):  # their networks run on samples as a whole
            make_any().fit(gestures.padded(gestures.is_base), base_labels(gestures))
        return
    learner = make_any().fit(gestures.padded(gestures.is_base), base_labels(gestures))
    X, y = new_data(gestures)
    more, _ = new_data(gestures, length=47)
    ours, theirs = learner.adapt(more, y), learner.adapt(X, y)
    assert_same(ours.decision_function(more), theirs.decision_function(X))
    assert_same(ours.decision_function(X), theirs.decision_function(more))
    assert_same(learner.transform(more), learner.transform(X))


def test_padding_changes_nothing_in_fit(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    more = gestures.padded(gestures.is_base, length=70)
    ours, theirs = make_learner().fit(more, y), make_learner().fit(X, y)
    assert ours.input_shape_ == theirs.input_shape_ == X.shape[1:]
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))


def test_a_padded_series_is_embedded_as_it_is_by_itself(fitted, gestures):
    X, _ = new_data(gestures)
    together = fitted.transform(X)
    for row, length in zip(range(5), gestures.lengths[~gestures.is_base], strict=False):
        assert_same(fitted.transform(X[row : row + 1, :, :length])[0], together[row])


@pytest.mark.parametrize("lengths", [(10, 10), (30, 50), (90, 90)])
def test_a_learner_predicts_at_other_lengths_than_it_was_fitted_at(make_learner, lengths):
    at = Gestures(lengths=(20, 20), n_samples=12)
    learner = make_learner(max_epochs=5, episodes_per_epoch=30).fit(
        at.padded(at.is_base), base_labels(at)
    )
    other = Gestures(lengths=lengths, n_samples=12, seed=1)
    X, y = new_data(other)
    assert learner.adapt(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    support, target = new_data(at)
    assert learner.adapt(support, target).score(X, y) > 0.9


def test_lengths_may_differ_between_calls(fitted, gestures):
    X, y = new_data(gestures)
    classifier = fitted.adapt(X[:6], y[:6])
    classifier.partial_fit(pad_series([gestures.series[-1]]), gestures.y[-1:])
    assert_same(
        classifier.decision_function(X[:, :, :30]), classifier.decision_function(padded_to(X, 99))
    )


def padded_to(X, length):
    return np.concatenate([X, np.full((*X.shape[:2], length - X.shape[2]), np.nan)], axis=2)


def test_padded_series_go_wherever_samples_go(fitted, gestures, tmp_path):
    X, y = new_data(gestures)
    expected = fitted.adapt(X, y).predict_proba(X)
    save_model(fitted, tmp_path / "model")
    for other in (pickle.loads(pickle.dumps(fitted)), load_model(tmp_path / "model")):
        np.testing.assert_array_equal(other.adapt(X, y).predict_proba(X), expected)
    pipe = make_pipeline(FunctionTransformer(np.asarray), clone(fitted))
    pipe.fit(gestures.padded(gestures.is_base), base_labels(gestures))
    np.testing.assert_array_equal(adapt(pipe, X, y).predict_proba(X), expected)
    task = {"n_way": 2, "n_shot": 1, "n_query": 2, "n_episodes": 20, "random_state": 0}
    score = episodic_score(fitted, X, y, **task)
    assert episodic_score(fitted, padded_to(X, 40), y, **task).mean == score.mean
    display = EmbeddingDisplay.from_estimator(fitted, X[:6], y[:6], X[6:])
    assert display.ax_ is not None


def test_padded_series_are_cross_validated(make_learner, gestures):
    X, y = gestures.padded(np.ones(len(gestures.y), bool)), gestures.y
    result = episodic_cross_validate(
        make_learner(), X, y, cv=ClassKFold(3), n_way=2, n_query=2, n_episodes=10
    )
    assert 0.0 <= result.mean <= 1.0


def test_padded_pairs_and_zero_shot(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    siamese = SiameseNetClassifier(
        max_epochs=1, episodes_per_epoch=2, n_query=3, refit=False, random_state=0
    ).fit(X, y)
    pairs = np.stack([X[:-1], X[1:]], axis=1)
    more = np.stack([padded_to(X[:-1], 33), padded_to(X[1:], 33)], axis=1)
    assert_same(siamese.pair_score(more), siamese.pair_score(pairs))
    attributes = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 4)), index=range(9))
    zero_shot = ZeroShotProtoNetClassifier(
        max_epochs=1, episodes_per_epoch=2, n_way=3, n_query=3, refit=False, random_state=0
    ).fit(X, y, class_attributes=attributes)
    classifier = zero_shot.adapt(class_attributes=attributes.loc[6:])
    assert_same(classifier.decision_function(padded_to(X, 33)), classifier.decision_function(X))


def test_memory_maps_may_be_padded(fitted, gestures, tmp_path):
    X, y = new_data(gestures)
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        fitted.adapt(on_disk, y).predict_proba(on_disk), fitted.adapt(X, y).predict_proba(X)
    )


def test_padding_is_no_reason_to_warn_of_another_range(fitted, gestures):
    X, y = new_data(gestures)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.adapt(X, y).predict(padded_to(X, 200))
    with pytest.warns(UserWarning, match="training standard deviations"):
        fitted.adapt(X, y).predict(1000.0 * padded_to(X, 200))


def spoil(X, kind):
    X = X.copy()
    if kind == "inside":
        X[3, :, 4] = np.nan
    elif kind == "in one channel":
        X[3, 1, -3:] = np.nan
    elif kind == "at the start":
        X[3, :, :2] = np.nan
    else:
        X[3] = np.nan
    return X


@pytest.mark.parametrize("kind", ["inside", "in one channel", "at the start", "everywhere"])
def test_nan_that_is_no_padding_is_an_error(fitted, make_learner, series, kind):
    X = spoil(series.X, kind)
    message = r"NaN in series must be padding.*1 of 36 series.*position 3.*Impute"
    with pytest.raises(ValueError, match=message):
        make_learner().fit(X, series.y)
    with pytest.raises(ValueError, match=message):
        fitted.predict(X)


def test_time_before_channels_is_told_apart(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    with pytest.raises(ValueError, match=r"pass np.moveaxis\(X, 1, 2\)"):
        make_learner().fit(np.moveaxis(X, 1, 2), y)


def test_infinity_in_padded_series_is_an_error(fitted, gestures):
    X, y = new_data(gestures)
    X[2, 0, 1] = np.inf
    with pytest.raises(ValueError, match="must hold finite numbers"):
        fitted.adapt(X, y)


def test_values_beyond_float32_are_seen_beside_padding(fitted, gestures):
    X, y = new_data(gestures)
    X = padded_to(X.astype(float), 40)
    X[2, 0, 1] = 1e300
    with pytest.raises(ValueError, match=r"range of float32.*1e\+300"):
        fitted.adapt(X, y)


@pytest.mark.parametrize("backbone", ["mlp", "identity", lambda: nn.Flatten()])
def test_networks_that_do_not_mask_padding_refuse_it(make_learner, gestures, backbone):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    with pytest.raises(ValueError, match=r"backbone does not mask.*backbone='spectral'"):
        make_learner(backbone=backbone).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        FewShotClassifier().fit(X, y)


def test_networks_that_take_one_length_refuse_others(make_learner, series):
    learner = make_learner(backbone="mlp").fit(series.X, series.y)
    with pytest.raises(ValueError, match=r"shape \(2, 12\).*fitted on samples of shape \(2, 20\)"):
        learner.predict(series.X[:, :, :12])


def test_the_number_of_channels_is_fixed(fitted, series):
    with pytest.raises(ValueError, match=r"shape \(1, 20\).*fitted on samples of shape \(2, "):
        fitted.predict(series.X[:, :1])


class MeanOfSteps(nn.Module):
    takes_any_length = True

    def forward(self, x):
        x, is_step = mask_padding(x)
        return x.sum(dim=2) / is_step.sum(dim=2)


def test_a_network_of_ones_own_may_take_any_length(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    learner = make_learner(backbone=MeanOfSteps).fit(X, y)
    np.testing.assert_allclose(learner.transform(X), np.nanmean(X, axis=2), rtol=1e-5)


def test_a_list_of_series_is_told_how_to_become_an_array(make_learner, fitted, gestures):
    every = gestures.series
    column = np.empty(len(every), dtype=object)
    column[:] = every
    for X in (every, column, pd.Series(every)):
        with pytest.raises(ValueError, match=r"unequal shape.*datasets.pad_series\(X\)"):
            make_learner().fit(X, gestures.y)
        with pytest.raises(ValueError, match=r"datasets.pad_series\(X\)"):
            fitted.predict(X)


def test_baselines_see_zeros_in_the_padding(fitted, gestures):
    X, y = new_data(gestures)
    task = {"baselines": True, "n_way": 2, "n_query": 2, "n_episodes": 20, "random_state": 0}
    padded = compare_on_episodes({"ours": fitted}, X, y, **task)
    filled = compare_on_episodes({"ours": fitted}, np.nan_to_num(X), y, **task)
    for name, result in padded.results.items():
        assert (result.mean == filled.results[name].mean) or name == "ours"


@pytest.mark.parametrize("factor", [1e-30, 1e-17, 1e18, 1e30])
def test_padded_series_may_have_any_unit(make_learner, factor):
    many = Gestures(n_classes=30)
    X, y = many.padded(many.is_base), base_labels(many)
    learner = make_learner(max_epochs=3, lr=1e-3).fit(factor * X, y)
    X, y = new_data(many)
    plain = make_learner(max_epochs=3, lr=1e-3).fit(many.padded(many.is_base), base_labels(many))
    accuracy = learner.adapt(factor * X, y).score(factor * X, y)
    assert accuracy >= plain.adapt(X, y).score(X, y) - 0.05


FACTORIES = {
    "partial": partial(Spectral, hidden_dim=8),
    "function": lambda input_shape: Spectral(input_shape, hidden_dim=8),
    "sequence": lambda input_shape: nn.Sequential(Spectral(input_shape, hidden_dim=8), nn.ReLU()),
}


@pytest.mark.parametrize("backbone", FACTORIES.values(), ids=FACTORIES)
def test_what_a_factory_builds_decides(make_learner, gestures, backbone):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    learner = make_learner(backbone=backbone).fit(X, y)
    assert_same(learner.transform(padded_to(X, 31)), learner.transform(X))


def test_padding_of_all_series_is_refused_too(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    alike = padded_to(X[..., :12], 20)
    with pytest.raises(ValueError, match="backbone does not mask"):
        make_learner(backbone="mlp").fit(alike, y)
    assert make_learner().fit(alike, y).predict(alike).shape == y.shape


def test_a_network_without_a_backbone_refuses_padding(gestures):
    X = gestures.padded(gestures.is_base)
    with pytest.raises(ValueError, match="taking samples as a whole"):
        check_padding("Own", X, Recipe(EmbeddingModule, X.shape[1:], {}))
    check_padding("Own", X[..., :12], Recipe(EmbeddingModule, X.shape[1:], {}))


def test_a_warm_start_continues_at_another_length(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    learner = make_learner(warm_start=True).fit(X, y)
    learner.fit(X[..., :12], y)
    assert learner.input_shape_ == X.shape[1:]
    assert learner.predict(X).shape == y.shape
    with pytest.raises(ValueError, match="warm_start=True and was fitted on samples of shape"):
        learner.fit(X[:, :1], y)


def test_padded_series_are_no_images(make_learner, gestures):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    square = np.concatenate([X] * 10, axis=1)[..., :20]  # as many channels as steps
    assert square.shape[1:] == (20, 20)
    assert make_learner().fit(square, y).predict(square).shape == y.shape


@pytest.mark.parametrize("augment", [lambda x: x.flip(2), lambda x: x.roll(1, 2)])
def test_augmentation_must_not_move_the_padding(make_learner, gestures, augment):
    X, y = gestures.padded(gestures.is_base), base_labels(gestures)
    with pytest.raises(ValueError, match="augment moved the padding"):
        make_learner(augment=augment).fit(X, y)
    make_learner(augment=lambda x: 1.1 * x).fit(X, y)
    make_learner(augment=augment).fit(X[..., :12], y)


def test_rows_are_told_their_own_shape(make_learner, series):
    rows = series.X.reshape(len(series.X), -1)
    learner = make_learner(input_shape=(2, 20)).fit(rows, series.y)
    with pytest.raises(ValueError, match=r"shape \(2, 12\), but .* samples of shape \(2, 20\)"):
        learner.predict(series.X[..., :12])


def test_nan_in_a_memory_map_is_found_where_it_is(fitted, series, tmp_path, monkeypatch):
    X = spoil(np.concatenate([series.X] * 3), "inside")
    X = np.concatenate([X[4:40], X[:4]])  # at position 39
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr(_memory_map, "LOADED_BELOW", 0)
    monkeypatch.setattr(_memory_map, "READ_BYTES", 5 * X[0].nbytes)
    with pytest.raises(ValueError, match=r"1 of 40 series.*position 39"):
        fitted.predict(on_disk)


# ------------------------------------------------------------------ pad_series


def test_pad_series_keeps_values_and_pads_the_end():
    series = [np.ones((2, 3), np.float32), np.full((2, 5), 7, np.int16)]
    X = pad_series(series, length=6)
    assert X.shape == (2, 2, 6)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(X[:, 0]).sum(axis=1), [3, 1])
    np.testing.assert_array_equal(X[1, :, :5], 7)
    np.testing.assert_array_equal(pad_series(X[:1, :, :3]), X[:1, :, :3])


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_pad_series_loses_no_digit(dtype):
    value = dtype(2**40 + 1)
    assert pad_series([np.array([value])])[0, 0, 0] == value


def test_pad_series_takes_tensors_and_generators():
    assert pad_series(np.ones(n) for n in (3, 5)).shape == (2, 1, 5)
    assert pad_series([torch.ones(2, 3), torch.ones(2, 4)]).shape == (2, 2, 4)


REFUSED = {
    "none": ([], "no series"),
    "empty": ([[1.0], []], "at least one step.*position 1"),
    "channels": ([np.ones((2, 9)), np.ones((3, 9))], "equal numbers of channels.*position 1"),
    "time first": ([np.ones((9, 2)), np.ones((7, 2))], r"one\.T for one in series"),
    "three axes": ([np.ones((2, 3, 4))], r"Got dtype float64 and shape \(2, 3, 4\)"),
    "text": ([["a", "b"]], "arrays of numbers"),
    "ragged channels": ([[[1.0, 2.0], [3.0]]], "channels of one length.*position 0"),
    "NaN": ([[1.0, np.nan]], "finite numbers.*position 0.*Impute"),
}


@pytest.mark.parametrize(("series", "message"), REFUSED.values(), ids=REFUSED)
def test_pad_series_refuses(series, message):
    with pytest.raises(ValueError, match=message):
        pad_series(series)


def test_pad_series_does_not_cut():
    with pytest.raises(ValueError, match="position 1 has 4 steps, more than length=3"):
        pad_series([[1.0], [1.0, 2.0, 3.0, 4.0]], length=3)
    with pytest.raises(ValueError, match="'length' parameter of pad_series"):
        pad_series([[1.0]], length=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_a_frame_become_series(dtype):
    frame = pd.DataFrame({"id": [0, 0, 1], "x": [1, 2, 3], "z": [4, 5, 6]}).astype(dtype)
    groups = [rows[["x", "z"]].to_numpy().T for _, rows in frame.groupby("id")]
    assert pad_series(groups).shape == (2, 2, 2)
