"""Several estimators, and baselines, on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..utils._html import html_table
from ..utils._sklearn import validate_parameter_constraints
from ..utils._typing import ArrayLike, Estimator, RandomState, Range, Scoring, Way
from ..utils._validation import check_aligned, group_of_class
from ._baselines import Baseline, find_baselines
from ._draw import draw_episodes
from ._episodic import CONSTRAINTS
from ._evaluation import check_can_be_scored, evaluate
from ._interval import Interval, holm, p_value, t_interval
from ._result import EpisodicResult, import_pandas, score_text
from ._split import Episodes, EpisodeSplit, n_way_of

NOT_ELSEWHERE = "; on {} no difference is shown"
Unit = Literal["episodes", "classes"]

LEVEL = 0.05  # of verdicts
TORN_CLASS = "class_groups of compare_on_episodes have one group for each class. {torn}."


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicComparison:
    """Scores of several estimators on the same episodes.

    ``print(comparison)`` shows scores, paired differences and a verdict.

    Parameters
    ----------
    results : dict of str to EpisodicResult
        Score of each estimator; the others are compared with the first.
    baselines : tuple of str, default=()
        Names of those that are baselines.
    class_groups : array-like of shape (n_classes,) or None, default=None
        Alphabet, genus, ... of each of the results' ``classes``, if verdicts on other classes shall
        be on classes of other groups.

    See Also
    --------
    compare_on_episodes : Returns this.

    Notes
    -----
    All estimators have the same support sets and queries, so the interval of a difference follows
    from the standard deviation of the paired differences, which is far smaller than that of the
    scores. Intervals are Student's, of 95 % each. Over episodes they hold for these classes and
    these trained models only: with enough episodes any two estimators differ on given classes.
    Over classes they hold for other classes like these, and are far wider. For other trainings see
    :func:`episodic_cross_validate`.

    Verdicts are corrected for multiple comparisons by Holm's method: the chance that any of them
    is there without a true difference is at most one in twenty.

    References
    ----------
    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6(2), 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodicComparison, EpisodicResult
    >>> size = {"n_way": 5, "n_shot": 1, "n_query": 2, "scoring": "accuracy"}
    >>> a = EpisodicResult(np.array([0.8, 1.0, 0.9, 0.9]), **size)
    >>> b = EpisodicResult(np.array([0.5, 0.7, 0.7, 0.6]), **size)
    >>> print(EpisodicComparison({"a": a, "b": b}).verdict)
    a is better than b by 27.50 ± 7.96 % on these classes.
    """

    results: dict[str, EpisodicResult]
    baselines: tuple[str, ...] = ()
    class_groups: ArrayLike | None = None

    @property
    def reference(self) -> str:
        """Name of the estimator that the others are compared with."""
        return next(iter(self.results))

    @property
    def best_baseline(self) -> str | None:
        """Name of the baseline with the highest mean score, None without baselines.

        The best of many is selected by these episodes, so its score is a little optimistic.
        """
        return max(self.baselines, key=lambda name: self.results[name].mean, default=None)

    def difference(
        self,
        name: str,
        reference: str | None = None,
        *,
        over: Unit = "episodes",
    ) -> Interval:
        """Return the mean paired difference of two scores.

        Parameters
        ----------
        name : str
            An estimator.
        reference : str or None, default=None
            The one that is subtracted; None for the first.
        over : {"episodes", "classes"}, default="episodes"
            The unit that is regarded as sampled: "episodes" for these classes, "classes" for
            others (with ``class_groups``: of other groups), as in
            :meth:`EpisodicResult.interval_over`.

        Returns
        -------
        difference : Interval
            Positive where ``name`` has the higher score.

        Raises
        ------
        ValueError
            If there is no estimator of that name, the two were scored on different episodes, or
            ``over`` has another value or one that the scores do not allow.
        """
        values, unit = self._differences(name, reference, over)
        return t_interval(values, f"{unit}, paired")

    def _differences(
        self, name: str, reference: str | None = None, over: Unit = "episodes"
    ) -> tuple[np.ndarray, str]:
        """Return the difference for each episode, class or group, and the name of the unit."""
        if over not in ("episodes", "classes"):
            raise ValueError(f'Differences are over "episodes" or "classes". Got {over!r}.')
        reference = self.reference if reference is None else reference
        one, other = self._result(name), self._result(reference)
        if not _same_episodes(one, other):
            raise ValueError(
                f"Differences are paired over episodes, but {name!r} and {reference!r} have "
                "different ones. Score both with the same episodes= or random_state."
            )
        if one.scoring != other.scoring:
            raise ValueError(
                f"Scores of {name!r} and {reference!r} are in other units: {one.scoring} and "
                f"{other.scoring}. Score both by the same scorer."
            )
        groups = self.class_groups if over == "classes" else None
        return one._values_over(over, groups, minus=other)

    def _result(self, name: str) -> EpisodicResult:
        if name not in self.results:
            raise ValueError(f"No estimator is called {name!r}. There are {list(self.results)}.")
        return self.results[name]

    @property
    def verdict(self) -> str:
        """What is shown about each of the others and the best baseline, one sentence each.

        For these classes and, of accuracies, for others like them. Corrected for all comparisons,
        those with other baselines included.
        """
        over_classes = self._speaks_of_other_classes()
        here = self._corrected("episodes")
        there = self._corrected("classes") if over_classes else np.ones(len(here))
        scoring = self.results[self.reference].scoring
        others = "others like them" if self.class_groups is None else "those of other groups"
        sentences = []
        for name, p_here, p_there in zip(list(self.results)[1:], here, there, strict=True):
            if name in self.baselines and name != self.best_baseline:
                continue
            found = self.difference(self.reference, name)
            if p_here >= LEVEL:
                sentence = f"No difference is shown between {self.reference} and {name}"
            else:
                by = score_text(found._absolute(), scoring)
                better = "better" if found.mean > 0 else "worse"
                sentence = f"{self.reference} is {better} than {name} by {by} on these classes"
                if over_classes:
                    is_shown = p_there < LEVEL
                    sentence += f", and on {others}" if is_shown else NOT_ELSEWHERE.format(others)
            sentences.append(f"{sentence}.")
        return "\n".join(sentences)

    def _speaks_of_other_classes(self) -> bool:
        return all(result.has_classes for result in self.results.values())

    def _corrected(self, over: Unit) -> np.ndarray:
        """Return the p-value of each difference to the first, corrected by Holm's method."""
        others = list(self.results)[1:]
        return holm(np.array([p_value(self._differences(name, over=over)[0]) for name in others]))

    def to_frame(self) -> Any:
        """Return a data frame with one row per estimator.

        Returns
        -------
        frame : pandas.DataFrame
            Mean score and half the width of its interval; mean paired difference to the first
            estimator, the ends of its interval and the p-value over episodes, corrected for the
            number of estimators; of accuracies, the same over classes; share of the episodes with
            a higher score.
        """
        pd = import_pandas(type(self).__name__)

        first = self.results[self.reference].scores
        units: list[Unit] = ["episodes", "classes"]
        units = units[: 1 + self._speaks_of_other_classes()]
        p_values = {unit: [np.nan, *self._corrected(unit)] for unit in units}
        rows = {}
        for place, (name, result) in enumerate(self.results.items()):
            row = {"mean": result.mean, "half_width": result.half_width}
            for unit in units:
                found = self.difference(name, over=unit)
                suffix = "" if unit == "episodes" else "_over_classes"
                row["difference"] = found.mean
                row[f"difference_low{suffix}"] = found.low
                row[f"difference_high{suffix}"] = found.high
                row[f"p_value{suffix}"] = p_values[unit][place]
            rows[name] = row | {"wins": float(np.mean(result.scores > first))}
        return pd.DataFrame.from_dict(rows, orient="index")

    def __str__(self) -> str:
        """Return a table and the verdict."""
        width = max(len(name) for name in self.results)
        lines = []
        for name, result in self.results.items():
            line = f"{name:<{width}}  {score_text(result.interval_over(), result.scoring)}"
            if name != self.reference:
                text = score_text(self.difference(name), result.scoring, sign="+")
                line += f"   ({text} against {self.reference})"
            lines.append(line)
        conditions = f"{self.results[self.reference]._conditions()}, interval over episodes"
        if len(self.results) == 1:
            return "\n".join([*lines, f"({conditions})"])
        if self.best_baseline is not None:
            lines.append(f"Best of {len(self.baselines)} baselines: {self.best_baseline}.")
        return "\n".join([*lines, f"({conditions}; differences paired)", self.verdict])

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        rows = []
        for name, result in self.results.items():
            cells = [name, score_text(result.interval_over(), result.scoring)]
            if name != self.reference:
                cells.append(score_text(self.difference(name), result.scoring, sign="+"))
            rows.append(cells)
        header = ("", "score", f"against {self.reference}")[: 2 + (len(rows) > 1)]
        conditions = f"{self.results[self.reference]._conditions()}, interval over episodes"
        return html_table(rows, header=header, caption=conditions)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.results)}>"


