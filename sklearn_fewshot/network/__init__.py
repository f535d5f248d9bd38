"""A trained network as a value: numpy in, numpy out, and nothing of how it was trained."""

from ._device import on_cpu, predict_on
from ._network import FittedNetwork, identity_network
from ._regression import Observations, RegressionNetwork, StdModel, ridge_network
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
    "identity_network",
    "on_cpu",
    "predict_on",
    "ridge_network",
]
