"""The one walker through estimators that hold others: pipelines, searches, frozen estimators."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


class Path(NamedTuple):
    """The path from an estimator to the innermost one.

    Parameters
    ----------
    pipelines : tuple of Pipeline
        The pipelines on the path, outermost first.
    end : estimator
        The innermost estimator: a learner, a classifier, ...
    """

    pipelines: tuple[Pipeline, ...]
    end: Any

    @property
    def transformers(self) -> list[Any]:
        """The transformers before the end, in order."""
        return [pipeline[:-1] for pipeline in self.pipelines if len(pipeline) > 1]

    def transform(self, X: Any) -> Any:
        """Pass samples through all transformers, which must be fitted."""
        for pipeline in self.pipelines:
            check_is_fitted(pipeline)
        for transformer in self.transformers:
            X = transformer.transform(X)
        return X

    def rebuild(self, end: Any) -> Any:
        """Return the pipelines, their transformers frozen, with another end."""
        for pipeline in reversed(self.pipelines):
            name = pipeline.steps[-1][0]
            end = type(pipeline)([*map(_freeze, pipeline.steps[:-1]), (name, end)])
        return end


def _freeze(step: tuple[str, Any]) -> tuple[str, Any]:
    name, part = step
    return name, part if part is None or isinstance(part, str) else FrozenEstimator(part)


def walk(estimator: Any) -> Path:
    """Walk through pipelines, fitted searches and frozen estimators, nested ones too.

    Parameters
    ----------
    estimator : estimator
        Any estimator.

    Returns
    -------
    path : Path
        Its end is the estimator itself if that holds no other, and a search if it has no best
        estimator.
    """
    pipelines: list[Pipeline] = []
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif isinstance(estimator, Pipeline):
            pipelines.append(estimator)
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return Path(tuple(pipelines), estimator)


def is_search(estimator: Any) -> bool:
    """Whether an estimator is a search over parameters of another, fitted or not.

    Learners have a parameter ``refit`` too, and may have others of any name.
    """
    is_learner = hasattr(estimator, "adapt")
    return not is_learner and hasattr(estimator, "refit") and hasattr(estimator, "estimator")


def check_is_no_search(estimator: Any) -> None:
    """Raise if the estimator is a search without a best estimator."""
    if is_search(estimator):
        raise NotFittedError(
            f"This {type(estimator).__name__} has no best_estimator_ to adapt. Fit it first, with "
            "refit=True."
        )
