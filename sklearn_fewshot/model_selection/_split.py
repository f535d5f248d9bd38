"""Splits whose two sides share no class, and splits into support and queries."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator

from ..episodes import EpisodePlan, EpisodeSampler, pair_with_tasks
from ..utils._html import range_text
from ..utils._random import draw_seed
from ..utils._tasks import check_tasks
from ..utils._typing import ArrayLike, PathLike, RandomState, Range, Way
from ..utils._validation import (
    check_aligned,
    check_labels,
    encode_labels,
    label_kind,
    label_text,
)
from ._result import count_text
from ._unequal_queries import with_unequal_queries


class EpisodeSplit(BaseCrossValidator):
    """Few-shot episodes as splits: each trains on a support set and tests on queries.

    ``cross_val_score(FewShotClassifier(learner), X, y, cv=EpisodeSplit())`` is few-shot evaluation
    by scikit-learn itself, and any other classifier can stand in for the first one.
    :func:`episodic_score` computes the same much faster for learners: it embeds X once.

    Parameters
    ----------
    n_episodes : int, default=600
        Number of splits.
    n_way : int, (low, high) or "all", default=5
        Classes in an episode; a pair is drawn from for each episode.
    n_shot : int or (low, high), default=1
        Support examples of each class.
    n_query : int, default=15
        Queries of each class.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes. Equal integers give the episodes of :func:`episodic_score`.
    query_alpha : float or None, default=None
        Concentration of a Dirichlet distribution that each episode draws the shares of its classes
        among the queries from; the smaller, the less balanced. ``n_query`` stays their mean; no
        class has more than ten times that, or than it has. None: equally many of each class.

    See Also
    --------
    FrozenEpisodes : The same episodes as a value that can be saved, by :meth:`freeze`.
    episodic_score : The same evaluation in one call, with an interval.
    ClassKFold : Splits whose two sides share no class, to meta-train on.

    Notes
    -----
    ``groups`` given to :meth:`split` (who drew, spoke or photographed) are never in the support
    and the queries of one episode. ``tasks`` (assays, patients, data sets) divide the classes:
    those of an episode are of one task, a label in several tasks is another class in each, and
    tasks are equally likely. Every class must be able to fill an episode: classes that are too
    small raise instead of being cut short, and so do tasks of fewer than ``n_way`` classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodeSplit
    >>> y = np.repeat(["ant", "bee", "cat"], 3)
    >>> split = EpisodeSplit(n_episodes=2, n_way=2, n_shot=1, n_query=1, random_state=0)
    >>> for support, query in split.split(y, y):
    ...     print(y[support], y[query])
    ['ant' 'cat'] ['ant' 'cat']
    ['ant' 'bee'] ['ant' 'bee']
    """

    __metadata_request__split = {"groups": True, "tasks": True}

    def __init__(
        self,
        n_episodes: int = 600,
        *,
        n_way: Way = 5,
        n_shot: Range = 1,
        n_query: int = 15,
        random_state: RandomState = 0,
        query_alpha: float | None = None,
    ) -> None:
        self.n_episodes = n_episodes
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.random_state = random_state
        self.query_alpha = query_alpha

    def split(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the rows of support and queries.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples; only their number matters.
        y : array-like of shape (n_samples,)
            Labels.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups that support and queries of an episode never share.
        tasks : array-like of shape (n_samples,) or None, default=None
            Tasks: the classes of an episode are those of one.

        Yields
        ------
        support, query : ndarray
            Rows of the two sides, class by class.
        """
        _, plan = self._plan(X, y, groups, tasks, owner=type(self).__name__)
        yield from episode_rows(plan)

    def get_n_splits(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> int:
        """Return the number of episodes.

        Parameters
        ----------
        X, y, groups, tasks : object
            Ignored.

        Returns
        -------
        n_splits : int
        """
        return self.n_episodes

    def _plan(
        self,
        X: ArrayLike | None,
        y: ArrayLike | None,
        groups: ArrayLike | None,
        tasks: ArrayLike | None,
        owner: str,
    ) -> tuple[np.ndarray, EpisodePlan]:
        """Draw the episodes, or raise if one could not be filled.

        Parameters
        ----------
        X, y, groups, tasks : array-like
            As in :meth:`split`.
        owner : str
            Whose parameters these are, for error messages.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels, validated.
        plan : EpisodePlan
            The classes of each episode are sorted.
        """
        if not isinstance(self.n_episodes, Integral) or self.n_episodes < 1:
            raise ValueError(
                f"The 'n_episodes' parameter of {owner} must be an int of at least 1. Got "
                f"{self.n_episodes!r}."
            )
        alpha = self.query_alpha
        if alpha is not None and not (isinstance(alpha, Real) and 0 < alpha < np.inf):
            raise ValueError(
                f"The 'query_alpha' parameter of {owner} must be a number above 0, or None. Got "
                f"{alpha!r}."
            )
        y = check_labels(X, y)
        classes, codes = encode_labels(y)
        groups = check_aligned("groups", groups, len(y))
        names, task_codes = check_tasks(tasks, len(y))
        class_tasks = None
        if names is not None and task_codes is not None:
            codes, class_tasks = pair_with_tasks(codes, task_codes, names)
            classes = classes[class_tasks.label]
        sampler = EpisodeSampler(
            codes,
            n_way=self.n_way,
            n_shot=self.n_shot,
            n_query=self.n_query,
            groups=groups,
            names=classes,
            owner=owner,
            class_tasks=class_tasks,
        )
        rng = np.random.default_rng(draw_seed(self.random_state))
        plan = _sorted_by_class(sampler.plan(self.n_episodes, rng))
        if alpha is not None:
            owner_of = np.arange(len(y)) if groups is None else encode_labels(groups)[1]
            plan = with_unequal_queries(plan, codes, owner_of, alpha, rng)
        return y, plan if class_tasks is None else class_tasks.with_labels(plan)

    def freeze(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> FrozenEpisodes:
        """Draw the episodes once and for all.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples; only their number matters.
        y : array-like of shape (n_samples,)
            Labels.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups that support and queries of an episode never share.
        tasks : array-like of shape (n_samples,) or None, default=None
            Tasks: the classes of an episode are those of one.

        Returns
        -------
        episodes : FrozenEpisodes
            Episodes of these samples, in this order.
        """
        y, plan = self._plan(X, y, groups, tasks, owner=type(self).__name__)
        n_way = n_way_of(plan) if self.n_way == "all" else self.n_way
        return FrozenEpisodes(
            plan.support,
            plan.query,
            plan.classes,
            y=y,
            n_way=n_way,
            n_shot=self.n_shot,
            n_query=self.n_query,
        )


class FrozenEpisodes(BaseCrossValidator):
    """Episodes that are drawn already: the same everywhere, and after the next release, too.

    Made by :meth:`EpisodeSplit.freeze` or :meth:`load`. A splitter, and what
    :func:`episodic_score` takes as ``episodes``.

    Parameters
    ----------
    support : int array of shape (n_episodes, n_way, n_shot)
        Rows of the support examples; here and below -1 fills up where an episode has fewer.
    query : int array of shape (n_episodes, n_way, n_query)
        Rows of the queries.
    codes : int array of shape (n_episodes, n_way)
        Places of the classes among the sorted labels.
    y : array-like of shape (n_samples,)
        Labels of the samples that the rows are of.
    n_way : int or (low, high)
        Classes in an episode.
    n_shot : int or (low, high)
        Support examples of each class.
    n_query : int
        Queries of each class, or their mean.

    See Also
    --------
    EpisodeSplit : Draws episodes.
    episodic_score : Scores an estimator on them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodeSplit
    >>> y = np.repeat(["ant", "bee", "cat"], 4)
    >>> episodes = EpisodeSplit(2, n_way=2, n_shot=1, n_query=1, random_state=0).freeze(y, y)
    >>> episodes
    FrozenEpisodes of 12 samples: 2 episodes, 2-way 1-shot, 1 query
    >>> support, query = next(episodes.split(y, y))
    >>> y[support]
    array(['ant', 'cat'], dtype='<U3')
    """

    __metadata_request__split = {"groups": True, "tasks": True}

    def __init__(
        self,
        support: ArrayLike,
        query: ArrayLike,
        codes: ArrayLike,
        *,
        y: ArrayLike,
        n_way: Way,
        n_shot: Range,
        n_query: int,
    ) -> None:
        arrays = (np.asarray(part, dtype=np.intp) for part in (support, query, codes))
        self._episodes = EpisodePlan(*arrays)
        self.y = np.asarray(y)
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query

    def save(self, path: PathLike) -> None:
        """Write the episodes to a file that :meth:`load` reads.

        Parameters
        ----------
        path : str or path-like
            The file, in numpy's format ".npz", which holds numbers and labels only.
        """
        y = _plain_labels(self.y)
        arrays: dict[str, Any] = {
            name: rows.astype(np.int32) for name, rows in self._episodes._asdict().items()
        }
        sizes = {"n_way": self.n_way, "n_shot": self.n_shot, "n_query": self.n_query}
        arrays |= {name: np.array(size) for name, size in sizes.items()}
        with open(path, "wb") as file:
            np.savez_compressed(file, y=y, **arrays)

    @classmethod
    def load(cls, path: PathLike) -> FrozenEpisodes:
        """Read episodes from a file.

        Parameters
        ----------
        path : str or path-like
            A file that :meth:`save` wrote.

        Returns
        -------
        episodes : FrozenEpisodes

        Raises
        ------
        ValueError
            If the file is another one.
        """
        if not zipfile.is_zipfile(path):
            raise _not_ours(path)
        with np.load(path) as file:
            if "support" not in file:
                raise _not_ours(path)
            n_way, n_shot, n_query = (
                file[name].tolist() for name in ("n_way", "n_shot", "n_query")
            )
            return cls(
                file["support"],
                file["query"],
                file["classes"],
                y=file["y"],
                n_way=tuple(n_way) if isinstance(n_way, list) else n_way,
                n_shot=tuple(n_shot) if isinstance(n_shot, list) else n_shot,
                n_query=n_query,
            )

    def split(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the rows of support and queries.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples; only their number matters.
        y : array-like of shape (n_samples,)
            Labels: those that the episodes were drawn for.
        groups, tasks : object
            Ignored: both were taken into account, or not, when the episodes were drawn.

        Yields
        ------
        support, query : ndarray
            Rows of the two sides, class by class.
        """
        _, plan = self._plan(X, y, groups, tasks, owner=type(self).__name__)
        yield from episode_rows(plan)

    def get_n_splits(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> int:
        """Return the number of episodes.

        Parameters
        ----------
        X, y, groups, tasks : object
            Ignored.

        Returns
        -------
        n_splits : int
        """
        return self._episodes.n_episodes

    def _plan(
        self,
        X: ArrayLike | None,
        y: ArrayLike | None,
        groups: ArrayLike | None,
        tasks: ArrayLike | None,
        owner: str,
    ) -> tuple[np.ndarray, EpisodePlan]:
        """Return labels and episodes, or raise if the episodes are of other samples."""
        y = check_labels(X, y)
        if len(y) != len(self.y):
            raise ValueError(
                f"These episodes were drawn for {len(self.y)} samples. {owner} got {len(y)}."
            )
        new, old = _plain_labels(y), _plain_labels(self.y)
        if label_kind(new) != label_kind(old):  # text is in another order than numbers
            raise ValueError(
                f"These episodes were drawn for labels like {label_text(old[:1])}. {owner} got "
                f"{label_text(new[:1])}, of another type."
            )
        differ = np.flatnonzero(new != old)
        if len(differ):
            raise ValueError(
                f"These episodes were drawn for samples with other labels, or in another order. "
                f"Sample {differ[0]} was {label_text(old[differ[:1]])}; {owner} got "
                f"{label_text(new[differ[:1]])}."
            )
        return y, self._episodes

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__} of {len(self.y)} samples: "
            f"{count_text(self._episodes.n_episodes, 'episode', 'episodes')}, "
            f"{range_text(self.n_way)}-way {range_text(self.n_shot)}-shot, "
            f"{count_text(self.n_query, 'query', 'queries')}"
        )


Episodes = EpisodeSplit | FrozenEpisodes


def _not_ours(path: PathLike) -> ValueError:
    return ValueError(
        f"{str(path)!r} is no file of episodes. Pass one that FrozenEpisodes.save wrote."
    )


def _plain_labels(y: np.ndarray) -> np.ndarray:
    """Return text that is stored as objects as text."""
    return y.astype(str) if y.dtype == object else y


def n_way_of(plan: EpisodePlan) -> int | tuple[int, int]:
    """Return the number of classes in an episode; fewest and most, if they are not equal."""
    sizes = (plan.classes >= 0).sum(axis=1)
    low, high = int(sizes.min()), int(sizes.max())
    return high if low == high else (low, high)


def episode_rows(plan: EpisodePlan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over the rows of support and queries, class by class and without padding."""
    for support, query in zip(plan.support, plan.query, strict=True):
        yield support[support >= 0], query[query >= 0]


def _sorted_by_class(plan: EpisodePlan) -> EpisodePlan:
    """Order classes as in ``classes_``, so that ties fall as in a classifier of the episode."""
    padding_last = np.where(plan.classes < 0, np.iinfo(np.intp).max, plan.classes)
    order = np.argsort(padding_last, axis=1)  # (n_episodes, n_way)
    episode = np.arange(plan.n_episodes)[:, None]
    return EpisodePlan(*(rows[episode, order] for rows in plan))
