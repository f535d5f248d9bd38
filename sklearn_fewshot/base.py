"""For authors of learners: the base class, and the documentation that all learners share."""

from .learners._docs import with_common_parameters
from .learners._few_shot import BaseFewShotLearner
from .learners._parameters import CommonParameters, CommonRegressorParameters
from .learners._regressor import BaseFewShotRegressor

__all__ = [
    "BaseFewShotLearner",
    "BaseFewShotRegressor",
    "CommonParameters",
    "CommonRegressorParameters",
    "with_common_parameters",
]
