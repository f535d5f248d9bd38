"""Class attributes: what describes classes that there are no examples of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ._typing import ArrayLike
from ._validation import encode_labels, is_known, label_kind, label_text

FORMATS = (
    "a DataFrame with one row a class and the labels as its index, a mapping from label to "
    "vector, a pair (labels, matrix), or a ClassAttributes"
)


class Frame(Protocol):
    """The parts of a DataFrame that are used, of any package."""

    @property
    def index(self) -> Any:
        """Labels of the rows."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def to_numpy(self) -> np.ndarray:
        """Return the values."""


class ClassAttributes:
    """Attribute vectors of classes, as one object that scikit-learn passes on whole.

    Tools such as :func:`sklearn.model_selection.cross_validate` cut whatever is as long as X down
    to the rows of a fold. A table of as many classes as there are samples would be cut too; this
    has no length.

    Parameters
    ----------
    labels : array-like of shape (n_classes,)
        Labels of the classes, in any order, each once.
    matrix : array-like of shape (n_classes, n_attributes)
        Finite numbers: one row a class.
    names : sequence of str or None, default=None
        Names of the attributes, if they have any.

    Attributes
    ----------
    labels : ndarray of shape (n_classes,)
        Sorted labels.
    matrix : float64 ndarray of shape (n_classes, n_attributes)
        Rows in the order of ``labels``.
    names : tuple of str or None
        Names of the attributes.

    See Also
    --------
    ZeroShotProtoNetClassifier : Takes them in ``fit`` and ``adapt``.

    Examples
    --------
    >>> from sklearn_fewshot import ClassAttributes
    >>> ClassAttributes(["whale", "eagle"], [[1, 0], [0, 1]], names=["swims", "flies"])
    ClassAttributes of 2 classes ('eagle', 'whale'), 2 attributes
    """

    def __init__(
        self, labels: ArrayLike, matrix: ArrayLike, *, names: Sequence[str] | None = None
    ) -> None:
        labels, matrix = _check_class_labels(labels), _check_matrix(matrix)
        if len(labels) != len(matrix):
            raise ValueError(
                f"Class attributes must have one row per class. Got {len(labels)} labels and "
                f"{len(matrix)} rows."
            )
        order = np.argsort(labels, kind="stable")
        self.labels, self.matrix = labels[order], matrix[order]
        self.names = None if names is None else tuple(names)
        infinite = ~np.isfinite(self.matrix).all(axis=1)
        if infinite.any():
            raise ValueError(
                "Class attributes must be finite. Got NaN or infinity for "
                f"{label_text(self.labels[infinite])}. Impute them, or leave out those classes or "
                "attributes."
            )
        if self.names is not None and len(self.names) != self.matrix.shape[1]:
            raise ValueError(
                f"names must name each attribute. Got {len(self.names)} names for "
                f"{self.matrix.shape[1]} attributes."
            )

    def of(self, labels: ArrayLike) -> np.ndarray:
        """Return the attributes of some classes.

        Parameters
        ----------
        labels : ndarray of shape (n_labels,)
            Labels that are all among ``self.labels``.

        Returns
        -------
        matrix : float64 ndarray of shape (n_labels, n_attributes)
        """
        return self.matrix[np.searchsorted(self.labels, labels)]

    def without(self, labels: ArrayLike) -> ClassAttributes | None:
        """Return the attributes of all other classes.

        Parameters
        ----------
        labels : array-like of shape (n_labels,)
            Classes to leave out; others are ignored.

        Returns
        -------
        others : ClassAttributes or None
            None if no class is left.
        """
        others = ~is_known(self.labels, np.asarray(labels))
        if not others.any():
            return None
        return ClassAttributes(self.labels[others], self.matrix[others], names=self.names)

    def __repr__(self) -> str:
        n_classes, n_attributes = self.matrix.shape
        return (
            f"ClassAttributes of {n_classes} classes ({label_text(self.labels)}), "
            f"{n_attributes} attributes"
        )


AttributesLike = ClassAttributes | Frame | Mapping[Any, ArrayLike] | tuple[ArrayLike, ArrayLike]


