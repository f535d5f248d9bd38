"""Zero-shot learners: Prototypical and Relation Networks on attributes of classes."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import torch

from ...nn import PairSquaredError
from ...nn.heads import AttributePrototypeHead, AttributeRelationHead
from ...training._meta_train import Trained
from ...utils._typing import Metric
from .._docs import with_common_parameters
from .._parameters import METRIC_CONSTRAINTS, CommonParameters
from ._scale import scale_of
from ._zero_shot_base import BaseZeroShotLearner

DEFAULTS: CommonParameters = {
    "n_way": 8,
    "n_shot": 1,
    "n_query": 10,
    "rotate_support": False,
    "lr": 1e-4,
    "weight_decay": 1e-5,
}


@with_common_parameters(**DEFAULTS)
class ZeroShotProtoNetClassifier(BaseZeroShotLearner):
    r"""Prototypical Network whose prototypes come from attributes of the classes.

    For new classes without examples but with attributes: numeric properties, the embedding of a
    name or a text, a prototype image.

    Parameters
    ----------
    metric : str or callable, default="sqeuclidean"
        Distance between queries and prototypes: "sqeuclidean", "euclidean", "cosine" or
        "cityblock", as in scipy. A callable takes torch tensors of shape (..., n_queries, d) and
        (..., n_classes, d), is differentiable, and returns (..., n_queries, n_classes).
    scale : float or "auto", default="auto"
        Factor of the distance in the softmax, 1 in the paper. "auto" starts at sixteen over the
        median distance within training episodes.
    learn_scale : bool, default=True
        Whether training adjusts the scale.
    seen_bias : float or "auto", default="auto"
        Penalty subtracted from the scores of base classes when they compete with new ones
        (calibrated stacking), in units of the distance; without it base classes nearly always win.
        "auto" chooses it at the end of ``fit`` for the best harmonic mean of two accuracies: of
        held-out classes used as new ones, and of the other classes on a fifth of their samples,
        which are reserved from training. With no held-out classes it is 0.
    {common_parameters}

    Attributes
    ----------
    scale_ : float
        Scale after training.
    seen_bias_ : float
        The penalty that is used.
    class_attributes_ : ClassAttributes or None
        The attributes passed to ``fit``.
    attribute_mean_ : ndarray of shape (n_attributes,)
        Mean over the base classes, which is subtracted from all attributes.
    {common_attributes}

    See Also
    --------
    ZeroShotRelationNetClassifier : Learns the comparison, too.
    ProtoNetClassifier : For new classes with examples.
    ClassAttributes : Attributes as one object, which scikit-learn's tools do not index.
    sklearn_fewshot.model_selection.generalized_accuracy : Scores base and new classes together.

    Notes
    -----
    Section 2.6 of the paper: with the attributes :math:`v_k` of class ``k`` and the embedding
    network ``f``,

    .. math::

        c_k = \frac{V v_k}{\lVert V v_k \rVert}, \qquad
        P(k \mid q) \propto \exp\big(-s\, \lVert W f(q) + b - c_k \rVert^2\big)

    with learned linear maps ``V`` and ``W``; queries are not normalised. Learning rate and weight
    decay are the paper's. Training starts from a ridge regression of the attributes on the
    embedding, whose penalty is chosen by the accuracy on classes left out of it: with tens of
    classes a random initialisation ends far below it. Attributes are centred on the mean of the
    base classes.

    Without ``class_attributes`` in ``fit`` classes get one-hot vectors: an ordinary classifier.

    References
    ----------
    J. Snell, K. Swersky and R. Zemel, "Prototypical Networks for Few-shot Learning", NIPS 2017.

    Examples
    --------
    Digits with the segments of a display as attributes: top, the two upper sides, middle, the two
    lower sides, bottom. ``fit`` gets no image of a 3 or a 6.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ZeroShotProtoNetClassifier
    >>> segments = ["1110111", "0010010", "1011101", "1011011", "0111010",
    ...             "1101011", "1101111", "1010010", "1111111", "1111011"]
    >>> attributes = {digit: [int(lit) for lit in segments[digit]] for digit in range(10)}
    >>> X, y = load_digits(return_X_y=True)
    >>> new = (y == 3) | (y == 6)
    >>> learner = ZeroShotProtoNetClassifier(max_epochs=5, random_state=0)
    >>> learner = learner.fit(X[~new] / 16, y[~new], class_attributes=attributes)
    >>> classifier = learner.adapt(class_attributes={3: attributes[3], 6: attributes[6]})
    >>> bool(classifier.score(X[new] / 16, y[new]) > 0.8)
    True
    """

    _parameter_constraints = METRIC_CONSTRAINTS

    def __init__(
        self,
        *,
        metric: Metric = "sqeuclidean",
        scale: float | Literal["auto"] = "auto",
        learn_scale: bool = True,
        seen_bias: float | Literal["auto"] = "auto",
        **common: Unpack[CommonParameters],
    ) -> None:
        self.metric = metric
        self.scale = scale
        self.learn_scale = learn_scale
        self.seen_bias = seen_bias
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        return AttributePrototypeHead, {
            "n_attributes": len(self.attribute_mean_),
            "metric": self.metric,
            "scale": 1.0 if self.scale == "auto" else float(self.scale),
            "learn_scale": self.learn_scale,
        }

    def _measures_start(self, backbone: Any = None) -> bool:
        return self.scale == "auto"

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        return super()._fitted_attributes(trained) | scale_of(trained)


@with_common_parameters(**DEFAULTS)
class ZeroShotRelationNetClassifier(BaseZeroShotLearner):
    r"""Relation Network that compares queries with attributes of the classes.

    For new classes without examples but with attributes (numeric properties).

    Parameters
    ----------
    seen_bias : float or "auto", default="auto"
        Penalty of the scores of base classes when they compete with new ones (calibrated
        stacking): they are divided by ``exp(seen_bias)``; without it base classes nearly always
        win. "auto" chooses it at the end of ``fit`` for the best harmonic mean of two accuracies:
        of held-out classes used as new ones, and of the other classes on a fifth of their samples,
        which are reserved from training. With no held-out classes it is 0.
    {common_parameters}

    Attributes
    ----------
    seen_bias_ : float
        The penalty that is used.
    class_attributes_ : ClassAttributes or None
        The attributes passed to ``fit``.
    attribute_mean_ : ndarray of shape (n_attributes,)
        Mean over the base classes, which is subtracted from all attributes.
    {common_attributes}

    See Also
    --------
    ZeroShotProtoNetClassifier : Compares by a distance: fewer weights, faster.
    RelationNetClassifier : For new classes with examples.
    ClassAttributes : Attributes as one object, which scikit-learn's tools do not index.
    sklearn_fewshot.model_selection.generalized_accuracy : Scores base and new classes together.

    Notes
    -----
    Section 3.4 of the paper: with the attributes :math:`v_k` of class ``k``, the embedding network
    ``f``, a two-layer network ``h`` and the relation module ``g``,

    .. math::

        r_k(q) = g\big([h(v_k),\ W f(q) + b]\big) \in (0, 1)

    trained, as with examples, by squared errors on pairs of query and class. Training starts from
    a ridge regression of the attributes on the embedding, and from a relation module that is a
    distance; ``h`` starts as the identity. ``predict_proba`` divides the scores of a query, to a
    power that is fitted on held-out classes, by their sum.

    Without ``class_attributes`` in ``fit`` classes get one-hot vectors: an ordinary classifier.

    References
    ----------
    F. Sung, Y. Yang, L. Zhang, T. Xiang, P. H. S. Torr and T. M. Hospedales, "Learning to Compare:
    Relation Network for Few-Shot Learning", CVPR 2018.

    Examples
    --------
    Digits with the segments of a display as attributes: top, the two upper sides, middle, the two
    lower sides, bottom. ``fit`` gets no image of a 3 or a 6.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ZeroShotRelationNetClassifier
    >>> segments = ["1110111", "0010010", "1011101", "1011011", "0111010",
    ...             "1101011", "1101111", "1010010", "1111111", "1111011"]
    >>> attributes = {digit: [int(lit) for lit in segments[digit]] for digit in range(10)}
    >>> X, y = load_digits(return_X_y=True)
    >>> new = (y == 3) | (y == 6)
    >>> learner = ZeroShotRelationNetClassifier(max_epochs=5, random_state=0)
    >>> learner = learner.fit(X[~new] / 16, y[~new], class_attributes=attributes)
    >>> classifier = learner.adapt(class_attributes={3: attributes[3], 6: attributes[6]})
    >>> bool(classifier.score(X[new] / 16, y[new]) > 0.8)
    True
    """

    def __init__(
        self,
        *,
        seen_bias: float | Literal["auto"] = "auto",
        **common: Unpack[CommonParameters],
    ) -> None:
        self.seen_bias = seen_bias
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        return AttributeRelationHead, {"n_attributes": len(self.attribute_mean_)}

    def _criterion(self) -> torch.nn.Module:
        return PairSquaredError(link="log")
