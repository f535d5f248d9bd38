"""Adapted classifiers as ONNX graphs: ``export_onnx``."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ..adapted import FewShotClassifier, walk
from ..nn import EmbeddingModule
from ..nn._distances import cityblock
from ..nn.heads import AnchoredHead, MetricHead, PrototypicalHead
from ._archive import replacing

OPSET = 18  # ONNX 1.13, December 2022
ML_OPSET = 3  # of the same release
IR_VERSION = 10  # what torch writes; that of the parts must be the same
INPUT, LABEL, PROBABILITIES = "X", "label", "probabilities"


def export_onnx(classifier: Any, path: str | os.PathLike[str]) -> None:
    """Export an adapted classifier, and the scikit-learn steps before it, as one ONNX graph.

    It predicts where there is no Python, in any runtime of ONNX: onnxruntime of C++, Java or
    JavaScript, phones, browsers. The classes are those of now, and cannot change there.

    Parameters
    ----------
    classifier : FewShotClassifier, or a Pipeline or FewShotPipeline that ends in one
        Fitted, and of a learner that compares with class means: :class:`ProtoNetClassifier` or
        :class:`BaselineClassifier` with any ``readout`` and named ``metric``, or None. The steps
        before it must be transformers of scikit-learn that ``skl2onnx`` converts: scalers,
        ``Normalizer``, ``PCA``, ``SimpleImputer``, ``PowerTransformer``, ``SelectKBest``, ...
    path : str or path-like
        The file; it gets exactly this name. An existing one is replaced once the new one is
        complete.

    Raises
    ------
    TypeError
        If the classifier is not adapted or of another learner, a step or the backbone cannot be
        converted, or labels are neither int nor str.
    NotFittedError
        If the classifier is not fitted.
    ImportError
        If what the extra ``onnx`` brings is not installed.
    OSError
        If the file cannot be written.

    See Also
    --------
    save_model : A file that Python loads, which can be adapted further.

    Notes
    -----
    The graph, of opset 18, has one input, ``X``: float32 of shape (n_queries, n_features) or
    (n_queries, *input_shape), with any number of queries, pictures in the range of ``fit``. Series
    have the length of ``fit``; shorter ones are padded with NaN. Its outputs are ``label``, of
    shape (n_queries,) and type int64 or string, and ``probabilities``, float32 of shape (n_queries,
    n_classes) in the order of ``classes_``. The scale of the input, the temperature and the
    correction of unequal shots are in it.

    In the tests onnxruntime agrees with :meth:`FewShotClassifier.predict_proba` to 1e-4. The
    embedding is in float32, also where ``precision="bfloat16"``, and the steps of scikit-learn are
    in float32 instead of float64: columns that are large beside their differences lose digits.

    Rejection of outliers, prediction sets and warnings are not in the graph.

    Examples
    --------
    >>> from sklearn_fewshot import FewShotClassifier, export_onnx
    >>> classifier = FewShotClassifier().fit([[0.0, 0.0], [4.0, 4.0]], ["near", "far"])
    >>> export_onnx(classifier, "classifier.onnx")  # doctest: +SKIP
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("classifier.onnx")  # doctest: +SKIP
    >>> session.run(["label"], {"X": [[1.0, 0.0]]})  # doctest: +SKIP
    [array(['near'], dtype=object)]
    """
    found = walk(classifier)
    check_can_be_exported(found.end)
    check_is_fitted(found.end)
    onnx = import_onnx()
    steps = [part.estimator if _is_frozen(part) else part for part in found.transformers]
    names = [INPUT, *(f"step{number}" for number in range(1, len(steps) + 1))]
    parts = [
        _convert_step(step, names[number], names[number + 1]) for number, step in enumerate(steps)
    ]
    end = _convert_classifier(found.end, names[-1], is_flat=bool(steps))
    model = _chain([*parts, end], names[1:])
    onnx.checker.check_model(model)
    with replacing(path) as file:
        file.write(model.SerializeToString())


def _is_frozen(part: Any) -> bool:
    return isinstance(part, FrozenEstimator)


# ---------------------------------------------------------------------- what there is no graph of


def check_can_be_exported(end: Any) -> None:
    """Raise unless it is a classifier of a learner that compares with class means."""
    if not isinstance(end, FewShotClassifier):
        raise TypeError(
            "export_onnx takes a classifier that was adapted to its classes, or a pipeline that "
            f"ends in one. Got {type(end).__name__}. Export what adapt(estimator, X_support, "
            "y_support) returns."
        )
    check_is_fitted(end)
    module = end._network.module
    if isinstance(module, EmbeddingModule) and isinstance(
        module.head, PrototypicalHead | AnchoredHead
    ):
        return
    learner = type(walk(end.learner).end).__name__
    raise TypeError(
        "export_onnx has graphs for learners that compare with class means: ProtoNetClassifier and "
        f"BaselineClassifier. Got a classifier of {learner}. Train one of these, or deploy the "
        "classifier in Python, by save_model and load_model."
    )


def import_onnx() -> Any:
    """Import onnx, and see that what else the export needs is there."""
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it
        import skl2onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs {error.name}, which is not installed. Install it, for example "
            "with: pip install sklearn-fewshot[onnx]"
        ) from error
    return onnx


# ---------------------------------------------------------------------- the classifier


class Prediction(nn.Module):
    """The probabilities of a classifier as one function of tensors.

    Parameters
    ----------
    classifier : FewShotClassifier
        A fitted one, of an :class:`EmbeddingModule`.
    """

    def __init__(self, classifier: FewShotClassifier) -> None:
        super().__init__()
        network, support = classifier._network, classifier._current()
        # A copy: the exporter puts tensors without values in its place, and others may predict.
        module = copy.deepcopy(network.module).cpu()
        assert isinstance(module, EmbeddingModule)
        self.backbone, self.head = module.backbone, _without_cdist(module.head)
        self.input_shape = classifier.input_shape_
        self.input_scale = network.input_scale
        self.inverse_temperature = network.inverse_temperature(support.weight)
        self.classes = support.classes
        self.names = list(support.state)
        for name, value in support.state.items():
            self.register_buffer(f"state_{name}", torch.tensor(value))
        correction = network.shot_correction(support.weight)
        self.register_buffer("correction", torch.tensor(correction))

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number of the most probable class, and the probability of each."""
        rows = X.reshape(-1, *self.input_shape) * self.input_scale
        query = self.head.prepare(self.backbone(rows).float()).double()
        state = {name: self.get_buffer(f"state_{name}") for name in self.names}
        logits = self.head.score(state, query.unsqueeze(0))[0]
        logits = logits + self.correction  # (n_queries, n_classes)
        proba = (self.inverse_temperature * logits).softmax(dim=1)
        return logits.argmax(dim=1), proba.float()


