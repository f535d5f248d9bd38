"""Unlabelled examples of a support set."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..utils._validation import label_text
from ..utils._warnings import warn_user


def warn_if_unmarked(mark: Any, unlabelled: np.ndarray, classes: np.ndarray) -> None:
    """Warn if no example has the mark of unlabelled ones: it may have become a class."""
    if mark is None or len(unlabelled):
        return
    warn_user(
        f"unlabelled={mark!r} marks no example: y has {label_text(classes)}. If labels were "
        "encoded on the way, as ensembles do, the mark became a class: adapt before, or leave "
        "unlabelled at None."
    )
