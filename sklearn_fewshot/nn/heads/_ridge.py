"""Ridge regression of the labels, in closed form (Bertinetto et al., 2019)."""

import math

import torch
from torch import Tensor, nn

from .._losses import log_loss_factor
from .._support import State, Support, class_means
from ._base import Head

LEAST_SIZE = 1e-7  # of centred embeddings, as a share of their mean: the rounding of float32


class RidgeHead(Head):
    r"""Ridge regression of the labels of the support set, solved in closed form.

    With the mean ``m`` of the class means, the root mean square ``r`` of the distances of the
    embeddings ``f`` from it, and :math:`z = (f - m) / r`, the coefficients of an episode are

    .. math::

        W = \Big(\sum_i w_i z_i z_i^\top + \lambda I\Big)^{-1} \sum_i w_i z_i y_i^\top
          = X^\top (X X^\top + \lambda I)^{-1} Y

    with one-hot labels :math:`y_i` and rows :math:`\sqrt{w_i} z_i` of ``X`` and
    :math:`\sqrt{w_i} y_i` of ``Y``. The second form is computed if there are fewer examples than
    features. Logits are :math:`\alpha W^\top z`, and training goes through the solution.

    Parameters
    ----------
    penalty : float
        :math:`\lambda`, in units of one example: embeddings have mean square 1.
    learn_penalty : bool
        Whether the (logarithm of the) penalty is trained.
    scale : float
        :math:`\alpha` at the start of training; its logarithm is learned.

    Notes
    -----
    All classes have the same total weight, or those with more examples would get higher responses:
    :math:`w_i \propto 1 / n_k` in a class of :math:`n_k` examples. The weights add up to their
    effective number :math:`N^2 / \sum_k n_k^{-1}` for ``N`` classes (Kish); with equal shots every
    weight is 1.

    References
    ----------
    L. Bertinetto, J. F. Henriques, P. H. S. Torr and A. Vedaldi, "Meta-learning with differentiable
    closed-form solvers", ICLR 2019 (section 3.2).

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import RidgeHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = RidgeHead()
    >>> state = head.context(support)
    >>> head.score(state, torch.tensor([[[0.0, 1.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    breaks = {"duplicates": "the relative weight of the penalty decreases with more examples"}

    def __init__(
        self, penalty: float = 1.0, learn_penalty: bool = True, scale: float = 10.0
    ) -> None:
        super().__init__()
        self.log_penalty = nn.Parameter(
            torch.tensor(float(penalty)).log(), requires_grad=learn_penalty
        )  # ()
        self.log_scale = nn.Parameter(torch.tensor(float(scale)).log())

    @property
    def penalty(self) -> Tensor:
        """The positive penalty of the coefficients."""
        return self.log_penalty.exp()

    @property
    def scale(self) -> Tensor:
        """The positive factor of the responses."""
        return self.log_scale.exp()

    def context(self, representation: Support) -> State:
        """Solve the regression of each episode."""
        # In float64: the condition number of a regression is that of its samples, squared.
        flat = representation.inputs.flatten(2).double()
        means = class_means(representation._replace(inputs=flat))
        weight = _balance(representation, means.weight)  # (n_episodes, n_support, 1)
        share = weight / weight.sum(dim=1, keepdim=True)
        mean = (share * flat).sum(dim=1, keepdim=True)  # (n_episodes, 1, d)
        size = _size(share, flat - mean, mean)  # (n_episodes, 1, 1)
        target = flat.new_zeros(*flat.shape[:2], representation.n_classes)
        target = target.scatter_(2, representation.target.unsqueeze(-1), 1.0)
        root = weight.sqrt()
        solution = solve_ridge(root * (flat - mean) / size, root * target, self.penalty)
        state = {"coefficients": solution / size, "mean": mean, "count": means.weight}
        return {name: value.to(representation.inputs.dtype) for name, value in state.items()}

    def score(self, state: State, query: Tensor) -> Tensor:
        """Return the scaled responses of the regression."""
        response = (query.flatten(2) - state["mean"]) @ state["coefficients"]
        absent = (state["count"] == 0).unsqueeze(1)  # (n_episodes, 1, n_classes)
        return (self.scale * response).masked_fill(absent, -torch.inf)

    def start_from(self, logits: Tensor, target: Tensor) -> None:
        """Set the scale to that with the least log-loss: the softmax is not flat, nor saturated."""
        with torch.no_grad():
            self.log_scale.add_(math.log(log_loss_factor(logits, target)))


def solve_ridge(X: Tensor, Y: Tensor, penalty: Tensor) -> Tensor:
    r"""Return :math:`(X^\top X + \lambda I)^{-1} X^\top Y` of each episode, in the smaller system.

    Parameters
    ----------
    X : tensor of shape (n_episodes, n_samples, n_features)
        Samples.
    Y : tensor of shape (n_episodes, n_samples, n_targets)
        Targets.
    penalty : tensor of shape ()
        :math:`\lambda > 0`.

    Returns
    -------
    coefficients : tensor of shape (n_episodes, n_features, n_targets)
    """
    is_dual = X.shape[1] <= X.shape[2]
    gram = X @ X.mT if is_dual else X.mT @ X
    identity = torch.eye(gram.shape[-1], dtype=X.dtype, device=X.device)
    factor = torch.linalg.cholesky(gram + penalty * identity)
    if is_dual:
        return X.mT @ torch.cholesky_solve(Y, factor)
    return torch.cholesky_solve(X.mT @ Y, factor)


def _balance(support: Support, count: Tensor) -> Tensor:
    """Return weights that add up to the same for each class, and to the effective number."""
    n_classes = (count > 0).sum(dim=1, keepdim=True)
    inverse = torch.where(count > 0, 1.0 / count.clamp_min(1e-12), 0.0)  # (n_episodes, n_classes)
    effective = n_classes.square() / inverse.sum(dim=1, keepdim=True)
    weight = support.weight.to(count.dtype) * inverse.gather(1, support.target)
    return (effective / n_classes * weight).unsqueeze(-1)


def _size(share: Tensor, centred: Tensor, mean: Tensor) -> Tensor:
    """Return the root mean square of centred embeddings; 1 if all embeddings are zero."""
    square = (share * centred.square()).sum(dim=(1, 2), keepdim=True)
    least = LEAST_SIZE**2 * mean.square().sum(dim=2, keepdim=True)  # all embeddings are equal
    square = torch.maximum(square, least)
    return torch.where(square > 0, square, 1.0).sqrt()
