"""The mean accuracy as a mean over classes, of which other data would have others."""

from __future__ import annotations

import numpy as np

from ..episodes import EpisodePlan


def class_values(
    plan: EpisodePlan, predicted: np.ndarray, runner_up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return one value per class, which vary as the mean accuracy does for other classes.

    A class has more to do with the accuracy than its own recall, since others are confused with it.
    The jackknife leaves one class out of each episode that has it, with its queries and with its
    examples: queries that were mistaken for it go to the class that is second for them.

    Parameters
    ----------
    plan : EpisodePlan
        The episodes.
    predicted, runner_up : int ndarray of shape (n_episodes, n_way, n_query)
        Codes of the most and second most probable class of each query. Where the second is not
        known (-1), it counts as the true class, which makes the values vary more.

    Returns
    -------
    value : float64 ndarray of shape (n_classes,)
        Pseudo-values. Their mean is that of the scores; its variance is theirs divided by their
        number, as if they were independent.
    code : int ndarray of shape (n_classes,)
        Codes of the classes, ascending.

    Notes
    -----
    With all classes in each episode this is the jackknife (Tukey, 1958). For episodes of fewer, the
    mean score is a U-statistic of the classes (Hoeffding, 1948), whose projection on a class is the
    same mean difference (Arvesen, 1969).

    References
    ----------
    W. Hoeffding, "A Class of Statistics with Asymptotically Normal Distribution", Annals of
    Mathematical Statistics 19(3), 1948.

    J. N. Arvesen, "Jackknifing U-Statistics", Annals of Mathematical Statistics 40(6), 1969.
    """
    is_class = plan.classes >= 0
    score, without = _scores_without_each(plan, predicted, runner_up)
    gain = (score[:, None] - without)[is_class]
    code, place, count = np.unique(plan.classes[is_class], return_inverse=True, return_counts=True)
    mean_gain = np.bincount(place, weights=gain) / count
    n_way = is_class.sum(axis=1).mean()
    spread = n_way * (len(code) - 1) / len(code) * (mean_gain - mean_gain.mean())
    return score.mean() + spread, code


def group_values(value: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return one value per group of classes from one per class, with the same mean.

    Parameters
    ----------
    value : ndarray of shape (n_classes,)
        From :func:`class_values`.
    group : int ndarray of shape (n_classes,)
        Group of each class.

    Returns
    -------
    value : ndarray of shape (n_groups,)
        Groups are left out as a whole.
    """
    mean, n_groups = value.mean(), group.max() + 1
    return mean + n_groups * np.bincount(group, weights=value - mean) / len(value)


def _scores_without_each(
    plan: EpisodePlan, predicted: np.ndarray, runner_up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracy of each episode, and that without each of its classes in turn.

    Returns
    -------
    score : ndarray of shape (n_episodes,)
        Accuracy of each episode.
    without : ndarray of shape (n_episodes, n_way)
        Accuracy without the class; that of the episode where no query is left.
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
    return score, without
