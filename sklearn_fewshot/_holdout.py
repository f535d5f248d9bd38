"""Which classes are held out of training."""

from __future__ import annotations

import numpy as np

from .utils._validation import label_text


def held_out_classes(
    n_classes: int, fraction: float, owners: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw the validation classes, whole groups at a time.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    fraction : float
        Share of the classes to hold out.
    owners : ndarray of shape (n_classes,) or None
        Group of each class.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    held_out : bool ndarray of shape (n_classes,)
        All False if two classes on each side are not to be had.
    """
    nobody = np.zeros(n_classes, dtype=bool)
    if fraction == 0.0:
        return nobody
    wanted = max(2, round(fraction * n_classes))
    owners = np.arange(n_classes) if owners is None else np.unique(owners, return_inverse=True)[1]
    held_out = nobody.copy()
    for owner in rng.permutation(owners.max() + 1):
        if held_out.sum() >= wanted:
            break
        if n_classes - held_out.sum() - (owners == owner).sum() >= 2:
            held_out |= owners == owner
    return held_out if held_out.sum() >= 2 else nobody


def group_of_class(codes: np.ndarray, class_groups: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the group of each class, which must be one."""
    names, group_codes = np.unique(class_groups, return_inverse=True)
    pairs = np.unique(np.stack([codes, group_codes.reshape(-1)], axis=1), axis=0)
    n_groups = np.bincount(pairs[:, 0])
    if (n_groups > 1).any():
        torn = np.flatnonzero(n_groups > 1)[0]
        torn_groups = names[pairs[pairs[:, 0] == torn, 1]]
        raise ValueError(
            f"class_groups must give every class one group. Class {label_text(classes[[torn]])} "
            f"is in {label_text(torn_groups)}. For who drew or spoke a sample, use groups."
        )
    return names[pairs[:, 1]]
