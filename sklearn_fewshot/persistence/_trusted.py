"""The types that model files may hold, in addition to those that skops trusts.

Extend it here: a learner that ``sklearn_fewshot.__all__`` names, and a module, head, backbone or
metric that ``sklearn_fewshot.nn`` exports, are trusted already; other values that the state of an
estimator consists of belong into one of the tuples.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.feature_selection import chi2, f_classif, mutual_info_classif
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import all_estimators
from torch import nn

from .. import nn as package_nn
from ..adapted._examples import Examples
from ..adapted._regressor import Scale, TaskState
from ..adapted._support_state import SupportState
from ..adapted._unlabelled import Unlabelled
from ..calibration import (
    Calibration,
    InlierScores,
    Intervals,
    SetThresholds,
    ShotBias,
    ShotBiasByWay,
    Temperature,
)
from ..network import FittedNetwork, Observations, Recipe, RegressionNetwork, Representation
from ..nn import PooledMember, backbones, heads, optimization, regression
from ..utils._attributes import ClassAttributes
from ..utils._input_range import InputRange
from ..utils._sklearn import MetadataRequest, MethodMetadataRequest

#: Classes whose instances are made of attributes.
OBJECTS: tuple[type[Any], ...] = (
    FittedNetwork,
    RegressionNetwork,
    ClassAttributes,
    MetadataRequest,
    MethodMetadataRequest,
)
#: Named tuples.
TUPLES: tuple[type[Any], ...] = (
    Calibration,
    Examples,
    InlierScores,
    InputRange,
    Intervals,
    Observations,
    PooledMember,
    Recipe,
    Representation,
    Scale,
    SetThresholds,
    ShotBias,
    ShotBiasByWay,
    Temperature,
    SupportState,
    TaskState,
    Unlabelled,
)
#: Types that are called with what the file says: only such that run no code on it.
CALLED: tuple[type, ...] = (torch.device,)
#: Functions that may be referred to by name, as may the metrics: parameters of scikit-learn's.
FUNCTIONS: tuple[Any, ...] = (chi2, f_classif, mutual_info_classif)
#: What is identified by its name only, with its loader.
NAMED = {
    "numpy.dtype": "DTypeNode",
    "sklearn.compose._column_transformer._RemainderColsList": "ObjectNode",  # 1.6 has it
}
#: Modules whose public classes and functions may be referred to by name.
MODULES = (package_nn, heads, backbones, optimization, regression)

# What skops builds values with, its "loaders". Left out are those that can do harm with types that
# skops trusts: generators whose state hangs or crashes them, sparse matrices (compressed, and with
# unchecked indices), trees; and what has no place in a model: methods, operators. Values
# of these kinds are loaded if the user trusts their type by name.
LOADERS = frozenset(
    f"{kind}Node"
    for kind in (
        "Bytes",
        "ConstructorFromReduce",
        "DType",
        "DefaultDict",
        "Dict",
        "Function",
        "Json",
        "List",
        "NdArray",
        "Object",
        "Set",
        "Slice",
        "Tuple",
        "Type",
    )
)
# np.void(n) and np.bytes_(n) make n bytes of zeros.
SCALARS = frozenset(
    f"{kind.__module__}.{kind.__name__}"
    for kind in {*np.sctypeDict.values(), np.ndarray} - {np.void, np.bytes_, np.object_}
)


def own_types() -> dict[str, str]:
    """Return what this package trusts: names, each with the one loader that may use it.

    A class that may be named, such as a head, could otherwise be called with huge sizes.
    """
    package = importlib.import_module(__package__.rpartition(".")[0])
    found = dict(NAMED)
    exported = [getattr(package, name) for name in package.__all__]
    estimators = [part for part in exported if _is_a(part, BaseEstimator)]
    for loader, types in (
        ("ObjectNode", (*estimators, *OBJECTS)),
        ("TupleNode", TUPLES),
        ("ConstructorFromReduceNode", CALLED),
    ):
        found |= dict.fromkeys(map(name_of, types), loader)
    for module in MODULES:
        named = [getattr(module, name) for name in module.__all__]
        found |= {name_of(part): "TypeNode" for part in named if _is_a(part, nn.Module)}
    for function in (*package_nn.METRICS.values(), *FUNCTIONS):
        found[name_of(function)] = "FunctionNode"
    return found


@cache
def transformers() -> frozenset[str]:
    """Return the names of what pipelines of scikit-learn consist of.

    Of its other estimators some use what they hold as indices without bounds.
    """
    found = [cls for _, cls in all_estimators() if hasattr(cls, "transform")]
    return frozenset(map(name_of, (*found, Pipeline, FrozenEstimator)))


def name_of(part: Any) -> str:
    """Return the name that skops gives a class or function."""
    return f"{part.__module__}.{part.__name__}"


def _is_a(part: Any, base: type) -> bool:
    return isinstance(part, type) and issubclass(part, base)
