"""External memories that networks read and write."""

from ._least_used import LeastUsedMemory, MemoryState, Writing

__all__ = ["LeastUsedMemory", "MemoryState", "Writing"]
