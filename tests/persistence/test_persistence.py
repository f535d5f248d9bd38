"""Model files: equal predictions after loading, no code, one kind of error, whatever the file."""

import builtins
import copy
import hashlib
import importlib
import io
import json
import marshal
import os
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from skorch.callbacks import EarlyStopping
from torch import nn

import sklearn_fewshot
from sklearn_fewshot import (
    ClassAttributes,
    FewShotClassifier,
    FrozenEncoder,
    ModelFormatError,
    ProtoNetClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from sklearn_fewshot.persistence import _model_file
from sklearn_fewshot.persistence._model_file import write_model
from sklearn_fewshot.persistence._plain_values import ValueReader, ValueWriter
from tests.stress.fuzz_models import Fuzzer, Outcome

FIXTURES = Path(__file__).parents[1] / "fixtures"
METHODS = ("predict", "predict_proba", "decision_function", "score_samples")
N_FUZZED = 300
ZERO_SHOT = (ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier)


class TwoLayers(nn.Sequential):
    """A backbone of the user, found by its name."""

    def __init__(self, input_shape):
        super().__init__(nn.Linear(input_shape[0], 4), nn.BatchNorm1d(4))


def manhattan(a, b):
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).abs().sum(-1)


def double(X):
    return 2 * X


HERE = f"{__name__}:"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


@pytest.fixture(scope="session")
def small(make_learner, table):
    """A learner whose file is small."""
    return make_learner(backbone="identity").fit(table.X, table.y)


@pytest.fixture
def through_file(path):
    def through(estimator, **options):
        save_model(estimator, path)
        return load_model(path, **options)

    return through


def check_equal(loaded, estimator, X, methods=METHODS):
    """Predictions are equal to the last bit."""
    assert type(loaded) is type(estimator)
    for method in methods:
        if hasattr(estimator, method):
            expected = getattr(estimator, method)(X)
            found = getattr(loaded, method)(X)
            assert_array_equal(found, expected)
            assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


def content_of(path):
    return json.loads(np.load(path)["model.json"])


def rewritten(path, change, arrays_too=False):
    """Change the content of a model file, with a checksum that fits."""
    with np.load(path) as archive:
        content = json.loads(archive["model.json"])
        names = sorted(
            (name for name in archive.files if name.startswith("array_")),
            key=lambda name: int(name[6:]),
        )
        arrays = [archive[name] for name in names]
    change(content, arrays) if arrays_too else change(content)
    for name in ("magic", "format"):
        content.pop(name, None)
    write_model(path, content, arrays)


# ---------------------------------------------------------------------- round trips


def test_every_learner_predicts_the_same(make_any, table, through_file):
    quick = {
        "validation_fraction": 0.0,
        "calibrate": False,
    }  # what logistic regression lacks time for
    learner = make_any(**quick).fit(table.X, table.y)
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X, (*METHODS, "transform"))
    assert repr(loaded.get_params()) == repr(learner.get_params())
    assert loaded.history_ == learner.history_
    stored = {k: v for k, v in vars(learner).items() if k != "net_"}
    assert vars(loaded).keys() == stored.keys()
    for name in ("classes_", "_base_mean"):
        assert_array_equal(getattr(loaded, name), getattr(learner, name))
    adapted = learner.adapt(table.X_new, table.y_new)
    check_equal(loaded.adapt(table.X_new, table.y_new), adapted, table.X)
    check_equal(through_file(adapted), adapted, table.X)


@pytest.mark.parametrize("cls", ZERO_SHOT)
def test_learners_without_examples_predict_the_same(cls, table, through_file):
    rng = np.random.default_rng(0)
    labels = np.unique(np.concatenate([table.y, table.y_new]))
    attributes = ClassAttributes(labels, rng.normal(size=(12, 4)), names=list("abcd"))
    learner = cls(n_way=5, n_query=3, episodes_per_epoch=3, max_epochs=1, random_state=0)
    learner.fit(table.X, table.y, class_attributes=attributes)
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X)
    assert loaded.class_attributes_.names == attributes.names
    adapted = learner.adapt(class_attributes=attributes)
    check_equal(loaded.adapt(class_attributes=attributes), adapted, table.X)
    check_equal(through_file(adapted), adapted, table.X)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("backbone", ["auto", "mlp", "conv1d", "conv4"])
