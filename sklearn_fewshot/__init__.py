"""Few-shot learning with scikit-learn's interface.

Meta-train on many old classes, then recognise new ones from a handful of examples each.
"""

from .adapted._classifier import FewShotClassifier, FewShotPipeline, adapt, make_fewshot_pipeline
from .learners._encoder import FrozenEncoder
from .learners.metric._baseline import BaselineClassifier
from .learners.metric._matchingnet import MatchingNetClassifier
from .learners.metric._protonet import ProtoNetClassifier
from .learners.metric._relationnet import RelationNetClassifier
from .learners.metric._siamesenet import SiameseNetClassifier
from .learners.metric._zero_shot import ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier
from .persistence._archive import ModelFormatError
from .persistence._files import load_model, save_model
from .utils._attributes import ClassAttributes

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
