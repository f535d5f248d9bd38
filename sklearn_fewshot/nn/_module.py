"""The two methods of every network, ``adapt`` and ``predict``, and optional capabilities."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ._batch import EpisodeBatch, Take, is_padding, take_rows
from ._support import State, Support

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From predictions and targets to a loss."""


class FewShotModule(nn.Module):
    """A network with two methods: adapt to support sets, then predict queries.

    Metric-based, optimisation-based and model-based methods all are such modules: they differ in
    the contents of the state. A module is stateless: it stores nothing of a support set.

    Examples
    --------
    A network that predicts the most frequent class of the support set:

    >>> import torch
    >>> from sklearn_fewshot.nn import FewShotModule, Support
    >>> class Majority(FewShotModule):
    ...     def adapt(self, support):
    ...         count = torch.zeros(len(support.target), support.n_classes)
    ...         return {"logits": count.scatter_add(1, support.target, support.weight)}
    ...
    ...     def predict(self, state, inputs):
    ...         return state["logits"].unsqueeze(1).expand(-1, inputs.shape[1], -1)
    >>> support = Support(torch.zeros(1, 3, 2), torch.tensor([[0, 1, 1]]), torch.ones(1, 3), 2)
    >>> module = Majority()
    >>> module.predict(module.adapt(support), torch.zeros(1, 4, 2)).shape
    torch.Size([1, 4, 2])
    """

    #: The fixed number of outputs (classes); None for any number.
    n_outputs: int | None = None

    #: The largest number of examples of a support set; None for any number.
    max_support: int | None = None

    #: Whether the prediction of a query is independent of the other queries. If not (transductive
    #: modules), the queries of an episode are never divided.
    independent_queries: bool = True

    #: Whether a constant may be added to the logit of one class, to correct for unequal shots.
    score_shift: bool = True

    #: Whether adapting takes long, such as by training steps: calibration then samples fewer tasks.
    is_costly: bool = False

    @classmethod
    def build(cls, input_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the module for samples of one shape."""
        return cls(input_shape, **options)

    def adapt(self, support: Support) -> State:
        """Compute the state of support sets for :meth:`predict`.

        Parameters
        ----------
        support : Support
            Of several episodes.

        Returns
        -------
        state : dict of tensors
            Their first axis is the episode.
        """
        raise NotImplementedError

    def predict(self, state: State, inputs: Tensor) -> Tensor:
        """Predict queries.

        Parameters
        ----------
        state : dict of tensors
            As returned by :meth:`adapt`.
        inputs : tensor of shape (n_episodes, n_queries, *input_shape)
            Queries.

        Returns
        -------
        logits : tensor of shape (n_episodes, n_queries, n_classes)
            Or values of shape (n_episodes, n_queries, n_targets), in regression.
        """
        raise NotImplementedError

    def training_loss(self, batch: EpisodeBatch, criterion: Criterion) -> Tensor:
        """Return the loss of a batch of episodes: that of the predictions of the queries.

        Parameters
        ----------
        batch : EpisodeBatch
            Episodes.
        criterion : callable
            Called with predictions and targets.
        """
        return episode_loss(self, batch, partial(take_rows, batch.inputs), criterion)


class EmbedsRows:
    """Capability of modules that first embed each row independently.

    Every distinct row is then embedded once for all episodes; the embedding can be inspected and
    frozen.

    Examples
    --------
    >>> from sklearn_fewshot.nn import EmbeddingModule, EmbedsRows
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> isinstance(EmbeddingModule(Identity((4,)), PrototypicalHead()), EmbedsRows)
    True
    """

    def embed(self, inputs: Tensor) -> Tensor:
        """Embed rows of shape (n_rows, *input_shape), in float32."""
        raise NotImplementedError

    def adapt_embedded(self, support: Support) -> State:
        """Adapt to support sets whose inputs are embedded."""
        raise NotImplementedError

    def predict_embedded(self, state: State, embedding: Tensor) -> Tensor:
        """Predict embedded queries of shape (n_episodes, n_queries, *embedding_shape)."""
        raise NotImplementedError


class Joins:
    """Capability of modules whose support sets can be condensed, such as to class means.

    Without it an adapted classifier keeps its support rows and adapts again to all of them when
    more examples are added.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import EmbeddingModule, Support
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> module = EmbeddingModule(Identity((2,)), PrototypicalHead())
    >>> support = Support(torch.rand(1, 5, 2), torch.tensor([[0, 1, 1, 0, 1]]), torch.ones(1, 5), 2)
    >>> module.condense(support).weight  # one item per class
    tensor([[2., 3.]])
    """

    def condense(self, support: Support) -> Support:
        """Condense support sets; the result can be joined with more examples.

        A condensed item of weight ``w`` counts like ``w`` examples. If the module embeds rows, the
        inputs are embedded.
        """
        raise NotImplementedError


def predict_episodes(module: FewShotModule, batch: EpisodeBatch, take: Take) -> Tensor:
    """Adapt to the support sets of a batch and predict its queries.

    Parameters
    ----------
    module : FewShotModule
        The network.
    batch : EpisodeBatch
        Episodes without padded queries, if the module's queries are not independent.
    take : callable
        Returns rows by their positions: embedded ones if the module :class:`EmbedsRows`, else
        inputs.

    Returns
    -------
    predictions : tensor of shape (n_episodes, n_queries, n_classes) or \
(n_episodes, n_queries, n_targets)

    Examples
    --------
    >>> from functools import partial
    >>> import torch
    >>> from sklearn_fewshot.nn import EmbeddingModule, EpisodeBatch, predict_episodes, take_rows
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0], [10.0], [1.0], [9.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     support_target=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     target=torch.tensor([[0, 1]]),
    ...     n_classes=2,
    ... )
    >>> module = EmbeddingModule(Identity((1,)), PrototypicalHead())
    >>> predict_episodes(module, batch, partial(take_rows, batch.inputs)).detach()
    tensor([[[ -1., -81.],
             [-81.,  -1.]]])
    """
    support, query = batch.support_sets(take), take(batch.query)
    if isinstance(module, EmbedsRows):
        return module.predict_embedded(module.adapt_embedded(support), query)
    return module.predict(module.adapt(support), query)


def episode_loss(
    module: FewShotModule, batch: EpisodeBatch, take: Take, criterion: Criterion
) -> Tensor:
    """Return the criterion of predicted queries; arguments as in :func:`predict_episodes`.

    If queries depend on each other, they are passed without padding.

    Examples
    --------
    >>> from functools import partial
    >>> import torch
    >>> from sklearn_fewshot.nn import (
    ...     EmbeddingModule,
    ...     EpisodeBatch,
    ...     EpisodicCrossEntropy,
    ...     episode_loss,
    ...     take_rows,
    ... )
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0], [10.0], [1.0], [9.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     support_target=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     target=torch.tensor([[0, 1]]),
    ...     n_classes=2,
    ... )
    >>> module = EmbeddingModule(Identity((1,)), PrototypicalHead())
    >>> criterion = EpisodicCrossEntropy()
    >>> bool(episode_loss(module, batch, partial(take_rows, batch.inputs), criterion) < 1e-6)
    True
    """
    if module.independent_queries or not is_padding(batch.target).any():
        return criterion(predict_episodes(module, batch, take), batch.target)
    losses = [
        criterion(predict_episodes(module, one, take), one.target) for one in batch.one_by_one()
    ]
    return torch.stack(losses).mean()
