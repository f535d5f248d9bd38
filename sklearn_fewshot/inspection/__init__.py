"""Displays: pictures of what a few-shot classifier does, in scikit-learn's manner."""

from ._curves import ShotCurveDisplay
from ._episode import EpisodeDisplay

__all__ = ["EpisodeDisplay", "ShotCurveDisplay"]
