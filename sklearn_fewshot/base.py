"""For authors of learners: the base class, and the documentation that all learners share."""

from .learners._docs import with_common_parameters
from .learners._few_shot import BaseFewShotLearner
from .learners._parameters import CommonParameters

__all__ = ["BaseFewShotLearner", "CommonParameters", "with_common_parameters"]
