"""What an estimator consists of: checks of its values before saving and after loading."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import OneHotEncoder
from torch import nn

from ..adapted import FewShotClassifier, FewShotRegressor
from ..learners._base import BaseMetaLearner
from ..network import RegressionNetwork
from ..nn._stored import StoredModule
from ..utils._sklearn import MetadataRequest, MethodMetadataRequest
from ._archive import ModelFormatError
from ._trusted import OBJECTS, TUPLES

MOST_ROWS = 2**16  # that enter a network at once: it fills batches up to their size
MOST_NUMBERS = 2**28  # that do; 1 GiB
FEW_ROWS = 256  # that may, whatever their size
MOST_SIZE = 2**22  # of any size in the attributes of a network, for small files
#: Numbers with which a file could keep a machine busy for ever.
LIMITS = {"n_steps": 10_000, "adapt_steps": 10_000, "n_jobs": 1024}
BATCHES = ("batch_size", "predict_batch_size")
SHAPES = ("input_shape", "input_shape_")


class Place(NamedTuple):
    """A value, and where it was found.

    Parameters
    ----------
    owner : object
        The object with the attribute.
    name : str
        The attribute.
    key : str
        The innermost name: that of the attribute, or of an entry of a dict there.
    value : object
        The value.
    """

    owner: Any
    name: str
    key: str
    value: Any

    @property
    def text(self) -> str:
        """Name of the place in an error message."""
        owner, kind = self.owner, type(self.owner).__name__
        if isinstance(owner, BaseEstimator) and self.name in owner.get_params(deep=False):
            return f"The '{self.name}' parameter of {kind}"
        return f"The attribute {self.name} of {kind}"


def walk(estimator: Any) -> Iterator[Place]:
    """Yield all values that an estimator's state consists of, objects at the first place only."""
    yield from _walk(Place(None, "", "", estimator), {})


def _walk(place: Place, seen: dict[int, Any]) -> Iterator[Place]:
    yield place
    value = place.value
    if id(value) in seen or value is None or isinstance(value, bool | int | float | str):
        return
    seen[id(value)] = value  # kept alive, so that its id is not used again
    for part in _parts(place):
        yield from _walk(part, seen)


