"""Reptile (Nichol, Achiam and Schulman, 2018)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Unpack

import torch

from ...nn import FewShotModule
from ...nn.backbones import starts_from_features
from ...nn.heads import Head, PrototypicalHead
from ...nn.optimization import ReptileModule
from ...utils._sklearn import Interval
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters
from ._base import AdaptsWeights, strided


@with_common_parameters(
    n_way=5,
    n_shot=10,
    n_query=5,
    rotate_support=False,
    meta_batch_size=5,
    episodes_per_epoch=400,
    optimizer="sgd",
    lr=1.0,
    lr_schedule="linear",
)
class ReptileClassifier(AdaptsWeights, BaseFewShotLearner):
    r"""Reptile: weights from which a short training on any task ends nearby.

    ``adapt`` trains the network on the examples of the new classes, as usual, by minibatches.
    Meta-training repeats that on base classes, and each time moves the weights a little towards
    where the training ended: first derivatives are all that it needs.

    Parameters
    ----------
    n_steps : int, default=5
        Minibatches of a task in meta-training.
    inner_lr : float, default=5e-3
        Learning rate of the training on a task, by Adam without momentum.
    batch_size : int, default=10
        Examples in a minibatch.
    adapt_steps : int, default=50
        Minibatches in ``adapt``.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    MAMLClassifier : Trains through the steps themselves.
    ProtoNetClassifier : What to try first: it compares with class means, without training.

    Notes
    -----
    After :math:`k` steps on each of :math:`T` tasks the weights are :math:`\tilde\theta_\tau`, and

    .. math::

        \theta \leftarrow \theta + \varepsilon \frac{1}{T} \sum_\tau (\tilde\theta_\tau - \theta)

    with the learning rate ``lr`` as :math:`\varepsilon`, which falls to zero. All examples of an
    episode are trained on, so ``n_shot`` is larger than usual.

    Differences from the paper: the last layer starts at zero for every class, so that their number
    may vary and none is special. Adam's second moments start anew in each task; the authors' code
    carries them over. Minibatches go round the classes in an order of their own. Batch
    normalisation goes by the moments of the support set
    (:class:`~sklearn_fewshot.nn.optimization.TaskNorm`): no query is seen by another. The paper
    normalises by all queries, or by one together with the support set.

    Base classes, and old and new classes together (``include_base``), are compared by the network
    before the steps, with class means. So are the embeddings of ``transform``.

    References
    ----------
    A. Nichol, J. Achiam and J. Schulman, "On First-Order Meta-Learning Algorithms", 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ReptileClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> short = {"max_epochs": 2, "episodes_per_epoch": 20, "validation_fraction": 0.0}
    >>> learner = ReptileClassifier(**short, calibrate=False, random_state=0)
    >>> learner = learner.fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.6)
    True
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
        inner_lr: float = 5e-3,
        batch_size: int = 10,
        adapt_steps: int = 50,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.n_steps = n_steps
        self.inner_lr = inner_lr
        self.batch_size = batch_size
        self.adapt_steps = adapt_steps
        super().__init__(**common)

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        return PrototypicalHead, {}

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        _, options = super()._module()
        adaptation = {
            "n_targets": None,
            "n_steps": int(self.n_steps),
            "adapt_steps": int(self.adapt_steps),
            "inner_lr": float(self.inner_lr),
            "batch_size": int(self.batch_size),
        }
        return ReptileModule, options | {"adaptation": adaptation}

    def _backbone(self) -> Any:
        return strided(self)

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return starts_from_features(backbone)
