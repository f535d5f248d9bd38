"""Data sets of many classes with few examples each."""

from ._folder import load_image_folder
from ._glyphs import make_glyphs
from ._omniglot import fetch_omniglot

__all__ = ["fetch_omniglot", "load_image_folder", "make_glyphs"]
