"""Classifiers of a support set over a frozen learner: the results of ``adapt``."""

from ._adapt import adapt
from ._classifier import FewShotClassifier
from ._pipeline import FewShotPipeline, make_fewshot_pipeline
from ._support import check_support_pair
from ._unlabelled import REFINEMENTS
from ._walk import Path, check_is_no_search, is_search, walk

__all__ = [
    "REFINEMENTS",
    "FewShotClassifier",
    "FewShotPipeline",
    "Path",
    "adapt",
    "check_is_no_search",
    "check_support_pair",
    "is_search",
    "make_fewshot_pipeline",
    "walk",
]
