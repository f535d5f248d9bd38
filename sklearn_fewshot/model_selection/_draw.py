"""Data with the episodes that are drawn from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import indexable

from ..episodes import EpisodePlan, pair_with_tasks
from ..utils._tasks import check_tasks
from ..utils._validation import encode_labels
from ..utils._warnings import warn_user
from ._duplicates import n_answered_by_support
from ._open_set import OpenSetResult
from ._result import PERCENT, Answers, EpisodicResult
from ._split import EpisodeSplit, FrozenEpisodes, n_way_of


class Scored(NamedTuple):
    """Scores and predictions of an estimator on the episodes of a plan.

    Parameters
    ----------
    scores : ndarray of shape (n_episodes,)
        Score of each episode.
    predicted : int32 ndarray of shape (n_episodes, n_way, n_query)
        Code of the predicted class of each query, -1 for padding and for labels that
        are no class.
    runner_up : int32 ndarray of shape (n_episodes, n_way, n_query)
        Code of the second most probable class, -1 where it is not known.
    open_set : OpenSetResult or None, default=None
        How queries of unknown classes were rejected, if there were any.
    """

    scores: np.ndarray
    predicted: np.ndarray
    runner_up: np.ndarray
    open_set: OpenSetResult | None = None


class Drawn(NamedTuple):
    """Data and episodes.

    Parameters
    ----------
    X : indexable
        Samples.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    codes : int ndarray of shape (n_samples,)
        Class of each sample.
    plan : EpisodePlan
        The episodes.
    episodes : EpisodeSplit or FrozenEpisodes
        Their parameters.
    labels_are_names : bool
        Whether equal labels of other data mean equal classes.
    has_tasks : bool
        Whether the classes of an episode are of one task.
    """

    X: Any
    classes: np.ndarray
    codes: np.ndarray
    plan: EpisodePlan
    episodes: Any
    labels_are_names: bool
    has_tasks: bool

    def result(
        self, scored: Scored, scoring: Any, transductive: str | None = None
    ) -> EpisodicResult:
        """Return scores and predictions with the parameters of the episodes."""
        n_way = n_way_of(self.plan) if self.episodes.n_way == "all" else self.episodes.n_way
        answers = Answers(self.classes, self.plan, scored.predicted, scored.runner_up)
        name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", repr(scoring))
        if name is not scoring and name.startswith(PERCENT):  # whatever it computes
            name = f"scorer {name}"
        sizes = n_way, self.episodes.n_shot, self.episodes.n_query
        return EpisodicResult(
            scored.scores,
            *sizes,
            name,
            answers,
            transductive,
            scored.open_set,
            has_tasks=self.has_tasks,
        )


def draw_episodes(episodes: Any, X: Any, y: Any, groups: Any, tasks: Any, owner: str) -> Drawn:
    """Draw episodes, and warn of queries that have an equal row in their support set.

    Parameters
    ----------
    episodes : EpisodeSplit or FrozenEpisodes
        Parameters of the episodes.
    X, y, groups, tasks : array-like
        As in :func:`episodic_score`.
    owner : str
        Name of the caller, for error messages.

    Returns
    -------
    drawn : Drawn

    Raises
    ------
    TypeError
        If ``episodes`` is of another type.
    """
    if not isinstance(episodes, EpisodeSplit | FrozenEpisodes):
        raise TypeError(
            f"The 'episodes' parameter of {owner} must be an EpisodeSplit, FrozenEpisodes or None"
            f"{', or a list of these' * (owner == 'episodic_score')}. Got {episodes!r}."
        )
    X, y, groups, tasks = indexable(X, y, groups, tasks)
    y, plan = episodes._plan(X, y, groups, tasks, owner)
    classes, codes = encode_labels(y)
    n_copies, n_queries = n_answered_by_support(X, plan), np.count_nonzero(plan.query >= 0)
    if n_copies:
        warn_user(
            f"{n_copies} of {n_queries} queries have an equal row in the support set of their "
            "episode, so they test nothing. Keep equal rows on one side: "
            "groups=duplicate_groups(X), of sklearn_fewshot.model_selection."
        )
    has_tasks = check_tasks(tasks, len(codes))[0] is not None  # a single one is none
    return Drawn(X, classes, codes, plan, episodes, _are_names(codes, tasks), has_tasks)


def _are_names(codes: np.ndarray, tasks: Any) -> bool:
    """Whether labels tell classes of other data apart: not if tasks have labels in common."""
    if tasks is None:
        return True
    names, task_codes = check_tasks(tasks, len(codes))
    if names is None or task_codes is None:  # of one task this cannot be said
        return False
    return bool(np.bincount(pair_with_tasks(codes, task_codes, names)[1].label).max() == 1)
