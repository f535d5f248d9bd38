"""Heads: from embedded support and queries to scores."""

from ._anchored import AnchoredHead
from ._attributes import AttributePrototypeHead, AttributeRelationHead
from ._base import Head
from ._gradient import GradientHead
from ._in_context import InContextHead
from ._matching import FullContextHead, MatchingHead
from ._memory import MemoryHead
from ._meta_net import MetaNetHead
from ._metric import MetricHead
from ._prototypical import PrototypicalHead
from ._relation import RelationHead
from ._ridge import RidgeHead
from ._siamese import SiameseHead
from ._unit_length import AnchoredCentroidHead, CentroidHead, UnitLengthHead

__all__ = [
    "AnchoredCentroidHead",
    "AnchoredHead",
    "AttributePrototypeHead",
    "AttributeRelationHead",
    "CentroidHead",
    "FullContextHead",
    "GradientHead",
    "Head",
    "InContextHead",
    "MatchingHead",
    "MemoryHead",
    "MetaNetHead",
    "MetricHead",
    "PrototypicalHead",
    "RelationHead",
    "RidgeHead",
    "SiameseHead",
    "UnitLengthHead",
]
