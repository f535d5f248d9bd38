"""Scores of regressors over episodes of one task each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_regressor
from sklearn.metrics import get_scorer
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed

from ..adapted import FewShotRegressor, walk
from ..episodes import EpisodePlan
from ..network import RegressionNetwork
from ..utils._blocks import blocks
from ..utils._memory_map import some_rows
from ..utils._progress import progress
from ..utils._sklearn import _safe_indexing, validate_parameter_constraints
from ..utils._targets import check_targets
from ..utils._typing import ArrayLike, Estimator, RandomState, Range, Scoring
from ..utils._validation import check_like_fitted
from ._episodic import CONSTRAINTS
from ._result import EpisodicResult
from ._split import episode_rows
from ._task_split import TaskSplit

VALUES_AT_A_TIME = 2**19  # numbers of the support sets and queries of some episodes
FITS_AT_A_TIME = 25  # episodes per unit of work of an ordinary regressor


def task_score(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    tasks: ArrayLike | None = None,
    *,
    n_shot: Range = 5,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "neg_mean_squared_error",
    random_state: RandomState = 0,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> EpisodicResult:
    """Score a regressor on few-shot episodes, each of which is a part of one task.

    A few samples of a task are passed to the estimator, and its predictions of others are scored. A
    learner's score is unbiased only on tasks that it was not trained on.

    Parameters
    ----------
    estimator : fitted learner, or any regressor
        A few-shot regressor, an adapted :class:`~sklearn_fewshot.FewShotRegressor`, or a fitted
        pipeline or search that ends in one is adapted to every support set, after its fitted
        transformers; each row is embedded once. Any other regressor (such as those of
        :func:`task_baselines`) is cloned and fitted on every support set.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their values.
    tasks : array-like of shape (n_samples,) or None, default=None
        Label of each sample's task. None: all samples are of one task.
    n_shot : int or (low, high), default=5
        Support examples.
    n_query : int, default=15
        Queries.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="neg_mean_squared_error"
        A scorer of scikit-learn, by name or as ``scorer(estimator, X, y)``. For learners the rows
        are embedded already, and so is the estimator (a
        :class:`~sklearn_fewshot.FewShotRegressor`).
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes: equal integers give equal episodes, whatever the estimator.
    n_jobs : int or None, default=None
        Processes to divide the episodes between, as in joblib; scores do not depend on it.
    verbose : bool, default=False
        Whether to show the progress of the evaluation.

    Returns
    -------
    result : EpisodicResult
        Scores of the episodes, their mean and its interval.

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, or a task is too small for the episodes.
    NotFittedError
        If a learner, or a transformer before it, is not fitted.
    TypeError
        If the estimator is not a regressor.

    See Also
    --------
    TaskSplit : The same episodes as splits.
    task_baselines : What a learner has to beat.
    episodic_score : Scores of classifiers.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn_fewshot import RidgeNetRegressor
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> from sklearn_fewshot.model_selection import task_score
    >>> X, y, tasks = make_sinusoids(n_tasks=400, n_samples=30, random_state=0)
    >>> base = tasks < 300
    >>> learner = RidgeNetRegressor(max_epochs=3, random_state=0)
    >>> learner = learner.fit(X[base], y[base], tasks=tasks[base])
    >>> new = X[~base], y[~base], tasks[~base]
    >>> bool(task_score(learner, *new).mean > task_score(Ridge(), *new).mean + 1)
    True
    """
    validate_parameter_constraints(CONSTRAINTS, {"scoring": scoring}, "task_score")
    X, y, tasks = indexable(X, y, tasks)
    values = check_targets(X, y, "task_score")
    split = TaskSplit(n_episodes, n_shot=n_shot, n_query=n_query, random_state=random_state)
    plan = split._plan(len(values), tasks, "task_score")
    rows = plan.rows()
    score = _scorer_of(estimator, X, values, rows, scoring)
    found = _work(score, plan.in_terms_of(rows), n_jobs, verbose)
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", repr(scoring))
    return EpisodicResult(np.concatenate(found), 1, n_shot, n_query, name)


Score = Callable[[EpisodePlan], np.ndarray]


def _scorer_of(
    estimator: Estimator, X: Any, y: np.ndarray, rows: np.ndarray, scoring: Scoring
) -> Score:
    """Return what scores plans over some rows; goes to other processes as a whole."""
    path = walk(estimator)
    learner = path.end.learner if isinstance(path.end, FewShotRegressor) else path.end
    if not hasattr(learner, "adapt"):
        if not (hasattr(estimator, "fit") and is_regressor(estimator)):
            raise TypeError(f"task_score takes a regressor. Got {estimator!r}.")
        return partial(_fit_each, estimator, _safe_indexing(X, rows), y[rows], scoring)
    adapted = FewShotRegressor(learner)._start(None)
    encoded = _encode(adapted, path, X, rows)
    if not isinstance(scoring, str):
        return partial(_adapt_each, adapted._for_encoded(encoded), encoded, y[rows], scoring)
    return partial(_predict_many, adapted._network, adapted._scale, encoded, y[rows], scoring)


def _encode(adapted: FewShotRegressor, path: Any, X: Any, rows: np.ndarray) -> np.ndarray:
    """Pass rows through transformers and network, some at a time."""
    network = adapted._network
    n_bytes, parts = 8 * math.prod(adapted.input_shape_), []
    for block in blocks(len(rows), n_bytes, multiple_of=network.batch_size):
        some = check_like_fitted(adapted, path.transform(some_rows(X, rows[block])))
        network.warn_of_range(some)
        parts.append(network.encode(some))
    return np.concatenate(parts)


# ---------------------------------------------------------------------- episodes


def _fit_each(
    estimator: Estimator, X: Any, y: np.ndarray, scoring: Scoring, plan: EpisodePlan
) -> np.ndarray:
    """Fit a clone on every support set and call the scorer on the queries."""
    scorer = get_scorer(scoring)
    scores = []
    for support, query in episode_rows(plan):
        fitted = clone(estimator).fit(_safe_indexing(X, support), y[support])
        scores.append(scorer(fitted, _safe_indexing(X, query), y[query]))
    return np.array(scores, dtype=float)


def _adapt_each(
    adapted: FewShotRegressor, X: np.ndarray, y: np.ndarray, scoring: Any, plan: EpisodePlan
) -> np.ndarray:
    """Adapt to every support set of encoded rows and call the scorer on the queries."""
    scores = []
    for support, query in episode_rows(plan):
        fitted = adapted._readapt(X[support], y[support])
        scores.append(scoring(fitted, X[query], y[query]))
    return np.array(scores, dtype=float)


class _Predicted(RegressorMixin, BaseEstimator):
    """A regressor of which the predictions are known, for scorers that only ask for these."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions."""
        return self.values


