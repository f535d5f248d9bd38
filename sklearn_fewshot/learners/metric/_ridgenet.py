"""Ridge regression of the labels, trained through its closed form (Bertinetto et al., 2019)."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal, Unpack

import torch

from ...nn._embedding_module import head_of
from ...nn.backbones import starts_from_features
from ...nn.heads import RidgeHead
from ...training._meta_train import Trained
from ...utils._sklearn import Interval, StrOptions
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters
from ._scale import scale_of


@with_common_parameters
class RidgeNetClassifier(BaseFewShotLearner):
    r"""Ridge regression of the labels on the embedding, trained through its closed form (R2D2).

    Class means weigh all features alike; a regression on the examples finds which ones tell these
    classes apart. It is solved exactly, in milliseconds, and the network is trained for it.

    Parameters
    ----------
    penalty : float, default=1.0
        Penalty of the coefficients at the start of training, in units of one example.
    learn_penalty : bool, default=True
        Whether training adjusts the penalty.
    scale : float or "auto", default="auto"
        Factor of the responses in the softmax at the start; training adjusts it. "auto" starts at
        10 for networks with random weights, and where the log-loss of training episodes is least
        for those that start from the input itself ("residual_mlp", "spectral", "identity").
    {common_parameters}

    Attributes
    ----------
    penalty_ : float
        Penalty after training.
    scale_ : float
        Scale after training.
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : Compares with class means, or with ``readout="anchored"`` by a logistic
        regression held at them.
    FewShotClassifier : What ``adapt`` returns.
    sklearn.linear_model.RidgeClassifier : The same regression without meta-training.

    Notes
    -----
    With the embedding network ``f``, the mean ``m`` of the support set's class means, the root
    mean square ``r`` of the distances from it, :math:`z = (f - m) / r`, weights :math:`w_i` and
    one-hot labels :math:`y_i` (section 3.2 of the paper):

    .. math::

        W = \Big(\sum_i w_i z_i z_i^\top + \lambda I\Big)^{-1} \sum_i w_i z_i y_i^\top, \qquad
        P(\cdot \mid q) = \mathrm{softmax}(\alpha\, W^\top z(q))

    The loss is the mean cross-entropy of the queries; its gradient passes through the solution,
    for which the smaller of two equivalent systems is solved: of the size of the embedding or of
    the support set.

    Differences from the paper: embeddings are centred and divided by ``r``, so that one penalty
    suits networks of any output. Weights are 1 with equal shots, else all classes have the same
    total weight, or those with more examples would get higher responses. After both, the
    coefficients of the paper's column of ones are the same for all classes. They cancel in the
    softmax, as the learned offset :math:`\beta` of the paper does, and as it makes no difference
    whether one-hot labels are centred. Sums over the support set are not divided by its size: with
    more examples the penalty matters less. Penalty and scale are learned as logarithms.

    References
    ----------
    L. Bertinetto, J. F. Henriques, P. H. S. Torr and A. Vedaldi, "Meta-learning with
    differentiable closed-form solvers", ICLR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import RidgeNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = RidgeNetClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "penalty": [Interval(Real, 0, None, closed="neither")],
        "learn_penalty": ["boolean"],
        "scale": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        penalty: float = 1.0,
        learn_penalty: bool = True,
        scale: float | Literal["auto"] = "auto",
        **common: Unpack[CommonParameters],
    ) -> None:
        self.penalty = penalty
        self.learn_penalty = learn_penalty
        self.scale = scale
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        scale = 10.0 if self.scale == "auto" else float(self.scale)
        options = {"penalty": float(self.penalty), "learn_penalty": self.learn_penalty}
        return RidgeHead, options | {"scale": scale}

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return starts_from_features(backbone) and self.scale == "auto"

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        penalty = head_of(trained.network.module, RidgeHead).penalty
        fitted = super()._fitted_attributes(trained) | scale_of(trained)
        return fitted | {"penalty_": float(penalty)}
