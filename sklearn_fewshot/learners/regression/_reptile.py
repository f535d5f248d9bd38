"""Reptile for regression (Nichol, Achiam and Schulman, 2018)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Unpack

from ...nn import FewShotModule
from ...nn.heads import Head
from ...nn.optimization import ReptileModule
from ...utils._sklearn import Interval
from ...utils._typing import Backbone
from .._docs import with_common_parameters
from .._parameters import CommonRegressorParameters
from .._regressor import BaseFewShotRegressor
from ..optimization._base import AdaptsWeights
from ._maml import mlp_of_vectors, small_mlp

DEFAULTS: CommonRegressorParameters = {
    "n_shot": 10,
    "n_query": 10,
    "meta_batch_size": 5,
    "episodes_per_epoch": 1000,
    "optimizer": "sgd",
    "lr": 1.0,
    "lr_schedule": "linear",
}


@with_common_parameters(**DEFAULTS)
class ReptileRegressor(AdaptsWeights, BaseFewShotRegressor):
    r"""Reptile for regression: weights from which a short training on any task ends nearby.

    ``adapt`` trains the network on the examples by minibatches; meta-training moves the weights
    towards where such trainings end. :class:`RidgeNetRegressor` is more accurate in less time on
    what was measured.

    Parameters
    ----------
    n_steps : int, default=5
        Minibatches of a task in meta-training.
    inner_lr : float, default=1e-2
        Learning rate of the training on a task, by Adam without momentum.
    batch_size : int, default=10
        Examples in a minibatch.
    adapt_steps : int, default=20
        Minibatches in ``adapt``.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    RidgeNetRegressor : A closed form on learned features.
    ReptileClassifier : The same for classes, with the equations.

    Notes
    -----
    The last layer starts in every task at the weights that Reptile has moved. Standard deviations
    are those of the errors on held-out tasks, by the number of examples.

    References
    ----------
    A. Nichol, J. Achiam and J. Schulman, "On First-Order Meta-Learning Algorithms", 2018.

    Examples
    --------
    >>> from sklearn_fewshot import ReptileRegressor
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> X, y, tasks = make_sinusoids(n_tasks=300, n_samples=30, random_state=0)
    >>> base = tasks < 299
    >>> learner = ReptileRegressor(max_epochs=1, episodes_per_epoch=50, random_state=0)
    >>> learner = learner.fit(X[base], y[base], tasks=tasks[base])
    >>> X_new, y_new = X[~base], y[~base]
    >>> learner.adapt(X_new[:10], y_new[:10]).predict(X_new[10:]).shape
    (20,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_steps": [Interval(Integral, 1, 1000, closed="both")],
        "inner_lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "adapt_steps": [Interval(Integral, 0, 1000, closed="both")],
    }

    def __init__(
        self,
        *,
        n_steps: int = 5,
        inner_lr: float = 1e-2,
        batch_size: int = 10,
        adapt_steps: int = 20,
        **common: Unpack[CommonRegressorParameters],
    ) -> None:
        self.n_steps = n_steps
        self.inner_lr = inner_lr
        self.batch_size = batch_size
        self.adapt_steps = adapt_steps
        super().__init__(**common)

    def _backbone(self) -> Backbone:
        return mlp_of_vectors(self)

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        return Head, {}  # the last layer is adapted with the others

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        _, options = super()._module()
        options["backbone_options"] = small_mlp(self)
        adaptation = {
            "n_targets": self.n_outputs_,
            "n_steps": int(self.n_steps),
            "adapt_steps": int(self.adapt_steps),
            "inner_lr": float(self.inner_lr),
            "batch_size": int(self.batch_size),
        }
        return ReptileModule, options | {"adaptation": adaptation}
