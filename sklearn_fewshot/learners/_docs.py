"""Documentation that the learners share, written once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter
from textwrap import indent
from typing import Any, TypeVar, Unpack, overload

from ._parameters import (
    CommonParameters,
    CommonRegressorParameters,
    RegressorParameters,
    TrainingParameters,
)
from ._signature import complete_signature

CLASS_PARAMETERS = """\
n_way : int, (low, high) or "all", default=60
    Classes per training episode, at most the number of training classes; from a pair, each episode
    samples its own. More ways make a better embedding.
n_shot : int, (low, high) or "auto", default="auto"
    Support examples per class in a training episode; from a pair, each episode samples its own.
    "auto" takes 1 for a network that learns from images, and (1, 5) for others. Any number can be
    used later.
n_query : int, default=2
    Queries per class in a training episode.
rotate_support : bool, default=True
    Whether the samples of an episode change roles: it becomes as many episodes as a class has
    samples in it, in which each sample is support in turn and query in the others. All are embedded
    once, so a step costs little more and learns from more pairs. Not with ``groups``. False trains
    on the episodes as they are drawn, as in the papers: then take ``n_query=5`` or more.
lr : float or "auto", default="auto"
    Learning rate at the start. "auto" takes 3e-3 for a network that learns from images beginning
    with random weights, and 1e-3 for others.
validation_classes : array-like of labels or None, default=None
    The classes to hold out; overrides ``validation_fraction``."""

TASK_PARAMETERS = """\
n_shot : int or (low, high), default=(1, 5)
    Support examples in a training episode. Any number can be used later.
n_query : int, default=5
    Queries in a training episode.
lr : float, default=1e-3
    Learning rate at the start.
validation_tasks : array-like of labels or None, default=None
    The tasks to hold out; overrides ``validation_fraction``."""

SHARED_PARAMETERS = """\
backbone : str, torch.nn.Module, class or callable, default="auto"
    The embedding network. "auto" takes "residual_mlp" for tables and embeddings, "spectral" for
    series and "conv4" for images; "conv4_32" (half the filters), "conv4_strided" (a quarter of the
    arithmetic), "conv4_maps", "koch" (for images of 105 x 105), "resnet12", "mlp" and "identity"
    are the others. A module is copied, never trained in place. A class or function is called with
    ``input_shape``, if it has such a parameter, and returns a module.
meta_batch_size : int, default=1
    Episodes per optimisation step.
episodes_per_epoch : int, default=50
    Episodes between two validations.
max_epochs : int, default=30
    Maximum number of epochs.
optimizer : {"adam", "adamw", "sgd"} or torch optimizer class, default="adam"
    Optimizer.
weight_decay : float, default=0.0
    Weight decay of the optimizer.
lr_schedule : {"cosine", "linear", "step", "constant"} or callable, default="cosine"
    How the learning rate decays until ``max_epochs``: along a cosine or a line to zero, by half at
    every tenth of the training, or not at all. A callable maps the progress in [0, 1) to a factor.
validation_fraction : float, default=0.2
    Share of the classes held out of training, on which the best weights are chosen; at least two
    classes. 0 trains on all classes and keeps the last weights.
patience : int or None, default=10
    Epochs without improvement on the held-out classes after which training stops.
refit : bool or "auto", default="auto"
    Whether to train once more on all classes, including the held-out ones, for the best number of
    epochs. "auto" does so with fewer than 100 classes, unless ``validation_classes`` are given.
freeze_backbone : bool, default=False
    Whether to embed all samples once with the unchanged backbone and train a small residual
    network on top: for pretrained encoders.
augment : "affine", callable or None, default=None
    Augmentation of each batch of training inputs. "affine" distorts images by small random
    rotations, shears, scalings and shifts. A callable maps a float32 tensor to one of the same
    shape; series reach it with their padding, NaN at the end, which has to stay there.
callbacks : list of skorch callbacks or None, default=None
    Further callbacks of the training; they are copied, but share logs and what else cannot be
    copied. To monitor there are ``"train_loss"``, ``"valid_loss"`` and ``"valid_acc"``, and each
    followed by ``"_best"``. A callback that cannot work is an error before the training. In a
    second training (``refit``) they read the validation results of the first, and callbacks that
    write logs take no part. Callbacks of scikit-learn are set by ``set_callbacks`` instead
    (scikit-learn 1.9 or newer).
