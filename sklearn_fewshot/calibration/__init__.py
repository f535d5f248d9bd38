"""The model of scores, fitted on held-out classes that are used as new ones."""

from ._carry_over import carry_over
from ._held_out import EncodedData, calibrate
from ._model import Calibration, InlierScores, ShotBias, ShotBiasByWay, Temperature
from ._stacking import best_penalty, harmonic_mean

__all__ = [
    "Calibration",
    "EncodedData",
    "InlierScores",
    "ShotBias",
    "ShotBiasByWay",
    "Temperature",
    "best_penalty",
    "calibrate",
    "carry_over",
    "harmonic_mean",
]
