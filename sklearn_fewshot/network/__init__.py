"""A trained network as a value: numpy in, numpy out, and nothing of how it was trained."""

from ._device import on_cpu, predict_on
from ._identity import identity_network
from ._network import FittedNetwork
from ._steps import with_steps
from ._values import Recipe, Representation, ScoreModel, State

__all__ = [
    "FittedNetwork",
    "Recipe",
    "Representation",
    "ScoreModel",
    "State",
    "identity_network",
    "on_cpu",
    "predict_on",
    "with_steps",
]
