"""What a network is trained on, which classes are held out of it, and the episodes of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..episodes import EpisodePlan, EpisodeSampler, drawable_classes, held_out_classes
from ..utils._exact_labels import as_column
from ..utils._validation import group_of_class, is_known, label_text

TORN_CLASS = (
    "class_groups must give every class one group. {torn}. For the source of a sample, such as "
    "its speaker, use groups."
)


class TrainingData(NamedTuple):
    """Samples, their classes (or tasks), and which of these are held out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, *input_shape)
        Samples.
    codes : int ndarray of shape (n_samples,)
        Class codes.
    classes : ndarray of shape (n_classes,)
        Labels.
    groups : ndarray of shape (n_samples,) or None
        Support and queries of an episode share none.
    validation : bool ndarray of shape (n_classes,)
        The held-out classes.
    reserved : bool ndarray of shape (n_samples,) or None
        Rows kept from training.
    attributes : ndarray of shape (n_classes, n_attributes) or None
        What represents the classes in place of examples: episodes then have queries only.
    values : ndarray of shape (n_samples, n_targets) or None
        What is predicted in place of classes: an episode is then one task.
    """

    X: np.ndarray
    codes: np.ndarray
    classes: np.ndarray
    groups: np.ndarray | None
    validation: np.ndarray
    reserved: np.ndarray | None = None
    attributes: np.ndarray | None = None
    values: np.ndarray | None = None

    @property
    def training(self) -> np.ndarray:
        """The classes that are trained on, bool of shape (n_classes,)."""
        return ~self.validation

    @property
    def held_out(self) -> np.ndarray:
        """The held-out classes; all, if none are held out."""
        return self.validation if self.validation.any() else ~self.validation

    def rows_of(self, drawn: np.ndarray) -> np.ndarray:
        """Return the rows of some classes, bool of shape (n_classes,), that may be trained on."""
        inside = drawn[self.codes]
        return np.flatnonzero(inside if self.reserved is None else inside & ~self.reserved)

    def with_all_classes(self) -> TrainingData:
        """Return the data with nothing held out or reserved."""
        return self._replace(validation=np.zeros_like(self.validation), reserved=None)


def hold_out(
    codes: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray | None,
    class_groups: np.ndarray | None,
    *,
    fraction: float,
    seed: int,
) -> np.ndarray:
    """Draw the held-out classes.

    Parameters
    ----------
    codes : int ndarray of shape (n_samples,)
        Class codes.
    classes : ndarray of shape (n_classes,)
        Labels.
    groups, class_groups : ndarray of shape (n_samples,) or None
        As in ``fit``.
    fraction : float
        Share of the classes.
    seed : int
        Seed of the fit.

    Returns
    -------
    validation : bool ndarray of shape (n_classes,)
    """
    owners = None
    if class_groups is not None:
        owners = group_of_class(codes, class_groups, classes, TORN_CLASS)
    drawable = drawable_classes(codes, groups)
    return held_out_classes(drawable, fraction, owners, np.random.default_rng([seed, 1]))


def given_validation(
    classes: np.ndarray, wanted: Any, drawable: np.ndarray, owner: str
) -> np.ndarray:
    """Return the held-out classes that the user names, bool of shape (n_classes,).

    ``drawable`` classes have support and queries; training needs one.
    """
    held_out = named_labels(classes, wanted, f"The 'validation_classes' parameter of {owner}", "y")
    if min(held_out.sum(), (~held_out).sum()) < 2:
        raise ValueError(
            f"The 'validation_classes' parameter of {owner} must leave at least two classes on "
            f"each side. Got {held_out.sum()} of {len(classes)} classes."
        )
    if drawable.any() and not (drawable & ~held_out).any():
        raise ValueError(
            f"The 'validation_classes' parameter of {owner} takes every class with two examples "
            f"(of two groups, if there are groups): {label_text(classes[drawable])}. None is left "
            "to train on. Name fewer."
        )
    return held_out


def given_validation_tasks(
    tasks: np.ndarray, wanted: Any, drawable: np.ndarray, owner: str
) -> np.ndarray:
    """Return the held-out tasks that the user names, bool of shape (n_tasks,).

    ``drawable`` tasks have support and queries; each side needs one.
    """
    what = f"The 'validation_tasks' parameter of {owner}"
    held_out = named_labels(tasks, wanted, what, "tasks")
    if not (drawable & held_out).any() or not (drawable & ~held_out).any():
        raise ValueError(
            f"{what} must leave a task of at least two samples on each side. Got "
            f"{held_out.sum()} of {len(tasks)} tasks. Name others."
        )
    return held_out


def named_labels(labels: np.ndarray, wanted: Any, what: str, source: str) -> np.ndarray:
    """Return which labels a parameter names, bool of shape (n_labels,), or raise on others."""
    wanted = np.unique(as_column(wanted, what.split("'")[1]))
    unknown = wanted[~is_known(wanted, labels)]
    if len(unknown):
        raise ValueError(
            f"{what} must hold labels of {source}. Got {label_text(unknown)}, which {source} does "
            "not have."
        )
    return is_known(labels, wanted)


def make_sampler(
    data: TrainingData, drawn: np.ndarray, *, n_way: Any, n_shot: Any, n_query: int, owner: str
) -> EpisodeSampler | QuerySampler:
    """Return a sampler over the rows of the ``drawn`` classes, bool of shape (n_classes,)."""
    rows, members = data.rows_of(drawn), np.flatnonzero(drawn)
    has_support = data.attributes is None
    sampler = EpisodeSampler(
        np.searchsorted(members, data.codes[rows]),
        n_way=n_way,
        # The sampler wants a support example, which becomes a query where there is no support.
        n_shot=n_shot if has_support else 1,
        n_query=n_query if has_support else max(1, n_query - 1),
        rows=rows,
        groups=None if data.groups is None else data.groups[rows],
        clamp=True,
        names=data.classes[members],
        owner=owner,
        min_way=2 if data.values is None else 1,
    )
    return sampler if has_support else QuerySampler(sampler, members, n_query)


class QuerySampler:
    """Draws episodes without support: all rows are queries.

    Parameters
    ----------
    sampler : EpisodeSampler
        Draws the rows.
    members : int ndarray of shape (n_drawn_classes,)
        Codes, in the data, of the classes that it draws from.
    n_query : int
        Most queries of a class.
    """

    def __init__(self, sampler: EpisodeSampler, members: np.ndarray, n_query: int) -> None:
        self.sampler = sampler
        self.members = members
        self.n_query = n_query
        self.n_way_ = sampler.n_way_
        self.n_clamped_ = sampler.n_clamped_

    def plan(self, n_episodes: int, rng: np.random.Generator) -> EpisodePlan:
        """Draw episodes."""
        support, query, classes = self.sampler.plan(n_episodes, rng)
        query = np.concatenate([support, query], axis=2)[:, :, : self.n_query]
        return EpisodePlan(
            support[:, :, :0], query, np.where(classes < 0, -1, self.members[classes])
        )
