"""Fits that succeed or leave everything as it was."""

from __future__ import annotations

from typing import Any

FITTED = {"_network", "_representation", "_base_mean", "_base_std"}  # besides names ending in _


def unfitted_copy(estimator: Any) -> Any:
    """Return an estimator with the same parameter objects and nothing fitted.

    ``fit`` works on such a copy and takes over its attributes at the end: a failed ``fit`` leaves
    the estimator usable, a successful one leaves nothing of the last.
    """
    fresh = object.__new__(type(estimator))
    kept = {k: v for k, v in vars(estimator).items() if not k.endswith("_") and k not in FITTED}
    fresh.__dict__.update(kept)
    return fresh
