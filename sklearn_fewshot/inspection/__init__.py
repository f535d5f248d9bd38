"""Displays: pictures of what a few-shot classifier does, in scikit-learn's manner."""

from ._curves import ShotCurveDisplay
from ._episode import EpisodeDisplay
from ._rejection import RejectionDisplay
from ._reliability import ReliabilityDisplay

__all__ = ["EpisodeDisplay", "RejectionDisplay", "ReliabilityDisplay", "ShotCurveDisplay"]
