"""Classes that belong to tasks: only those of one task are compared with each other."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ._draw import sample
from ._plan import EpisodePlan

_Ints: TypeAlias = npt.NDArray[np.intp]
_Bools: TypeAlias = npt.NDArray[np.bool_]


class ClassTasks(NamedTuple):
    """The task of each class, where a class is a pair of task and label.

    Parameters
    ----------
    task : int ndarray of shape (n_classes,)
        Code of its task.
    label : int ndarray of shape (n_classes,)
        Code of its label, which other tasks may have too.
    names : ndarray of shape (n_tasks,)
        The tasks.
    """

    task: _Ints
    label: _Ints
    names: npt.NDArray[Any]

    @property
    def n_labels(self) -> int:
        """Number of labels."""
        return int(self.label.max()) + 1

    def take(self, classes: _Ints | _Bools) -> ClassTasks:
        """Return the tasks of some of the classes."""
        return self._replace(task=self.task[classes], label=self.label[classes])

    def sizes(self, classes: _Bools) -> _Ints:
        """Count those of some classes, bool of shape (n_classes,), in each task."""
        return np.bincount(self.task[classes], minlength=len(self.names))

    def paired(self, classes: _Bools) -> _Bools:
        """Return those of some classes whose task has another of them."""
        return classes & (self.sizes(classes) >= 2)[self.task]

    def with_labels(self, plan: EpisodePlan) -> EpisodePlan:
        """Return a plan with codes of the labels in place of those of the classes."""
        label = np.append(self.label, -1)  # the last is that of padding
        return plan._replace(classes=label[plan.classes])

    def smallest(self) -> tuple[int, str]:
        """Return the classes of the task that has fewest, and a text that says so."""
        sizes = np.bincount(self.task)
        sizes[sizes == 0] = len(self.task) + 1  # that of none of these classes
        size, task = int(sizes.min()), int(sizes.argmin())
        classes = "1 class" if size == 1 else f"{size} classes"
        return size, f"Task {plain(self.names[task])!r} has {classes}"

    def describe(self, code: int) -> str:
        """Return a text that names the task of a class."""
        return f"task {plain(self.names[self.task[code]])!r}"

    def mean_size(self, classes: _Bools) -> float:
        """Return how many of some classes a task has that has any of them."""
        return float(classes.sum() / max(1, np.count_nonzero(self.sizes(classes))))


def pair_with_tasks(
    labels: _Ints, tasks: _Ints, names: npt.NDArray[Any]
) -> tuple[_Ints, ClassTasks]:
    """Number the pairs of task and label, which are the classes that episodes are drawn from.

    Parameters
    ----------
    labels : int ndarray of shape (n_samples,)
        Code of each sample's label.
    tasks : int ndarray of shape (n_samples,)
        Code of each sample's task.
    names : ndarray of shape (n_tasks,)
        The tasks.

    Returns
    -------
    codes : int ndarray of shape (n_samples,)
        Class of each sample; those of a task are in the order of their labels.
    class_tasks : ClassTasks
    """
    n_labels = int(labels.max(initial=-1)) + 1
    pairs, codes = np.unique(tasks * n_labels + labels, return_inverse=True)
    return codes.reshape(-1), ClassTasks(pairs // n_labels, pairs % n_labels, names)


class TaskDraw:
    """Draws a task for each episode, all equally likely, and classes of it.

    Parameters
    ----------
    drawable : int ndarray of shape (n_drawable,)
        The classes to draw from.
    task : int ndarray of shape (n_classes,)
        Code of each class's task.
    """

    def __init__(self, drawable: _Ints, task: _Ints) -> None:
        place = np.unique(task[drawable], return_inverse=True)[1]
        self.size = np.bincount(place)
        self._start = np.cumsum(self.size) - self.size
        self._classes = drawable[np.argsort(place, kind="stable")]

    def draw(self, n_episodes: int, n_way: int, rng: np.random.Generator) -> _Ints:
        """Return classes of shape (n_episodes, n_way), then -1 where a task has fewer."""
        task = rng.integers(len(self.size), size=n_episodes)
        items = sample(self.size[task], n_way, rng)
        return np.where(items < 0, -1, self._classes[self._start[task][:, None] + items])


def plain(name: Any) -> Any:
    """Return a label as a type of Python, whose repr is short."""
    return name.item() if isinstance(name, np.generic) else name
