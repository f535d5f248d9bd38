"""Data sets of many classes with few examples each."""

from ._glyphs import make_glyphs
from ._omniglot import fetch_omniglot

__all__ = ["fetch_omniglot", "make_glyphs"]
