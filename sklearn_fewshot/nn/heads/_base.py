"""The methods of every head."""

from typing import Any, ClassVar, Self

from torch import Tensor, nn

from .._support import State, Support, to_state


class Head(nn.Module):
    """The part of a metric learner after the backbone: compares queries with a support set.

    :meth:`represent` turns a support set into class representations, :meth:`context` these into a
    state, and :meth:`score` compares queries with it. A head is stateless: it stores nothing of a
    support set, so one head serves any number of them at once.

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
    #: queries are scored in float32, in chunks of fixed size.
    exact: bool = True

    #: Whether the logits of a query are independent of the other queries.
    independent_queries: bool = True

    #: Whether a constant may be added to the logit of one class, to correct for unequal shots.
    score_shift: bool = True

    #: The fixed number of classes that the head scores; None for any number.
    n_outputs: int | None = None

    #: Whether the items of a support set are embedded examples; if not, attributes of classes.
    takes_examples: ClassVar[bool] = True

    #: Whether classes are represented by the means of their examples, one item per class.
    averages: ClassVar[bool] = False

    #: Whether the many base classes are compared like new ones; if not, by the class means of the
    #: embedding.
    compares_base: ClassVar[bool] = True

    #: The largest number of items of a support set; None for any number.
    max_support: int | None = None

    #: Invariances of the family that the head does not have by design, with the reason.
    #: "duplicates": duplicating every example changes nothing; "weights": a weight of two equals
    #: two examples.
    breaks: ClassVar[dict[str, str]] = {}

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape; only heads with weights depend on it."""
        return cls(**options)

    def prepare(self, embedding: Tensor) -> Tensor:
        """Map embeddings, (n_rows, *embedding_shape), to what is compared; each row once.

        Unless overridden, they are unchanged.
        """
        return embedding

    def represent(self, support: Support) -> Support:
        """Condense support sets to what :meth:`context` needs; unless overridden, keep every item.

        The input may be a former output, joined with more examples: a condensed item of weight
        ``w`` counts like ``w`` examples.
        """
        return support

    def context(self, representation: Support) -> State:
        """Compute, once for all queries, the state that they are compared with.

        The result cannot be joined with more examples. Unless overridden, the unchanged items, by
        :func:`~sklearn_fewshot.nn.to_state`.
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

    def attention(self, representation: Support, query: Tensor) -> Tensor:
        """Return how much of each item a query reads, for heads that read by attention.

        Parameters
        ----------
        representation : Support
            As returned by :meth:`represent`.
        query : tensor of shape (n_episodes, n_queries, *embedding_shape)
            Embedded queries.

        Returns
        -------
        attention : tensor of shape (n_episodes, n_queries, n_items)
            Not negative; adds up to one over the items, which are in their order.
        """
        raise NotImplementedError

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Adjust the initial head to its logits before training; no effect unless overridden.

        Parameters
        ----------
        logits : tensor of shape (n_episodes, n_queries, n_classes)
            What the untrained network gives in training episodes; ``-inf`` for absent classes.
        target : int64 tensor of shape (n_episodes, n_queries)
            Classes of the queries, -1 for padding.
        """
