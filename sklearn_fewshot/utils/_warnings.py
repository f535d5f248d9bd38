"""Warnings that point at the user's line."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called the public method, however deep the check is."""
    warnings.warn(message, category, stacklevel=_depth_of_caller())


def _depth_of_caller() -> int:
    """Return the number of frames up to who called this package first, seen from ``warn_user``.

    Frames of others may lie between: of skorch in training, of contextlib. Those of scikit-learn
    that called this package, such as of a pipeline, are not the user's either.
    """
    package = __name__.partition(".")[0]
    frame: FrameType | None = sys._getframe(1)
    depth = outermost = 1
    while frame is not None:
        root = frame.f_globals.get("__name__", "").partition(".")[0]
        if root == package or (root == "sklearn" and depth == outermost + 1):
            outermost = depth
        frame, depth = frame.f_back, depth + 1
    return outermost + 1
