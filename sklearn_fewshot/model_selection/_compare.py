"""Several estimators, and baselines, on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils._html import html_table
from ..utils._sklearn import validate_parameter_constraints
from ..utils._typing import ArrayLike, Estimator, RandomState, Range, Scoring, Way
from ._baselines import Baseline, find_baselines
from ._draw import draw_episodes
from ._episodic import CONSTRAINTS
from ._evaluation import check_can_be_scored, evaluate
from ._interval import Interval, t_interval
from ._result import EpisodicResult, import_pandas, score_text
from ._split import Episodes, EpisodeSplit


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicComparison:
    """Scores of several estimators on the same episodes.

    ``print(comparison)`` shows scores, paired differences and a verdict.

    Parameters
    ----------
    results : dict of str to EpisodicResult
        Score of each estimator; the others are compared with the first.

    See Also
    --------
    compare_on_episodes : Returns this.

    Notes
    -----
    All estimators have the same support sets and queries, so the interval of a difference follows
    from the standard deviation of the paired differences, which is far smaller than that of the
    scores. Intervals are Student's over episodes, of 95 % each, without a correction for multiple
    comparisons: one in twenty without a true difference shows one. They hold for these classes and
    these trained models; see :func:`episodic_cross_validate` for others.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodicComparison, EpisodicResult
    >>> size = {"n_way": 5, "n_shot": 1, "n_query": 2, "scoring": "accuracy"}
    >>> a = EpisodicResult(np.array([0.8, 1.0, 0.9, 0.9]), **size)
    >>> b = EpisodicResult(np.array([0.5, 0.7, 0.7, 0.6]), **size)
    >>> print(EpisodicComparison({"a": a, "b": b}).verdict)
    a is better than b by 27.50 ± 7.96 %.
    """

    results: dict[str, EpisodicResult]

    @property
    def reference(self) -> str:
        """Name of the estimator that the others are compared with."""
        return next(iter(self.results))

    def difference(self, name: str, reference: str | None = None) -> Interval:
        """Return the mean paired difference of two scores.

        Parameters
        ----------
        name : str
            An estimator.
        reference : str or None, default=None
            The one that is subtracted; None for the first.

        Returns
        -------
        difference : Interval
            Positive where ``name`` has the higher score.

        Raises
        ------
        ValueError
            If there is no estimator of that name, or the two were scored on different episodes.
        """
        reference = self.reference if reference is None else reference
        one, other = self._result(name), self._result(reference)
        if not _same_episodes(one, other):
            raise ValueError(
                f"Differences are paired over episodes, but {name!r} and {reference!r} have "
                "different ones. Score both with the same episodes= or random_state."
            )
        return t_interval(one.scores - other.scores, "episodes, paired")

    def _result(self, name: str) -> EpisodicResult:
        if name not in self.results:
            raise ValueError(f"No estimator is called {name!r}. There are {list(self.results)}.")
        return self.results[name]

    @property
    def verdict(self) -> str:
        """Significance of the differences, one sentence each."""
        scoring = self.results[self.reference].scoring
        sentences = []
        for name in list(self.results)[1:]:
            difference = self.difference(self.reference, name)
            by = score_text(abs(difference.mean), difference.half_width, scoring)
            if difference.low > 0:
                sentences.append(f"{self.reference} is better than {name} by {by}.")
            elif difference.high < 0:
                sentences.append(f"{self.reference} is worse than {name} by {by}.")
            else:
                sentences.append(f"No difference is shown between {self.reference} and {name}.")
        return "\n".join(sentences)

    def to_frame(self) -> Any:
        """Return a data frame with one row per estimator.

        Returns
        -------
        frame : pandas.DataFrame
            Mean score and half the width of its interval; mean paired difference to the first
            estimator and the ends of its interval; share of the episodes with a higher score.
        """
        pd = import_pandas(type(self).__name__)

        first = self.results[self.reference].scores
        rows = {}
        for name, result in self.results.items():
            difference = self.difference(name)
            rows[name] = {
                "mean": result.mean,
                "half_width": result.half_width,
                "difference": difference.mean,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "wins": float(np.mean(result.scores > first)),
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def __str__(self) -> str:
        """Return a table and the verdict."""
        width = max(len(name) for name in self.results)
        lines = []
        for name, result in self.results.items():
            line = f"{name:<{width}}  {score_text(result.mean, result.half_width, result.scoring)}"
            if name != self.reference:
                by = self.difference(name)
                text = score_text(by.mean, by.half_width, result.scoring, sign="+")
                line += f"   ({text} against {self.reference})"
            lines.append(line)
        conditions = str(self.results[self.reference]).partition("(")[2].removesuffix(")")
        if len(self.results) == 1:
            return "\n".join([*lines, f"({conditions})"])
        return "\n".join([*lines, f"({conditions}; differences paired)", self.verdict])

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        rows = []
        for name, result in self.results.items():
            cells = [name, score_text(result.mean, result.half_width, result.scoring)]
            if name != self.reference:
                by = self.difference(name)
                cells.append(score_text(by.mean, by.half_width, result.scoring, sign="+"))
            rows.append(cells)
        header = ("", "score", f"against {self.reference}")[: 2 + (len(rows) > 1)]
        conditions = str(self.results[self.reference]).partition("(")[2].removesuffix(")")
        return html_table(rows, header=header, caption=conditions)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.results)}>"


def _same_episodes(one: EpisodicResult, other: EpisodicResult) -> bool:
    """Whether results are of the same episodes; results without episodes count as the same."""
    if len(one.scores) != len(other.scores):
        return False
    if one.answers is None or other.answers is None:
        return True
    plans = zip(one.answers.plan, other.answers.plan, strict=True)
    return all(a is b or np.array_equal(a, b) for a, b in plans)


def compare_on_episodes(
    estimators: Mapping[str, Estimator],
    X: ArrayLike,
    y: ArrayLike,
    *,
    baselines: bool = False,
    base: Estimator = None,
    n_way: Way = 5,
    n_shot: Range = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "accuracy",
    groups: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    random_state: RandomState = 0,
    episodes: Episodes | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> EpisodicComparison:
    """Score several estimators, and baselines, on the same few-shot episodes.

    Parameters
    ----------
    estimators : dict of str to fitted learner or classifier
        As in :func:`episodic_score`. The others are compared with the first.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples of new classes.
    y : array-like of shape (n_samples,)
        Their labels.
    baselines : bool, default=False
        Whether to score baselines as well, which a learner has to beat: nearest centroid, 1-nearest
        neighbour, logistic regression and (from two shots on) shrinkage LDA of the support set,
        raw, and after the transformers of each pipeline. With ``base`` also nearest centroid after
        the mean of the base classes is removed and rows have unit length (SimpleShot), after the
        shrinkage LDA of the base classes, and after both.
    base : (X_base, y_base) or None, default=None
        Training data of the learners, for the baseline that uses the base classes.
    n_way : int, (low, high) or "all", default=5
        Classes per episode.
    n_shot : int or (low, high), default=1
        Support examples per class.
    n_query : int, default=15
        Queries per class.
    n_episodes : int, default=600
        Number of episodes.
    scoring : str or callable, default="accuracy"
        Score of an episode, as in :func:`episodic_score`; larger is better.
    groups : array-like of shape (n_samples,) or None, default=None
        Groups that support and queries of an episode never share.
    tasks : array-like of shape (n_samples,) or None, default=None
        Tasks, one of which the classes of an episode are from, as in :func:`episodic_score`.
    random_state : int, RandomState instance or None, default=0
        Seed of the episodes.
    episodes : FrozenEpisodes, EpisodeSplit or None, default=None
        Episodes in place of those that the parameters above describe.
    n_jobs : int or None, default=None
        Processes to divide the episodes between.
    verbose : bool, default=False
        Whether to show the progress of the evaluation.

    Returns
    -------
    comparison : EpisodicComparison

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, or a class is too small for the episodes.
    TypeError
        If an estimator is not a classifier.

    See Also
    --------
    episodic_score : One estimator.
    episodic_cross_validate : Several trainings, on several class splits.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import compare_on_episodes
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 6, y >= 6
    >>> learner = ProtoNetClassifier(max_epochs=2, random_state=0).fit(X[base], y[base])
    >>> comparison = compare_on_episodes(
    ...     {"proto": learner}, X[new], y[new], baselines=True, n_way="all", n_episodes=50
    ... )
    >>> list(comparison.results)
    ['proto', 'nearest centroid', '1-nearest neighbour', 'logistic regression']
    """
    owner = "compare_on_episodes"
    validate_parameter_constraints(CONSTRAINTS, {"scoring": scoring}, owner)
    if not isinstance(estimators, Mapping) or not estimators:
        raise TypeError(
            f"{owner} takes a dict of names and estimators, at least one. Got {estimators!r}."
        )
    if base is not None and not baselines:
        raise ValueError(f"The 'base' parameter of {owner} is for baselines. Pass baselines=True.")
    if base is not None and not (isinstance(base, tuple | list) and len(base) == 2):
        raise ValueError(f"The 'base' parameter of {owner} must be (X_base, y_base). Got {base!r}.")
    for name, estimator in estimators.items():
        if not isinstance(name, str):
            raise TypeError(
                f"{owner} takes a dict of estimators, whose names must be text. Got {name!r}."
            )
        check_can_be_scored(estimator, owner)
    if episodes is None:
        episodes = EpisodeSplit(
            n_episodes, n_way=n_way, n_shot=n_shot, n_query=n_query, random_state=random_state
        )
    drawn = draw_episodes(episodes, X, y, groups, tasks, owner)
    entrants = dict(estimators)
    if baselines:
        fewest = int((drawn.plan.support >= 0).sum(axis=2)[drawn.plan.classes >= 0].min())
        found = find_baselines(estimators, drawn.X, fewest, base)
        if equal := sorted(entrants.keys() & found.keys()):
            raise ValueError(
                f"{owner} has baselines of the names {equal}. Rename these estimators."
            )
        entrants |= found
    results = {}
    for name, estimator in entrants.items():
        preprocess, estimator = estimator if isinstance(estimator, Baseline) else (None, estimator)
        (scored,) = evaluate(
            estimator,
            drawn,
            [drawn.plan],
            scoring=scoring,
            preprocess=preprocess,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        results[name] = drawn.result(scored, scoring)
    return EpisodicComparison(results)
