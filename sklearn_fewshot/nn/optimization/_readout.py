"""Last layers of networks that adapt: how they start, their loss on the support set, their output.

All functions are of one task and of plain tensors, so that :func:`torch.func.vmap` can apply them
to many. A task is a dict of ``inputs`` (n_support, *input_shape), ``target`` (n_support,) or
(n_support, n_targets), ``weight`` (n_support,), 0 for padding, and ``count`` (n_classes,).
"""

import torch
from torch import Tensor, nn

from .._support import State
from ..heads import MetricHead


class Readout(nn.Module):
    """Base of last layers: an affine map of features, whose weights and biases are adapted.

    Parameters
    ----------
    n_features : int
        Dimension of the features.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def start(self, features: Tensor, task: State) -> State:
        """Return "weight" (n_outputs, d), "bias" (n_outputs,) and what else stays fixed."""
        raise NotImplementedError

    def learned(self) -> State:
        """Return the weights that it starts from, by their names in a state, if it has any."""
        return {}

    def outputs(self, state: State, features: Tensor) -> Tensor:
        """Return the affine map of features (n_rows, d), shape (n_rows, n_outputs)."""
        return features @ state["weight"].mT + state["bias"]

    def loss(self, outputs: Tensor, task: State) -> Tensor:
        """Return the loss of the support examples, which is minimised by gradient steps."""
        raise NotImplementedError

    def step_factor(self, task: State) -> Tensor | float:
        """Return the factor of the step size of the last layer."""
        return 1.0

    def predict(self, state: State, features: Tensor) -> Tensor:
        """Return logits or values of queries."""
        return self.outputs(state, features)


class ClassReadout(Readout):
    r"""Base of last layers that predict classes.

    With the scale :math:`s` of squared distances and the mean :math:`\bar c` of the class means
    before the steps, features are :math:`z = \sqrt{2 s}\,(f(x) - \bar c)`.

    Parameters
    ----------
    n_features : int
        Dimension of the features.
    head : MetricHead
        Has the scale.
    """

    def __init__(self, n_features: int, head: MetricHead) -> None:
        super().__init__(n_features)
        self._head = (head,)  # a part of the initial network, not of this one

    def start(self, features: Tensor, task: State) -> State:
        """Return the first rows and biases, and the centre of the features."""
        count = task["count"].unsqueeze(1)
        codes = torch.arange(len(count), device=count.device)
        member = (task["target"].unsqueeze(0) == codes.unsqueeze(1)) * task["weight"]
        mean = member @ features / count.clamp_min(1e-12)  # (n_classes, d), 0 for absent classes
        centre = mean.sum(dim=0) / _n_present(task)
        rows = self.first_rows(self._unit * (mean - centre) * (count > 0))
        return {**rows, "centre": centre}

    def first_rows(self, prototype: Tensor) -> State:
        """Return rows and biases, given the class means of the features z, (n_classes, d)."""
        raise NotImplementedError

    def outputs(self, state: State, features: Tensor) -> Tensor:
        """Return the affine map of centred and scaled features."""
        return super().outputs(state, self._centred(state, features))

    def loss(self, outputs: Tensor, task: State) -> Tensor:
        """Return the class-balanced cross-entropy: classes weigh equally, for any shots."""
        logits = outputs.masked_fill(_is_absent(task), torch.finfo(outputs.dtype).min)
        own = logits.gather(1, task["target"].unsqueeze(1)).squeeze(1)
        balanced = task["weight"] / task["count"].clamp_min(1e-12).gather(0, task["target"])
        return (balanced * (logits.logsumexp(dim=1) - own)).sum() / _n_present(task)

    def step_factor(self, task: State) -> Tensor:
        """Return the number of classes: the gradient of one class's row decreases with it."""
        return _n_present(task)

    def predict(self, state: State, features: Tensor) -> Tensor:
        r"""Return logits less :math:`\lVert z \rVert^2 / 2`, ``-inf`` for absent classes.

        Probabilities do not depend on it; scores say how far a query is from all classes.
        """
        logits = self.outputs(state, features)
        logits = logits - 0.5 * self._centred(state, features).square().sum(dim=1, keepdim=True)
        return logits.masked_fill(_is_absent(state), -torch.inf)

    def _centred(self, state: State, features: Tensor) -> Tensor:
        return self._unit * (features - state["centre"])

    @property
    def _unit(self) -> Tensor:
        (head,) = self._head
        return (2.0 * head.scale).sqrt()


class PrototypeReadout(ClassReadout):
    r"""Starts as the Prototypical Network: the last layer of Proto-MAML.

    Rows are the class means :math:`w_k` of the features, biases :math:`-\lVert w_k \rVert^2 / 2`.
    Logits before the first step are :math:`-s \lVert f(x) - c_k \rVert^2`.

    References
    ----------
    E. Triantafillou et al., "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
    Examples", ICLR 2020 (section 3), without centre and scale.
    """

    def first_rows(self, prototype: Tensor) -> State:
        """Return the class means and what makes their logits distances."""
        return {"weight": prototype, "bias": -0.5 * prototype.square().sum(dim=1)}


class SharedReadout(ClassReadout):
    """Starts from one learned row, the same for all classes: any number of them, none special.

    Parameters
    ----------
    n_features : int
        Dimension of the features.
    head : MetricHead
        Has the scale.
    learn : bool
        Whether the row is learned; else it stays zero.

    References
    ----------
    H.-J. Ye and W.-L. Chao, "How to Train Your MAML to Excel in Few-Shot Classification",
    ICLR 2022.
    """

    def __init__(self, n_features: int, head: MetricHead, learn: bool = True) -> None:
        super().__init__(n_features, head)
        self.row = nn.Parameter(torch.zeros(n_features), requires_grad=learn)

    def first_rows(self, prototype: Tensor) -> State:
        """Return the row for each class, and biases of zero."""
        weight = self.row + torch.zeros_like(prototype)
        return {"weight": weight, "bias": torch.zeros_like(prototype[:, 0])}


class ValueReadout(Readout):
    """Linear regression whose initial weights are learned.

    Parameters
    ----------
    n_features, n_targets : int
        Dimensions of features and values.
    """

    def __init__(self, n_features: int, n_targets: int) -> None:
        super().__init__(n_features)
        self.n_targets = n_targets
        self.layer = nn.Linear(n_features, n_targets)

    def learned(self) -> State:
        """Return the weights of the layer."""
        return {"weight": self.layer.weight, "bias": self.layer.bias}

    def start(self, features: Tensor, task: State) -> State:
        """Return the learned layer."""
        return self.learned()

    def loss(self, outputs: Tensor, task: State) -> Tensor:
        """Return the mean squared error; 0 without examples, which leads nowhere."""
        squared = (outputs - task["target"]).square().mean(dim=1)
        return (task["weight"] * squared).sum() / task["weight"].sum().clamp_min(1e-12)


def _is_absent(task: State) -> Tensor:
    return (task["count"] == 0).unsqueeze(0)  # (1, n_classes)


def _n_present(task: State) -> Tensor:
    return (task["count"] > 0).sum().to(task["count"])