def test_every_shape_of_samples(make_learner, series, pictures, through_file, backbone, frozen):
    data = {"conv1d": series, "conv4": pictures}.get(backbone, pictures)
    learner = make_learner(backbone=backbone, freeze_backbone=frozen, max_epochs=1)
    learner.fit(data.X, data.y)
    check_equal(through_file(learner), learner, data.X, (*METHODS, "transform"))


def test_spatial_maps(pictures, through_file):
    cls = sklearn_fewshot.RelationNetClassifier
    learner = cls(n_way=3, n_shot=1, n_query=2, episodes_per_epoch=2, max_epochs=1, random_state=0)
    learner.fit(pictures.X, pictures.y)
    check_equal(through_file(learner), learner, pictures.X)


def test_a_classifier_goes_on_learning(learner, table, through_file):
    clf = learner.adapt(table.X_new, table.y_new, include_base=True)
    loaded = through_file(clf)
    check_equal(
        loaded.partial_fit(table.X[:9], table.y[:9]),
        clf.partial_fit(table.X[:9], table.y[:9]),
        table.X,
    )
    check_equal(loaded.drop_classes(["new-24"]), clf.drop_classes(["new-24"]), table.X)
    again = (table.X_new[::2], table.y_new[::2])
    check_equal(adapt(loaded, *again), adapt(clf, *again), table.X)


def test_a_learner_goes_on_learning(make_learner, table, through_file):
    learner = make_learner(backbone="mlp", warm_start=True, validation_fraction=0.0)
    loaded = through_file(learner.fit(table.X, table.y))
    check_equal(loaded.fit(table.X, table.y), learner.fit(table.X, table.y), table.X)


def test_rejection_and_calibration(learner, table, through_file):
    assert learner._network.calibration is not None
    clf = learner.adapt(table.X_new, table.y_new)
    loaded = through_file(clf)
    assert_array_equal(loaded.rejection_threshold(0.1), clf.rejection_threshold(0.1))
    kept = {"reject_label": "none", "reject_rate": 0.3}
    assert_array_equal(loaded.predict(table.X, **kept), clf.predict(table.X, **kept))


def test_examples_without_a_label(learner, table, through_file):
    y = np.where(np.arange(len(table.y_new)) % 2, table.y_new, "?")
    clf = learner.adapt(table.X_new, y, unlabelled="?")
    loaded = through_file(clf)
    check_equal(loaded, clf, table.X)
    check_equal(loaded.partial_fit(table.X_new, y), clf.partial_fit(table.X_new, y), table.X)


def test_verification(make_learner, table, through_file):
    learner = SiameseNetClassifier(
        n_way=5, n_query=3, episodes_per_epoch=3, max_epochs=1, refit=False, random_state=0
    ).fit(table.X, table.y)
    pairs = np.stack([table.X[:-1], table.X[1:]], axis=1)
    assert_array_equal(through_file(learner).predict_pairs(pairs), learner.predict_pairs(pairs))


LABELS = {
    "int": np.array([-3, 10]),
    "unsigned": np.array([1, 200], dtype=np.uint8),
    "float": np.array([1.0, 2.0]),
    "bool": np.array([False, True]),
    "text": np.array(["a", "ünïcode\U0001f600"]),
    "big-endian": np.array([1, 2], dtype=">i4"),
    "objects": np.array(["a", "bc"], dtype=object),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_every_type(labels, through_file):
    X = np.array([[0.0, 1.0], [5.0, 5.0], [0.5, 1.0]])
    y = np.array([labels[0], labels[1], labels[0]], dtype=labels.dtype)
    clf = FewShotClassifier().fit(X, y)
    loaded = through_file(clf)
    assert_array_equal(loaded.predict(X), clf.predict(X))
    assert loaded.classes_.dtype == clf.classes_.dtype.newbyteorder("=")
    assert [type(label) for label in loaded.classes_] == [type(label) for label in clf.classes_]


def test_column_names_are_kept(table, through_file):
    frame = pd.DataFrame(table.X_new).add_prefix("x")
    clf = FewShotClassifier().fit(frame, table.y_new)
    loaded = through_file(clf)
    check_equal(loaded, clf, frame)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[frame.columns[::-1]])


