"""The backbone for series: what describes a series of any length, and a network on top."""

import math

import torch
from torch import Tensor, nn

from ._linear_start import MAX_LINEAR_FEATURES, FrontAndTop, ResidualMLP

N_PARTS = 4  # of a series, each with a spectrum of its own
N_AVERAGES = 16  # of the values: the coarse shape
MAX_WINDOW = 64  # steps of a spectrum
LEAST_VARIANCE = 1e-8  # of a series, relative to the training data
LEAST_POWER = 1e-3  # of a band, relative to white noise; what is below is the recorder's noise


class Spectral(FrontAndTop):
    """Multi-layer perceptron over the spectrum and the shape of a series: the default for series.

    Series may have any length. Steps at the end that are NaN are padding, which changes no
    embedding. The :class:`SeriesFeatures` of a series have no weights, so training computes them
    once; :class:`ResidualMLP` embeds them and starts as a linear method, as with tables.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, length).
    embedding_dim : int or None
        Dimension of the embedding; None for as many as there are features.
    hidden_dim : int
        Units of the two hidden layers.
    dropout : float
        Share of hidden units dropped in training.
    unit_length : bool
        Whether the embedding is centred by a learned bias and scaled to unit length.

    Notes
    -----
    In the benchmark of series (docs/benchmarks/series.md), 5-way 1-shot accuracy on new classes is
    99 % on synthetic vibration and on synthetic words, where a strided convolutional network of the
    steps in the same training reaches 62 % and 73 % in more than ten times the seconds; on recorded
    gestures it is 85 % and 65 %. One reason may be that filters learned from few base classes carry
    over to new ones less well than power in frequency bands.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import Spectral
    >>> backbone = Spectral((3, 50), embedding_dim=16)
    >>> backbone(torch.zeros(2, 3, 50)).shape, backbone(torch.zeros(2, 3, 70)).shape
    (torch.Size([2, 16]), torch.Size([2, 16]))
    """

    takes_any_length = True

    def __init__(
        self,
        input_shape: tuple[int, ...],
        embedding_dim: int | None = None,
        hidden_dim: int = 256,
        dropout: float = 0.5,
        unit_length: bool = False,
    ) -> None:
        front = SeriesFeatures(input_shape)
        shape = (front.n_features,)
        super().__init__(front, ResidualMLP(shape, embedding_dim, hidden_dim, dropout, unit_length))


