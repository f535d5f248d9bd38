"""The model of scores, fitted on held-out classes that are used as new ones."""

from ._held_out import EncodedData, calibrate
from ._model import Calibration, InlierScores, ShotBias
from ._stacking import best_penalty, harmonic_mean

__all__ = [
    "Calibration",
    "EncodedData",
    "InlierScores",
    "ShotBias",
    "best_penalty",
    "calibrate",
    "harmonic_mean",
]
