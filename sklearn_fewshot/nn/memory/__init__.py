"""External memories that networks read and write."""

from ._addressing import content_weights, interpolate, sharpen, shift
from ._least_used import LeastUsedMemory, MemoryState, Writing
from ._turing_machine import Addressing, NeuralTuringMachine, TuringState

__all__ = [
    "Addressing",
    "LeastUsedMemory",
    "MemoryState",
    "NeuralTuringMachine",
    "TuringState",
    "Writing",
    "content_weights",
    "interpolate",
    "sharpen",
    "shift",
]
