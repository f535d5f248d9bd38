"""What the learners have in common whose weights are adapted to the support set."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from ...network import step_options, with_steps
from ...nn.backbones import auto_backbone
from ...utils._warnings import warn_user
from .._base import BaseMetaLearner
from .._classes import KeptClassifier
from .._parameters import TrainingParameters


class AdaptsWeights(BaseMetaLearner):
    """Mixin of learners whose weights are a function of the support set."""

    n_steps: int
    learn_step_size: Any
    _kept_classifier: KeptClassifier

    def _check_parameters(self) -> None:
        super()._check_parameters()
        name = type(self).__name__
        if self.precision == "bfloat16":
            warn_user(
                f"{name} has precision='bfloat16', but gradients through gradient steps need more "
                "digits: it computes in float32. Set precision='auto'."
            )
        if getattr(self, "learn_step_size", None) is True:
            raise ValueError(
                f"The 'learn_step_size' parameter of {name} must be 'layer', 'element' or False. "
                "Got True. Choose one step size for each layer and step, or one for each weight."
            )

    def _with_steps(self, n_steps: int) -> Self:
        check_is_fitted(self)
        if not isinstance(n_steps, Integral) or n_steps < 0:
            raise ValueError(f"n_steps must be an int of at least 0. Got {n_steps!r}.")
        self._check_steps(n_steps)
        learner = copy.copy(self)
        learner.n_steps = int(n_steps)
        learner._network = with_steps(self._network, int(n_steps))
        if hasattr(learner, "_kept_classifier"):
            learner._kept_classifier = KeptClassifier()
        return learner

    def _check_steps(self, n_steps: int) -> None:
        """Raise if the network has no step sizes for so many steps."""
        trained = step_options(self._network)
        check_takes_step(trained["start"], n_steps)
        kind, most = trained["learn_step_size"], trained["n_steps"]
        per_weight = kind == "element" and n_steps not in (0, most)
        if per_weight or (kind == "layer" and n_steps > most):
            raise ValueError(
                f"This {type(self).__name__} was fitted with learn_step_size={kind!r}: its step "
                f"sizes were learned for n_steps={most}. Got {n_steps}. Fit it with that many "
                "steps, or with learn_step_size=False."
            )


def check_takes_step(start: str, n_steps: int) -> None:
    """Raise if all classes would get the same score."""
    if start == "shared" and n_steps == 0:
        raise ValueError(
            "start='shared' needs n_steps of at least 1: a shared row of weights tells classes "
            "apart only after a step. Got 0. Take more steps, or set start='prototype'."
        )


def strided(learner: TrainingParameters) -> Any:
    """Return the backbone; of images "auto" is the strided network, a quarter of the arithmetic."""
    shape: tuple[int, ...] = learner.input_shape_
    is_image = auto_backbone(shape) == "conv4"
    return "conv4_strided" if learner.backbone == "auto" and is_image else learner.backbone


def n_batches(learner: TrainingParameters) -> int:
    """Return how many batches the training has at most."""
    return max(1, learner.max_epochs * -(-learner.episodes_per_epoch // learner.meta_batch_size))
