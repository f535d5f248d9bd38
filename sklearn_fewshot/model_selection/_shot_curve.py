"""Accuracy against the number of examples a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils._html import html_table
from ..utils._sklearn import validate_parameter_constraints
from ..utils._typing import ArrayLike, Estimator, RandomState, Scoring, Way
from ._draw import draw_episodes
from ._episodic import CONSTRAINTS
from ._evaluation import check_can_be_scored, evaluate
from ._result import EpisodicResult, import_pandas, score_text
from ._split import EpisodeSplit


@dataclass(frozen=True, eq=False, repr=False)
class ShotCurve:
    """Scores of an estimator for several numbers of examples a class.

    Parameters
    ----------
    n_shots : tuple of int
        Examples of each class.
    results : tuple of EpisodicResult
        One for each of these numbers, on the same queries.

    See Also
    --------
    shot_curve : Returns this.
    sklearn_fewshot.inspection.ShotCurveDisplay : Draws one or several.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.neighbors import NearestCentroid
    >>> from sklearn_fewshot.model_selection import shot_curve
    >>> X, y = make_blobs(400, centers=8, cluster_std=2.0, random_state=0)
    >>> curve = shot_curve(NearestCentroid(), X, y, n_shots=(1, 5, 20), n_episodes=100)
    >>> print(curve)
    67.19 ± 2.42 % (5-way 1-shot, 15 queries, 100 episodes, interval over episodes)
    76.91 ± 1.64 % (5-way 5-shot, 15 queries, 100 episodes, interval over episodes)
    78.43 ± 1.57 % (5-way 20-shot, 15 queries, 100 episodes, interval over episodes)
    """

    n_shots: tuple[int, ...]
    results: tuple[EpisodicResult, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean score for each number of examples."""
        return np.array([result.mean for result in self.results])

    @property
    def half_width(self) -> np.ndarray:
        """Half the width of the 95 % interval over episodes, for each number of examples."""
        return np.array([result.half_width for result in self.results])

    def to_frame(self) -> Any:
        """Return a data frame with one row per number of examples.

        Returns
        -------
        frame : pandas.DataFrame
            Columns "mean" and "half_width", index "n_shot".
        """
        pd = import_pandas(type(self).__name__)

        index = pd.Index(self.n_shots, name="n_shot")
        return pd.DataFrame({"mean": self.mean, "half_width": self.half_width}, index=index)

    def __str__(self) -> str:
        """Return one line for each number of examples."""
        return "\n".join(str(result) for result in self.results)

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        rows = [
            (str(n_shot), score_text(result.interval_over(), result.scoring))
            for n_shot, result in zip(self.n_shots, self.results, strict=True)
        ]
        return html_table(rows, header=("examples of each class", self.results[0].scoring))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def shot_curve(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_shots: Sequence[int] = (1, 2, 5, 10, 20),
    n_way: Way = 5,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "accuracy",
    groups: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    random_state: RandomState = 0,
    preprocess: Estimator = None,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> ShotCurve:
    """Score an estimator with several numbers of examples per class, in one pass.

    All numbers share classes and queries, and a support set contains the smaller ones: only the
    number of examples differs along the curve. Rows are embedded once.

    Parameters
    ----------
    estimator : fitted learner, or any classifier
        As in :func:`episodic_score`.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples.
    y : array-like of shape (n_samples,)
        Their labels.
    n_shots : sequence of int, default=(1, 2, 5, 10, 20)
        Numbers of support examples per class. Every class needs the largest of them, and
        ``n_query`` more.
    n_way : int, (low, high) or "all", default=5
        Classes per episode.
    n_query : int, default=15
        Queries per class.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="accuracy"
        Score of an episode, as in :func:`episodic_score`.
    groups : array-like of shape (n_samples,) or None, default=None
        Groups that support and queries of an episode never share.
    tasks : array-like of shape (n_samples,) or None, default=None
        Tasks, one of which the classes of an episode are from, as in :func:`episodic_score`.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes.
    preprocess : fitted transformer or None, default=None
        Transforms X first.
    n_jobs : int or None, default=None
        Processes to divide the episodes between.
    verbose : bool, default=False
        Whether to show the progress of the evaluation.

    Returns
    -------
    curve : ShotCurve

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, or a class is too small for the episodes.

    See Also
    --------
    episodic_score : One number of examples.
    class_learning_curve : Accuracy against the number of base classes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import shot_curve
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 6, y >= 6
    >>> learner = ProtoNetClassifier(max_epochs=2, random_state=0).fit(X[base], y[base])
    >>> curve = shot_curve(learner, X[new], y[new], n_shots=(1, 5), n_way="all", n_episodes=50)
    >>> bool(curve.mean[1] > curve.mean[0])
    True
    """
    owner = "shot_curve"
    validate_parameter_constraints(CONSTRAINTS, {"scoring": scoring}, owner)
    shots = np.unique(np.asarray(n_shots))
    if shots.ndim != 1 or not len(shots) or shots.dtype.kind not in "iu" or shots[0] < 1:
        raise ValueError(f"{owner} takes n_shots as ints of at least 1. Got {n_shots!r}.")
    check_can_be_scored(estimator, owner)
    episodes = EpisodeSplit(
        n_episodes,
        n_way=n_way,
        n_shot=int(shots[-1]),
        n_query=n_query,
        random_state=random_state,
    )
    drawn = draw_episodes(episodes, X, y, groups, tasks, owner)
    plans = [drawn.plan._replace(support=drawn.plan.support[:, :, :n]) for n in shots]
    scored = evaluate(
        estimator,
        drawn,
        plans,
        scoring=scoring,
        preprocess=preprocess,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    results = []
    for n_shot, plan, part in zip(shots.tolist(), plans, scored, strict=True):
        conditions = EpisodeSplit(n_way=n_way, n_shot=n_shot, n_query=n_query)
        results.append(drawn._replace(plan=plan, episodes=conditions).result(part, scoring))
    return ShotCurve(tuple(shots.tolist()), tuple(results))
