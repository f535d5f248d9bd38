"""Batch normalisation by the moments of a support set."""

from typing import Any

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each channel, both of shape (n_channels,)."""


class TaskNorm(nn.Module):
    r"""Batch normalisation whose moments are those of the support set of one task.

    A network whose weights are adapted changes its activations, so that running averages over
    training are no longer their moments; those of the queries would make a prediction depend on
    the others. Mean and variance are those of the support examples, mixed with the running ones by
    :math:`n / (n + 1)` for ``n`` examples: one picture of one pixel has no variance.

    Without a support set it is the batch normalisation that it replaces, in evaluation mode.

    Parameters
    ----------
    norm : nn.BatchNorm1d or nn.BatchNorm2d
        The layer to replace. Its parameters and buffers are taken over, under the same names.

    Notes
    -----
    With the activations :math:`x_i` of the examples, their weights :math:`w_i` (0 for padding),
    :math:`n = \sum_i w_i` and the running mean and variance :math:`m_0, v_0`:

    .. math::

        m = \frac{\sum_i w_i x_i + m_0}{n + 1}, \qquad
        v = \frac{\sum_i w_i (x_i - \bar x)^2 + v_0}{n + 1}, \qquad
        \bar x = \frac{1}{n} \sum_i w_i x_i

    where maps are averaged over their places. The mixture, of the family of Bronskill et al.
    (2020), has no learned weight.

    References
    ----------
    J. Bronskill, J. Gordon, J. Requeima, S. Nowozin and R. E. Turner, "TaskNorm: Rethinking Batch
    Normalization for Meta-Learning", ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_fewshot.nn.optimization import TaskNorm
    >>> norm = TaskNorm(nn.BatchNorm1d(2))
    >>> norm.row_weight = torch.ones(3)
    >>> y = norm(torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    >>> norm.moments[0]  # the mean of each channel, with the running one
    tensor([1.5000, 3.7500])
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.eps = norm.eps
        self.momentum = 0.1 if norm.momentum is None else norm.momentum
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        #: Weights of the support examples that pass, shape (n_rows,); None if others do.
        self.row_weight: Tensor | None = None
        #: Moments by which to normalise, or those of the support examples that passed.
        self.moments: Moments | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise activations of shape (n_rows, n_channels, ...)."""
        if self.row_weight is not None:
            self.moments = self._moments_of(x, self.row_weight)
        mean, variance = self.moments or (self.running_mean, self.running_var)
        factor = (variance + self.eps).rsqrt()  # batch_norm itself has no derivative by the moments
        if self.weight is not None:
            factor = factor * self.weight
        shift = -mean * factor if self.bias is None else self.bias - mean * factor
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return torch.addcmul(shift.view(shape), x, factor.view(shape))

    def _moments_of(self, x: Tensor, weight: Tensor) -> Moments:
        n = weight.sum()
        share, places = (weight / n.clamp_min(1e-12)).unsqueeze(1), tuple(range(2, x.ndim))
        shape = (1, -1) + (1,) * len(places)
        mean = (share * (x.mean(places) if places else x)).sum(dim=0)  # (n_channels,)
        squared = (x - mean.view(shape)).square()
        variance = (share * (squared.mean(places) if places else squared)).sum(dim=0)
        own = n / (n + 1.0)
        return (
            own * mean + (1.0 - own) * self.running_mean,
            own * variance + (1.0 - own) * self.running_var,
        )

    @torch.no_grad()
    def follow(self, moments: Moments) -> None:
        """Move the running moments towards those of support sets, (n_episodes, n_channels)."""
        for running, new in zip((self.running_mean, self.running_var), moments, strict=True):
            running.lerp_(new.mean(dim=0), self.momentum)
        self.num_batches_tracked.add_(1)


def with_task_norm(module: nn.Module) -> nn.Module:
    """Replace the batch normalisations of a network, in place, and what cannot be vectorised.

    In-place activations overwrite what :func:`torch.func.vmap` still needs.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_fewshot.nn.optimization import with_task_norm
    >>> with_task_norm(nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): TaskNorm()
    )
    """
    for part in module.modules():
        if hasattr(part, "inplace"):
            vars(part)["inplace"] = False
        for name, child in part.named_children():
            if isinstance(child, BATCH_NORMS) and child.track_running_stats:
                setattr(part, name, TaskNorm(child))
    return TaskNorm(module) if isinstance(module, BATCH_NORMS) else module


def task_norms(module: Any) -> list[TaskNorm]:
    """Return the task norms of a network, in the order of its parts."""
    return [part for part in module.modules() if isinstance(part, TaskNorm)]
