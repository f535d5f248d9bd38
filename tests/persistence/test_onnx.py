"""onnxruntime predicts what classifiers predict, by `make test-onnx`; see also test_export.py."""

import sys

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import nn

from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    PictureReader,
    adapt,
    export_onnx,
    make_fewshot_pipeline,
)
from sklearn_fewshot.calibration._model import ShotBias, ShotBiasByWay, Temperature

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("skl2onnx")


def unequal(toy):
    """Return rows of the new classes, of each class other many."""
    rows = [np.flatnonzero(toy.y_new == k)[: 1 + n] for n, k in enumerate(np.unique(toy.y_new))]
    return np.concatenate(rows)


def run(path, X):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["label", "probabilities"], {"X": X.astype(np.float32)})


def check_agrees(classifier, X, path):
    """Compare for several numbers of queries."""
    export_onnx(classifier, path)
    for n_queries in (1, 3, len(X)):
        label, proba = run(path, X[:n_queries])
        expected = classifier.predict_proba(X[:n_queries])
        assert proba.dtype == np.float32
        np.testing.assert_allclose(proba, expected, atol=1e-4)
        assert label.tolist() == classifier.predict(X[:n_queries]).tolist()
    assert expected.max() > 0.5  # of flat probabilities nothing would be learned


# ------------------------------------------------------------------ what is exported


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric": "euclidean", "calibrate": False},
        {"metric": "cosine", "backbone": "mlp"},
        {"metric": "cityblock"},
        {"readout": "anchored"},
    ],
    ids=str,
)
def test_tables(make_learner, table, tmp_path, options):
    learner, few = make_learner(**options).fit(table.X, table.y), unequal(table)
    classifier = learner.adapt(table.X_new[few], table.y_new[few])
    check_agrees(classifier, table.X_new, tmp_path / "model.onnx")


@pytest.mark.parametrize("readout", ["centroid", "anchored"])
def test_the_baseline(table, tmp_path, readout):
    learner = BaselineClassifier(
        readout=readout, max_epochs=2, batch_size=32, refit=False, random_state=0
    )
    few = unequal(table)
    classifier = learner.fit(table.X, table.y).adapt(table.X_new[few], table.y_new[few])
    check_agrees(classifier, table.X_new, tmp_path / "model.onnx")


def test_corrections_and_temperature_are_in_the_graph(make_learner, table, tmp_path):
    """With base classes of many examples beside new ones of few."""
    learner, few = make_learner().fit(table.X, table.y), unequal(table)
    network = learner._network
    network.calibration = network.calibration._replace(
        temperature=Temperature((-1.0, 0.1, 0.2), (2.0, 20.0), (1.0, 20.0)),
        shot_bias=ShotBiasByWay(np.array([5.0]), (ShotBias(2.0, 1.0, 20.0),)),
    )
    classifier = learner.adapt(table.X_new[few], table.y_new[few], include_base=True)
    assert np.ptp(classifier.score_correction_) > 0.5
    check_agrees(classifier, table.X_new, tmp_path / "model.onnx")


@pytest.mark.parametrize("backbone", ["auto", "conv4_strided", "conv4_maps"])
@pytest.mark.parametrize("freeze", [False, True])
def test_pictures(make_learner, pictures, tmp_path, backbone, freeze):
    learner = make_learner(backbone=backbone, freeze_backbone=freeze).fit(pictures.X, pictures.y)
    classifier = learner.adapt(pictures.X_new[::2], pictures.y_new[::2])
    check_agrees(classifier, pictures.X_new, tmp_path / "model.onnx")


def test_series_and_shorter_ones(make_learner, series, tmp_path):
    learner = make_learner().fit(series.X, series.y)
    classifier = learner.adapt(series.X_new[::2], series.y_new[::2])
    check_agrees(classifier, series.X_new, tmp_path / "model.onnx")
    shorter = series.X_new.copy()
    shorter[:, :, -5:] = np.nan
    _, proba = run(tmp_path / "model.onnx", shorter)
    np.testing.assert_allclose(proba, classifier.predict_proba(shorter), atol=1e-4)


@pytest.mark.parametrize("labels", [np.array([3, 7]), np.array(["ა", "beta"], dtype=object)])
def test_without_a_learner(tmp_path, labels):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)) + 2.0 * np.arange(20)[:, None] % 2
    classifier = FewShotClassifier().fit(X, labels[np.arange(20) % 2])
    check_agrees(classifier, X, tmp_path / "model.onnx")


# ------------------------------------------------------------------ steps before it


def with_gaps(X):
    """Return rows of large numbers of which some are missing."""
    X = 100.0 * X + 1000.0
    X[::7, 0] = np.nan
    return X


@pytest.mark.parametrize("make", [make_pipeline, make_fewshot_pipeline])
def test_pipelines(make_learner, table, tmp_path, make):
    steps = [SimpleImputer(), StandardScaler(), PCA(5), Normalizer(), MinMaxScaler()]
    pipe = make(*steps, make_learner()).fit(with_gaps(table.X), table.y)
    few = unequal(table)
    classifier = adapt(pipe, with_gaps(table.X_new)[few], table.y_new[few])
    check_agrees(classifier, with_gaps(table.X_new), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "step",
    [RobustScaler(), TruncatedSVD(4), PowerTransformer(), SelectKBest(k=4)],
    ids=lambda step: type(step).__name__,
)
def test_steps(table, tmp_path, step):
    pipe = make_pipeline(step, FewShotClassifier()).fit(table.X_new, table.y_new)
    check_agrees(pipe, table.X_new, tmp_path / "model.onnx")


