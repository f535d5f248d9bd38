"""Training and few-shot scores on several class splits, with several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn import get_config
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches, indexable
from sklearn.utils.parallel import Parallel, delayed

from ..utils._html import html_table
from ..utils._progress import progress
from ..utils._sklearn import _safe_indexing, validate_parameter_constraints
from ..utils._tasks import check_tasks, join_units
from ..utils._typing import ArrayLike, Estimator, RandomState, Range, Scoring, Way
from ..utils._validation import encode_labels
from ._class_split import ClassShuffleSplit
from ._episodic import CONSTRAINTS, episodic_score
from ._interval import Interval, bootstrap_interval, t_interval
from ._result import EpisodicResult, _ends, count_text, import_pandas, score_text

MOST_SEED = 2**31 - 1


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicCrossValidation:
    """Few-shot scores of an estimator that was trained on each class split, with each seed.

    ``str(cross_validation)`` is the line to report; its interval is over class splits.

    Parameters
    ----------
    results : list of list of EpisodicResult
        ``results[split][seed]``.
    test_classes : list of ndarray
        Labels that each split tests on; tasks, if there are tasks.
    n_train_classes : list of int
        How many each split trains on.
    estimators : list of list of estimators or None, default=None
        The fitted estimators, if requested.

    See Also
    --------
    episodic_cross_validate : Returns this.

    Notes
    -----
    Three things vary a score: the episodes, the seed of the training, and the classes that are
    tested. The interval over class splits contains all three, since each split is another training
    on other classes with other episodes. Splits have classes in common, so that their scores vary
    less than those of other data would: the variance of the mean of ``J`` splits is taken as
    ``1 / J + n_test / n_train`` times that of a split (Nadeau and Bengio, 2003).

    References
    ----------
    C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import EpisodicCrossValidation, EpisodicResult
    >>> size = {"n_way": 5, "n_shot": 1, "n_query": 2, "scoring": "accuracy"}
    >>> results = [[EpisodicResult(np.array(s), **size)] for s in ([0.8, 0.9], [0.6, 0.7])]
    >>> print(EpisodicCrossValidation(results, [np.arange(5), np.arange(5, 10)], [5, 5]))
    75.00 ± 220.08 % (5-way 1-shot, 2 queries, 2 class splits, 1 seed, interval over class splits)
    """

    results: list[list[EpisodicResult]]
    test_classes: list[np.ndarray]
    n_train_classes: list[int]
    estimators: list[list[Estimator]] | None = None

    @property
    def scores(self) -> np.ndarray:
        """Mean score of each split and seed, shape (n_splits, n_seeds)."""
        return np.array([[result.mean for result in split] for split in self.results])

    @property
    def mean(self) -> float:
        """Mean over splits and seeds."""
        return float(self.scores.mean())

    def interval_over(
        self, unit: str = "splits", *, method: str = "t", random_state: RandomState = 0
    ) -> Interval:
        """Return the mean with an interval over class splits, or over seeds.

        Parameters
        ----------
        unit : {"splits", "seeds"}, default="splits"
            "splits": an interval for other classes. "seeds": an interval for other trainings on
            the same splits.
        method : {"t", "bootstrap"}, default="t"
            Student's t over the means of each split (corrected for the classes that splits have in
            common) or seed, or the percentiles of their resampled means (not corrected).
        random_state : int or None, default=0
            Seed of the bootstrap.

        Returns
        -------
        interval : Interval

        Raises
        ------
        ValueError
            If an argument has another value.
        """
        if unit not in ("splits", "seeds") or method not in ("t", "bootstrap"):
            raise ValueError(
                'interval_over takes unit "splits" or "seeds" and method "t" or "bootstrap". Got '
                f"{unit!r} and {method!r}."
            )
        values = self.scores.mean(axis=1 if unit == "splits" else 0)
        name = "class splits" if unit == "splits" else "seeds"
        if method == "t":
            return self._over_splits(values, name) if unit == "splits" else t_interval(values, name)
        return bootstrap_interval(values, name, random_state=random_state)

    def _over_splits(self, values: np.ndarray, name: str) -> Interval:
        """Return the interval of the mean of splits that have classes in common."""
        interval = t_interval(values, name)
        sizes = zip(self.test_classes, self.n_train_classes, strict=True)
        ratio = float(np.mean([len(test) / n_train for test, n_train in sizes]))
        half = interval.half_width * np.sqrt(1 + len(values) * ratio)
        return Interval(
            interval.mean,
            interval.mean - half,
            interval.mean + half,
            interval.name.replace("t-interval", "corrected t-interval"),
        )

    def difference(self, other: EpisodicCrossValidation) -> Interval:
        """Return the mean difference to another estimator, paired over class splits.

        Parameters
        ----------
        other : EpisodicCrossValidation
            Of the same splits and seeds.

        Returns
        -------
        difference : Interval
            Positive where this one has the higher scores.

        Raises
        ------
        ValueError
            If the splits, the number of seeds, the scoring or the size of the episodes differ.
        """
        pairs = zip(self.test_classes, other.test_classes, strict=False)
        same = all(np.array_equal(a, b) for a, b in pairs)
        if self.scores.shape != other.scores.shape or not same:
            raise ValueError(
                "Differences are paired over class splits: both need the same splits and seeds. "
                f"Got {self.scores.shape} and {other.scores.shape} splits and seeds"
                f"{'' if same else ', and other test classes'}."
            )
        settings = [
            (it.scoring, it.n_way, it.n_shot, it.n_query)
            for it in (self.results[0][0], other.results[0][0])
        ]
        if settings[0] != settings[1]:
            raise ValueError(
                "Differences are of scores of one kind. Got (scoring, n_way, n_shot, n_query) = "
                f"{settings[0]} and {settings[1]}."
            )
        differences = (self.scores - other.scores).mean(axis=1)
        return self._over_splits(differences, "class splits, paired")

    def to_frame(self) -> Any:
        """Return a data frame with one row a split and seed.

        Returns
        -------
        frame : pandas.DataFrame
            Mean and half width (over episodes); index "split" and "seed".
        """
        pd = import_pandas(type(self).__name__)

        rows = {
            (split, seed): {"mean": result.mean, "half_width": result.half_width}
            for split, of_split in enumerate(self.results)
            for seed, result in enumerate(of_split)
        }
        frame = pd.DataFrame.from_dict(rows, orient="index")
        frame.index = pd.MultiIndex.from_tuples(rows, names=["split", "seed"])
        return frame

    def __str__(self) -> str:
        """Return the line to report."""
        n_splits, n_seeds = self.scores.shape
        first = self.results[0][0]
        ways = np.ravel([result.n_way for of_split in self.results for result in of_split])
        of_all = replace(first, n_way=_ends(ways))  # "all" is another number in each split
        conditions = of_all._conditions().partition(f", {len(first.scores)} episode")[0]
        interval = self.interval_over()
        return (
            f"{score_text(interval, first.scoring)} ({conditions}, "
            f"{count_text(n_splits, 'class split', 'class splits')}, "
            f"{count_text(n_seeds, 'seed', 'seeds')}, interval over class splits)"
        )

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        rows = []
        for split, results in enumerate(self.results):
            scores = (score_text(r.interval_over(), r.scoring) for r in results)
            rows.append((f"class split {split}", *scores))
        header = ("", *(f"seed {seed}" for seed in range(self.scores.shape[1])))
        return html_table(rows, header=header, caption=str(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def episodic_cross_validate(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    cv: Estimator = None,
    n_seeds: int = 1,
    n_way: Way = 5,
    n_shot: Range = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    scoring: Scoring = "accuracy",
    groups: ArrayLike | None = None,
    class_groups: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    random_state: int = 0,
    return_estimator: bool = False,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> Any:
    """Train on some classes and score on the others, for several class splits and seeds.

    An estimate of the accuracy on new classes whose interval holds for other classes and other
    trainings, not only for other episodes.

    Parameters
    ----------
    estimator : learner, pipeline or search that ends in one, any classifier, or dict of these
        Cloned and fitted for each split and seed. A classifier without meta-training is fitted on
        the support sets only. With a dict all of them have the same splits, seeds and episodes.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples.
    y : array-like of shape (n_samples,)
        Their labels.
    cv : splitter or None, default=None
        Splits that share no class. None: ``ClassShuffleSplit(10, random_state=random_state)``, or
        with ``tasks`` as many splits of whole tasks by
        :class:`~sklearn.model_selection.GroupShuffleSplit`, with a fifth of them on the test side.
    n_seeds : int, default=1
        Trainings for each split.
    n_way : int, (low, high) or "all", default=5
        Classes per episode.
    n_shot : int or (low, high), default=1
        Support examples per class.
    n_query : int, default=15
        Queries per class.
    n_episodes : int, default=600
        Number of episodes for each split.
    scoring : str or callable, default="accuracy"
        Score of an episode, as in :func:`episodic_score`.
    groups : array-like of shape (n_samples,) or None, default=None
        Source of each sample, such as the person who drew, spoke or photographed it: support and
        queries never share one, in training and in scoring.
    class_groups : array-like of shape (n_samples,) or None, default=None
        Alphabet, genus, ...: classes of one group stay on one side of every split.
    tasks : array-like of shape (n_samples,) or None, default=None
        Assay, patient, data set, ... whose classes are compared with each other only, in training
        and in scoring. ``cv`` gets them as its groups; with ``class_groups`` as well, the smallest
        sets that divide neither a task nor a group.
    random_state : int, default=0
        Seed of splits and episodes, and of the trainings, which get seeds of their own.
    return_estimator : bool, default=False
        Whether to keep the fitted estimators.
    n_jobs : int or None, default=None
        Splits that are processed at the same time.
    verbose : bool, default=False
        Whether to show how many trainings are done.

    Returns
    -------
    result : EpisodicCrossValidation, or dict of these
        As many as estimators.

    Raises
    ------
    ValueError
        If an array or a parameter is malformed, or a class is too small for the episodes.

    See Also
    --------
    episodic_score : Scores one fitted estimator.
    sklearn.model_selection.cross_validate : With ``cv=ClassKFold()`` and
        ``scoring=EpisodicScorer()`` the same without intervals.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_cross_validate
    >>> X, y = make_blobs(600, n_features=5, centers=20, random_state=0)
    >>> learner = ProtoNetClassifier(max_epochs=1)
    >>> cv = ClassShuffleSplit(2, test_size=5, random_state=0)
    >>> result = episodic_cross_validate(learner, X, y, cv=cv, n_episodes=50)
    >>> result.scores.shape
    (2, 1)
    """
    owner = "episodic_cross_validate"
    validate_parameter_constraints(CONSTRAINTS, {"scoring": scoring}, owner)
    for name, value, least in (("n_seeds", n_seeds, 1), ("random_state", random_state, 0)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"The {name!r} parameter of {owner} must be an int of at least {least}. Got "
                f"{value!r}."
            )
    named = estimator if isinstance(estimator, Mapping) else {"": estimator}
    if not named:
        raise TypeError(f"{owner} takes an estimator, or a dict of at least one. Got {{}}.")
    X, y, groups, class_groups, tasks = indexable(X, y, groups, class_groups, tasks)
    y = np.asarray(y)
    units: Any
    names, units = check_tasks(tasks, len(y))
    if cv is None:
        whole = ClassShuffleSplit if names is None else GroupShuffleSplit
        cv = whole(10, random_state=random_state)
    if not hasattr(cv, "split"):
        raise TypeError(f"{owner} takes a splitter as cv, such as ClassKFold(5). Got {cv!r}.")
    if units is None:
        units = class_groups
    elif class_groups is not None:
        units = join_units(units, encode_labels(np.asarray(class_groups), "class_groups")[1])
    splits = list(cv.split(X, y, units))
    episodes = {
        "n_way": n_way,
        "n_shot": n_shot,
        "n_query": n_query,
        "n_episodes": n_episodes,
        "scoring": scoring,
        "random_state": random_state,
    }
    trainings = [
        (name, sides, seed) for name in named for sides in splits for seed in range(n_seeds)
    ]
    run = delayed(_train_and_score)
    step = len(trainings) if not verbose else max(n_seeds, effective_n_jobs(n_jobs))
    done: list[tuple[Any, EpisodicResult]] = []
    with progress(len(trainings), "training", verbose) as add:
        for some in gen_batches(len(trainings), step):
            done += Parallel(n_jobs=n_jobs)(
                run(
                    named[name],
                    (X, y, {"groups": groups, "class_groups": class_groups, "tasks": tasks}),
                    sides,
                    _training_seed(random_state, seed),
                    episodes,
                    return_estimator,
                )
                for name, sides, seed in trainings[some]
            )
            add(some.stop - some.start)
    tested = y if names is None else np.asarray(tasks)
    test_classes = [np.unique(tested[test]) for _, test in splits]
    n_train_classes = [len(np.unique(tested[train])) for train, _ in splits]
    found = {}
    for place, name in enumerate(named):
        first = place * len(splits) * n_seeds
        of_split = [
            done[start : start + n_seeds]
            for start in range(first, first + len(splits) * n_seeds, n_seeds)
        ]
        found[name] = EpisodicCrossValidation(
            [[result for _, result in row] for row in of_split],
            test_classes,
            n_train_classes,
            [[fitted for fitted, _ in row] for row in of_split] if return_estimator else None,
        )
    return found if isinstance(estimator, Mapping) else found[""]


def _training_seed(random_state: int, seed: int) -> int:
    return int(np.random.default_rng([random_state, seed]).integers(MOST_SEED))


def _train_and_score(
    estimator: Estimator,
    data: tuple[Any, Any, dict[str, Any]],
    sides: tuple[np.ndarray, np.ndarray],
    seed: int,
    episodes: dict[str, Any],
    return_estimator: bool,
) -> tuple[Any, EpisodicResult]:
    """Fit a clone on one side and score it on the other."""
    X, y, aligned = data
    train, test = sides
    given, new = (
        {name: _safe_indexing(it, side) for name, it in aligned.items() if it is not None}
        for side in sides
    )
    fitted = _set_seed(clone(estimator), seed)
    if _is_meta_trained(fitted):
        fitted.fit(_safe_indexing(X, train), y[train], **_fit_params(fitted, given))
    score = episodic_score(
        fitted,
        _safe_indexing(X, test),
        y[test],
        groups=new.get("groups"),
        tasks=new.get("tasks"),
        **episodes,
    )
    return (fitted if return_estimator else None), score


def _is_meta_trained(estimator: Estimator) -> bool:
    """Whether an estimator, or the last one in it, is trained on base classes."""
    if isinstance(estimator, Pipeline):
        return _is_meta_trained(estimator.steps[-1][1])
    if _is_search(estimator):
        return _is_meta_trained(estimator.estimator)
    return hasattr(estimator, "adapt")


def _is_search(estimator: Estimator) -> bool:
    """Whether an estimator is a search; learners may have its attributes as well."""
    looks_like_one = hasattr(estimator, "refit") and hasattr(estimator, "estimator")
    return looks_like_one and not hasattr(estimator, "adapt")


def _fit_params(estimator: Estimator, given: dict[str, Any]) -> dict[str, Any]:
    """Name parameters of ``fit`` as a pipeline passes them to its last step.

    Under metadata routing they keep their names, and go to the objects that request them.
    """
    if get_config()["enable_metadata_routing"]:
        return given
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return {f"{name}__{key}": value for key, value in _fit_params(last, given).items()}
    if _is_search(estimator):
        return _fit_params(estimator.estimator, given)
    return given


def _set_seed(estimator: Estimator, seed: int) -> Any:
    """Set every ``random_state`` of an estimator and its parts."""
    names = [
        name
        for name in estimator.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    ]
    return estimator.set_params(**dict.fromkeys(names, seed))
