"""The model of scores: temperature, inlier quantiles, set thresholds, shot bias. Scores only."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from ._by_size import SampledQueries, between, place
from ._conformal import SetThresholds

PRIOR_WEIGHT = 50.0  # pseudo-count: held-out scores weigh like so many scores of the task
NO_SCORES = np.empty(0)
LEVELS = np.linspace(0.0, 1.0, 101)  # of the quantiles of inlier scores that are kept
N_STRENGTHS = 101  # tried for the shot bias ...
POWERS = (1.0, 0.75, 0.5, 0.25)  # ... and how it may fall with the number of examples
LOG_RANGE = (-20.0, 20.0)  # of the inverse temperature
WIDENED_AT = 0.05  # the false rejection rate that is right for classes that are left out
MOST_WIDENED = 1.5  # of two or three held-out classes the factor is anything from one to five


class InlierScores(NamedTuple):
    """Quantiles of the scores of inliers, queries of one of the classes, by way and shot.

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
        self, n_way: float, n_shot: np.ndarray, rate: float, deviation: np.ndarray = NO_SCORES
    ) -> np.ndarray:
        """Return the score that a share ``rate`` of inliers stays below.

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
        deviation : ndarray of shape (n_scores,)
            Leave-one-out scores of these classes, relative to the median: they are pooled with the
            scores of held-out classes, a prior that weighs like ``PRIOR_WEIGHT`` of them.

        Returns
        -------
        score : float64 ndarray of shape (n_classes,)
        """
        table = between(self.quantile, place(n_way, self.n_way))  # (n_shots, 101)
        shots, of_class = np.unique(n_shot, return_inverse=True)
        found = []
        for shot in shots:
            prior = between(table, place(shot, self.n_shot))
            found.append(_pooled_quantile(prior, deviation + np.median(prior), rate))
        return np.array(found)[of_class]


def _pooled_quantile(prior: np.ndarray, here: np.ndarray, rate: float) -> float:
    """Return a quantile of the task's scores pooled with prior ones (weight ``PRIOR_WEIGHT``)."""
    values = np.concatenate([prior, here])
    weight = np.repeat([PRIOR_WEIGHT / len(prior), 1.0], [len(prior), len(here)])
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) - weight[order[0]]
    return float(np.interp(rate * reached[-1], reached, values[order]))


class ShotBias(NamedTuple):
    """The systematic score deficit of classes with few examples, compared with very many.

    The mean of ``K`` examples is off by the ``K``-th part of the variance within the class, so that
    a query of the class scores lower the fewer they are. If scores are not squared distances to
    means, the deficit falls more slowly with ``K``.

    Parameters
    ----------
    strength : float
        The deficit of a class with one example.
    power : float
        Exponent: the deficit of ``K`` examples is ``strength / K**power``.
    saturation : float
        Largest number of examples per class in the fit: larger ones are clipped to it.
    """

    strength: float
    power: float
    saturation: float

    def offset(self, count: np.ndarray) -> np.ndarray:
        """Return the correction of the scores of classes with unequal numbers of examples.

        Parameters
        ----------
        count : ndarray of shape (..., n_classes)
            Examples of each class; 0 for padding.

        Returns
        -------
        offset : float64 ndarray of shape (..., n_classes)
            The deficit of each class relative to the largest: zero for equal numbers.
        """
        count = np.minimum(count, self.saturation).astype(np.float64)
        most = count.max(axis=-1, keepdims=True)
        inverse = np.where(count > 0, count, most) ** -self.power
        return self.strength * (inverse - most**-self.power)


class ShotBiasByWay(NamedTuple):
    """The shot bias by the number of classes that compete.

    Parameters
    ----------
    n_way : float64 ndarray of shape (n_ways,)
        Numbers of classes, ascending.
    biases : tuple of ShotBias
        The bias for each. Between them corrections are interpolated in the logarithm.
    """

    n_way: np.ndarray
    biases: tuple[ShotBias, ...]

    def offset(self, count: np.ndarray) -> np.ndarray:
        """Return the correction, as :meth:`ShotBias.offset`."""
        n_way = (count > 0).sum(axis=-1, keepdims=True)
        place = np.interp(np.log(n_way), np.log(self.n_way), np.arange(len(self.n_way)))
        # Each bias weighs by how near the number of classes is to its own.
        near = [np.maximum(0.0, 1.0 - np.abs(place - i)) for i in range(len(self.biases))]
        offsets = [bias.offset(count) for bias in self.biases]
        return np.sum([w * it for w, it in zip(near, offsets, strict=True)], axis=0)

    def of_logits(self, factor: float) -> ShotBiasByWay:
        """Return the bias of logits that are larger by a factor."""
        return self._replace(
            biases=tuple(it._replace(strength=factor * it.strength) for it in self.biases)
        )