input_shape : tuple of int or None, default=None
    Shape of one sample, (channels, length) or (channels, height, width): rows of a
    two-dimensional X are reshaped to it.
device : str or torch.device, default="auto"
    "auto" takes cuda if there is one, else the cpu.
precision : {"auto", "float32", "bfloat16"}, default="auto"
    Precision of the backbone in training; "auto" takes bfloat16 for images if the hardware
    multiplies it natively. Predictions are float32 unless this is "bfloat16".
calibrate : bool, default=True
    Whether to fit, after training, on held-out classes used as new ones (all classes if none were
    held out): the temperature of the probabilities, the shot bias (systematic score deficit of
    classes with few examples compared with classes with many), the quantiles of inlier scores below
    which a query is rejected as an outlier, and the thresholds of prediction sets. A second
    training (``refit``) takes them over, in the units of its scores. Zero-shot learners have the
    temperature alone. With False, scores are those of the equations, no query can be rejected, and
    there are no prediction sets.
compile : bool or {"reduce-overhead", "max-autotune"}, default=False
    Whether to compile the backbone with :func:`torch.compile`, or its mode. It needs a C++ compiler
    and half a minute, and on a CPU images train slower with it than without.
predict_batch_size : int, default=128
    Samples per batch of the embedding in prediction.
checkpoint : str, path or None, default=None
    A folder for the state of unfinished training, created if missing. Its file is written after
    each epoch and removed at the end of ``fit``. If ``fit`` is interrupted, by Ctrl-C, an error or
    the end of the process, the next ``fit`` with the same parameters on the same data resumes from
    there, and ends with the same weights as without the interruption. With ``random_state=None``,
    it resumes with the seed that the interrupted one drew; an integer identifies the fit
    unambiguously. Callbacks resume with those of their attributes whose names end in an underscore
    and that are numbers, strings, tensors or collections of these; their other attributes count as
    parameters. Callbacks of scikit-learn get the remaining epochs only. Files of fits that are
    never resumed stay until you delete them.
warm_start : bool, default=False
    Whether ``fit`` continues from the weights of the last ``fit``.
random_state : int, RandomState instance or None, default=None
    Seed of class split, weights and episodes. Results repeat exactly on the same machine with the
    same number of threads, except for concurrent ``fit`` calls in threads of one process.
verbose : int, default=0
    1 shows progress bars: of the batches of training, of embedding and calibration.
net_params : dict or None, default=None
    Further parameters of :class:`skorch.NeuralNet`."""

COMMON_PARAMETERS = f"{CLASS_PARAMETERS}\n{SHARED_PARAMETERS}"
COMMON_REGRESSOR_PARAMETERS = f"{TASK_PARAMETERS}\n{SHARED_PARAMETERS}"

CLASS_ATTRIBUTES = """\
classes_ : ndarray of shape (n_classes,)
    Base classes, sorted.
n_way_ : int or (low, high)
    Classes per training episode, at most the number of training classes; with ``tasks``, at most
    those of the largest task.
n_calibration_classes_ : int
    Held-out classes that probabilities, rejection, prediction sets and the correction of unequal
    shots rest on. With fewer than ten they are rough, and sets have all classes; 0 if none were
    held out or ``calibrate=False``.
representation_ : Representation
    Representation of the base classes: embedded examples, or their means."""

TASK_ATTRIBUTES = """\
tasks_ : ndarray of shape (n_tasks,)
    Labels of the base tasks, sorted.
n_outputs_ : int
    Number of targets.
y_mean_, y_scale_ : float64 ndarray of shape (n_outputs,)
    Mean and standard deviation of the base targets, in whose units the network works.
n_calibration_tasks_ : int
    Held-out tasks that the standard deviations are calibrated on; 0 if none were held out or
    ``calibrate=False``."""

SHARED_ATTRIBUTES = """\
n_features_in_ : int
    Features (channels for series and images).
feature_names_in_ : ndarray of shape (n_features_in_,)
    Column names, if X had any.
input_shape_ : tuple of int
    Shape of one sample.
input_scale_ : float
    Factor applied to inputs: 1/255 if ``fit`` got 8-bit images.
