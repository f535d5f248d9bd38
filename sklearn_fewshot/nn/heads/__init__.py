"""Heads: from embedded support and queries to scores."""

from ._base import Head
from ._prototypical import PrototypicalHead

__all__ = ["Head", "PrototypicalHead"]
