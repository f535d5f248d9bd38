"""Trained estimators as files without code: ``save_model`` and ``load_model``."""

from __future__ import annotations

import inspect
import math
import os
import platform
import warnings
from collections.abc import Collection
from contextlib import nullcontext
from numbers import Integral, Real
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from ..adapted._classifier import FewShotClassifier
from ..calibration._model import LEVELS, Calibration, KnownScores, ShotBias
from ..learners._base import BaseFewShotLearner
from ..learners._encoder import FrozenEncoder
from ..learners.metric._baseline import BaselineClassifier
from ..learners.metric._matchingnet import MatchingNetClassifier
from ..learners.metric._protonet import ProtoNetClassifier
from ..learners.metric._relationnet import RelationNetClassifier
from ..learners.metric._siamesenet import SiameseNetClassifier
from ..learners.metric._zero_shot import (
    BaseZeroShotLearner,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
)
from ..network import FittedNetwork, Recipe, Representation, on_wanted_device
from ..nn import METRICS, EpisodicModule, heads
from ..nn.backbones import BACKBONES
from ..nn.heads import Head
from ..training._sklearn_callbacks import DURING_FIT
from ..utils._attributes import ClassAttributes, check_described
from ._model_file import ModelFormatError, read_model, write_model
from ._plain_values import ValueReader, ValueWriter
from ._schema import NAMES, SCHEMA, check_fitted, positive, shape

HEADS: dict[type, set[type[Head]]] = {
    ProtoNetClassifier: {heads.PrototypicalHead},
    MatchingNetClassifier: {heads.MatchingHead, heads.FullContextHead},
    RelationNetClassifier: {heads.RelationHead},
    SiameseNetClassifier: {heads.SiameseHead},
    BaselineClassifier: {heads.CentroidHead, heads.LogisticHead},
    ZeroShotProtoNetClassifier: {heads.AttributePrototypeHead},
    ZeroShotRelationNetClassifier: {heads.AttributeRelationHead},
}
# Of estimators' attributes: what only the process that trained needs, or is worked out again.
NOT_STORED = {"net_", "_context", "_skl_callbacks", "_stop_words_id", *DURING_FIT}
MOST_ROWS = 2**16  # that enter a network at once: it fills batches up to their size
MOST_NUMBERS = 2**28  # that do; 1 GiB
FEW_ROWS = 256  # that may whatever their size
MOST_STEPS = 10_000  # of a recurrent head: more are no model but a way to keep a machine busy


