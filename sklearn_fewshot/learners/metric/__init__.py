"""The metric-based family: embed, then compare."""

from ._baseline import BaselineClassifier
from ._matchingnet import MatchingNetClassifier
from ._protonet import ProtoNetClassifier
from ._relationnet import RelationNetClassifier
from ._ridgenet import RidgeNetClassifier
from ._siamesenet import SiameseNetClassifier
from ._zero_shot import ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier

__all__ = [
    "BaselineClassifier",
    "MatchingNetClassifier",
    "ProtoNetClassifier",
    "RelationNetClassifier",
    "RidgeNetClassifier",
    "SiameseNetClassifier",
    "ZeroShotProtoNetClassifier",
    "ZeroShotRelationNetClassifier",
]