def test_equal_models_are_equal_files(small, tmp_path):
    save_model(small, tmp_path / "a")
    save_model(load_model(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_learner_and_its_classifier_share_one_network(learner, table, path):
    save_model(learner, path)
    alone = path.stat().st_size
    clf = learner.adapt(table.X_new, table.y_new)
    save_model(clf, path)
    loaded = load_model(path)
    assert loaded._network is loaded.learner._network
    assert path.stat().st_size < 1.2 * alone


def test_a_classifier_of_a_learner_that_was_fitted_again(make_learner, table, through_file):
    learner = make_learner(backbone="mlp", max_epochs=1).fit(table.X, table.y)
    clf = learner.adapt(table.X_new, table.y_new)
    expected = clf.predict_proba(table.X)
    learner.set_params(random_state=1).fit(table.X, table.y)
    loaded = through_file(clf)
    assert loaded._network is not loaded.learner._network
    assert_array_equal(loaded.predict_proba(table.X), expected)


def test_numpy_alone_opens_the_file(small, path):
    save_model(small, path)
    with np.load(path, allow_pickle=False) as archive:
        content = json.loads(archive["model.json"])
        assert all(isinstance(archive[name], (np.ndarray, bytes)) for name in archive.files)
    assert content["format"] == 1
    assert content["versions"]["scikit-learn"] == sklearn.__version__
    assert content["estimator"]["params"]["n_query"] == small.n_query


# ---------------------------------------------------------------------- pipelines

TRANSFORMERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler((-1, 1), clip=True),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False),
    Normalizer("l1"),
    PCA(3, whiten=True),
    PCA(0.9),
    PCA(3, svd_solver="randomized", random_state=0),
    TruncatedSVD(3, random_state=0),
    SimpleImputer(strategy="median"),
    VarianceThreshold(0.1),
    FunctionTransformer(),
    FunctionTransformer(np.arcsinh),
    FrozenEncoder(),
    "passthrough",
]


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_pipelines(small, table, transformer, through_file):
    X = table.X.copy()
    if isinstance(transformer, SimpleImputer):
        X[::7, 1] = np.nan
    elif isinstance(transformer, StandardScaler):
        transformer = copy.deepcopy(transformer).set_output(transform="default")
    pipe = make_fewshot_pipeline(transformer, FewShotClassifier()).fit(X, table.y)
    check_equal(through_file(pipe), pipe, X)
    adapted = adapt(pipe, table.X_new, table.y_new)
    loaded = through_file(adapted)
    check_equal(loaded, adapted, X)
    if transformer != "passthrough":
        assert isinstance(loaded[0], FrozenEstimator)


def test_pipelines_of_learners(make_learner, table, through_file):
    pipe = make_fewshot_pipeline(StandardScaler(), PCA(4), make_learner(max_epochs=1))
    pipe.fit(table.X, table.y)
    loaded = through_file(pipe)
    check_equal(loaded, pipe, table.X)
    support = {"X_support": table.X_new, "y_support": table.y_new}
    assert_array_equal(loaded.predict(table.X, **support), pipe.predict(table.X, **support))


@pytest.mark.parametrize(
    "words",
    [
        [TfidfVectorizer(ngram_range=(1, 2), stop_words=["the"], dtype=np.float32)],
        [CountVectorizer(), TfidfTransformer(sublinear_tf=True)],
        [CountVectorizer(vocabulary={"cat": 0, "dog": 1, "sat": 2})],
    ],
)
def test_pipelines_of_texts(words, through_file):
    texts = ["a cat sat", "the cat ran", "the dog sat", "one dog ran fast"] * 2
    pipe = make_pipeline(*words, TruncatedSVD(2, random_state=0), FewShotClassifier())
    pipe.fit(texts, ["cat", "cat", "dog", "dog"] * 2)
    check_equal(through_file(pipe), pipe, texts)


def test_requests_for_metadata(small, table, through_file):
    learner = copy.deepcopy(small)
    with sklearn.config_context(enable_metadata_routing=True):
        learner.set_fit_request(groups=True, class_groups="alphabet")
        loaded = through_file(learner)
        assert str(loaded.get_metadata_routing()) == str(learner.get_metadata_routing())


# ---------------------------------------------------------------------- names that are trusted


