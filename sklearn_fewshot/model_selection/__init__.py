"""Evaluation on new classes: class-wise splits, and scores over few-shot episodes."""

from .._generalized import GeneralizedAccuracy, generalized_accuracy
from ._episodic import EpisodicResult, EpisodicScorer, episodic_score
from ._split import ClassKFold, ClassShuffleSplit, EpisodeSplit

__all__ = [
    "ClassKFold",
    "ClassShuffleSplit",
    "EpisodeSplit",
    "EpisodicResult",
    "EpisodicScorer",
    "GeneralizedAccuracy",
    "episodic_score",
    "generalized_accuracy",
]
