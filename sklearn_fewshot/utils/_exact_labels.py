"""Labels as they were given: numpy would round large identifiers where it joins types."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import column_or_1d

MOST_EXACT = 2**53  # floats of 64 bits tell all smaller integers apart


def as_column(values: Any, name: str = "y", *, warn: bool = False) -> np.ndarray:
    """Return a column of labels without rounding any.

    Raises
    ------
    ValueError
        If no type of numpy holds all of them exactly.
    """
    if hasattr(values, "detach"):  # or scikit-learn's array API dispatch returns tensors
        values = np.asarray(values.detach().cpu())
    kind = getattr(values, "dtype", None)
    numpy_kind = getattr(kind, "numpy_dtype", None)  # of the nullable types of pandas
    if numpy_kind is not None and np.dtype(numpy_kind).kind in "iub":
        missing = values.isna().any()
        values = values.to_numpy(dtype=object if missing else numpy_kind)
    column: np.ndarray = column_or_1d(values, warn=warn)
    if column.dtype.kind == "f" and isinstance(values, list | tuple) and len(column):
        given = [value for value in values if isinstance(value, int | np.integer)]
        if any(abs(int(value)) > MOST_EXACT for value in given):
            raise ValueError(_too_large(name))
    return column


def join_labels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Concatenate labels without rounding any, or raise."""
    if not are_rounded_together(first, second):
        return np.concatenate([first, second])
    numbers = [*first.tolist(), *second.tolist()]
    for kind in (np.int64, np.uint64):
        bounds = np.iinfo(kind)
        if all(isinstance(n, int) and bounds.min <= n <= bounds.max for n in numbers):
            return np.array(numbers, dtype=kind)
    raise ValueError(_too_large("y"))


def are_rounded_together(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether numpy's common type of two arrays of labels cannot hold some of their integers."""
    kinds = first.dtype.kind + second.dtype.kind
    if not set(kinds) <= set("iuf") or np.result_type(first, second).kind != "f":
        return False
    integers = [part for part in (first, second) if part.dtype.kind in "iu" and part.size]
    return any(max(-int(part.min()), int(part.max())) > MOST_EXACT for part in integers)


def _too_large(name: str) -> str:
    return (
        f"{name} has integers beyond 2**53 together with numbers of another type, and no type "
        "holds all of them exactly: classes would merge. Use one integer type, or strings: "
        f"{name}.astype(str)."
    )