def test_what_is_the_users_own_is_loaded_if_trusted(make_learner, table, path):
    learner = make_learner(backbone=TwoLayers, metric=manhattan).fit(table.X, table.y)
    save_model(learner, path)
    with pytest.raises(ModelFormatError, match=r"pass trusted=\['.*:TwoLayers'\]"):
        load_model(path)
    with pytest.raises(ModelFormatError, match=r"pass trusted=\['.*:manhattan'\]"):
        load_model(path, trusted=[HERE + "TwoLayers"])
    loaded = load_model(path, trusted=[HERE + "TwoLayers", HERE + "manhattan"])
    check_equal(loaded, learner, table.X)


def test_functions_in_pipelines(table, path):
    pipe = make_pipeline(FunctionTransformer(double), FrozenEncoder(double), FewShotClassifier())
    save_model(pipe.fit(table.X, table.y), path)
    with pytest.raises(ModelFormatError, match="trusted"):
        load_model(path)
    check_equal(load_model(path, trusted={HERE + "double"}), pipe, table.X)


def test_trust_is_a_collection_of_names(small, path):
    save_model(small, path)
    for trusted in ("a:b", True, [3]):
        with pytest.raises(TypeError, match="trusted"):
            load_model(path, trusted=trusted)


def test_names_that_are_gone(make_learner, table, path):
    save_model(make_learner(backbone=TwoLayers).fit(table.X, table.y), path)
    text = json.dumps(content_of(path))
    for gone in ("os:nothing", "no_such_module:f"):
        changed = json.loads(text.replace(HERE + "TwoLayers", gone))
        rewritten(path, lambda content, new=changed: content.update(new))
        with pytest.raises(ModelFormatError, match="cannot be imported"):
            load_model(path, trusted=[gone])


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("backbone", ["auto", "residual_mlp"])
def test_a_start_as_a_projection_of_other_width(
    make_learner, table, through_file, monkeypatch, backbone, frozen
):
    monkeypatch.setattr(ProtoNetClassifier, "_prefers_projection", lambda *args: True)
    learner = make_learner(backbone=backbone, freeze_backbone=frozen).fit(table.X, table.y)
    assert learner.transform(table.X).shape[1] < table.X.shape[1]
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X)
    check_equal(loaded.fit(table.X, table.y), learner, table.X)


def test_a_backbone_without_outputs_to_choose_is_given_none(pictures, make_learner, path):
    save_model(make_learner(max_epochs=1).fit(pictures.X, pictures.y), path)
    rewritten(path, set_in(*NETWORK, "embedding_dim", value=64))
    with pytest.raises(ModelFormatError, match="embedding_dim"):
        load_model(path)


# ---------------------------------------------------------------------- what cannot be saved


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": nn.Linear(6, 3)}, "'backbone' parameter .* instance of Linear"),
        ({"backbone": lambda: nn.Linear(6, 3)}, "'backbone' parameter .* lambdas"),
        ({"metric": lambda a, b: manhattan(a, b)}, "'metric' parameter"),
        ({"callbacks": [EarlyStopping(sink=None)]}, r"set_params\(callbacks=None\)"),
        ({"random_state": np.random.RandomState(0)}, "'random_state' parameter"),
        ({"net_params": {"batch_size": object()}}, "'net_params' parameter"),
        ({"validation_classes": np.array(["2020-01-01"], dtype="M8[D]")}, "datetime64"),
    ],
)
def test_parameters_that_cannot_be_saved_are_named(make_learner, table, path, params, message):
    own = {"validation_classes"} & params.keys()
    learner = make_learner(max_epochs=1, **({} if own else params)).fit(table.X, table.y)
    with pytest.raises(TypeError, match=message):
        save_model(learner.set_params(**params), path)
    assert not list(path.parent.iterdir())


