"""Scores over few-shot episodes, for learners and for any other classifier."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metadata_routing import UNUSED

from .._episodes import EpisodePlan
from .._few_shot import FewShotClassifier
from .._fitted import FittedNetwork
from ..utils._validation import check_X, label_text
from ._split import EpisodeSplit, episode_rows

CONFIDENCE = 0.95
ROWS_AT_A_TIME = 4096  # rows that are transformed and embedded at once
# Of scikit-learn, where few samples have many classes, which is what episodes are about.
MANY_CLASSES = "The number of unique classes is greater than 50%"
VALUES_AT_A_TIME = 2**20  # embedding values and scores held at once: 8 MiB each in float64
PERCENT = (
    "accuracy",
    "balanced_accuracy",
    "top_k_accuracy",
    "f1",
    "jaccard",
    "precision",
    "recall",
)

_CONSTRAINTS: dict[str, list[Any]] = {
    "scoring": [StrOptions(set(get_scorer_names())), callable],
}


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicResult:
    """Scores of an estimator on few-shot episodes.

    ``str(result)`` is the line to report; it says what the interval is over.

    Parameters
    ----------
    scores : ndarray of shape (n_episodes,)
        Score of each episode.
    n_way : int or (low, high)
        Classes in an episode.
    n_shot : int or (low, high)
        Support examples of each class.
    n_query : int
        Queries of each class.
    scoring : str
        What the scores are.

    See Also
    --------
    episodic_score : Returns this.

    Notes
    -----
    The interval is that of Student's t over the episodes. It says how well the mean over all
    episodes *of these classes, for this model* is known, and nothing about other classes or
    another training: vary those with :class:`ClassShuffleSplit`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodicResult
    >>> result = EpisodicResult(
    ...     np.array([0.8, 1.0, 0.9, 0.9]), n_way=5, n_shot=1, n_query=2, scoring="accuracy"
    ... )
    >>> print(result)
    90.00 ± 12.99 % (5-way 1-shot, 2 queries, 4 episodes, interval over episodes)
    """

    scores: np.ndarray
    n_way: Any
    n_shot: Any
    n_query: int
    scoring: str

    @property
    def mean(self) -> float:
        """Mean over the episodes."""
        return float(np.mean(self.scores))

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval over episodes; NaN for a single episode."""
        n_episodes = len(self.scores)
        if n_episodes < 2:
            return float("nan")
        quantile = stdtrit(n_episodes - 1, 0.5 + CONFIDENCE / 2)
        return float(quantile * np.std(self.scores, ddof=1) / np.sqrt(n_episodes))

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval over episodes."""
        return self.mean - self.half_width, self.mean + self.half_width

    def to_frame(self) -> Any:
        """Return the scores as a data frame with one row an episode.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_episodes, 1)
            Column "score", index "episode".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "EpisodicResult.to_frame needs pandas, which is not installed. Install it, or use "
                "the array in `scores`."
            ) from error
        episode = pd.RangeIndex(len(self.scores), name="episode")
        return pd.DataFrame({"score": self.scores}, index=episode)

    def __str__(self) -> str:
        """Return the line to report."""
        conditions = (
            f"{_range_text(self.n_way)}-way {_range_text(self.n_shot)}-shot, "
            f"{_count(self.n_query, 'query', 'queries')}, "
            f"{_count(len(self.scores), 'episode', 'episodes')}, interval over episodes"
        )
        if self.scoring != "accuracy":
            conditions = f"{self.scoring}, {conditions}"
        if self.scoring.startswith(PERCENT):
            return f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f} % ({conditions})"
        return f"{self.mean:.4g} ± {self.half_width:.2g} ({conditions})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def episodic_score(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    n_way: Any = 5,
    n_shot: Any = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Any = "accuracy",
    groups: Any = None,
    random_state: Any = 0,
    preprocess: Any = None,
) -> EpisodicResult:
    """Score an estimator on few-shot episodes drawn from the classes of y.

    Each episode takes some classes, hands a few examples of each to the estimator and scores its
    predictions on others. A learner's score is honest on classes that it was not trained on.

    Parameters
    ----------
    estimator : fitted learner, or any classifier
        A learner, an adapted :class:`FewShotClassifier`, or a fitted pipeline or search that ends
        in one is adapted to every support set, behind its fitted transformers; each row is
        transformed and embedded once. Any other classifier (nearest centroid, say) is cloned and
        fitted on every support set, all its steps included: scalers belong into ``preprocess``.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples.
    y : array-like of shape (n_samples,)
        Their labels.
    n_way : int, (low, high) or "all", default=5
        Classes in an episode; a pair is drawn from for each episode. The more, the harder: "all"
        is what a user with that many classes will see.
    n_shot : int or (low, high), default=1
        Support examples of each class.
    n_query : int, default=15
        Queries of each class.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn, by name or as ``scorer(estimator, X, y)``. It is called with the
        queries of an episode; for learners these are embedded already, and so is the estimator
        (a :class:`FewShotClassifier`).
    groups : array-like of shape (n_samples,) or None, default=None
        Who drew, spoke or photographed a sample: support and queries of an episode never share
        one.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes: equal integers give equal episodes, whatever the estimator.
    preprocess : fitted transformer or None, default=None
        Transforms X first. ``preprocess=pipe[:-1]`` puts a floor behind a learner's transformers,
        ``preprocess=learner`` behind its embedding.

    Returns
    -------
    result : EpisodicResult
        Scores of the episodes, their mean and its interval.

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, or a class is too small for the episodes.
    NotFittedError
        If a learner, or what it stands behind, is not fitted.
    TypeError
        If the estimator is not a classifier.

    Warns
    -----
    UserWarning
        If the learner was trained on some of the classes, going by their labels.

    See Also
    --------
    EpisodicScorer : The same as a scorer, for cross-validation and searches.
    EpisodeSplit : The same episodes as splits.

    Examples
    --------
    Five features that tell the classes apart, and fifteen that are louder and tell nothing:

    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.neighbors import NearestCentroid
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import episodic_score
    >>> X, y = make_blobs(900, n_features=5, centers=30, random_state=0)
    >>> X = np.hstack([X, np.random.default_rng(0).normal(scale=10, size=(900, 15))])
    >>> old, new = y < 20, y >= 20
    >>> print(episodic_score(NearestCentroid(), X[new], y[new]))
    27.54 ± 0.39 % (5-way 1-shot, 15 queries, 600 episodes, interval over episodes)
    >>> learner = ProtoNetClassifier(max_epochs=2, random_state=0).fit(X[old], y[old])
    >>> bool(episodic_score(learner, X[new], y[new]).mean > 0.95)
    True
    """
    validate_parameter_constraints(_CONSTRAINTS, {"scoring": scoring}, "episodic_score")
    episodes = EpisodeSplit(
        n_episodes, n_way=n_way, n_shot=n_shot, n_query=n_query, random_state=random_state
    )
    return _score(estimator, X, y, groups, episodes, scoring, preprocess, owner="episodic_score")


