"""The verbs that every head implements."""

from typing import Any, ClassVar, Self

from torch import Tensor, nn

from .._support import SupportSet


class Head(nn.Module):
    """What a metric learner adds to a backbone.

    A head is a function of values: :meth:`represent` turns a support set into class
    representations, :meth:`score` compares queries with them. Nothing about a support set is kept
    in the module, so one head serves any number of support sets at once.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import SupportSet
    >>> from sklearn_fewshot.nn.heads import Head
    >>> class FirstExampleHead(Head):
    ...     def score(self, context, query):
    ...         first = context.embedding[:, : context.n_classes]
    ...         return -torch.cdist(query, first)
    >>> support = SupportSet(torch.eye(2)[None], torch.tensor([[0, 1]]), torch.ones(1, 2), 2)
    >>> head = FirstExampleHead()
    >>> context = head.context(head.represent(support))
    >>> head.score(context, torch.tensor([[[1.0, 0.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    #: Whether the head's arithmetic is cheap enough to be done in float64 at prediction. If not,
    #: queries travel through it in float32, in chunks of fixed size.
    exact: bool = True

    #: Whether the items of a support set are embedded examples; if not, attributes of classes.
    takes_examples: ClassVar[bool] = True

    #: Whether classes are represented by the means of their examples, one item a class.
    averages: ClassVar[bool] = False

    #: Laws of the family that the head does not keep by design, with the reason. "duplicates":
    #: giving every example twice changes nothing; "weights": a weight of two is two examples.
    breaks: ClassVar[dict[str, str]] = {}

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape; only heads with weights depend on it."""
        return cls(**options)

    def represent(self, support: SupportSet) -> SupportSet:
        """Condense support sets to what :meth:`score` needs; unless overridden, keep every item.

        Must accept its own output joined with more examples: a condensed item of weight ``w``
        counts like ``w`` examples.
        """
        return support

    def context(self, representation: SupportSet) -> SupportSet:
        """Work out what the items mean in the presence of each other, once for all queries.

        What comes out cannot be joined with more examples. Nothing unless overridden.
        """
        return representation

    def score(self, context: SupportSet, query: Tensor) -> Tensor:
        """Compare queries with class representations.

        Parameters
        ----------
        context : SupportSet
            As returned by :meth:`context`.
        query : tensor of shape (n_episodes, n_queries, *embedding_shape)
            Embedded queries.

        Returns
        -------
        scores : tensor of shape (n_episodes, n_queries, n_classes)
            Larger is closer; ``-inf`` for classes without an example.
        """
        raise NotImplementedError

    def logits(self, scores: Tensor) -> Tensor:
        """Turn scores into logarithms of unnormalised probabilities: themselves by default."""
        return scores

    def proba(self, scores: Tensor, sharpness: float = 1.0) -> Tensor:
        """Turn scores into class probabilities: softmax of the logits over the classes.

        Parameters
        ----------
        scores : tensor of shape (..., n_classes)
            As returned by :meth:`score`.
        sharpness : float
            Factor of the logits, the inverse of a temperature.

        Returns
        -------
        proba : tensor of shape (..., n_classes)
        """
        return (sharpness * self.logits(scores)).softmax(dim=-1)

    def margin(self, scores: Tensor) -> Tensor:
        """Say how far the second of two classes is ahead; grows with its probability."""
        logits = self.logits(scores)
        return logits[..., 1] - logits[..., 0]

    def additive(self, scores: Tensor) -> Tensor:
        """Return the scores on the scale that offsets are added on: themselves by default."""
        return scores

    def raised(self, scores: Tensor, offset: Tensor) -> Tensor:
        """Raise (or lower) the scores of classes by an offset on the scale of :meth:`additive`.

        Parameters
        ----------
        scores : tensor of shape (..., n_classes)
            As returned by :meth:`score`.
        offset : tensor, broadcast to the same shape
            By how much.

        Returns
        -------
        scores : tensor of shape (..., n_classes)
        """
        return scores + offset

    def start_from(self, scores: Tensor) -> None:
        """Adjust the head to the scores it gives untrained; nothing unless overridden."""
