"""Torch parts: backbones, heads, losses and the episode loader. No scikit-learn in here."""

from ._augment import AUGMENTATIONS, resolve_augmentation
from ._data import DataTensor
from ._distances import METRICS, get_metric
from ._embed import chunk_sizes, chunks, embed
from ._hardware import kept_memory, resolve_device, resolve_precision, says_what_to_lower
from ._loader import (
    EpisodeLoader,
    SampleLoader,
    ValidationEpisodes,
    collate,
    evaluate,
    over_stored_rows,
    score_frozen,
    to_device,
)
from ._losses import BalancedPairCrossEntropy, EpisodicCrossEntropy, PairSquaredError
from ._module import (
    ClassifierModule,
    CosineClassifier,
    DescribedModule,
    EpisodeBatch,
    EpisodicModule,
    autocast,
    evaluating,
)
from ._support import (
    SupportSet,
    class_logsumexp,
    class_max,
    class_mean,
    class_means,
    class_sums,
)

__all__ = [
    "AUGMENTATIONS",
    "METRICS",
    "BalancedPairCrossEntropy",
    "ClassifierModule",
    "CosineClassifier",
    "DataTensor",
    "DescribedModule",
    "EpisodeBatch",
    "EpisodeLoader",
    "EpisodicCrossEntropy",
    "EpisodicModule",
    "PairSquaredError",
    "SampleLoader",
    "SupportSet",
    "ValidationEpisodes",
    "autocast",
    "chunk_sizes",
    "chunks",
    "class_logsumexp",
    "class_max",
    "class_mean",
    "class_means",
    "class_sums",
    "collate",
    "embed",
    "evaluate",
    "evaluating",
    "get_metric",
    "kept_memory",
    "over_stored_rows",
    "resolve_augmentation",
    "resolve_device",
    "resolve_precision",
    "says_what_to_lower",
    "score_frozen",
    "to_device",
]
