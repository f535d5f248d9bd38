"""Learners by optimisation: their weights are adapted to the support set."""

from ._maml import MAMLClassifier
from ._meta_lstm import MetaLSTMClassifier
from ._reptile import ReptileClassifier

__all__ = ["MAMLClassifier", "MetaLSTMClassifier", "ReptileClassifier"]
