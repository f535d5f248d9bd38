"""Prototypical Networks (Snell, Swersky and Zemel, 2017)."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import torch

from ...nn.backbones import starts_from_features
from ...nn.heads import AnchoredHead, PrototypicalHead
from ...training._meta_train import Trained
from ...utils._sklearn import StrOptions
from ...utils._typing import Metric
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import METRIC_CONSTRAINTS, CommonParameters
from ._scale import scale_of


@with_common_parameters
class ProtoNetClassifier(BaseFewShotLearner):
    r"""Prototypical Network: the class whose mean embedding is nearest.

    Meta-train once on many base classes; then a few examples make a classifier of new ones, in
    milliseconds and without training.

    Parameters
    ----------
    metric : str or callable, default="sqeuclidean"
        Distance between queries and prototypes: "sqeuclidean", "euclidean", "cosine" or
        "cityblock", as in scipy. A callable takes torch tensors of shape (..., n_queries, d) and
        (..., n_classes, d), is differentiable, and returns (..., n_queries, n_classes).
    scale : float or "auto", default="auto"
        Factor of the distance in the softmax. "auto" starts at 1, as in the paper, for networks
        with random weights, and where the log-loss of training episodes is least for those that
        start from the input itself ("residual_mlp", "spectral", "identity").
    learn_scale : bool, default=True
        Whether training adjusts the scale. The paper has ``scale=1, learn_scale=False``.
    readout : {"prototype", "anchored"}, default="prototype"
        How queries are compared with the support set: by the distances to the class means, or by
        logistic regression whose penalty holds it at them
        (:class:`~sklearn_fewshot.nn.heads.AnchoredHead`). "anchored" is as good with one example
        per class and better from about five on; training takes two to three times as long.
    {common_parameters}

    Attributes
    ----------
    scale_ : float
        Scale after training.
    {common_attributes}

    See Also
    --------
    FewShotClassifier : What ``adapt`` returns.
    sklearn_fewshot.model_selection.episodic_score : Unbiased evaluation on new classes.
    sklearn.neighbors.NearestCentroid : The same classifier without meta-training.

    Notes
    -----
    With the embedding network ``f`` and the support set ``S_k`` of class ``k`` (equations 1 and 2
    of the paper):

    .. math::

        c_k = \frac{1}{|S_k|} \sum_{x \in S_k} f(x), \qquad
        P(k \mid q) = \frac{\exp(-s\, d(f(q), c_k))}{\sum_{k'} \exp(-s\, d(f(q), c_{k'}))}

    with squared Euclidean distance ``d``. Training minimises the mean cross-entropy of the queries.
    Differences from the paper: each sample of an episode is support and query in turn
    (``rotate_support``), the scale ``s`` is learned (1 in the paper), the learning rate falls along
    a cosine, and the weights kept are those that score best on held-out classes.

    References
    ----------
    J. Snell, K. Swersky and R. Zemel, "Prototypical Networks for Few-shot Learning", NIPS 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = ProtoNetClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **METRIC_CONSTRAINTS,
        "readout": [StrOptions({"prototype", "anchored"})],
    }

    def __init__(
        self,
        *,
        metric: Metric = "sqeuclidean",
        scale: float | Literal["auto"] = "auto",
        learn_scale: bool = True,
        readout: Literal["prototype", "anchored"] = "prototype",
        **common: Unpack[CommonParameters],
    ) -> None:
        self.metric = metric
        self.scale = scale
        self.learn_scale = learn_scale
        self.readout = readout
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        scale = 1.0 if self.scale == "auto" else float(self.scale)
        options = {"metric": self.metric, "scale": scale, "learn_scale": self.learn_scale}
        return AnchoredHead if self.readout == "anchored" else PrototypicalHead, options

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return starts_from_features(backbone) and self.scale == "auto"

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        return super()._fitted_attributes(trained) | scale_of(trained)
