"""The two verbs that every head implements."""

from torch import Tensor, nn

from .._support import SupportSet


class Head(nn.Module):
    """What a metric learner adds to a backbone.

    A head is a function of values: :meth:`represent` turns a support set into class
    representations, :meth:`score` compares queries with them. Nothing about a support set is kept
    in the module, so one head serves any number of support sets at once.
    """

    #: Whether the head's arithmetic has no parameters but scalars and is cheap enough to be done
    #: in float64 at prediction.
    exact: bool = True

    def represent(self, support: SupportSet) -> SupportSet:
        """Condense support sets to what :meth:`score` needs, without losing what it needs.

        Must accept its own output joined with more examples: a condensed item of weight ``w``
        counts like ``w`` examples.
        """
        raise NotImplementedError

    def score(self, representation: SupportSet, query: Tensor) -> Tensor:
        """Compare queries with class representations.

        Parameters
        ----------
        representation : SupportSet
            As returned by :meth:`represent`.
        query : tensor of shape (n_episodes, n_queries, *embedding_shape)
            Embedded queries.

        Returns
        -------
        scores : tensor of shape (n_episodes, n_queries, n_classes)
            Larger is closer; ``-inf`` for classes without an example.
        """
        raise NotImplementedError

    def proba(self, scores: Tensor) -> Tensor:
        """Turn scores into class probabilities: softmax over the classes unless overridden."""
        return scores.softmax(dim=-1)

    def start_from(self, scores: Tensor) -> None:
        """Adjust the head to the scores it gives untrained; nothing unless overridden."""
