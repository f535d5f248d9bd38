"""Losses and gradients as inputs of a network."""

from math import exp

import torch
from torch import Tensor

P = 10.0  # magnitudes below exp(-P) count as small


def preprocess(x: Tensor) -> Tensor:
    r"""Return magnitude and sign of numbers of any size, both of about 1.

    :math:`(\log |x| / p, \operatorname{sign} x)` if :math:`|x| \ge e^{-p}`, else
    :math:`(-1, e^p x)`, with p = 10 (Ravi and Larochelle, 2017, appendix A).

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn._preprocess import preprocess
    >>> preprocess(torch.tensor([1.0, -1.0, 0.0]))
    tensor([[ 0.,  1.],
            [ 0., -1.],
            [-1.,  0.]])
    """
    is_large = x.abs() >= exp(-P)
    magnitude = torch.where(is_large, x.abs().clamp_min(exp(-P)).log() / P, -torch.ones_like(x))
    return torch.stack([magnitude, torch.where(is_large, x.sign(), exp(P) * x)], dim=-1)
