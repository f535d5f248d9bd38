"""Which classes are held out of training."""

from __future__ import annotations

import numpy as np


def drawable_classes(codes: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return which classes can have support and queries: two rows, of two groups if there are.

    Parameters
    ----------
    codes : int ndarray of shape (n_samples,)
        Class codes.
    groups : ndarray of shape (n_samples,) or None
        Group of each sample.

    Returns
    -------
    drawable : bool ndarray of shape (n_classes,)
    """
    if groups is None:
        return np.bincount(codes) >= 2
    group_codes = np.unique(groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([codes, group_codes], axis=1), axis=0)
    return np.bincount(pairs[:, 0]) >= 2


def reserved_rows(
    codes: np.ndarray, groups: np.ndarray | None, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows to keep from training, whole groups at a time.

    Parameters
    ----------
    codes : int ndarray of shape (n_samples,)
        Class codes.
    groups : ndarray of shape (n_samples,) or None
        Group of each sample.
    fraction : float
        Share of the rows.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    reserved : bool ndarray of shape (n_samples,)
        False for all rows of a class that would be left with fewer than two.
    """
    unit = np.arange(len(codes)) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = np.bincount(unit)
    order = rng.permutation(len(size))
    first = np.cumsum(size[order]) <= max(1, round(fraction * len(codes)))
    reserved = np.isin(unit, order[first])
    left = np.bincount(codes, weights=~reserved)
    return reserved & (left >= 2)[codes]


def held_out_classes(
    drawable: np.ndarray, fraction: float, owners: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw the validation classes, whole groups at a time.

    Parameters
    ----------
    drawable : bool ndarray of shape (n_classes,)
        Classes that episodes can be drawn from: only these are held out.
    fraction : float
        Share of them to hold out.
    owners : int ndarray of shape (n_classes,) or None
        Code of each class's group.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    held_out : bool ndarray of shape (n_classes,)
        All False if two such classes on each side are not to be had.
    """
    held_out = np.zeros(len(drawable), dtype=bool)
    if fraction == 0.0:
        return held_out
    wanted = max(2, round(fraction * drawable.sum()))
    owners = np.arange(len(drawable)) if owners is None else owners
    for owner in rng.permutation(owners.max() + 1):
        if held_out.sum() >= wanted:
            break
        with_owner = held_out | ((owners == owner) & drawable)
        if (drawable & ~with_owner).sum() >= 2:
            held_out = with_owner
    return held_out if held_out.sum() >= 2 else np.zeros(len(drawable), dtype=bool)


def thinned(rows: np.ndarray, codes: np.ndarray, n_most: int) -> np.ndarray:
    """Keep about equal shares of the rows of every class, in whatever order they come.

    Parameters
    ----------
    rows : int ndarray of shape (n_rows,)
        Some rows of the data.
    codes : int ndarray of shape (n_samples,)
        Class codes of all rows of the data.
    n_most : int
        Most rows to keep.

    Returns
    -------
    kept : int ndarray
    """
    if len(rows) <= n_most:
        return rows
    by_class = rows[np.argsort(codes[rows], kind="stable")]
    return by_class[:: -(-len(rows) // n_most)]


def some_of_each(codes: np.ndarray, n_most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a few rows of each class.

    Parameters
    ----------
    codes : int ndarray of shape (n_samples,)
        Class codes.
    n_most : int
        Most rows of a class.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    rows : int ndarray
        Class by class, in random order within each.
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    return order[place_in_class(codes[order]) < n_most]


def place_in_class(codes: np.ndarray) -> np.ndarray:
    """Number the rows of each class from 0, given sorted class codes."""
    return np.arange(len(codes)) - np.searchsorted(codes, codes)
