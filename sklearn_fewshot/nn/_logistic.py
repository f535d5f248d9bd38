"""Multinomial logistic regressions of many episodes at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

GRADIENT_TOLERANCE = 1e-6  # of the loss, per unit of a coefficient
LOSS_TOLERANCE = 1e-14  # relative: about the rounding of float64
MAX_ITERATIONS = 1000
N_PAIRS = 10  # memory of L-BFGS: steps and changes of the gradient
N_HALVINGS = 20  # of a step that does not lower the loss enough
SUFFICIENT = 1e-4  # Armijo condition: least decrease, as a share of the linear prediction


def fit_logistic(X: Tensor, code: Tensor, weight: Tensor, n_classes: int, C: float) -> Tensor:
    r"""Minimise ``C * sum(weight * cross-entropy) + |coefficients|^2 / 2`` in each episode.

    Parameters
    ----------
    X : float64 tensor of shape (n_episodes, n_samples, n_features)
        Samples.
    code : int64 tensor of shape (n_episodes, n_samples)
        Classes.
    weight : float64 tensor of shape (n_episodes, n_samples)
        Weight of each sample; 0 for padding. Each episode has a positive weight.
    n_classes : int
        Number of classes. Those without a sample in an episode have coefficients 0.
    C : float
        Inverse strength of the penalty; the bias is not penalised.

    Returns
    -------
    coefficients : float64 tensor of shape (n_episodes, n_classes, n_features + 1)
        The bias last.

    Notes
    -----
    The coefficients lie in the span of the centred samples, whose principal axes are the
    coordinates here, so that few samples are few unknowns for any number of features. Each
    coordinate is divided by the root of a bound on its curvature. With the weighted second moments
    ``S`` of the samples, the Hessian of the cross-entropy is at most ``S / 2`` in each class
    (Böhning), a diagonal matrix along these axes. L-BFGS, started with the bound as its Hessian,
    needs ten to a hundred iterations.

    References
    ----------
    D. Böhning, "Multinomial Logistic Regression Algorithm", Annals of the Institute of Statistical
    Mathematics 44, 1992.

    J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, section 7.2.
    """
    weight = weight.unsqueeze(-1)  # (n_episodes, n_samples, 1)
    target = X.new_zeros(*code.shape, n_classes).scatter_(2, code.unsqueeze(-1), 1.0)
    absent = (weight * target).sum(dim=1, keepdim=True) == 0  # (n_episodes, 1, n_classes)
    total = weight.sum(dim=1, keepdim=True)
    mean = (weight * X).sum(dim=1, keepdim=True) / total
    _, singular, axes = torch.linalg.svd(weight.sqrt() * (X - mean), full_matrices=False)
    rows = torch.cat([(X - mean) @ axes.mT, torch.ones_like(weight)], dim=-1)
    moments = torch.cat([singular**2, total[:, 0]], dim=-1).unsqueeze(-1)  # of each coordinate
    penalty = torch.ones_like(moments)
    penalty[:, -1] = 0.0
    unit = (0.5 * C * moments + penalty).rsqrt()  # (n_episodes, n_coordinates, 1)
    rows, penalty = rows * unit.mT, penalty * unit**2

    def loss_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        log_p = (rows @ x).masked_fill(absent, -torch.inf).log_softmax(dim=-1)
        entropy = -(weight * torch.where(target > 0, log_p, 0.0)).sum(dim=(1, 2), keepdim=True)
        loss = C * entropy + 0.5 * _dot(penalty * x, x)
        return loss, C * rows.mT @ (weight * (log_p.exp() - target)) + penalty * x

    start = X.new_zeros(*rows.shape[::2], n_classes)
    # The gradient of the biases is proportional to C.
    minimum = _minimise(loss_and_gradient, start, GRADIENT_TOLERANCE * min(1.0, C) * unit)
    minimum = (unit * minimum).mT  # (n_episodes, n_classes, n_coordinates)
    coefficients = minimum[..., :-1] @ axes
    bias = minimum[..., -1:] - coefficients @ mean.mT
    return torch.cat([coefficients, bias], dim=-1).masked_fill(absent.mT, 0.0)


class _Pair(NamedTuple):
    """A step and its change of the gradient, with their products; zeros without a step."""

    step: Tensor
    change: Tensor
    inverse: Tensor  # of their product, (n_episodes, 1, 1)
    curvature: Tensor  # inverse: length of a step per unit of the gradient

    @classmethod
    def of(cls, step: Tensor, change: Tensor) -> "_Pair":
        product = _dot(step, change)
        is_convex = product > 0
        inverse = torch.where(is_convex, 1.0 / product, 0.0)
        curvature = torch.where(is_convex, product / _dot(change, change), 1.0)
        return cls(step, change, inverse, curvature)


def _minimise(
    loss_and_gradient: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor, tolerance: Tensor
) -> Tensor:
    """Minimise a convex function of each episode by L-BFGS, until all gradients are small.

    A converged episode is unchanged by further iterations: episodes are independent.
    """
    loss, gradient = loss_and_gradient(x)
    pairs: list[_Pair] = []
    stuck = torch.zeros_like(loss, dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        active = ~stuck & (gradient.abs() > tolerance).any(dim=-1).any(dim=-1)[:, None, None]
        if not active.any():
            break
        direction = _direction(gradient, pairs)
        expected = SUFFICIENT * _dot(direction, gradient)
        rounding = LOSS_TOLERANCE * loss.abs()
        length = active.to(x.dtype)
        for _ in range(N_HALVINGS):
            new = x - length * direction
            new_loss, new_gradient = loss_and_gradient(new)
            too_long = new_loss > loss - length * expected + rounding
            if not too_long.any():
                break
            length = torch.where(too_long, 0.5 * length, length)
        moves = active & ~too_long
        stuck |= active & (too_long | (loss - new_loss <= rounding))
        pairs = [
            *pairs[1 - N_PAIRS :],
            _Pair.of((new - x) * moves, (new_gradient - gradient) * moves),
        ]
        x, loss, gradient = (
            torch.where(moves, after, before)
            for before, after in ((x, new), (loss, new_loss), (gradient, new_gradient))
        )
    return x


def _direction(gradient: Tensor, pairs: list[_Pair]) -> Tensor:
    """Multiply the gradient by the inverse Hessian of L-BFGS (the two-loop recursion)."""
    shares = []
    for pair in reversed(pairs):
        share = pair.inverse * _dot(pair.step, gradient)
        gradient = gradient - share * pair.change
        shares.append(share)
    if pairs:
        gradient = pairs[-1].curvature * gradient
    for pair, share in zip(pairs, reversed(shares), strict=True):
        gradient = gradient + (share - pair.inverse * _dot(pair.change, gradient)) * pair.step
    return gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar product in each episode, of shape (n_episodes, 1, 1)."""
    return (a * b).sum(dim=(1, 2), keepdim=True)