class SeriesFeatures(nn.Module):
    r"""Shape, loudness and spectra of series: a vector for each, whatever its length.

    Of every channel, standardised by the training data: the means of 16 equal parts; the log of the
    variance; and, of the series less its mean and divided by its standard deviation, the log power
    spectrum of the whole and of each quarter.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, length). The window of the spectra has 64 steps, fewer if the length is below
        128 or the features would be more than 1024.

    Notes
    -----
    A spectrum is Welch's: with a Hann window ``h`` that moves by half its length, of the windows
    ``t`` in a part of a standardised series ``z``,

    .. math::

        S_b = \log\Big(10^{-3} + \operatorname{mean}_t
              \frac{|\sum_i h_i z_{t+i} e^{-2 \pi j b i / w}|^2}{\sum_i h_i^2}\Big)

    It hardly depends on the phase, and on where in its part an event is. Of white noise it is about
    0. Frequencies are per step: series of other sampling rates have to be resampled.

    References
    ----------
    P. D. Welch, "The Use of Fast Fourier Transform for the Estimation of Power Spectra", IEEE
    Transactions on Audio and Electroacoustics, 1967.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import SeriesFeatures
    >>> features = SeriesFeatures((3, 50))
    >>> features.window, features(torch.zeros(2, 3, 50)).shape
    (16, torch.Size([2, 186]))
    """

    takes_any_length = True
    offset: Tensor
    unit: Tensor

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(input_shape) != 2:
            raise ValueError(
                "The backbone 'spectral' takes series of shape (channels, length). Got samples of "
                f"shape {tuple(input_shape)}. Set input_shape if X holds flattened series, or "
                "choose another backbone."
            )
        channels, length = input_shape
        self.n_averages = min(N_AVERAGES, length)
        self.window = max(2, min(MAX_WINDOW, 2 ** int(math.log2(length)) // 2))
        while self.window > 2 and channels * self._per_channel() > MAX_LINEAR_FEATURES:
            self.window //= 2
        self.n_features = channels * self._per_channel()
        self.register_buffer("offset", torch.zeros(channels, 1))
        self.register_buffer("unit", torch.ones(channels, 1))

    def _per_channel(self) -> int:
        return self.n_averages + 1 + (1 + N_PARTS) * (self.window // 2 + 1)

    def start_from(self, x: Tensor) -> None:
        """Standardise channels by training data of shape (n, channels, length)."""
        x, is_step = mask_padding(x)
        mean, variance = _moments(x.transpose(0, 1).flatten(1), is_step.flatten())
        self.offset.copy_(mean)
        self.unit.copy_(torch.where(variance > 0, variance, 1.0).rsqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, any length) to (n, n_features)."""
        x, is_step = mask_padding((x - self.offset) * self.unit)
        mean, variance = _moments(x, is_step)  # (n, channels, 1)
        loudness = (variance + LEAST_POWER).log().to(x.dtype)
        z = (x - mean.to(x.dtype)) / (variance + LEAST_VARIANCE).sqrt().to(x.dtype)
        power, is_frame = self._power(z.masked_fill(~is_step, 0.0), is_step)
        spectra = [_log_spectra(power, is_frame, n_parts) for n_parts in (1, N_PARTS)]
        shape = average_steps(x, is_step, self.n_averages)
        return torch.cat([shape, loudness, *spectra], dim=2).flatten(1)

    def _power(self, x: Tensor, is_step: Tensor) -> tuple[Tensor, Tensor]:
        """Return power in the bands of each window, and which windows are of the series.

        Shapes (n, channels, n_windows, n_bands) and (n, 1, n_windows).
        Those are the first, and all that begin more than half a window before the end.
        """
        hop, taper = self.window // 2, torch.hann_window(self.window, device=x.device)
        n_frames = max(1, -(-x.shape[2] // hop) - 1)
        padding = (0, (n_frames + 1) * hop - x.shape[2])
        frames = nn.functional.pad(x, padding).unfold(2, self.window, hop)
        is_in = nn.functional.pad(is_step, padding).unfold(2, self.window, hop)
        weight = (is_in * taper.square()).sum(dim=3, keepdim=True)  # (n, 1, n_frames, 1)
        is_frame = is_in.sum(dim=3) > hop
        is_frame[..., 0] = True
        power = torch.fft.rfft(frames * taper).abs().square() / weight.clamp_min(1e-6)
        return power.masked_fill(~is_frame[..., None], 0.0), is_frame


def _log_spectra(power: Tensor, is_frame: Tensor, n_parts: int) -> Tensor:
    """Return log power of equal parts of the series, shape (n, channels, n_bands * n_parts)."""
    bands = power.transpose(2, 3)  # (n, channels, n_bands, n_windows)
    means = average_steps(bands.flatten(1, 2), is_frame, n_parts)
    return (means + LEAST_POWER).log().unflatten(1, bands.shape[1:3]).flatten(2)


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


def average_steps(x: Tensor, is_step: Tensor, n_steps: int) -> Tensor:
    """Average the steps of each series to a fixed number: adaptive pooling that leaves padding out.

    Output ``i`` of a series of length ``L`` is the mean of the steps from ``floor(i L / n_steps)``
    to before ``ceil((i + 1) L / n_steps)``.

    Parameters
    ----------
    x : tensor of shape (n, channels, length)
        Series, zero in the padding.
    is_step : bool tensor of shape (n, 1, length)
        False for padding.
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
    length = is_step.sum(dim=2, keepdim=True)  # (n, 1, 1)
    part = torch.arange(n_steps, device=x.device)
    start = (part * length) // n_steps  # (n, 1, n_steps)
    stop = -(-(part + 1) * length // n_steps)
    index = (*x.shape[:2], n_steps)
    total = nn.functional.pad(_wide(x).cumsum(dim=2), (1, 0))  # whose differences keep digits
    sums = total.gather(2, stop.expand(index)) - total.gather(2, start.expand(index))
    return (sums / (stop - start)).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """Return values in float64, where the device has it."""
    return x.float() if x.device.type == "mps" else x.double()


def _moments(x: Tensor, is_step: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance over the last axis, without the padding, where x is zero.

    In float64, where the device has it: squares of float32 may overflow.
    """
    wide, count = _wide(x), is_step.sum(dim=-1, keepdim=True)
    mean = wide.sum(dim=-1, keepdim=True) / count
    variance = ((wide - mean) * is_step).square().sum(dim=-1, keepdim=True) / count
    return mean, variance
