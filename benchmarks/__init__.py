"""Measurements of accuracy and speed: ``python -m benchmarks.omniglot``, ``benchmarks.tables``."""
