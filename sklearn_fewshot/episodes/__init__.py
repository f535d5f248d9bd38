"""Episodes as row indices: which classes and rows are drawn. numpy only."""

from ._holdout import (
    drawable_classes,
    held_out_classes,
    place_in_class,
    reserved_rows,
    some_of_each,
    thinned,
)
from ._plan import EpisodePlan
from ._sampler import EpisodeSampler

__all__ = [
    "EpisodePlan",
    "EpisodeSampler",
    "drawable_classes",
    "held_out_classes",
    "place_in_class",
    "reserved_rows",
    "some_of_each",
    "thinned",
]