def _same_episodes(one: EpisodicResult, other: EpisodicResult) -> bool:
    """Whether results are of the same episodes; results without episodes count as the same."""
    if len(one.scores) != len(other.scores):
        return False
    if one.answers is None or other.answers is None:
        return True
    if not np.array_equal(one.answers.classes, other.answers.classes):
        return False
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
    class_groups: ArrayLike | None = None,
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
        Whether to score baselines as well, which a learner has to beat: nearest centroid (also of
        rows of unit length), 1-nearest neighbour, logistic regression and (from two shots on)
        shrinkage LDA of the support set, raw, and after the transformers of each pipeline. With
        ``base`` also: logistic regression with the penalty that is best on episodes of the base
        classes; nearest centroid after the mean of the base classes is removed and rows have unit
        length (SimpleShot), after the shrinkage LDA of the base classes, and after both; and all
        of these after features are scaled to the standard deviation of the base.
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
    class_groups : array-like of shape (n_samples,) or None, default=None
        Alphabet, genus, ... of each sample's class, if new classes will be of other groups:
        verdicts on other classes are then on those.
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
    ['proto', 'nearest centroid', 'nearest centroid, unit length', '1-nearest neighbour', ...]
    >>> comparison.best_baseline
    'nearest centroid'
    """
    owner = "compare_on_episodes"
    validate_parameter_constraints(CONSTRAINTS, {"scoring": scoring}, owner)
    _check_entrants(estimators, baselines, base, owner)
    if episodes is None:
        episodes = EpisodeSplit(
            n_episodes, n_way=n_way, n_shot=n_shot, n_query=n_query, random_state=random_state
        )
    drawn = draw_episodes(episodes, X, y, groups, tasks, owner)
    entrants = dict(estimators)
    if baselines:
        fewest = int((drawn.plan.support >= 0).sum(axis=2)[drawn.plan.classes >= 0].min())
        ways = n_way_of(drawn.plan)
        found = find_baselines(estimators, drawn.X, ways, fewest, base)
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
    baseline_names = tuple(name for name in results if name not in estimators)
    given = check_aligned("class_groups", class_groups, len(drawn.codes))
    if given is not None:
        given = group_of_class(drawn.codes, given, drawn.classes, TORN_CLASS)
    return EpisodicComparison(results, baseline_names, given)


def _check_entrants(
    estimators: Mapping[str, Estimator], baselines: bool, base: Estimator, owner: str
) -> None:
    """Raise unless these are named estimators that can be scored, and a base for baselines."""
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
