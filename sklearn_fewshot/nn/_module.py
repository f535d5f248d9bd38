"""The trained network: a backbone and a head, run on batches of episodes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ._support import SupportSet
from .heads import Head


class EpisodeBatch(NamedTuple):
    """Episodes as one stack of inputs and positions in it.

    Parameters
    ----------
    inputs : tensor of shape (n_rows, *input_shape)
        The rows of all episodes, padding excluded: one backbone pass serves them all.
    support : int64 tensor of shape (n_episodes, n_support)
        Positions of the support examples in ``inputs``.
    code : int64 tensor of shape (n_episodes, n_support)
        Class of each support item within its episode.
    weight : float tensor of shape (n_episodes, n_support)
        1, or 0 for padding.
    query : int64 tensor of shape (n_episodes, n_queries)
        Positions of the queries in ``inputs``.
    n_classes : int
        Most classes that any of the episodes has.
    classes : int64 tensor of shape (n_episodes, n_classes)
        Which classes of the data these are; -1 for padding. Only needed where classes are known
        by something else than examples.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import EpisodeBatch
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0], [10.0], [1.0], [9.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     code=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     n_classes=2,
    ... )
    >>> batch.inputs[batch.query]
    tensor([[[1.],
             [9.]]])
    """

    inputs: Tensor
    support: Tensor
    code: Tensor
    weight: Tensor
    query: Tensor
    n_classes: int
    classes: Tensor = torch.empty(0, dtype=torch.int64)


class EpisodicModule(nn.Module):
    """Scores the queries of episodes: ``score(context(represent(f(support))), f(query))``.

    Parameters
    ----------
    backbone : nn.Module
        The embedding network ``f``.
    head : Head
        Compares embedded queries with embedded support sets.
    autocast_dtype : torch.dtype or None
        Lower precision for the backbone's training; heads and losses stay float32.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import EpisodeBatch, EpisodicModule
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0], [10.0], [1.0], [9.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     code=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     n_classes=2,
    ... )
    >>> module = EpisodicModule(Identity((1,)), PrototypicalHead())
    >>> module(batch).detach()
    tensor([[[ -1., -81.],
             [-81.,  -1.]]])
    """

    def __init__(
        self, backbone: nn.Module, head: Head, autocast_dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.autocast_dtype = autocast_dtype

    def forward(self, batch: EpisodeBatch) -> Tensor:
        """Return scores of shape (n_episodes, n_queries, n_classes)."""
        with autocast(batch.inputs.device, self.autocast_dtype):
            embedding = self.backbone(batch.inputs)
        return self.score_episodes(embedding.float(), batch)

    def score_episodes(self, embedding: Tensor, batch: EpisodeBatch) -> Tensor:
        """Score the queries of ``batch`` given the embedding of its inputs."""
        representation = self.head.represent(self.support(embedding, batch))
        return self.head.score(self.head.context(representation), rows(embedding, batch.query))

    def support(self, embedding: Tensor, batch: EpisodeBatch) -> SupportSet:
        """Return the support sets of ``batch``: here the embedded examples."""
        support = rows(embedding, batch.support)
        return SupportSet(support, batch.code, batch.weight, batch.n_classes)


def rows(values: Tensor, index: Tensor) -> Tensor:
    """Return ``values[index]``; for whole rows this is faster."""
    return values.index_select(0, index.flatten()).unflatten(0, index.shape)


class DescribedModule(EpisodicModule):
    """Scores the queries of episodes against a description of each class, not examples.

    Parameters
    ----------
    backbone : nn.Module
        The embedding network.
    head : Head
        As in :class:`EpisodicModule`.
    items : tensor of shape (n_classes, n_features)
        What the head knows each class of the data by.
    autocast_dtype : torch.dtype or None
        As in :class:`EpisodicModule`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import DescribedModule, EpisodeBatch
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import AttributePrototypeHead
    >>> items = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # two attributes and a handicap
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0], [10.0], [1.0], [9.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     code=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     n_classes=2,
    ...     classes=torch.tensor([[0, 1]]),
    ... )
    >>> module = DescribedModule(Identity((1,)), AttributePrototypeHead(1, n_attributes=2), items)
    >>> module(batch).shape
    torch.Size([1, 2, 2])
    """

    items: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        items: Tensor,
        autocast_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(backbone, head, autocast_dtype)
        self.register_buffer("items", items, persistent=False)

    def support(self, embedding: Tensor, batch: EpisodeBatch) -> SupportSet:
        """Return the items of the classes of each episode, one a class."""
        weight = (batch.classes >= 0).to(self.items.dtype)
        code = torch.arange(batch.n_classes, device=self.items.device).expand(weight.shape)
        return SupportSet(self.items[batch.classes], code, weight, batch.n_classes)


class ClassifierModule(EpisodicModule):
    """Trains the backbone as an ordinary classifier; scores episodes as the head does.

    Parameters
    ----------
    backbone : nn.Module
        The embedding network.
    head : Head
        As in :class:`EpisodicModule`.
    classifier : nn.Module
        Maps embeddings of shape (n_rows, embedding_dim) to logits of the training classes.
    autocast_dtype : torch.dtype or None
        As in :class:`EpisodicModule`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import ClassifierModule, CosineClassifier
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import CentroidHead
    >>> module = ClassifierModule(Identity((4,)), CentroidHead(), CosineClassifier(4, 3))
    >>> module(torch.ones(5, 4)).shape
    torch.Size([1, 5, 3])
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        classifier: nn.Module,
        autocast_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(backbone, head, autocast_dtype)
        self.classifier = classifier

    def forward(self, inputs: Tensor) -> Tensor:  # type: ignore[override]
        """Return logits of shape (1, n_rows, n_classes): a batch is one episode of all classes."""
        with autocast(inputs.device, self.autocast_dtype):
            embedding = self.backbone(inputs)
        return self.classifier(embedding.float().flatten(1)).unsqueeze(0)


class CosineClassifier(nn.Linear):
    """Linear classifier of directions: scaled cosines to one weight vector a class.

    Parameters
    ----------
    n_features, n_classes : int
        Size of the embedding, and number of classes.
    scale : float
        Factor of the cosines.

    References
    ----------
    Chen et al. (2019), "Baseline++".

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import CosineClassifier
    >>> CosineClassifier(n_features=8, n_classes=3)(torch.ones(2, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, n_features: int, n_classes: int, scale: float = 10.0) -> None:
        super().__init__(n_features, n_classes, bias=False)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_classes)."""
        return self.scale * normalize(input, dim=-1) @ normalize(self.weight, dim=-1).mT


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Autocast to ``dtype`` on ``device``; None leaves the precision alone.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import autocast
    >>> with autocast(torch.device("cpu"), torch.bfloat16):
    ...     product = torch.eye(2) @ torch.eye(2)
    >>> product.dtype
    torch.bfloat16
    """
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a block in evaluation mode without recording gradients, then restore the modes.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_fewshot.nn import evaluating
    >>> module = nn.Dropout()
    >>> with evaluating(module):
    ...     print(module.training)
    False
    >>> module.training
    True
    """
    training = [part for part in module.modules() if part.training]
    if training:  # a learner's network never is: its threads do not touch its mode
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part in training:
            part.training = True
