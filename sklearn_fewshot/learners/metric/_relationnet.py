"""Relation Networks (Sung et al., 2018)."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import torch

from ...nn import PairSquaredError
from ...nn.backbones import auto_backbone, distances_mean_something
from ...nn.heads import RelationHead
from ...utils._sklearn import StrOptions
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters


@with_common_parameters(n_way=20, n_shot=(1, 5), n_query=5, rotate_support=False, lr=1e-3)
class RelationNetClassifier(BaseFewShotLearner):
    r"""Relation Network: a learned comparison in place of a distance.

    A second network gets a class and a query as one input and returns a score of their relation.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        How the embeddings of a class's examples become one. The paper sums, which makes the scores
        depend on the number of examples; the mean works for any number.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : Compares by a distance: fewer weights, faster.
    FewShotClassifier : What ``adapt`` returns.

    Notes
    -----
    With the embedding network ``f`` and the relation module ``g`` (equations 1 and 2 of the paper),
    the score of class ``k`` is

    .. math::

        r_k(q) = g\Big(\Big[\frac{1}{|S_k|} \sum_{x \in S_k} f(x),\ f(q)\Big]\Big) \in (0, 1)

    and training minimises the mean of :math:`(r_k(q) - [y_q = k])^2` over pairs of query and class.
    For images ``f`` keeps its spatial maps ("conv4_maps") and ``g`` is two convolutional blocks
    and two dense layers; for vectors and series ``g`` is a multi-layer perceptron on the
    concatenated pair.

    The scores of a query need not sum to one: ``predict_proba`` divides their odds ``r / (1 - r)``
    by the sum over the classes, which is the probability of the class if exactly one of them is
    the query's; ``calibrate`` fits its temperature. ``decision_function`` and ``score_samples``
    return the log-odds of ``r``. Differences from the paper: the mean over examples, and batch
    normalisation by running statistics at prediction, so that a query's score does not depend on
    the other queries.

    References
    ----------
    F. Sung, Y. Yang, L. Zhang, T. Xiang, P. H. S. Torr and T. M. Hospedales, "Learning to Compare:
    Relation Network for Few-Shot Learning", CVPR 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import RelationNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = RelationNetClassifier(max_epochs=5, random_state=0).fit(X[base] / 16, y[base])
    >>> X_new, y_new = X[new] / 16, y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.6)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {"reduction": [StrOptions({"mean", "sum"})]}

    def __init__(
        self, *, reduction: Literal["mean", "sum"] = "mean", **common: Unpack[CommonParameters]
    ) -> None:
        self.reduction = reduction
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        return RelationHead, {"reduction": self.reduction}

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return distances_mean_something(backbone)

    def _backbone(self) -> Any:
        if self.backbone == "auto" and auto_backbone(self.input_shape_) == "conv4":
            return "conv4_maps"
        return self.backbone

    def _criterion(self) -> torch.nn.Module:
        return PairSquaredError()
