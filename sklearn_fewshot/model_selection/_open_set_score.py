"""Scores of queries of known and unknown classes, episode by episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..adapted import FewShotClassifier
from ..episodes import EpisodePlan
from ..network import FittedNetwork
from ._open_set import OpenSetQueries, OpenSetResult, open_set_result
from ._split import episode_rows
from ._work import work_on

EPISODES_AT_A_TIME = 25  # per unit of work


def check_rejects(estimator: Any, classifier: FewShotClassifier | None) -> None:
    """Raise unless queries can be rejected: by a network with calibrated scores of inliers.

    Parameters
    ----------
    estimator : estimator
        What is scored.
    classifier : FewShotClassifier or None
        The classifier at its end, perhaps not adapted yet, if it ends in one.
    """
    network = None
    if classifier is not None:
        holder = classifier if classifier.__sklearn_is_fitted__() else classifier.learner
        network = getattr(holder, "_network", None)
        if network is None and holder is not None:
            return  # a learner that is not fitted, which its encoding says
    if network is None or network.calibration is None or not network.takes_examples:
        raise TypeError(
            "n_unknown scores rejection, whose thresholds are quantiles of inlier scores on "
            "held-out classes: it takes a learner that was fitted with calibrate=True, such as "
            "ProtoNetClassifier().fit(X_base, y_base), a classifier that one adapted, or a "
            f"pipeline or search that ends in one. Got {estimator!r}."
        )


class OpenSetWorker:
    """Adapts a classifier to each support set and scores its queries, known and unknown.

    Parameters
    ----------
    network : FittedNetwork
        Adapts.
    encoded : ndarray of shape (n_samples, *encoded_shape)
        Samples that it has encoded already.
    y : ndarray of shape (n_samples,)
        Their labels.
    reject_rate : float
        Nominal false rejection rate.
    """

    def __init__(
        self, network: FittedNetwork, encoded: np.ndarray, y: np.ndarray, reject_rate: float
    ) -> None:
        self.classifier = FewShotClassifier._of_encoded(network, encoded)
        self.encoded, self.y, self.reject_rate = encoded, y, reject_rate

    @property
    def estimator(self) -> FittedNetwork:
        """What adapts, in a time that can be told."""
        return self.classifier._network

    def __call__(self, plan: EpisodePlan) -> OpenSetQueries:
        has_support = plan.support.max(axis=2) >= 0
        episodes = zip(episode_rows(plan), plan.query >= 0, has_support, strict=True)
        X, y, found = self.encoded, self.y, []
        for (support, query), real, is_known in episodes:
            queries = score_queries(
                self.classifier._readapt(X[support], y[support]),
                X[query],
                y[query],
                np.broadcast_to(is_known[:, None], real.shape)[real],
                self.reject_rate,
            )
            found.append(queries.pad(real.reshape(-1)))
        return OpenSetQueries(*map(np.stack, zip(*found, strict=True)))


def score_with_unknown(
    worker: OpenSetWorker, plans: Sequence[EpisodePlan], n_jobs: int | None, verbose: bool
) -> list[OpenSetResult]:
    """Score the known and unknown queries of plans, some episodes at a time."""
    step = EPISODES_AT_A_TIME
    parts = [
        [plan.take(slice(start, start + step)) for start in range(0, plan.n_episodes, step)]
        for plan in plans
    ]
    done = work_on(worker, parts, n_jobs, verbose)
    queries = [OpenSetQueries(*map(np.concatenate, zip(*part, strict=True))) for part in done]
    return [
        open_set_result(its, _n_unknown(plan), worker.reject_rate)
        for its, plan in zip(queries, plans, strict=True)
    ]


def _n_unknown(plan: EpisodePlan) -> int:
    """Count the classes of an episode that have queries but no support."""
    support, query = (rows[0].max(axis=1) for rows in (plan.support, plan.query))
    return int(np.count_nonzero((query >= 0) & (support < 0)))


def score_queries(
    classifier: FewShotClassifier,
    X: np.ndarray,
    y: np.ndarray,
    is_known: np.ndarray,
    reject_rate: float,
) -> OpenSetQueries:
    """Score queries of one support set, in one pass for everything that ``predict`` tells of them.

    Parameters
    ----------
    classifier : FewShotClassifier
        Adapted to the support set.
    X : ndarray of shape (n_queries, ...)
        Queries, as the classifier takes them.
    y : ndarray of shape (n_queries,)
        Their labels.
    is_known : bool ndarray of shape (n_queries,)
        Whether they are of classes of the support set.
    reject_rate : float
        Nominal false rejection rate.

    Returns
    -------
    queries : OpenSetQueries
        Arrays of shape (n_queries,).
    """
    support = classifier._current()
    scores = np.concatenate(list(classifier._score_blocks(X, support)))
    winner, best = scores.argmax(axis=1), scores.max(axis=1)
    return OpenSetQueries(
        is_known=is_known,
        score=best,
        confidence=classifier._network.proba(scores, support.weight).max(axis=1),
        is_right=is_known & (support.classes[winner] == y),
        is_rejected=best < classifier._threshold(support, reject_rate)[winner],
    )
