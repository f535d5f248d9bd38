"""Matching Networks (Vinyals et al., 2016)."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, Unpack

import torch

from ...nn.backbones import starts_from_features
from ...nn.heads import FullContextHead, MatchingHead
from ...training._meta_train import Trained
from ...utils._sklearn import Interval
from ...utils._typing import Metric
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import METRIC_CONSTRAINTS, CommonParameters
from ._scale import scale_of


@with_common_parameters
class MatchingNetClassifier(BaseFewShotLearner):
    r"""Matching Network: attention over the examples, each voting for its class.

    A nearest-neighbour classifier that is trained end to end. Unlike class means it follows
    classes of several modes, and every example contributes to the prediction.

    Parameters
    ----------
    metric : str or callable, default="cosine"
        Distance between queries and examples: "cosine", "sqeuclidean", "euclidean" or "cityblock",
        as in scipy. A callable takes torch tensors of shape (..., n_queries, d) and
        (..., n_support, d), is differentiable, and returns (..., n_queries, n_support).
    scale : float or "auto", default="auto"
        Factor of the similarity in the attention. "auto" starts at 10 for the cosine; for other
        metrics at 1, or at one over the median distance within training episodes for networks
        that start from the input itself ("residual_mlp", "spectral", "identity").
    learn_scale : bool, default=True
        Whether training adjusts the scale. The paper has ``scale=1, learn_scale=False``.
    fce : bool, default=False
        Full context embeddings: examples and queries are embedded again, as functions of the whole
        support set, by recurrent networks.
    n_steps : int, default=5
        Steps in which a query reads the support set, with ``fce``.
    class_balanced : bool, default=True
        Whether the attention of a class is divided by the number of its examples, so that classes
        with more of them are not preferred. With equally many it makes no difference. The paper
        does not divide.
    {common_parameters}

    Attributes
    ----------
    scale_ : float
        Scale after training.
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : Compares with class means; usually as accurate, and smaller.
    FewShotClassifier : What ``adapt`` returns.
    sklearn.neighbors.KNeighborsClassifier : Neighbours without meta-training.

    Notes
    -----
    With the embedding network ``f`` and the examples :math:`(x_i, y_i)` of the support set
    (equation 1 of the paper, with a scale ``s``):

    .. math::

        a(q, x_i) = \frac{\exp(s \cos(f(q), f(x_i)))}{\sum_j \exp(s \cos(f(q), f(x_j)))}, \qquad
        P(k \mid q) = \sum_{i: y_i = k} a(q, x_i)

    Training minimises the mean of :math:`-\log P` of the right class; it is computed by
    logarithms of sums of exponentials and is exact. Differences from the paper: the scale is
    learned (with ``s = 1`` the attention cannot reach a high confidence: at best 0.65 for the
    class of the query among five), attention is balanced between classes, and the weights kept are
    those that score best on held-out classes.

    With ``fce=True``, :math:`f(x_i)` is replaced by :math:`g(x_i, S)`, the sum of the states of a
    bidirectional LSTM over the support set and the embedding itself, and :math:`f(q)` by
    :math:`f(q, S)`, the state of an LSTM after ``n_steps`` steps of attention over the support
    set (appendix A of the paper). An LSTM depends on an order that a set does not have: examples
    are put into a canonical one, so that predictions are a function of the set given. Giving an
    example twice does change them.

    References
    ----------
    O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu and D. Wierstra, "Matching Networks for
    One Shot Learning", NIPS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import MatchingNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = MatchingNetClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_constraints = METRIC_CONSTRAINTS | {
        "fce": ["boolean"],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "class_balanced": ["boolean"],
    }

    def __init__(
        self,
        *,
        metric: Metric = "cosine",
        scale: float | Literal["auto"] = "auto",
        learn_scale: bool = True,
        fce: bool = False,
        n_steps: int = 5,
        class_balanced: bool = True,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.metric = metric
        self.scale = scale
        self.learn_scale = learn_scale
        self.fce = fce
        self.n_steps = n_steps
        self.class_balanced = class_balanced
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        scale = self.scale
        if scale == "auto":
            scale = 10.0 if self.metric == "cosine" else 1.0
        options = {
            "metric": self.metric,
            "scale": float(scale),
            "learn_scale": self.learn_scale,
            "class_balanced": self.class_balanced,
        }
        if self.fce:
            return FullContextHead, options | {"n_steps": self.n_steps}
        return MatchingHead, options

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return (
            starts_from_features(backbone)
            and self.scale == "auto"
            and self.metric != "cosine"
            and not self.fce
        )

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        return super()._fitted_attributes(trained) | scale_of(trained)
