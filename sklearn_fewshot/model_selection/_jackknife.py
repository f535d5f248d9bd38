"""The mean accuracy as a mean over classes, of which other data would have others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..episodes import EpisodePlan

ENOUGH_UNITS = 30  # to subtract one variance from another


class Gains(NamedTuple):
    """What each class contributes to the accuracy of an episode.

    Parameters
    ----------
    score : float64 ndarray of shape (n_episodes,)
        Accuracy of each episode.
    gain : float64 ndarray of shape (n_episodes, n_way)
        How much lower it is without the class: without its queries, and without its examples.
    """

    score: np.ndarray
    gain: np.ndarray

    def minus(self, other: Gains) -> Gains:
        """Return the gains of the difference of two scores."""
        return Gains(self.score - other.score, self.gain - other.gain)


def gains(plan: EpisodePlan, predicted: np.ndarray, runner_up: np.ndarray) -> Gains:
    """Leave each class out of the episodes that have it.

    Queries that were mistaken for the class then go to the class that is second for them.

    Parameters
    ----------
    plan : EpisodePlan
        The episodes.
    predicted, runner_up : int ndarray of shape (n_episodes, n_way, n_query)
        Codes of the most and second most probable class of each query. Where the second is not
        known (-1), it counts as the true class, which makes intervals wider.

    Returns
    -------
    gains : Gains
    """
    is_query, true = plan.query >= 0, plan.classes[:, :, None]
    is_hit = is_query & (predicted == true)
    is_rescued = is_query & ~is_hit & (predicted >= 0) & ((runner_up == true) | (runner_up < 0))
    episode = np.nonzero(is_rescued)[0]
    n_rescued = np.zeros((len(plan.classes), plan.classes.max() + 1))
    np.add.at(n_rescued, (episode, predicted[is_rescued]), 1)
    hits, n_queries = is_hit.sum(axis=2), is_query.sum(axis=2)
    score = hits.sum(axis=1) / n_queries.sum(axis=1)
    hits_left = hits.sum(axis=1, keepdims=True) - hits
    hits_left = hits_left + np.take_along_axis(n_rescued, np.maximum(plan.classes, 0), axis=1)
    n_left = n_queries.sum(axis=1, keepdims=True) - n_queries
    without = np.where(n_left > 0, hits_left / np.maximum(n_left, 1), score[:, None])
    return Gains(score, score[:, None] - without)


def class_values(classes: np.ndarray, gains: Gains, group: np.ndarray | None = None) -> np.ndarray:
    """Return one value per class, which vary as the mean score does for other classes.

    A class has more to do with the accuracy than its own recall, since others are confused with it.

    Parameters
    ----------
    classes : int ndarray of shape (n_episodes, n_way)
        Codes of the classes of each episode, -1 for padding.
    gains : Gains
        From :func:`gains`.
    group : int ndarray of shape (n_classes,) or None, default=None
        Group of each class, if there shall be one value per group: it is left out as a whole.

    Returns
    -------
    value : float64 ndarray of shape (n_classes,) or (n_groups,)
        Of those in the episodes, by their codes. Their mean is that of the scores; its variance is
        theirs divided by their number, as if they were independent.

    Notes
    -----
    With all classes in each episode these are the pseudo-values of the jackknife (Tukey, 1958). For
    episodes of fewer, the mean score is a U-statistic of the classes (Hoeffding, 1948), whose
    projection on a class is the same mean difference (Arvesen, 1969). Episodes vary as well: the
    variance is that of classes plus that of episodes minus that of classes within episodes, which
    both contain (Cameron, Gelbach and Miller, 2011, equation 2.7). Of fewer than 30 classes or
    groups such a difference is too uncertain, and that of classes, which is larger, is taken.

    References
    ----------
    W. Hoeffding, "A Class of Statistics with Asymptotically Normal Distribution", Annals of
    Mathematical Statistics 19(3), 1948.

    J. N. Arvesen, "Jackknifing U-Statistics", Annals of Mathematical Statistics 40(6), 1969.

    A. C. Cameron, J. B. Gelbach and D. L. Miller, "Robust Inference With Multiway Clustering",
    Journal of Business & Economic Statistics 29(2), 2011.
    """
    episode, position = np.nonzero(classes >= 0)
    code, place, count = np.unique(
        classes[episode, position], return_inverse=True, return_counts=True
    )
    gain, n_episodes, n_classes = gains.gain[episode, position], len(classes), len(code)
    mean_gain = np.bincount(place, weights=gain) / count
    n_way = len(gain) / n_episodes
    spread = n_way * (n_classes - 1) / n_classes * (mean_gain - mean_gain.mean())
    unit = np.unique(code if group is None else group[code], return_inverse=True)[1]
    n_units = unit.max() + 1
    spread = n_units / n_classes * np.bincount(unit, weights=spread)
    cell = episode * n_units + unit[place]
    of_both = np.sum(np.bincount(cell, weights=gain - mean_gain.mean()) ** 2) / n_episodes**2
    of_units = np.sum(spread**2) / n_units**2
    of_episodes = np.var(gains.score) / n_episodes
    if n_units >= ENOUGH_UNITS and of_units > 0:
        variance = max(of_episodes, of_units + of_episodes - of_both)
        spread *= np.sqrt(variance / of_units)
    return np.asarray(gains.score.mean() + spread)
