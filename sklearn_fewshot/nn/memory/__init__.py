"""External memories that networks read and write."""

from ._addressing import content_weights, interpolate, sharpen, shift
from ._turing_machine import Addressing, NeuralTuringMachine, TuringState

__all__ = [
    "Addressing",
    "NeuralTuringMachine",
    "TuringState",
    "content_weights",
    "interpolate",
    "sharpen",
    "shift",
]
