"""Scoring of estimators on planned episodes: rows embedded once, many episodes at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import get_scorer

from ..adapted import FewShotClassifier, check_is_no_search, is_search, walk
from ..adapted._rejection import DEFAULT_RATE
from ..adapted._walk import transformers_of
from ..episodes import EpisodePlan
from ..network import FittedNetwork
from ..utils._blocks import blocks
from ..utils._input_range import row_step
from ..utils._memory_map import some_rows
from ..utils._sklearn import _safe_indexing
from ..utils._typing import Refinement
from ..utils._validation import check_like_fitted, label_text
from ..utils._warnings import warn_user
from ._draw import Drawn, Scored
from ._open_set_score import OpenSetWorker, check_rejects, score_with_unknown
from ._split import episode_rows
from ._work import Piece, each_warning_once, work_on

MAX_ROWS = 4096  # per block of the encoding: transformers may return more columns than they get
VALUES_AT_A_TIME = 2**19  # embedding values and scores held at once: 4 MiB each in float64
FITS_AT_A_TIME = 25  # episodes per unit of work of an ordinary classifier


def evaluate(
    estimator: Any,
    drawn: Drawn,
    plans: list[EpisodePlan],
    *,
    scoring: Any,
    preprocess: Any,
    transductive: Refinement | None = None,
    with_unknown: Sequence[EpisodePlan] = (),
    reject_rate: float = DEFAULT_RATE,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> list[Scored]:
    """Score an estimator on plans of episodes, embedding each row once for all of them.

    Parameters
    ----------
    estimator : fitted learner, or any classifier
        As in :func:`episodic_score`.
    drawn : Drawn
        Samples and their classes.
    plans : list of EpisodePlan
        Episodes of these samples.
    with_unknown : sequence of EpisodePlan, default=()
        The same episodes with queries of unknown classes, in columns without support, if these
        are scored too.
    scoring, preprocess, transductive, reject_rate, n_jobs, verbose
        As in :func:`episodic_score`.

    Returns
    -------
    scored : list of Scored
        One for each plan. The pieces of the work do not depend on ``n_jobs``, so neither do they.
    """
    X, classes = drawn.X, drawn.classes
    end = few_shot_end(estimator)
    before = [] if preprocess is None else transformers_of(preprocess)
    if drawn.labels_are_names:
        _warn_if_trained_on(classes, before if end is None else [*before, end.classifier.learner])
    if with_unknown:
        check_rejects(estimator, end and end.classifier)
    rows = np.unique(np.concatenate([plan.rows() for plan in [*plans, *with_unknown]]))
    plans = [plan.in_terms_of(rows) for plan in plans]
    with_unknown = [plan.in_terms_of(rows) for plan in with_unknown]
    y = classes[drawn.codes[rows]]
    worker: _Worker
    if end is None:
        _check_not_transductive(estimator, transductive)
        X = _transform(before, _safe_indexing(X, rows))
        worker = _FittingWorker(estimator, X, y, classes, scoring)
    else:
        end = end._replace(before=[*before, *end.before])
        network, encoded = encode(end, X, rows)
        network.check_takes_examples()
        worker = _NetworkWorker(network, encoded, y, classes, scoring)
        if transductive is not None:
            network.check_takes_unlabelled()
            worker = _TransductiveWorker(network, transductive, encoded, y, classes, scoring)
    with each_warning_once():
        scored = _score_plans(worker, plans, n_jobs, verbose)
        if with_unknown:
            open_worker = OpenSetWorker(network, encoded, y, reject_rate)
            results = score_with_unknown(open_worker, with_unknown, n_jobs, verbose)
            scored = [it._replace(open_set=its) for it, its in zip(scored, results, strict=True)]
    return scored


def _score_plans(
    worker: _Worker, plans: list[EpisodePlan], n_jobs: int | None, verbose: bool
) -> list[Scored]:
    pieces = [worker.pieces(plan) for plan in plans]
    done = work_on(worker, [[piece.plan for piece in part] for part in pieces], n_jobs, verbose)
    return [_combine(*part) for part in zip(plans, pieces, done, strict=True)]


def check_can_be_scored(estimator: Any, owner: str) -> None:
    """Raise unless the estimator is a classifier or a fitted learner, perhaps in a pipeline."""
    if hasattr(estimator, "fit") and is_regressor(estimator):
        raise TypeError(
            f"{owner} takes a learner or a classifier. Got {type(estimator).__name__}, a "
            "regressor: use task_score."
        )
    is_ordinary = hasattr(estimator, "fit") and is_classifier(estimator)
    if few_shot_end(estimator) is None and not is_ordinary:
        raise TypeError(f"{owner} takes a learner or a classifier. Got {estimator!r}.")


def _check_not_transductive(estimator: Any, transductive: Refinement | None) -> None:
    if transductive is not None:
        raise TypeError(
            f"transductive={transductive!r} refines class means by the queries: it takes a fitted "
            "learner, or a pipeline that ends in one. Leave it at None for "
            f"{type(estimator).__name__}, or call compare_on_episodes to compare without it."
        )


class _Worker:
    """Scores pieces of plans; goes to other processes as a whole."""

    def __init__(
        self, estimator: Any, X: Any, y: np.ndarray, classes: np.ndarray, scoring: Any
    ) -> None:
        self.estimator, self.X, self.y, self.classes = estimator, X, y, classes
        self.scoring = scoring

    def pieces(self, plan: EpisodePlan) -> list[Piece]:
        """Cut a plan into units of work."""
        every, step = slice(None), FITS_AT_A_TIME
        parts = [slice(start, start + step) for start in range(0, plan.n_episodes, step)]
        return [Piece(part, every, plan.take(part)) for part in parts]

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        """Return scores (None: accuracies of the predictions), and the classes of each query.

        The last axis of the classes has the most and the second most probable.
        """
        raise NotImplementedError


class _FittingWorker(_Worker):
    """Fits a clone on every support set and calls the scorer on the queries."""

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        is_accuracy = _is_accuracy(self.scoring)
        scorer = None if is_accuracy else get_scorer(self.scoring)
        scores, predicted = _score_each(plan, self.X, self.y, self.classes, scorer, self._fit)
        return None if is_accuracy else scores, predicted

    def _fit(self, X: Any, y: np.ndarray, queries: Any) -> Any:
        # In 1-shot, NearestCentroid divides zero by zero for an attribute it makes no use of.
        with np.errstate(divide="ignore", invalid="ignore"):
            return clone(self.estimator).fit(X, y)


class _NetworkWorker(_Worker):
    """Scores many episodes at a time over rows that are encoded already."""

    _stored: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_stored"}

    def pieces(self, plan: EpisodePlan) -> list[Piece]:
        """Cut a plan, for accuracy between the queries of an episode if they are independent."""
        n_episodes, n_way, n_shot = plan.support.shape
        n_query, row_size = plan.query.shape[2], self.X[0].size
        support_size = n_way * n_shot * row_size
        query_size = n_way * (row_size + n_way)
        step = max(1, VALUES_AT_A_TIME // (support_size + n_query * query_size))
        query_step = n_query
        module = self.estimator.module
        # Of a module that adapts for long, each piece would adapt to its support sets again.
        if _is_accuracy(self.scoring) and module.independent_queries and not module.is_costly:
            query_step = max(1, (VALUES_AT_A_TIME - support_size) // query_size)
        pieces = []
        for first in range(0, n_episodes, step):
            episodes = slice(first, first + step)
            part = plan.take(episodes)
            for start in range(0, n_query, query_step):
                queries = slice(start, start + query_step)
                cut = part._replace(query=part.query[:, :, queries])
                pieces.append(Piece(episodes, queries, cut))
        return pieces

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        if not _is_accuracy(self.scoring):
            return self._score_each(plan)
        if self._stored is None:
            self._stored = self.estimator.to_tensor(self.X)
        best = [two_best(logits) for logits, _ in self.estimator.score_plan(self._stored, plan)]
        place = np.concatenate(best).reshape(plan.n_episodes, -1)
        predicted = np.take_along_axis(plan.classes, place, axis=1).reshape(*plan.query.shape, 2)
        return None, np.where(plan.query[..., None] < 0, -1, predicted).astype(np.int32)

    def _score_each(self, plan: EpisodePlan) -> tuple[np.ndarray, np.ndarray]:
        """Adapt a classifier to each support set and call the scorer on it."""
        adapted = FewShotClassifier._of_encoded(self.estimator, self.X)
        scorer = get_scorer(self.scoring)

        def fit(X: Any, y: np.ndarray, queries: Any) -> Any:
            return adapted._readapt(X, y)

        return _score_each(plan, self.X, self.y, self.classes, scorer, fit)


class _TransductiveWorker(_Worker):
    """Refines the class means of each episode by all its queries, and scores these."""

    def __init__(self, network: FittedNetwork, refinement: Refinement, *values: Any) -> None:
        super().__init__(network, *values)
        self.refinement = refinement

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        adapted = FewShotClassifier._of_encoded(self.estimator, self.X)
        adapted.refinement = self.refinement
        scorer = None if _is_accuracy(self.scoring) else get_scorer(self.scoring)
        scores, predicted = _score_each(
            plan, self.X, self.y, self.classes, scorer, adapted._transduce
        )
        return None if scorer is None else scores, predicted


def _score_each(
    plan: EpisodePlan,
    X: Any,
    y: np.ndarray,
    classes: np.ndarray,
    scorer: Any,
    fit: Callable[[Any, np.ndarray, Any], Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a classifier on the support set of each episode and score it on the queries.

    Parameters
    ----------
    plan : EpisodePlan
        The episodes.
    X, y : indexable, ndarray of shape (n_samples,)
        Samples and their labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    scorer : callable or None
        Called with classifier, queries and labels; None leaves the scores at 0.
    fit : callable
        From support examples, their labels and the queries to a fitted classifier.

    Returns
    -------
    scores : ndarray of shape (n_episodes,)
        Values of the scorer.
    predicted : int32 ndarray of shape (n_episodes, n_way, n_query, 2)
        Codes of the most and second most probable class.
    """
    predicted = np.full((*plan.query.shape, 2), -1, dtype=np.int32)
    scores = np.zeros(plan.n_episodes)
    for episode, (support, query) in enumerate(episode_rows(plan)):
        queries = _safe_indexing(X, query)
        fitted = fit(_safe_indexing(X, support), y[support], queries)
        predictions = fitted.predict(queries)
        both = np.column_stack(
            [codes_of(classes, predictions), _runner_up(fitted, queries, predictions, classes)]
        )
        predicted[episode][plan.query[episode] >= 0] = both
        if scorer is not None:
            scores[episode] = _call(scorer, fitted, queries, y[query])
    return scores, predicted


