"""What held-out classes say about scores: how to compare them, and how far to trust them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

QUERIES_OF_PRIOR = 50.0  # that all measured scores count for beside those of a task itself
NOBODY = np.empty(0)
LEVELS = np.linspace(0.0, 1.0, 101)  # at which the scores of known queries are kept
N_STRENGTHS = 101  # that are tried for the bias against few examples ...
POWERS = (1.0, 0.75, 0.5, 0.25)  # ... and how it may fall with their number
LOG_RANGE = (-20.0, 20.0)  # of the sharpness


class KnownScores(NamedTuple):
    """How well queries of known classes score, by way and shot.

    Parameters
    ----------
    n_way : float64 ndarray of shape (n_ways,)
        Classes in the episodes, ascending.
    n_shot : float64 ndarray of shape (n_shots,)
        Examples of each class, ascending.
    quantile : float64 ndarray of shape (n_ways, n_shots, 101)
        Quantiles of the highest score of a query of one of the classes, at ``LEVELS``.
    """

    n_way: np.ndarray
    n_shot: np.ndarray
    quantile: np.ndarray

    def at(
        self, n_way: float, n_shot: np.ndarray, rate: float, ahead: np.ndarray = NOBODY
    ) -> np.ndarray:
        """Return the score that a share ``rate`` of known queries stays below.

        Between the ways and shots that were measured it is interpolated in their logarithms;
        beyond them it is that of the nearest.

        Parameters
        ----------
        n_way : float
            Number of classes.
        n_shot : ndarray of shape (n_classes,)
            Examples of each.
        rate : float
            The share.
        ahead : ndarray of shape (n_known,)
            By how much known queries of these very classes are ahead of the median: they join the
            queries that were measured, which count as ``QUERIES_OF_PRIOR``.

        Returns
        -------
        score : float64 ndarray of shape (n_classes,)
        """
        way = np.interp(np.log(n_way), np.log(self.n_way), np.arange(len(self.n_way)))
        low = int(way)
        high = min(low + 1, len(self.n_way) - 1)
        table = self.quantile[low] + (way - low) * (self.quantile[high] - self.quantile[low])
        shots, place = np.unique(n_shot, return_inverse=True)
        shot = np.interp(np.log(shots), np.log(self.n_shot), np.arange(len(self.n_shot)))
        found = []
        for position in shot:
            low = int(position)
            high = min(low + 1, len(self.n_shot) - 1)
            measured = table[low] + (position - low) * (table[high] - table[low])
            here = ahead + np.median(measured)
            found.append(_pooled_quantile(measured, here, rate))
        return np.array(found)[place]


def _pooled_quantile(measured: np.ndarray, here: np.ndarray, rate: float) -> float:
    """Return a quantile of measured scores, which weigh ``QUERIES_OF_PRIOR``, and others."""
    values = np.concatenate([measured, here])
    weight = np.repeat([QUERIES_OF_PRIOR / len(measured), 1.0], [len(measured), len(here)])
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) - weight[order[0]]
    return float(np.interp(rate * reached[-1], reached, values[order]))


class ShotBias(NamedTuple):
    """What a class of few examples lacks in score, beside one of very many.

    The mean of ``K`` examples is off by the ``K``-th part of the variance within the class, so that
    a query of the class scores lower the fewer they are. Where scores are no squared distances to
    means, what is lacking falls more slowly with ``K``.

    Parameters
    ----------
    strength : float
        What a class of one example lacks.
    power : float
        How fast it falls: the lack of ``K`` examples is ``strength / K**power``.
    plenty : float
        Most examples of a class that it was measured with: more count as so many.
    """

    strength: float
    power: float
    plenty: float

    def offset(self, count: np.ndarray) -> np.ndarray:
        """Return what is added to the scores of classes with unequal numbers of examples.

        Parameters
        ----------
        count : ndarray of shape (..., n_classes)
            Examples of each class; 0 for padding.

        Returns
        -------
        offset : float64 ndarray of shape (..., n_classes)
            What each class lacks more than the largest: zero where all have equally many.
        """
        count = np.minimum(count, self.plenty).astype(np.float64)
        most = count.max(axis=-1, keepdims=True)
        inverse = np.where(count > 0, count, most) ** -self.power
        return self.strength * (inverse - most**-self.power)


class Calibration(NamedTuple):
    """What a network has learned from held-out classes beside its weights.

    Parameters
    ----------
    log_sharpness : tuple of float
        Coefficients of 1, log(way) and log(shot) in the logarithm of the sharpness: the factor of
        the logits that makes probabilities agree with frequencies.
    known : KnownScores
        How well queries of known classes score.
    shot_bias : ShotBias or None
        What classes of few examples lack beside others; None if it could not be measured.
    """

    log_sharpness: tuple[float, float, float]
    known: KnownScores
    shot_bias: ShotBias | None

    def sharpness(self, count: np.ndarray) -> float:
        """Return the factor of the logits in probabilities.

        Parameters
        ----------
        count : ndarray of shape (n_classes,)
            Examples of each class.

        Returns
        -------
        sharpness : float
            Ways and shots beyond those that were measured count as the nearest of these.
        """
        n_way = np.clip(len(count), *self.known.n_way[[0, -1]])
        n_shot = np.clip(np.exp(np.log(count).mean()), *self.known.n_shot[[0, -1]])
        return float(np.exp(np.dot(self.log_sharpness, [1.0, np.log(n_way), np.log(n_shot)])))


class Asked(NamedTuple):
    """Queries of known classes, all in episodes of one size.

    Parameters
    ----------
    logits : float64 ndarray of shape (n_queries, n_way)
        Logits of the classes of a query's episode, ``-inf`` for padding.
    target : int ndarray of shape (n_queries,)
        The right class.
    best : float64 ndarray of shape (n_queries,)
        Highest score.
    n_way, n_shot : float
        Mean (geometric, of the shots) size of the episodes.
    """

    logits: np.ndarray
    target: np.ndarray
    best: np.ndarray
    n_way: float
    n_shot: float


def fit_log_sharpness(asked: list[Asked]) -> tuple[float, float, float]:
    """Fit the sharpness as ``exp(a + b log(way) + c log(shot))``.

    For each size of episodes there is one sharpness at which the mean confidence is the accuracy.
    The coefficients follow by least squares of the remaining differences, to first order. Maximum
    likelihood (Guo et al., 2017) would let a few very wrong answers make all others diffident.

    Parameters
    ----------
    asked : list of Asked
        Queries, by size of their episodes.

    Returns
    -------
    log_sharpness : tuple of float
        The coefficients.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017.
    """
    features = np.array([[1.0, np.log(size.n_way), np.log(size.n_shot)] for size in asked])
    found = np.array([_where_confidence_is_accuracy(size) for size in asked])
    slope = [
        _confidence(size, best + 0.1) - _confidence(size, best - 0.1)
        for size, best in zip(asked, found, strict=True)
    ]
    weight = np.maximum(slope, 1e-6)[:, None]
    no_trend = 1e-3 * np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # where one size is all there is
    rows = np.concatenate([weight * features, no_trend])
    wanted = np.concatenate([weight[:, 0] * found, np.zeros(2)])
    coefficients = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return tuple(float(value) for value in coefficients)


def _where_confidence_is_accuracy(size: Asked) -> float:
    """Return the logarithm of the sharpness; the confidence grows with it from 1 / way to 1."""
    right = size.logits.argmax(axis=1) == size.target
    accuracy = (right.sum() + 0.5) / (len(right) + 1.0)  # never quite all, nor none

    def excess(log_sharpness: float) -> float:
        return _confidence(size, log_sharpness) - accuracy

    if excess(LOG_RANGE[0]) >= 0.0 or excess(LOG_RANGE[1]) <= 0.0:
        return LOG_RANGE[int(excess(LOG_RANGE[0]) < 0.0)]
    return float(brentq(excess, *LOG_RANGE, xtol=1e-3))


def _confidence(size: Asked, log_sharpness: float) -> float:
    """Return the mean probability of the likeliest class."""
    return float(softmax(np.exp(log_sharpness) * size.logits, axis=1).max(axis=1).mean())


def known_scores(asked: list[Asked]) -> KnownScores:
    """Tabulate how well queries of known classes score.

    Parameters
    ----------
    asked : list of Asked
        Queries of every combination of some ways and shots, shots fastest.

    Returns
    -------
    known : KnownScores
    """
    n_way = np.unique([size.n_way for size in asked])
    quantile = np.stack([np.quantile(size.best, LEVELS) for size in asked])
    quantile = quantile.reshape(len(n_way), -1, len(LEVELS))
    n_shot = np.array([size.n_shot for size in asked[: quantile.shape[1]]])
    return KnownScores(n_way, n_shot, quantile)


class Posing(NamedTuple):
    """Queries asked among old classes of many examples and new ones of few.

    Parameters
    ----------
    gap : float64 ndarray of shape (n_queries,)
        By how much the best old class is ahead of the best new one.
    n_old, n_new : int ndarray of shape (n_queries,)
        Examples of these two.
    right_if_old, right_if_new : bool ndarray of shape (n_queries,)
        Whether the answer is right if the best old, or the best new class wins.
    code : int ndarray of shape (n_queries,)
        The right class.
    is_new : bool ndarray of shape (n_queries,)
        Whether it is a new one.
    """

    gap: np.ndarray
    n_old: np.ndarray
    n_new: np.ndarray
    right_if_old: np.ndarray
    right_if_new: np.ndarray
    code: np.ndarray
    is_new: np.ndarray

    def strength(self, power: float) -> np.ndarray:
        """Return the strength of the bias at which the best new class draws level."""
        return self.gap / (self.n_new.astype(float) ** -power - self.n_old.astype(float) ** -power)

    def harmonic_mean(self, strength: np.ndarray, power: float) -> np.ndarray:
        """Return the harmonic mean of the accuracies on old and new classes, for each strength."""
        new_wins = strength[:, None] > self.strength(power)
        right = np.where(new_wins, self.right_if_new, self.right_if_old)
        old, new = (
            np.mean([right[:, self.code == k].mean(axis=1) for k in np.unique(self.code[side])], 0)
            for side in (~self.is_new, self.is_new)
        )
        return 2.0 * old * new / np.maximum(old + new, 1e-12)


def fit_shot_bias(posings: list[Posing]) -> ShotBias:
    """Choose the bias that serves old and new classes best together.

    As in pruning trees (Breiman et al., 1984), it is the smallest that is within a standard error
    of the best: from few classes little is learned.

    Parameters
    ----------
    posings : list of Posing
        Held-out classes, some posed as old and some as new ones, of several numbers of examples.

    Returns
    -------
    bias : ShotBias
        Chosen by the mean over the posings of the harmonic mean.
    """
    n_new = np.array([posing.n_new.mean() for posing in posings])
    plenty = float(max(posing.n_old.max() for posing in posings))
    candidates, worth = [], []
    for power in POWERS:
        level = np.concatenate([posing.strength(power) for posing in posings])
        tried = np.quantile(level, np.linspace(0.0, 1.0, N_STRENGTHS))
        tried = np.unique(np.maximum(tried, 0.0))  # fewer examples are never better
        candidates += [ShotBias(float(strength), power, plenty) for strength in tried]
        worth.append(np.stack([posing.harmonic_mean(tried, power) for posing in posings]))
    shortfall = np.concatenate(worth, axis=1)  # (n_posings, n_candidates)
    best = shortfall.mean(axis=0).argmax()
    shortfall = shortfall[:, [best]] - shortfall
    n_classes = len(np.unique(np.concatenate([posing.code for posing in posings])))
    error = shortfall.std(axis=0) / np.sqrt(n_classes)
    good = np.flatnonzero(shortfall.mean(axis=0) <= error)
    beside_plenty = np.column_stack([n_new, np.full(len(n_new), plenty)])
    return min((candidates[i] for i in good), key=lambda bias: bias.offset(beside_plenty).mean())
