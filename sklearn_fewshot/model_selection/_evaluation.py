"""How estimators are scored on planned episodes: rows embedded once, many episodes at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from ..adapted._classifier import FewShotClassifier
from ..episodes._sampler import EpisodePlan
from ..network import FittedNetwork
from ..utils._memory_map import some_rows
from ..utils._progress import progress
from ..utils._sklearn import _safe_indexing
from ..utils._validation import check_X, label_text
from ..utils._warnings import warn_user
from ._draw import Drawn, Scored
from ._split import episode_rows

ROWS_AT_A_TIME = 4096  # rows that are transformed and embedded at once
VALUES_AT_A_TIME = 2**19  # embedding values and scores held at once: 4 MiB each in float64
FITS_AT_A_TIME = 25  # episodes of an ordinary classifier in one piece of work
ROUNDS = 20  # of parallel work, after each of which progress is told
# Of scikit-learn, where few samples have many classes, which is what episodes are about.
MANY_CLASSES = "The number of unique classes is greater than 50%"


def evaluate(
    estimator: Any,
    drawn: Drawn,
    plans: list[EpisodePlan],
    *,
    scoring: Any,
    preprocess: Any,
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
    scoring, preprocess, n_jobs, verbose
        As in :func:`episodic_score`.

    Returns
    -------
    scored : list of Scored
        One for each plan. The pieces of the work do not depend on ``n_jobs``, so neither do they.
    """
    X, classes = drawn.X, drawn.classes
    end = few_shot_end(estimator)
    before = [] if preprocess is None else [preprocess]
    _warn_if_trained_on(classes, before if end is None else [*before, end.classifier.learner])
    rows = np.unique(np.concatenate([plan.rows() for plan in plans]))
    plans = [plan.in_terms_of(rows) for plan in plans]
    y = classes[drawn.codes[rows]]
    worker: _Worker
    if end is None:
        X = _transform(before, _safe_indexing(X, rows))
        worker = _FittingWorker(estimator, X, y, classes, scoring)
    else:
        end = end._replace(before=[*before, *end.before])
        network, embedding = embed(end, X, rows)
        network.check_takes_examples()
        worker = _NetworkWorker(network, embedding, y, classes, scoring)
    pieces = [worker.pieces(plan) for plan in plans]
    with _each_warning_once():
        every = [piece.plan for part in pieces for piece in part]
        done = iter(list(_work_on(worker, every, n_jobs, verbose)))
    return [_together(plan, part, done) for plan, part in zip(plans, pieces, strict=True)]


def check_can_be_scored(estimator: Any, owner: str) -> None:
    """Raise unless the estimator is a classifier or a fitted learner, perhaps in a pipeline."""
    is_ordinary = hasattr(estimator, "fit") and is_classifier(estimator)
    if few_shot_end(estimator) is None and not is_ordinary:
        raise TypeError(f"{owner} takes a learner or a classifier. Got {estimator!r}.")


class _Piece(NamedTuple):
    """Some queries of some episodes: what is worked on at once."""

    episodes: slice
    queries: slice
    plan: EpisodePlan


class _Worker:
    """Scores pieces of plans; goes to other processes as a whole."""

    def __init__(
        self, estimator: Any, X: Any, y: np.ndarray, classes: np.ndarray, scoring: Any
    ) -> None:
        self.estimator, self.X, self.y, self.classes = estimator, X, y, classes
        self.scoring = scoring

    def pieces(self, plan: EpisodePlan) -> list[_Piece]:
        """Cut a plan to what is worked on at once."""
        every, step = slice(None), FITS_AT_A_TIME
        parts = [slice(start, start + step) for start in range(0, plan.n_episodes, step)]
        return [_Piece(part, every, plan.take(part)) for part in parts]

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        """Return scores (None: accuracies of the predictions), and predicted classes."""
        raise NotImplementedError


class _FittingWorker(_Worker):
    """Fits a clone on every support set and calls the scorer on the queries."""

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        predicted = np.full(plan.query.shape, -1, dtype=np.int32)
        is_accuracy = _is_accuracy(self.scoring)
        scores, scorer = np.empty(plan.n_episodes), get_scorer(self.scoring)
        for episode, (support, query) in enumerate(episode_rows(plan)):
            # In 1-shot, NearestCentroid divides zero by zero for an attribute it makes no use of.
            with np.errstate(divide="ignore", invalid="ignore"):
                fitted = clone(self.estimator)
                fitted.fit(_safe_indexing(self.X, support), self.y[support])
            queries = _safe_indexing(self.X, query)
            answers = codes_of(self.classes, fitted.predict(queries))
            predicted[episode][plan.query[episode] >= 0] = answers
            if not is_accuracy:
                scores[episode] = _call(scorer, fitted, queries, self.y[query])
        return None if is_accuracy else scores, predicted


