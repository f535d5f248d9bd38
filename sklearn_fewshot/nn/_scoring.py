"""The one function that scores plans of episodes, and the frozen episodes of validation."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ..episodes import EpisodePlan
from ..utils._blocks import blocks
from ._batch import EpisodeBatch, Take, is_padding, take_rows
from ._collate import over_stored_rows, to_device, with_values
from ._data import DataTensor
from ._modes import evaluating
from ._module import Criterion, EmbedsRows, FewShotModule, predict_episodes

VALUE_BYTES = 8  # of rows and predictions, in float64 at most


def score_plan(
    module: FewShotModule,
    plan: EpisodePlan,
    take: Take,
    *,
    device: torch.device,
    row_size: int = 1,
    attributes: Tensor | None = None,
    values: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict the queries of planned episodes, some episodes at a time.

    Validation, calibration, evaluation and displays all use it. Call it in evaluation mode.

    Parameters
    ----------
    module : FewShotModule
        The network.
    plan : EpisodePlan
        The episodes.
    take : callable
        Returns rows of the data by their numbers: embedded ones if the module
        :class:`EmbedsRows`, which then embeds each row once for all episodes; else inputs.
    device : torch.device
        Device of the rows.
    row_size : int
        Values per row, which determine the number of episodes per block.
    attributes, values : tensor or None
        As in :class:`EpisodeLoader`.

    Yields
    ------
    predictions : tensor of shape (n_some_episodes, n_queries, n_classes) or \
(n_some_episodes, n_queries, n_targets)
        ``-inf`` for classes that an episode does not have.
    target : tensor of shape (n_some_episodes, n_queries) or (n_some_episodes, n_queries, n_targets)
        Class of each query within its episode, -1 for padding; or its values, NaN for padding.

    Examples
    --------
    >>> from functools import partial
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import EmbeddingModule, evaluating, score_plan, take_rows
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> module, rows = EmbeddingModule(Identity((6,)), PrototypicalHead()), torch.eye(6)[codes]
    >>> with evaluating(module):
    ...     for logits, target in score_plan(
    ...         module, plan, partial(take_rows, rows), device=rows.device
    ...     ):
    ...         print(logits.shape, target.shape)
    torch.Size([4, 6, 3]) torch.Size([4, 6])
    """
    n_support, n_query = plan.support[0].size, plan.query[0].size
    n_values = (n_support + n_query) * row_size + n_query * plan.classes.shape[1]
    for some in blocks(plan.n_episodes, VALUE_BYTES * n_values):
        part = plan.take(some)
        batch = to_device(over_stored_rows(part), device)
        if attributes is not None:
            batch = batch._replace(attributes=attributes[batch.classes])
        if values is not None:
            batch = with_values(batch, part, values)
        yield _predict(module, batch, take), batch.target


def _predict(module: FewShotModule, batch: EpisodeBatch, take: Take) -> Tensor:
    """Predict the queries of a batch, without padded ones if queries depend on each other."""
    padding = is_padding(batch.target)
    if module.independent_queries or not padding.any():
        return predict_episodes(module, batch, take)
    parts = [predict_episodes(module, one, take)[0] for one in batch.one_by_one()]
    predictions = parts[0].new_zeros(*padding.shape, parts[0].shape[-1])
    predictions[~padding] = torch.cat(parts)
    return predictions


class ValidationEpisodes:
    """Frozen episodes of held-out classes, each distinct row embedded once.

    Parameters
    ----------
    data : DataTensor
        The samples.
    plan : EpisodePlan
        The episodes, sampled once.
    attributes, values : tensor or None
        As in :class:`EpisodeLoader`.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import DataTensor, ValidationEpisodes
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> X = np.eye(6, dtype=np.float32)[codes]
    >>> data = DataTensor(X, torch.device("cpu"))
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> episodes = ValidationEpisodes(data, plan)
    >>> len(episodes.rows) == len(plan.rows())
    True
    """

    def __init__(
        self,
        data: DataTensor,
        plan: EpisodePlan,
        attributes: Tensor | None = None,
        values: Tensor | None = None,
    ) -> None:
        self.data = data
        self.rows = plan.rows()
        self.plan = plan.in_terms_of(self.rows)
        self.attributes = attributes
        self.values = None if values is None else values[torch.from_numpy(self.rows)]

    def __len__(self) -> int:
        """Return 1: to those who count batches it is one."""
        return 1

    def score(self, module: FewShotModule, batch_size: int = 512) -> tuple[Tensor, Tensor]:
        """Return predictions, with the network in evaluation mode, and targets.

        Parameters
        ----------
        module : FewShotModule
            The network.
        batch_size : int
            Rows per batch of the embedding.

        Returns
        -------
        predictions, target : tensor
            As those of :func:`score_plan`, of all episodes.
        """
        device = self.data.data.device
        with evaluating(module):
            take = self._take(module, batch_size)
            a_row = take(torch.zeros(1, 1, dtype=torch.int64, device=device))
            parts = score_plan(
                module,
                self.plan,
                take,
                device=device,
                row_size=a_row.numel(),
                attributes=self.attributes,
                values=self.values,
            )
            predictions, target = (torch.cat(part) for part in zip(*parts, strict=True))
        return predictions, target

    def _take(self, module: FewShotModule, batch_size: int) -> Take:
        if not isinstance(module, EmbedsRows):
            return self._take_inputs
        embedding = [
            module.embed(self.data.take(self.rows[start : start + batch_size]))
            for start in range(0, len(self.rows), batch_size)
        ]
        return partial(take_rows, torch.cat(embedding))

    def _take_inputs(self, index: Tensor) -> Tensor:
        rows = self.rows[index.flatten().cpu().numpy()]
        return self.data.take(rows).unflatten(0, index.shape)


def evaluate(
    module: FewShotModule, criterion: Criterion, episodes: ValidationEpisodes
) -> tuple[float | None, float]:
    """Return mean accuracy over all queries (None in regression), and loss, on frozen episodes.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import (
    ...     DataTensor,
    ...     EmbeddingModule,
    ...     EpisodicCrossEntropy,
    ...     ValidationEpisodes,
    ...     evaluate,
    ... )
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> X = np.eye(6, dtype=np.float32)[codes]
    >>> data = DataTensor(X, torch.device("cpu"))
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> module = EmbeddingModule(Identity((6,)), PrototypicalHead())
    >>> episodes = ValidationEpisodes(data, plan)
    >>> accuracy, loss = evaluate(module, EpisodicCrossEntropy(), episodes)
    >>> accuracy
    1.0
    """
    predictions, target = episodes.score(module)
    loss = float(criterion(predictions, target))
    if target.is_floating_point():
        return None, loss
    hits = (predictions.argmax(dim=-1) == target)[~is_padding(target)]
    return float(hits.double().mean()), loss
