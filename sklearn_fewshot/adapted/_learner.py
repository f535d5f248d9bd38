"""Learners that classifiers stand on: checked, and shared by clones."""

from __future__ import annotations

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..utils._sklearn import InvalidParameterError
from ..utils._typing import Estimator


def share_or_clone(learner: Estimator | None) -> Estimator | None:
    """Return a fitted learner itself, since nothing changes it, and a clone of another."""
    if learner is None:
        return None
    try:
        check_is_fitted(learner)
    except NotFittedError:
        return clone(learner)
    return learner


def check_learner(estimator: Estimator, what: str) -> None:
    """Raise unless the estimator, named ``what`` in the error, is a fitted learner."""
    if not (hasattr(estimator, "adapt") and hasattr(estimator, "fit")):
        hint = ""
        if isinstance(estimator, Pipeline) or hasattr(estimator, "best_estimator_"):
            hint = " For pipelines and searches use sklearn_fewshot.adapt, which gives the same."
        raise InvalidParameterError(
            f"{what} must be a fitted learner, such as ProtoNetClassifier().fit(X, y). Got "
            f"{type(estimator).__name__} instead.{hint}"
        )
    check_is_fitted(estimator)
