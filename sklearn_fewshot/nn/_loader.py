"""From planned row indices to batches of tensors."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..episodes._sampler import EpisodePlan, EpisodeSampler
from ._data import DataTensor
from ._hardware import moved
from ._losses import PADDING
from ._module import EpisodeBatch, EpisodicModule, autocast, evaluating

Augment = Callable[[Tensor], Tensor]


class EpisodeLoader:
    """Batches of freshly drawn training episodes, one epoch an iteration.

    Parameters
    ----------
    data : DataTensor
        The samples.
    sampler : EpisodeSampler
        Draws the rows.
    n_episodes : int
        Episodes in an epoch.
    meta_batch_size : int
        Episodes in a batch.
    rng : numpy.random.Generator
        Source of randomness of the plans.
    augment : callable or None
        Applied to the inputs of each batch.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import DataTensor, EpisodeLoader
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> X = np.eye(6, dtype=np.float32)[codes]
    >>> data = DataTensor(X, torch.device("cpu"))
    >>> rng = np.random.default_rng(0)
    >>> loader = EpisodeLoader(data, sampler, n_episodes=4, meta_batch_size=2, rng=rng)
    >>> for batch, target in loader:
    ...     print(batch.inputs.shape, target.shape)
    torch.Size([18, 6]) torch.Size([2, 6])
    torch.Size([18, 6]) torch.Size([2, 6])
    """

    def __init__(
        self,
        data: DataTensor,
        sampler: EpisodeSampler,
        *,
        n_episodes: int,
        meta_batch_size: int,
        rng: np.random.Generator,
        augment: Augment | None = None,
    ) -> None:
        self.data = data
        self.sampler = sampler
        self.n_episodes = n_episodes
        self.meta_batch_size = meta_batch_size
        self.rng = rng
        self.augment = augment
        self._full: dict[Any, tuple[EpisodeBatch, Tensor]] = {}  # layouts without padding

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.n_episodes // self.meta_batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the epochs to come."""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; whoever shares the source of randomness does, too."""
        self.rng.bit_generator.state = state["rng"]

    def __iter__(self) -> Iterator[tuple[EpisodeBatch, Tensor]]:
        """Yield (batch, targets)."""
        plan = self.sampler.plan(self.n_episodes, self.rng)
        is_full = min(plan.support.min(initial=0), plan.query.min(initial=0)) >= 0
        for start in range(0, self.n_episodes, self.meta_batch_size):
            part = plan.take(slice(start, start + self.meta_batch_size))
            rows, batch, target = self._laid_out(part, is_full)
            inputs = self.data.take(rows)
            if self.augment is not None:
                inputs = self.augment(inputs)
            yield batch._replace(inputs=inputs), target

    def _laid_out(
        self, part: EpisodePlan, is_full: bool
    ) -> tuple[NDArray[np.intp], EpisodeBatch, Tensor]:
        """Do what :func:`collate` does; batches of a shape without padding are laid out once."""
        shape, device = (part.support.shape, part.query.shape), self.data.data.device
        if is_full and shape in self._full:
            batch, target = self._full[shape]
            classes = moved(torch.from_numpy(part.classes.astype(np.int64)), device)
            return _planned(part).ravel(), batch._replace(classes=classes), target
        rows, batch, target = collate(part)
        batch, target = to_device(batch, target, device)
        if is_full:
            self._full[shape] = batch, target
        return rows, batch, target


class SampleLoader:
    """Batches of single training samples with their classes, for ordinary classification.

    Samples come in random order, each once before any comes again.

    Parameters
    ----------
    data : DataTensor
        The samples.
    rows : intp ndarray of shape (n_samples,)
        Rows to draw from.
    codes : int ndarray of shape (n_samples,)
        Their classes.
    batch_size : int
        Samples in a batch.
    n_batches : int
        Batches in an epoch.
    rng : numpy.random.Generator
        Source of the order.
    augment : callable or None
        Applied to the inputs of each batch.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.nn import DataTensor, SampleLoader
    >>> data = DataTensor(np.eye(6, dtype=np.float32), torch.device("cpu"))
    >>> rows, codes = np.arange(6), np.array([0, 0, 1, 1, 2, 2])
    >>> rng = np.random.default_rng(0)
    >>> loader = SampleLoader(data, rows, codes, batch_size=4, n_batches=2, rng=rng)
    >>> for inputs, target in loader:
    ...     print(inputs.shape, target.shape)
    torch.Size([4, 6]) torch.Size([1, 4])
    torch.Size([4, 6]) torch.Size([1, 4])
    """

    def __init__(
        self,
        data: DataTensor,
        rows: NDArray[np.intp],
        codes: NDArray[np.intp],
        *,
        batch_size: int,
        n_batches: int,
        rng: np.random.Generator,
        augment: Augment | None = None,
    ) -> None:
        self.data = data
        self.rows = rows
        self.codes = codes
        self.batch_size = min(batch_size, len(rows))
        self.n_batches = n_batches
        self.rng = rng
        self.augment = augment
        self._order = rng.permutation(len(rows))

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.n_batches

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the epochs to come."""
        return {"rng": self.rng.bit_generator.state, "order": torch.from_numpy(self._order)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; whoever shares the source of randomness does, too."""
        self.rng.bit_generator.state = state["rng"]
        self._order = state["order"].numpy()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, classes of shape (1, batch_size))."""
        for _ in range(self.n_batches):
            if len(self._order) < self.batch_size:
                self._order = np.append(self._order, self.rng.permutation(len(self.rows)))
            drawn, self._order = np.split(self._order, [self.batch_size])
            inputs = self.data.take(self.rows[drawn])
            if self.augment is not None:
                inputs = self.augment(inputs)
            target = torch.from_numpy(self.codes[drawn].astype(np.int64))
            yield inputs, moved(target.unsqueeze(0), inputs.device)


def collate(plan: EpisodePlan) -> tuple[NDArray[np.intp], EpisodeBatch, Tensor]:
    """Lay out episodes as positions in one stack of rows.

    Returns
    -------
    rows : intp array of shape (n_rows,)
        The rows to stack, padding left out.
    batch : EpisodeBatch
        Positions in the stack; its ``inputs`` are empty.
    target : int64 tensor of shape (n_episodes, n_way * n_query)
        Class of each query within its episode, -1 for padding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import collate
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> rows, batch, target = collate(plan)
    >>> rows.shape, batch.support.shape, target.shape
    ((36,), torch.Size([4, 3]), torch.Size([4, 6]))
    """
    planned = _planned(plan)
    real = planned >= 0
    position = np.where(real, np.cumsum(real).reshape(real.shape) - 1, 0)
    return planned[real], *_laid_out(plan, position, real)


def over_stored_rows(plan: EpisodePlan) -> tuple[EpisodeBatch, Tensor]:
    """Lay out episodes as positions among all rows; the rest is as in :func:`collate`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import over_stored_rows
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> batch, target = over_stored_rows(plan)
    >>> bool((batch.support.numpy().ravel() == plan.support.ravel()).all())
    True
    """
    planned = _planned(plan)
    return _laid_out(plan, np.maximum(planned, 0), planned >= 0)


def _planned(plan: EpisodePlan) -> NDArray[np.intp]:
    sides = [rows.reshape(plan.n_episodes, -1) for rows in (plan.support, plan.query)]
    return np.concatenate(sides, axis=1)


def _laid_out(
    plan: EpisodePlan, position: NDArray[np.intp], real: NDArray[np.bool_]
) -> tuple[EpisodeBatch, Tensor]:
    """Return batch and targets of planned rows, support first, that stand at ``position``."""
    n_episodes, n_way, n_shot = plan.support.shape
    n_support, n_query = n_way * n_shot, plan.query.shape[2]
    code = np.broadcast_to(np.repeat(np.arange(n_way), n_shot), (n_episodes, n_support))
    target = np.where(real[:, n_support:], np.repeat(np.arange(n_way), n_query), PADDING)
    batch = EpisodeBatch(
        inputs=torch.empty(0),
        support=torch.from_numpy(position[:, :n_support]),
        code=torch.from_numpy(code.copy()),
        weight=torch.from_numpy(real[:, :n_support].astype(np.float32)),
        query=torch.from_numpy(position[:, n_support:]),
        n_classes=n_way,
        classes=torch.from_numpy(plan.classes.astype(np.int64)),
    )
    return batch, torch.from_numpy(target)


def to_device(
    batch: EpisodeBatch, target: Tensor, device: torch.device
) -> tuple[EpisodeBatch, Tensor]:
    """Move the index tensors of a batch to the device of its inputs.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import collate, to_device
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> _, batch, target = collate(plan)
    >>> batch, target = to_device(batch, target, torch.device("cpu"))
    >>> target.device
    device(type='cpu')
    """
    if device.type == "cpu":
        return batch, target
    batch = batch._replace(
        support=moved(batch.support, device),
        code=moved(batch.code, device),
        weight=moved(batch.weight, device),
        query=moved(batch.query, device),
        classes=moved(batch.classes, device),
    )
    return batch, moved(target, device)


class ValidationEpisodes:
    """Frozen episodes of held-out classes, each distinct row embedded once.

    Parameters
    ----------
    data : DataTensor
        The samples.
    plan : EpisodePlan
        The episodes, drawn once.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import DataTensor, ValidationEpisodes
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> X = np.eye(6, dtype=np.float32)[codes]
    >>> data = DataTensor(X, torch.device("cpu"))
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> episodes = ValidationEpisodes(data, plan)
    >>> sum(len(inputs) for inputs in episodes.inputs(batch_size=8)) == len(plan.rows())
    True
    """

    def __init__(self, data: DataTensor, plan: EpisodePlan) -> None:
        rows, batch, target = collate(plan)
        self.rows, position = np.unique(rows, return_inverse=True)
        place = torch.from_numpy(position.astype(np.int64))
        batch = batch._replace(support=place[batch.support], query=place[batch.query])
        self.data = data
        self.batch, self.target = to_device(batch, target, data.data.device)

    def inputs(self, batch_size: int) -> Iterator[Tensor]:
        """Yield the distinct rows in order, ``batch_size`` at a time."""
        for start in range(0, len(self.rows), batch_size):
            yield self.data.take(self.rows[start : start + batch_size])


def score_frozen(
    module: EpisodicModule, episodes: ValidationEpisodes, batch_size: int = 512
) -> Tensor:
    """Score frozen episodes with the network in evaluation mode.

    Returns
    -------
    scores : tensor of shape (n_episodes, n_queries, n_classes)

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import DataTensor, EpisodicModule, ValidationEpisodes, score_frozen
    >>> from sklearn_fewshot.nn.backbones import Identity
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> X = np.eye(6, dtype=np.float32)[codes]
    >>> data = DataTensor(X, torch.device("cpu"))
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> module = EpisodicModule(Identity((6,)), PrototypicalHead())
    >>> score_frozen(module, ValidationEpisodes(data, plan)).shape
    torch.Size([4, 6, 3])
    """
    parts = []
    with evaluating(module):
        for inputs in episodes.inputs(batch_size):
            with autocast(inputs.device, module.autocast_dtype):
                parts.append(module.backbone(inputs).float())
        return module.score_episodes(torch.cat(parts), episodes.batch)


def evaluate(
    module: EpisodicModule, criterion: torch.nn.Module, episodes: ValidationEpisodes
) -> tuple[float, float]:
    """Return mean accuracy over all queries, and loss, on frozen episodes.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes._sampler import EpisodeSampler
    >>> from sklearn_fewshot.nn import (
    ...     DataTensor,
    ...     EpisodicCrossEntropy,
    ...     EpisodicModule,
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
    >>> module = EpisodicModule(Identity((6,)), PrototypicalHead())
    >>> episodes = ValidationEpisodes(data, plan)
    >>> accuracy, loss = evaluate(module, EpisodicCrossEntropy(), episodes)
    >>> accuracy
    1.0
    """
    scores = score_frozen(module, episodes)
    real = episodes.target != PADDING
    hits = (scores.argmax(dim=-1) == episodes.target)[real]
    return float(hits.double().mean()), float(criterion(scores, episodes.target))