def save_model(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted estimator to a file that holds no code.

    What a pickle does, without its risk: reading such a file executes nothing. It is an ``.npz``
    archive, which :func:`numpy.load` opens too.

    Parameters
    ----------
    estimator : fitted estimator
        A learner, a :class:`FewShotClassifier`, or a :class:`~sklearn.pipeline.Pipeline` or
        :class:`FewShotPipeline` of these and transformers: :class:`FrozenEncoder` without a module,
        and of scikit-learn ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler``,
        ``RobustScaler``, ``Normalizer``, ``PCA``, ``TruncatedSVD``, ``SimpleImputer``,
        ``VarianceThreshold``, ``FunctionTransformer``, ``CountVectorizer``, ``TfidfTransformer``
        and ``TfidfVectorizer``.
    path : str or path-like
        The file; it gets exactly this name. One that exists is replaced at once when the new one
        is complete: an interrupted save leaves the old file.

    Raises
    ------
    TypeError
        If a parameter or attribute cannot be stored: an estimator of another kind, an instance of
        :class:`torch.nn.Module`, callbacks, a random generator, a lambda. The error names it.
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_model : Reads the file.

    Notes
    -----
    Stored are parameters, fitted attributes and weights, but not ``net_``, the net that trained.
    Classes and functions, such as a ``backbone`` or ``metric`` of your own, are stored by their
    importable names.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_fewshot import FewShotClassifier, load_model, save_model
    >>> classifier = FewShotClassifier().fit([[0.0, 0.0], [4.0, 4.0]], ["near", "far"])
    >>> path = os.path.join(tempfile.mkdtemp(), "classifier.npz")
    >>> save_model(classifier, path)
    >>> load_model(path).predict([[1.0, 0.0]])
    array(['near'], dtype='<U4')
    """
    check_is_fitted(estimator)
    writer = _EstimatorWriter()
    content = {"versions": _versions(), "estimator": writer.estimator(estimator)}
    write_model(path, content, writer.arrays)


def load_model(path: str | os.PathLike[str], *, trusted: Collection[str] = ()) -> Any:
    """Load what :func:`save_model` has saved.

    Nothing in the file is executed, and everything is checked before it is used.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : collection of str, default=()
        Names of classes and functions, such as "package.module:Name", that may be imported and
        called. Only files of estimators with a backbone, metric or the like of your own need any;
        the error that comes without them says which.

    Returns
    -------
    estimator : estimator
        It predicts as the one that was saved, on the device that its ``device`` parameter and the
        machine offer, and can be adapted and fitted further.

    Raises
    ------
    ModelFormatError
        If the file is no model file, was damaged, is of a newer format, holds what does not go
        together, or refers to names that are not trusted.
    OSError
        If there is no such file, or it cannot be opened.

    See Also
    --------
    save_model : Writes the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_fewshot import FewShotClassifier, load_model, save_model
    >>> classifier = FewShotClassifier().fit([[0.0, 0.0], [4.0, 4.0]], ["near", "far"])
    >>> path = os.path.join(tempfile.mkdtemp(), "classifier.npz")
    >>> save_model(classifier, path)
    >>> load_model(path).partial_fit([[9.0, 0.0]], ["right"]).predict([[8.0, 1.0]])
    array(['right'], dtype='<U5')
    """
    trusted = _checked_trust(trusted)
    with open(path, "rb") as file:
        try:
            content, arrays = read_model(file)
            reader = _EstimatorReader(arrays, trusted)
            estimator = reader.estimator(content.get("estimator"))
            reader.check_all_used()
            check_is_fitted(estimator)
            return estimator
        except ModelFormatError as error:
            raise ModelFormatError(f"{os.fspath(path)} cannot be loaded: {error}.") from error
        except MemoryError:
            raise
        except Exception as error:  # whatever numpy, torch or zipfile make of foreign bytes
            raise ModelFormatError(
                f"{os.fspath(path)} cannot be loaded: it is damaged, or something else than "
                f"save_model has written it ({type(error).__name__}: {error})."
            ) from error


def _checked_trust(trusted: Any) -> frozenset[str]:
    names = [] if isinstance(trusted, str | bool) else list(trusted)
    if isinstance(trusted, str | bool) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            "The 'trusted' parameter of load_model must be a collection of names, such as "
            f"['package.module:Name']. Got {trusted!r}."
        )
    return frozenset(names)


def _versions() -> dict[str, str]:
    from .. import __version__

    return {
        "sklearn_fewshot": __version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


# ---------------------------------------------------------------------- writing


class _EstimatorWriter(ValueWriter):
    """Turns estimators into JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.networks: list[FittedNetwork] = []

    def estimator(self, estimator: Any) -> dict[str, Any]:
        """Return an estimator as JSON: class, parameters, fitted attributes."""
        cls = type(estimator)
        if cls not in SCHEMA:
            raise TypeError(
                f"save_model does not store a {cls.__name__}. It stores {', '.join(NAMES)}. Save "
                "the part of the pipeline that consists of these, or use joblib.dump, whose files "
                "run code when loaded: load only those that you trust."
            )
        params, fitted = _params_of(estimator), _fitted_of(estimator)
        if isinstance(estimator, FrozenEncoder):
            _check_encoder(estimator, TypeError)
        stored = {
            "class": cls.__name__,
            "params": {
                name: self.value(value, f"The '{name}' parameter of {cls.__name__}")
                for name, value in params.items()
            },
            "fitted": {
                name: self.value(value, f"The attribute {name} of {cls.__name__}")
                for name, value in fitted.items()
            },
        }
        if getattr(estimator, "_metadata_request", None) is not None:
            stored["requests"] = _requests_of(estimator)
        return stored

    def value(self, value: Any, what: str) -> Any:
        """Return a value as JSON; also one of those that only learners have."""
        if isinstance(value, BaseEstimator):
            return {"estimator": self.estimator(value)}
        if isinstance(value, Representation):
            parts = [self.array(part, what) for part in value[:3]]
            return {"representation": [*parts, int(value.n_classes)]}
        if isinstance(value, ClassAttributes):
            parts = (value.labels, value.matrix, value.names)
            return {"class_attributes": [self.value(part, what) for part in parts]}
        if isinstance(value, FittedNetwork):
            return self._network(value, what)
        return super().value(value, what)

    def _network(self, network: FittedNetwork, what: str) -> dict[str, Any]:
        """Return a network; one that was stored before is referred to."""
        known = [i for i, other in enumerate(self.networks) if other is network]
        if known:
            return {"same_network": known[0]}
        self.networks.append(network)
        _check_batch(network.batch_size, network.recipe.input_shape, TypeError)
        recipe, weights = network.recipe, network.module.state_dict()
        options = recipe.head_options
        linear = recipe.top_options or recipe.backbone_options
        return {
            "network": {
                **{name: int(linear[name]) for name in LINEAR_START if name in linear},
                "backbone": self.value(recipe.backbone, "The backbone of the network"),
                "input_shape": list(recipe.input_shape),
                "has_top": recipe.top_options is not None,
                "head": recipe.head.__name__,
                "head_options": {
                    name: self.value(value, f"The option '{name}' of the network's head")
                    for name, value in options.items()
                },
                "weights": {
                    name: self.array(value.cpu().numpy(), f"The weight {name}")
                    for name, value in weights.items()
                },
                "input_scale": self.value(float(network.input_scale), what),
                "device": network.device,
                "batch_size": int(network.batch_size),
                "bfloat16": network.autocast_dtype is not None,
                "calibration": self._calibration(network.calibration, what),
            }
        }

    def _calibration(self, calibration: Calibration | None, what: str) -> Any:
        if calibration is None:
            return None
        bias = calibration.shot_bias
        return {
            "log_sharpness": [self.value(float(v), what) for v in calibration.log_sharpness],
            "known": [self.array(part, what) for part in calibration.known],
            "shot_bias": None if bias is None else [self.value(float(v), what) for v in bias],
        }


def _params_of(estimator: Any) -> dict[str, Any]:
    """Return the parameters to store; of scikit-learn's estimators those unlike the defaults.

    Versions of scikit-learn differ in parameters that nobody has set.
    """
    owner = type(estimator).__name__
    params = estimator.get_params(deep=False)
    if params.get("callbacks"):
        raise TypeError(
            f"The 'callbacks' parameter of {owner} holds objects that run code. They only matter "
            "in fit: save the estimator after set_params(callbacks=None)."
        )
    if isinstance(params.get("random_state"), np.random.RandomState | np.random.Generator):
        raise TypeError(
            f"The 'random_state' parameter of {owner} is a generator, which is not stored. It only "
            "matters in fit: save the estimator after set_params(random_state=0), or another seed."
        )
    if params.get("memory") is not None:
        raise TypeError(
            f"The 'memory' parameter of {owner} is a cache of pickles, which a file cannot vouch "
            "for. It only matters in fit: save the estimator after set_params(memory=None)."
        )
    if type(estimator).__module__.startswith("sklearn."):
        signature = inspect.signature(type(estimator)).parameters
        return {k: v for k, v in params.items() if not _is_default(v, signature[k].default)}
    return params


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (
        type(value) is type(default) and isinstance(value, int | float | str) and value == default
    )


def _fitted_of(estimator: Any) -> dict[str, Any]:
    """Return the fitted attributes to store; raises for any that the schema does not know."""
    owner, fields = type(estimator).__name__, SCHEMA[type(estimator)]
    if getattr(estimator, "_skl_callbacks", None):
        raise TypeError(
            f"{owner} has callbacks, which are not stored. Remove them before saving: "
            "estimator.set_callbacks()."
        )
    own = estimator.get_params(deep=False).keys() | NOT_STORED | {"_metadata_request"}
    fitted = {name: value for name, value in vars(estimator).items() if name not in own}
    others = fitted.keys() - fields.keys()
    if others:
        raise TypeError(
            f"{owner} has attributes that model files have no place for: {sorted(others)}. Delete "
            "what you have set yourself; if scikit-learn has set them, this version of "
            "sklearn_fewshot does not know its version."
        )
    return fitted


def _requests_of(estimator: Any) -> dict[str, dict[str, Any]]:
    """Return which metadata an estimator asks for, by method."""
    asked = {
        name: dict(request.requests)
        for name, request in vars(estimator._metadata_request).items()
        if hasattr(request, "requests")
    }
    return {name: requests for name, requests in asked.items() if requests}


# ---------------------------------------------------------------------- reading


class _EstimatorReader(ValueReader):
    """Turns JSON back into estimators; every part is checked before it is used."""

    def __init__(self, arrays: list[np.ndarray], trusted: Collection[str]) -> None:
        super().__init__(arrays, trusted)
        self.n_bytes = sum(array.nbytes for array in arrays)
        self.networks: list[FittedNetwork] = []
        self.readers |= {
            "estimator": self.estimator,
            "representation": self._representation,
            "class_attributes": self._class_attributes,
            "network": self._network,
            "same_network": self._same_network,
        }

    def estimator(self, stored: Any) -> Any:
        """Return an estimator."""
        _check_keys("an estimator", stored, {"class", "params", "fitted"}, {"requests"})
        if stored["class"] not in NAMES:
            raise ModelFormatError(
                f"it holds a {str(stored['class'])[:80]}, which this version does not know: "
                "install a newer one"
            )
        cls = NAMES[stored["class"]]
        params = {name: self.value(value) for name, value in stored["params"].items()}
        fitted = {name: self.value(value) for name, value in stored["fitted"].items()}
        estimator = self._with_params(cls, params)
        if fitted:
            check_fitted(cls.__name__, SCHEMA[cls], fitted)
            vars(estimator).update(fitted)
        _check_together(estimator)
        if "requests" in stored:
            _ask_again(estimator, stored["requests"])
        return estimator

    def _with_params(self, cls: type, params: dict[str, Any]) -> Any:
        unknown = params.keys() - inspect.signature(cls).parameters.keys()
        if unknown:
            raise ModelFormatError(
                f"{cls.__name__} has no parameters {sorted(unknown)} here: the file may come from "
                f"a newer version of {cls.__module__.partition('.')[0]}"
            )
        estimator = cls(**params)
        if issubclass(cls, Pipeline):
            _check_steps(estimator)
        estimator._validate_params()
        if params.get("memory") is not None or params.get("callbacks"):
            raise ModelFormatError(f"{cls.__name__} has a cache or callbacks, which are not stored")
        return estimator

    def _representation(self, stored: Any) -> Representation:
        *parts, n_classes = stored
        arrays = [self.array(part, "a part of a representation") for part in parts]
        return Representation(*arrays, n_classes)

    def _class_attributes(self, stored: Any) -> ClassAttributes:
        labels, matrix, names = (self.value(part) for part in stored)
        return ClassAttributes(labels, matrix, names=names)

    def _same_network(self, number: Any) -> FittedNetwork:
        if type(number) is not int or not 0 <= number < len(self.networks):
            raise ModelFormatError(f"there is no network {number!r}")
        return self.networks[number]

    # ------------------------------------------------------------------ networks

    def _network(self, stored: Any) -> FittedNetwork:
        _check_keys("a network", stored, NETWORK, LINEAR_START)
        recipe = self._recipe(stored)
        positive("input_scale of a network", self.value(stored["input_scale"]), {})
        batch_size = stored["batch_size"]
        if type(batch_size) is not int or batch_size < 1:
            raise ModelFormatError(f"a network takes batches of {batch_size!r} samples")
        _check_batch(batch_size, recipe.input_shape, ModelFormatError)
        weights = {
            name: torch.from_numpy(self.array(value, f"the weight {name}"))
            for name, value in stored["weights"].items()
        }
        network = FittedNetwork(
            _built(recipe, weights),
            recipe,
            input_scale=float(self.value(stored["input_scale"])),
            device=str(stored["device"]),
            batch_size=batch_size,
            autocast_dtype=torch.bfloat16 if stored["bfloat16"] is True else None,
        )
        network.module = on_wanted_device(network.module, network.device)
        network.calibration = self._calibration(stored["calibration"])
        self.networks.append(network)
        return network

    def _recipe(self, stored: dict[str, Any]) -> Recipe:
        input_shape = tuple(self.value(stored["input_shape"]))
        shape("input_shape of a network", input_shape, {})
        if math.prod(input_shape) > self.n_bytes:
            raise ModelFormatError(f"no file of this size has samples of shape {input_shape}")
        backbone, head = self.value(stored["backbone"]), stored["head"]
        if isinstance(backbone, str) and backbone not in {"auto", *BACKBONES}:
            raise ModelFormatError(f"there is no backbone {backbone[:80]!r}")
        if not isinstance(backbone, str) and not callable(backbone):
            raise ModelFormatError(f"a backbone is a name. Got {type(backbone).__name__}")
        options = {name: self.value(value) for name, value in stored["head_options"].items()}
        _check_head(head, options)
        linear = {name: self._dimension(stored[name]) for name in LINEAR_START if name in stored}
        top = linear if stored["has_top"] is True else None
        below = {} if stored["has_top"] is True else linear
        return Recipe(backbone, input_shape, below, top, getattr(heads, head), options)

    def _dimension(self, value: Any) -> int:
        if type(value) is not int or not 0 < value <= self.n_bytes:
            raise ModelFormatError(f"no network in a file of this size has {value!r} outputs")
        return value

    def _calibration(self, stored: Any) -> Calibration | None:
        if stored is None:
            return None
        _check_keys("a calibration", stored, {"log_sharpness", "known", "shot_bias"})
        known = KnownScores(*(self.array(part, "known scores") for part in stored["known"]))
        n_way, n_shot, quantile = known
        is_table = quantile.shape == (len(n_way), len(n_shot), len(LEVELS)) and quantile.size
        if not is_table or any(part.dtype.kind not in "fi" for part in known):
            raise ModelFormatError("known scores must be a table by way, shot and level")
        if min(n_way.min(), n_shot.min()) <= 0 or not np.isfinite(quantile).all():
            raise ModelFormatError("known scores must be finite, of positive ways and shots")
        bias = None if stored["shot_bias"] is None else ShotBias(*self._reals(stored["shot_bias"]))
        return Calibration(self._reals(stored["log_sharpness"]), known, bias)

    def _reals(self, stored: Any) -> tuple[float, float, float]:
        first, second, third = (float(self.value(part)) for part in stored)
        return first, second, third


# Of the backbones with a linear path, where that starts as a projection of other width.
LINEAR_START = frozenset({"embedding_dim"})
NETWORK = {
    "backbone",
    "input_shape",
    "has_top",
    "head",
    "head_options",
    "weights",
    "input_scale",
    "device",
    "batch_size",
    "bfloat16",
    "calibration",
}


def _check_keys(
    what: str, stored: Any, wanted: set[str], possible: frozenset[str] | set[str] = frozenset()
) -> None:
    if not isinstance(stored, dict) or not wanted <= stored.keys() <= wanted | possible:
        got = sorted(stored)[:20] if isinstance(stored, dict) else type(stored).__name__
        raise ModelFormatError(f"{what} must have the entries {sorted(wanted)}. Got {got}")


def _check_batch(
    batch_size: int, input_shape: tuple[int, ...], error: type[ModelFormatError | TypeError]
) -> None:
    n_numbers = batch_size * math.prod(input_shape)
    if batch_size > MOST_ROWS or (batch_size > FEW_ROWS and n_numbers > MOST_NUMBERS):
        raise error(
            f"batches of {batch_size} samples of shape {input_shape} are more than model files "
            f"may ask for, {MOST_ROWS} samples and {MOST_NUMBERS} numbers; lower the batch size "
            "(predict_batch_size of learners) before fit"
        )


def _check_head(name: Any, options: dict[str, Any]) -> None:
    """Raise unless a head has this name, and options of the right kinds."""
    cls = getattr(heads, name, None) if name in heads.__all__ else None
    if cls is None or cls is Head:
        raise ModelFormatError(f"there is no head {str(name)[:80]!r}")
    for option, value in options.items():
        if option not in HEAD_OPTIONS or not HEAD_OPTIONS[option](value):
            raise ModelFormatError(f"a head has the option {option[:80]}={str(value)[:80]}")


def _is_positive(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and value >= 1


HEAD_OPTIONS = {
    "metric": lambda value: callable(value) or value in METRICS,
    "scale": _is_positive,
    "learn_scale": lambda value: isinstance(value, bool | np.bool_),
    "class_balanced": lambda value: isinstance(value, bool | np.bool_),
    "n_steps": lambda value: _is_count(value) and value <= MOST_STEPS,
    "aggregate": lambda value: value in ("max", "mean"),
    "reduction": lambda value: value in ("mean", "sum"),
    "C": _is_positive,
    "n_attributes": _is_count,
}


def _built(recipe: Recipe, weights: dict[str, torch.Tensor]) -> EpisodicModule:
    """Build a network around weights; raises if they are not those of such a network.

    Networks of this package are first built without memory: what a file says about their sizes is
    compared with the weights that it brings before anything of that size is there.
    """
    is_ours = isinstance(recipe.backbone, str)
    with torch.random.fork_rng(devices=[]), torch.device("meta") if is_ours else nullcontext():
        module = recipe.build()
    wanted = module.state_dict()
    if wanted.keys() != weights.keys():
        missing, others = wanted.keys() - weights.keys(), weights.keys() - wanted.keys()
        raise ModelFormatError(
            f"the network lacks the weights {sorted(missing)[:5]} and has {sorted(others)[:5]}"
        )
    for name, value in wanted.items():
        if value.shape != weights[name].shape or value.dtype != weights[name].dtype:
            raise ModelFormatError(
                f"the weight {name} must have shape {tuple(value.shape)} and {value.dtype}. Got "
                f"{tuple(weights[name].shape)} and {weights[name].dtype}"
            )
    module.load_state_dict(weights, assign=is_ours)
    return module


# ---------------------------------------------------------------------- what goes together


def _check_steps(pipeline: Pipeline) -> None:
    """Raise unless the steps of a pipeline are steps."""
    steps = pipeline.steps
    if not isinstance(steps, list) or not steps:
        raise ModelFormatError("a pipeline has no list of steps")
    for step in steps:
        if not isinstance(step, tuple) or len(step) != 2 or not isinstance(step[0], str):
            raise ModelFormatError("a step of a pipeline is no pair of a name and an estimator")
        if step[1] not in (None, "passthrough") and not isinstance(step[1], BaseEstimator):
            raise ModelFormatError(f"the step {step[0][:80]!r} of a pipeline is no estimator")
    pipeline._validate_steps()


def _check_together(estimator: Any) -> None:
    """Raise unless the attributes of an estimator of this package go together."""
    if isinstance(estimator, FrozenEncoder):
        _check_encoder(estimator, ModelFormatError)
    elif isinstance(estimator, BaseFewShotLearner) and hasattr(estimator, "_network"):
        _check_learner(estimator)
    elif isinstance(estimator, FewShotClassifier) and hasattr(estimator, "_network"):
        _check_classifier(estimator)


def _check_encoder(encoder: FrozenEncoder, error: type[ModelFormatError | TypeError]) -> None:
    _check_batch(encoder.batch_size, getattr(encoder, "input_shape_", (1,)), error)


def _check_learner(learner: BaseFewShotLearner) -> None:
    n_values = math.prod(learner.input_shape_)
    if len(learner._base_mean) != n_values or len(learner._base_std) != n_values:
        raise ModelFormatError("the moments of the base data are not those of one sample")
    if type(learner.module_.head) not in HEADS[type(learner)]:
        raise ModelFormatError(f"the head is not one of {type(learner).__name__}")
    _check_input(learner)
    _check_representation(learner.representation_, learner, all_present=True)
    if isinstance(learner, BaseZeroShotLearner):
        _check_attributes(learner)


def _check_attributes(learner: BaseZeroShotLearner) -> None:
    """Raise unless the head knows classes by as many attributes as the learner does."""
    described = learner.class_attributes_
    if described is None:
        n_attributes = len(learner.classes_)
    else:
        check_described(described, learner.classes_, type(learner).__name__, "classes_")
        n_attributes = described.matrix.shape[1]
    if not n_attributes == len(learner.attribute_mean_) == learner.module_.head.n_attributes:
        raise ModelFormatError("the attributes are not as many as those of the network")


def _check_input(estimator: Any) -> None:
    """Raise unless the estimator and its network take the same samples."""
    input_shape, taken = estimator.input_shape_, estimator._network.recipe.input_shape
    flat = (math.prod(input_shape),)  # what the network of a classifier without a learner takes
    is_raw = isinstance(estimator, FewShotClassifier) and estimator.learner is None
    if taken != (flat if is_raw else input_shape):
        raise ModelFormatError("the network takes samples of another shape than its owner")
    if estimator.n_features_in_ not in (input_shape[0], math.prod(input_shape)):
        raise ModelFormatError("the number of features is not that of a sample")


def _check_representation(items: Representation, owner: Any, *, all_present: bool) -> None:
    """Raise unless items are of the classes of their owner, as its network represents them."""
    network, n_classes, n_items = owner._network, len(owner.classes_), len(items.code)
    head = network.module.head
    wanted = network.embedding_shape if head.takes_examples else (head.n_attributes + 1,)
    kinds = [part.dtype.kind for part in items[:3]]
    if kinds != ["f", "i", "f"] or items.code.dtype != np.int64:
        raise ModelFormatError("a representation must hold floats, int64 codes and floats")
    if [part.shape for part in items[:3]] != [(n_items, *wanted), (n_items,), (n_items,)]:
        raise ModelFormatError(
            f"a representation has shapes {[part.shape for part in items[:3]]}, its network "
            f"embeds to {wanted}"
        )
    is_coded = n_items == 0 or (items.code.min() >= 0 and items.code.max() < n_classes)
    is_weighed = bool(np.isfinite(items.weight).all() and (items.weight > 0).all())
    if items.n_classes != n_classes or not is_coded or not is_weighed:
        raise ModelFormatError("a representation is not of the classes of its owner")
    if all_present and not (items.count > 0).all():
        raise ModelFormatError("a class has no representation")


def _check_classifier(classifier: FewShotClassifier) -> None:
    """Check a classifier, and let it score a query: that works out what it compares with."""
    network = classifier._network
    _check_input(classifier)
    _check_representation(classifier._representation, classifier, all_present=True)
    _check_representation(classifier._shown, classifier, all_present=False)
    unlabelled, items = classifier._unlabelled, classifier._representation
    if unlabelled.dtype.kind != "f" or unlabelled.shape[1:] != items.embedding.shape[1:]:
        raise ModelFormatError("the samples without a label are not embedded as the others")
    if len(unlabelled):
        network.check_takes_unlabelled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of overflow, where the numbers of a file are absurd
        classifier._context = classifier._context_of(items)
        query = np.zeros((1, *network.embedding_shape), np.float32)
        network.proba(network.score(classifier._context, query), classifier._context.count)


def _ask_again(estimator: Any, stored: Any) -> None:
    """Set which metadata an estimator asks for."""
    request = MetadataRequest(owner=type(estimator).__name__)
    for method, requests in stored.items():
        if not hasattr(getattr(request, method, None), "add_request"):
            raise ModelFormatError(f"there is no method {method[:80]!r} that asks for metadata")
        for param, alias in requests.items():
            getattr(request, method).add_request(param=param, alias=alias)
    estimator._metadata_request = request