def _parts(place: Place) -> Iterator[Place]:
    owner, name, key, value = place
    if isinstance(value, Mapping):
        yield from (Place(owner, name, str(key), part) for key, part in value.items())
    elif isinstance(value, TUPLES):
        yield from (Place(value, key, key, part) for key, part in place.value._asdict().items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (Place(owner, name, key, part) for part in value)
    elif isinstance(value, (BaseEstimator, *OBJECTS)):
        state = place.value.__getstate__()
        yield from (Place(value, key, key, part) for key, part in state.items())


# ---------------------------------------------------------------------- before saving


def check_can_be_saved(estimator: Any) -> None:
    """Raise a TypeError that names what a file without code has no place for, and the remedy."""
    for place in walk(estimator):
        remedy = _why_not(place)
        if remedy:
            raise TypeError(f"{place.text} {remedy}")


def _why_not(place: Place) -> str | None:
    """Return why a value cannot be saved, None if it can."""
    value = place.value
    if isinstance(value, nn.Module | StoredModule | torch.Tensor):
        return (
            f"is an instance of {type(value).__name__}, which a file without code cannot build "
            "again. Pass a class, or a function of a module of yours that returns the network; of "
            "a FrozenEncoder, whose network does not change, save the pipeline after it, or pass a "
            "name, such as 'timm:resnet18'."
        )
    if isinstance(value, FunctionType) and "<" in value.__qualname__:
        return (
            f"is {value.__qualname__}, which cannot be found by its name. Lambdas and functions "
            "within functions cannot be saved: define it in a module."
        )
    if place.key == "random_state" and not isinstance(value, int | np.integer | None):
        return (
            "is a random generator, which is not stored. It only matters in fit: save the "
            "estimator after set_params(random_state=0), or another seed."
        )
    if _is_cache(place):
        return (
            "is a cache of pickles, which a file cannot vouch for. It only matters in fit: save "
            "the estimator after set_params(memory=None)."
        )
    return None


def _is_cache(place: Place) -> bool:
    """Whether a value is the cache of a pipeline; arrays may have any name in a network's state."""
    return place.key == "memory" and not isinstance(place.value, np.ndarray | None)


@contextmanager
def without_owners(estimator: Any) -> Iterator[None]:
    """Take the estimators out of their requests for metadata, and put them back afterwards.

    They are there for error messages only, and make a circle, which skops cannot save.
    """
    owners = [(request, request.owner) for request in _requests_of(estimator)]
    for request, _ in owners:
        request.owner = None
    try:
        yield
    finally:
        for request, owner in owners:
            request.owner = owner


def _requests_of(estimator: Any) -> list[Any]:
    found = [place.value for place in walk(estimator)]
    return [part for part in found if isinstance(part, MetadataRequest | MethodMetadataRequest)]


# ---------------------------------------------------------------------- after loading


def give_owners(estimator: Any) -> None:
    """Put loaded estimators into their requests for metadata."""
    by_name = isinstance(BaseEstimator().get_metadata_routing().owner, str)  # before 1.8
    for place in list(walk(estimator)):
        if isinstance(place.value, MetadataRequest):
            for request in _requests_of(place.value):
                request.owner = type(place.owner).__name__ if by_name else place.owner


def check_sizes(estimator: Any, file_size: int) -> None:
    """Raise if numbers of a loaded estimator would fill the memory, or keep a machine busy.

    Parameters
    ----------
    estimator : estimator
        As loaded. Nothing was computed with it.
    file_size : int
        Bytes of its file, all arrays included.
    """
    places = list(walk(estimator))
    most = max(file_size, MOST_SIZE)
    found = [place.value for place in places if place.key in SHAPES]
    shapes = [shape for shape in found if isinstance(shape, list | tuple)]
    rows = [place.value for place in places if place.key == "n_features_in_"]
    largest = max(rows + [math.prod(shape) for shape in shapes], default=1)
    if largest > most:
        raise ModelFormatError(f"no file of this size has samples of {largest} values")
    for place in places:
        _check_size(place, largest, most)


def _check_size(place: Place, largest: int, most: int) -> None:
    """Raise unless a value is one that may be in a file of ``most`` bytes.

    ``largest`` is the number of values of a sample.
    """
    key, number = place.key, _largest_number(place.value)
    if _is_cache(place):
        raise ModelFormatError(f"{place.text} is a cache, which no model file has")
    if key in LIMITS and number > LIMITS[key]:
        raise ModelFormatError(f"{place.text} has {key}={number}, at most {LIMITS[key]}")
    if key in BATCHES and number > min(MOST_ROWS, max(FEW_ROWS, MOST_NUMBERS // largest)):
        raise ModelFormatError(
            f"{place.text} is {number}: batches of so many samples of {largest} values are more "
            f"than a file may request ({MOST_ROWS} samples, {MOST_NUMBERS} numbers); lower it "
            "before fit"
        )
    is_size = isinstance(place.owner, (*OBJECTS, *TUPLES)) and not isinstance(number, float)
    if is_size and number > most:
        raise ModelFormatError(f"{place.text} is {number}, too much for a file of this size")


def _largest_number(value: Any) -> int | float:
    """Return the largest number of a value by magnitude; of arrays only integers count."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size:
        return max(abs(int(value.min())), abs(int(value.max())))
    if isinstance(value, int | np.integer):
        return abs(int(value))
    return abs(float(value)) if isinstance(value, float | np.floating) else 0


def check_indices(estimator: Any) -> None:
    """Raise if scikit-learn would write a sparse matrix of loaded encoders out of its bounds.

    It takes their columns as they are; with forged ones the process crashes, or worse.
    """
    for place in walk(estimator):
        if place.key == "vocabulary_":
            columns = sorted(place.value.values())
            if columns != list(range(len(columns))):
                raise ModelFormatError(f"{place.text} does not number its entries")
        if isinstance(place.value, OneHotEncoder) and hasattr(place.value, "categories_"):
            _check_columns(place.value)


def _check_columns(encoder: OneHotEncoder) -> None:
    """Encode every category of every feature, and check the columns that it got."""
    for place in walk(encoder):  # a sparse matrix would take larger numbers modulo 2**32
        if place.key != "categories_" and _largest_number(place.value) > MOST_SIZE:
            raise ModelFormatError(f"{place.text} is too large")
    for categories in encoder.categories_:  # numbers are looked up by bisection
        is_number = categories.dtype.kind not in "OUS"
        if is_number and (categories != np.unique(categories))[~np.isnan(categories)].any():
            raise ModelFormatError("categories of a OneHotEncoder are not sorted")
    lengths = [len(categories) for categories in encoder.categories_]
    X = np.empty((max(lengths), len(lengths)), dtype=object)
    for feature, categories in enumerate(encoder.categories_):
        X[:, feature] = np.resize(categories, max(lengths))
    sparse = copy.copy(encoder).set_output(transform="default").set_params(sparse_output=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing column names
        encoded = sparse.transform(X)
    encoded.check_format(full_check=True)
    if encoded.shape[1] > sum(lengths):
        raise ModelFormatError(f"a OneHotEncoder makes {encoded.shape[1]} columns")


def check_predicts(estimator: Any) -> None:
    """Raise whatever the learners and classifiers of a loaded estimator raise for one sample."""
    parts = [place.value for place in walk(estimator)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing column names, and of absurd numbers
        for part in parts:
            is_ours = isinstance(part, BaseMetaLearner | FewShotClassifier | FewShotRegressor)
            if is_ours and part.__sklearn_is_fitted__():
                shape, n_features = part.input_shape_, part.n_features_in_
                sample = shape if shape[0] == n_features else (n_features,)  # or fitted on rows
                query, n_outputs = np.zeros((1, *sample)), part._network.module.n_outputs
                if isinstance(part._network, RegressionNetwork):
                    part.predict(query, return_std=True)
                    continue
                if n_outputs is not None and len(part.classes_) > n_outputs:
                    part = part.adapt(query, part.classes_[:1])  # base classes are too many
                part.predict_proba(query)
                part.predict(query)  # takes the labels, too
