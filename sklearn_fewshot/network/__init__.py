"""A trained network as a value: numpy in, numpy out, and nothing of how it was trained."""

from ._network import FittedNetwork, identity_network
from ._values import Recipe, Representation, ScoreModel, State, on_cpu

__all__ = [
    "FittedNetwork",
    "Recipe",
    "Representation",
    "ScoreModel",
    "State",
    "identity_network",
    "on_cpu",
]
