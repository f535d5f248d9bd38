"""Torch parts: backbones, heads, losses and the episode loader. No scikit-learn in here."""

from ._data import DataTensor
from ._distances import METRICS, get_metric
from ._embed import embed
from ._hardware import kept_memory, resolve_device, resolve_precision
from ._loader import EpisodeLoader, ValidationEpisodes, collate, evaluate, score_frozen
from ._losses import EpisodicCrossEntropy
from ._module import EpisodeBatch, EpisodicModule, autocast, evaluating
from ._support import SupportSet, class_sums

__all__ = [
    "METRICS",
    "DataTensor",
    "EpisodeBatch",
    "EpisodeLoader",
    "EpisodicCrossEntropy",
    "EpisodicModule",
    "SupportSet",
    "ValidationEpisodes",
    "autocast",
    "class_sums",
    "collate",
    "embed",
    "evaluate",
    "evaluating",
    "get_metric",
    "kept_memory",
    "resolve_device",
    "resolve_precision",
    "score_frozen",
]
