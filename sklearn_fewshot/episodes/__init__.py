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
from ._tasks import ClassTasks, pair_with_tasks

__all__ = [
    "ClassTasks",
    "EpisodePlan",
    "EpisodeSampler",
    "drawable_classes",
    "held_out_classes",
    "pair_with_tasks",
    "place_in_class",
    "reserved_rows",
    "some_of_each",
    "thinned",
]
