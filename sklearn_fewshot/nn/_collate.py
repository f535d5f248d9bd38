"""From planned row indices to batches of positions."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..episodes import EpisodePlan
from ._batch import PADDING, EpisodeBatch
from ._hardware import move


def collate(plan: EpisodePlan) -> tuple[NDArray[np.intp], EpisodeBatch]:
    """Lay out episodes as positions in one stack of rows.

    Returns
    -------
    rows : intp array of shape (n_rows,)
        The rows to stack, padding left out.
    batch : EpisodeBatch
        Positions in the stack; its ``inputs`` are empty.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import collate
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> rows, batch = collate(plan)
    >>> rows.shape, batch.support.shape, batch.target.shape
    ((36,), torch.Size([4, 3]), torch.Size([4, 6]))
    """
    planned = planned_rows(plan)
    real = planned >= 0
    position = np.where(real, np.cumsum(real).reshape(real.shape) - 1, 0)
    return planned[real], _lay_out(plan, position, real)


def collate_rotated(plan: EpisodePlan) -> tuple[NDArray[np.intp], EpisodeBatch]:
    """Lay out every division of each episode into support and queries over one stack of rows.

    The divisions are those of ``EpisodePlan.rotated``: rows that are
    support in one and query in another are in the stack once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import collate_rotated
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> rows, batch = collate_rotated(plan)
    >>> rows.shape, batch.support.shape, batch.target.shape  # four times three episodes
    ((36,), torch.Size([12, 3]), torch.Size([12, 6]))
    """
    planned = planned_rows(plan)
    real = planned >= 0
    place = np.where(real, np.cumsum(real).reshape(real.shape) - 1, -1)
    support, query = np.split(place, [plan.support[0].size], axis=1)
    placed = EpisodePlan(
        support.reshape(plan.support.shape), query.reshape(plan.query.shape), plan.classes
    )
    return planned[real], over_stored_rows(placed.rotated())


def over_stored_rows(plan: EpisodePlan) -> EpisodeBatch:
    """Lay out episodes as positions among all rows; the rest is as in :func:`collate`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import over_stored_rows
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> batch = over_stored_rows(plan)
    >>> bool((batch.support.numpy().ravel() == plan.support.ravel()).all())
    True
    """
    planned = planned_rows(plan)
    return _lay_out(plan, np.maximum(planned, 0), planned >= 0)


def planned_rows(plan: EpisodePlan) -> NDArray[np.intp]:
    """Return the rows of each episode, support first, -1 for padding: (n_episodes, n_rows)."""
    sides = [rows.reshape(plan.n_episodes, -1) for rows in (plan.support, plan.query)]
    return np.concatenate(sides, axis=1)


def _lay_out(
    plan: EpisodePlan, position: NDArray[np.intp], real: NDArray[np.bool_]
) -> EpisodeBatch:
    """Return the batch of planned rows, support first, that are at ``position``."""
    n_episodes, n_way, n_shot = plan.support.shape
    n_support, n_query = n_way * n_shot, plan.query.shape[2]
    code = np.broadcast_to(np.repeat(np.arange(n_way), n_shot), (n_episodes, n_support))
    target = np.where(real[:, n_support:], np.repeat(np.arange(n_way), n_query), PADDING)
    return EpisodeBatch(
        inputs=torch.empty(0),
        support=torch.from_numpy(position[:, :n_support]),
        support_target=torch.from_numpy(code.copy()),
        weight=torch.from_numpy(real[:, :n_support].astype(np.float32)),
        query=torch.from_numpy(position[:, n_support:]),
        target=torch.from_numpy(target),
        n_classes=n_way,
        classes=torch.from_numpy(plan.classes.astype(np.int64)),
    )


def with_values(batch: EpisodeBatch, plan: EpisodePlan, values: Tensor) -> EpisodeBatch:
    """Return the batch with values of a regression as targets, in place of classes.

    Parameters
    ----------
    batch : EpisodeBatch
        The plan, laid out.
    plan : EpisodePlan
        Its rows.
    values : tensor of shape (n_samples, n_targets)
        Values of all rows of the data.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes import EpisodePlan
    >>> from sklearn_fewshot.nn import collate, with_values
    >>> rows = np.arange(60).reshape(6, 1, 10)  # six tasks of ten samples
    >>> plan = EpisodePlan(rows[:4, :, :5], rows[:4, :, 5:7], classes=np.arange(4).reshape(4, 1))
    >>> batch = with_values(collate(plan)[1], plan, torch.rand(60, 1))
    >>> batch.support_target.shape, batch.target.shape
    (torch.Size([4, 5, 1]), torch.Size([4, 2, 1]))
    """
    planned = torch.from_numpy(planned_rows(plan)).to(values.device)
    targets = values[planned.clamp_min(0)].masked_fill((planned < 0).unsqueeze(-1), torch.nan)
    n_support = batch.support.shape[1]
    return batch._replace(
        support_target=targets[:, :n_support].nan_to_num(), target=targets[:, n_support:]
    )


def to_device(batch: EpisodeBatch, device: torch.device) -> EpisodeBatch:
    """Move the index tensors of a batch to the device of its inputs.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_fewshot.episodes import EpisodeSampler
    >>> from sklearn_fewshot.nn import collate, to_device
    >>> codes = np.repeat(np.arange(6), 10)
    >>> sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    >>> plan = sampler.plan(4, np.random.default_rng(0))
    >>> to_device(collate(plan)[1], torch.device("cpu")).target.device
    device(type='cpu')
    """
    if device.type == "cpu":
        return batch
    return batch._replace(
        support=move(batch.support, device),
        support_target=move(batch.support_target, device),
        weight=move(batch.weight, device),
        query=move(batch.query, device),
        target=move(batch.target, device),
        classes=move(batch.classes, device),
    )