def two_best(scores: np.ndarray) -> np.ndarray:
    """Return the places of the highest and the second highest score, in one more axis of two."""
    best = scores.argmax(axis=-1)
    others = scores.copy()
    np.put_along_axis(others, best[..., None], -np.inf, axis=-1)
    return np.stack([best, others.argmax(axis=-1)], axis=-1)


def _runner_up(fitted: Any, X: Any, predictions: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the code of the second most probable class of each row, -1 where it is not known.

    The second is not known of classifiers without scores, nor where the class of the highest score
    is not the predicted one, nor where the best of the rest are equal, as they are with the shares
    of few neighbours.
    """
    own = getattr(fitted, "classes_", classes)
    scorer = getattr(fitted, "decision_function", None) or getattr(fitted, "predict_proba", None)
    place = codes_of(own, predictions)
    if np.any(place < 0):
        return np.full(len(predictions), -1)
    if len(own) == 2:
        return codes_of(classes, own)[1 - place]
    if scorer is None:
        return np.full(len(predictions), -1)
    try:
        scores = np.array(scorer(X), dtype=np.float64)
    except ValueError:  # NearestCentroid divides by the spread within classes, of which one example
        return np.full(len(predictions), -1)  # has none
    if scores.shape != (len(predictions), len(own)):  # such as one score for each pair of classes
        return np.full(len(predictions), -1)
    highest, of_predicted = scores.max(axis=1), scores[np.arange(len(scores)), place]
    np.put_along_axis(scores, place[:, None], -np.inf, axis=1)
    best = scores.max(axis=1, keepdims=True)
    is_known = (of_predicted == highest) & ((scores == best).sum(axis=1) == 1)
    return np.where(is_known, codes_of(classes, own)[scores.argmax(axis=1)], -1)


def _call(scorer: Any, classifier: Any, X: Any, y: np.ndarray) -> float:
    """Call a scorer; explain its error, or NaN, if not every class has queries."""
    n_present, n_classes = len(np.unique(y)), len(getattr(classifier, "classes_", ()))
    remedy = (
        f"Only {n_present} of the {n_classes} classes of this episode have queries: raise "
        "query_alpha or n_query, or score by accuracy."
    )
    try:
        score: float = scorer(classifier, X, y)
    except ValueError as error:
        if n_present >= n_classes:
            raise
        raise ValueError(f"{error} {remedy}") from error
    if np.isnan(score):
        cause = f" {remedy}" if n_present < n_classes else ""
        raise ValueError(f"The scorer {scorer!r} returned NaN for an episode.{cause}")
    return score


def codes_of(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the codes of labels among sorted classes, -1 for labels that are not there."""
    places = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    return np.where(classes[places] == labels, places, -1)


def _is_accuracy(scoring: Any) -> bool:
    return isinstance(scoring, str) and scoring == "accuracy"


def _combine(plan: EpisodePlan, pieces: list[Piece], done: list[Any]) -> Scored:
    """Combine the results of a plan's pieces."""
    predicted = np.empty((*plan.query.shape, 2), dtype=np.int32)
    scores: np.ndarray | None = None
    for piece, (some, predictions) in zip(pieces, done, strict=True):
        predicted[piece.episodes, :, piece.queries] = predictions
        if some is not None:
            scores = np.empty(plan.n_episodes) if scores is None else scores
            scores[piece.episodes] = some
    if scores is None:
        real = plan.query >= 0
        hits = (predicted[..., 0] == plan.classes[:, :, None]) & real
        scores = hits.sum(axis=(1, 2)) / real.sum(axis=(1, 2))
    return Scored(scores, predicted[..., 0], predicted[..., 1])


class FewShotEnd(NamedTuple):
    """A classifier with a network, and the fitted transformers before it."""

    before: list[Any]
    classifier: FewShotClassifier


def few_shot_end(estimator: Any) -> FewShotEnd | None:
    """Return the transformers and network that embed rows once, None for other estimators."""
    path = walk(estimator)
    end = path.end
    if is_search(end):
        if few_shot_end(end.estimator) is not None:  # it would meta-train on every support set
            check_is_no_search(end)
        return None
    if isinstance(end, FewShotClassifier):
        if path.pipelines and not end.__sklearn_is_fitted__():
            return None  # as in any classifier, the transformers are fitted on every support set
        return FewShotEnd(path.transformers, end)
    if hasattr(end, "adapt"):
        return FewShotEnd(path.transformers, FewShotClassifier(end))
    return None


def _warn_if_trained_on(classes: np.ndarray, trained: list[Any]) -> None:
    """Warn of learners and transformers that have seen some of the classes, going by the labels."""
    for estimator in trained:
        base_classes = set(np.asarray(getattr(estimator, "classes_", ())).tolist())
        seen = [label for label in classes.tolist() if label in base_classes]
        if seen:
            warn_user(
                f"{type(estimator).__name__} was trained on {len(seen)} of the {len(classes)} "
                f"classes of y, going by their labels ({label_text(seen)}): this is not a score "
                "on new classes. If the classes only happen to have equal labels, rename them."
            )


def _transform(transformers: list[Any], X: Any) -> Any:
    for transformer in transformers:
        X = transformer.transform(X)
    return X


def encode(end: FewShotEnd, X: Any, rows: np.ndarray) -> tuple[FittedNetwork, np.ndarray]:
    """Pass rows through transformers and network, some at a time.

    Returns
    -------
    network : FittedNetwork
        The network.
    encoded : ndarray of shape (n_rows, *encoded_shape)
        The rows, embedded if the network embeds rows.
    """
    before, classifier = end
    if not classifier.__sklearn_is_fitted__():
        learner, one = classifier.learner, None
        if learner is None:
            one = _transform(before, _safe_indexing(X, rows[:1]))
        classifier = FewShotClassifier(learner)._start(one)
    network = classifier._network
    n_values = max(getattr(some_rows(X, rows[:1]), "size", 1), math.prod(classifier.input_shape_))
    encoded, seen = [], []
    step = row_step(len(rows), math.prod(classifier.input_shape_))
    for block in blocks(
        len(rows), 8 * n_values, max_items=MAX_ROWS, multiple_of=network.batch_size
    ):
        some = _transform(before, some_rows(X, rows[block]))
        some = check_like_fitted(classifier, some)
        seen.append(some[::step].copy())
        encoded.append(network.encode(some))
    network.warn_of_range(np.concatenate(seen))
    return network, np.concatenate(encoded)