def test_estimators_that_cannot_be_saved_are_named(small, table, path):
    class Own(ProtoNetClassifier):
        pass

    columns = ColumnTransformer([("scale", StandardScaler(), [0, 1])])
    for estimator, message in (
        (OneHotEncoder().fit([[1], [2]]), "OneHotEncoder.*It stores .*StandardScaler"),
        (make_pipeline(columns, FewShotClassifier()).fit(table.X, table.y), "ColumnTransformer"),
        (make_pipeline(FewShotClassifier(), memory="cache").fit(table.X, table.y), "memory=None"),
        (FrozenEncoder(nn.Linear(6, 2)).fit(table.X), "'module' parameter of FrozenEncoder"),
    ):
        with pytest.raises(TypeError, match=message):
            save_model(estimator, path)
    changed = copy.deepcopy(small)
    changed.note_ = "mine"
    with pytest.raises(TypeError, match="note_"):
        save_model(changed, path)
    changed.__class__ = Own
    with pytest.raises(TypeError, match="does not store a Own"):
        save_model(changed, path)
    with pytest.raises(NotFittedError):
        save_model(ProtoNetClassifier(), path)
    assert not list(path.parent.iterdir())


def test_batches_that_could_not_be_loaded_are_not_saved(small, table, path):
    learner = copy.deepcopy(small).set_params(predict_batch_size=2**40)
    learner._network.batch_size = 2**40
    with pytest.raises(TypeError, match="lower the batch size"):
        save_model(learner, path)


# ---------------------------------------------------------------------- writing


