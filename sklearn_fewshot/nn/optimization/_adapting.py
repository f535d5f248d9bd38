"""Networks whose own weights are a function of the support set: what they share."""

import copy
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from .._embedding_module import EmbeddingModule
from .._module import FewShotModule
from .._support import State, Support
from ..backbones._linear_start import FrontAndTop
from ..heads._matching import in_canonical_order
from ._readout import ClassReadout, Readout, ValueReadout
from ._task_norm import TaskNorm, task_norms, with_task_norm

# functional_call exchanges the weights of a module in place: one thread at a time.
RUNNING = threading.RLock()
TASK_BYTES = 2**28  # of weights and activations of the tasks that adapt at once
FLOAT_BYTES = 4
N_COPIES = 3  # of weights and activations: values, gradients, what is between


class AdaptingModule(FewShotModule):
    """Base of networks whose own weights are a function of the support set.

    ``initial`` is the network before. It gives the embedding of ``transform``, and represents
    the base classes, which are not adapted to.

    A subclass defines ``_adapt_one``, from one task to the state in which queries are
    predicted. That is a function of plain tensors, applied to all tasks at once by
    :func:`torch.func.vmap`, or in a loop where a network cannot be vectorised. The network is
    always in evaluation mode, without dropout, and its batch normalisation goes by the moments of
    the support set (:class:`TaskNorm`).

    Parameters
    ----------
    initial : EmbeddingModule
        The network before it is adapted. Its backbone is changed in place.
    readout : Readout
        The last layer.

    Attributes
    ----------
    loops : bool
        Whether tasks are adapted to one after the other.

    Examples
    --------
    A network that only takes the moments of the support set:

    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> from sklearn_fewshot.nn.optimization import AdaptingModule
    >>> from sklearn_fewshot.nn.optimization._readout import PrototypeReadout
    >>> class MomentsOnly(AdaptingModule):
    ...     @classmethod
    ...     def around(cls, initial, input_shape, adaptation):
    ...         return cls(initial, PrototypeReadout(2, initial.head))
    ...
    ...     def _adapt_one(self, task):
    ...         features, moments = self.run_support(self.body(), task)
    ...         return self.readout.start(features, task) | {"count": task["count"]} | moments
    >>> module = MomentsOnly.build(
    ...     (2,), adaptation={}, backbone="residual_mlp", head=PrototypicalHead
    ... ).eval()
    >>> inputs = torch.tensor([[[0.0, 0.0], [4.0, 4.0]]])
    >>> state = module.adapt(Support(inputs, torch.tensor([[0, 1]]), torch.ones(1, 2), 2))
    >>> module.predict(state, torch.tensor([[[1.0, 0.0]]])).detach().round()
    tensor([[[ -1., -25.]]])
    """

    score_shift = False
    is_costly = True
    #: Values that adapting needs at once for each weight.
    n_weight_copies: int = 1
    #: Whether scales and offsets of batch normalisation are adapted too.
    adapts_norms: ClassVar[bool] = False
    breaks: ClassVar[dict[str, str]] = {}

    def __init__(self, initial: EmbeddingModule, readout: Readout) -> None:
        super().__init__()
        if isinstance(initial.backbone, FrontAndTop):  # which has norms in its front alone
            self.norms: tuple[TaskNorm, ...] = ()
        else:
            initial.backbone = with_task_norm(initial.backbone)
            self.norms = tuple(task_norms(initial.backbone))
        self.initial = initial.train(False)
        self.readout = readout
        fixed = {id(p) for norm in self.norms for p in norm.parameters()}
        fixed = set() if self.adapts_norms else fixed
        #: Names of the weights of the body that are adapted; those of a frozen part are not.
        self.names = [
            name
            for name, p in initial.backbone.named_parameters()
            if p.requires_grad and id(p) not in fixed
        ]
        self.loops = False
        self.n_activations = 0

    @classmethod
    def build(  # type: ignore[override]
        cls, input_shape: tuple[int, ...], *, adaptation: dict[str, Any], **initial: Any
    ) -> Self:
        """Build the network with initial weights, and try whether it can be vectorised.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample.
        adaptation : dict
            Parameters of how it adapts.
        **initial
            As in :meth:`sklearn_fewshot.nn.EmbeddingModule.build`.
        """
        module = cls.around(EmbeddingModule.build(input_shape, **initial), input_shape, adaptation)
        module.n_activations = _count_activations(module.initial.backbone, input_shape)
        module.loops = not module._can_vectorise(input_shape)
        return module

    @classmethod
    def around(
        cls, initial: EmbeddingModule, input_shape: tuple[int, ...], adaptation: dict[str, Any]
    ) -> Self:
        """Build the network around an initial one."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the network inside stays in evaluation mode, without dropout."""
        super().train(mode)
        self.initial.train(False)
        return self

    def on_front(self) -> Self:
        """Return this network without the front end of its backbone, with the same weights.

        It takes what the front end makes of samples.
        """
        backbone = self.initial.backbone
        assert isinstance(backbone, FrontAndTop)
        part = copy.copy(self)
        part._modules = {
            **self._modules,
            "initial": EmbeddingModule(backbone.top, self.initial.head),
        }
        part.names = [name.removeprefix("1.") for name in self.names]
        return part

    # ------------------------------------------------------------------ the two methods

    def adapt(self, support: Support) -> State:
        """Adapt to support sets; the order of the examples has no effect."""
        return self.over_tasks(self._adapt_one, self.tasks(support))

    def predict(self, state: State, inputs: Tensor) -> Tensor:
        """Predict queries by the adapted weights."""
        return self.over_tasks(self._predict_one, state | {"inputs": inputs})["predictions"]

    def _adapt_one(self, task: State) -> State:
        """Return the state of one task: adapted weights, and moments of its support set."""
        raise NotImplementedError

    def _predict_one(self, state: State) -> State:
        features = self.run(state, state["inputs"])
        return {"predictions": self.readout.predict(state, features)}

    def describe_steps(self) -> str:
        """Describe the inner steps, for errors."""
        raise NotImplementedError

    def check_predictions(self, predictions: Tensor) -> None:
        """Raise if predictions of many tasks are not numbers: the steps of some have diverged."""
        is_bad = predictions.isnan().flatten(1).any(dim=1)
        if is_bad.any():
            raise ArithmeticError(
                f"Adapting diverged in {int(is_bad.sum())} of {len(is_bad)} episodes, with "
                f"{self.describe_steps()}: the predictions are NaN. Lower the step size, take "
                "fewer steps, or scale the inputs."
            )

    def check_steps(self, support: Support, state: State) -> None:
        """Raise if adapted weights are not finite: the steps have diverged."""
        if not all(bool(value.isfinite().all()) for value in state.values()):
            raise ArithmeticError(
                f"Adapting diverged: after {self.describe_steps()}, the weights are NaN or "
                "infinite. Lower the step size, take fewer steps, or scale the inputs."
            )

    # ------------------------------------------------------------------ parts of subclasses

    def tasks(self, support: Support) -> State:
        """Return support sets as a dict of tensors, in canonical order."""
        count = support.weight.new_zeros(len(support.weight), support.n_classes)
        if isinstance(self.readout, ClassReadout):
            shape = support.inputs.shape[2:]
            support = in_canonical_order(support)
            support = support._replace(inputs=support.inputs.unflatten(2, shape))
            count = count.scatter_add(1, support.target, support.weight)
        else:
            support = _in_order_of_values(support)
        return {
            "inputs": support.inputs,
            "target": support.target,
            "weight": support.weight,
            "count": count,
        }

    def over_tasks(self, function: Callable[[State], State], tasks: State) -> State:
        """Apply a function of one task to all: a dict of stacked tensors to another."""
        with RUNNING:
            if not self.loops:
                return vmap(function, chunk_size=self._chunk_size(tasks))(tasks)
            n_tasks = len(next(iter(tasks.values())))
            each = [function({k: v[e] for k, v in tasks.items()}) for e in range(n_tasks)]
            return {name: torch.stack([one[name] for one in each]) for name in each[0]}

    def run(self, weights: State, inputs: Tensor) -> Tensor:
        """Run the body on the queries of one task, normalised by the moments of its support set."""
        for i, norm in enumerate(self.norms):
            norm.row_weight = None
            norm.moments = (weights[f"mean.{i}"], weights[f"variance.{i}"])
        return self._run(body_of(weights), inputs)

    def run_support(self, body: State, task: State) -> tuple[Tensor, State]:
        """Run the body on the support set of one task; returns features, and its moments."""
        for norm in self.norms:
            norm.row_weight = task["weight"]
        features = self._run(body, task["inputs"])
        moments: State = {}
        for i, norm in enumerate(self.norms):
            assert norm.moments is not None
            moments[f"mean.{i}"], moments[f"variance.{i}"] = norm.moments
        self._forget()
        return features, moments

    def _run(self, body: State, inputs: Tensor) -> Tensor:
        try:
            features: Tensor = functional_call(self.initial.backbone, body, (inputs,))
        except BaseException:
            self._forget()
            raise
        if self.norms and self.norms[0].row_weight is None:
            self._forget()
        return self.initial.head.prepare(features.flatten(1))

    def _forget(self) -> None:
        for norm in self.norms:
            norm.row_weight = norm.moments = None

    def body(self) -> State:
        """Return the weights of the body that are adapted, before they are."""
        own = dict(self.initial.backbone.named_parameters())
        return {name: own[name] for name in self.names}

    def follow_moments(self, state: State) -> None:
        """Move the running moments of batch normalisation towards those of support sets."""
        for i, norm in enumerate(self.norms):
            norm.follow((state[f"mean.{i}"].detach(), state[f"variance.{i}"].detach()))

    # ------------------------------------------------------------------ vectorisation

    def _chunk_size(self, tasks: State) -> int | None:
        """Return how many tasks to adapt to at once; all in training, which needs all anyway."""
        if torch.is_grad_enabled():
            return None
        n_values = self.n_weight_copies * sum(p.numel() for p in self.body().values())
        n_values += tasks["inputs"].shape[1] * self.n_activations
        return max(1, TASK_BYTES // (FLOAT_BYTES * N_COPIES * max(1, n_values)))

    def _can_vectorise(self, input_shape: tuple[int, ...]) -> bool:
        """Try two tasks of two examples."""
        parameter = next(self.parameters())
        if parameter.is_meta:
            return True
        inputs = parameter.new_zeros(2, 2, *input_shape)
        target: Tensor = torch.tensor([[0, 1], [0, 1]], device=parameter.device)
        if isinstance(self.readout, ValueReadout):
            target = parameter.new_zeros(2, 2, self.readout.n_targets)
        support = Support(inputs, target, parameter.new_ones(2, 2), 2)
        try:
            with torch.no_grad():
                self.predict(self.adapt(support), inputs)
        except RuntimeError:
            return False
        return True


def embedding_part(module: FewShotModule) -> FewShotModule:
    """Return the network that embeds: of a module that adapts itself, the initial one."""
    return module.initial if isinstance(module, AdaptingModule) else module


def without_front(module: FewShotModule) -> FewShotModule:
    """Return a network for what the front end of its backbone makes of samples."""
    if isinstance(module, AdaptingModule):
        return module.on_front()
    assert isinstance(module, EmbeddingModule)
    assert isinstance(module.backbone, FrontAndTop)
    return type(module)(module.backbone.top, module.head)


def body_of(state: State) -> State:
    """Return the weights of the body among the tensors of a state, by their names in it."""
    return {k.removeprefix("body."): v for k, v in state.items() if k.startswith("body.")}


def as_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of the body as a part of a state."""
    return {f"body.{name}": value for name, value in body.items()}


def _in_order_of_values(support: Support) -> Support:
    """Sort the examples of a regression by a fixed projection, padding last."""
    rows = torch.cat([support.inputs.flatten(2), support.target], dim=2)
    axis = torch.arange(1, rows.shape[2] + 1, device=rows.device).cos().to(rows.dtype)
    key = (rows.detach() @ axis).masked_fill(support.weight == 0, torch.inf)
    order = key.argsort(dim=1, stable=True)
    every = torch.arange(len(order), device=order.device).unsqueeze(1)
    return support._replace(
        inputs=support.inputs[every, order],
        target=support.target[every, order],
        weight=support.weight[every, order],
    )


def _count_activations(backbone: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Count the values that the layers of a backbone return for one sample."""
    sizes: list[int] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    leaves = [part for part in backbone.modules() if not any(part.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            backbone(torch.zeros(2, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes) // 2