class EpisodicScorer(BaseEstimator):
    """Score estimators by the mean over few-shot episodes, in cross-validation and searches.

    On folds without a common class (:class:`ClassKFold`) a learner's own ``score`` makes no sense,
    since it knows no class of the test fold. ``scoring=EpisodicScorer()`` draws episodes
    from the test fold instead.

    Parameters
    ----------
    n_way : int, (low, high) or "all", default=5
        Classes in an episode; a pair is drawn from for each episode.
    n_shot : int or (low, high), default=1
        Support examples of each class.
    n_query : int, default=15
        Queries of each class.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="accuracy"
        Score of an episode, as in :func:`episodic_score`.
    random_state : int, default=0
        Seed of the episodes. Only integers: all candidates of a search meet the same episodes.

    See Also
    --------
    episodic_score : The same with an interval, outside of cross-validation.
    ClassKFold : Folds that share no class.

    Notes
    -----
    Groups (who drew, spoke or photographed a sample) reach the scorer by metadata routing:
    ``EpisodicScorer().set_score_request(groups=True)``.

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

    # The signature of `score` tells scikit-learn what may be routed here: groups alone.
    __metadata_request__score = {"estimator": UNUSED}

    _parameter_constraints: dict[str, list[Any]] = {
        **_CONSTRAINTS,
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both")],
    }

    def __init__(
        self,
        *,
        n_way: Any = 5,
        n_shot: Any = 1,
        n_query: int = 15,
        n_episodes: int = 600,
        scoring: Any = "accuracy",
        random_state: int = 0,
    ) -> None:
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.n_episodes = n_episodes
        self.scoring = scoring
        self.random_state = random_state

    def score(self, estimator: Any, X: Any, y: Any, groups: Any = None) -> float:
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
        )
        owner = type(self).__name__
        return _score(estimator, X, y, groups, episodes, self.scoring, None, owner).mean

    __call__ = score


def _score(
    estimator: Any,
    X: Any,
    y: Any,
    groups: Any,
    episodes: EpisodeSplit,
    scoring: Any,
    preprocess: Any,
    owner: str,
) -> EpisodicResult:
    """Draw the episodes, prepare the rows that they use, and score."""
    end = _few_shot_end(estimator)
    if end is None and not (hasattr(estimator, "fit") and is_classifier(estimator)):
        raise TypeError(f"{owner} takes a learner or a classifier. Got {estimator!r}.")
    X, y, groups = indexable(X, y, groups)
    y, plan = episodes._plan(X, y, groups, owner)
    before = [] if preprocess is None else [preprocess]
    _warn_if_trained_on(y, before if end is None else [*before, end.classifier.learner])
    rows, plan = _distinct_rows(plan)
    if end is None:
        X = _transform(before, _safe_indexing(X, rows))
        scores = _score_one_by_one(estimator, X, y[rows], plan, scoring)
    else:
        end = end._replace(before=[*before, *end.before])
        scores = _score_embedded(*_embed(end, X, rows), y[rows], plan, scoring)
    n_way = plan.classes.shape[1] if episodes.n_way == "all" else episodes.n_way
    return EpisodicResult(scores, n_way, episodes.n_shot, episodes.n_query, _scoring_name(scoring))


class _FewShotEnd(NamedTuple):
    """A classifier with a network, and the fitted transformers that it stands behind."""

    before: list[Any]
    classifier: FewShotClassifier


def _few_shot_end(estimator: Any) -> _FewShotEnd | None:
    """Return what rows can be embedded by once for all, None for other estimators."""
    if isinstance(estimator, FrozenEstimator):
        return _few_shot_end(estimator.estimator)
    if isinstance(estimator, Pipeline):
        return _few_shot_end_of_pipeline(estimator)
    if hasattr(estimator, "best_estimator_"):
        return _few_shot_end(estimator.best_estimator_)
    if hasattr(estimator, "refit") and hasattr(estimator, "estimator"):
        return _refuse_learner_of_search(estimator)
    if isinstance(estimator, FewShotClassifier):
        return _FewShotEnd([], estimator)
    if hasattr(estimator, "adapt"):
        return _FewShotEnd([], FewShotClassifier(estimator))
    return None


def _few_shot_end_of_pipeline(pipeline: Pipeline) -> _FewShotEnd | None:
    last = pipeline.steps[-1][1]
    if isinstance(last, FewShotClassifier) and not last.__sklearn_is_fitted__():
        return None  # as in any classifier, the transformers are fitted on every support set
    end = _few_shot_end(last)
    if end is None or len(pipeline) == 1:
        return end
    return end._replace(before=[pipeline[:-1], *end.before])


def _refuse_learner_of_search(search: Any) -> None:
    """Raise for a search without a best learner: it would meta-train on every support set."""
    if _few_shot_end(search.estimator) is not None:
        raise NotFittedError(
            f"This {type(search).__name__} of learners has no best_estimator_ to adapt. Fit it "
            "first, with refit=True."
        )


def _warn_if_trained_on(y: np.ndarray, trained: list[Any]) -> None:
    """Warn of learners and transformers that have seen the classes of y, going by the labels."""
    classes = np.unique(y)
    for estimator in trained:
        known = set(np.asarray(getattr(estimator, "classes_", ())).tolist())
        seen = [label for label in classes.tolist() if label in known]
        if seen:
            warnings.warn(
                f"{type(estimator).__name__} was trained on {len(seen)} of the {len(classes)} "
                f"classes of y, going by their labels ({label_text(seen)}): this is not a score "
                "on new classes. If the classes only happen to have equal labels, rename them.",
                UserWarning,
                stacklevel=4,
            )


def _distinct_rows(plan: EpisodePlan) -> tuple[np.ndarray, EpisodePlan]:
    """Return the rows that the plan uses, each once, and the plan in terms of those."""
    planned = np.concatenate([plan.support.ravel(), plan.query.ravel()])
    rows = np.unique(planned[planned >= 0])
    places = (
        np.where(part < 0, -1, np.searchsorted(rows, part)) for part in (plan.support, plan.query)
    )
    return rows, EpisodePlan(*places, plan.classes)


def _transform(transformers: list[Any], X: Any) -> Any:
    for transformer in transformers:
        X = transformer.transform(X)
    return X


def _embed(end: _FewShotEnd, X: Any, rows: np.ndarray) -> tuple[FittedNetwork, np.ndarray]:
    """Pass rows through transformers and network, some at a time.

    Returns
    -------
    network : FittedNetwork
        The network.
    embedding : ndarray of shape (n_rows, *embedding_shape)
        Embedding of the rows.
    """
    before, classifier = end
    if not classifier.__sklearn_is_fitted__():
        one = (
            None
            if classifier.learner is not None
            else _transform(before, _safe_indexing(X, rows[:1]))
        )
        classifier = FewShotClassifier(classifier.learner)._start(one)
    network = classifier._network
    step = network.batch_size * max(1, ROWS_AT_A_TIME // network.batch_size)
    blocks = []
    for start in range(0, len(rows), step):
        block = _transform(before, _safe_indexing(X, rows[start : start + step]))
        block = check_X(classifier, block, reset=False, input_shape=classifier.input_shape_)
        blocks.append(network.embed(block))
    return network, np.concatenate(blocks)


def _score_embedded(
    network: FittedNetwork, embedding: np.ndarray, y: np.ndarray, plan: EpisodePlan, scoring: Any
) -> np.ndarray:
    if isinstance(scoring, str) and scoring == "accuracy":
        return _accuracies(network, embedding, plan)
    return _score_one_by_one(
        _EmbeddedClassifier(_EmbeddedNetwork(network)), embedding, y, plan, scoring
    )


def _accuracies(network: FittedNetwork, embedding: np.ndarray, plan: EpisodePlan) -> np.ndarray:
    """Return the accuracy of each episode, many episodes at a time."""
    n_hits = np.zeros(plan.n_episodes)
    for episodes, part in _parts(plan, embedding[0].size):
        scored = network.score_episodes(embedding, part)
        hits = [(scores.argmax(axis=2) == target).sum(axis=1) for scores, target in scored]
        n_hits[episodes] += np.concatenate(hits)
    return n_hits / (plan.query >= 0).sum(axis=(1, 2))


def _parts(plan: EpisodePlan, embedding_size: int) -> Iterator[tuple[slice, EpisodePlan]]:
    """Cut a plan, within episodes between queries if need be, to what memory should hold."""
    n_episodes, n_way, n_shot = plan.support.shape
    n_query = plan.query.shape[2]
    support_size = n_way * n_shot * embedding_size
    query_size = n_way * (embedding_size + n_way)
    n_at_a_time = max(1, VALUES_AT_A_TIME // (support_size + n_query * query_size))
    n_query_at_a_time = max(1, (VALUES_AT_A_TIME - support_size) // query_size)
    for first in range(0, n_episodes, n_at_a_time):
        episodes = slice(first, first + n_at_a_time)
        part = plan.take(episodes)
        for start in range(0, n_query, n_query_at_a_time):
            query = part.query[:, :, start : start + n_query_at_a_time]
            yield episodes, part._replace(query=query)


def _score_one_by_one(
    classifier: Any, X: Any, y: np.ndarray, plan: EpisodePlan, scoring: Any
) -> np.ndarray:
    """Fit a clone of the classifier on every support set and call the scorer on the queries."""
    scorer = get_scorer(scoring)
    scores = np.empty(plan.n_episodes)
    with _each_warning_once():
        for episode, (support, query) in enumerate(episode_rows(plan)):
            # In 1-shot, NearestCentroid divides zero by zero for an attribute it makes no use of.
            with np.errstate(divide="ignore", invalid="ignore"):
                fitted = clone(classifier).fit(_safe_indexing(X, support), y[support])
            scores[episode] = scorer(fitted, _safe_indexing(X, query), y[query])
    return scores


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Hold warnings back; then issue one of each line of code, under the filters of outside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told = [w for w in caught if not str(w.message).startswith(MANY_CLASSES)]
    firsts = {(w.category, w.filename, w.lineno): w for w in reversed(told)}
    for place, warning in firsts.items():
        warnings.warn_explicit(warning.message, *place)


class _EmbeddedNetwork(FittedNetwork):
    """A network for rows that it has embedded already."""

    def __init__(self, network: FittedNetwork) -> None:
        self.__dict__.update(network.__dict__)

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Return the rows."""
        return X


class _EmbeddedClassifier(FewShotClassifier):
    """A classifier of rows that are embedded already; its ``learner`` is their network."""

    def _start(self, X: np.ndarray) -> _EmbeddedClassifier:
        self.input_shape_ = X.shape[1:]
        self.n_features_in_ = X.shape[1]
        self._network = self.learner
        return self

    def __sklearn_clone__(self) -> _EmbeddedClassifier:
        return type(self)(self.learner)


def _scoring_name(scoring: Any) -> str:
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", repr(scoring))


def _range_text(value: Any) -> str:
    """Return "5", or "5 to 10" for a range."""
    return " to ".join(str(end) for end in value) if isinstance(value, tuple | list) else str(value)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
