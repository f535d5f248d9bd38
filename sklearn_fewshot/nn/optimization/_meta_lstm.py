"""The LSTM meta-learner: the steps themselves are learned."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from .._batch import EpisodeBatch, take_rows
from .._embedding_module import EmbeddingModule
from .._module import Criterion
from .._preprocess import preprocess
from .._support import State
from ._adapting import AdaptingModule, as_body, body_of
from ._gradient import LAST_LAYER, make_readout
from ._readout import Readout

SMALL_WEIGHT = 0.01


class MetaLSTMModule(AdaptingModule):
    r"""Steps with learned forget and input gates, for each coordinate of the weights.

    .. math::

        \theta_t = f_t \odot \theta_{t-1} - i_t \odot \nabla_t

    .. math::

        f_t = \sigma(W_F [h_t, \theta_{t-1}, \hat f_{t-1}] + b_F), \qquad
        i_t = \sigma(W_I [h_t, \theta_{t-1}, \hat\imath_{t-1}] + b_I)

    where :math:`h_t` is the output of an ordinary LSTM on the loss and the coordinate's gradient,
    both as logarithm and sign, and :math:`\hat f, \hat\imath` are the gates before the sigmoid. All
    coordinates share these weights, and each has a state. Losses and gradients count as constants.

    Parameters
    ----------
    initial : EmbeddingModule
        The network before it is adapted.
    readout : Readout
        The last layer.
    n_steps : int
        Steps, each on the whole support set.
    hidden_dim : int
        Units of the LSTM.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> from sklearn_fewshot.nn.optimization import MetaLSTMModule
    >>> module = MetaLSTMModule.build(
    ...     (2,), adaptation={}, backbone="residual_mlp", head=PrototypicalHead
    ... ).eval()
    >>> inputs = torch.tensor([[[0.0, 0.0], [4.0, 4.0]]])
    >>> state = module.adapt(Support(inputs, torch.tensor([[0, 1]]), torch.ones(1, 2), 2))
    >>> module.predict(state, torch.tensor([[[1.0, 0.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    breaks: ClassVar[dict[str, str]] = {"duplicates": "running moments weigh less in more examples"}

    def __init__(
        self, initial: EmbeddingModule, readout: Readout, *, n_steps: int = 12, hidden_dim: int = 20
    ) -> None:
        super().__init__(initial, readout)
        self.n_steps, self.hidden_dim = n_steps, hidden_dim
        self.n_weight_copies = 8 * hidden_dim
        self.lstm = nn.Linear(4 + hidden_dim, 4 * hidden_dim)
        self.forget_gate = nn.Linear(hidden_dim + 2, 1)
        self.input_gate = nn.Linear(hidden_dim + 2, 1)
        if not self.lstm.weight.is_meta:
            for layer in (self.lstm, self.forget_gate, self.input_gate):
                for parameter in layer.parameters():
                    nn.init.uniform_(parameter, -SMALL_WEIGHT, SMALL_WEIGHT)
            nn.init.uniform_(self.forget_gate.bias, 4.0, 5.0)  # slow gradient descent at first
            nn.init.uniform_(self.input_gate.bias, -5.0, -4.0)

    @classmethod
    def around(
        cls, initial: EmbeddingModule, input_shape: tuple[int, ...], adaptation: dict[str, Any]
    ) -> Self:
        """Build the network around an initial one."""
        return cls(initial, make_readout(initial, input_shape, "shared", None), **adaptation)

    def describe_steps(self) -> str:
        """Describe the inner steps."""
        return f"n_steps={self.n_steps} of learned sizes"

    def _adapt_one(self, task: State) -> State:
        body = self.body()
        features, moments = self.run_support(body, task)
        start = self.readout.start(features, task)
        weights = as_body(body) | {name: start.pop(name) for name in LAST_LAYER}
        fixed = {"count": task["count"], **start}
        theta = _flatten(weights)  # (n_coordinates,)
        h = c = theta.new_zeros(len(theta), self.hidden_dim)
        forget = keep = theta.new_zeros(len(theta), 1)
        for _ in range(self.n_steps):
            constants = {name: value.detach() for name, value in weights.items()}
            slope, loss = grad_and_value(self._loss)(constants, fixed, task)
            for name in LAST_LAYER:  # the gradient of one row decreases with the number of rows
                slope[name] = slope[name] * self.readout.step_factor(task)
            gradient = _flatten(slope).detach()
            seen = [preprocess(loss.detach()).expand(len(theta), 2), preprocess(gradient), h]
            h, c = self._lstm_step(torch.cat(seen, dim=1), c)
            state = theta.unsqueeze(1)
            forget = self.forget_gate(torch.cat([h, state, forget], dim=1))
            keep = self.input_gate(torch.cat([h, state, keep], dim=1))
            theta = forget.squeeze(1).sigmoid() * theta - keep.squeeze(1).sigmoid() * gradient
            weights = _unflatten(theta, weights)
        if self.norms:
            _, moments = self.run_support(body_of(weights), task)
        return weights | fixed | moments

    def _lstm_step(self, seen: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        write, keep, value, show = self.lstm(seen).chunk(4, dim=1)
        c = keep.sigmoid() * c + write.sigmoid() * value.tanh()
        return show.sigmoid() * c.tanh(), c

    def _loss(self, weights: State, fixed: State, task: State) -> Tensor:
        features, _ = self.run_support(body_of(weights), task)
        return self.readout.loss(self.readout.outputs(weights | fixed, features), task)

    def training_loss(self, batch: EpisodeBatch, criterion: Criterion) -> Tensor:
        """Return the loss of the queries."""

        def take(index: Tensor) -> Tensor:
            return take_rows(batch.inputs, index)

        state = self.adapt(batch.support_sets(take))
        self.follow_moments(state)
        return criterion(self.predict(state, take(batch.query)), batch.target)


def _flatten(weights: State) -> Tensor:
    return torch.cat([value.reshape(-1) for value in weights.values()])


def _unflatten(theta: Tensor, like: State) -> State:
    parts = theta.split([value.numel() for value in like.values()])
    return {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}
