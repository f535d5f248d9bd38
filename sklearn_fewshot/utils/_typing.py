"""Names of the types that recur in signatures."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

ArrayLike = npt.ArrayLike

#: scikit-learn's classes and what follows them: they have no types.
Estimator = Any

#: What a class is called: of one type for all classes, and sortable.
Label = Hashable

PathLike = str | os.PathLike[str]

RandomState = int | np.random.RandomState | None

#: A number, or the bounds between which one is drawn for each episode.
Range = int | tuple[int, int]

#: Classes in an episode.
Way = Range | Literal["all"]

#: How unlabelled examples refine class means.
Refinement = Literal["alpha_tim", "bd_cspn", "soft_kmeans"]

#: A scorer by name, or called with estimator, X and y.
Scoring = str | Callable[..., float]

#: A distance by name, or (..., n_a, d) and (..., n_b, d) to (..., n_a, n_b).
Metric = (
    Literal["sqeuclidean", "euclidean", "cosine", "cityblock"] | Callable[[Tensor, Tensor], Tensor]
)

#: A network by name, a module, or a class or function that makes one.
Backbone = (
    Literal[
        "auto",
        "residual_mlp",
        "spectral",
        "conv4",
        "conv4_32",
        "mlp",
        "resnet12",
        "conv4_strided",
        "conv4_maps",
        "koch",
        "identity",
    ]
    | nn.Module
    | Callable[..., nn.Module]
)