def test_flat_pictures_behind_a_step(make_learner, pictures, tmp_path):
    flat, flat_new = (X.reshape(len(X), -1) / 255.0 for X in (pictures.X, pictures.X_new))
    learner = make_learner(input_shape=(1, 16, 16))
    pipe = make_pipeline(StandardScaler(), learner).fit(flat, pictures.y)
    classifier = adapt(pipe, flat_new[::2], pictures.y_new[::2])
    check_agrees(classifier, flat_new, tmp_path / "model.onnx")


def test_columns(make_learner, table, tmp_path):
    columns = ColumnTransformer(
        [("some", StandardScaler(), [0, 1]), ("rest", MinMaxScaler(), slice(2, 6))]
    )
    pipe = make_pipeline(columns, make_learner()).fit(table.X, table.y)
    classifier = adapt(pipe, table.X_new, table.y_new)
    check_agrees(classifier, table.X_new, tmp_path / "model.onnx")


# ------------------------------------------------------------------ the file


def test_the_graph_is_as_documented(make_learner, table, tmp_path):
    pipe = make_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)
    export_onnx(adapt(pipe, table.X_new, table.y_new), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {it.domain: it.version for it in model.opset_import}[""] == 18
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    put, (label, proba) = session.get_inputs(), session.get_outputs()
    assert [(it.name, it.type, it.shape[1:]) for it in put] == [("X", "tensor(float)", [6])]
    assert (label.name, label.type) == ("label", "tensor(string)")
    assert (proba.name, proba.type, proba.shape[1:]) == ("probabilities", "tensor(float)", [4])
    assert b"sklearn_fewshot/" not in (tmp_path / "model.onnx").read_bytes()  # of source files


def test_exporting_changes_nothing_of_the_classifier(make_learner, table, tmp_path):
    classifier = make_learner().fit(table.X, table.y).adapt(table.X_new, table.y_new)
    expected = classifier.predict_proba(table.X_new)
    export_onnx(classifier, tmp_path / "model.onnx")
    np.testing.assert_array_equal(classifier.predict_proba(table.X_new), expected)
    classifier.partial_fit(table.X[:2], ["more", "more"])
    export_onnx(classifier, tmp_path / "model.onnx")
    label, _ = run(tmp_path / "model.onnx", table.X[:2])
    assert label.tolist() == ["more", "more"]


# ------------------------------------------------------------------ what has no graph


@pytest.mark.parametrize("step", [LinearDiscriminantAnalysis(), FunctionTransformer(np.arctan)])
def test_steps_that_cannot_be_converted_are_named(make_learner, table, tmp_path, step):
    pipe = make_pipeline(step, make_learner()).fit(table.X, table.y)
    classifier = adapt(pipe, table.X_new, table.y_new)
    with pytest.raises(TypeError, match=rf"the step {type(step).__name__}.*pipeline\[1:\]"):
        export_onnx(classifier, tmp_path / "model.onnx")
    rest = classifier[1:]
    check_agrees(rest, classifier[0].transform(table.X_new), tmp_path / "model.onnx")


def test_a_reader_of_pictures_is_named(make_learner, pictures, tmp_path):
    pipe = make_fewshot_pipeline(PictureReader(16, mode="L"), make_learner())
    classifier = pipe.fit(pictures.X, pictures.y).adapt(pictures.X_new, pictures.y_new)
    with pytest.raises(TypeError, match=r"the step PictureReader.*pipeline\[1:\]"):
        export_onnx(classifier, tmp_path / "model.onnx")
    check_agrees(classifier[1:], pictures.X_new, tmp_path / "model.onnx")


class CountsRows(nn.Module):
    """A backbone that torch can export for one number of rows only."""

    def forward(self, x):
        return x.reshape(len(x), 6)


class Branches(nn.Module):
    """A backbone with a branch by values, of which there is no graph."""

    def forward(self, x):
        return x if float(x.sum()) > 0 else 2 * x


@pytest.mark.parametrize("backbone", [CountsRows, Branches])
def test_backbones_that_cannot_be_exported_are_named(make_learner, table, tmp_path, backbone):
    learner = make_learner(backbone=backbone(), max_epochs=1).fit(table.X, table.y)
    classifier = learner.adapt(table.X_new, table.y_new)
    with pytest.raises(TypeError, match=f"the backbone {backbone.__name__} .*x.shape"):
        export_onnx(classifier, tmp_path / "model.onnx")


def test_labels_of_other_types_are_refused(tmp_path):
    classifier = FewShotClassifier().fit([[0.0], [1.0]], [False, True])
    with pytest.raises(TypeError, match=r"int or str.*type bool, such as False.*astype\(str\)"):
        export_onnx(classifier, tmp_path / "model.onnx")


@pytest.mark.parametrize("missing", ["onnxscript", "skl2onnx"])
def test_without_a_library_the_error_says_what_to_install(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    classifier = FewShotClassifier().fit([[0.0], [1.0]], ["a", "b"])
    with pytest.raises(ImportError, match=rf"needs {missing}.*sklearn-fewshot\[onnx\]"):
        export_onnx(classifier, tmp_path / "model.onnx")
