"""Heads and losses of few-shot regression."""

from ._bayesian_ridge import BayesianRidgeHead
from ._loss import GaussianLoss, split_values
from ._neural_process import NeuralProcessHead

__all__ = ["BayesianRidgeHead", "GaussianLoss", "NeuralProcessHead", "split_values"]
