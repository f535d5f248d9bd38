"""Losses of an episode batch: mean over the queries of an episode, then over episodes."""

from math import exp, inf, log
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from ._batch import PADDING

SMOOTHING = 0.01  # of the targets that a factor of logits is fitted to
LEAST_WIDTH, MOST_WIDTH = 0.1, 1e4  # of the logits that are fitted, between best and worst class
N_BISECTIONS = 40


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


def log_loss_factor(logits: Tensor, target: Tensor) -> float:
    """Return the factor of the logits, an inverse temperature, with the least log-loss.

    One hundredth of the probability of each target is spread over all classes of its episode: the
    factor of classes that are told apart without an error stays finite.

    Parameters
    ----------
    logits : tensor of shape (n_episodes, n_queries, n_classes)
        ``-inf`` for classes that an episode does not have.
    target : int64 tensor of shape (n_episodes, n_queries)
        Class codes, -1 for padding.

    Returns
    -------
    factor : float
        Positive; 1 where all logits of each query are equal.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import log_loss_factor
    >>> logits = torch.tensor([[[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]])
    >>> factor = log_loss_factor(logits, torch.tensor([[0, 0, 0, 1]]))  # three in four are right
    >>> bool((factor * logits).softmax(-1)[0, 0, 0].isclose(torch.tensor(0.7475)))
    True
    """
    real = target != PADDING
    logits = logits.detach()[real].double()
    logits = logits - logits.amax(dim=1, keepdim=True)  # (n_queries, n_classes), at most 0
    is_present = logits.isfinite()
    finite = logits.masked_fill(~is_present, 0.0)
    n_present = is_present.sum(dim=1, keepdim=True)
    own = finite.gather(1, target[real].unsqueeze(1)).mean()
    wanted = float((1.0 - SMOOTHING) * own + SMOOTHING * (finite / n_present).sum(dim=1).mean())
    width = float(-finite.amin(dim=1).mean())  # between the best and the worst class
    if width == 0.0:
        return 1.0
    # The loss is convex in the factor; its derivative is the expected logit less the wanted one.
    low, high = log(LEAST_WIDTH / width), log(MOST_WIDTH / width)
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        expected = ((exp(middle) * logits).softmax(dim=1) * finite).sum(dim=1).mean()
        low, high = (middle, high) if float(expected) < wanted else (low, middle)
    return exp((low + high) / 2)


def _pairs(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return which (query, class) pairs are of one class (1 or 0), and which are not padding."""
    same = one_hot(target.clamp_min(0), logits.shape[-1]).to(logits.dtype)
    real = (target != PADDING).unsqueeze(-1) & (logits.detach() != -inf)
    return same, real


def _mean_over_episodes(losses: Tensor, weight: Tensor) -> Tensor:
    total = (losses * weight).sum(dim=(1, 2))
    return (total / weight.sum(dim=(1, 2)).clamp_min(1.0)).mean()