def test_the_path_is_taken_as_it_is(small, tmp_path):
    save_model(small, str(tmp_path / "no suffix"))
    assert os.listdir(tmp_path) == ["no suffix"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(small, learner, path, monkeypatch, broken):
    save_model(small, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(_model_file.os, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        save_model(learner, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_link_still_leads_to_the_file(small, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "model")
    save_model(small, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    load_model(tmp_path / "folder" / "model")


def test_no_file_and_no_folder(small, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        save_model(small, tmp_path / "nothing" / "model")
    with pytest.raises(OSError, match="directory"):
        load_model(tmp_path)


# ---------------------------------------------------------------------- damaged and foreign files


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    """Bytes of a file of a classifier without a learner."""
    path = tmp_path_factory.mktemp("small") / "model.npz"
    save_model(FewShotClassifier().fit([[0.0, 1.0], [4.0, 5.0]], ["a", "b"]), path)
    return path.read_bytes()


def test_a_file_cut_short_anywhere_is_refused(small_file, path):
    for stop in range(0, len(small_file), 7):
        path.write_bytes(small_file[:stop])
        with pytest.raises(ModelFormatError, match="cannot be loaded"):
            load_model(path)


def test_foreign_files_are_refused(small_file, path):
    np.savez(path, X=np.zeros(3))
    with pytest.raises(ModelFormatError, match=r"no model\.json"):
        load_model(path)
    for content in (b"", b"PK", pickle.dumps({"a": 1}), b"\x93NUMPY\x01\x00", os.urandom(5000)):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"not a zip file"):
            load_model(path)


def test_newer_formats_say_so(small_file, path, monkeypatch):
    monkeypatch.setattr(_model_file, "FORMAT", 2)
    save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)
    monkeypatch.undo()
    with pytest.raises(ModelFormatError, match=r"format 2, .* reads formats up to 1: install"):
        load_model(path)


def repacked(small_file, path, change, compression=zipfile.ZIP_STORED, signed=True):
    """Write the members again, changed by ``change(name, data)`` to pairs of names and data."""
    with (
        zipfile.ZipFile(io.BytesIO(small_file)) as old,
        zipfile.ZipFile(path, "w", compression) as new,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of names that stand twice
        members = [pair for name in old.namelist() for pair in change(name, old.read(name))]
        for name, data in members:
            is_signature = signed and name == "checksum.txt"
            new.writestr(name, signature(members) if is_signature else data)


def signature(members):
    checksum = hashlib.blake2b(digest_size=32)
    for name, data in members:
        if name != "checksum.txt":
            checksum.update(f"{name} {len(data)}\n".encode() + data)
    return checksum.hexdigest()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


class Bomb:
    """Calls a function when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


HOSTILE = {
    "pickled objects": (
        lambda name, data: [(name, npy(np.array([Bomb()])) if name == "array_0.npy" else data)],
        "does not begin as numpy's plain arrays",
    ),
    "a pickled text": (
        lambda name, data: [(name, pickle.dumps(Bomb()) if name == "model.json" else data)],
        "cannot be loaded",
    ),
    "a name outside": (
        lambda name, data: [(name.replace("array_1", "../../array_1"), data)],
        "a member has the name",
    ),
    "an absolute name": (
        lambda name, data: [(name.replace("array_1", "/array_1"), data)],
        "a member has the name",
    ),
    "a name twice": (lambda name, data: [(name, data)] * 2, "one name"),
    "a gap": (
        lambda name, data: [(name.replace("array_1.npy", "array_99.npy"), data)],
        "without a gap",
    ),
    "no checksum": (
        lambda name, data: [] if name == "checksum.txt" else [(name, data)],
        "without a gap",
    ),
    "a shape that would fill the memory": (
        lambda name, data: [
            (name, npy(np.zeros(2)).replace(b"(2,)", b"(%d,)" % 10**12)[:-12])
            if name == "array_0.npy"
            else (name, data)
        ],
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_are_refused(small_file, path, change, message, monkeypatch):
    monkeypatch.chdir(path.parent)
    repacked(small_file, path, change)
    with pytest.raises(ModelFormatError, match=message):
        load_model(path)
    assert not Path("executed").exists()


def test_the_checksum_tells_of_every_change(small_file, path):
    def change(name, data):
        return [(name, data[:-1] + b"?" if name == "array_0.npy" else data)]

    repacked(small_file, path, change, signed=False)
    with pytest.raises(ModelFormatError, match="checksum differs"):
        load_model(path)
    repacked(small_file, path, change)
    load_model(path)


def test_zip_bombs_are_refused(small_file, path):
    repacked(small_file, path, lambda name, data: [(name, data)], zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFormatError, match="compressed"):
        load_model(path)
    # A stored member that claims more than there is, and many that share the same bytes.
    directory = small_file.index(b"PK\x01\x02")
    claimed = bytearray(small_file)
    struct.pack_into("<II", claimed, directory + 20, 2**31, 2**31)
    path.write_bytes(claimed)
    with pytest.raises(ModelFormatError, match="larger than the file"):
        load_model(path)


HOSTILE_ARRAYS = {
    "too long": ("<f8", False, (10**12,)),
    "huge but empty": ("<f8", False, (0, 10**15)),
    "objects": ("|O", False, (2,)),
    "records": ([("a", "<f8")], False, (2,)),
    "endless strings": ("<U0", False, (10**12,)),
    "dates": ("<M8[s]", False, (2,)),
}


@pytest.mark.parametrize("header", HOSTILE_ARRAYS.values(), ids=HOSTILE_ARRAYS)
def test_hostile_headers_are_refused(path, monkeypatch, header):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, dict(zip(("descr", "fortran_order", "shape"), header, strict=True))
    )
    monkeypatch.setattr(_model_file, "_npy", lambda array: file.getvalue() + bytes(16))
    save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)
    with pytest.raises(ModelFormatError, match="array_0"):
        load_model(path)


def test_bytes_that_are_no_values_are_refused(path, monkeypatch):
    values = {
        "no character": (np.array(["a"]), b"\xff" * 4),
        "no truth": (np.array([True]), b"\x02"),
    }
    original = _model_file._npy
    for array, content in values.values():
        monkeypatch.setattr(
            _model_file, "_npy", lambda _, a=array, c=content: original(a)[: -len(c)] + c
        )
        save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)
        with pytest.raises(ModelFormatError, match="no values of"):
            load_model(path)


VALUES = [
    [1, 2.5, "a", True, None, [], [[()]]],
    (float("inf"), -float("inf"), -0.0, 1e-320, 0.1 + 0.2),
    {"a": 1, 2: (3, {"b"}), None: frozenset([4])},
    b"\x00\xff",
    np.float32(0.1),
    np.str_("ü"),
    np.bool_(True),
    np.dtype("<f4"),
    np.float64,
    np.array([[1, 2], [3, 4]], dtype=np.int16, order="F"),
    np.array([b"a", b"bcd"]),
    np.array(["a", 1, 2.5, None, b"x", np.nan, True], dtype=object),
    np.zeros((0, 3)),
    np.array(1.5),
    torch.device("cpu"),
]


def test_the_folder_of_a_checkpoint_comes_back_as_text(make_learner, table, path, tmp_path):
    learner = make_learner(checkpoint=tmp_path / "unfinished").fit(table.X, table.y)
    save_model(learner, path)
    assert load_model(path).checkpoint == str(tmp_path / "unfinished")


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values_make_the_round_trip(value):
    writer = ValueWriter()
    stored = json.loads(json.dumps(writer.value(value, "a value"), allow_nan=False))
    loaded = ValueReader(writer.arrays).value(stored)
    assert type(loaded) is type(value)
    assert repr(loaded) == repr(value)
    if isinstance(value, np.ndarray):
        assert loaded.dtype == value.dtype
        assert [type(part) for part in loaded.ravel()] == [type(part) for part in value.ravel()]


def network_of(content):
    return content["estimator"]["fitted"]["_network"]["network"]


def set_in(*keys, value):
    def change(content):
        place = content["estimator"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


NETWORK = ("fitted", "_network", "network")
HOSTILE_VALUES = {
    "a huge sample": (set_in(*NETWORK, "input_shape", value=[10**9]), "no file of this size"),
    "a sample without values": (set_in(*NETWORK, "input_shape", value=[0]), "input_shape"),
    "another sample": (set_in(*NETWORK, "input_shape", value=[7]), "weight"),
    "a huge embedding": (set_in(*NETWORK, "embedding_dim", value=10**9), "10{9} outputs"),
    "no embedding": (set_in(*NETWORK, "embedding_dim", value=0), "0 outputs"),
    "half an embedding": (set_in(*NETWORK, "embedding_dim", value=1.5), "1.5 outputs"),
    "a huge batch": (set_in(*NETWORK, "batch_size", value=2**40), "lower the batch size"),
    "another head": (set_in(*NETWORK, "head", value="MatchingHead"), "head is not one of"),
    "a head with other options": (set_in(*NETWORK, "head", value="RelationHead"), "metric"),
    "a head with other weights": (
        set_in(*NETWORK, value={}),
        "a network must have the entries",
    ),
    "no head": (set_in(*NETWORK, "head", value="__init__"), "no head"),
    "a module as head": (set_in(*NETWORK, "head", value="_base"), "no head"),
    "no backbone": (set_in(*NETWORK, "backbone", value="os"), "no backbone"),
    "a big backbone": (set_in(*NETWORK, "backbone", value="koch"), "koch"),
    "code as backbone": (
        set_in(*NETWORK, "backbone", value={"name": "os:system"}),
        r"trusted=\['os:system'\]",
    ),
    "code as parameter": (
        set_in("params", "lr_schedule", value={"name": "builtins:exec"}),
        "builtins:exec",
    ),
    "a foreign class": (set_in("class", value="OneHotEncoder"), "OneHotEncoder"),
    "a bad parameter": (set_in("params", "n_way", value=-1), "n_way"),
    "an unknown parameter": (set_in("params", "n_wya", value=1), "n_wya"),
    "an attribute too many": (set_in("fitted", "predict", value=1), "predict"),
    "unsorted classes": (
        set_in("fitted", "classes_", value={"objects": list("hgfedcba")}),
        "sorted",
    ),
    "labels of two types": (
        set_in("fitted", "classes_", value={"objects": ["a", 1, 2, 3, 4, 5, 6, 7]}),
        "TypeError",
    ),
    "no array": (set_in("fitted", "classes_", value={"array": 10**6}), "no array"),
    "too deep": (set_in("params", "net_params", value=eval("[" * 60 + "]" * 60)), "deep"),
    "a huge integer": (set_in("fitted", "n_features_in_", value=10**30), "64 bits"),
    "other features": (set_in("fitted", "n_features_in_", value=9), "number of features"),
    "an unknown tag": (set_in("params", "metric", value={"pickle": "gASV"}), "pickle"),
    "a cache": (set_in("params", "callbacks", value=[1]), "callbacks"),
    "no calibration": (set_in(*NETWORK, "calibration", "known", value=[]), "KnownScores"),
    "nothing fitted": (set_in("fitted", value={}), "nothing refers to"),
    "a function of numpy that is none of numbers": (
        set_in("params", "metric", value={"ufunc": "load"}),
        "no function 'load'",
    ),
    "a device": (set_in(*NETWORK, "device", value="nowhere"), None),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_hostile_values_are_refused(learner, path, change, message):
    save_model(learner, path)
    rewritten(path, change)
    if message is None:
        load_model(path)
        return
    with pytest.raises(ModelFormatError, match=message):
        load_model(path)


def test_weights_that_do_not_fit_are_named(learner, path):
    save_model(learner, path)

    def cut(content, arrays):
        number = network_of(content)["weights"]["backbone.branch.4.weight"]["array"]
        arrays[number] = arrays[number][1:]

    rewritten(path, cut, arrays_too=True)
    with pytest.raises(ModelFormatError, match=r"backbone\.branch\.4\.weight .*\(256, 256\)"):
        load_model(path)


def test_every_array_is_used_once(small, path):
    """Else a small file could make much of one large array."""
    save_model(small, path)
    rewritten(path, lambda content, arrays: arrays.append(arrays[0]), arrays_too=True)
    with pytest.raises(ModelFormatError, match="nothing refers to 1 of its arrays"):
        load_model(path)
    save_model(small, path)

    def twice(content):
        fitted = content["estimator"]["fitted"]
        fitted["_base_std"] = fitted["_base_mean"]

    rewritten(path, twice)
    with pytest.raises(ModelFormatError, match="not yet used"):
        load_model(path)


def test_encoders_do_not_ask_for_huge_batches(table, path):
    encoder = FrozenEncoder(batch_size=2**40)
    with pytest.raises(TypeError, match="lower the batch size"):
        save_model(encoder, path)
    save_model(encoder.set_params(batch_size=64), path)
    rewritten(path, set_in("params", "batch_size", value=2**40))
    with pytest.raises(ModelFormatError, match="lower the batch size"):
        load_model(path)


def test_text_that_is_no_strict_json_is_refused(small_file, path):
    for old, new in (
        (b'"format": 1', b'"format": NaN'),
        (b'"format": 1', b'"format": 1, "format": 1'),
    ):
        repacked(small_file, path, lambda name, data, a=old, b=new: [(name, data.replace(a, b))])
        with pytest.raises(ModelFormatError, match=r"not JSON|stands twice"):
            load_model(path)
    deep = b"[" * 200_000
    repacked(small_file, path, lambda name, data: [(name, deep if name[0] == "m" else data)])
    with pytest.raises(ModelFormatError):
        load_model(path)


def test_loading_executes_nothing(learner, table, path, monkeypatch):
    save_model(
        make_pipeline(StandardScaler(), learner.adapt(table.X_new, table.y_new)).fit(
            table.X, table.y
        ),
        path,
    )
    load_model(path)  # what torch imports at first use it has imported

    def refuse(*args, **options):
        raise AssertionError(f"executed {args}")

    for module, name in (
        (pickle, "loads"),
        (pickle, "load"),
        (marshal, "loads"),
        (builtins, "eval"),
        (builtins, "exec"),
        (importlib, "import_module"),
        (os, "system"),
        (torch, "load"),
        (np.lib.format, "read_array"),
    ):
        monkeypatch.setattr(module, name, refuse)
    load_model(path)


def test_loading_leaves_the_global_random_state(small, path):
    save_model(small, path)
    state = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------------- many damaged files


def test_fuzzed_files_are_refused_or_load(tmp_path, count_cases):
    outcomes = Fuzzer(tmp_path, seed=0).run(N_FUZZED)
    count_cases("damaged model files", tried=outcomes.total(), lost=outcomes[Outcome.LOST])
    assert outcomes[Outcome.LOST] == 0
    assert outcomes[Outcome.DIFFERENT] == 0
    assert outcomes[Outcome.REFUSED] > N_FUZZED / 2


# ---------------------------------------------------------------------- files of older versions


@pytest.mark.parametrize("name", ["learner", "pipeline", "zero_shot", "unlabelled"])
def test_files_of_format_1_load_for_ever(name):
    """They were written by `python -m tests.fixtures.make_format_1`, once."""
    with np.load(FIXTURES / "format_1_expected.npz") as expected:
        X, proba = expected["X"], expected[f"{name}_proba"]
        labels = expected[f"{name}_labels"]
    loaded = load_model(FIXTURES / f"format_1_{name}.npz")
    assert_array_equal(loaded.predict(X), labels)
    np.testing.assert_allclose(loaded.predict_proba(X), proba, rtol=1e-6, atol=1e-7)
    assert re.fullmatch(
        r"\d+\.\d+.*", content_of(FIXTURES / f"format_1_{name}.npz")["versions"]["numpy"]
    )
