"""Attention over the support set by a transformer, trained on the user's own classes."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Unpack

import torch

from ...nn.backbones import starts_from_features
from ...nn.heads import InContextHead
from ...training._meta_train import Trained
from ...utils._sklearn import Interval
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters
from ..metric._scale import scale_of


@with_common_parameters(n_shot=(1, 5), n_query=5, rotate_support=False, lr=1e-3)
class InContextClassifier(BaseFewShotLearner):
    r"""Transformer that reads the support set, trained on the base classes.

    A Prototypical Network embeds every sample by itself and compares with class means. Here the
    examples also see each other, each query sees the examples, and the mean of a class may depend
    on the query: what distinguishes the classes at hand is learned.

    Parameters
    ----------
    n_layers : int, default=2
        Layers of the transformer.
    n_heads : int, default=4
        Attention heads of a layer; ``token_dim`` must be a multiple of it.
    token_dim : int, default=64
        Dimension of the tokens.
    {common_parameters}

    Attributes
    ----------
    scale_ : float
        Scale of the distances after training.
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : What it starts as.
    MatchingNetClassifier : With ``fce=True`` the first to embed in the context of the support set.
    MANNClassifier : Reads the support set one example at a time, into a memory.

    Notes
    -----
    Examples and queries, embedded by the network ``f``, are the tokens of a transformer. In each
    layer the examples attend to all examples, with a learned bias :math:`b` of each attention head
    towards those of their own class, and every query by itself attends to the examples:

    .. math::

        a_{ij} = \operatorname{softmax}_j \big(k_j \cdot q_i / \sqrt{d} + b\, [y_i = y_j]\big)

    The output :math:`\Delta` of the last layer is added to the embedding, :math:`f' = f + \Delta`.
    A query is compared with each class as the query sees it,

    .. math::

        p_{qk} = \sum_{i: y_i = k}
        \operatorname{softmax}_i \big(- \beta s\, \lVert f'_q - f'_i \rVert^2 \big) f'_i, \qquad
        P(k \mid q) = \operatorname{softmax}_k \big(- s\, \lVert f'_q - p_{qk} \rVert^2 \big)

    :math:`\Delta` starts at zero and :math:`\beta` at one, so that with one example per class
    training starts from a Prototypical Network. With :math:`\beta = 0` class means decide, with a
    large one the nearest example of each class.

    With few base classes attention is learned by heart: on the four tables of the benchmark, with
    10 to 65 of them, it was at most level with class means for one example per class, about level
    for five, above for twenty.

    The label of an example enters as the class that it shares with others, not as a code: the
    number of classes and of examples is free, and neither order nor names matter. The parts are of
    the literature: attention over examples and labels of Mishra et al., without its sequence; the
    set transformer of Lee et al.; prototypes for each query of Doersch et al., here of whole
    embeddings instead of places in a picture.

    Base classes, and old and new classes together (``include_base``), are compared by the class
    means of the embedding ``f``. ``transform`` returns this embedding.

    A support set has at most 5,000 examples: what attention among them takes grows with their
    square, to about 1 GB there.

    References
    ----------
    N. Mishra, M. Rohaninejad, X. Chen and P. Abbeel, "A Simple Neural Attentive Meta-Learner", ICLR
    2018.

    J. Lee, Y. Lee, J. Kim, A. Kosiorek, S. Choi and Y. W. Teh, "Set Transformer: A Framework for
    Attention-based Permutation-Invariant Neural Networks", ICML 2019.

    C. Doersch, A. Gupta and A. Zisserman, "CrossTransformers: spatially-aware few-shot transfer",
    NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import InContextClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = InContextClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "token_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        n_layers: int = 2,
        n_heads: int = 4,
        token_dim: int = 64,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.token_dim = token_dim
        super().__init__(**common)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.token_dim % self.n_heads:
            raise ValueError(
                f"The 'token_dim' parameter of {type(self).__name__} must be a multiple of n_heads="
                f"{self.n_heads}. Got {self.token_dim}."
            )

    def _head(self) -> tuple[type, dict[str, Any]]:
        options = {"n_layers": self.n_layers, "n_heads": self.n_heads, "token_dim": self.token_dim}
        return InContextHead, {name: int(value) for name, value in options.items()}

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return starts_from_features(backbone)

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        return super()._fitted_attributes(trained) | scale_of(trained)
