"""Support sets passed through scikit-learn's objects, which only the call stack shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

NAMES = {"X_support", "y_support"}


def raise_if_support_was_carried(given: bool) -> None:
    """Raise if a support set came here through scikit-learn's objects, or got lost in one.

    Parameters
    ----------
    given : bool
        Whether the calling method was given a support set. If not, one may have been dropped:
        without metadata routing ``Pipeline.score`` drops all its ``params``.
    """
    for frame in _calls_of_scikit_learn():
        params = frame.f_locals.get("params")
        if given or (isinstance(params, dict) and not NAMES.isdisjoint(params)):
            raise ValueError(
                "A support set cannot be passed through scikit-learn's own objects: "
                "Pipeline.predict does not transform it, Pipeline.score drops it, and "
                "cross-validation cuts it if it is as long as X. Use "
                "sklearn_fewshot.adapt(pipeline, X_support, y_support), or a FewShotPipeline "
                "instead of a Pipeline. To score new classes in cross-validation, use "
                "sklearn_fewshot.model_selection.EpisodicScorer."
            )


def _calls_of_scikit_learn() -> Iterator[FrameType]:
    """Iterate over the calls by scikit-learn that led here, up to the first by other code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        package = module.partition(".")[0]
        if package not in ("sklearn", __name__.partition(".")[0]):
            return
        # utils: `delayed` and the like call functions of the user.
        if package == "sklearn" and not module.startswith("sklearn.utils."):
            yield frame
        frame = frame.f_back
