"""Learners by model: a network that reads the support set."""

from ._in_context import InContextClassifier
from ._mann import MANNClassifier
from ._meta_net import MetaNetClassifier

__all__ = ["InContextClassifier", "MANNClassifier", "MetaNetClassifier"]
