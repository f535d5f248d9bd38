"""FrozenEncoder: any network, any source of samples, and never a change of either."""

import copy
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sklearn_fewshot import FrozenEncoder, adapt
from sklearn_fewshot.model_selection import episodic_score

CALLS = []  # batches that `counted` got: it must be found by its name


@pytest.fixture(autouse=True)
def no_calls_yet():
    CALLS.clear()


class Counting(nn.Module):
    """A small network that notes how many rows it was given."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(2))

    def forward(self, x):
        CALLS.append(len(x))
        return self.body(x)


class AsRow(nn.Module):
    """A batch of one row, from an array."""

    def forward(self, row):
        return torch.from_numpy(row)[None]


def network(channels=1):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(2))


def direct(module, X):
    """Embed by hand, in float64."""
    with torch.no_grad():
        rows = copy.deepcopy(module).double().eval()(torch.from_numpy(np.array(X, float)))
    return rows.flatten(1).numpy()


def states(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def paths(tmp_path, pictures):
    """Files of the pictures of the base classes."""
    files = [tmp_path / f"{k}.png" for k in range(len(pictures.X))]
    for file, pixels in zip(files, pictures.X, strict=True):
        Image.fromarray(pixels[0]).save(file)
    return files


# ------------------------------------------------------------------ scikit-learn's checks


@parametrize_with_checks([FrozenEncoder()])
def test_it_passes_every_check(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.mark.filterwarnings("ignore:X .* feature names, but .* was fitted with:UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        "check_param_validation",
        "check_get_feature_names_out_error",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
    ],
)
def test_it_passes_the_checks_of_scikit_learns_own_estimators(name):
    getattr(estimator_checks, name)("FrozenEncoder", FrozenEncoder())


# ------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("batch_size", [1, 5, 64, 300])
def test_it_embeds_as_the_module_does(pictures, batch_size):
    module = network()
    embedding = FrozenEncoder(module, batch_size=batch_size).fit_transform(pictures.X)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, direct(module, pictures.X / 255.0), atol=1e-5)


def test_vectors_and_series_go_as_they_are(table, series):
    for module, X in ((nn.Linear(6, 3), table.X), (nn.Conv1d(2, 3, 5), series.X)):
        embedding = FrozenEncoder(module).fit_transform(X)
        np.testing.assert_allclose(embedding, direct(module, X), atol=1e-5)


def test_without_a_module_samples_are_flattened(table, pictures):
    rows = FrozenEncoder().fit_transform(pictures.X)
    np.testing.assert_allclose(rows, pictures.X.reshape(len(rows), -1) / 255.0, atol=1e-7)
    np.testing.assert_allclose(FrozenEncoder().transform(table.X), table.X, rtol=1e-6)


def test_a_callable_gets_arrays(pictures):
    def mean_of(batch):
        assert isinstance(batch, np.ndarray)
        assert batch.dtype == np.float32
        return batch.mean(axis=(2, 3), dtype=float)

    embedding = FrozenEncoder(mean_of).fit_transform(pictures.X)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, pictures.X.mean(axis=(2, 3)) / 255, rtol=1e-5)


def test_an_embedding_does_not_depend_on_its_neighbours(table, pictures):
    for module, X in ((nn.Linear(6, 3), table.X), (network(), pictures.X)):
        encoder = FrozenEncoder(module, batch_size=16).fit(X)
        together = encoder.transform(X)
        for rows in ([0], [2, 1], np.arange(len(X))[::-1][:19]):
            np.testing.assert_allclose(encoder.transform(X[rows]), together[rows], atol=1e-6)


def test_dropout_and_batch_statistics_are_off(pictures):
    module = nn.Sequential(network(), nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.5))
    encoder = FrozenEncoder(module)
    np.testing.assert_array_equal(encoder.transform(pictures.X), encoder.transform(pictures.X))


def test_the_module_is_never_changed(pictures):
    module = network().train()
    module[1].eval()  # its user keeps these statistics while training the rest
    before = states(module)
    encoder = FrozenEncoder(module).fit(pictures.X)
    encoder.transform(pictures.X)
    assert encoder.module is module
    assert [part.training for part in module] == [True, False, True]
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in states(module).items())


def test_names_of_features(pictures):
    encoder = FrozenEncoder(network())
    with pytest.raises(NotFittedError):
        encoder.get_feature_names_out()
    encoder.fit(pictures.X)
    assert encoder.get_feature_names_out().tolist() == [f"frozenencoder{k}" for k in range(16)]
    frame = encoder.set_output(transform="pandas").transform(pictures.X)
    assert frame.shape == (len(pictures.X), 16)


def test_fit_tries_one_sample_and_learns_nothing(pictures):
    encoder = FrozenEncoder(Counting(), batch_size=8)
    unfitted = encoder.transform(pictures.X)
    CALLS.clear()
    encoder.fit(pictures.X)
    assert CALLS == [1]
    assert encoder.input_shape_ == (1, 16, 16)
    assert encoder.embedding_dim_ == 16
    np.testing.assert_array_equal(encoder.transform(pictures.X), unfitted)


def test_progress_is_shown_when_asked_for(pictures, capsys):
    FrozenEncoder(network(), batch_size=16).fit_transform(pictures.X)
    assert capsys.readouterr() == ("", "")
    FrozenEncoder(network(), batch_size=16, verbose=1).fit_transform(pictures.X)
    assert f" {len(pictures.X)}/{len(pictures.X)} " in capsys.readouterr().err


# ------------------------------------------------------------------ files


def test_files_and_arrays_of_the_same_pictures_embed_alike(pictures, paths):
    encoder = FrozenEncoder(network(), mode="L").fit(pictures.X)
    expected = encoder.transform(pictures.X)
    strings = [str(path) for path in paths]
    frame = pd.DataFrame({"path": strings}, index=np.arange(len(paths)) + 5)
    for X in (paths, strings, np.array(strings), np.array(paths), frame["path"], frame):
        np.testing.assert_array_equal(encoder.transform(X), expected)
        np.testing.assert_array_equal(clone(encoder).fit_transform(X), expected)


def test_colour_is_read_channels_first_and_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # taken with the camera on its side
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=turned)
    (row,) = FrozenEncoder().transform([tmp_path / "a.png"])
    upright = np.rot90(pixels, -1)
    np.testing.assert_allclose(row.reshape(3, 6, 4), np.moveaxis(upright, -1, 0) / 255, atol=1e-6)


def test_preprocess_gets_a_picture_or_a_row(pictures, paths):
    seen = []

    def halved(sample):
        seen.append(type(sample))
        if isinstance(sample, Image.Image):
            return sample.resize((8, 8), Image.Resampling.BOX)
        return torch.from_numpy(sample[:, ::2, ::2].copy())

    encoder = FrozenEncoder(preprocess=halved, mode="L")
    assert encoder.fit(paths).input_shape_ == (1, 8, 8)
    assert encoder.transform(paths).max() <= 1.0
    assert encoder.transform(pictures.X).max() <= 1.0
    assert {issubclass(kind, Image.Image) for kind in seen} == {True, False}


def test_preprocess_may_make_pictures_of_any_size_one(tmp_path):
    for k, size in enumerate([(20, 10), (30, 40), (7, 7)]):
        Image.new("RGB", size, (255, 0, 0)).save(tmp_path / f"{k}.png")
    paths = sorted(tmp_path.iterdir())
    encoder = FrozenEncoder(network(3), lambda picture: picture.resize((12, 12)))
    assert encoder.fit_transform(paths).shape == (3, 16)
    message = r"one shape: '.*0\.png' has \(3, 10, 20\), '.*1\.png' has .* size=.* preprocess"
    with pytest.raises(ValueError, match=message):
        FrozenEncoder(network(3), batch_size=1).transform(paths)
    with pytest.raises(ValueError, match=r"was fitted on samples of shape .* '.*1\.png' has shape"):
        FrozenEncoder(network(3)).fit(paths[:1]).transform(paths[1:])


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_a_missing_file_is_named_before_anything_is_read(paths, method):
    encoder = FrozenEncoder(Counting(), mode="L")
    with pytest.raises(FileNotFoundError, match=r"1 of the \d+ paths .* 'nowhere\.png'"):
        getattr(encoder, method)([*paths, "nowhere.png"])
    assert CALLS == []


def test_unreadable_pictures_are_named(paths, tmp_path):
    broken, cut, deep = tmp_path / "broken.png", tmp_path / "cut.png", tmp_path / "deep.png"
    broken.write_text("no picture")
    cut.write_bytes(paths[0].read_bytes()[:-60])
    Image.fromarray(np.full((16, 16), 3000, dtype=np.uint16)).save(deep)
    encoder = FrozenEncoder(network(), mode="L")
    for path, reason in ((broken, "cannot read"), (cut, "cannot read"), (deep, "more than 8 bits")):
        with pytest.raises(ValueError, match=reason) as error:
            encoder.transform([*paths, path])
        assert repr(str(path)) in str(error.value)


def test_pillow_is_asked_for_where_it_is_missing(paths, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"FrozenEncoder needs Pillow .* pip install"):
        FrozenEncoder().fit(paths)


def test_paths_and_numbers_do_not_mix(paths):
    with pytest.raises(ValueError, match=r"pictures only .* or numbers only\. Got 1 .* such as 3"):
        FrozenEncoder().fit([paths[0], 3])
    with pytest.raises(ValueError, match=r"single path .* Put it into a list"):
        FrozenEncoder().fit(str(paths[0]))


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (lambda x: (x, x), TypeError, "a tuple of Tensor, Tensor"),
        (
            lambda x: OrderedDict(last_hidden_state=x, pooler_output=x),
            TypeError,
            "a OrderedDict with last_hidden_state, pooler_output",
        ),
        (lambda x: None, TypeError, "an object of type NoneType"),
        (lambda x: x.mean(), ValueError, r"Got \(\) for 1 samples"),
        (lambda x: x.flatten(), ValueError, r"Got \(256,\) for 1 samples"),
        (lambda x: x / 0 * 0, ValueError, "NaN or infinity for row 0"),
    ],
    ids=["tuple", "dict", "None", "scalar", "no rows", "nan"],
)
def test_what_a_network_must_not_return(pictures, output, error, message):
    class Body(nn.Module):
        def forward(self, x):
            return output(x)

    encoder = FrozenEncoder(Body())
    with pytest.raises(error, match=f"The module Body of FrozenEncoder .*{message}"):
        encoder.fit(pictures.X)
    assert not hasattr(encoder, "input_shape_")


def test_the_sample_that_is_not_finite_is_named(table, paths):
    X = table.X.copy()
    X[37] = 1e30
    with pytest.raises(ValueError, match="NaN or infinity for row 37"):
        FrozenEncoder(lambda rows: np.where(rows > 1e29, np.inf, rows), batch_size=10).transform(X)
    with pytest.raises(ValueError, match=r"NaN or infinity for '.*0\.png'"):
        FrozenEncoder(lambda batch: batch * np.nan, mode="L").transform(paths)


def test_a_failing_module_is_named_with_the_shape_it_got(table, pictures):
    with pytest.raises(ValueError, match=r"The module Linear .* failed on .* \(1, 1, 16, 16\)"):
        FrozenEncoder(nn.Linear(6, 3)).fit(pictures.X)
    with pytest.raises(ValueError, match=r"np.moveaxis"):
        FrozenEncoder(network(3)).fit(np.zeros((4, 20, 20, 3), dtype=np.uint8))


def test_preprocess_must_return_samples(paths):
    with pytest.raises(TypeError, match=r"'preprocess' .* must return .* Got a dict with pixels"):
        FrozenEncoder(preprocess=lambda picture: {"pixels": picture}).fit(paths)


def test_pictures_of_8_bits_after_others_of_that_range_are_refused():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 3, 3))
    encoder = FrozenEncoder(nn.Flatten()).fit(pixels.astype(np.float32))
    with pytest.raises(ValueError, match=r"has 8 bits.*X\.astype\(np\.float32\)"):
        encoder.transform(pixels.astype(np.uint8))
    unit = FrozenEncoder(nn.Flatten()).fit(pixels.astype(np.float32) / 255)
    np.testing.assert_allclose(
        unit.transform(pixels.astype(np.uint8)),
        unit.transform(pixels.astype(np.float32) / 255),
        rtol=1e-6,
    )


def test_pictures_in_another_range_than_those_of_fit_are_refused(pictures):
    encoder = FrozenEncoder(network()).fit(pictures.X)
    expected = encoder.transform(pictures.X)
    np.testing.assert_allclose(encoder.transform(pictures.X / 255.0), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"fitted on 8-bit pictures, .* float64 .* X / 255"):
        encoder.transform(pictures.X.astype(float))


def test_samples_of_another_shape_are_refused(pictures):
    encoder = FrozenEncoder(network()).fit(pictures.X)
    with pytest.raises(ValueError, match=r"fitted on samples of shape \(1, 16, 16\), but row 0"):
        encoder.transform(pictures.X[:, :, 1:])
    encoder.set_params(module=None)
    with pytest.raises(ValueError, match=r"embeddings of length 16, but its network returns 256"):
        encoder.transform(pictures.X)


def test_a_failed_fit_leaves_the_encoder_as_it_was(pictures):
    encoder = FrozenEncoder(network()).fit(pictures.X)
    before = encoder.transform(pictures.X)
    with pytest.raises(ValueError, match="failed on a batch"):
        encoder.fit(pictures.X[:, :, :2, :2])
    np.testing.assert_array_equal(encoder.transform(pictures.X), before)


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize("part", ["module", "preprocess"])
@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_get_the_answers_of_one_and_leave_the_module_as_it_is(n_threads, part):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
    module[1].running_mean += 1
    X = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    in_front = nn.Sequential(AsRow(), module, nn.Flatten(0))
    encoder = FrozenEncoder(module) if part == "module" else FrozenEncoder(preprocess=in_front)
    before = states(module)
    expected = direct(module, X)
    with ThreadPoolExecutor(n_threads) as pool:
        got = list(pool.map(lambda _: encoder.transform(X), range(200)))
    for embedding in got:
        np.testing.assert_allclose(embedding, expected, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(it.training for it in module.modules())


# ------------------------------------------------------------------ memory maps


def test_a_memory_map_is_never_loaded_whole(tmp_path):
    shape = (4000, 1, 64, 64)  # 16 MB
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, shape)[:] = 51
    X = np.load(tmp_path / "x.npy", mmap_mode="r")
    encoder = FrozenEncoder(lambda batch: batch.mean(axis=(2, 3)), batch_size=32)
    encoder.fit_transform(X[:64])
    tracemalloc.start()
    embedding = encoder.fit_transform(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes / 8
    np.testing.assert_allclose(embedding, 0.2, rtol=1e-5)


# ------------------------------------------------------------------ copies and caches


def test_clones_share_the_network_and_nothing_else(pictures):
    encoder = FrozenEncoder(network()).fit(pictures.X).set_output(transform="pandas")
    cloned = clone(encoder)
    assert cloned.module is encoder.module
    assert not hasattr(cloned, "input_shape_")
    cloned.set_output(transform="default")
    assert isinstance(cloned.transform(pictures.X), np.ndarray)
    assert isinstance(encoder.transform(pictures.X), pd.DataFrame)


@pytest.mark.parametrize(
    ("duplicate", "shares"),
    [(lambda it: pickle.loads(pickle.dumps(it)), False), (copy.deepcopy, True)],
    ids=["pickle", "copy"],
)
def test_copies_embed_the_same(pictures, duplicate, shares):
    encoder = FrozenEncoder(network()).fit(pictures.X)
    copied = duplicate(encoder)
    assert (copied.module is encoder.module) == shares
    assert copied.input_shape_ == encoder.input_shape_
    np.testing.assert_array_equal(copied.transform(pictures.X), encoder.transform(pictures.X))


def test_pickles_hold_arrays_and_are_equal_for_equal_encoders(pictures):
    encoder = FrozenEncoder(network(), preprocess=nn.Identity()).fit(pictures.X)
    pickled = pickle.dumps(encoder)
    assert pickled == pickle.dumps(encoder)
    assert b"_rebuild_tensor" not in pickled
    loaded = pickle.loads(pickled)
    assert joblib.hash(loaded) == joblib.hash(encoder)
    assert joblib.hash(clone(loaded)) == joblib.hash(clone(encoder))
    assert joblib.hash(clone(FrozenEncoder(network()))) != joblib.hash(clone(encoder))


def test_a_pipeline_with_memory_embeds_once(pictures, tmp_path):
    def pipeline(**params):
        torch.manual_seed(0)
        return make_pipeline(
            FrozenEncoder(Counting(), **params), LogisticRegression(), memory=str(tmp_path)
        )

    first = pipeline().fit(pictures.X, pictures.y)
    assert sum(CALLS) > len(pictures.X)  # one is tried first
    CALLS.clear()
    second = pipeline().set_params(logisticregression__C=0.5).fit(pictures.X, pictures.y)
    assert CALLS == []
    np.testing.assert_array_equal(second[0].transform(pictures.X), first[0].transform(pictures.X))
    CALLS.clear()
    pipeline(batch_size=8).fit(pictures.X, pictures.y)
    assert CALLS


SCRIPT = """
import sys, numpy as np, torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from sklearn_fewshot import FrozenEncoder

