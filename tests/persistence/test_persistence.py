"""Model files: equal predictions after loading, for every learner, pipeline and type of label."""

import copy
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import torch
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
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
from sklearn_fewshot.base import BaseFewShotLearner, with_common_parameters
from sklearn_fewshot.nn import backbones, heads
from sklearn_fewshot.persistence import _archive
from sklearn_fewshot.persistence._trusted import own_types

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")
ZERO_SHOT = (ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier)


class TwoLayers(nn.Sequential):
    """A backbone of the user, found by its name."""

    def __init__(self, input_shape):
        super().__init__(nn.Linear(input_shape[0], 4), nn.BatchNorm1d(4))


def manhattan(a, b):
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).abs().sum(-1)


def double(X):
    return 2 * X


class Rounder(TransformerMixin, BaseEstimator):
    """A transformer of the user."""

    def fit(self, X, y=None):
        self.step_ = np.ptp(np.asarray(X), axis=0) / 100
        return self

    def transform(self, X):
        return np.round(np.asarray(X) / self.step_) * self.step_


@with_common_parameters
class CityblockNet(BaseFewShotLearner):
    """A learner of the user."""

    def __init__(self, **common):
        super().__init__(**common)

    def _head(self):
        return heads.PrototypicalHead, {"metric": "cityblock"}


HERE = f"{__name__}."


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skops"


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
    assert loaded.classes_.dtype == clf.classes_.dtype
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


def test_skops_alone_opens_the_file(small, table, path):
    save_model(small, path)
    needed = skops.io.get_untrusted_types(file=path)
    assert set(needed) <= own_types().keys()
    check_equal(skops.io.load(path, trusted=needed), small, table.X)


def test_the_file_says_which_versions_wrote_it(small, path):
    save_model(small, path)
    with zipfile.ZipFile(path) as archive:
        about = archive.read("about.json").decode()
    assert sklearn.__version__ in about
    assert torch.__version__ in about


def test_bfloat16_predictions_come_back(make_learner, table, through_file):
    learner = make_learner(backbone="mlp", precision="bfloat16", device=torch.device("cpu"))
    learner.fit(table.X, table.y)
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X)
    assert loaded._network.autocast_dtype == learner._network.autocast_dtype == torch.bfloat16


def test_arrays_in_memory_maps_are_saved_as_arrays(table, path):
    clf = FewShotClassifier().fit(table.X, table.y)
    np.save(path.with_suffix(".npy"), clf.class_count_)
    clf.class_count_ = np.load(path.with_suffix(".npy"), mmap_mode="r")
    save_model(clf, path)
    assert type(load_model(path).class_count_) is np.ndarray


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
    KNNImputer(n_neighbors=2),
    PolynomialFeatures(2),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=10),
    SelectKBest(k=3),
    FeatureUnion([("scaled", StandardScaler()), ("best", SelectKBest(k=2))]),
    FunctionTransformer(),
    FunctionTransformer(np.arcsinh),
    FrozenEncoder(),
    "passthrough",
]


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_pipelines(small, table, transformer, through_file):
    X = table.X.copy()
    if isinstance(transformer, SimpleImputer | KNNImputer):
        X[::7, 1] = np.nan
    elif isinstance(transformer, StandardScaler):
        transformer = copy.deepcopy(transformer).set_output(transform="default")
    pipe = make_fewshot_pipeline(transformer, FewShotClassifier()).fit(X, table.y)
    # Like a pickle, a file has no strides: products may differ from before in the last bit.
    check_equal(through_file(pipe), pickle.loads(pickle.dumps(pipe)), X)
    adapted = adapt(pipe, table.X_new, table.y_new)
    loaded = through_file(adapted)
    check_equal(loaded, pickle.loads(pickle.dumps(adapted)), X)
    if transformer != "passthrough":
        assert isinstance(loaded[0], FrozenEstimator)


def test_pipelines_of_learners(make_learner, table, through_file):
    pipe = make_fewshot_pipeline(StandardScaler(), PCA(4), make_learner(max_epochs=1))
    pipe = pickle.loads(pickle.dumps(pipe.fit(table.X, table.y)))
    loaded = through_file(pipe)
    check_equal(loaded, pipe, table.X)
    support = {"X_support": table.X_new, "y_support": table.y_new}
    assert_array_equal(loaded.predict(table.X, **support), pipe.predict(table.X, **support))


def frame_of(X):
    """Add a column of words to a table."""
    frame = pd.DataFrame(X).add_prefix("x")
    return frame.assign(kind=np.array(["small", "large"])[(X[:, 0] > 0).astype(int)])


