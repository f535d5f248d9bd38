"""For authors of learners: the base class, and the documentation that all learners share."""

from .learners._few_shot import BaseFewShotLearner
from .utils._docs import with_common_parameters

__all__ = ["BaseFewShotLearner", "with_common_parameters"]
