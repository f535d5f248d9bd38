"""Heads of the baseline, on embeddings of unit length: centroids and logistic regression."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.nn.functional import normalize

from .._distances import Metric
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

    breaks = {"weights": "an item that represents several examples is taken for their mean"}

    def __init__(self, metric: str | Metric = "cosine", scale: float = 10.0) -> None:
        super().__init__(metric, scale)

    def represent(self, support: Support) -> Support:
        """Average the normalised examples of each class."""
        flat = support.inputs.flatten(2)
        # Items that represent several examples are means already; normalising twice is harmless.
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

    breaks = {"duplicates": "the penalty counts for less the more examples there are"}

    def __init__(self, C: float = 1.0) -> None:
        super().__init__()
        self.C = C

    def context(self, representation: Support) -> State:
        """Fit the regression of each episode: coefficients and a bias for each class."""
        device = representation.inputs.device
        count = torch.zeros(len(representation.target), representation.n_classes, device=device)
        count.scatter_add_(1, representation.target, representation.weight.float())
        rows = normalize(representation.inputs.flatten(2).double(), dim=-1).cpu().numpy()
        code, weight = (v.cpu().numpy() for v in (representation.target, representation.weight))
        fitted = np.zeros((*count.shape, rows.shape[2] + 1))
        for e, present in enumerate(count.cpu().numpy() > 0):
            real = weight[e] > 0
            among_present = (np.cumsum(present) - 1)[code[e, real]]
            fitted[e, present] = fit_logistic(rows[e, real], among_present, weight[e, real], self.C)
        coefficients = torch.from_numpy(fitted).to(device, representation.inputs.dtype)
        return {
            "coefficients": coefficients[..., :-1],
            "bias": coefficients[..., -1],
            "count": count,
        }

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return the linear predictor of each class."""
        logits = normalize(query.flatten(2), dim=-1) @ state["coefficients"].mT
        logits = logits + state["bias"].unsqueeze(1)
        return logits.masked_fill((state["count"] == 0).unsqueeze(1), -torch.inf)


def fit_logistic(
    X: NDArray[np.float64], codes: NDArray[np.intp], weight: NDArray[np.floating], C: float
) -> NDArray[np.float64]:
    """Minimise ``C * sum(weight * cross-entropy) + |coefficients|^2 / 2``.

    Parameters
    ----------
    X : float64 ndarray of shape (n_samples, n_features)
        Samples.
    codes : int ndarray of shape (n_samples,)
        Classes, 0 to n_classes - 1.
    weight : ndarray of shape (n_samples,)
        How much each sample counts.
    C : float
        Inverse strength of the penalty; the bias is not penalised.

    Returns
    -------
    coefficients : float64 ndarray of shape (n_classes, n_features + 1)
        The bias last.
    """
    rows = np.column_stack([X, np.ones(len(X))])
    target = np.eye(codes.max() + 1)[codes]
    penalised = np.append(np.ones(X.shape[1]), 0.0)
    shape = (target.shape[1], rows.shape[1])

    def loss_and_slope(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        coefficients = flat.reshape(shape)
        logits = rows @ coefficients.T
        loss = -C * np.sum(weight[:, None] * target * log_softmax(logits, axis=1))
        loss += 0.5 * np.sum(penalised * coefficients**2)
        error = weight[:, None] * (softmax(logits, axis=1) - target)
        return loss, (C * error.T @ rows + penalised * coefficients).ravel()

    # The slope of the biases is proportional to C.
    options = {"maxiter": 1000, "gtol": 1e-6 * min(1.0, C), "ftol": 1e-14}
    start = np.zeros(shape[0] * shape[1])
    found = minimize(loss_and_slope, start, method="L-BFGS-B", jac=True, options=options)
    return found.x.reshape(shape)
