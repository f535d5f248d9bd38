"""Torch parts: the verbs of networks, heads, backbones, losses, loader. No scikit-learn in here."""

from ._augment import AUGMENTATIONS, resolve_augmentation
from ._batch import EpisodeBatch, SampleBatch, is_padding, take_rows
from ._collate import collate, collate_rotated, over_stored_rows, to_device, with_values
from ._data import DataTensor
from ._distances import METRICS, get_metric
from ._embed import chunk_sizes, chunks, embed
from ._embedding_module import ClassifierModule, CosineClassifier, EmbeddingModule
from ._hardware import kept_memory, resolve_device, resolve_precision, says_what_to_lower
from ._loader import EpisodeLoader, SampleLoader
from ._losses import (
    BalancedPairCrossEntropy,
    EpisodicCrossEntropy,
    PairSquaredError,
    log_loss_factor,
)
from ._modes import autocast, evaluating, evaluation_view
from ._module import EmbedsRows, FewShotModule, Joins, episode_loss, predict_episodes
from ._pooled import Parallel, PooledHead, PooledMember, PooledModule
from ._scoring import ValidationEpisodes, evaluate, score_plan
from ._sequence_module import SequenceModule, presentation
from ._support import (
    State,
    Support,
    class_logsumexp,
    class_max,
    class_mean,
    class_means,
    class_sums,
    from_state,
    to_state,
)

__all__ = [
    "AUGMENTATIONS",
    "METRICS",
    "BalancedPairCrossEntropy",
    "ClassifierModule",
    "CosineClassifier",
    "DataTensor",
    "EmbeddingModule",
    "EmbedsRows",
    "EpisodeBatch",
    "EpisodeLoader",
    "EpisodicCrossEntropy",
    "FewShotModule",
    "Joins",
    "PairSquaredError",
    "Parallel",
    "PooledHead",
    "PooledMember",
    "PooledModule",
    "SampleBatch",
    "SampleLoader",
    "SequenceModule",
    "State",
    "Support",
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
    "collate_rotated",
    "embed",
    "episode_loss",
    "evaluate",
    "evaluating",
    "evaluation_view",
    "from_state",
    "get_metric",
    "is_padding",
    "kept_memory",
    "log_loss_factor",
    "over_stored_rows",
    "predict_episodes",
    "presentation",
    "resolve_augmentation",
    "resolve_device",
    "resolve_precision",
    "says_what_to_lower",
    "score_plan",
    "take_rows",
    "to_device",
    "to_state",
    "with_values",
]
