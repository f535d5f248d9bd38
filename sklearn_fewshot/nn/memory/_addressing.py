"""How the heads of a Neural Turing Machine choose slots, as functions of values.

Equation numbers are those of A. Graves, G. Wayne and I. Danihelka, "Neural Turing Machines",
arXiv:1410.5401, 2014 (section 3.3). The leading axes are the caller's: none, or one of sequences.
"""

import torch
from torch import Tensor

SHORTEST = 1e-12  # a row below this norm counts as zero: its cosine to anything is 0


def content_weights(key: Tensor, memory: Tensor, strength: Tensor) -> Tensor:
    r"""Weight slots by the similarity of their contents to a key (equations 5 and 6).

    .. math::

        w^c(i) = \operatorname{softmax}_i \big(\beta\, K[k, M(i)]\big), \qquad
        K[u, v] = \frac{u \cdot v}{\lVert u \rVert\, \lVert v \rVert}

    Parameters
    ----------
    key : tensor of shape (..., n_heads, width)
        :math:`k`, what each head looks for.
    memory : tensor of shape (..., n_slots, width)
        :math:`M`.
    strength : tensor of shape (..., n_heads)
        :math:`\beta \ge 0`: 0 weights all slots equally.

    Returns
    -------
    weights : tensor of shape (..., n_heads, n_slots)
        Non-negative, with sum one over the slots.

    Notes
    -----
    The paper leaves the cosine of a zero row open. Here it is 0 and passes no gradient to that row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import content_weights
    >>> memory = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> key = torch.tensor([[2.0, 0.0]])
    >>> content_weights(key, memory, strength=torch.tensor([5.0])).round(decimals=3)
    tensor([[0.9870, 0.0070, 0.0070]])
    """
    cosine = _unit_length(key) @ _unit_length(memory).mT  # (..., n_heads, n_slots)
    return (strength.unsqueeze(-1) * cosine).softmax(dim=-1)


def interpolate(weights: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    r"""Mix weights by content with those of the previous step (equation 7).

    .. math:: w^g_t = g\, w^c_t + (1 - g)\, w_{t-1}

    Parameters
    ----------
    weights, previous : tensor of shape (..., n_heads, n_slots)
        :math:`w^c_t` and :math:`w_{t-1}`.
    gate : tensor of shape (..., n_heads)
        :math:`g` in [0, 1]: 0 ignores the content.

    Returns
    -------
    weights : tensor of shape (..., n_heads, n_slots)
        :math:`w^g_t`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import interpolate
    >>> by_content, previous = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> interpolate(by_content, previous, gate=torch.tensor([0.25]))
    tensor([[0.2500, 0.7500]])
    """
    gate = gate.unsqueeze(-1)
    return gate * weights + (1.0 - gate) * previous


def shift(weights: Tensor, kernel: Tensor) -> Tensor:
    r"""Move weights along the slots by circular convolution (equation 8).

    .. math:: \tilde w(i) = \sum_{o=-r}^{r} s(o)\, w\big((i - o) \bmod N\big)

    Parameters
    ----------
    weights : tensor of shape (..., n_heads, n_slots)
        :math:`w^g`.
    kernel : tensor of shape (..., n_heads, 2 * r + 1)
        :math:`s`, the share of each offset from ``-r`` to ``r``; sum one.

    Returns
    -------
    weights : tensor of shape (..., n_heads, n_slots)
        :math:`\tilde w`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import shift
    >>> weights, one_further = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    >>> shift(weights, one_further)  # after the last slot comes the first
    tensor([[1., 0., 0.]])
    """
    reach, even = divmod(kernel.shape[-1] - 1, 2)
    if even:
        raise ValueError(
            f"The 'kernel' parameter of shift must have an odd length, one entry for each offset "
            f"from -r to r. Got {kernel.shape[-1]}."
        )
    shares = kernel.unsqueeze(-1).unbind(-2)  # for each offset (..., n_heads, 1)
    moved = (share * weights.roll(o - reach, dims=-1) for o, share in enumerate(shares))
    return torch.stack(tuple(moved)).sum(dim=0)


def sharpen(weights: Tensor, gamma: Tensor) -> Tensor:
    r"""Concentrate weights that a shift has blurred (equation 9).

    .. math:: w(i) = \tilde w(i)^\gamma \Big/ \sum_j \tilde w(j)^\gamma

    Parameters
    ----------
    weights : tensor of shape (..., n_heads, n_slots)
        :math:`\tilde w`.
    gamma : tensor of shape (..., n_heads)
        :math:`\gamma \ge 1`: 1 changes nothing.

    Returns
    -------
    weights : tensor of shape (..., n_heads, n_slots)
        :math:`w`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import sharpen
    >>> sharpen(torch.tensor([[0.25, 0.75]]), gamma=torch.tensor([2.0]))
    tensor([[0.1000, 0.9000]])
    """
    # Relative to the largest, whose power is 1: powers of flat weights would all underflow.
    relative = weights / weights.detach().amax(dim=-1, keepdim=True)
    powers = relative.pow(gamma.unsqueeze(-1))
    return powers / powers.sum(dim=-1, keepdim=True)


def _unit_length(rows: Tensor) -> Tensor:
    squares = rows.square().sum(dim=-1, keepdim=True)
    return rows * squares.masked_fill(squares < SHORTEST**2, torch.inf).rsqrt()
