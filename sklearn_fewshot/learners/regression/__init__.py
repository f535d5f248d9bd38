"""Few-shot regression: a task is a function, of which a few values are known."""

from ._neural_process import NeuralProcessRegressor
from ._ridgenet import RidgeNetRegressor

__all__ = ["NeuralProcessRegressor", "RidgeNetRegressor"]
