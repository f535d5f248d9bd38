"""Scores over few-shot episodes, for learners and for any other classifier."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, overload

from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils.metadata_routing import UNUSED

from ..adapted import REFINEMENTS
from ..adapted._rejection import DEFAULT_RATE
from ..utils._random import draw_seed
from ..utils._sklearn import Interval, StrOptions, validate_parameter_constraints
from ..utils._typing import ArrayLike, Estimator, RandomState, Range, Refinement, Scoring, Way
from ..utils._warnings import warn_user
from ._draw import draw_episodes
from ._evaluation import check_can_be_scored, evaluate
from ._result import EpisodicResult
from ._split import Episodes, EpisodeSplit
from ._unknown_queries import add_unknown

HALVING = (
    "If this is a search by halving, such as HalvingGridSearchCV: it takes rows out of every "
    'class. Pass it resource="max_epochs" (in a pipeline with the name of the step before it).'
)

CONSTRAINTS: dict[str, list[Any]] = {
    "scoring": [StrOptions(set(get_scorer_names())), callable],
}
OPTIONS: dict[str, list[Any]] = {
    "transductive": [StrOptions(set(REFINEMENTS)), None],
    "n_unknown": [Interval(Integral, 0, None, closed="left")],
    "reject_rate": [Interval(Real, 0, 1, closed="left")],
}


@overload
def episodic_score(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    episodes: list[Episodes],
    n_way: Way = 5,
    n_shot: Range = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "accuracy",
    groups: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    random_state: RandomState = 0,
    preprocess: Estimator = None,
    query_alpha: float | None = None,
    transductive: Refinement | None = None,
    n_unknown: int = 0,
    reject_rate: float = DEFAULT_RATE,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> list[EpisodicResult]: ...


@overload
def episodic_score(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_way: Way = 5,
    n_shot: Range = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "accuracy",
    groups: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    random_state: RandomState = 0,
    preprocess: Estimator = None,
    query_alpha: float | None = None,
    episodes: Episodes | None = None,
    transductive: Refinement | None = None,
    n_unknown: int = 0,
    reject_rate: float = DEFAULT_RATE,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> EpisodicResult: ...


def episodic_score(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_way: Way = 5,
    n_shot: Range = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "accuracy",
    groups: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    random_state: RandomState = 0,
    preprocess: Estimator = None,
    query_alpha: float | None = None,
    episodes: Episodes | list[Episodes] | None = None,
    transductive: Refinement | None = None,
    n_unknown: int = 0,
    reject_rate: float = DEFAULT_RATE,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> EpisodicResult | list[EpisodicResult]:
    """Score an estimator on few-shot episodes drawn from the classes of y.

    Each episode samples some classes, passes a few examples of each to the estimator and scores its
    predictions on others. A learner's score is unbiased only on classes that it was not trained on.

    Parameters
    ----------
    estimator : fitted learner, or any classifier
        A learner, an adapted :class:`~sklearn_fewshot.FewShotClassifier`, or a fitted pipeline or
        search that ends in one is adapted to every support set, after its fitted transformers;
        each row is transformed and embedded once. Any other classifier (such as nearest centroid)
        is cloned and fitted on every support set, all its steps included: scalers belong into
        ``preprocess``.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples.
    y : array-like of shape (n_samples,)
        Their labels.
    n_way : int, (low, high) or "all", default=5
        Classes per episode; from a pair, each episode samples its own. The more, the harder: "all"
        is the task of a user with that many classes.
    n_shot : int or (low, high), default=1
        Support examples per class.
    n_query : int, default=15
        Queries per class.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn, by name or as ``scorer(estimator, X, y)``. It is called with the
        queries of an episode; for learners these are embedded already, and so is the estimator
        (a :class:`~sklearn_fewshot.FewShotClassifier`).
    groups : array-like of shape (n_samples,) or None, default=None
        Source of each sample, such as the person who drew, spoke or photographed it: support and
        queries of an episode never share one.
    tasks : array-like of shape (n_samples,) or None, default=None
        Assay, patient, data set, ... whose classes are compared with each other only: all classes
        of an episode are of one task, and tasks are equally likely. A label that several tasks have
        is another class in each. ``n_way`` must not exceed the classes of any task; "all" takes all
        of the task.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes: equal integers give equal episodes, whatever the estimator.
    preprocess : fitted transformer or None, default=None
        Transforms X first. ``preprocess=pipe[:-1]`` scores a baseline after a learner's
        transformers, ``preprocess=learner`` on its embedding.
    query_alpha : float or None, default=None
        Concentration of the Dirichlet distribution of the class shares among the queries of an
        episode (2 in Veilleux et al., 2021; the smaller, the less balanced); ``n_query`` is still
        the mean per class. None: equally many per class.
    episodes : FrozenEpisodes, EpisodeSplit, list of these or None, default=None
        Episodes in place of those that the parameters above describe. With a list, rows are
        embedded once for all.
    transductive : {"alpha_tim", "bd_cspn", "soft_kmeans"} or None, default=None
        If given, the queries of an episode are also its unlabelled examples, all at once, and
        refine the class means in this way: see :class:`~sklearn_fewshot.FewShotClassifier`. It
        takes a learner that compares with class means. Such scores cannot be compared with those
        of queries that are classified one by one, so the result repeats the word; with equally many
        queries per class they are optimistic, since refinements profit from it (``query_alpha``).
    n_unknown : int, default=0
        Unknown classes per episode: others of y (of the same task), with ``n_query`` queries each
        (of groups that the support set does not have), drawn by ``random_state`` for given
        ``episodes``, too. How well they are rejected is the ``open_set`` of the result; scores are
        those of the known queries, as without. It takes a learner that was fitted with
        ``calibrate=True``, and cannot be ``transductive``.
    reject_rate : float, default=0.05
        Nominal false rejection rate, as in the ``predict`` of a classifier. Only with
        ``n_unknown``.
    n_jobs : int or None, default=None
        Processes to divide the episodes between, as in joblib; scores do not depend on it.
    verbose : bool, default=False
        Whether to show the progress of the evaluation.

    Returns
    -------
    result : EpisodicResult, or list of these
        Scores of the episodes, their mean and its intervals, and the predictions. A list for a
        list of episodes.

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, a class or a task is too small for the episodes, or
        an episode leaves fewer than ``n_unknown`` other classes.
    NotFittedError
        If a learner, or a transformer before it, is not fitted.
    TypeError
        If the estimator is not a classifier, or cannot be ``transductive`` or reject queries.

    Warns
    -----
    UserWarning
        If the learner was trained on some of the classes, going by their labels (unless ``tasks``
        have labels in common), or queries have equal rows in their support set.

    See Also
    --------
    compare_on_episodes : Several estimators and baselines on the same episodes.
    shot_curve : Several numbers of examples per class in one pass.
    episodic_cross_validate : Trains and scores on several class splits.
    EpisodicScorer : The same as a scorer, for cross-validation and searches.
    OpenSetResult : How well queries of unknown classes are rejected.
    EpisodeSplit : The same episodes as splits.
    duplicate_groups : Groups that keep equal rows on one side.

    References
    ----------
    O. Veilleux, M. Boudiaf, P. Piantanida and I. Ben Ayed, "Realistic evaluation of transductive
    few-shot learning", NeurIPS 2021.

    Examples
    --------
    Five informative features, and fifteen uninformative ones of larger scale:

    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.neighbors import NearestCentroid
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import episodic_score
    >>> X, y = make_blobs(900, n_features=5, centers=30, random_state=0)
    >>> X = np.hstack([X, np.random.default_rng(0).normal(scale=10, size=(900, 15))])
    >>> base, new = y < 20, y >= 20
    >>> print(episodic_score(NearestCentroid(), X[new], y[new]))
    27.54 ± 0.39 % (5-way 1-shot, 15 queries, 600 episodes, interval over episodes)
    >>> learner = ProtoNetClassifier(max_epochs=2, random_state=0).fit(X[base], y[base])
    >>> bool(episodic_score(learner, X[new], y[new]).mean > 0.95)
    True

    Queries of other classes among them, as outliers:

    >>> result = episodic_score(learner, X[new], y[new], n_unknown=5, n_episodes=100)
    >>> bool(result.open_set.auroc.mean() > 0.9)
    True
    """
    if episodes is None:
        episodes = EpisodeSplit(
            n_episodes,
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            random_state=random_state,
            query_alpha=query_alpha,
        )
    several = episodes if isinstance(episodes, list) else [episodes]
    if not several:
        raise ValueError("The 'episodes' parameter of episodic_score is an empty list.")
    results = _score(
        estimator,
        X,
        y,
        groups,
        tasks,
        several,
        "episodic_score",
        scoring,
        preprocess,
        transductive,
        n_jobs,
        verbose,
        n_unknown=n_unknown,
        reject_rate=reject_rate,
        random_state=random_state,
    )
    return results if isinstance(episodes, list) else results[0]


def _score(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None,
    tasks: ArrayLike | None,
    several: list[Episodes],
    owner: str,
    scoring: Scoring,
    preprocess: Estimator = None,
    transductive: Refinement | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    *,
    n_unknown: int = 0,
    reject_rate: float = DEFAULT_RATE,
    random_state: RandomState = 0,
) -> list[EpisodicResult]:
    given: dict[str, Any] = {"scoring": scoring, "transductive": transductive}
    given |= {"n_unknown": n_unknown, "reject_rate": reject_rate}
    validate_parameter_constraints(CONSTRAINTS | OPTIONS, given, owner)
    _check_unknown(n_unknown, reject_rate, transductive)
    check_can_be_scored(estimator, owner)
    drawn = [draw_episodes(episodes, X, y, groups, tasks, owner) for episodes in several]
    with_unknown = []
    if n_unknown:
        seed = draw_seed(random_state)
        with_unknown = [add_unknown(it, groups, tasks, n_unknown, seed, owner) for it in drawn]
    scored = evaluate(
        estimator,
        drawn[0],
        [it.plan for it in drawn],
        scoring=scoring,
        preprocess=preprocess,
        transductive=transductive,
        with_unknown=with_unknown,
        reject_rate=reject_rate,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    return [it.result(part, scoring, transductive) for it, part in zip(drawn, scored, strict=True)]


def _check_unknown(n_unknown: int, reject_rate: float, transductive: str | None) -> None:
    if n_unknown and transductive is not None:
        raise ValueError(
            f"n_unknown={n_unknown} and transductive={transductive!r} cannot be given together: "
            "refinements take all queries for queries of the known classes. Leave one of them out."
        )
    if not n_unknown and reject_rate != DEFAULT_RATE:
        warn_user(
            f"reject_rate={reject_rate!r} has no effect without unknown classes. Pass n_unknown, "
            "such as n_unknown=5."
        )


class EpisodicScorer(BaseEstimator):
    """Score estimators by the mean over few-shot episodes, in cross-validation and searches.

    On folds without a common class (:class:`ClassKFold`) a learner's own ``score`` makes no sense,
    since it knows no class of the test fold. ``scoring=EpisodicScorer()`` draws episodes
    from the test fold instead.

    Parameters
    ----------
    n_way : int, (low, high) or "all", default=5
        Classes per episode; from a pair, each episode samples its own.
    n_shot : int or (low, high), default=1
        Support examples per class.
    n_query : int, default=15
        Queries per class.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="accuracy"
        Score of an episode, as in :func:`episodic_score`.
    random_state : int, default=0
        Seed of the episodes. Only integers: all candidates of a search have the same episodes.
    query_alpha : float or None, default=None
        How unbalanced the queries are, as in :func:`episodic_score`.

    See Also
    --------
    episodic_score : The same with an interval, outside of cross-validation.
    ClassKFold : Folds that share no class.

    Notes
    -----
    Groups (sources of samples) and tasks reach the scorer by metadata routing:
    ``EpisodicScorer().set_score_request(groups=True, tasks=True)``.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import ClassKFold, EpisodicScorer
    >>> X, y = make_blobs(600, n_features=5, centers=20, random_state=0)
    >>> learner = ProtoNetClassifier(max_epochs=1, random_state=0)
    >>> scorer = EpisodicScorer(n_way="all", n_episodes=100)
    >>> cross_val_score(learner, X, y, cv=ClassKFold(2), scoring=scorer) > 0.8
    array([ True,  True])
    """

    # scikit-learn reads routable metadata off the signature of `score`: groups and tasks.
    __metadata_request__score = {"estimator": UNUSED}

    _parameter_constraints: dict[str, list[Any]] = {
        **CONSTRAINTS,
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both")],
    }

    def __init__(
        self,
        *,
        n_way: Way = 5,
        n_shot: Range = 1,
        n_query: int = 15,
        n_episodes: int = 600,
        scoring: Scoring = "accuracy",
        random_state: int = 0,
        query_alpha: float | None = None,
    ) -> None:
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.n_episodes = n_episodes
        self.scoring = scoring
        self.random_state = random_state
        self.query_alpha = query_alpha

    def score(
        self,
        estimator: Estimator,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> float:
        """Return the mean score over episodes; calling the scorer does the same.

        Parameters
        ----------
        estimator : fitted learner, or any classifier
            As in :func:`episodic_score`.
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples to draw episodes from.
        y : array-like of shape (n_samples,)
            Their labels.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups that support and queries of an episode never share.
        tasks : array-like of shape (n_samples,) or None, default=None
            Tasks, one of which the classes of an episode are from.

        Returns
        -------
        score : float
        """
        self._validate_params()
        episodes = EpisodeSplit(
            self.n_episodes,
            n_way=self.n_way,
            n_shot=self.n_shot,
            n_query=self.n_query,
            random_state=self.random_state,
            query_alpha=self.query_alpha,
        )
        owner = type(self).__name__
        try:
            (result,) = _score(estimator, X, y, groups, tasks, [episodes], owner, self.scoring)
        except ValueError as error:  # which searches report, and go on with a score of NaN
            error.add_note(HALVING)
            raise
        return result.mean

    __call__ = score