class Temperature(NamedTuple):
    """The inverse temperature by way and shot: ``exp(a + b log(way) + c log(shot))``.

    Parameters
    ----------
    coefficients : tuple of float
        ``a``, ``b`` and ``c``.
    n_way, n_shot : tuple of float
        Least and most classes, and examples of each, of the fit.
    """

    coefficients: tuple[float, float, float]
    n_way: tuple[float, float]
    n_shot: tuple[float, float]

    def inverse(self, count: np.ndarray) -> float:
        """Return the factor of the logits in probabilities.

        Parameters
        ----------
        count : ndarray of shape (n_classes,)
            Examples of each class.

        Returns
        -------
        inverse_temperature : float
            Ways and shots outside the range of the fit are clipped to it.
        """
        n_way = np.clip(len(count), *self.n_way)
        n_shot = np.clip(np.exp(np.log(count).mean()), *self.n_shot)
        return float(np.exp(np.dot(self.coefficients, [1.0, np.log(n_way), np.log(n_shot)])))

    def of_logits(self, factor: float) -> Temperature:
        """Return the temperature of logits that are larger by a factor."""
        a, b, c = self.coefficients
        return self._replace(coefficients=(a - float(np.log(factor)), b, c))


class Calibration(NamedTuple):
    """Calibration of the scores of a network, fitted on held-out classes.

    Parameters
    ----------
    temperature : Temperature
        Makes probabilities agree with frequencies.
    inliers : InlierScores or None
        Quantiles of the scores of inliers; None if classes are represented by attributes.
    sets : SetThresholds or None
        Thresholds of prediction sets; None if classes are represented by attributes, or none was
        held out.
    shot_bias : ShotBiasByWay or None
        The score deficit of classes with few examples; None if there were too few classes.
    n_held_out : int
        Held-out classes that it rests on; 0 if it had to be fitted on classes that were trained on.
    """

    temperature: Temperature
    inliers: InlierScores | None
    sets: SetThresholds | None
    shot_bias: ShotBiasByWay | None
    n_held_out: int

    @property
    def tasks(self) -> list[tuple[int, int]]:
        """Way and shot of each entry of the table of inlier scores, shots fastest."""
        assert self.inliers is not None
        ways, shots = (map(int, values) for values in (self.inliers.n_way, self.inliers.n_shot))
        return list(product(ways, shots))

    def inverse_temperature(self, count: np.ndarray) -> float:
        """Return the factor of the logits in probabilities."""
        return self.temperature.inverse(count)

    def shot_correction(self, count: np.ndarray) -> np.ndarray:
        """Return the correction of the scores of classes with unequal numbers of examples."""
        return np.zeros(1) if self.shot_bias is None else self.shot_bias.offset(count)

    def quantile(self, count: np.ndarray, rate: float, deviation: np.ndarray) -> np.ndarray:
        """Return the score of each class that a share of its inliers stays below."""
        assert self.inliers is not None
        return self.inliers.at(len(count), count, rate, deviation)

    def set_margin(self, count: np.ndarray, alpha: float) -> np.ndarray | None:
        """Return how far the logit of each class may be below the highest in a prediction set.

        That of a class is measured on classes that all have as many examples.
        """
        if self.sets is None:
            return None
        n_way, margin = len(count), np.empty(len(count))
        for n_shot in np.unique(count):
            share = self.sets.at(n_way, n_shot, alpha)
            inverse_temperature = self.temperature.inverse(np.full(n_way, n_shot))
            margin[count == n_shot] = -np.log(share) / inverse_temperature if share else np.inf
        return margin


