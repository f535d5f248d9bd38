"""What fitted estimators are made of: which attributes, of which types, and how their sizes agree.

Everything that a model file may hold is listed here; nothing else is written or read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from ..adapted._classifier import FewShotClassifier, FewShotPipeline
from ..learners._encoder import FrozenEncoder
from ..learners.metric._baseline import BaselineClassifier
from ..learners.metric._matchingnet import MatchingNetClassifier
from ..learners.metric._protonet import ProtoNetClassifier
from ..learners.metric._relationnet import RelationNetClassifier
from ..learners.metric._siamesenet import SiameseNetClassifier
from ..learners.metric._zero_shot import ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier
from ..network import FittedNetwork, Representation
from ..utils._attributes import ClassAttributes
from ._model_file import ModelFormatError

Sizes = dict[str, int]  # what a letter stands for in one estimator
Check = Callable[[str, Any, Sizes], None]  # name of the attribute, its value; raises


class Field(NamedTuple):
    """A fitted attribute.

    Parameters
    ----------
    check : callable
        Raises unless the value is what it must be.
    required : bool
        Whether a fitted estimator always has it.
    """

    check: Check
    required: bool = True


# ---------------------------------------------------------------------- checks


def refuse(name: str, wanted: str, value: Any) -> None:
    """Raise, saying what an attribute should have been."""
    got = f"shape {value.shape}, {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
    raise ModelFormatError(f"{name} must be {wanted}. Got {got[:100]}")


def agree(name: str, letter: str, size: int, sizes: Sizes) -> None:
    """Raise unless a size is that of everything else with this letter."""
    if sizes.setdefault(letter, size) != size:
        raise ModelFormatError(f"{name} has {size} entries where {sizes[letter]} belong")


def numbers(letters: str, kinds: str = "f", *, or_none: bool = False) -> Check:
    """Check an array of numbers: one letter for each of its axes."""

    def check(name: str, value: Any, sizes: Sizes) -> None:
        if or_none and value is None:
            return
        is_right = isinstance(value, np.ndarray) and value.dtype.kind in kinds
        if not is_right or value.ndim != len(letters):
            refuse(name, f"an array of numbers in {len(letters)} dimensions", value)
        for letter, size in zip(letters, value.shape, strict=True):
            agree(name, letter, size, sizes)

    return check


def integer(letter: str | None = None) -> Check:
    """Check an integer that is not negative; it may be the size that a letter stands for."""

    def check(name: str, value: Any, sizes: Sizes) -> None:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            refuse(name, "an integer of at least 0", value)
        if letter is not None:
            agree(name, letter, int(value), sizes)

    return check


def real(name: str, value: Any, sizes: Sizes) -> None:
    """Check a number; NaN and infinity may be what was measured."""
    if not isinstance(value, Real):
        refuse(name, "a number", value)


def positive(name: str, value: Any, sizes: Sizes) -> None:
    """Check a finite number above zero."""
    if not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        refuse(name, "a finite number above 0", value)


def instance(*kinds: type) -> Check:
    """Check for one of some types."""

    def check(name: str, value: Any, sizes: Sizes) -> None:
        if not isinstance(value, kinds):
            refuse(name, " or ".join(kind.__name__ for kind in kinds), value)

    return check


def strings(letter: str) -> Check:
    """Check an array of Python strings."""

    def check(name: str, value: Any, sizes: Sizes) -> None:
        is_right = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "O"
        if not is_right or not all(isinstance(part, str) for part in value):
            refuse(name, "an array of strings", value)
        agree(name, letter, len(value), sizes)

    return check


def labels(name: str, value: Any, sizes: Sizes) -> None:
    """Check sorted labels, each once."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not len(value):
        refuse(name, "an array of labels", value)
    sorted_once = np.unique(value)  # TypeError where they cannot be sorted
    if len(sorted_once) != len(value) or not all(sorted_once == value):
        refuse(name, "sorted labels, each once", value)
    agree(name, "c", len(value), sizes)


def shape(name: str, value: Any, sizes: Sizes) -> None:
    """Check the shape of a sample."""
    is_right = isinstance(value, tuple) and 1 <= len(value) <= 4
    if not is_right or not all(type(side) is int and side >= 1 for side in value):
        refuse(name, "a tuple of one to four integers of at least 1", value)


def way(name: str, value: Any, sizes: Sizes) -> None:
    """Check a number of classes, or the lowest and the highest."""
    for number in value if isinstance(value, tuple) else (value,):
        integer()(name, number, sizes)


def history(name: str, value: Any, sizes: Sizes) -> None:
    """Check a list with one dict an epoch."""
    if not isinstance(value, list) or not all(isinstance(epoch, dict) for epoch in value):
        refuse(name, "a list of dicts", value)


def vocabulary(name: str, value: Any, sizes: Sizes) -> None:
    """Check a mapping from terms to columns."""
    if not isinstance(value, dict) or not all(type(term) is str for term in value):
        refuse(name, "a dict of strings", value)
    columns = list(value.values())
    if not all(isinstance(n, Integral) for n in columns) or sorted(columns) != list(
        range(len(columns))
    ):
        refuse(name, "a dict whose values number its keys", value)
    agree(name, "t", len(value), sizes)


def output_config(name: str, value: Any, sizes: Sizes) -> None:
    """Check what ``set_output`` has set."""
    if not isinstance(value, dict) or not set(value.items()) <= {
        ("transform", kind) for kind in ("default", "pandas", "polars")
    }:
        refuse(name, "a container that set_output knows", value)


