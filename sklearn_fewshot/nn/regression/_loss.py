"""The loss of predicted values."""

import math

import torch
from torch import Tensor, nn

from .._batch import is_padding

HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)
LEAST_VARIANCE = 1e-12  # where every value is exact


def split_values(predicted: Tensor, n_targets: int) -> tuple[Tensor, Tensor | None]:
    """Split the output of a module into values and the logarithms of their standard deviations.

    Parameters
    ----------
    predicted : tensor of shape (..., n_targets) or (..., 2 * n_targets)
        What :meth:`~sklearn_fewshot.nn.FewShotModule.predict` returns in regression.
    n_targets : int
        Number of targets.

    Returns
    -------
    values : tensor of shape (..., n_targets)
    log_std : tensor of shape (..., n_targets) or None
        None if the module predicts values only.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.regression import split_values
    >>> values, log_std = split_values(torch.zeros(1, 5, 2), n_targets=1)
    >>> values.shape, log_std.shape
    (torch.Size([1, 5, 1]), torch.Size([1, 5, 1]))
    >>> split_values(torch.zeros(1, 5, 2), n_targets=2)[1] is None
    True
    """
    if predicted.shape[-1] == n_targets:
        return predicted, None
    if predicted.shape[-1] != 2 * n_targets:
        raise ValueError(
            f"A module for {n_targets} targets must predict {n_targets} values, or these and the "
            f"logarithms of their standard deviations. Got {predicted.shape[-1]}."
        )
    return predicted[..., :n_targets], predicted[..., n_targets:]


class GaussianLoss(nn.Module):
    """Negative log-likelihood of the queries' values under normal distributions.

    The mean squared error for modules that predict values only. Episodes of a ragged batch have
    equal weight, for any number of queries.

    Predictions without gradients, those of validation, are scored as after calibration: their
    standard deviations are multiplied by the one factor that makes the loss least. Of few tasks
    networks soon learn too small ones, while their values still become better.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.regression import GaussianLoss
    >>> target = torch.tensor([[[1.0], [3.0]]])
    >>> GaussianLoss()(torch.zeros(1, 2, 1), target)  # the mean of 1 and 9
    tensor(5.)
    """

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        predicted : tensor of shape (n_episodes, n_queries, n_targets or 2 * n_targets)
            Values, and perhaps the logarithms of their standard deviations.
        target : tensor of shape (n_episodes, n_queries, n_targets)
            True values, NaN for padding.
        """
        real = (~is_padding(target)).unsqueeze(-1)
        values, log_std = split_values(predicted, target.shape[-1])
        square = torch.where(real, values - target.nan_to_num(), 0.0).square()
        if log_std is None:
            return _mean_over_episodes(square, real)
        square = square * (-2.0 * log_std).exp()
        if not predicted.requires_grad:
            variance = _mean_over_episodes(square, real).clamp_min(LEAST_VARIANCE)
            square, log_std = square / variance, log_std + 0.5 * variance.log()
        return _mean_over_episodes(0.5 * square + log_std + HALF_LOG_2_PI, real)


def _mean_over_episodes(losses: Tensor, real: Tensor) -> Tensor:
    """Average over targets and queries, (n_episodes, n_queries, n_targets), then over episodes."""
    of_queries = torch.where(real, losses, 0.0).mean(dim=2)  # (n_episodes, n_queries)
    return (of_queries.sum(dim=1) / real.sum(dim=(1, 2))).mean()