def fit_temperature(sizes: list[SampledQueries]) -> Temperature:
    """Fit the inverse temperature as ``exp(a + b log(way) + c log(shot))``.

    For each way and shot there is one at which the mean confidence equals the accuracy. The
    coefficients follow by least squares of the remaining differences, to first order. Maximum
    likelihood (Guo et al., 2017) would let a few confident errors flatten all other probabilities.

    Parameters
    ----------
    sizes : list of SampledQueries
        Queries, by size of their episodes.

    Returns
    -------
    temperature : Temperature

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017.
    """
    features = np.array([[1.0, np.log(size.n_way), np.log(size.n_shot)] for size in sizes])
    found = np.array([_solve_for_accuracy(size) for size in sizes])
    slope = [
        _confidence(size, best + 0.1) - _confidence(size, best - 0.1)
        for size, best in zip(sizes, found, strict=True)
    ]
    weight = np.maximum(slope, 1e-6)[:, None]
    # A weak penalty decides for a single size, which determines no trend.
    no_trend = 1e-3 * np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rows = np.concatenate([weight * features, no_trend])
    wanted = np.concatenate([weight[:, 0] * found, np.zeros(2)])
    a, b, c = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    ways, shots = ([size[i] for size in sizes] for i in (-2, -1))
    return Temperature(
        (float(a), float(b), float(c)),
        (float(min(ways)), float(max(ways))),
        (float(min(shots)), float(max(shots))),
    )


def _solve_for_accuracy(size: SampledQueries) -> float:
    """Return the log inverse temperature at which the mean confidence equals the accuracy.

    The confidence grows with it from 1 / way to 1.
    """
    right = size.logits.argmax(axis=1) == size.target
    accuracy = (right.sum() + 0.5) / (len(right) + 1.0)  # below 1, as any confidence is

    def excess(log_inverse_temperature: float) -> float:
        return _confidence(size, log_inverse_temperature) - accuracy

    if excess(LOG_RANGE[0]) >= 0.0 or excess(LOG_RANGE[1]) <= 0.0:
        return LOG_RANGE[int(excess(LOG_RANGE[0]) < 0.0)]
    return float(brentq(excess, *LOG_RANGE, xtol=1e-3))


def _confidence(size: SampledQueries, log_inverse_temperature: float) -> float:
    """Return the mean probability of the most probable class."""
    logits = np.exp(log_inverse_temperature) * size.logits
    return float(softmax(logits, axis=1).max(axis=1).mean())


def tabulate_inlier_scores(sizes: list[SampledQueries]) -> InlierScores:
    """Tabulate quantiles of the scores of inliers.

    Those below the median are as far from it as classes that are left out say: a quantile of few
    classes says little about the tail of others.

    Parameters
    ----------
    sizes : list of SampledQueries
        Queries of every combination of some ways and shots, shots fastest.

    Returns
    -------
    inliers : InlierScores
    """
    n_way = np.unique([size.n_way for size in sizes])
    quantile = np.stack([np.quantile(size.best, LEVELS) for size in sizes])
    distance = quantile - np.quantile(quantile, 0.5, axis=1, keepdims=True)
    quantile += (widening(sizes) - 1.0) * np.minimum(distance, 0.0)
    quantile = quantile.reshape(len(n_way), -1, len(LEVELS))
    n_shot = np.array([size.n_shot for size in sizes[: quantile.shape[1]]])
    return InlierScores(n_way, n_shot, quantile)


def widening(sizes: list[SampledQueries]) -> float:
    """Return how much wider a tail of scores must be to hold for classes that are left out.

    Each held-out class is scored against the median and the 0.05 quantile of the others. The factor
    of the distance between the two at which a share of 0.05 of the queries is rejected, on average
    over classes, tends to 1 for many classes.

    Parameters
    ----------
    sizes : list of SampledQueries
        Queries, by size of their episodes.

    Returns
    -------
    factor : float
        From 1 to ``MOST_WIDENED``.
    """
    parts = []
    for size in sizes:
        for code in np.unique(size.code):
            is_left = size.code == code
            others = size.best[~is_left]
            if len(others):
                median, low = np.quantile(others, [0.5, WIDENED_AT])
                parts.append((median - size.best[is_left], median - low))

    def excess(factor: float) -> float:
        rejected = [np.mean(distance > factor * allowed) for distance, allowed in parts]
        return float(np.mean(rejected)) - WIDENED_AT

    if not parts or excess(1.0) <= 0.0:
        return 1.0
    if excess(MOST_WIDENED) >= 0.0:
        return MOST_WIDENED
    return float(brentq(excess, 1.0, MOST_WIDENED, xtol=1e-3))