# ---------------------------------------------------------------------- the estimators

OF_ALL = {
    "n_features_in_": Field(integer("d"), required=False),
    "feature_names_in_": Field(strings("d"), required=False),
    "_sklearn_output_config": Field(output_config, required=False),
}
OF_LEARNERS = OF_ALL | {
    "n_features_in_": Field(integer("d")),
    "classes_": Field(labels),
    "input_shape_": Field(shape),
    "input_scale_": Field(positive),
    "n_way_": Field(way),
    "best_epoch_": Field(integer()),
    "history_": Field(history),
    "_base_mean": Field(numbers("v")),
    "_base_std": Field(numbers("v")),
    "_network": Field(instance(FittedNetwork)),
    "representation_": Field(instance(Representation)),
}
OF_SCALED = OF_LEARNERS | {"scale_": Field(real)}
OF_ZERO_SHOT = OF_LEARNERS | {
    "seen_bias_": Field(real),
    "class_attributes_": Field(instance(ClassAttributes, type(None))),
    "attribute_mean_": Field(numbers("a")),
    "_attribute_unit": Field(positive),
}
OF_PROJECTIONS = {
    name: Field(numbers("k"))
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_")
}
OF_WORDS = {
    "vocabulary_": Field(vocabulary),
    "fixed_vocabulary_": Field(instance(bool)),
}
N_SAMPLES_SEEN = {"n_samples_seen_": Field(instance(Real, np.ndarray))}

#: The classes that can be stored, and the attributes that their ``fit`` sets.
SCHEMA: dict[type, dict[str, Field]] = {
    ProtoNetClassifier: OF_SCALED,
    MatchingNetClassifier: OF_SCALED,
    RelationNetClassifier: OF_LEARNERS,
    SiameseNetClassifier: OF_LEARNERS | {"threshold_": Field(real)},
    BaselineClassifier: OF_LEARNERS,
    ZeroShotProtoNetClassifier: OF_ZERO_SHOT | {"scale_": Field(real)},
    ZeroShotRelationNetClassifier: OF_ZERO_SHOT,
    FewShotClassifier: OF_ALL
    | {
        "n_features_in_": Field(integer("d")),
        "classes_": Field(labels),
        "class_count_": Field(numbers("c", "i")),
        "input_shape_": Field(shape),
        "_network": Field(instance(FittedNetwork)),
        "_representation": Field(instance(Representation)),
        "_shown": Field(instance(Representation)),
        "_unlabelled": Field(instance(np.ndarray)),
    },
    FewShotPipeline: {},
    FrozenEncoder: OF_ALL
    | {
        "input_shape_": Field(shape),
        "input_scale_": Field(positive),
        "embedding_dim_": Field(integer()),
    },
    Pipeline: {},
    FrozenEstimator: {},
    StandardScaler: OF_ALL
    | N_SAMPLES_SEEN
    | {name: Field(numbers("d", or_none=True)) for name in ("mean_", "var_", "scale_")},
    MinMaxScaler: OF_ALL
    | N_SAMPLES_SEEN
    | {
        name: Field(numbers("d"))
        for name in ("min_", "scale_", "data_min_", "data_max_", "data_range_")
    },
    MaxAbsScaler: OF_ALL
    | N_SAMPLES_SEEN
    | {name: Field(numbers("d")) for name in ("max_abs_", "scale_")},
    RobustScaler: OF_ALL
    | {name: Field(numbers("d", or_none=True)) for name in ("center_", "scale_")},
    Normalizer: OF_ALL,
    FunctionTransformer: OF_ALL,
    VarianceThreshold: OF_ALL | {"variances_": Field(numbers("d"))},
    SimpleImputer: OF_ALL
    | {
        "statistics_": Field(numbers("d", "fiub")),
        "indicator_": Field(instance(type(None))),
        "_fit_dtype": Field(instance(np.dtype), required=False),
        "_fill_dtype": Field(instance(np.dtype), required=False),
    },
    PCA: OF_ALL
    | OF_PROJECTIONS
    | {
        "components_": Field(numbers("kd")),
        "mean_": Field(numbers("d")),
        "n_components_": Field(integer("k")),
        "n_samples_": Field(integer()),
        "noise_variance_": Field(real),
        "_fit_svd_solver": Field(instance(str)),
    },
    TruncatedSVD: OF_ALL | OF_PROJECTIONS | {"components_": Field(numbers("kd"))},
    CountVectorizer: OF_WORDS,
    TfidfTransformer: OF_ALL | {"idf_": Field(numbers("d"), required=False)},
    TfidfVectorizer: OF_WORDS | {"_tfidf": Field(instance(TfidfTransformer))},
}
NAMES = {cls.__name__: cls for cls in SCHEMA}


def check_fitted(owner: str, fields: dict[str, Field], fitted: dict[str, Any]) -> Sizes:
    """Check the fitted attributes of an estimator: all there, none else, sizes that agree.

    Parameters
    ----------
    owner : str
        Its class, for errors.
    fields : dict of Field
        What it may have.
    fitted : dict
        Names and values.

    Returns
    -------
    sizes : dict
        What the letters of the schema turned out to stand for.
    """
    missing = {name for name, field in fields.items() if field.required} - fitted.keys()
    others = fitted.keys() - fields.keys()
    if missing or others:
        raise ModelFormatError(f"a fitted {owner} lacks {sorted(missing)} and has {sorted(others)}")
    sizes: Sizes = {}
    for name, value in fitted.items():
        fields[name].check(f"{name} of {owner}", value, sizes)
    return sizes
