"""Losses of an episode batch: mean over the queries of an episode, then over episodes."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

PADDING = -1  # target of a query that only fills up a ragged batch


class EpisodicCrossEntropy(nn.Module):
    """Negative log-probability of each query's class under a softmax of the scores.

    Episodes of a ragged batch count equally, however many queries they have.
    """

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        scores : tensor of shape (n_episodes, n_queries, n_classes)
            Logits; ``-inf`` for classes that an episode does not have.
        target : int64 tensor of shape (n_episodes, n_queries)
            Class codes, -1 for padding.
        """
        losses = cross_entropy(
            scores.flatten(0, 1), target.flatten(), ignore_index=PADDING, reduction="none"
        ).view_as(target)
        n_queries = (target != PADDING).sum(dim=1)
        return (losses.sum(dim=1) / n_queries).mean()
