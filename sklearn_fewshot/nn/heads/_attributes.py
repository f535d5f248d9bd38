"""Heads that represent a class by its attributes in place of examples."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, normalize

from .._support import State, Support, class_means
from ._base import Head
from ._prototypical import PrototypicalHead
from ._relation import RelationHead

BRANCH_FACTOR = 0.1  # lets a network learn more slowly than the parallel linear path


class AttributeHead(Head):
    """Base of heads that compare queries with classes in the space of the attributes.

    The items of a support set are classes: their attributes and, as a last column, a penalty that
    is subtracted from the logits (calibrated stacking). Query embeddings and attributes go through
    a map each; the rest is done by the head of a learner with examples, the inner head.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the query's embedding.
    n_attributes : int or None
        Attributes per class. None for ``embedding_dim - 1``, so that an item, with its penalty, has
        the dimension of the embedding.
    **options
        Parameters of the inner head.
    """

    takes_examples: ClassVar[bool] = False
    inner_type: ClassVar[type[Head]]

    def __init__(self, embedding_dim: int, n_attributes: int | None = None, **options: Any) -> None:
        super().__init__()
        self.n_attributes = n_attributes or embedding_dim - 1
        self.of_query = nn.Linear(embedding_dim, self.n_attributes)
        self.of_class = nn.Linear(self.n_attributes, self.n_attributes, bias=False)
        nn.init.eye_(self.of_class.weight)
        self.inner = self.inner_type.for_embeddings((self.n_attributes,), **options)
        self.exact = self.inner.exact

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for flattened embeddings."""
        return cls(torch.Size(embedding_shape).numel(), **options)

    def represent(self, support: Support) -> Support:
        """Average the attributes of each class, if it has several items."""
        return class_means(support)

    def context(self, representation: Support) -> State:
        """Turn attributes into prototypes of unit length; penalties are unchanged."""
        attributes, penalty = representation.inputs[..., :-1], representation.inputs[..., -1]
        prototype = normalize(self.prototype(attributes), dim=-1)
        return self.inner.context(representation._replace(inputs=prototype)) | {"penalty": penalty}

    def prototype(self, attributes: Tensor) -> Tensor:
        """Return ``g`` of attributes of shape (n_episodes, n_classes, n_attributes)."""
        return linear(attributes, self.of_class.weight.to(attributes.dtype))

    def score(self, state: State, query: Tensor) -> Tensor:
        """Score by the inner head, in the space of the attributes."""
        weight, bias = self.of_query.weight.to(query.dtype), self.of_query.bias.to(query.dtype)
        mapped = linear(query.flatten(2), weight, bias)  # (n_episodes, n_queries, n_attributes)
        penalty = self.penalty_unit * state["penalty"].unsqueeze(1)  # (n_episodes, 1, n_classes)
        return self.inner_logits(state, mapped) - penalty  # (n_episodes, n_queries, n_classes)

    def inner_logits(self, state: State, query: Tensor) -> Tensor:
        """Score mapped queries of shape (n_episodes, n_queries, n_attributes)."""
        return self.inner.score(state, query)

    @property
    def penalty_unit(self) -> Tensor | float:
        """Decrease of a logit per unit of penalty."""
        return 1.0

    def start_as(self, weight: Tensor, offset: Tensor) -> None:
        """Set the map of the queries.

        Parameters
        ----------
        weight : tensor of shape (embedding_dim, n_attributes)
            Linear map from embeddings to attributes.
        offset : tensor of shape (n_attributes,)
            Added to it.
        """
        with torch.no_grad():
            self.of_query.weight.copy_(weight.mT)
            self.of_query.bias.copy_(offset)

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Set the scale of the inner head from logits within training episodes."""
        self.inner.start_from(logits, target)


class AttributePrototypeHead(AttributeHead):
    """The prototype of a class is a map of its attributes.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the query's embedding.
    n_attributes : int or None
        Attributes per class. None for ``embedding_dim - 1``, so that an item, with its penalty, has
        the dimension of the embedding.
    **options
        Parameters of :class:`PrototypicalHead`.

    Notes
    -----
    Section 2.6 of Snell et al.: the prototype of a class with attributes ``v`` is
    ``g(v) / |g(v)|`` with a linear ``g``, which starts as the identity; queries pass through a
    linear map, too, and are not normalised. A penalty ``h`` offsets the higher scores of classes
    seen in training::

        logit = -scale * (d(W f(q) + b, g(v) / |g(v)|) + h)

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import AttributePrototypeHead
    >>> items = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # two attributes and a penalty
    >>> classes = Support(items, torch.tensor([[0, 1]]), torch.ones(1, 2), n_classes=2)
    >>> head = AttributePrototypeHead(embedding_dim=4, n_attributes=2)
    >>> state = head.context(head.represent(classes))
    >>> head.score(state, torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 2])
    """

    inner_type = PrototypicalHead
    inner: PrototypicalHead

    @property
    def scale(self) -> Tensor:
        """The factor of the distance."""
        return self.inner.scale

    @property
    def penalty_unit(self) -> Tensor:
        """Penalties are in units of the distance."""
        return self.scale


class AttributeRelationHead(AttributeHead):
    """Relation module on the attributes of a class and a query.

    Parameters
    ----------
    embedding_dim : int
        Dimension of the query's embedding.
    n_attributes : int or None
        Attributes per class. None for ``embedding_dim - 1``, so that an item, with its penalty, has
        the dimension of the embedding.
    hidden_dim : int
        Hidden units of the attribute network.

    Notes
    -----
    Section 3.4 of Sung et al.: ``r(k, q) = relation([g(v_k), f(q)])`` with a two-layer network
    ``g``. Here ``g`` starts as the identity and the relation module as the city-block distance of
    its two inputs. The logit of a class is ``log r``: probabilities are shares of the relation
    scores. A penalty ``h`` divides a relation score by ``exp(h)``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import AttributeRelationHead
    >>> items = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # two attributes and a penalty
    >>> classes = Support(items, torch.tensor([[0, 1]]), torch.ones(1, 2), n_classes=2)
    >>> head = AttributeRelationHead(embedding_dim=4, n_attributes=2)
    >>> state = head.context(head.represent(classes))
    >>> head.score(state, torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 2])
    """

    inner_type = RelationHead
    inner: RelationHead

    def __init__(
        self, embedding_dim: int, n_attributes: int | None = None, hidden_dim: int = 256
    ) -> None:
        n_attributes = n_attributes or embedding_dim - 1
        super().__init__(embedding_dim, n_attributes, hidden_dim=2 * n_attributes)
        last = nn.Linear(hidden_dim, n_attributes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.branch = nn.Sequential(nn.Linear(n_attributes, hidden_dim), nn.ReLU(), last)
        axes = torch.eye(n_attributes)
        with torch.no_grad():
            self.inner.of_class.weight.copy_(torch.cat([axes, -axes]))
            self.inner.of_query.weight.copy_(torch.cat([-axes, axes]))

    def prototype(self, attributes: Tensor) -> Tensor:
        """Return the attribute network's output."""
        unit = normalize(attributes, dim=-1)
        return super().prototype(unit) + BRANCH_FACTOR * self.branch(unit)

    def inner_logits(self, state: State, query: Tensor) -> Tensor:
        """Return the logarithms of the relation scores."""
        return logsigmoid(self.inner.score(state, query))

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Scale the relation module by the log-odds of the relation scores."""
        log_score = logits.double()
        super().start_from(log_score - (-torch.expm1(log_score)).log(), target)
