"""Displays: figures of what few-shot classifiers and regressors do, in scikit-learn's manner."""

from ._attention import AttentionDisplay
from ._curves import ShotCurveDisplay
from ._embedding import EmbeddingDisplay
from ._episode import EpisodeDisplay
from ._pairs import PairRocDisplay
from ._rejection import RejectionDisplay
from ._reliability import ReliabilityDisplay
from ._risk_coverage import RiskCoverageDisplay
from ._scores import EpisodeScoresDisplay
from ._task import TaskDisplay
from ._training import TrainingDisplay

__all__ = [
    "AttentionDisplay",
    "EmbeddingDisplay",
    "EpisodeDisplay",
    "EpisodeScoresDisplay",
    "PairRocDisplay",
    "RejectionDisplay",
    "ReliabilityDisplay",
    "RiskCoverageDisplay",
    "ShotCurveDisplay",
    "TaskDisplay",
    "TrainingDisplay",
]
