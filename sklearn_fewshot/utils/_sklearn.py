"""What the package uses of scikit-learn beyond its public interface, in one place.

A version of scikit-learn that moves one of these names is met here. Each has been where it is
since the version at its comment. The callbacks of scikit-learn, public but experimental since 1.9,
are met in the same way in :mod:`sklearn_fewshot.training._sklearn_callbacks`.
"""

# 0.22. Rows of all that a pipeline may take: arrays, sparse matrices, data frames, lists. Nothing
# public indexes them all.
from sklearn.utils import _safe_indexing

# 1.3. The requests for metadata that an estimator holds, which model files must know to store them.
from sklearn.utils._metadata_requests import MetadataRequest, MethodMetadataRequest

# 1.5. An ImportError that names the caller and what to install, worded as scikit-learn's own.
from sklearn.utils._optional_dependencies import check_matplotlib_support

# 1.2. Types and ranges of parameters as data: `_parameter_constraints`, which scikit-learn's checks
# of estimators read, are made of these, and so are the sentences of its errors.
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)

# 1.2. The output of `set_output`. scikit-learn wraps every `transform` with it, and takes the names
# of the columns from a fitted estimator; one that needs no `fit` calls it itself.
from sklearn.utils._set_output import _wrap_data_with_container

# 0.16. The number of samples in all that a pipeline may take; a scalar is an error of scikit-learn.
from sklearn.utils.validation import _num_samples

__all__ = [
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "MetadataRequest",
    "MethodMetadataRequest",
    "StrOptions",
    "_num_samples",
    "_safe_indexing",
    "_wrap_data_with_container",
    "check_matplotlib_support",
    "validate_parameter_constraints",
    "validate_params",
]
