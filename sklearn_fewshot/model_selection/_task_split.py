"""Few-shot regression as splits: some samples of a task for support, others for queries."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

import numpy as np
from sklearn.model_selection import BaseCrossValidator

from ..episodes import EpisodePlan, EpisodeSampler
from ..utils._random import draw_seed
from ..utils._sklearn import _num_samples
from ..utils._tasks import encode_tasks
from ..utils._typing import ArrayLike, RandomState, Range
from ._split import episode_rows


class TaskSplit(BaseCrossValidator):
    """Episodes of one task each as splits: some of its samples are support, others queries.

    ``cross_val_score(FewShotRegressor(learner), X, y, groups=tasks, cv=TaskSplit())`` is few-shot
    evaluation by scikit-learn itself. :func:`task_score` computes the same much faster for
    learners. Splits into base and new tasks are those of scikit-learn, such as
    :class:`~sklearn.model_selection.GroupKFold` with ``groups=tasks``. Scores of learners by such
    splits are of predictions without a support set, those of the prior, and do not tell learners
    apart by how they adapt: score the held-out tasks by :func:`task_score`.

    Parameters
    ----------
    n_episodes : int, default=600
        Number of splits.
    n_shot : int or (low, high), default=5
        Support examples; a pair is drawn from for each episode.
    n_query : int, default=15
        Queries.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes. Equal integers give the episodes of :func:`task_score`.

    See Also
    --------
    task_score : The same evaluation in one call, with an interval.
    EpisodeSplit : Episodes of classification.

    Notes
    -----
    Every task must be able to fill an episode: tasks that are too small raise.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import TaskSplit
    >>> tasks = np.repeat(["red", "green", "blue"], 4)
    >>> split = TaskSplit(n_episodes=2, n_shot=2, n_query=1, random_state=0)
    >>> for support, query in split.split(tasks, groups=tasks):
    ...     print(tasks[support], tasks[query])
    ['green' 'green'] ['green']
    ['green' 'green'] ['green']
    """

    __metadata_request__split = {"groups": True}

    def __init__(
        self,
        n_episodes: int = 600,
        *,
        n_shot: Range = 5,
        n_query: int = 15,
        random_state: RandomState = 0,
    ) -> None:
        self.n_episodes = n_episodes
        self.n_shot = n_shot
        self.n_query = n_query
        self.random_state = random_state

    def split(
        self, X: ArrayLike, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the rows of support and queries.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples; only their number matters.
        y : object
            Ignored.
        groups : array-like of shape (n_samples,) or None, default=None
            The task of each sample. None: all are of one task.

        Yields
        ------
        support, query : ndarray
            Rows of the two sides.
        """
        yield from episode_rows(self._plan(_num_samples(X), groups, owner=type(self).__name__))

    def get_n_splits(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> int:
        """Return the number of episodes.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        n_splits : int
        """
        return self.n_episodes

    def _plan(self, n_samples: int, tasks: ArrayLike | None, owner: str) -> EpisodePlan:
        """Draw the episodes, or raise if one could not be filled."""
        if not isinstance(self.n_episodes, Integral) or self.n_episodes < 1:
            raise ValueError(
                f"The 'n_episodes' parameter of {owner} must be an int of at least 1. Got "
                f"{self.n_episodes!r}."
            )
        names, codes = encode_tasks(tasks, n_samples)
        sampler = EpisodeSampler(
            codes,
            n_way=1,
            n_shot=self.n_shot,
            n_query=self.n_query,
            names=names,
            owner=owner,
            min_way=1,
        )
        return sampler.plan(self.n_episodes, np.random.default_rng(draw_seed(self.random_state)))
