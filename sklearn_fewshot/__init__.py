"""Few-shot learning with scikit-learn's interface.

Meta-train on many old classes, then recognise new ones from a handful of examples each.
"""

from .adapted import (
    FewShotClassifier,
    FewShotPipeline,
    FewShotRegressor,
    adapt,
    make_fewshot_pipeline,
)
from .learners._auto import AutoFewShotClassifier
from .learners._class_names import embed_class_names
from .learners._encoder import FrozenEncoder
from .learners._pictures import PictureReader
from .learners.memory import InContextClassifier, MANNClassifier, MetaNetClassifier
from .learners.metric import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
)
from .learners.optimization import MAMLClassifier, MetaLSTMClassifier, ReptileClassifier
from .learners.regression import (
    MAMLRegressor,
    NeuralProcessRegressor,
    ReptileRegressor,
    RidgeNetRegressor,
)
from .persistence._archive import ModelFormatError
from .persistence._card import model_card
from .persistence._files import load_model, save_model
from .persistence._onnx import export_onnx
from .persistence._pretrained import load_pretrained
from .utils._attributes import ClassAttributes

__version__ = "0.1.0"

__all__ = [
    "AutoFewShotClassifier",
    "BaselineClassifier",
    "ClassAttributes",
    "FewShotClassifier",
    "FewShotPipeline",
    "FewShotRegressor",
    "FrozenEncoder",
    "InContextClassifier",
    "MAMLClassifier",
    "MAMLRegressor",
    "MANNClassifier",
    "MatchingNetClassifier",
    "MetaLSTMClassifier",
    "MetaNetClassifier",
    "ModelFormatError",
    "NeuralProcessRegressor",
    "PictureReader",
    "ProtoNetClassifier",
    "RelationNetClassifier",
    "ReptileClassifier",
    "ReptileRegressor",
    "RidgeNetClassifier",
    "RidgeNetRegressor",
    "SiameseNetClassifier",
    "ZeroShotProtoNetClassifier",
    "ZeroShotRelationNetClassifier",
    "adapt",
    "embed_class_names",
    "export_onnx",
    "load_model",
    "load_pretrained",
    "make_fewshot_pipeline",
    "model_card",
    "save_model",
]
