"""Data sets of many classes with few examples each."""

from ._folder import load_image_folder
from ._glyphs import make_glyphs
from ._images import load_images
from ._omniglot import fetch_omniglot
from ._series import pad_series
from ._sinusoids import make_sinusoids

__all__ = [
    "fetch_omniglot",
    "load_image_folder",
    "load_images",
    "make_glyphs",
    "make_sinusoids",
    "pad_series",
]
