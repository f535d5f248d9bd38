"""Few-shot learning with scikit-learn's interface.

Meta-train on many old classes, then recognise new ones from a handful of examples each.
"""

from ._few_shot import FewShotClassifier, FewShotPipeline, adapt, make_fewshot_pipeline
from ._protonet import ProtoNetClassifier

__version__ = "0.1.0"

__all__ = [
    "FewShotClassifier",
    "FewShotPipeline",
    "ProtoNetClassifier",
    "adapt",
    "make_fewshot_pipeline",
]
