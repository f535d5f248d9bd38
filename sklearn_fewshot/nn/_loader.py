"""Batches of training: episodes, or single samples."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..episodes import EpisodePlan, EpisodeSampler
from ._batch import EpisodeBatch, SampleBatch
from ._collate import collate, collate_rotated, planned_rows, to_device, with_values
from ._data import DataTensor
from ._hardware import move

Augment = Callable[[Tensor], Tensor]
MAX_LAYOUTS = 100  # that are kept; there are few unless classes are of many sizes


class EpisodeLoader:
    """Batches of newly sampled training episodes, one epoch per iteration.

    Parameters
    ----------
    data : DataTensor
        The samples.
    sampler : EpisodeSampler
        Samples the rows.
    n_episodes : int
        Episodes per epoch.
    meta_batch_size : int
        Episodes per batch.
    rng : numpy.random.Generator
        Source of randomness of the plans.
    augment : callable or None
        Applied to the inputs of each batch.
    rotate : bool
        Whether a batch has every division of its episodes into support and queries
        (``EpisodePlan.rotated``).
    attributes : tensor of shape (n_classes, n_attributes) or None
        Representation of the classes in place of examples, in zero-shot learning.
    values : tensor of shape (n_samples, n_targets) or None
        Targets in place of classes, in regression.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import DataTensor, EpisodeLoader
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> X = np.eye(6, dtype=np.float32)[codes]
    >>> data = DataTensor(X, torch.device("cpu"))
    >>> rng = np.random.default_rng(0)
    >>> loader = EpisodeLoader(data, sampler, n_episodes=4, meta_batch_size=2, rng=rng)
    >>> for batch in loader:
    ...     print(batch.inputs.shape, batch.target.shape)
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
        rotate: bool = False,
        attributes: Tensor | None = None,
        values: Tensor | None = None,
    ) -> None:
        self.data = data
        self.sampler = sampler
        self.n_episodes = n_episodes
        self.meta_batch_size = meta_batch_size
        self.rng = rng
        self.augment = augment
        self.rotate = rotate
        self.attributes = attributes
        self.values = values
        self._layouts: dict[Any, EpisodeBatch] = {}

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.n_episodes // self.meta_batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that determines the next epochs."""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state, as does every other user of the same random generator."""
        self.rng.bit_generator.state = state["rng"]

    def __iter__(self) -> Iterator[EpisodeBatch]:
        """Yield batches."""
        plan = self.sampler.plan(self.n_episodes, self.rng)
        for start in range(0, self.n_episodes, self.meta_batch_size):
            part = plan.take(slice(start, start + self.meta_batch_size))
            rows, batch = self._lay_out(part)
            if self.attributes is not None:
                batch = batch._replace(attributes=self.attributes[batch.classes])
            if self.values is not None:
                batch = with_values(batch, part, self.values)
            inputs = self.data.take(rows)
            if self.augment is not None:
                inputs = _augmented(inputs, self.augment)
            yield batch._replace(inputs=inputs)

    def _lay_out(self, part: EpisodePlan) -> tuple[NDArray[np.intp], EpisodeBatch]:
        """Collate as :func:`collate`; the layout follows from the padding, and is kept."""
        device = self.data.data.device
        planned = planned_rows(part)
        real = planned >= 0
        key = (part.support.shape, part.query.shape, real.tobytes())
        if key not in self._layouts:
            _, batch = (collate_rotated if self.rotate else collate)(part)
            if len(self._layouts) >= MAX_LAYOUTS:
                return planned[real], to_device(batch, device)
            self._layouts[key] = to_device(batch, device)
        batch = self._layouts[key]
        codes = np.repeat(part.classes, len(batch.query) // part.n_episodes, axis=0)
        classes = move(torch.from_numpy(codes.astype(np.int64)), device)
        return planned[real], batch._replace(classes=classes)


class SampleLoader:
    """Batches of single training samples with their classes, for ordinary classification.

    Samples come in random order, without replacement until all have been drawn.

    Parameters
    ----------
    data : DataTensor
        The samples.
    rows : intp ndarray of shape (n_samples,)
        Rows to draw from.
    codes : int ndarray of shape (n_samples,)
        Their classes.
    batch_size : int
        Samples per batch.
    n_batches : int
        Batches per epoch.
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
    >>> for batch in loader:
    ...     print(batch.inputs.shape, batch.target.shape)
    torch.Size([4, 6]) torch.Size([4])
    torch.Size([4, 6]) torch.Size([4])
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
        """Return the state that determines the next epochs."""
        return {"rng": self.rng.bit_generator.state, "order": torch.from_numpy(self._order)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state, as does every other user of the same random generator."""
        self.rng.bit_generator.state = state["rng"]
        self._order = state["order"].numpy()

    def __iter__(self) -> Iterator[SampleBatch]:
        """Yield batches."""
        for _ in range(self.n_batches):
            if len(self._order) < self.batch_size:
                self._order = np.append(self._order, self.rng.permutation(len(self.rows)))
            drawn, self._order = np.split(self._order, [self.batch_size])
            inputs = self.data.take(self.rows[drawn])
            if self.augment is not None:
                inputs = _augmented(inputs, self.augment)
            target = torch.from_numpy(self.codes[drawn].astype(np.int64))
            yield SampleBatch(inputs, move(target, inputs.device))


def _augmented(inputs: Tensor, augment: Augment) -> Tensor:
    """Augment a batch; raise if the padding of series is not at the end any more."""
    inputs = augment(inputs)
    if inputs.ndim == 3:
        is_nan = inputs.isnan()
        # NaN of the first channel that goes on to the end of the series.
        is_padding = is_nan[:, :1].flip(2).int().cummin(dim=2).values.flip(2).bool()
        if (is_nan != is_padding).any():
            raise ValueError(
                "augment moved the padding of series, NaN at the end, or left NaN elsewhere. They "
                "reach it padded: change the steps before the padding only."
            )
    return inputs
