"""Fits that succeed or leave the estimator unchanged."""

from __future__ import annotations

from typing import Any, TypeVar

Estimator = TypeVar("Estimator")

# What scikit-learn keeps in an estimator in addition to its parameters: `set_fit_request` and
# its like, `set_output`, `set_callbacks`, and the place of a fit within that of a meta-estimator.
SETTINGS = (
    "_metadata_request",
    "_sklearn_output_config",
    "_skl_callbacks",
    "_parent_callback_ctx",
)


def unfitted_copy(estimator: Estimator) -> Estimator:
    """Return an estimator with the same parameter objects and nothing fitted.

    ``fit`` works on such a copy and takes over its attributes at the end: a failed ``fit`` leaves
    the estimator usable, a successful one leaves nothing of the last. So ``fit`` may set any
    attribute, whatever its name.
    """
    fresh: Any = object.__new__(type(estimator))
    given: Any = estimator
    for name, value in given.get_params(deep=False).items():
        setattr(fresh, name, value)
    for name in SETTINGS:
        if name in vars(estimator):
            setattr(fresh, name, vars(estimator)[name])
    return fresh