torch.manual_seed(0)
module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())
X = np.arange(60.0).reshape(10, 6)
encoder = FrozenEncoder(module, verbose=1)  # prints when it runs
make_pipeline(encoder, LogisticRegression(), memory=sys.argv[1]).fit(X, X[:, 0] > 20)
"""


def test_the_next_process_finds_the_cache(tmp_path):
    printed = []
    for seed in ("1", "2"):  # of Python's own hashes, by which sets are ordered
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stderr)
    assert " 10/10 " in printed[0]
    assert printed[1] == ""


# ------------------------------------------------------------------ in front of learners


def test_paths_go_all_the_way_to_new_classes(make_learner, pictures, paths, tmp_path):
    new_paths = []
    for k, pixels in enumerate(pictures.X_new):
        new_paths.append(str(tmp_path / f"new{k}.png"))
        Image.fromarray(pixels[0]).save(new_paths[-1])
    new_paths, paths = np.array(new_paths), [str(path) for path in paths]
    pipeline = make_pipeline(FrozenEncoder(mode="L"), make_learner())
    pipeline.fit(paths, pictures.y)
    of_arrays = clone(pipeline).fit(pictures.X, pictures.y)
    support = np.unique(pictures.y_new, return_index=True)[1]
    for data, fitted in ((new_paths, pipeline), (pictures.X_new, of_arrays)):
        adapted = adapt(fitted, data[support], pictures.y_new[support])
        assert (adapted.predict(data) == pictures.y_new).mean() > 0.9
        assert adapted[0].estimator.input_shape_ == fitted[0].input_shape_
    task = {"n_way": 3, "n_shot": 1, "n_query": 3, "n_episodes": 20}
    by_array = episodic_score(of_arrays, pictures.X_new, pictures.y_new, **task)
    assert by_array.mean > 0.9


def test_ordinary_classifiers_work_behind_it(pictures, paths):
    pipeline = make_pipeline(FrozenEncoder(mode="L"), NearestCentroid())
    assert cross_val_score(pipeline, paths, pictures.y, cv=3).mean() > 0.9
    assert cross_val_score(pipeline, pictures.X, pictures.y, cv=3).mean() > 0.9


def test_a_frozen_backbone_embeds_8_bit_pictures_once(make_learner, pictures):
    module = Counting()
    before = states(module)
    learner = make_learner(
        backbone=module, freeze_backbone=True, max_epochs=3, predict_batch_size=64
    )
    learner.fit(pictures.X, pictures.y)
    assert sum(n for n in CALLS if n > 2) <= 64  # two zero samples try it, one padded batch embeds
    assert all(torch.equal(value, before[name]) for name, value in states(module).items())
    frozen = learner.module_.backbone[0]
    expected = FrozenEncoder(module).transform(pictures.X)
    with torch.inference_mode():
        embedded = frozen(torch.from_numpy(pictures.X / np.float32(255)))
    np.testing.assert_allclose(embedded.numpy(), expected, atol=1e-6)
    support = np.unique(pictures.y_new, return_index=True)[1]
    adapted = learner.adapt(pictures.X_new[support], pictures.y_new[support])
    loaded = pickle.loads(pickle.dumps(adapted))
    np.testing.assert_array_equal(loaded.predict(pictures.X_new), adapted.predict(pictures.X_new))
