"""What a network is trained on, which classes are held out of it, and the episodes of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..episodes import (
    ClassTasks,
    EpisodePlan,
    EpisodeSampler,
    drawable_classes,
    held_out_classes,
    pair_with_tasks,
)
from ..utils._exact_labels import as_column
from ..utils._tasks import check_tasks, join_units
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
        Class codes. Where there are tasks, a class is a pair of task and label.
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
    class_tasks : ClassTasks or None
        Task and label of each class. All classes of an episode are of one task.
    """

    X: np.ndarray
    codes: np.ndarray
    classes: np.ndarray
    groups: np.ndarray | None
    validation: np.ndarray
    reserved: np.ndarray | None = None
    attributes: np.ndarray | None = None
    values: np.ndarray | None = None
    class_tasks: ClassTasks | None = None

    @property
    def training(self) -> np.ndarray:
        """The classes that are trained on, bool of shape (n_classes,)."""
        return ~self.validation

    @property
    def held_out(self) -> np.ndarray:
        """The held-out classes; all, if none are held out."""
        return self.validation if self.validation.any() else ~self.validation

    @property
    def label_codes(self) -> np.ndarray:
        """Code of each sample's label, which several tasks may have."""
        return self.codes if self.class_tasks is None else self.class_tasks.label[self.codes]

    def usable(self, classes: np.ndarray) -> np.ndarray:
        """Return those of some classes, bool of shape (n_classes,), that episodes can have."""
        return usable_classes(self.codes, self.groups, classes, self.class_tasks)

    def rows_of(self, drawn: np.ndarray) -> np.ndarray:
        """Return the rows of some classes, bool of shape (n_classes,), that may be trained on."""
        inside = drawn[self.codes]
        return np.flatnonzero(inside if self.reserved is None else inside & ~self.reserved)

    def with_all_classes(self) -> TrainingData:
        """Return the data with nothing held out or reserved."""
        return self._replace(validation=np.zeros_like(self.validation), reserved=None)


def usable_classes(
    codes: np.ndarray,
    groups: np.ndarray | None,
    classes: np.ndarray,
    class_tasks: ClassTasks | None,
) -> np.ndarray:
    """Return which of some classes can have support and queries, and another one in their task."""
    usable = classes & drawable_classes(codes, groups)
    return usable if class_tasks is None else class_tasks.paired(usable)


def divide_by_tasks(
    codes: np.ndarray, classes: np.ndarray, groups: np.ndarray | None, tasks: Any, owner: str
) -> tuple[np.ndarray, np.ndarray, ClassTasks | None]:
    """Return codes and labels of the pairs of task and label; of the labels if tasks are None.

    Parameters
    ----------
    codes : int ndarray of shape (n_samples,)
        Code of each sample's label.
    classes : ndarray of shape (n_labels,)
        Labels.
    groups : ndarray of shape (n_samples,) or None
        As in ``fit``.
    tasks : array-like of shape (n_samples,) or None
        As in ``fit``; a single task is none.
    owner : str
        Name of the learner, for error messages.

    Returns
    -------
    codes : int ndarray of shape (n_samples,)
        Class of each sample.
    classes : ndarray of shape (n_classes,)
        Label of each class.
    class_tasks : ClassTasks or None
        Task of each class.
    """
    names, task_codes = check_tasks(tasks, len(codes))
    if names is None or task_codes is None:
        return codes, classes, None
    codes, class_tasks = pair_with_tasks(codes, task_codes, names)
    everything = np.ones(len(class_tasks.task), dtype=bool)
    if not usable_classes(codes, groups, everything, class_tasks).any():
        raise ValueError(
            f"{owner} draws the classes of an episode from one task, and needs a task with two "
            f"classes of two examples each{', of two groups' * (groups is not None)}. Got "
            f"{len(names)} tasks and none of that kind. {class_tasks.smallest()[1]}. If classes "
            "of different tasks may be compared, leave tasks out."
        )
    return codes, classes[class_tasks.label], class_tasks


def hold_out(
    codes: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray | None,
    class_groups: np.ndarray | None,
    *,
    fraction: float,
    seed: int,
    class_tasks: ClassTasks | None = None,
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
    class_tasks : ClassTasks or None
        Whole tasks are held out; with ``class_groups`` as well, what neither of the two divides.

    Returns
    -------
    validation : bool ndarray of shape (n_classes,)
    """
    owners = None
    if class_groups is not None:
        owners = group_of_class(codes, class_groups, classes, TORN_CLASS)
    if class_tasks is not None:
        owners = class_tasks.task if owners is None else join_units(class_tasks.task, owners)
    everything = np.ones(len(classes), dtype=bool)
    drawable = usable_classes(codes, groups, everything, class_tasks)
    rng = np.random.default_rng([seed, 1])
    held_out = held_out_classes(drawable, fraction, owners, rng)
    if class_tasks is None:
        return held_out
    assert owners is not None
    return np.isin(owners, owners[held_out])  # classes that are too small go with their task


def given_validation(
    codes: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray | None,
    wanted: Any,
    owner: str,
    class_tasks: ClassTasks | None = None,
) -> np.ndarray:
    """Return the held-out classes that the user names, bool of shape (n_classes,).

    Training needs one of those that have support and queries; two of one task if there are tasks.
    """
    held_out = named_labels(classes, wanted, f"The 'validation_classes' parameter of {owner}", "y")
    if min(held_out.sum(), (~held_out).sum()) < 2:
        raise ValueError(
            f"The 'validation_classes' parameter of {owner} must leave at least two classes on "
            f"each side. Got {held_out.sum()} of {len(classes)} classes."
        )
    drawable = drawable_classes(codes, groups)
    if drawable.any() and not usable_classes(codes, groups, ~held_out, class_tasks).any():
        raise ValueError(
            f"The 'validation_classes' parameter of {owner} takes every class with two examples "
            f"(of two groups, if there are groups): {label_text(classes[drawable])}. None is left "
            "to train on. Name fewer."
            if class_tasks is None
            else f"The 'validation_classes' parameter of {owner} leaves no task with two classes "
            "to train on. Name fewer, or labels of whole tasks."
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
        class_tasks=None if data.class_tasks is None else data.class_tasks.take(members),
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
