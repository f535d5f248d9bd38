"""A trained network as a value: numpy in, numpy out, and nothing of how it was trained."""

from ._attention import attention
from ._device import on_cpu, predict_on
from ._gradient import differentiate
from ._identity import identity_network
from ._network import FittedNetwork
from ._regression import Observations, RegressionNetwork, StdModel, ridge_network
from ._steps import step_options, with_steps
from ._values import Recipe, Representation, ScoreModel, State

__all__ = [
    "FittedNetwork",
    "Observations",
    "Recipe",
    "RegressionNetwork",
    "Representation",
    "ScoreModel",
    "State",
    "StdModel",
    "attention",
    "differentiate",
    "identity_network",
    "on_cpu",
    "predict_on",
    "ridge_network",
    "step_options",
    "with_steps",
]
