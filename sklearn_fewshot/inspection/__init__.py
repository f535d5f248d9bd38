"""Displays: figures of what a few-shot classifier does, in scikit-learn's manner."""

from ._curves import ShotCurveDisplay
from ._embedding import EmbeddingDisplay
from ._episode import EpisodeDisplay
from ._pairs import PairRocDisplay
from ._rejection import RejectionDisplay
from ._reliability import ReliabilityDisplay
from ._scores import EpisodeScoresDisplay
from ._training import TrainingDisplay

__all__ = [
    "EmbeddingDisplay",
    "EpisodeDisplay",
    "EpisodeScoresDisplay",
    "PairRocDisplay",
    "RejectionDisplay",
    "ReliabilityDisplay",
    "ShotCurveDisplay",
    "TrainingDisplay",
]