class BaseAndNew(NamedTuple):
    """Queries scored among base classes with many and new classes with few examples.

    Parameters
    ----------
    gap : float64 ndarray of shape (n_queries,)
        Score of the best base class minus that of the best new class.
    n_base, n_new : int ndarray of shape (n_queries,)
        Examples of these two.
    right_if_base, right_if_new : bool ndarray of shape (n_queries,)
        Whether the prediction is right if the best base, or the best new class wins.
    code : int ndarray of shape (n_queries,)
        The query's class.
    is_new : bool ndarray of shape (n_queries,)
        Whether it is a new class.
    """

    gap: np.ndarray
    n_base: np.ndarray
    n_new: np.ndarray
    right_if_base: np.ndarray
    right_if_new: np.ndarray
    code: np.ndarray
    is_new: np.ndarray

    def strength(self, power: float) -> np.ndarray:
        """Return the strength at which the best new class ties with the best base class."""
        return self.gap / (self.n_new.astype(float) ** -power - self.n_base.astype(float) ** -power)

    def harmonic_mean(self, strength: np.ndarray, power: float) -> np.ndarray:
        """Return the harmonic mean of the accuracies on base and new classes, for each strength."""
        new_wins = strength[:, None] > self.strength(power)
        right = np.where(new_wins, self.right_if_new, self.right_if_base)
        base, new = (
            np.mean([right[:, self.code == k].mean(axis=1) for k in np.unique(self.code[side])], 0)
            for side in (~self.is_new, self.is_new)
        )
        return 2.0 * base * new / np.maximum(base + new, 1e-12)


def fit_shot_bias_by_way(n_way: list[int], splits: list[list[BaseAndNew]]) -> ShotBiasByWay:
    """Fit a shot bias for each number of classes that compete.

    Parameters
    ----------
    n_way : list of int
        Numbers of classes, ascending.
    splits : list of list of BaseAndNew
        For each, as :func:`fit_shot_bias` takes them.

    Returns
    -------
    bias : ShotBiasByWay
    """
    return ShotBiasByWay(np.array(n_way, dtype=float), tuple(map(fit_shot_bias, splits)))


def fit_shot_bias(splits: list[BaseAndNew]) -> ShotBias:
    """Choose the bias with the best harmonic mean of base and new accuracy.

    By the one-standard-error rule of pruning trees (Breiman et al., 1984), it is the smallest that
    is within a standard error of the best, since the best of few classes is uncertain.

    Parameters
    ----------
    splits : list of BaseAndNew
        Held-out classes, some used as base and some as new classes, for several shots.

    Returns
    -------
    bias : ShotBias
        Chosen by the mean over the splits of the harmonic mean.
    """
    n_new = np.array([split.n_new.mean() for split in splits])
    saturation = float(max(split.n_base.max() for split in splits))
    candidates, means = [], []
    # The harmonic mean changes only at strengths that tie a query: candidates are their quantiles.
    for power in POWERS:
        level = np.concatenate([split.strength(power) for split in splits])
        tried = np.quantile(level, np.linspace(0.0, 1.0, N_STRENGTHS))
        tried = np.unique(np.maximum(tried, 0.0))  # fewer examples are never better
        candidates += [ShotBias(float(strength), power, saturation) for strength in tried]
        means.append(np.stack([split.harmonic_mean(tried, power) for split in splits]))
    shortfall = np.concatenate(means, axis=1)  # (n_splits, n_candidates)
    best = shortfall.mean(axis=0).argmax()
    shortfall = shortfall[:, [best]] - shortfall
    n_classes = len(np.unique(np.concatenate([split.code for split in splits])))
    error = shortfall.std(axis=0) / np.sqrt(n_classes)
    good = np.flatnonzero(shortfall.mean(axis=0) <= error)
    few_and_many = np.column_stack([n_new, np.full(len(n_new), saturation)])
    return min((candidates[i] for i in good), key=lambda bias: bias.offset(few_and_many).mean())
