"""External memories that networks read and write."""

from ._addressing import content_weights, interpolate, sharpen, shift

__all__ = ["content_weights", "interpolate", "sharpen", "shift"]
