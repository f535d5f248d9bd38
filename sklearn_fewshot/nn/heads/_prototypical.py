"""Prototypical head (Snell, Swersky and Zemel, 2017)."""

from typing import ClassVar

import torch
from torch import Tensor

from .._support import State, Support, class_means
from ._metric import MetricHead


class PrototypicalHead(MetricHead):
    """Class means, scored by negative scaled distance.

    Parameters
    ----------
    metric : str or callable
        Distance between queries and prototypes.
    scale : float
        Factor of the distance.
    learn_scale : bool
        Whether the (logarithm of the) scale is trained.

    Notes
    -----
    Equations 1 and 2 of the paper::

        c_k      = mean of f(x) over the support examples x of class k
        P(k | q) = softmax over k of  -scale * d(f(q), c_k)

    The paper has ``scale = 1``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = PrototypicalHead()
    >>> prototypes = head.represent(support)
    >>> prototypes.inputs
    tensor([[[0., 1.],
             [4., 0.]]])
    >>> head.score(head.context(prototypes), torch.tensor([[[0.0, 2.0]]])).detach()
    tensor([[[ -1., -20.]]])
    """

    averages: ClassVar[bool] = True

    def represent(self, support: Support) -> Support:
        """Average the examples of each class (eq. 1)."""
        return class_means(support)

    def context(self, representation: Support) -> State:
        """Return the prototypes and how many examples each is the mean of."""
        return {"prototype": representation.inputs, "count": representation.weight}

    def score(self, state: State, query: Tensor) -> Tensor:
        """Score by the negative scaled distance to each prototype (the logits of eq. 2)."""
        absent = (state["count"] == 0).unsqueeze(1)  # (n_episodes, 1, n_classes)
        return self.similarity(query, state["prototype"]).masked_fill(absent, -torch.inf)
