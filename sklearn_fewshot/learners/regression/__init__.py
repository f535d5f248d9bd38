"""Few-shot regression: a task is a function, of which a few values are known."""

from ._maml import MAMLRegressor
from ._neural_process import NeuralProcessRegressor
from ._reptile import ReptileRegressor
from ._ridgenet import RidgeNetRegressor

__all__ = ["MAMLRegressor", "NeuralProcessRegressor", "ReptileRegressor", "RidgeNetRegressor"]
