"""Convolutional backbones for images."""

from torch import Tensor, nn


class Conv4(nn.Sequential):
    """Four blocks of 3x3 convolution, batch normalisation, max-pooling and ReLU.

    The ReLU comes after the pooling. Both are monotonous, so this is the same function as the
    paper's order, on a quarter of the elements.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width), at least 16 x 16.
    n_filters : int
        Filters of each block.

    References
    ----------
    Vinyals et al. (2016), section 4.1; Snell et al. (2017), section 3.1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import Conv4
    >>> backbone = Conv4((1, 28, 28))
    >>> backbone(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 64])
    """

    def __init__(self, input_shape: tuple[int, ...], n_filters: int = 64) -> None:
        channels = _n_channels(input_shape, at_least=16, owner="conv4")
        super().__init__(
            _conv_block(channels, n_filters),
            _conv_block(n_filters, n_filters),
            _conv_block(n_filters, n_filters),
            _conv_block(n_filters, n_filters),
            nn.Flatten(),
        )


class Conv4Strided(nn.Sequential):
    """Four blocks of 3x3 convolution with stride 2, batch normalisation and ReLU; mean over places.

    A quarter of the arithmetic of ``Conv4``, whose convolutions see every place before the pooling:
    for learners that adapt the network itself, many times for each task.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width), at least 16 x 16.
    n_filters : int
        Filters of each block, and dimension of the embedding.

    References
    ----------
    Finn, Abbeel and Levine (2017), the network for Omniglot of appendix A.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import Conv4Strided
    >>> backbone = Conv4Strided((1, 28, 28))
    >>> backbone(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 64])
    """

    def __init__(self, input_shape: tuple[int, ...], n_filters: int = 64) -> None:
        channels = _n_channels(input_shape, at_least=16, owner="conv4_strided")
        super().__init__(
            _strided_block(channels, n_filters),
            _strided_block(n_filters, n_filters),
            _strided_block(n_filters, n_filters),
            _strided_block(n_filters, n_filters),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class Conv4Maps(nn.Sequential):
    """Four blocks of 3x3 convolution that keep the spatial maps, for relation modules.

    Only the first two blocks pool, and their convolutions are not padded: 28 x 28 images give
    maps of 5 x 5.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width), at least 16 x 16.
    n_filters : int
        Filters of each block.

    References
    ----------
    Sung et al. (2018), section 3.4 and figure 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import Conv4Maps
    >>> backbone = Conv4Maps((1, 28, 28))
    >>> backbone(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 64, 5, 5])
    """

    def __init__(self, input_shape: tuple[int, ...], n_filters: int = 64) -> None:
        channels = _n_channels(input_shape, at_least=16, owner="conv4_maps")
        super().__init__(
            _conv_block(channels, n_filters, padding=0),
            _conv_block(n_filters, n_filters, padding=0),
            _conv_block(n_filters, n_filters, pooled=False),
            _conv_block(n_filters, n_filters, pooled=False),
        )


def _conv_block(n_in: int, n_out: int, *, padding: int = 1, pooled: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=padding, bias=False),  # the batch norm has the bias
        nn.BatchNorm2d(n_out),
        *([nn.MaxPool2d(2)] if pooled else []),
        nn.ReLU(inplace=True),
    )


def _strided_block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class ResNet12(nn.Sequential):
    """Four residual blocks of three 3x3 convolutions each, then global average pooling.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width), at least 16 x 16.
    widths : tuple of int
        Filters of the blocks; the last is the embedding dimension.

    References
    ----------
    Oreshkin, Rodriguez and Lacoste (2018), "TADAM"; widths of Lee et al. (2019), "MetaOptNet".

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import ResNet12
    >>> backbone = ResNet12((3, 32, 32), widths=(8, 16, 24, 32))
    >>> backbone(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 32])
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        widths: tuple[int, int, int, int] = (64, 160, 320, 640),
    ) -> None:
        channels = _n_channels(input_shape, at_least=16, owner="resnet12")
        pairs = zip((channels, *widths[:-1]), widths, strict=True)
        blocks = [_ResidualBlock(n_in, n_out) for n_in, n_out in pairs]
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _ResidualBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
        # Pool before the activation, as in Conv4: the same function, fewer elements.
        self.out = nn.Sequential(nn.MaxPool2d(2), nn.LeakyReLU(0.1, inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x) + self.shortcut(x))  # (n, n_out, height // 2, width // 2)


def _n_channels(input_shape: tuple[int, ...], *, at_least: int, owner: str) -> int:
    if len(input_shape) != 3 or min(input_shape[1:]) < at_least:
        raise ValueError(
            f"The backbone '{owner}' takes images of shape (channels, height, width) of at "
            f"least {at_least} x {at_least}. Got samples of shape {tuple(input_shape)}. Set "
            "input_shape if X holds flattened images, or choose another backbone."
        )
    return input_shape[0]