def _without_cdist(head: Any) -> Any:
    """Return a head whose distances ONNX has operators for."""
    assert isinstance(head, MetricHead)
    if head.metric is cityblock:
        head.metric = _cityblock
    return head


def _cityblock(a: Tensor, b: Tensor) -> Tensor:
    """Sum of absolute differences, by subtraction."""
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).abs().sum(dim=-1)


def _convert_classifier(classifier: FewShotClassifier, name: str, *, is_flat: bool) -> Any:
    """Return the graph from the rows called `name` to labels and probabilities."""
    module = Prediction(classifier).eval()
    shape = (prod(module.input_shape),) if is_flat else module.input_shape
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (torch.zeros(2, *shape),),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[name],
                output_names=["code", PROBABILITIES],
                dynamic_shapes=({0: torch.export.Dim("n_queries")},),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise TypeError(_why_not_the_backbone(module)) from error
    assert program is not None
    model = program.model_proto
    if model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value"):
        raise TypeError(_why_not_the_backbone(module))
    _add_labels(model.graph, module.classes)
    return model


def _why_not_the_backbone(module: Prediction) -> str:
    return (
        f"torch.onnx cannot export the backbone {type(module.backbone).__name__} for any number of "
        "rows. The error above, if there is one, says which operation it lacks; in a backbone of "
        "your own, write x.shape[0] for len(x) and let no branch depend on values."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of itself, such as that torchvision is missing, to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _add_labels(graph: Any, classes: np.ndarray) -> None:
    """Replace the first output, numbers of classes, by their labels."""
    from onnx import helper

    values, kind = _labels_of(classes)
    graph.initializer.append(helper.make_tensor("classes", kind, [len(classes)], values))
    graph.node.append(helper.make_node("Gather", ["classes", "code"], [LABEL]))
    graph.output[0].CopyFrom(helper.make_tensor_value_info(LABEL, kind, ["n_queries"]))


def _labels_of(classes: np.ndarray) -> tuple[list[Any], int]:
    """Return labels as ONNX stores them, and the number of their type."""
    from onnx import TensorProto

    values = classes.tolist()
    if classes.dtype.kind in "iu":
        return values, TensorProto.INT64
    if all(isinstance(value, str) for value in values):
        return values, TensorProto.STRING
    raise TypeError(
        f"Labels in ONNX are int or str. Got classes of type {classes.dtype}, such as "
        f"{values[0]!r}. Adapt with such labels, for example y_support.astype(str)."
    )


# ---------------------------------------------------------------------- steps before it


def _convert_step(step: Any, name: str, output: str) -> Any:
    """Return the graph of a transformer of scikit-learn, from the rows `name` to `output`."""
    import onnx
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    check_is_fitted(step)
    rows = FloatTensorType([None, getattr(step, "n_features_in_", None)])
    try:
        model = convert_sklearn(
            step,
            initial_types=[(name, rows)],
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        )
    except Exception as error:  # skl2onnx raises whatever its converters meet
        raise TypeError(_why_not_the_step(step, str(error).partition("\n")[0])) from error
    results = model.graph.output
    if len(results) != 1 or results[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise TypeError(_why_not_the_step(step, "Its result is not one array of float32."))
    return onnx.compose.add_prefix(model, f"{output}_", rename_inputs=False)


def _why_not_the_step(step: Any, reason: str) -> str:
    return (
        f"skl2onnx cannot convert the step {type(step).__name__}. {reason} If it is the first one, "
        "apply it to the queries yourself and export the rest: export_onnx(pipeline[1:], path)."
    )


def _chain(models: Sequence[Any], names: Sequence[str]) -> Any:
    """Join graphs, each of which reads the output of the one before by the name given."""
    from onnx import compose, helper

    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    for model in models:
        model.ir_version = IR_VERSION
        # Operators of skl2onnx are those of the opset asked for, but it declares the oldest that
        # has them.
        del model.opset_import[:]
        model.opset_import.extend(opsets)
        _strip(model.graph)
    whole = models[0]
    for model, name in zip(models[1:], names, strict=True):
        whole = compose.merge_models(whole, model, [(whole.graph.output[0].name, name)])
    whole.producer_name = "sklearn_fewshot"
    return whole


def _strip(graph: Any) -> None:
    """Remove what torch notes of its origin: lines of source files on this machine."""
    del graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
