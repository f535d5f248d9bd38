"""Learners that classifiers stand on: checked, and shared by clones."""

from __future__ import annotations

from typing import Any, Self, cast

from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..network import FittedNetwork
from ..utils._sklearn import InvalidParameterError
from ..utils._typing import Estimator


class SharesLearner(BaseEstimator):
    """Mixin of estimators over a fitted learner, which they share and never change."""

    learner: Any

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, without those of a fitted learner, as ``FrozenEstimator`` does.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of a learner that is not fitted as well.

        Returns
        -------
        params : dict
            Values by name.
        """
        return super().get_params(deep and not is_fitted(self.learner))

    def set_params(self, **params: Any) -> Self:
        """Set parameters; those of a fitted learner are refused, since they would change nothing.

        Parameters
        ----------
        **params : dict
            By name. Searches clone a ``learner``: pass ``sklearn.frozen.FrozenEstimator(learner)``.

        Returns
        -------
        self
        """
        _check_can_be_set(params, self.learner, type(self).__name__)
        return cast(Self, super().set_params(**params))


def share_or_clone(learner: Estimator | None) -> Estimator | None:
    """Return a fitted learner itself, since nothing changes it, and a clone of another."""
    if learner is None:
        return None
    return learner if is_fitted(learner) else clone(learner)


def _check_can_be_set(params: dict[str, Any], learner: Estimator | None, owner: str) -> None:
    """Raise if parameters are those of a fitted learner, or hold a learner that is not fitted.

    Both happen in searches, which would score the same classifier again, or none.
    """
    learner = params.get("learner", learner)
    if not hasattr(learner, "fit"):  # None, or what `fit` refuses
        return
    names = sorted(name for name in params if name.startswith("learner__"))
    if names and is_fitted(learner):
        raise ValueError(
            f"{owner} does not set {', '.join(names)}: its {type(learner).__name__} is fitted, and "
            "its parameters have an effect only in its own fit. Search over them where it is "
            "fitted, with EpisodicScorer as scoring, or call set_params of the learner itself."
        )
    if params.get("learner") is not None and not is_fitted(learner):
        raise ValueError(
            f"The 'learner' parameter of {owner} must be fitted. Got {type(learner).__name__}, "
            "which is not, perhaps a clone: searches clone their candidates. Pass "
            "sklearn.frozen.FrozenEstimator(learner), which keeps a fitted learner as it is."
        )


def is_fitted(learner: Estimator | None) -> bool:
    """Whether something is a fitted estimator."""
    if not hasattr(learner, "fit"):
        return False
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
    current = getattr(learner, "_network", None)
    if learner is None or current is network or getattr(current, "initial", None) is network:
        return
    raise ValueError(
        f"The learner of this {owner} was fitted again or exchanged after its examples were given: "
        "what it made of them cannot be compared with what the learner makes of others now. Call "
        "fit, or adapt the learner, with all the examples."
    )
