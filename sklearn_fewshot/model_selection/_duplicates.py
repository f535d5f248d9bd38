"""Equal rows: how to find them, and groups that keep them on one side of a split."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils import indexable

from ..episodes import EpisodePlan
from ..utils._blocks import blocks
from ..utils._memory_map import some_rows
from ..utils._sklearn import _num_samples
from ..utils._typing import ArrayLike
from ..utils._validation import check_aligned


def duplicate_groups(X: ArrayLike, groups: ArrayLike | None = None) -> np.ndarray:
    """Return groups of equal rows, to keep them on one side of every episode or split.

    A query with an equal row in the support set tests nothing. Pass the result as ``groups``.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        Samples.
    groups : array-like of shape (n_samples,) or None, default=None
        Further groups to keep on one side: those that share equal rows become one.

    Returns
    -------
    groups : int ndarray of shape (n_samples,)
        Group of each sample, 0 to n_groups - 1.

    See Also
    --------
    episodic_score : Takes groups, and warns if queries have equal rows in their support set.

    Examples
    --------
    >>> from sklearn_fewshot.model_selection import duplicate_groups
    >>> duplicate_groups([[0, 1], [2, 3], [0, 1], [4, 5]])
    array([0, 1, 0, 2])
    >>> duplicate_groups([[0, 1], [2, 3], [0, 1], [4, 5]], groups=["a", "a", "b", "c"])
    array([0, 0, 0, 1])
    """
    row = row_ids(X, np.arange(_num_samples(X)))
    given = check_aligned("groups", groups, len(row))
    owner = np.unique(row if given is None else given, return_inverse=True)[1]
    # Rows and groups are the nodes of a graph, samples its edges.
    n_rows, n_owners = row.max() + 1, owner.max() + 1
    n_nodes = n_rows + n_owners
    edges = coo_array((np.ones(len(row)), (row, n_rows + owner)), shape=(n_nodes, n_nodes))
    component = connected_components(edges, directed=False)[1][row]
    _, first, group = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]  # numbered in the order of their first samples


def row_ids(X: Any, rows: np.ndarray) -> np.ndarray:
    """Number rows so that equal ones, and only they, have equal numbers.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        Samples.
    rows : int ndarray of shape (n_rows,)
        The rows to number.

    Returns
    -------
    ids : int ndarray of shape (n_rows,)
    """
    (X,) = indexable(X if hasattr(X, "shape") else np.asarray(X))
    digests: list[bytes] = []
    for part in blocks(len(rows), 8 * math.prod(X.shape[1:])):
        block = some_rows(X, rows[part])
        block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        if block.dtype.kind == "f":
            block = block + 0.0  # -0.0 equals 0.0 but has other bytes
        as_bytes = _objects_to_bytes if block.dtype == object else _to_bytes
        digests += [blake2b(as_bytes(row), digest_size=16).digest() for row in block]
    return np.unique(np.array(digests, dtype="V16"), return_inverse=True)[1].reshape(-1)


def _to_bytes(row: Any) -> bytes:
    return np.ascontiguousarray(row).tobytes()


def _objects_to_bytes(row: Any) -> bytes:
    values = np.asarray(row, dtype=object).ravel().tolist()
    values = [value + 0.0 if isinstance(value, float) else value for value in values]
    return repr(values).encode()


def n_answered_by_support(X: ArrayLike, plan: EpisodePlan) -> int:
    """Count the queries that have an equal row in the support set of their episode."""
    rows = plan.rows()
    ids = row_ids(X, rows)
    n_ids = ids.max(initial=-1) + 1
    if n_ids == len(ids):
        return 0
    episode = n_ids * np.arange(plan.n_episodes).reshape(-1, 1, 1)
    places = plan.in_terms_of(rows)
    support, query = (
        np.where(part < 0, -1, episode + ids[part]) for part in (places.support, places.query)
    )
    return int(np.count_nonzero(np.isin(query[query >= 0], support)))
