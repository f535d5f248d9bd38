"""The model of scores, fitted on held-out classes that are used as new ones."""

from ._attributes import sample_queries_by_attributes
from ._by_size import SampledQueries
from ._carry_over import carry_over
from ._conformal import SetThresholds
from ._held_out import EncodedData, calibrate, sample_queries
from ._intervals import Intervals, calibrate_intervals
from ._model import (
    Calibration,
    InlierScores,
    ShotBias,
    ShotBiasByWay,
    Temperature,
    fit_temperature,
)
from ._stacking import best_penalty, harmonic_mean

__all__ = [
    "Calibration",
    "EncodedData",
    "InlierScores",
    "Intervals",
    "SampledQueries",
    "SetThresholds",
    "ShotBias",
    "ShotBiasByWay",
    "Temperature",
    "best_penalty",
    "calibrate",
    "calibrate_intervals",
    "carry_over",
    "fit_temperature",
    "harmonic_mean",
    "sample_queries",
    "sample_queries_by_attributes",
]
