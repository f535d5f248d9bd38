"""Networks whose weights are adapted to the support set by an optimisation."""

from ._adapting import AdaptingModule, embedding_part, without_front
from ._gradient import GradientModule
from ._meta_lstm import MetaLSTMModule
from ._readout import PrototypeReadout, Readout, SharedReadout, ValueReadout
from ._reptile import ReptileModule
from ._task_norm import TaskNorm, with_task_norm

__all__ = [
    "AdaptingModule",
    "GradientModule",
    "MetaLSTMModule",
    "PrototypeReadout",
    "Readout",
    "ReptileModule",
    "SharedReadout",
    "TaskNorm",
    "ValueReadout",
    "embedding_part",
    "with_task_norm",
    "without_front",
]
