"""Base and new classes in one decision, over episodes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..adapted import FewShotClassifier
from ..calibration import harmonic_mean
from ..episodes import some_of_each
from ..utils._html import html_table
from ..utils._progress import progress
from ..utils._random import draw_seed
from ..utils._typing import ArrayLike, Estimator, RandomState, Range, Way
from ..utils._validation import check_labels, encode_labels, is_known, label_text
from ._draw import draw_episodes
from ._evaluation import encode, few_shot_end
from ._generalized import generalized_accuracy
from ._interval import Interval, share_interval
from ._result import count_text, import_pandas, score_text
from ._split import EpisodeSplit, episode_rows


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedResult:
    """Accuracies among base and new classes together, one of each per episode.

    Parameters
    ----------
    base : ndarray of shape (n_episodes,)
        Mean accuracy of the base classes.
    new : ndarray of shape (n_episodes,)
        Mean accuracy of the new classes.

    See Also
    --------
    generalized_episodic_score : Returns this.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import GeneralizedResult
    >>> print(GeneralizedResult(base=np.array([0.9, 0.8]), new=np.array([0.3, 0.4])))
    base 85.00 %, new 35.00 %, harmonic mean 49.17 ± 44.89 % (2 episodes, interval over episodes)
    """

    base: np.ndarray
    new: np.ndarray

    @property
    def harmonic_mean(self) -> np.ndarray:
        """Harmonic mean of both for each episode, shape (n_episodes,): high only if both are."""
        return np.asarray(harmonic_mean(self.base, self.new))

    def interval_over_episodes(self) -> Interval:
        """Return the mean of the harmonic means, with an interval over episodes.

        Returns
        -------
        interval : Interval
        """
        return share_interval(self.harmonic_mean, "episodes")

    def to_frame(self) -> Any:
        """Return a data frame with one row per episode.

        Returns
        -------
        frame : pandas.DataFrame
            Columns "base", "new" and "harmonic_mean".
        """
        pd = import_pandas(type(self).__name__)

        columns = {"base": self.base, "new": self.new, "harmonic_mean": self.harmonic_mean}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self.base), name="episode"))

    def __str__(self) -> str:
        """Return the line to report."""
        mean = self.interval_over_episodes()
        return (
            f"base {100 * self.base.mean():.2f} %, new {100 * self.new.mean():.2f} %, harmonic "
            f"mean {score_text(mean, 'accuracy')} "
            f"({count_text(len(self.base), 'episode', 'episodes')}, interval over episodes)"
        )

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        sides = {"base": self.base, "new": self.new, "harmonic mean": self.harmonic_mean}
        rows = []
        for name, scores in sides.items():
            mean = share_interval(scores, "episodes")
            rows.append((name, score_text(mean, "accuracy")))
        caption = f"{count_text(len(self.base), 'episode', 'episodes')}, interval over episodes"
        return html_table(rows, header=("classes", "accuracy"), caption=caption)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def generalized_episodic_score(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    X_base: ArrayLike,
    y_base: ArrayLike,
    *,
    n_way: Way = "all",
    n_shot: Range = 1,
    n_query: int = 15,
    n_base_query: int = 5,
    n_episodes: int = 100,
    groups: ArrayLike | None = None,
    random_state: RandomState = 0,
    verbose: bool = False,
) -> GeneralizedResult:
    """Score a learner on base and new classes together, in one decision.

    Each episode adds some new classes, from a few examples, to the base classes
    (``adapt(..., include_base=True)``) and scores queries of both.

    Parameters
    ----------
    estimator : fitted learner, or a pipeline or search that ends in one
        The learner to adapt.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples of new classes.
    y : array-like of shape (n_samples,)
        Their labels.
    X_base : array-like of shape (n_base_samples, n_features) or (n_base_samples, *input_shape)
        Samples of base classes that the learner was *not* trained on.
    y_base : array-like of shape (n_base_samples,)
        Their labels.
    n_way : int, (low, high) or "all", default="all"
        New classes per episode.
    n_shot : int or (low, high), default=1
        Support examples per new class.
    n_query : int, default=15
        Queries per new class.
    n_base_query : int, default=5
        Queries per base class, or all of a smaller class.
    n_episodes : int, default=100
        Number of episodes.
    groups : array-like of shape (n_samples,) or None, default=None
        Groups of the new samples that support and queries of an episode never share.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes.
    verbose : bool, default=False
        Whether to show the progress of the evaluation.

    Returns
    -------
    result : GeneralizedResult

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, a new class is a base class, or one of y_base is
        not.
    NotFittedError
        If the learner is not fitted.
    TypeError
        If the estimator is not a learner.

    See Also
    --------
    episodic_score : New classes only.
    generalized_accuracy : The accuracies of given predictions.

    References
    ----------
    W.-L. Chao, S. Changpinyo, B. Gong and F. Sha, "An Empirical Study and Analysis of Generalized
    Zero-Shot Learning for Object Recognition in the Wild", ECCV 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import generalized_episodic_score
    >>> X, y = load_digits(return_X_y=True)
    >>> X_base, y_base, X_new, y_new = X[y < 7], y[y < 7], X[y >= 7], y[y >= 7]
    >>> learner = ProtoNetClassifier(max_epochs=2, random_state=0).fit(X_base[300:], y_base[300:])
    >>> result = generalized_episodic_score(learner, X_new, y_new, X_base[:300], y_base[:300])
    >>> bool(result.harmonic_mean.mean() > 0.6)
    True
    """
    owner = "generalized_episodic_score"
    if not isinstance(n_base_query, Integral) or n_base_query < 1:
        raise ValueError(
            f"The 'n_base_query' parameter of {owner} must be an int of at least 1. Got "
            f"{n_base_query!r}."
        )
    end = few_shot_end(estimator)
    if end is None or end.classifier.learner is None:
        raise TypeError(f"{owner} takes a fitted learner. Got {estimator!r}.")
    learner = end.classifier.learner
    check_is_fitted(learner)
    episodes = EpisodeSplit(
        n_episodes, n_way=n_way, n_shot=n_shot, n_query=n_query, random_state=random_state
    )
    drawn = draw_episodes(episodes, X, y, groups, None, owner)
    y_base = check_labels(X_base, y_base, names=("X_base", "y_base"))
    for labels, name, wanted in ((drawn.classes, "y", False), (np.unique(y_base), "y_base", True)):
        odd = labels[is_known(labels, learner.classes_) != wanted]
        if len(odd):
            raise ValueError(
                f"{owner} takes new classes in y and base classes in y_base. {label_text(odd)} in "
                f"{name} {'are not base classes' if wanted else 'are base classes'} of the learner."
            )
    network, encoded = encode(end, drawn.X, np.arange(len(drawn.codes)))
    network.check_takes_examples()
    _, base_encoded = encode(end, X_base, np.arange(len(y_base)))
    base_codes = encode_labels(y_base)[1]
    base = FewShotClassifier._of_encoded(network, encoded)
    base._set_classes(learner.representation_, learner.classes_)
    rng = np.random.default_rng(draw_seed(random_state))
    scores = np.empty((n_episodes, 2))
    with progress(n_episodes, "episode", verbose) as add:
        for episode, (support, query) in enumerate(episode_rows(drawn.plan)):
            both = copy.copy(base)
            both._add(encoded[support], drawn.classes[drawn.codes[support]])
            of_base = some_of_each(base_codes, n_base_query, rng)
            true = np.concatenate([drawn.classes[drawn.codes[query]], y_base[of_base]])
            predicted = both.predict(np.concatenate([encoded[query], base_encoded[of_base]]))
            scores[episode] = generalized_accuracy(true, predicted, learner.classes_)[:2]
            add(1)
    return GeneralizedResult(base=scores[:, 0], new=scores[:, 1])