def _predict_many(
    network: RegressionNetwork,
    scale: Any,
    X: np.ndarray,
    y: np.ndarray,
    scoring: str,
    plan: EpisodePlan,
) -> np.ndarray:
    """Adapt to many support sets of encoded rows at a time, and score the predictions."""
    scorer = get_scorer(scoring)
    values = scale.standardise(y.reshape(len(y), -1))
    blocks_of_episodes = network.score_values(network.to_tensor(X), values, plan)
    episodes = (one for predicted, std, _ in blocks_of_episodes for one in zip(predicted, std))  # noqa: B905
    scores = []
    for query, one in zip(plan.query[:, 0], episodes, strict=True):
        real = query >= 0
        found, _ = scale.restore(*(part[real] for part in one))
        scores.append(scorer(_Predicted(found), None, y[query[real]]))
    return np.array(scores, dtype=float)


def _work(score: Score, plan: EpisodePlan, n_jobs: int | None, verbose: bool) -> list[np.ndarray]:
    """Score a plan piece by piece, in parallel by ``n_jobs``."""
    pieces = list(_pieces(score, plan))
    with progress(plan.n_episodes, "episode", verbose) as add:
        if effective_n_jobs(n_jobs) == 1 or len(pieces) == 1:
            found = []
            for piece in pieces:
                found.append(score(piece))
                add(piece.n_episodes)
            return found
        return list(Parallel(n_jobs=n_jobs)(delayed(score)(piece) for piece in pieces))


def _pieces(score: Any, plan: EpisodePlan) -> Iterator[EpisodePlan]:
    """Cut a plan into units of work, which do not depend on the number of processes."""
    step = FITS_AT_A_TIME
    if score.func is _predict_many:
        rows = score.args[2]
        size = (plan.support[0].size + plan.query[0].size) * rows[:1].size
        step = max(1, VALUES_AT_A_TIME // size)
    for start in range(0, plan.n_episodes, step):
        yield plan.take(slice(start, start + step))