module_ : torch.nn.Module
    The trained network, in evaluation mode.
net_ : skorch.NeuralNet
    The skorch net, only in the process that trained: it is not pickled.
history_ : list of dict
    Per epoch: loss, duration, validation loss and (of classes) accuracy, and whether each is the
    best yet.
best_epoch_ : int
    Epoch of the weights that were kept; 0 is the untrained network. The last epoch if nothing was
    held out."""


L = TypeVar("L", bound=TrainingParameters)


@overload
def with_common_parameters(learner: type[L], /) -> type[L]: ...


@overload
def with_common_parameters(
    **defaults: Unpack[CommonParameters],
) -> Callable[[type[L]], type[L]]: ...


@overload
def with_common_parameters(
    **defaults: Unpack[CommonRegressorParameters],
) -> Callable[[type[L]], type[L]]: ...


def with_common_parameters(learner: Any = None, /, **defaults: Any) -> Any:
    """Complete a learner's signature, docstring and constraints by the shared parameters.

    The constructor of the learner lists its own parameters; the rest it takes as ``**common`` and
    passes on to the constructor of its base. For type checkers these are
    ``Unpack[CommonParameters]``.

    Parameters
    ----------
    learner : type
        A class of learners. ``{common_parameters}`` and ``{common_attributes}`` in its docstring,
        on lines of their own, become the entries that all learners share. Its
        ``_parameter_constraints``, if there are any, need to name its own parameters only.
    **defaults : parameters of the family
        Those that have another default in this learner.

    Returns
    -------
    learner : type
        The same class.

    Raises
    ------
    TypeError
        If a parameter has the name of a method, begins or ends with an underscore, or a default
        is given for something that is no parameter.

    See Also
    --------
    sklearn_fewshot.base.BaseFewShotLearner : The base of learners.

    Examples
    --------
    >>> from inspect import signature
    >>> from typing import Unpack
    >>> from sklearn_fewshot.base import (
    ...     BaseFewShotLearner, CommonParameters, with_common_parameters
    ... )
    >>> @with_common_parameters(patience=100)
    ... class Patient(BaseFewShotLearner):
    ...     def __init__(self, **common: Unpack[CommonParameters]) -> None:
    ...         super().__init__(**common)
    >>> signature(Patient).parameters["patience"].default
    100
    >>> Patient(n_way=5)
    Patient(n_way=5)
    """
    if learner is None:
        return partial(_complete, defaults=defaults)
    return _complete(learner, defaults)


def _complete(learner: type[L], defaults: Mapping[str, Any]) -> type[L]:
    parameters = complete_signature(learner, defaults)
    doc = learner.__doc__ or ""
    for name, text in (
        ("{common_parameters}", with_defaults(_describe_common(learner), parameters)),
        ("{common_attributes}", _common_attributes(learner)),
    ):
        doc = doc.replace("    " + name, indent(text, "    "))
    learner.__doc__ = doc
    return learner


def _common_attributes(cls: type) -> str:
    if issubclass(cls, RegressorParameters):
        return f"{TASK_ATTRIBUTES}\n{SHARED_ATTRIBUTES}"
    return f"{CLASS_ATTRIBUTES}\n{SHARED_ATTRIBUTES}"


def _describe_common(cls: type) -> str:
    """Return the entries of the common parameters, those in ``_parameter_docs`` by the class."""
    doc = COMMON_PARAMETERS
    if issubclass(cls, RegressorParameters):
        doc = COMMON_REGRESSOR_PARAMETERS
    for name, text in getattr(cls, "_parameter_docs", {}).items():
        entry = re.compile(rf"^({name} : .*\n)(?: +.*\n)*", re.MULTILINE)
        body = indent(text, "    ").replace("\\", r"\\")
        doc = entry.sub(rf"\g<1>{body}\n", doc)
    return doc


def with_defaults(doc: str, parameters: Mapping[str, Parameter]) -> str:
    """Write the defaults of the signature into a numpydoc section."""
    return re.sub(
        r"^(\w+) : (.*), default=.*$",
        lambda match: f"{match[1]} : {match[2]}, default={parameters[match[1]].default!r}",
        doc,
        flags=re.MULTILINE,
    )