def as_class_attributes(given: Any, owner: str) -> ClassAttributes:
    """Read class attributes in any of the formats that the learners take.

    Parameters
    ----------
    given : DataFrame, mapping, pair (labels, matrix) or ClassAttributes
        What the user passed.
    owner : str
        Who got it, for errors.

    Returns
    -------
    attributes : ClassAttributes

    Raises
    ------
    TypeError
        If it has none of these formats.
    ValueError
        If the values are malformed.
    """
    if isinstance(given, ClassAttributes):
        return given
    if isinstance(given, Mapping):
        return _from_mapping(given)
    if all(hasattr(given, name) for name in ("index", "columns", "to_numpy")):
        columns = list(given.columns)
        names = columns if all(isinstance(name, str) for name in columns) else None
        return ClassAttributes(np.asarray(given.index), given.to_numpy(), names=names)
    if isinstance(given, tuple | list) and len(given) == 2:
        return ClassAttributes(*given)
    raise TypeError(f"class_attributes of {owner} must be {FORMATS}. Got {type(given).__name__}.")


def _from_mapping(given: Mapping[Any, Any]) -> ClassAttributes:
    shapes = {label: np.shape(vector) for label, vector in given.items()}
    first = next(iter(shapes), None)
    for label, shape in shapes.items():
        if shape != shapes[first] or len(shape) != 1:
            raise ValueError(
                "Class attributes must be vectors of one length. Got shape "
                f"{shapes[first]} for class {first!r} and shape {shape} for class {label!r}."
            )
    return ClassAttributes(list(given), [given[label] for label in shapes])


def _check_class_labels(labels: ArrayLike) -> np.ndarray:
    labels = _as_label_array(labels)
    if labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"Class attributes need one label per class. Got labels of shape {labels.shape}."
        )
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError("The labels of class attributes contain NaN or infinity.")
    classes, codes = encode_labels(labels, "The labels of class attributes")
    twice = classes[np.bincount(codes) > 1]
    if len(twice):
        raise ValueError(
            f"Class attributes must describe each class once. Got {label_text(twice)} more than "
            "once. Average the rows of a class, for example with frame.groupby(level=0).mean()."
        )
    return labels


def _as_label_array(labels: ArrayLike) -> np.ndarray:
    """Return labels as an array, without turning numbers into strings."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "O":
        return labels
    kept = np.asarray(labels if isinstance(labels, np.ndarray) else list(_iterate(labels)), object)
    has_text = [isinstance(label, str) for label in kept.ravel()]
    return kept if any(has_text) and not all(has_text) else np.asarray(kept.tolist())


def _iterate(labels: ArrayLike) -> Iterable[Any]:
    return labels if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]


def _check_matrix(matrix: ArrayLike) -> np.ndarray:
    try:
        matrix = np.asarray(matrix)
        real = matrix.dtype.kind in "biufO"
        matrix = np.array(matrix, dtype=np.float64) if real else matrix
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Class attributes must be numbers, equally many for each class. Got something else: "
            f"{error}"
        ) from error
    if matrix.dtype != np.float64 or matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            "Class attributes must be a matrix of real numbers of shape (n_classes, "
            f"n_attributes). Got dtype {matrix.dtype} and shape {matrix.shape}."
        )
    return matrix


def check_described(
    attributes: ClassAttributes, labels: np.ndarray, owner: str, of_what: str
) -> None:
    """Raise unless every label has attributes; names those that have none."""
    missing = labels[~is_known(labels, attributes.labels)]
    if not len(missing):
        return
    kinds = [label_kind(values) for values in (attributes.labels, labels)]
    remedy = "Add their rows, or drop those classes."
    if kinds[0] != kinds[1]:
        remedy = f"The attributes are labelled by {kinds[0]}, {of_what} by {kinds[1]}: convert one."
    raise ValueError(
        f"class_attributes of {owner} must describe every class of {of_what}. Got none for "
        f"{label_text(missing)}. {remedy}"
    )


def check_comparable(attributes: ClassAttributes, fitted: ClassAttributes, owner: str) -> None:
    """Raise unless the attributes are those that ``fit`` got: equally many, of equal names."""
    n_given, n_fitted = attributes.matrix.shape[1], fitted.matrix.shape[1]
    if n_given != n_fitted:
        raise ValueError(f"{owner} was fitted with {n_fitted} attributes per class. Got {n_given}.")
    if attributes.names is None or fitted.names is None:
        return
    for i, (given, expected) in enumerate(zip(attributes.names, fitted.names, strict=True)):
        if given != expected:
            raise ValueError(
                f"{owner} was fitted with other attributes, or in another order. Attribute {i} was "
                f"{expected!r}; got {given!r}. Bring the columns into the order that fit got."
            )
