"""Losses of an episode batch: mean over the queries of an episode, then over episodes."""

from math import inf
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from ._batch import PADDING


class EpisodicCrossEntropy(nn.Module):
    """Negative log-probability of each query's class under a softmax of the logits.

    Episodes of a ragged batch have equal weight, for any number of queries.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import EpisodicCrossEntropy
    >>> logits = torch.tensor([[[1.0, 1.0], [9.0, 9.0]]])  # one episode of two queries and classes
    >>> EpisodicCrossEntropy()(logits, torch.tensor([[0, 1]]))  # log 2
    tensor(0.6931)
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : tensor of shape (n_episodes, n_queries, n_classes)
            ``-inf`` for classes that an episode does not have.
        target : int64 tensor of shape (n_episodes, n_queries)
            Class codes, -1 for padding.
        """
        losses = cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=PADDING, reduction="none"
        ).view_as(target)
        n_queries = (target != PADDING).sum(dim=1)
        return (losses.sum(dim=1) / n_queries).mean()


class PairSquaredError(nn.Module):
    """Squared difference between each relation score and 1 (the query's class) or 0 (others).

    The loss of Relation Networks (Sung et al., 2018, eq. 2), as a mean over the pairs.

    Parameters
    ----------
    link : {"logit", "log"}
        Function from relation scores to logits: their log-odds or their logarithms.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import PairSquaredError
    >>> log_odds = torch.tensor([[[50.0, -50.0], [0.0, 0.0]]])
    >>> PairSquaredError()(log_odds, torch.tensor([[0, 1]]))
    tensor(0.1250)
    """

    def __init__(self, link: Literal["logit", "log"] = "logit") -> None:
        super().__init__()
        self.link = link

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss; arguments as in :class:`EpisodicCrossEntropy`."""
        same, real = _pairs(logits, target)
        logits = logits.masked_fill(~real, 0.0)
        score = logits.sigmoid() if self.link == "logit" else logits.exp()
        return _mean_over_episodes((score - same).square(), real)


class BalancedPairCrossEntropy(nn.Module):
    """Binary cross-entropy of pairs, same class or not, with a weight of 1/2 for each kind.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import BalancedPairCrossEntropy
    >>> log_odds = torch.tensor([[[50.0, -50.0], [-50.0, 50.0]]])
    >>> BalancedPairCrossEntropy()(log_odds, torch.tensor([[0, 1]])) < 1e-6
    tensor(True)
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss; arguments as in :class:`EpisodicCrossEntropy`, logits as log-odds."""
        same, real = _pairs(logits, target)
        log_odds = logits.masked_fill(~real, 0.0)
        losses = binary_cross_entropy_with_logits(log_odds, same, reduction="none")
        of_same = _mean_over_episodes(losses, real * same)
        of_other = _mean_over_episodes(losses, real * (1.0 - same))
        return 0.5 * (of_same + of_other)


def _pairs(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return which (query, class) pairs are of one class (1 or 0), and which are not padding."""
    same = one_hot(target.clamp_min(0), logits.shape[-1]).to(logits.dtype)
    real = (target != PADDING).unsqueeze(-1) & (logits.detach() != -inf)
    return same, real


def _mean_over_episodes(losses: Tensor, weight: Tensor) -> Tensor:
    total = (losses * weight).sum(dim=(1, 2))
    return (total / weight.sum(dim=(1, 2)).clamp_min(1.0)).mean()
