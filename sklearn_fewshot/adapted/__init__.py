"""Classifiers and regressors of a support set over a frozen learner: what ``adapt`` returns."""

from ._adapt import adapt
from ._classifier import FewShotClassifier
from ._pipeline import FewShotPipeline, make_fewshot_pipeline
from ._regressor import FewShotRegressor
from ._support import check_support_pair
from ._unlabelled import REFINEMENTS
from ._walk import Path, check_is_no_search, is_search, walk

__all__ = [
    "REFINEMENTS",
    "FewShotClassifier",
    "FewShotPipeline",
    "FewShotRegressor",
    "Path",
    "adapt",
    "check_is_no_search",
    "check_support_pair",
    "is_search",
    "make_fewshot_pipeline",
    "walk",
]
