"""Base of heads by a metric: a scaled distance, turned into a similarity."""

import math

import torch
from torch import Tensor, nn

from .._distances import Distance, get_metric
from .._losses import log_loss_factor
from ._base import Head


class MetricHead(Head):
    """Base of heads whose similarity is ``-scale * d(query, item)``.

    Parameters
    ----------
    metric : str or callable
        Distance between embeddings.
    scale : float
        Factor of the distance.
    learn_scale : bool
        Whether the (logarithm of the) scale is trained.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.heads import MetricHead
    >>> head = MetricHead("cityblock", scale=2.0)
    >>> query, item = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 1.0], [0.0, 3.0]]])
    >>> head.similarity(query, item).detach()
    tensor([[[-4., -6.]]])
    """

    def __init__(
        self, metric: str | Distance = "sqeuclidean", scale: float = 1.0, learn_scale: bool = False
    ) -> None:
        super().__init__()
        self.metric = get_metric(metric)
        self.log_scale = nn.Parameter(
            torch.tensor(float(scale)).log(), requires_grad=learn_scale
        )  # ()

    @property
    def scale(self) -> Tensor:
        """The positive factor of the distance."""
        return self.log_scale.exp()

    def similarity(self, query: Tensor, item: Tensor) -> Tensor:
        """Return the negative scaled distances.

        Parameters
        ----------
        query : tensor of shape (n_episodes, n_queries, *embedding_shape)
            Queries.
        item : tensor of shape (n_episodes, n_items, *embedding_shape)
            Prototypes or examples.

        Returns
        -------
        similarity : tensor of shape (n_episodes, n_queries, n_items)
        """
        return -self.scale * self.metric(query.flatten(2), item.flatten(2))

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Set the scale to that with the least log-loss: the softmax is not flat, nor saturated."""
        with torch.no_grad():
            self.log_scale.add_(math.log(log_loss_factor(logits, target)))
