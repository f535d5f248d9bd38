"""Model-agnostic meta-learning: gradient steps on the support set, and its relatives."""

from math import exp, log
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.func import grad, vjp

from .._batch import EpisodeBatch, take_rows
from .._embedding_module import EmbeddingModule
from .._module import Criterion
from .._support import State, Support
from ..backbones import embedding_shape
from ..heads import MetricHead
from ._adapting import RUNNING, AdaptingModule, as_body, body_of
from ._readout import PrototypeReadout, Readout, SharedReadout, ValueReadout

LAST_LAYER = ("weight", "bias")
MOST_STEPS = 1000  # a model file must not be able to ask for more
ANNEALING = 0.2  # share of the training after which the last step has nearly all the weight
LEAST_WEIGHT = 0.03  # of each other step, in units of an equal weight (Antoniou et al., 2019)


class GradientModule(AdaptingModule):
    r"""Takes gradient steps on the support set, and is trained through them (MAML).

    .. math::

        \theta_{j+1} = \theta_j - \alpha_j \nabla L_S(\theta_j), \qquad
        \min_\theta \sum_\tau L_Q(\theta_J)

    Parameters
    ----------
    initial : EmbeddingModule
        The network before it is adapted.
    readout : Readout
        The last layer.
    adapts : {"all", "body"}
        Whether the last layer is adapted too.
    n_steps : int
        Gradient steps ``J``.
    step_size : float
        Step size at the start of training.
    learn_step_size : {"layer", "element", False}
        Whether training adjusts the step sizes: one for each layer and step, or one for each
        weight.
    first_order : bool or float
        Whether gradients count as constants in training, or in which share of it, at its
        beginning.
    multi_step_loss : bool
        Whether the loss after each step counts, at the beginning of training.
    n_batches : int
        Length of the training that these shares refer to.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> from sklearn_fewshot.nn.optimization import GradientModule
    >>> steps = {"start": "prototype", "n_targets": None, "n_steps": 3}
    >>> module = GradientModule.build(
    ...     (2,), adaptation=steps, backbone="residual_mlp", head=PrototypicalHead
    ... ).eval()
    >>> inputs = torch.tensor([[[0.0, 0.0], [4.0, 4.0]]])
    >>> state = module.adapt(Support(inputs, torch.tensor([[0, 1]]), torch.ones(1, 2), 2))
    >>> module.predict(state, torch.tensor([[[1.0, 0.0]]])).argmax(dim=-1)
    tensor([[0]])
    """

    n_trained: Tensor
    breaks = {"duplicates": "running moments weigh less in more examples"}

    def __init__(
        self,
        initial: EmbeddingModule,
        readout: Readout,
        *,
        adapts: Literal["all", "body"] = "all",
        n_steps: int = 3,
        step_size: float = 0.05,
        learn_step_size: Literal["layer", "element", False] = "layer",
        first_order: bool | float = False,
        multi_step_loss: bool = True,
        n_batches: int = 1,
    ) -> None:
        super().__init__(initial, readout)
        if not 0 <= n_steps <= MOST_STEPS:
            raise ValueError(f"n_steps must be an int in [0, {MOST_STEPS}]. Got {n_steps}.")
        self.adapts, self.n_steps = adapts, n_steps
        self.step_size, self.learn_step_size = step_size, learn_step_size
        self.first_order, self.multi_step_loss = first_order, multi_step_loss
        self.n_batches = n_batches
        self.step_sizes = self._initial_step_sizes()
        self.register_buffer("n_trained", torch.zeros((), dtype=torch.int64))
        self._n_trained: int | None = None  # the same as a number: reading it makes a GPU wait
        self.register_load_state_dict_post_hook(_forget_number)  # type: ignore[no-untyped-call]

    @classmethod
    def around(
        cls, initial: EmbeddingModule, input_shape: tuple[int, ...], adaptation: dict[str, Any]
    ) -> Self:
        """Build the network around an initial one."""
        options = dict(adaptation)
        readout = make_readout(initial, input_shape, options.pop("start"), options.pop("n_targets"))
        return cls(initial, readout, **options)

    # ------------------------------------------------------------------ the inner loop

    def _adapt_one(self, task: State) -> State:
        return self._descend(task)[-1]

    def _descend(self, task: State) -> list[State]:
        """Return the states before the first step and after each, of one task."""
        states: list[State] = []
        body, fixed = self.body(), {"count": task["count"]}
        last: State = {}
        constant = self._gradients_are_constant()
        for j in range(self.n_steps + 1):
            if j == self.n_steps and j and not self.norms:  # the moments alone would need the run
                states.append(as_body(body) | last | fixed)
                break
            features, pull, moments = self._run_support(body, task)
            if j == 0:
                start = self.readout.start(features, task)
                last = {name: start.pop(name) for name in LAST_LAYER}
                fixed |= start
            states.append(as_body(body) | last | fixed | moments)
            if j == self.n_steps:
                break
            of_features, of_last = grad(self._support_loss, argnums=(0, 1))(
                features, last, fixed, task
            )
            slope = as_body(pull(of_features)[0]) | of_last
            if constant:
                slope = {name: value.detach() for name, value in slope.items()}
            moved = self._step(as_body(body) | last, slope, task, j)
            body, last = body_of(moved), {name: moved[name] for name in LAST_LAYER}
        return states

    def _run_support(self, body: State, task: State) -> Any:
        """Return features, the function that returns the gradient by the body, and moments."""
        if not body:
            features, moments = self.run_support(body, task)
            return features, lambda of_features: ({},), moments
        return vjp(lambda weights: self.run_support(weights, task), body, has_aux=True)

    def _support_loss(self, features: Tensor, last: State, fixed: State, task: State) -> Tensor:
        return self.readout.loss(self.readout.outputs(last | fixed, features), task)

    def _step(self, weights: State, slope: State, task: State, j: int) -> State:
        """Take one gradient step."""
        moved = dict(weights)
        for i, name in enumerate(self.adapted):
            size = self._size(i, j)
            if name in LAST_LAYER:
                size = size * self.readout.step_factor(task)
            moved[name] = weights[name] - size * slope[name]
        return moved

    # ------------------------------------------------------------------ step sizes

    @property
    def adapted(self) -> list[str]:
        """Names of what takes the steps, as in a state."""
        return [*as_body(dict.fromkeys(self.names)), *(LAST_LAYER * (self.adapts == "all"))]

    def _initial_step_sizes(self) -> nn.ParameterList:
        if self.learn_step_size is False:
            return nn.ParameterList()
        if self.learn_step_size == "layer":
            shape = (self.n_steps, len(self.adapted))
            return nn.ParameterList([torch.full(shape, log(self.step_size))])
        shapes = {name: value.shape for name, value in as_body(self.body()).items()}
        shapes |= {"weight": torch.Size((1, self.readout.n_features)), "bias": torch.Size((1,))}
        return nn.ParameterList([torch.full(shapes[k], self.step_size) for k in self.adapted])

    def _size(self, i: int, j: int) -> Any:
        """Return the step size of the i-th adapted tensor in step j."""
        if self.learn_step_size is False:
            return self.step_size
        if self.learn_step_size == "layer":
            return self.step_sizes[0][j, i].exp()
        return self.step_sizes[i]

    def describe_steps(self) -> str:
        """Describe the inner steps."""
        size = self.step_size
        if any(part.numel() for part in self.step_sizes):
            size = max(float(part.detach().max()) for part in self.step_sizes if part.numel())
            size = exp(size) if self.learn_step_size == "layer" else size
        return f"n_steps={self.n_steps} of step sizes up to {size:.3g}"

    def check_steps(self, support: Support, state: State) -> None:
        """Raise if adapted weights are not finite, and name the step from which on they are not."""
        if all(bool(value.isfinite().all()) for value in state.values()):
            return
        with RUNNING:
            states = self._descend({k: v[0] for k, v in self.tasks(support).items()})
        is_finite = [all(bool(v.isfinite().all()) for v in it.values()) for it in states]
        raise ArithmeticError(
            f"Adapting diverged: weights are NaN or infinite after step {is_finite.index(False)}, "
            f"with {self.describe_steps()}. Lower step_size, or scale the inputs."
        )

    # ------------------------------------------------------------------ training

    def training_loss(self, batch: EpisodeBatch, criterion: Criterion) -> Tensor:
        """Return the loss of the queries after the last step, or weighted over all steps."""

        def take(index: Tensor) -> Tensor:
            return take_rows(batch.inputs, index)

        support = batch.support_sets(take)
        weights = self._step_weights()
        done = self.over_tasks(
            lambda task: self._scores_after(task, weights),
            self.tasks(support) | {"queries": take(batch.query)},
        )
        self.follow_moments(done)
        self._count_batch()
        losses = [
            weight * criterion(done[f"after {j}"], batch.target) for j, weight in weights.items()
        ]
        return torch.stack(losses).sum()

    def _scores_after(self, task: State, weights: dict[int, float]) -> State:
        """Return predictions of the queries after the weighted steps, and the first moments."""
        states = self._descend(task)
        first = {k: v for k, v in states[0].items() if k.startswith(("mean.", "variance."))}
        scores = {
            f"after {j}": self._predict_one(states[j] | {"inputs": task["queries"]})["predictions"]
            for j in weights
        }
        return first | scores

    def _count_batch(self) -> None:
        self._progress()
        assert self._n_trained is not None
        self._n_trained += 1
        self.n_trained += 1

    def _progress(self) -> float:
        """Return the share of the training that is done."""
        if self._n_trained is None:
            self._n_trained = int(self.n_trained)
        return self._n_trained / self.n_batches

    def _gradients_are_constant(self) -> bool:
        if not torch.is_grad_enabled():
            return True
        if isinstance(self.first_order, bool):
            return self.first_order
        return self._progress() < self.first_order

    def _step_weights(self) -> dict[int, float]:
        """Return the weight of the loss after each step that counts."""
        n, progress = self.n_steps, self._progress() / ANNEALING
        if n <= 1 or not self.multi_step_loss or progress >= 1.0:
            return {n: 1.0}
        each = max((1.0 - progress) / n, LEAST_WEIGHT / n)
        return dict.fromkeys(range(1, n), each) | {n: 1.0 - (n - 1) * each}


def _forget_number(module: nn.Module, incompatible: Any) -> None:
    """Read the number of batches again after weights were loaded."""
    assert isinstance(module, GradientModule)
    module._n_trained = None


def make_readout(
    initial: EmbeddingModule, input_shape: tuple[int, ...], start: str, n_targets: int | None
) -> Readout:
    """Return the last layer of a start: of classes, or of values if there are targets."""
    n_features = torch.Size(embedding_shape(initial.backbone, input_shape)).numel()
    if n_targets is not None:
        return ValueReadout(n_features, n_targets)
    assert isinstance(initial.head, MetricHead)
    if start == "prototype":
        return PrototypeReadout(n_features, initial.head)
    return SharedReadout(n_features, initial.head, learn=start == "shared")