class _NetworkWorker(_Worker):
    """Scores many episodes at a time over rows that are embedded already."""

    _stored: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_stored"}

    def pieces(self, plan: EpisodePlan) -> list[_Piece]:
        """Cut a plan, for accuracy between the queries of an episode if need be."""
        n_episodes, n_way, n_shot = plan.support.shape
        n_query, embedding_size = plan.query.shape[2], self.X[0].size
        support_size = n_way * n_shot * embedding_size
        query_size = n_way * (embedding_size + n_way)
        step = max(1, VALUES_AT_A_TIME // (support_size + n_query * query_size))
        query_step = n_query
        if _is_accuracy(self.scoring):
            query_step = max(1, (VALUES_AT_A_TIME - support_size) // query_size)
        pieces = []
        for first in range(0, n_episodes, step):
            episodes = slice(first, first + step)
            part = plan.take(episodes)
            for start in range(0, n_query, query_step):
                queries = slice(start, start + query_step)
                cut = part._replace(query=part.query[:, :, queries])
                pieces.append(_Piece(episodes, queries, cut))
        return pieces

    def __call__(self, plan: EpisodePlan) -> tuple[np.ndarray | None, np.ndarray]:
        if not isinstance(self.scoring, str):
            classifier = EmbeddedClassifier(EmbeddedNetwork(self.estimator))
            return _FittingWorker(classifier, self.X, self.y, self.classes, self.scoring)(plan)
        is_accuracy = _is_accuracy(self.scoring)
        predicted, scores = np.empty(plan.query.shape, dtype=np.int32), []
        done = 0
        if self._stored is None:
            self._stored = self.estimator.stored(self.X)
        for batch, target in self.estimator.score_episodes(self._stored, plan):
            part = plan.take(slice(done, done + len(batch)))
            answers = np.take_along_axis(part.classes, batch.argmax(axis=2), axis=1)
            answers = answers.reshape(part.query.shape)
            predicted[done : done + len(batch)] = np.where(part.query < 0, -1, answers)
            done += len(batch)
            if not is_accuracy:
                counts = (part.support >= 0).sum(axis=2)
                every = zip(part.classes, counts, batch, target, strict=True)
                scores += [self._score(*episode) for episode in every]
        return None if is_accuracy else np.array(scores), predicted

    def _score(
        self, codes: np.ndarray, count: np.ndarray, scores: np.ndarray, target: np.ndarray
    ) -> float:
        """Call the scorer on the answers of one episode."""
        codes, real = codes[codes >= 0], target >= 0
        count, scores = count[: len(codes)], scores[real][:, : len(codes)]
        answered = _Answered(self.estimator, self.classes[codes], count, scores)
        y = answered.classes_[target[real]]
        return _call(get_scorer(self.scoring), answered, np.zeros((len(y), 1)), y)


class _Answered(ClassifierMixin, BaseEstimator):
    """A classifier that has been asked already: it repeats its scores of the same queries."""

    def __init__(
        self, network: FittedNetwork, classes: np.ndarray, count: np.ndarray, scores: np.ndarray
    ) -> None:
        self.network = network
        self.classes_ = classes
        self.count = count
        self.scores = scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the classes with the highest scores."""
        return self.classes_[self.scores.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the scores as probabilities."""
        return self.network.proba(self.scores, self.count)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the scores, of two classes one."""
        return self.network.margin(self.scores) if len(self.classes_) == 2 else self.scores


def _call(scorer: Any, classifier: Any, X: Any, y: np.ndarray) -> float:
    """Call a scorer; say so if what it cannot do without is a query of each class."""
    try:
        return scorer(classifier, X, y)
    except ValueError as error:
        n_asked = len(np.unique(y))
        if n_asked >= len(getattr(classifier, "classes_", ())):
            raise
        raise ValueError(
            f"{error} Only {n_asked} of the {len(classifier.classes_)} classes of this episode "
            "have queries: raise query_alpha or n_query, or score by accuracy."
        ) from error


def codes_of(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the places of labels among sorted classes, -1 for labels that are not there."""
    places = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    return np.where(classes[places] == labels, places, -1)


def _is_accuracy(scoring: Any) -> bool:
    return isinstance(scoring, str) and scoring == "accuracy"


def _work_on(
    worker: _Worker, plans: list[EpisodePlan], n_jobs: int | None, verbose: bool
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Iterate over the worker's results for each plan, in order, from processes if asked for."""
    n_workers = effective_n_jobs(n_jobs)
    with progress(_n_queries(plans), "query", verbose) as add:
        if n_workers == 1 or len(plans) == 1:
            for plan in plans:
                yield worker(plan)
                add(_n_queries([plan]))
            return
        n_rounds = ROUNDS if verbose else 1
        with Parallel(n_jobs=n_jobs) as parallel:
            for some in _in_runs(plans, n_rounds):
                runs = _in_runs(some, 4 * n_workers)
                for results in parallel(delayed(_work_on_all)(worker, run) for run in runs):
                    yield from results
                add(_n_queries(some))


def _n_queries(plans: list[EpisodePlan]) -> int:
    return sum(np.count_nonzero(plan.query >= 0) for plan in plans)


def _work_on_all(
    worker: _Worker, plans: list[EpisodePlan]
) -> list[tuple[np.ndarray | None, np.ndarray]]:
    with _each_warning_once():
        return [worker(plan) for plan in plans]


def _in_runs(plans: list[EpisodePlan], n_runs: int) -> list[list[EpisodePlan]]:
    """Cut a list into about equally long runs, none of them empty."""
    step = -(-len(plans) // n_runs)
    return [plans[start : start + step] for start in range(0, len(plans), step)]


def _together(plan: EpisodePlan, pieces: list[_Piece], done: Iterator[Any]) -> Scored:
    """Put the results of a plan's pieces together."""
    predicted = np.empty(plan.query.shape, dtype=np.int32)
    scores: np.ndarray | None = None
    for piece in pieces:
        some, answers = next(done)
        predicted[piece.episodes, :, piece.queries] = answers
        if some is not None:
            scores = np.empty(plan.n_episodes) if scores is None else scores
            scores[piece.episodes] = some
    if scores is None:
        real = plan.query >= 0
        hits = (predicted == plan.classes[:, :, None]) & real
        scores = hits.sum(axis=(1, 2)) / real.sum(axis=(1, 2))
    return Scored(scores, predicted)


class FewShotEnd(NamedTuple):
    """A classifier with a network, and the fitted transformers that it stands behind."""

    before: list[Any]
    classifier: FewShotClassifier


def few_shot_end(estimator: Any) -> FewShotEnd | None:
    """Return what rows can be embedded by once for all, None for other estimators."""
    if isinstance(estimator, FrozenEstimator):
        return few_shot_end(estimator.estimator)
    if isinstance(estimator, Pipeline):
        return _end_of_pipeline(estimator)
    if hasattr(estimator, "best_estimator_"):
        return few_shot_end(estimator.best_estimator_)
    if hasattr(estimator, "refit") and hasattr(estimator, "estimator"):
        return _refuse_learner_of_search(estimator)
    if isinstance(estimator, FewShotClassifier):
        return FewShotEnd([], estimator)
    if hasattr(estimator, "adapt"):
        return FewShotEnd([], FewShotClassifier(estimator))
    return None


def _end_of_pipeline(pipeline: Pipeline) -> FewShotEnd | None:
    last = pipeline.steps[-1][1]
    if isinstance(last, FewShotClassifier) and not last.__sklearn_is_fitted__():
        return None  # as in any classifier, the transformers are fitted on every support set
    end = few_shot_end(last)
    if end is None or len(pipeline) == 1:
        return end
    return end._replace(before=[pipeline[:-1], *end.before])


def _refuse_learner_of_search(search: Any) -> None:
    """Raise for a search without a best learner: it would meta-train on every support set."""
    if few_shot_end(search.estimator) is not None:
        raise NotFittedError(
            f"This {type(search).__name__} of learners has no best_estimator_ to adapt. Fit it "
            "first, with refit=True."
        )


def _warn_if_trained_on(classes: np.ndarray, trained: list[Any]) -> None:
    """Warn of learners and transformers that have seen some of the classes, going by the labels."""
    for estimator in trained:
        known = set(np.asarray(getattr(estimator, "classes_", ())).tolist())
        seen = [label for label in classes.tolist() if label in known]
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


def embed(end: FewShotEnd, X: Any, rows: np.ndarray) -> tuple[FittedNetwork, np.ndarray]:
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
        block = _transform(before, some_rows(X, rows[start : start + step]))
        block = check_X(classifier, block, reset=False, input_shape=classifier.input_shape_)
        blocks.append(network.embed(block))
    return network, np.concatenate(blocks)


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


class EmbeddedNetwork(FittedNetwork):
    """A network for rows that it has embedded already."""

    def __init__(self, network: FittedNetwork) -> None:
        self.__dict__.update(network.__dict__)

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Return the rows."""
        return X


class EmbeddedClassifier(FewShotClassifier):
    """A classifier of rows that are embedded already; its ``learner`` is their network."""

    def _start(self, X: np.ndarray) -> EmbeddedClassifier:
        self.input_shape_ = X.shape[1:]
        self.n_features_in_ = X.shape[1]
        self._network = self.learner
        return self

    def __sklearn_clone__(self) -> EmbeddedClassifier:
        return type(self)(self.learner)
