"""The learned scale of the metric, shared by several learners."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ...nn import EmbeddingModule
from ...training._meta_train import Trained


@runtime_checkable
class Scaled(Protocol):
    """A head with a scale."""

    @property
    def scale(self) -> Tensor:
        """Factor of the distances."""


def scale_of(trained: Trained) -> dict[str, Any]:
    """Return the attribute ``scale_``: the scale after training."""
    module = trained.network.module
    assert isinstance(module, EmbeddingModule)
    assert isinstance(module.head, Scaled)
    return {"scale_": float(module.head.scale)}
