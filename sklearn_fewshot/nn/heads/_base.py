"""The verbs that every head implements."""

from typing import Any, ClassVar, Self

from torch import Tensor, nn

from .._support import State, Support, to_state


class Head(nn.Module):
    """What a metric learner adds to a backbone.

    A head is a function of values: :meth:`represent` turns a support set into class
    representations, :meth:`context` these into a state, and :meth:`score` compares queries with it.
    Nothing about a support set is kept in the module, so one head serves any number of support sets
    at once.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import Head
    >>> class FirstExampleHead(Head):
    ...     def context(self, representation):
    ...         return {"first": representation.inputs[:, : representation.n_classes]}
    ...
    ...     def score(self, state, query):
    ...         return -torch.cdist(query, state["first"])
    >>> support = Support(torch.eye(2)[None], torch.tensor([[0, 1]]), torch.ones(1, 2), 2)
    >>> head = FirstExampleHead()
    >>> state = head.context(head.represent(support))
    >>> head.score(state, torch.tensor([[[1.0, 0.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    #: Whether the head's arithmetic is inexpensive enough for float64 at prediction. If not,
    #: queries travel through it in float32, in chunks of fixed size.
    exact: bool = True

    #: Whether a query's logits are the same whatever the other queries are.
    independent_queries: bool = True

    #: Whether a constant may be added to the logit of one class, to correct for unequal shots.
    score_shift: bool = True

    #: The fixed number of classes that the head scores; None for any number.
    n_outputs: int | None = None

    #: Whether the items of a support set are embedded examples; if not, attributes of classes.
    takes_examples: ClassVar[bool] = True

    #: Whether classes are represented by the means of their examples, one item a class.
    averages: ClassVar[bool] = False

    #: Invariances of the family that the head does not have by design, with the reason.
    #: "duplicates": giving every example twice changes nothing; "weights": a weight of two is two
    #: examples.
    breaks: ClassVar[dict[str, str]] = {}

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape; only heads with weights depend on it."""
        return cls(**options)

    def represent(self, support: Support) -> Support:
        """Condense support sets to what :meth:`context` needs; unless overridden, keep every item.

        Must accept its own output joined with more examples: a condensed item of weight ``w``
        counts like ``w`` examples.
        """
        return support

    def context(self, representation: Support) -> State:
        """Work out, once for all queries, what they are compared with: any state.

        What comes out cannot be joined with more examples. Unless overridden, the items as they
        are, by :func:`~sklearn_fewshot.nn.to_state`.
        """
        return to_state(representation)

    def score(self, state: State, query: Tensor) -> Tensor:
        """Compare queries with the classes.

        Parameters
        ----------
        state : dict of tensors
            As returned by :meth:`context`.
        query : tensor of shape (n_episodes, n_queries, *embedding_shape)
            Embedded queries.

        Returns
        -------
        logits : tensor of shape (n_episodes, n_queries, n_classes)
            Logarithms of unnormalised probabilities; ``-inf`` for classes without an example.
        """
        raise NotImplementedError

    def start_from(self, logits: Tensor) -> None:
        """Adjust the head to the logits it gives untrained; nothing unless overridden."""
