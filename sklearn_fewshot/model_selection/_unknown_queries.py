"""Episodes with queries of unknown classes, which are not in their support set."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..episodes import EpisodePlan, pair_with_tasks
from ..utils._tasks import check_tasks
from ..utils._validation import check_aligned, encode_labels
from ._draw import Drawn
from ._split import episode_rows

STREAM = 1  # of random numbers, beside that of the episodes: they are the same without


def add_unknown(
    drawn: Drawn, groups: Any, tasks: Any, n_unknown: int, seed: int, owner: str
) -> EpisodePlan:
    """Add queries of classes that an episode's support set does not have.

    Parameters
    ----------
    drawn : Drawn
        Samples and episodes.
    groups, tasks : array-like or None
        As in :func:`episodic_score`. Unknown queries share no group with the support set, and are
        of its task.
    n_unknown : int
        Unknown classes per episode.
    seed : int
        Seed of the draws.
    owner : str
        Name of the caller, for error messages.

    Returns
    -------
    plan : EpisodePlan
        The same episodes, with ``n_unknown`` more columns at the end that have no support.

    Raises
    ------
    ValueError
        If an episode does not leave so many classes.
    """
    plan, n_query = drawn.plan, drawn.episodes.n_query
    pool = _Pool(drawn.codes, groups, tasks)
    rng = np.random.default_rng([seed, STREAM])
    n_wide = max(plan.query.shape[2], n_query)
    unknown = np.full((plan.n_episodes, n_unknown, n_wide), -1, dtype=np.intp)
    for rows, (support, _) in zip(unknown, episode_rows(plan), strict=True):
        found = pool.draw(support, n_unknown, n_query, rng)
        if len(found) < n_unknown:
            raise _too_few(owner, n_unknown, n_query, len(found), pool, support)
        rows[:, :n_query] = found
    known = np.pad(
        plan.query, ((0, 0), (0, 0), (0, n_wide - plan.query.shape[2])), constant_values=-1
    )
    return EpisodePlan(
        np.pad(plan.support, ((0, 0), (0, n_unknown), (0, 0)), constant_values=-1),
        np.concatenate([known, unknown], axis=1),
        np.concatenate([plan.classes, drawn.codes[unknown[:, :, 0]]], axis=1),
    )


class _Pool:
    """The samples by class, to draw unknown classes from.

    Classes are numbered in the order in which they appear, so that other labels change no draw.
    """

    def __init__(self, labels: np.ndarray, groups: Any, tasks: Any) -> None:
        names, task_codes = check_tasks(tasks, len(labels))
        codes, task = labels, np.zeros(labels.max() + 1, dtype=np.intp)
        if names is not None and task_codes is not None:
            codes, pairs = pair_with_tasks(labels, task_codes, names)
            task = pairs.task
        order = np.argsort(np.unique(codes, return_index=True)[1])
        self.task = task[order]
        self.codes = np.argsort(order)[codes]
        by_class = np.argsort(self.codes, kind="stable")
        self.rows = np.split(by_class, np.cumsum(np.bincount(self.codes))[:-1])
        groups = check_aligned("groups", groups, len(labels))
        self.groups = None if groups is None else encode_labels(groups)[1]

    def others(self, support: np.ndarray) -> np.ndarray:
        """Return the classes of the task of a support set that it does not have."""
        is_other = np.isin(self.task, self.task[self.codes[support]])
        is_other[self.codes[support]] = False
        return np.flatnonzero(is_other)

    def draw(
        self, support: np.ndarray, n_classes: int, n_rows: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Draw rows of some of these classes, of the classes that have enough."""
        found: list[np.ndarray] = []
        for code in rng.permutation(self.others(support)):
            if len(found) == n_classes:
                break
            rows = self.rows[code]
            if self.groups is not None:
                rows = rows[~np.isin(self.groups[rows], self.groups[support])]
            if len(rows) >= n_rows:
                found.append(rng.choice(rows, n_rows, replace=False))
        return found


def _too_few(
    owner: str, n_unknown: int, n_query: int, n_found: int, pool: _Pool, support: np.ndarray
) -> ValueError:
    n_way, n_others = len(np.unique(pool.codes[support])), len(pool.others(support))
    of_task = " of its task" if pool.task.any() else ""
    of_groups = "" if pool.groups is None else " of groups that the support set does not have"
    return ValueError(
        f"The 'n_unknown' parameter of {owner} must be at most {n_found} here: an episode has "
        f"{n_way} of the {n_way + n_others} classes{of_task} in its support set, and {n_found} of "
        f"the other {n_others} have n_query={n_query} examples{of_groups}. Got {n_unknown}. Lower "
        "n_way, n_unknown or n_query, or give more classes."
    )
