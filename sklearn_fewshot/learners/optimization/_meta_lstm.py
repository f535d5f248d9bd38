"""The LSTM meta-learner (Ravi and Larochelle, 2017)."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Unpack

import torch

from ...nn import FewShotModule
from ...nn.backbones import auto_backbone, starts_from_features
from ...nn.heads import Head, PrototypicalHead
from ...nn.optimization import MetaLSTMModule
from ...training._config import TrainingConfig
from ...training._data import TrainingData
from ...utils._sklearn import Interval
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters
from ._base import AdaptsWeights, strided

CLIP_NORM = 0.25  # of the gradient, as in the authors' code
SMALL = {"conv4_strided": {"n_filters": 32}, "residual_mlp": {"hidden_dim": 32}}


@with_common_parameters(
    n_way=5, n_shot=(1, 5), n_query=5, rotate_support=False, lr=1e-3, episodes_per_epoch=400
)
class MetaLSTMClassifier(AdaptsWeights, BaseFewShotLearner):
    r"""LSTM meta-learner: how to take the steps is learned, and where to start.

    ``adapt`` trains the network on the examples of the new classes, where a recurrent network takes
    the place of an optimizer: it sees loss and gradient, and says how much of each weight to keep
    and how far to go.

    Parameters
    ----------
    n_steps : int, default=12
        Steps, each on all examples.
    hidden_dim : int, default=20
        Units of the recurrent network, which all weights share.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    MAMLClassifier : Plain gradient steps from learned weights.
    ProtoNetClassifier : What to try first: it compares with class means, without training.

    Notes
    -----
    For each weight :math:`\theta` of the network and its gradient :math:`\nabla` (equations 2 to 5
    of the paper, with its shared weights :math:`W, b` and the hidden state :math:`h` of an LSTM):

    .. math::

        \theta_t = f_t\, \theta_{t-1} - i_t\, \nabla_t

    .. math::

        f_t = \sigma(W_F [h_t, \theta_{t-1}, \hat f_{t-1}] + b_F), \qquad
        i_t = \sigma(W_I [h_t, \theta_{t-1}, \hat\imath_{t-1}] + b_I)

    Losses and gradients count as constants, as in the paper. The gates begin as slow gradient
    descent. Each step of training stores about 80 numbers for each weight: "auto" takes smaller
    networks than elsewhere, with 32 filters or hidden units.

    Differences from the paper: rows of the last layer start equal, at a learned row, so that any
    number of classes can come and none is special, and their gradients are multiplied by the number
    of classes. Every step sees all examples, where the paper has minibatches with five examples per
    class. Batch normalisation goes by the moments of the support set
    (:class:`~sklearn_fewshot.nn.optimization.TaskNorm`).

    Base classes, and old and new classes together (``include_base``), are compared by the network
    before the steps, with class means. So are the embeddings of ``transform``.

    References
    ----------
    S. Ravi and H. Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import MetaLSTMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> short = {"max_epochs": 2, "episodes_per_epoch": 10, "validation_fraction": 0.0}
    >>> learner = MetaLSTMClassifier(**short, calibrate=False, random_state=0)
    >>> learner = learner.fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.6)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_steps": [Interval(Integral, 1, 1000, closed="both")],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, *, n_steps: int = 12, hidden_dim: int = 20, **common: Unpack[CommonParameters]
    ) -> None:
        self.n_steps = n_steps
        self.hidden_dim = hidden_dim
        super().__init__(**common)

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        return PrototypicalHead, {}

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        _, options = super()._module()
        adaptation = {"n_steps": int(self.n_steps), "hidden_dim": int(self.hidden_dim)}
        options |= {"adaptation": adaptation}
        if self.backbone == "auto":
            name = strided(self)
            name = auto_backbone(self.input_shape_) if name == "auto" else name
            options["backbone_options"] = SMALL.get(name, {})
        return MetaLSTMModule, options

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        return config.replace(clip_norm=CLIP_NORM)

    def _backbone(self) -> Any:
        return strided(self)

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return starts_from_features(backbone)
