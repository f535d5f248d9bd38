"""What learners with a learned scale of the metric share."""

from __future__ import annotations

from typing import Any

from ...training._meta_train import Trained


def scale_of(trained: Trained) -> dict[str, Any]:
    """Return the attribute ``scale_``: the scale after training."""
    return {"scale_": float(trained.network.module.head.scale)}
