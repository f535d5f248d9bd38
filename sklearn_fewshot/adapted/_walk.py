"""The one walker through estimators that hold others: pipelines, searches, frozen estimators."""

from __future__ import annotations

import copy
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
        return [part for pipeline in self.pipelines for _, part in transformer_steps(pipeline)]

    def transform(self, X: Any) -> Any:
        """Pass samples through all transformers, which must be fitted."""
        for pipeline in self.pipelines:
            check_is_fitted(pipeline)
        for transformer in self.transformers:
            X = transformer.transform(X)
        return X

    def rebuild(self, end: Any) -> Any:
        """Return the pipelines with another end; copies of their transformers, frozen.

        So nothing that is done to the pipelines afterwards changes what is returned, nor the other
        way round.
        """
        for pipeline in reversed(self.pipelines):
            steps = [(name, _freeze(part)) for name, part in transformer_steps(pipeline)]
            end = type(pipeline)([*steps, (pipeline.steps[-1][0], end)])
        return end


def transformer_steps(pipeline: Pipeline) -> list[tuple[str, Any]]:
    """Return the steps before the last that take part in predictions."""
    return [step for step in pipeline.steps[:-1] if _transforms(step[1])]


def transformers_of(preprocess: Any) -> list[Any]:
    """Return the transformers that a fitted transformer consists of, those of a pipeline singly."""
    if not isinstance(preprocess, Pipeline):
        return [preprocess]
    return [part for _, part in preprocess.steps if _transforms(part)]


def _transforms(part: Any) -> bool:
    """Whether a step transforms queries; some only resample training data, as imbalanced-learn's.

    Their own pipelines skip them in predictions.
    """
    if part is None or isinstance(part, str):
        return False
    return hasattr(part, "transform") or not hasattr(part, "fit_resample")


def _freeze(part: Any) -> FrozenEstimator:
    return FrozenEstimator(copy.deepcopy(part))


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
