"""Checks of the support sets that users pass, and the union of classes."""

from __future__ import annotations

import warnings
from numbers import Number
from typing import Any, TypeVar

import numpy as np

from ..network import Representation
from ..utils._carried import raise_if_support_was_carried
from ..utils._exact_labels import as_column, join_labels
from ..utils._memory_map import blocks_of
from ..utils._validation import check_labels, is_known, is_missing, label_kind, label_text
from ..utils._warnings import warn_user
from ._examples import Examples

Items = TypeVar("Items", Representation, Examples)


def check_support_pair(X_support: Any, y_support: Any) -> None:
    """Raise if only one half of a support set is given, or it came through a plain pipeline."""
    if (X_support is None) != (y_support is None):
        given, missing = ("y_support", "X_support")
        if y_support is None:
            given, missing = missing, given
        raise ValueError(f"A support set needs both halves: got {given} without {missing}.")
    raise_if_support_was_carried(given=X_support is not None)


def check_support_labels(
    X: np.ndarray, y: Any, unlabelled: Any, *, needs_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the labelled examples, and a mask of the unlabelled ones.

    Parameters
    ----------
    X : ndarray of shape (n_support, ...)
        Examples.
    y : array-like of shape (n_support,)
        Their labels.
    unlabelled : label or None
        The mark of examples without a label; None if all have one.
    needs_label : bool
        Whether at least one must have a label.
    """
    if unlabelled is None:
        y = check_labels(X, y)
        return y, np.zeros(len(y), dtype=bool)
    y = as_column(y, warn=True)
    is_unlabelled = find_unlabelled(X, y, unlabelled)
    labels = y[~is_unlabelled]
    if all(isinstance(label, Number) for label in labels.tolist()):
        labels = as_column(labels.tolist())  # numeric labels, mixed with a mark of another type
    if len(labels):
        return check_labels(X[~is_unlabelled], labels), is_unlabelled
    if needs_label:
        raise ValueError(
            f"y has no label but {unlabelled!r}, which marks unlabelled examples. Give at least "
            "one labelled example of each class."
        )
    return labels, is_unlabelled


def find_unlabelled(X: Any, y: np.ndarray, mark: Any) -> np.ndarray:
    """Return a mask of the examples that have the mark as label, shape (n_samples,).

    Missing values (NaN, None, NA) are one mark: they are not equal to themselves.
    """
    if np.ndim(mark):
        raise ValueError(f"unlabelled must be one label. Got {mark!r}.")
    if is_missing(mark):
        check_labels(X, np.zeros(len(y)))
        return np.array([is_missing(label) for label in y.tolist()], dtype=bool)
    if y.dtype.kind != "O" and label_kind(y) != label_kind(np.asarray([mark])):
        raise ValueError(
            f"unlabelled={mark!r} can be no label of y, which has {label_text(y)}. Use a mark of "
            "the same type."
        )
    check_labels(X, np.zeros(len(y)))  # their number: of the labels, the mark may be of any type
    return np.array([not is_missing(it) and it == mark for it in y.tolist()], dtype=bool)


def warn_of_conflicts(X: np.ndarray, y: np.ndarray) -> None:
    """Warn of equal examples with several labels: their classes cannot be distinguished."""
    seen: dict[int, int] = {}
    conflicts = []
    samples = (sample for block in blocks_of(X) for sample in block)
    for row, sample in enumerate(samples):
        first = seen.setdefault(hash(sample.tobytes()), row)
        if y[first] != y[row]:
            conflicts.append((first, row))
    if conflicts:
        first, row = conflicts[0]
        warn_user(
            f"{len(conflicts)} examples of the support set have several labels: row "
            f"{row} ({label_text(y[[row]])}) equals row {first} ({label_text(y[[first]])}). "
            "These classes cannot be distinguished there. Correct the labels, or drop the rows."
        )


def join_classes(
    base: Items, base_classes: np.ndarray, new: Items, new_classes: np.ndarray
) -> tuple[Items, np.ndarray]:
    """Join two sets of items or examples under the union of their classes.

    Labels of different kinds (numbers and strings) would silently become strings; they raise.
    """
    kinds = {label_kind(classes) for classes in (base_classes, new_classes) if len(classes)}
    if len(kinds) > 1:
        raise ValueError(
            f"The new labels ({label_text(new_classes)}) and the present ones "
            f"({label_text(base_classes)}) are of different types. Use one type for both."
        )
    joined = join_labels(base_classes, new_classes)
    classes, codes = np.unique(joined, return_inverse=True)
    n_base = len(base_classes)
    base = base.recode(codes[:n_base], len(classes))
    new = new.recode(codes[n_base:], len(classes))
    return base.join(new), classes


def check_known(y: np.ndarray, classes: np.ndarray) -> None:
    """Raise if no label of y is among the classes, and warn if some are not."""
    present = np.unique(y)
    unknown = present[~is_known(present, classes)]
    if len(unknown) == len(present):
        raise ValueError(
            f"No label of y is known here: y has {label_text(present)}, classes_ has "
            f"{label_text(classes)}. To score on new classes, adapt to a support set of "
            "them first, or use sklearn_fewshot.model_selection.EpisodicScorer as the scorer "
            "(it draws support sets from the data)."
        )
    if len(unknown):
        warnings.warn(
            f"y has labels that are not among the {len(classes)} known classes "
            f"({label_text(unknown)}); they count as errors.",
            UserWarning,
            stacklevel=4,
        )
