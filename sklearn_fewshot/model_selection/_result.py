"""Results of an evaluation over episodes, with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..episodes import EpisodePlan
from ..utils._html import html_table, range_text
from ..utils._typing import ArrayLike, Label, RandomState, Range, Way
from ..utils._validation import encode_labels
from ._interval import CONFIDENCE, Interval, bootstrap_interval, share_interval, t_interval
from ._jackknife import Gains, class_values, gains

if TYPE_CHECKING:
    from ._open_set import OpenSetResult

FEWEST_CLASSES = 3  # of an interval over classes
UNEVEN = 0.1  # of the width: what the middle of an interval may be off to be written with ±
PERCENT = (
    "accuracy",
    "balanced_accuracy",
    "top_k_accuracy",
    "f1",
    "jaccard",
    "precision",
    "recall",
)


def import_pandas(owner: str) -> Any:
    """Return pandas, or raise with the name of the caller."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f"{owner}.to_frame needs pandas, which is not installed. Install it, or use the "
            "attributes."
        ) from error
    return pandas


class Answers(NamedTuple):
    """Targets and predictions of each episode.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels of the data.
    plan : EpisodePlan
        The episodes, in rows of the data.
    predicted : int32 ndarray of shape (n_episodes, n_way, n_query)
        Code of the predicted class of each query; -1 for padding, and for labels that are no class.
    runner_up : int32 ndarray of shape (n_episodes, n_way, n_query)
        Code of the second most probable class of each query; -1 where it is not known.
    """

    classes: np.ndarray
    plan: EpisodePlan
    predicted: np.ndarray
    runner_up: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicResult:
    """Scores of an estimator on few-shot episodes.

    ``str(result)`` is the line to report, with the unit of the interval.

    Parameters
    ----------
    scores : ndarray of shape (n_episodes,)
        Score of each episode.
    n_way : int or (low, high)
        Classes per episode; 1 where it is one task of a regression.
    n_shot : int or (low, high)
        Support examples per class.
    n_query : int
        Queries per class.
    scoring : str
        Name of the score.
    answers : Answers or None, default=None
        The episodes, and the prediction for each query, from which :meth:`confusion_matrix`,
        :meth:`recall` and the columns of :meth:`to_frame` are computed.
    transductive : str or None, default=None
        The refinement by the queries of an episode, if they were also its unlabelled examples.
    open_set : OpenSetResult or None, default=None
        How well queries of unknown classes were rejected, if there were any (``n_unknown``). All
        else is about the known queries.
    has_tasks : bool, default=False
        Whether the classes of each episode are of one task (``tasks``).

    See Also
    --------
    episodic_score : Returns this.
    compare_on_episodes : Compares several estimators on the same episodes.
    episodic_cross_validate : Varies the classes and the training, too.

    Notes
    -----
    ``interval`` is over the episodes, for the mean over all episodes *of these classes and this
    model*: it does not hold for other classes or another training. :meth:`interval_over`
    ``("classes")`` treats the classes as a sample of a population.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodicResult
    >>> result = EpisodicResult(
    ...     np.array([0.8, 1.0, 0.9, 0.9]), n_way=5, n_shot=1, n_query=2, scoring="accuracy"
    ... )
    >>> print(result)
    90.00 (68.65 to 98.72) % (5-way 1-shot, 2 queries, 4 episodes, interval over episodes)
    """

    scores: np.ndarray
    n_way: Way
    n_shot: Range
    n_query: int
    scoring: str
    answers: Answers | None = None
    transductive: str | None = None
    open_set: OpenSetResult | None = None
    has_tasks: bool = False

    @property
    def mean(self) -> float:
        """Mean over the episodes."""
        return float(np.mean(self.scores))

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval over episodes; NaN for a single episode."""
        return self.interval_over().half_width

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval over episodes."""
        interval = self.interval_over()
        return interval.low, interval.high

    def interval_over(
        self,
        unit: Literal["episodes", "classes"] = "episodes",
        *,
        class_groups: ArrayLike | None = None,
        method: Literal["auto", "t", "bootstrap"] = "auto",
        confidence: float = CONFIDENCE,
        n_resamples: int = 2000,
        random_state: RandomState = 0,
    ) -> Interval:
        """Return the mean with an interval over episodes or over classes.

        Parameters
        ----------
        unit : {"episodes", "classes"}, default="episodes"
            The unit that is regarded as sampled. "episodes": these classes and this model are
            fixed. "classes": the classes are a sample of others like them, by the jackknife. It is
            far wider where classes are few.
        class_groups : array-like of shape (n_classes,) or None, default=None
            Alphabet, genus, ... of each of ``classes``, if new classes will be of others: the
            interval is then over these groups.
        method : {"auto", "t", "bootstrap"}, default="auto"
            "auto": the interval of Korn and Graubard for scores that are shares such as accuracies,
            which holds near 1 as well, and Student's t for others. "bootstrap": percentiles of
            resampled means, which are too narrow for few units.
        confidence : float, default=0.95
            Confidence of the interval.
        n_resamples : int, default=2000
            Resamples of the bootstrap.
        random_state : int or None, default=0
            Seed of the bootstrap.

        Returns
        -------
        interval : Interval

        Raises
        ------
        ValueError
            If an argument has another value, or the scores are not accuracies and the unit is
            "classes".

        References
        ----------
        E. L. Korn and B. I. Graubard, "Confidence Intervals for Proportions With Small Expected
        Number of Positive Counts Estimated From Survey Data", Survey Methodology 24(2), 1998.

        J. N. Arvesen, "Jackknifing U-Statistics", Annals of Mathematical Statistics 40(6), 1969.
        """
        if unit not in ("episodes", "classes") or method not in ("auto", "t", "bootstrap"):
            raise ValueError(
                'interval_over takes unit "episodes" or "classes" and method "auto", "t" or '
                f'"bootstrap". Got {unit!r} and {method!r}.'
            )
        if unit == "episodes" and class_groups is not None:
            raise ValueError('class_groups are for an interval over classes: pass unit="classes".')
        values, name = self._values_over(unit, class_groups)
        if method == "bootstrap":
            return bootstrap_interval(values, name, confidence, n_resamples, random_state)
        is_share = method == "auto" and self.scoring.startswith(PERCENT)
        return (share_interval if is_share else t_interval)(values, name, confidence)

    @property
    def has_classes(self) -> bool:
        """Whether there is an interval over classes.

        Of accuracies, on at least three classes, not of tasks: the classes of a task come together.
        """
        if self.answers is None or self.scoring != "accuracy" or self.has_tasks:
            return False
        return self._has_enough_classes()

    def _has_enough_classes(self) -> bool:
        return bool(np.count_nonzero(self._n_queries()) >= FEWEST_CLASSES)

    def _values_over(
        self,
        unit: str,
        class_groups: ArrayLike | None = None,
        minus: EpisodicResult | None = None,
    ) -> tuple[np.ndarray, str]:
        """Return one value per episode, class or group of classes, and the name of the unit.

        They are of the score, or of its difference to that of another result.
        """
        if unit == "episodes":
            return self.scores - (0.0 if minus is None else minus.scores), unit
        found = self._gains() if minus is None else self._gains().minus(minus._gains())
        classes = self._answers().plan.classes
        if class_groups is None and self.has_tasks:
            raise ValueError(
                "The classes of a task come together: an interval over classes would speak of "
                "other classes of these tasks. If no two tasks have a label in common, pass the "
                "task of each class as class_groups=; else score task by task."
            )
        if class_groups is None:
            return class_values(classes, found), unit
        if np.shape(class_groups) != (len(self.classes),):
            raise ValueError(
                "class_groups must have the group of each of the result's classes: "
                f"{len(self.classes)} entries. Got shape {np.shape(class_groups)}."
            )
        _, group = encode_labels(np.asarray(class_groups), "class_groups")
        return class_values(classes, found, group), "groups of classes"

    def _gains(self) -> Gains:
        if self.scoring != "accuracy":
            raise ValueError(
                "An interval over classes is one of accuracies, and these scores are not: they are "
                f'{self.scoring}. Score with scoring="accuracy".'
            )
        _, plan, predicted, runner_up = self._answers()
        if not self._has_enough_classes():
            raise ValueError(
                "An interval over classes takes three classes or more: without one of two, the "
                "other is confused with none."
            )
        return gains(plan, predicted, runner_up)

    @property
    def classes(self) -> np.ndarray:
        """Labels of the data, sorted: rows and columns of the confusion matrix."""
        return self._answers().classes

    def confusion_matrix(self) -> np.ndarray:
        """Count the predictions of all episodes.

        Returns
        -------
        matrix : int ndarray of shape (n_classes, n_classes)
            Queries of the row's class that were predicted as the column's class. A class can only
            be confused with those in the same episode. Predictions that are no class, such as a
            reject label, are left out.
        """
        classes, plan, predicted, _ = self._answers()
        true = np.broadcast_to(plan.classes[:, :, None], predicted.shape)
        real = predicted >= 0
        matrix = np.zeros((len(classes), len(classes)), dtype=np.intp)
        np.add.at(matrix, (true[real], predicted[real]), 1)
        return matrix

    def recall(self) -> np.ndarray:
        """Return the share of each class's queries that were classified right, in all episodes.

        Returns
        -------
        recall : ndarray of shape (n_classes,)
            NaN for classes that no episode has.
        """
        hits, total = np.diagonal(self.confusion_matrix()), self._n_queries()
        return np.divide(hits, total, out=np.full(len(total), np.nan), where=total > 0)

    def _n_queries(self) -> np.ndarray:
        classes, plan, *_ = self._answers()
        n_queries = (plan.query >= 0).sum(axis=2)
        return np.bincount(
            plan.classes[plan.classes >= 0],
            weights=n_queries[plan.classes >= 0],
            minlength=len(classes),
        ).astype(np.intp)

    def to_frame(self, per: Literal["episode", "class"] = "episode") -> Any:
        """Return a data frame with one row per episode, or one row per class.

        Parameters
        ----------
        per : {"episode", "class"}, default="episode"
            Unit of a row.

        Returns
        -------
        frame : pandas.DataFrame
            An episode's score and, if ``answers`` is not None, its ways, fewest and most shots,
            number of queries and imbalance (most over fewest queries of a class); or a class's
            recall, its queries and the class it was most often predicted as in error. Transductive
            results have one more column, ``transductive``, with the refinement; those of episodes
            with unknown classes have the measures of ``open_set`` per episode.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If ``per`` has another value.
        """
        if per not in ("episode", "class"):
            raise ValueError(f'to_frame takes per="episode" or per="class". Got {per!r}.')
        pd = import_pandas(type(self).__name__)
        if per == "class":
            index, columns = pd.Index(self.classes, name="class"), self._columns_of_classes()
        else:
            index, columns = pd.RangeIndex(len(self.scores), name="episode"), self._columns()
            columns |= {} if self.open_set is None else self.open_set._columns()
        frame = pd.DataFrame(columns, index=index)
        return frame if self.transductive is None else frame.assign(transductive=self.transductive)

    def by(self, column: str) -> dict[Label, EpisodicResult]:
        """Return the results of episodes with equal ways, shots, queries or imbalance.

        Parameters
        ----------
        column : {"n_way", "n_shot_min", "n_shot_max", "n_query", "imbalance"}
            The column of :meth:`to_frame` to group by.

        Returns
        -------
        strata : dict of value to EpisodicResult
            In the order of the values.

        Raises
        ------
        ValueError
            If there is no such column.
        """
        columns = self._columns()
        del columns["score"]
        if column not in columns:
            raise ValueError(
                f"Episodes can be grouped by {', '.join(columns) or 'nothing'}. Got {column!r}."
            )
        return {
            value.item(): self._of(np.flatnonzero(columns[column] == value))
            for value in np.unique(columns[column])
        }

    def _of(self, episodes: np.ndarray) -> EpisodicResult:
        """Return the result of some of the episodes."""
        classes, plan, predicted, runner_up = self._answers()
        answers = Answers(classes, plan.take(episodes), predicted[episodes], runner_up[episodes])
        open_set = None if self.open_set is None else self.open_set._of(episodes)
        part = replace(self, scores=self.scores[episodes], answers=answers, open_set=open_set)
        columns = part._columns()
        n_way = _ends(columns["n_way"])
        n_shot = _ends(np.concatenate([columns["n_shot_min"], columns["n_shot_max"]]))
        return replace(part, n_way=n_way, n_shot=n_shot)

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {"score": self.scores}
        if self.answers is None:
            return columns
        plan = self.answers.plan
        real = plan.classes >= 0
        shots, queries = ((rows >= 0).sum(axis=2) for rows in (plan.support, plan.query))
        most = np.iinfo(np.intp).max
        fewest_queries = np.where(real, queries, most).min(axis=1)
        return columns | {
            "n_way": real.sum(axis=1),
            "n_shot_min": np.where(real, shots, most).min(axis=1),
            "n_shot_max": shots.max(axis=1),
            "n_query": queries.sum(axis=1),
            "imbalance": np.divide(
                queries.max(axis=1),
                fewest_queries,
                out=np.full(len(queries), np.inf),
                where=fewest_queries > 0,
            ),
        }

    def _columns_of_classes(self) -> dict[str, np.ndarray]:
        errors = self.confusion_matrix()
        np.fill_diagonal(errors, 0)
        confused = self.classes[errors.argmax(axis=1)].astype(object)
        confused[errors.max(axis=1) == 0] = None
        return {"recall": self.recall(), "n_queries": self._n_queries(), "mistaken_for": confused}

    def _answers(self) -> Answers:
        if self.answers is None:
            raise ValueError(
                "This result has scores only, no predictions. Results of episodic_score have both."
            )
        return self.answers

    def __str__(self) -> str:
        """Return the line to report."""
        score = score_text(self.interval_over(), self.scoring)
        return f"{score} ({self._conditions()}, interval over episodes)"

    def _conditions(self) -> str:
        """Return what was scored, and on which episodes."""
        way = "" if self.n_way == 1 else f"{range_text(self.n_way)}-way "  # 1 is one task
        conditions = (
            f"{way}{range_text(self.n_shot)}-shot, "
            f"{count_text(self.n_query, 'query', 'queries')}{self._on_average()}, "
            f"{count_text(len(self.scores), 'episode', 'episodes')}"
        )
        if self.transductive is not None:
            conditions = f"transductive by {self.transductive}, {conditions}"
        if self.scoring != "accuracy":
            conditions = f"{self.scoring}, {conditions}"
        return conditions

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        interval = self.interval_over()
        times = 100 if self.scoring.startswith(PERCENT) else 1
        row, header = [score_text(interval, self.scoring)], [self.scoring]
        if np.isfinite(interval.low):
            row.append(f"{times * interval.low:.2f} to {times * interval.high:.2f}")
            header.append("95 % interval over episodes")
        caption = f"{self._conditions()}, interval over episodes"
        return html_table([row], header=header, caption=caption)

    def _on_average(self) -> str:
        is_balanced = self.answers is None or np.all(self._columns()["imbalance"] == 1)
        return "" if is_balanced else " on average"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def score_text(interval: Interval, scoring: str, sign: str = "") -> str:
    """Return "90.00 ± 1.23 %", "99.90 (99.42 to 99.99) %" if uneven, or numbers if no shares."""
    is_single = np.isnan(interval.low)  # of what is one value there is no interval
    if not scoring.startswith(PERCENT):
        return f"{interval.mean:{sign}.4g}" + f" ± {interval.half_width:.2g}" * (not is_single)
    mean, low, high = (100 * value for value in interval[:3])
    if is_single:
        return f"{mean:{sign}.2f} %"
    if abs(low + high - 2 * mean) > UNEVEN * (high - low):
        return f"{mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f}) %"
    return f"{mean:{sign}.2f} ± {(high - low) / 2:.2f} %"


def count_text(number: int, one: str, many: str) -> str:
    """Return "1 query" or "5 queries"."""
    return f"{number} {one if number == 1 else many}"


def _ends(values: np.ndarray) -> Range:
    low, high = int(values.min()), int(values.max())
    return low if low == high else (low, high)
