"""Heads of the baseline, on embeddings of unit length: centroids and logistic regression."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .._distances import Distance
from .._logistic import fit_logistic
from .._support import State, Support
from ._base import Head
from ._prototypical import PrototypicalHead


class CentroidHead(PrototypicalHead):
    """Class means of embeddings that are scaled to unit length.

    Parameters
    ----------
    metric : str or callable
        Distance between queries and centroids.
    scale : float
        Factor of the distance in the softmax.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import CentroidHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = CentroidHead()
    >>> head.represent(support).inputs
    tensor([[[0.0000, 0.5000],
             [1.0000, 0.0000]]])
    """

    breaks = {"weights": "an item that represents several examples is treated as their mean"}

    def __init__(self, metric: str | Distance = "cosine", scale: float = 10.0) -> None:
        super().__init__(metric, scale)

    def represent(self, support: Support) -> Support:
        """Average the normalised examples of each class."""
        flat = support.inputs.flatten(2)
        # Items of a weight above 1 are means of normalised examples. Those of weight 1 may have
        # unit length already: normalising again changes nothing.
        unit = torch.where(support.weight.unsqueeze(-1) > 1, flat, normalize(flat, dim=-1))
        return super().represent(support._replace(inputs=unit.view_as(support.inputs)))

    def score(self, state: State, query: Tensor) -> Tensor:
        """Score by the negative scaled distance of the normalised query to each centroid."""
        return super().score(state, normalize(query.flatten(2), dim=-1))


class LogisticHead(Head):
    """Multinomial logistic regression of the support, on embeddings of unit length.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty, as in :class:`sklearn.linear_model.LogisticRegression`.

    References
    ----------
    Tian et al., "Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?",
    ECCV 2020.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import LogisticHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = LogisticHead(C=10.0)
    >>> state = head.context(support)
    >>> state["coefficients"].shape, state["bias"].shape
    (torch.Size([1, 2, 2]), torch.Size([1, 2]))
    >>> head.score(state, torch.tensor([[[0.0, 1.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    breaks = {"duplicates": "the relative weight of the penalty decreases with more examples"}

    def __init__(self, C: float = 1.0) -> None:
        super().__init__()
        self.C = C

    def context(self, representation: Support) -> State:
        """Fit the regression of each episode: coefficients and a bias for each class.

        The fit is not differentiated.
        """
        inputs, code, weight, n_classes = representation
        count = weight.new_zeros(len(code), n_classes).scatter_add_(1, code, weight)
        unit = normalize(inputs.detach().flatten(2).double().cpu(), dim=-1)
        fitted = fit_logistic(unit, code.cpu(), weight.double().cpu(), n_classes, self.C)
        fitted = fitted.to(inputs)  # (n_episodes, n_classes, embedding_dim + 1)
        return {"coefficients": fitted[..., :-1], "bias": fitted[..., -1], "count": count}

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return the linear predictor of each class."""
        logits = normalize(query.flatten(2), dim=-1) @ state["coefficients"].mT
        logits = logits + state["bias"].unsqueeze(1)
        return logits.masked_fill((state["count"] == 0).unsqueeze(1), -torch.inf)
