"""The backbone for series: of any length, with their padding masked."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, relu

from ._linear_start import LinearStart, zero_linear

N_PARTS = 4  # of the time that the convolutional branch averages over


class Conv1d(LinearStart):
    """Linear map of the series plus a convolutional branch: the default for series.

    Series may have any length. Steps at the end that are NaN are padding, which changes no
    embedding: it is masked in every convolution, normalisation and pooling. For the linear path a
    series of another length than ``input_shape`` is averaged, or its steps repeated, to as many
    steps (uniform scaling), at most ``max_length``.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, length).
    embedding_dim : int or None
        Dimension of the embedding; None for as many as the linear path's input has.
    n_filters : int
        Filters of the three convolutional blocks.
    max_length : int
        Steps of the linear path's input.
    unit_length : bool
        Whether the embedding is centred by a learned bias and scaled to unit length.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import Conv1d
    >>> backbone = Conv1d((3, 50), embedding_dim=16)
    >>> backbone(torch.zeros(2, 3, 50)).shape, backbone(torch.zeros(2, 3, 70)).shape
    (torch.Size([2, 16]), torch.Size([2, 16]))
    """

    takes_any_length = True

    def __init__(
        self,
        input_shape: tuple[int, ...],
        embedding_dim: int | None = None,
        n_filters: int = 64,
        max_length: int = 128,
        unit_length: bool = False,
    ) -> None:
        if len(input_shape) != 2:
            raise ValueError(
                "The backbone 'conv1d' takes series of shape (channels, length). Got samples of "
                f"shape {tuple(input_shape)}. Set input_shape if X holds flattened series, or "
                "choose another backbone."
            )
        channels, length = input_shape
        n_steps = min(length, max_length)
        super().__init__(channels * n_steps, embedding_dim, unit_length)
        self.n_steps = n_steps
        self.branch = _SeriesBranch(channels, n_filters, self.embedding_dim)

    def features(self, x: Tensor) -> Tensor:
        """Return the flattened series, of ``n_steps`` steps each."""
        x, is_step = mask_padding(x)
        return average_steps(x, _unless_all(is_step), self.n_steps).flatten(1)


class _SeriesBranch(nn.Module):
    def __init__(self, channels: int, n_filters: int, n_outputs: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                _SeriesBlock(channels, n_filters),
                _SeriesBlock(n_filters, n_filters),
                _SeriesBlock(n_filters, n_filters),
            ]
        )
        self.out = zero_linear(N_PARTS * n_filters, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x, every_step = mask_padding(x)
        is_step = _unless_all(every_step)
        for block in self.blocks:
            x = block(x, is_step)
            is_step = None if is_step is None else is_step[..., ::2]
        return self.out(average_steps(x, is_step, N_PARTS).flatten(1))


class _SeriesBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, 5, padding=2, bias=False)
        self.norm = MaskedBatchNorm1d(n_out)

    def forward(self, x: Tensor, is_step: Tensor | None) -> Tensor:
        """Map (n, n_in, length) to (n, n_out, ceil(length / 2))."""
        x = relu(self.norm(self.conv(x), is_step))
        if is_step is not None:  # zero, as a convolution sees what is beyond the end of a series
            x = x.masked_fill(~is_step, 0.0)
        return max_pool1d(x, 2, ceil_mode=True)


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation whose statistics leave out padding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones._series import MaskedBatchNorm1d
    >>> x = torch.tensor([[[0.0, 2.0, 99.0]]])
    >>> MaskedBatchNorm1d(1)(x, torch.tensor([[[True, True, False]]]))[..., :2].detach().round()
    tensor([[[-1.,  1.]]])
    """

    def forward(self, input: Tensor, is_step: Tensor | None = None) -> Tensor:
        """Normalise series of shape (n, n_features, length).

        Parameters
        ----------
        input : tensor of shape (n, n_features, length)
            Series.
        is_step : bool tensor of shape (n, 1, length) or None
            False for padding; None if there is none.
        """
        if is_step is None or not self.training:
            return super().forward(input)
        # Sums of squares of values of any size: as torch's own, which are of float64 too.
        x, count = _wide(input), is_step.sum()
        mean = x.masked_fill(~is_step, 0.0).sum(dim=(0, 2)) / count
        x = x - mean.unsqueeze(1)
        variance = x.masked_fill(~is_step, 0.0).square().sum(dim=(0, 2)) / count
        self._update(mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
        x = (x * (variance + self.eps).rsqrt().unsqueeze(1)).to(self.weight.dtype)
        return x * self.weight.unsqueeze(1) + self.bias.unsqueeze(1)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Take a batch into the running statistics."""
        running_mean, running_var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        assert self.momentum is not None
        for running, value in ((running_mean, mean), (running_var, variance)):
            running.mul_(1.0 - self.momentum).add_(self.momentum * value.to(running.dtype))
        self.get_buffer("num_batches_tracked").add_(1)


def mask_padding(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return series with zeros in place of the NaN that pad them, and which steps they have.

    Parameters
    ----------
    x : tensor of shape (n, channels, length)
        Series. Steps at the end that are NaN in all channels are padding.

    Returns
    -------
    series : tensor of shape (n, channels, length)
        Zero where there is padding.
    is_step : bool tensor of shape (n, 1, length)
        False for padding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import mask_padding
    >>> series, is_step = mask_padding(torch.tensor([[[1.0, 2.0, torch.nan]]]))
    >>> series, is_step
    (tensor([[[1., 2., 0.]]]), tensor([[[ True,  True, False]]]))
    """
    is_padding = x[:, :1].isnan()
    return x.masked_fill(is_padding, 0.0), ~is_padding


def average_steps(x: Tensor, is_step: Tensor | None, n_steps: int) -> Tensor:
    """Average the steps of each series to a fixed number: adaptive pooling that leaves padding out.

    Output ``i`` of a series of length ``L`` is the mean of the steps from ``floor(i L / n_steps)``
    to before ``ceil((i + 1) L / n_steps)``.

    Parameters
    ----------
    x : tensor of shape (n, channels, length)
        Series, zero in the padding.
    is_step : bool tensor of shape (n, 1, length) or None
        False for padding; None if there is none.
    n_steps : int
        Steps of the results.

    Returns
    -------
    averages : tensor of shape (n, channels, n_steps)

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones._series import average_steps
    >>> x = torch.tensor([[[1.0, 3.0, 5.0, 0.0]]])
    >>> average_steps(x, x > 0, n_steps=2)
    tensor([[[2., 4.]]])
    """
    if is_step is None and x.shape[2] == n_steps:
        return x
    if is_step is None:
        length = torch.full((1, 1, 1), x.shape[2], device=x.device)
    else:
        length = is_step.sum(dim=2, keepdim=True)  # (n, 1, 1)
    part = torch.arange(n_steps, device=x.device)
    start = (part * length) // n_steps  # (n, 1, n_steps)
    stop = -(-(part + 1) * length // n_steps)
    index = (len(x), x.shape[1], n_steps)
    total = nn.functional.pad(_wide(x).cumsum(dim=2), (1, 0))  # whose differences keep digits
    sums = total.gather(2, stop.expand(index)) - total.gather(2, start.expand(index))
    return (sums / (stop - start)).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """Return values in float64, where the device has it."""
    return x.float() if x.device.type == "mps" else x.double()


def _unless_all(is_step: Tensor) -> Tensor | None:
    """Return the mask, None if nothing is masked.

    To look would be a synchronisation on a GPU, and a break of a compiled graph.
    """
    if is_step.device.type != "cpu" or torch.compiler.is_compiling():
        return is_step
    return None if bool(is_step.all()) else is_step
