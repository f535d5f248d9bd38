"""Displays: pictures of what a few-shot classifier does, in scikit-learn's manner."""

from ._episode import EpisodeDisplay

__all__ = ["EpisodeDisplay"]
