"""Evaluation on new classes: class-wise splits, and scores over few-shot episodes."""

from ._class_split import ClassKFold, ClassShuffleSplit
from ._compare import EpisodicComparison, compare_on_episodes
from ._cross_validate import EpisodicCrossValidation, episodic_cross_validate
from ._curves import class_learning_curve
from ._duplicates import duplicate_groups
from ._episodic import EpisodicScorer, episodic_score
from ._generalized import GeneralizedAccuracy, generalized_accuracy
from ._generalized_score import GeneralizedResult, generalized_episodic_score
from ._interval import Interval
from ._open_set import OpenSetResult
from ._result import EpisodicResult
from ._shot_curve import ShotCurve, shot_curve
from ._split import EpisodeSplit, FrozenEpisodes
from ._task_baselines import task_baselines
from ._task_score import task_score
from ._task_split import TaskSplit

__all__ = [
    "ClassKFold",
    "ClassShuffleSplit",
    "EpisodeSplit",
    "EpisodicComparison",
    "EpisodicCrossValidation",
    "EpisodicResult",
    "EpisodicScorer",
    "FrozenEpisodes",
    "GeneralizedAccuracy",
    "GeneralizedResult",
    "Interval",
    "OpenSetResult",
    "ShotCurve",
    "TaskSplit",
    "class_learning_curve",
    "compare_on_episodes",
    "duplicate_groups",
    "episodic_cross_validate",
    "episodic_score",
    "generalized_accuracy",
    "generalized_episodic_score",
    "shot_curve",
    "task_baselines",
    "task_score",
]
