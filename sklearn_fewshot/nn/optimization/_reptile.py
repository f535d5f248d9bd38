"""Reptile: move the weights towards those that each task is trained to."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.func import grad

from .._batch import EpisodeBatch, is_padding, take_rows
from .._embedding_module import EmbeddingModule
from .._module import Criterion
from .._support import State, Support
from ._adapting import AdaptingModule, as_body, body_of
from ._gradient import LAST_LAYER, make_readout
from ._readout import Readout

SECOND_DECAY, SMALLEST = 0.999, 1e-8  # Adam's
Loss = tuple[Tensor, State]


class ReptileModule(AdaptingModule):
    r"""Trains on the support set by minibatches, and is trained to come out near (Reptile).

    .. math::

        \theta \leftarrow \theta + \varepsilon \operatorname{mean}_\tau (\tilde\theta_\tau - \theta)

    where :math:`\tilde\theta_\tau` are the weights after some steps of Adam, without momentum, on a
    task. That is a gradient step on :math:`\frac{1}{2} \operatorname{mean}_\tau \lVert \theta -
    \tilde\theta_\tau \rVert^2` with :math:`\tilde\theta_\tau` as constants: any optimizer can
    take it.

    Parameters
    ----------
    initial : EmbeddingModule
        The network before it is adapted.
    readout : Readout
        The last layer.
    n_steps : int
        Minibatches of a task in training.
    adapt_steps : int
        Minibatches of a support set afterwards.
    inner_lr : float
        Learning rate of Adam.
    batch_size : int
        Examples in a minibatch.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> from sklearn_fewshot.nn.optimization import ReptileModule
    >>> module = ReptileModule.build(
    ...     (2,), adaptation={"n_targets": None}, backbone="residual_mlp", head=PrototypicalHead
    ... ).eval()
    >>> inputs = torch.tensor([[[0.0, 0.0], [4.0, 4.0]]])
    >>> state = module.adapt(Support(inputs, torch.tensor([[0, 1]]), torch.ones(1, 2), 2))
    >>> module.predict(state, torch.tensor([[[1.0, 0.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    adapts_norms = True
    breaks: ClassVar[dict[str, str]] = {"duplicates": "other minibatches"}

    def __init__(
        self,
        initial: EmbeddingModule,
        readout: Readout,
        *,
        n_steps: int = 5,
        adapt_steps: int = 50,
        inner_lr: float = 5e-3,
        batch_size: int = 10,
    ) -> None:
        super().__init__(initial, readout)
        self.n_steps, self.adapt_steps = n_steps, adapt_steps
        self.inner_lr, self.batch_size = inner_lr, batch_size

    @classmethod
    def around(
        cls, initial: EmbeddingModule, input_shape: tuple[int, ...], adaptation: dict[str, Any]
    ) -> Self:
        """Build the network around an initial one."""
        options = dict(adaptation)
        readout = make_readout(initial, input_shape, "zero", options.pop("n_targets"))
        return cls(initial, readout, **options)

    def describe_steps(self) -> str:
        """Describe the inner steps."""
        return f"{self.adapt_steps} steps of Adam with inner_lr={self.inner_lr:.3g}"

    def tasks(self, support: Support) -> State:
        """Return support sets, class after class: each minibatch has examples of all."""
        task = super().tasks(support)
        if task["target"].is_floating_point():
            return task
        place = _place_in_class(task).masked_fill(task["weight"] == 0, task["weight"].shape[1])
        order = place.argsort(dim=1, stable=True)
        every = torch.arange(len(order), device=order.device).unsqueeze(1)
        rows = {name: task[name][every, order] for name in ("inputs", "target", "weight")}
        return task | rows

    def _adapt_one(self, task: State) -> State:
        return self._train_on(task, self.adapt_steps)

    def _train_on(self, task: State, n_steps: int) -> State:
        """Take some steps of Adam without momentum, one minibatch each."""
        body = self.body()
        features, moments = self.run_support(body, task)
        start = self.readout.start(features, task)
        weights = as_body(body) | {name: start.pop(name) for name in LAST_LAYER}
        fixed = {"count": task["count"], **start}
        second = {name: torch.zeros_like(value) for name, value in weights.items()}
        for j in range(n_steps):
            slope = grad(self._loss)(weights, fixed, self._minibatch(task, j))
            for name, value in slope.items():
                second[name] = SECOND_DECAY * second[name] + (1 - SECOND_DECAY) * value.square()
                root = (second[name] / (1 - SECOND_DECAY ** (j + 1))).sqrt()
                weights[name] = weights[name] - self.inner_lr * value / (root + SMALLEST)
        if self.norms:
            _, moments = self.run_support(body_of(weights), task)
        return weights | fixed | moments

    def _loss(self, weights: State, fixed: State, batch: State) -> Tensor:
        features, _ = self.run_support(body_of(weights), batch)
        scaled = batch | {"weight": batch["weight"] * batch["factor"]}
        return self.readout.loss(self.readout.outputs(weights | fixed, features), scaled)

    def _minibatch(self, task: State, j: int) -> State:
        """Return the j-th minibatch; they go round the examples that are there.

        Of fewer examples than a minibatch has each is in it once: padding makes no difference.
        """
        n = (task["weight"] > 0).sum().clamp_min(1)
        place = torch.arange(self.batch_size, device=n.device)
        size = n.clamp_max(self.batch_size)
        rows = (j * size + place) % n
        is_there = (place < size) & (task["weight"][rows] > 0)
        return {
            "inputs": task["inputs"][rows],
            "target": task["target"][rows],
            "weight": is_there.to(task["weight"]),
            "count": task["count"],
            "factor": n / size,  # its loss estimates that of all examples
        }

    def training_loss(self, batch: EpisodeBatch, criterion: Criterion) -> Tensor:
        """Return the surrogate, whose gradient is that of Reptile; its value is the tasks' loss."""
        support = self.tasks(_everything(batch))
        with torch.no_grad():
            done = self.over_tasks(lambda task: self._with_loss(task), support)
        self.follow_moments(done)
        distance = torch.stack(
            [
                (value - done[name]).square().flatten(1).sum(dim=1).mean()
                for name, value in (as_body(self.body()) | self.readout.learned()).items()
            ]
        )
        surrogate = 0.5 * distance.sum()
        return surrogate - surrogate.detach() + done["loss"].mean()

    def _with_loss(self, task: State) -> State:
        state = self._train_on(task, self.n_steps)
        features = self.run(state, task["inputs"])
        return state | {"loss": self.readout.loss(self.readout.outputs(state, features), task)}


def _everything(batch: EpisodeBatch) -> Support:
    """Return support and queries as one set: all are trained on."""
    real = (~is_padding(batch.target)).to(batch.weight)
    rows = torch.cat([batch.support, batch.query], dim=1)
    queries = batch.target.clamp_min(0) if real.ndim == batch.target.ndim else batch.target
    if queries.is_floating_point():
        queries = queries.nan_to_num()
    return Support(
        take_rows(batch.inputs, rows),
        torch.cat([batch.support_target, queries], dim=1),
        torch.cat([batch.weight, real], dim=1),
        batch.n_classes,
    )


def _place_in_class(task: State) -> Tensor:
    """Return how many examples of the same class come before each, (n_episodes, n_support)."""
    target, order = task["target"].sort(dim=1, stable=True)
    is_there = (task["weight"] > 0).gather(1, order).long()
    before = is_there.cumsum(dim=1) - is_there  # of all classes up to this
    n_of_class = torch.zeros_like(task["count"], dtype=torch.long).scatter_add(1, target, is_there)
    of_earlier_classes = n_of_class.cumsum(dim=1) - n_of_class
    place = before - of_earlier_classes.gather(1, target)
    return torch.empty_like(place).scatter(1, order, place)
