"""Few-shot learning with scikit-learn's interface.

Meta-train on many old classes, then recognise new ones from a handful of examples each.
"""

from ._baseline import BaselineClassifier
from ._encoder import FrozenEncoder
from ._few_shot import FewShotClassifier, FewShotPipeline, adapt, make_fewshot_pipeline
from ._matchingnet import MatchingNetClassifier
from ._persistence import load_model, save_model
from ._protonet import ProtoNetClassifier
from ._relationnet import RelationNetClassifier
from ._siamesenet import SiameseNetClassifier
from ._zero_shot import ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier
from .utils._attributes import ClassAttributes
from .utils._model_file import ModelFormatError

__version__ = "0.1.0"

__all__ = [
    "BaselineClassifier",
    "ClassAttributes",
    "FewShotClassifier",
    "FewShotPipeline",
    "FrozenEncoder",
    "MatchingNetClassifier",
    "ModelFormatError",
    "ProtoNetClassifier",
    "RelationNetClassifier",
    "SiameseNetClassifier",
    "ZeroShotProtoNetClassifier",
    "ZeroShotRelationNetClassifier",
    "adapt",
    "load_model",
    "make_fewshot_pipeline",
    "save_model",
]
