"""Networks that are trained on sequences of examples."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ._batch import PADDING, EpisodeBatch, Take, take_rows
from ._embedding_module import EmbeddingModule
from ._module import Criterion
from .heads import MemoryHead

KEPT = 2 / 3  # of the samples of an episode, in training


class SequenceModule(EmbeddingModule):
    """A backbone and a head that reads examples one by one: every step of an episode is a query.

    In training two thirds of the samples of an episode, of the support set and the queries, are one
    sequence in random order. Each is predicted from the ones before it.

    Parameters
    ----------
    backbone : nn.Module
        The embedding network.
    head : MemoryHead
        Reads the sequences.
    autocast_dtype : torch.dtype or None
        As in :class:`EmbeddingModule`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import EpisodeBatch, EpisodicCrossEntropy, SequenceModule
    >>> from sklearn_fewshot.nn.heads import MemoryHead
    >>> module = SequenceModule.build((2,), backbone="identity", head=MemoryHead)
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0, 1.0], [9.0, 1.0], [1.0, 1.0], [9.0, 2.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     support_target=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     target=torch.tensor([[0, 1]]),
    ...     n_classes=2,
    ... )
    >>> loss = module.training_loss(batch, EpisodicCrossEntropy())
    >>> loss.shape
    torch.Size([])
    """

    head: MemoryHead
    is_costly = True  # a step for each example and query

    def training_loss(self, batch: EpisodeBatch, criterion: Criterion) -> Tensor:
        """Return the loss of the predictions of every step."""
        take = partial(take_rows, self.embed(batch.inputs))
        return criterion(*self.predict_sequences(batch, take))

    def predict_sequences(self, batch: EpisodeBatch, take: Take) -> tuple[Tensor, Tensor]:
        """Predict the samples of each episode in random order, each from the ones before it.

        Parameters
        ----------
        batch : EpisodeBatch
            Episodes.
        take : callable
            Returns embedded rows by their positions.

        Returns
        -------
        logits : tensor of shape (n_episodes, n_steps, n_classes)
            ``-inf`` for classes that an episode does not have.
        target : int64 tensor of shape (n_episodes, n_steps)
            Classes, -1 for padding.
        """
        target = batch.support_target.masked_fill(batch.weight == 0, PADDING)
        target = torch.cat([target, batch.target], dim=1)
        row = torch.cat([batch.support, batch.query], dim=1)
        key = torch.rand(target.shape, device=target.device)
        order = key.masked_fill(target == PADDING, torch.inf).argsort(dim=1)
        row, target = row.gather(1, order), target.gather(1, order)
        if self.training:  # or the last labels would follow from how often each one came before
            n_kept = (KEPT * (target != PADDING).sum(dim=1, keepdim=True)).round().clamp_min(1)
            place = torch.arange(target.shape[1], device=target.device)
            most = max(1, round(KEPT * target.shape[1]))
            row, target = row[:, :most], target.masked_fill(place >= n_kept, PADDING)[:, :most]
        codes = self.head.random_codes(len(row), batch.n_classes)
        logits = self.head.read_sequence(take(row.clamp_min(0)), target, codes)
        present = torch.zeros(len(row), batch.n_classes + 1, device=row.device)
        present = present.scatter(1, target.masked_fill(target < 0, batch.n_classes), 1.0)[:, :-1]
        return logits.masked_fill((present == 0).unsqueeze(1), -torch.inf), target


def presentation(target: Tensor, n_classes: int) -> Tensor:
    """Return how many samples of its class come before each step; -1 for padding.

    Parameters
    ----------
    target : int64 tensor of shape (n_episodes, n_steps)
        Classes; -1 for padding.
    n_classes : int
        Classes of an episode.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import presentation
    >>> presentation(torch.tensor([[1, 0, 1, 1, -1]]), n_classes=2)
    tensor([[ 0,  0,  1,  2, -1]])
    """
    label = one_hot(target.clamp_min(0), n_classes) * (target >= 0).unsqueeze(2)
    count = label.cumsum(dim=1).gather(2, target.clamp_min(0).unsqueeze(2)).squeeze(2)
    return (count - 1).masked_fill(target < 0, -1)
