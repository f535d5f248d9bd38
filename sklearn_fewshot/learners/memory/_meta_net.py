"""Meta Networks (Munkhdalai and Yu, 2017)."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Unpack

from ...nn.heads import MetaNetHead
from ...utils._sklearn import Interval
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters


@with_common_parameters(n_way=5, n_shot=(1, 5), n_query=5, rotate_support=False, lr=1e-3)
class MetaNetClassifier(BaseFewShotLearner):
    r"""Meta Network: fast weights from the gradients of the examples, read by attention.

    The examples' losses on slow weights say what is wrong with these for the classes at hand.
    Networks that were trained for it turn the gradients into fast weights in a single pass; no
    step size, no inner training.

    Parameters
    ----------
    hidden_dim : int, default=64
        Units of the layers that have fast weights.
    meta_dim : int, default=20
        Units of the networks that make fast weights, which all weights share.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    MAMLClassifier : Gradient steps, in place of a network that makes weights of gradients.
    InContextClassifier : Attention over the examples themselves.
    ProtoNetClassifier : What to try first.

    Notes
    -----
    On embeddings :math:`z` there are two layers with slow weights ``Q``, ``W`` and fast ones (the
    paper's layer augmentation): :math:`u(z) = \operatorname{ReLU}(Q z) +
    \operatorname{ReLU}(Q^* z)` and :math:`b(z) = \operatorname{ReLU}(W z) +
    \operatorname{ReLU}(W^* z)`.

    .. math::

        Q^* = d_G\big(\nabla_Q L_1, \ldots, \nabla_Q L_N\big), \qquad
        W^*_i = m_Z\big(\nabla_W L(z_i, y_i)\big), \qquad
        W^*(q) = \sum_i \operatorname{softmax}_i\big(\beta \cos(u(q), u(z_i))\big) W^*_i

    with an LSTM :math:`d_G` over the classes and a small network :math:`m_Z`, both applied to each
    weight by itself, and attention over the examples.
    Gradients enter by logarithm and sign.

    Differences from the paper: the output layer is not one row for each class of a fixed number.
    Logits are the distances from class means in the hidden layer, plus a fast layer of the
    examples, so that any number of classes can come and none is special. The same loss gives
    :math:`Q^*`, for which the paper has a contrastive one where there is one example per class. The
    LSTM reads one gradient per class, in an order that depends on the examples alone. Convolutions
    below have slow weights only. The softmax of cosines has a learned factor, and embeddings are
    centred and scaled by the support set.

    Base classes, and old and new classes together (``include_base``), are compared by the class
    means of the embedding.

    References
    ----------
    T. Munkhdalai and H. Yu, "Meta Networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import MetaNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> short = {"max_epochs": 2, "episodes_per_epoch": 20, "calibrate": False}
    >>> learner = MetaNetClassifier(hidden_dim=32, n_way=3, **short, random_state=0)
    >>> learner = learner.fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.7)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "meta_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, *, hidden_dim: int = 64, meta_dim: int = 20, **common: Unpack[CommonParameters]
    ) -> None:
        self.hidden_dim = hidden_dim
        self.meta_dim = meta_dim
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        return MetaNetHead, {"hidden_dim": int(self.hidden_dim), "meta_dim": int(self.meta_dim)}
