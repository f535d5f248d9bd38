"""Networks whose weights are adapted to the support set by an optimisation."""

from ._adapting import AdaptingModule
from ._gradient import GradientModule
from ._meta_lstm import MetaLSTMModule
from ._reptile import ReptileModule
from ._task_norm import TaskNorm, with_task_norm

__all__ = [
    "AdaptingModule",
    "GradientModule",
    "MetaLSTMModule",
    "ReptileModule",
    "TaskNorm",
    "with_task_norm",
]
