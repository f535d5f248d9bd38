"""What ``adapt`` returns: classifiers of a support set, over a frozen learner."""

from ._adapt import adapt
from ._classifier import FewShotClassifier
from ._pipeline import FewShotPipeline, make_fewshot_pipeline
from ._support import check_support_pair
from ._walk import Path, is_search, refuse_search, walk

__all__ = [
    "FewShotClassifier",
    "FewShotPipeline",
    "Path",
    "adapt",
    "check_support_pair",
    "is_search",
    "make_fewshot_pipeline",
    "refuse_search",
    "walk",
]
