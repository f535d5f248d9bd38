"""Validation of the tasks that classes belong to."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ._typing import ArrayLike
from ._validation import check_aligned, encode_labels, is_missing


def check_tasks(
    tasks: ArrayLike | None, n_samples: int
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Validate the task of each sample.

    Parameters
    ----------
    tasks : array-like of shape (n_samples,) or None
        Tasks, of any sortable type.
    n_samples : int
        Number of samples.

    Returns
    -------
    names : ndarray of shape (n_tasks,) or None
        The tasks in the order in which they appear, so that other names number them equally. None
        if there are fewer than two: then all classes belong together.
    codes : int ndarray of shape (n_samples,) or None
        Number of each sample's task.
    """
    names, codes = encode_tasks(tasks, n_samples)
    if len(names) < 2:
        return None, None
    first = np.unique(codes, return_index=True)[1]
    order = np.argsort(first)
    return names[order], np.argsort(order)[codes]


def encode_tasks(tasks: ArrayLike | None, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Validate the task of each sample; return the sorted tasks and codes, one task for None."""
    given = check_aligned("tasks", tasks, n_samples)
    if given is None:
        return np.zeros(1, dtype=int), np.zeros(n_samples, dtype=np.intp)
    _check_complete(given)
    return encode_labels(given, "tasks")


def _check_complete(tasks: np.ndarray) -> None:
    if tasks.dtype.kind in "fmMc":
        missing = np.flatnonzero(tasks != tasks)
    elif tasks.dtype.kind == "O":
        missing = np.flatnonzero([is_missing(task) for task in tasks])
    else:
        return
    if len(missing):
        raise ValueError(
            f"tasks lacks {len(missing)} entries (NaN or None), first at position {missing[0]}. "
            "Name the tasks of these samples, or drop the samples."
        )


def join_units(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the smallest units that divide no unit of either kind.

    Parameters
    ----------
    one, other : int ndarray of shape (n,)
        Codes of the units that each item is in.

    Returns
    -------
    units : int ndarray of shape (n,)
    """
    first, n_nodes = one.max() + 1, one.max() + other.max() + 2
    edges = coo_array((np.ones(len(one)), (one, first + other)), shape=(n_nodes, n_nodes))
    component = connected_components(edges, directed=False)[1][one]
    return np.unique(component, return_inverse=True)[1].reshape(-1)
