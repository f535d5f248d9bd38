"""Networks that embed each row: a backbone and a head."""

from functools import partial
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ._batch import EpisodeBatch, SampleBatch, take_rows
from ._modes import autocast
from ._module import Criterion, EmbedsRows, FewShotModule, Joins, episode_loss
from ._support import State, Support
from .backbones import Frozen, ResidualMLP, embedding_shape, make_backbone
from .backbones._linear_start import FrontAndTop
from .heads import Head, UnitLengthHead

H = TypeVar("H", bound=Head)


class EmbeddingModule(EmbedsRows, Joins, FewShotModule):
    """A backbone that embeds, and a head that compares: ``score(context(represent(.)), .)``.

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
    >>> from sklearn_fewshot.nn import EmbeddingModule, Support
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> module = EmbeddingModule(Identity((1,)), PrototypicalHead())
    >>> inputs = torch.tensor([[[0.0], [10.0]]])
    >>> state = module.adapt(Support(inputs, torch.tensor([[0, 1]]), torch.ones(1, 2), 2))
    >>> module.predict(state, torch.tensor([[[1.0], [9.0]]])).detach()
    tensor([[[ -1., -81.],
             [-81.,  -1.]]])
    """

    backbone: nn.Module
    head: Head

    def __init__(
        self, backbone: nn.Module, head: Head, autocast_dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.autocast_dtype = autocast_dtype
        self.n_outputs = head.n_outputs
        self.max_support = head.max_support
        self.independent_queries = head.independent_queries
        self.score_shift = head.score_shift

    @classmethod
    def build(  # type: ignore[override]
        cls,
        input_shape: tuple[int, ...],
        *,
        head: type[Head],
        head_options: dict[str, Any] | None = None,
        backbone: Any = "auto",
        backbone_options: dict[str, Any] | None = None,
        top_options: dict[str, Any] | None = None,
    ) -> Self:
        """Build the network with initial weights.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample.
        head : type
            The head's class.
        head_options : dict or None
            Its parameters.
        backbone : str, nn.Module, class or factory
            The ``backbone`` parameter of the learner.
        backbone_options : dict or None
            Options of a named backbone.
        top_options : dict or None
            Options of the trained network on top of a frozen backbone; None if the backbone itself
            is trained.
        """
        module = make_backbone(backbone, input_shape, **(backbone_options or {}))
        if top_options is not None:
            frozen = Frozen(module)
            top = ResidualMLP(embedding_shape(frozen, input_shape), **top_options)
            module = FrontAndTop(frozen, top)
        shape = embedding_shape(module, input_shape)
        return cls(module, head.for_embeddings(shape, **(head_options or {})))

    def embed(self, inputs: Tensor) -> Tensor:
        """Embed rows of shape (n_rows, *input_shape), in float32."""
        return self.head.prepare(self.features(inputs))

    def features(self, inputs: Tensor) -> Tensor:
        """Return the output of the backbone, in float32."""
        with autocast(inputs.device, self.autocast_dtype):
            output: Tensor = self.backbone(inputs)
        return output.float()

    def condense(self, support: Support) -> Support:
        """Return class representations of embedded examples."""
        return self.head.represent(support)

    def adapt_embedded(self, support: Support) -> State:
        """Return the state of the head."""
        return self.head.context(self.head.represent(support))

    def predict_embedded(self, state: State, embedding: Tensor) -> Tensor:
        """Compare embedded queries."""
        return self.head.score(state, embedding)

    def adapt(self, support: Support) -> State:
        """Embed the examples and return the state of the head."""
        if not self.head.takes_examples:  # attributes are not embedded
            return self.adapt_embedded(support)
        return self.adapt_embedded(support._replace(inputs=self._embed_sets(support.inputs)))

    def predict(self, state: State, inputs: Tensor) -> Tensor:
        """Embed the queries and compare them; logits (n_episodes, n_queries, n_classes)."""
        return self.predict_embedded(state, self._embed_sets(inputs))

    def _embed_sets(self, inputs: Tensor) -> Tensor:
        return self.embed(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def training_loss(self, batch: EpisodeBatch, criterion: Criterion) -> Tensor:
        """Return the loss of a batch, whose rows are embedded in one pass."""
        return episode_loss(self, batch, partial(take_rows, self.embed(batch.inputs)), criterion)


def head_of(module: FewShotModule, kind: type[H]) -> H:
    """Return the head of a network, which must be of the given class."""
    assert isinstance(module, EmbeddingModule)
    assert isinstance(module.head, kind)
    return module.head


class ClassifierModule(EmbeddingModule):
    """Trains the backbone as an ordinary classifier; the head predicts episodes.

    Parameters
    ----------
    backbone : nn.Module
        The embedding network.
    head : Head
        As in :class:`EmbeddingModule`.
    classifier : nn.Module
        Maps embeddings of shape (n_rows, embedding_dim) to logits of the training classes.
    autocast_dtype : torch.dtype or None
        As in :class:`EmbeddingModule`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import (
    ...     ClassifierModule,
    ...     CosineClassifier,
    ...     EpisodicCrossEntropy,
    ...     SampleBatch,
    ... )
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import CentroidHead
    >>> module = ClassifierModule(Identity((4,)), CentroidHead(4), CosineClassifier(4, 3))
    >>> batch = SampleBatch(torch.ones(5, 4), torch.zeros(5, dtype=torch.int64))
    >>> module.training_loss(batch, EpisodicCrossEntropy()).shape
    torch.Size([])
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

    def training_loss(  # type: ignore[override]
        self, batch: SampleBatch, criterion: Criterion
    ) -> Tensor:
        """Return the loss of single samples: to the criterion, an episode of all classes."""
        features = self.features(batch.inputs).flatten(1)
        if isinstance(self.head, UnitLengthHead):
            self.head.follow(features)
        logits = self.classifier(features)
        return criterion(logits.unsqueeze(0), batch.target.unsqueeze(0))


class CosineClassifier(nn.Linear):
    """Linear classifier of directions: scaled cosines to one weight vector per class.

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
