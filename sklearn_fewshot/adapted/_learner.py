"""Learners that classifiers stand on: checked, and shared by clones."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..network import FittedNetwork
from ..utils._sklearn import InvalidParameterError
from ..utils._typing import Estimator


def share_or_clone(learner: Estimator | None) -> Estimator | None:
    """Return a fitted learner itself, since nothing changes it, and a clone of another."""
    if learner is None:
        return None
    return learner if _is_fitted(learner) else clone(learner)


def check_can_be_set(params: dict[str, Any], learner: Estimator | None, owner: str) -> None:
    """Raise if parameters are those of a fitted learner, or hold a learner that is not fitted.

    Both happen in searches, which would score the same classifier again, or none.
    """
    learner = params.get("learner", learner)
    if learner is None:
        return
    names = sorted(name for name in params if name.startswith("learner__"))
    if names and _is_fitted(learner):
        raise ValueError(
            f"{owner} does not set {', '.join(names)}: its {type(learner).__name__} is fitted, and "
            "its parameters have an effect only in its own fit. Search over them where it is "
            "fitted, with EpisodicScorer as scoring, or call set_params of the learner itself."
        )
    if params.get("learner") is not None and not _is_fitted(learner):
        raise ValueError(
            f"The 'learner' parameter of {owner} must be fitted. Got {type(learner).__name__}, "
            "which is not, perhaps a clone: searches clone their candidates. Pass "
            "sklearn.frozen.FrozenEstimator(learner), which keeps a fitted learner as it is."
        )


def _is_fitted(learner: Estimator) -> bool:
    try:
        check_is_fitted(learner)
    except NotFittedError:
        return False
    return True


def check_learner(estimator: Estimator, what: str) -> None:
    """Raise unless the estimator, named ``what`` in the error, is a fitted learner."""
    is_pipeline = isinstance(estimator, Pipeline)  # a FewShotPipeline has `adapt` too
    if is_pipeline or not (hasattr(estimator, "adapt") and hasattr(estimator, "fit")):
        hint = ""
        if is_pipeline or hasattr(estimator, "best_estimator_"):
            hint = " For pipelines and searches use sklearn_fewshot.adapt, which gives the same."
        raise InvalidParameterError(
            f"{what} must be a fitted learner, such as ProtoNetClassifier().fit(X, y). Got "
            f"{type(estimator).__name__} instead.{hint}"
        )
    check_is_fitted(estimator)


def check_same_network(learner: Estimator | None, network: FittedNetwork, owner: str) -> None:
    """Raise if new examples would go through another network than those that are there."""
    if learner is None or getattr(learner, "_network", None) is network:
        return
    raise ValueError(
        f"The learner of this {owner} was fitted again or exchanged after its examples were given: "
        "what it made of them cannot be compared with what the learner makes of others now. Call "
        "fit, or adapt the learner, with all the examples."
    )