def test_tables_with_words(make_learner, table, through_file):
    """What most tables need: columns of numbers beside columns of categories."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["x0", "x1", "x2"]),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["kind"]),
            ("codes", OrdinalEncoder(), ["kind"]),
            ("as it is", "passthrough", ["x3"]),
        ],
        remainder=MinMaxScaler(),
    )
    X, X_new = frame_of(table.X), frame_of(table.X_new)
    pipe = make_fewshot_pipeline(columns, make_learner(max_epochs=1)).fit(X, table.y)
    check_equal(through_file(pipe), pipe, X)
    adapted = adapt(pipe, X_new, table.y_new)
    check_equal(through_file(adapted), adapted, X)


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


# ---------------------------------------------------------------------- types that are trusted


def test_every_public_type_is_trusted(make_any):
    """Of this package only: what the walks above save needs no ``trusted``."""
    estimators = [
        part
        for part in (getattr(sklearn_fewshot, name) for name in sklearn_fewshot.__all__)
        if isinstance(part, type) and issubclass(part, BaseEstimator)
    ]
    modules = [getattr(module, name) for module in (heads, backbones) for name in module.__all__]
    parts = estimators + [part for part in modules if isinstance(part, type)]
    trusted = own_types()
    assert {f"{part.__module__}.{part.__name__}" for part in parts} <= trusted.keys()
    assert {name.partition(".")[0] for name in trusted} <= {
        "sklearn_fewshot",
        "sklearn",
        "torch",
        "numpy",
    }


def test_what_is_the_users_own_is_loaded_if_trusted(make_learner, table, path):
    learner = make_learner(backbone=TwoLayers, metric=manhattan).fit(table.X, table.y)
    save_model(learner, path)
    with pytest.raises(ModelFormatError, match=r"trusted=\['.*\.TwoLayers', '.*\.manhattan'\]"):
        load_model(path)
    with pytest.raises(ModelFormatError, match=r"trusted=\['.*\.manhattan'\]"):
        load_model(path, trusted=[HERE + "TwoLayers"])
    loaded = load_model(path, trusted=[HERE + "TwoLayers", HERE + "manhattan"])
    check_equal(loaded, learner, table.X)


def test_learners_and_transformers_of_the_users_own(table, path):
    pipe = make_pipeline(Rounder(), CityblockNet(n_way=3, n_query=2, max_epochs=1, random_state=0))
    pipe.fit(table.X, table.y)
    save_model(pipe, path)
    names = [HERE + "CityblockNet", HERE + "Rounder"]
    with pytest.raises(ModelFormatError) as caught:
        load_model(path)
    assert f"trusted={names}" in str(caught.value)
    check_equal(load_model(path, trusted=names), pipe, table.X)
    adapted = adapt(pipe, table.X_new, table.y_new)
    save_model(adapted, path)
    check_equal(load_model(path, trusted=names), adapted, table.X)


def test_functions_in_pipelines(table, path):
    pipe = make_pipeline(FunctionTransformer(double), FrozenEncoder(double), FewShotClassifier())
    save_model(pipe.fit(table.X, table.y), path)
    with pytest.raises(ModelFormatError, match="trusted"):
        load_model(path)
    check_equal(load_model(path, trusted={HERE + "double"}), pipe, table.X)


def test_trust_is_a_collection_of_names(small, path):
    save_model(small, path)
    for trusted in ("a.b", True, [3]):
        with pytest.raises(TypeError, match="trusted"):
            load_model(path, trusted=trusted)


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


# ---------------------------------------------------------------------- what cannot be saved


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": nn.Linear(6, 3)}, "'backbone' parameter .* instance of Linear"),
        ({"backbone": lambda: nn.Linear(6, 3)}, "'backbone' parameter .* Lambdas"),
        ({"metric": lambda a, b: manhattan(a, b)}, "'metric' parameter"),
        ({"random_state": np.random.RandomState(0)}, "'random_state' parameter"),
        ({"net_params": {"callbacks": nn.Linear(1, 1)}}, "'net_params' parameter"),
        ({"net_params": {"a generator": (n for n in [1])}}, "cannot store a part of"),
        ({"predict_batch_size": 2**40}, "lower it before fit"),
    ],
)
def test_parameters_that_cannot_be_saved_are_named(small, path, params, message):
    learner = copy.deepcopy(small).set_params(**params)
    with pytest.raises((TypeError, ValueError), match=message):
        save_model(learner, path)
    assert not list(path.parent.iterdir())


def test_estimators_that_cannot_be_saved_are_named(table, path):
    for estimator, message in (
        (make_pipeline(FewShotClassifier(), memory="cache").fit(table.X, table.y), "memory=None"),
        (FrozenEncoder(nn.Linear(6, 2)).fit(table.X), "'module' parameter of FrozenEncoder"),
    ):
        with pytest.raises(TypeError, match=message):
            save_model(estimator, path)
    with pytest.raises(NotFittedError):
        save_model(ProtoNetClassifier(), path)
    assert not list(path.parent.iterdir())


def test_values_that_refer_to_themselves_cannot_be_saved(small, path):
    learner, loop = copy.deepcopy(small), []
    loop.append(loop)
    with pytest.raises(TypeError, match="cannot store a part of"):
        save_model(learner.set_params(net_params={"a loop": loop}), path)


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

    monkeypatch.setattr(_archive.os, broken, fail)
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
