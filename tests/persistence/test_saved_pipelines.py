"""Pipelines in model files, and the types that loading trusts."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
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
    FewShotClassifier,
    FrozenEncoder,
    ModelFormatError,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from sklearn_fewshot.base import BaseFewShotLearner, with_common_parameters
from sklearn_fewshot.nn import backbones, heads
from sklearn_fewshot.persistence._trusted import own_types
from sklearn_fewshot.training import _start
from tests.persistence.equality import check_equal


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
@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize("backbone", ["auto", "residual_mlp"])
def test_a_start_as_a_projection_of_other_width(
    make_learner, table, through_file, monkeypatch, backbone, unit_length, frozen
):
    monkeypatch.setattr(_start, "_choose", lambda *args: _start.Start(0.5, unit_length))
    learner = make_learner(backbone=backbone, freeze_backbone=frozen).fit(table.X, table.y)
    assert learner.transform(table.X).shape[1] < table.X.shape[1]
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X)
    check_equal(loaded.fit(table.X, table.y), learner, table.X)
