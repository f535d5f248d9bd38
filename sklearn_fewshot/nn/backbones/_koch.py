"""The convolutional network of the Siamese paper, for large images."""

from torch import nn

from ._conv import _n_channels


class KochConv(nn.Sequential):
    """Four convolutions with decreasing kernel sizes, then one wide sigmoid layer.

    For images of about 105 x 105, the size Omniglot was drawn in, with the weighted L1
    distance of the Siamese head. `Conv4` is smaller and quicker, and takes 28 x 28.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width), at least 65 x 65: nothing is padded, and smaller images leave
        nothing for the last convolution.
    embedding_dim : int
        Units of the sigmoid layer. It holds nearly all the weights: 38 of 39 million at 105 x 105.

    Notes
    -----
    Sides of the maps at 105 x 105, convolution by pooling: 96, 48, 42, 21, 18, 9, 6; and
    6 * 6 * 256 = 9216 numbers for the sigmoid layer.

    Differences from the paper:

    - The weights start as torch's layers start them. The paper's normal distribution of
      standard deviation 0.2 saturates a sigmoid of 9216 inputs, which leaves hardly any gradient.
    - The ReLU comes after the pooling. Both are monotonous, so this is the same function as the
      paper's order, on a quarter of the elements.

    References
    ----------
    G. Koch, R. Zemel, R. Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition",
    ICML Deep Learning Workshop, 2015, section 3 and figure 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.backbones import KochConv
    >>> backbone = KochConv((1, 70, 70), embedding_dim=64)
    >>> backbone(torch.zeros(2, 1, 70, 70)).shape
    torch.Size([2, 64])
    """

    def __init__(self, input_shape: tuple[int, ...], embedding_dim: int = 4096) -> None:
        channels = _n_channels(input_shape, at_least=65, owner="koch")
        height, width = map(_last_side, input_shape[1:])
        super().__init__(
            _conv_block(channels, 64, 10),
            _conv_block(64, 128, 7),
            _conv_block(128, 128, 4),
            nn.Sequential(nn.Conv2d(128, 256, 4), nn.ReLU(inplace=True)),
            nn.Flatten(),
            nn.Linear(256 * height * width, embedding_dim),
            nn.Sigmoid(),
        )


def _conv_block(n_in: int, n_out: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel_size), nn.MaxPool2d(2), nn.ReLU(inplace=True)
    )


def _last_side(side: int) -> int:
    """Return the length of a side after four convolutions and the three poolings between them."""
    for kernel_size in (10, 7, 4):
        side = (side - kernel_size + 1) // 2
    return side - 3
