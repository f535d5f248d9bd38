"""Memory-augmented networks (Santoro et al., 2016): the support set is read step by step."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from .._support import State, Support
from ..memory import LeastUsedMemory, MemoryState
from ._base import Head
from ._matching import canonical_keys, reorder

N_LETTERS = 5  # letters of a label, and different ones
MOST_LABELS = N_LETTERS**N_LETTERS
MEMORY_VALUES = 2**24  # of the copies of the memory that queries write to at once
MOMENTUM = 0.05  # of the moments of embeddings


class MemoryHead(Head):
    r"""Reads the support set into an external memory, one example at a time.

    Step ``t`` sees the embedding :math:`x_t` of an example and the label :math:`y_{t-1}` of the one
    before, and predicts :math:`y_t`. A query is one more step, from the state after the last
    example; what it writes is discarded. Labels are codes that classes get for an episode: random
    ones in training, so that nothing can be learned about a code but what the memory says.

    Parameters
    ----------
    n_features : int
        Dimension of the embedding.
    n_labels : int or None
        Labels are one-hot codes of so many classes at most; None for strings of five letters out of
        five, which are enough for any number of classes.
    memory_slots, memory_width : int
        Size of the memory.
    n_reads : int
        Heads that write and read.
    controller_dim : int
        Units of the LSTM.

    Notes
    -----
    A support set has no order and its classes have no codes. Both come from a fixed projection of
    the embeddings: examples are read one of each class at a time, and codes are dealt in the order
    of the classes' means.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> from sklearn_fewshot.nn.heads import MemoryHead
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> head = MemoryHead(n_features=2, memory_slots=8, controller_dim=16)
    >>> state = head.context(support)  # the memory after three steps, among others
    >>> head.score(state, torch.tensor([[[0.0, 1.0]]])).shape
    torch.Size([1, 1, 2])
    """

    exact = False
    compares_base = False
    score_shift = False
    breaks = {
        "duplicates": "each copy of an example is a step that writes to the memory",
        "weights": "an example is read once, whatever its weight",
    }

    mean: Tensor
    size: Tensor
    n_seen: Tensor

    def __init__(
        self,
        n_features: int,
        n_labels: int | None = None,
        memory_slots: int = 128,
        memory_width: int = 40,
        n_reads: int = 4,
        controller_dim: int = 200,
    ) -> None:
        super().__init__()
        self.n_outputs = n_labels
        self.max_support = memory_slots
        self.n_labels = n_labels
        self.code_size = N_LETTERS**2 if n_labels is None else n_labels
        self.cell = LeastUsedMemory(
            n_features + self.code_size,
            n_slots=memory_slots,
            width=memory_width,
            n_reads=n_reads,
            controller_dim=controller_dim,
        )
        self.output = nn.Linear(self.cell.n_outputs, self.code_size)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("size", torch.ones(()))
        self.register_buffer("n_seen", torch.zeros(()))

    @classmethod
    def for_embeddings(cls, embedding_shape: tuple[int, ...], **options: Any) -> Self:
        """Build the head for embeddings of one shape."""
        return cls(torch.Size(embedding_shape).numel(), **options)

    # ------------------------------------------------------------------ sequences

    def read_sequence(self, inputs: Tensor, target: Tensor, codes: Tensor) -> Tensor:
        """Predict the class of every step of sequences, each from the steps before it.

        Parameters
        ----------
        inputs : tensor of shape (n_episodes, n_steps, n_features)
            Embedded examples.
        target : int64 tensor of shape (n_episodes, n_steps)
            Their classes; -1 for padding, which comes last.
        codes : tensor of shape (n_episodes, n_classes, code_size)
            Codes of the classes, as of :meth:`random_codes`.

        Returns
        -------
        logits : tensor of shape (n_episodes, n_steps, n_classes)
        """
        if self.training:
            self._follow_moments(inputs.flatten(2))
        steps = self._normalize(inputs)
        state = self.cell.initial_state(len(inputs))
        label = codes.new_zeros(len(inputs), self.code_size)  # of the step before
        outputs = []
        for t in range(inputs.shape[1]):
            output, state, _ = self.cell.step(torch.cat([steps[:, t], label], dim=1), state)
            outputs.append(self.output(output))
            label = _label(codes, target[:, t].clamp_min(0))
        return self._logits(torch.stack(outputs, dim=1), codes)

    def random_codes(self, n_episodes: int, n_classes: int) -> Tensor:
        """Return different codes for the classes of each episode, (n_episodes, n_classes, size)."""
        device = self.mean.device
        n_labels = MOST_LABELS if self.n_labels is None else self.n_labels
        dealt = torch.rand(n_episodes, n_labels, device=device).topk(n_classes, dim=1).indices
        return self._codes(dealt)

    def _codes(self, label: Tensor) -> Tensor:
        """Return the codes of labels by their numbers."""
        dtype = self.mean.dtype
        if self.n_labels is not None:
            return one_hot(label, self.n_labels).to(dtype)
        place = N_LETTERS ** torch.arange(N_LETTERS, device=label.device)
        letters = label.unsqueeze(-1) // place % N_LETTERS
        return one_hot(letters, N_LETTERS).flatten(-2).to(dtype)

    def _logits(self, output: Tensor, codes: Tensor) -> Tensor:
        """Return the log-probabilities of the classes' codes, up to a constant."""
        if self.n_labels is None:
            output = output.unflatten(-1, (N_LETTERS, N_LETTERS)).log_softmax(dim=-1).flatten(-2)
        return output @ codes.mT

    def _normalize(self, inputs: Tensor) -> Tensor:
        """Centre embeddings and divide by their size, both moments over the training."""
        return (inputs.flatten(2) - self.mean) / self.size

    @torch.no_grad()
    def _follow_moments(self, rows: Tensor) -> None:
        share = (1.0 / (self.n_seen + 1.0)).clamp_min(MOMENTUM)
        mean = rows.mean(dim=(0, 1))
        self.mean.lerp_(mean, share)
        self.size.lerp_((rows - mean).square().mean().sqrt().clamp_min(1e-12), share)
        self.n_seen.add_(1.0)

    # ------------------------------------------------------------------ support sets

    def context(self, representation: Support) -> State:
        """Read the examples of each episode."""
        state, _ = self._read_support(representation)
        return state

    def _read_support(self, given: Support) -> tuple[State, Tensor]:
        """Return the state and which example each slot was written with, as shares."""
        order = _round_robin(given)
        support = reorder(given, order)
        n_episodes, n_steps = support.target.shape
        codes = self._codes(_deal(given))
        count = support.weight.new_zeros(n_episodes, given.n_classes)
        count = count.scatter_add(1, support.target, support.weight)
        steps = self._normalize(support.inputs)
        state, label = self.cell.initial_state(n_episodes), codes.new_zeros(codes[:, 0].shape)
        source = steps.new_zeros(n_episodes, self.cell.n_slots, n_steps)
        for t in range(n_steps):
            _, after, writing = self.cell.step(torch.cat([steps[:, t], label], dim=1), state)
            is_real = support.weight[:, t] > 0
            state = after.where(is_real, state)
            if t:  # the label that comes now is that of the example before
                source = source * (1.0 - writing.erased).unsqueeze(2)
                source[:, :, t - 1] += writing.weights * is_real.unsqueeze(1)
            label = torch.where(is_real.unsqueeze(1), _label(codes, support.target[:, t]), label)
        parts = {**state._asdict(), "label": label, "codes": codes, "count": count}
        return parts, source.gather(2, order.argsort(dim=1).unsqueeze(1).expand_as(source))

    def score(self, state: State, query: Tensor) -> Tensor:
        """Take one step with each query, from the state of the support set."""
        steps = self._normalize(query)
        per_query = len(steps) * self.cell.n_slots * self.cell.width
        parts = steps.split(max(1, MEMORY_VALUES // per_query), dim=1)
        output = torch.cat([self._query(state, part)[0] for part in parts], dim=1)
        absent = (state["count"] == 0).unsqueeze(1)
        return self._logits(self.output(output), state["codes"]).masked_fill(absent, -torch.inf)

    def attention(self, representation: Support, query: Tensor) -> Tensor:
        """Return what queries read, by the examples whose labels were written there."""
        state, source = self._read_support(representation)
        _, weights = self._query(state, self._normalize(query))
        read = weights.mean(dim=2) @ source
        total = read.sum(dim=2, keepdim=True)
        # Of one example nothing is written before the query comes: its label is the last one.
        share = representation.weight / representation.weight.sum(dim=1, keepdim=True)
        return torch.where(total > 0, read / total.clamp_min(1e-30), share.unsqueeze(1))

    def _query(self, state: State, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of one step of each query, and where it reads."""
        n_queries = steps.shape[1]
        inputs = torch.cat([steps, state["label"].unsqueeze(1).expand(-1, n_queries, -1)], dim=2)
        copies = (state[name].repeat_interleave(n_queries, dim=0) for name in MemoryState._fields)
        output, after, _ = self.cell.step(inputs.flatten(0, 1), MemoryState(*copies))
        return output.unflatten(0, steps.shape[:2]), after.weights.unflatten(0, steps.shape[:2])


def _label(codes: Tensor, target: Tensor) -> Tensor:
    """Return the codes of one class of each episode."""
    return codes[torch.arange(len(codes), device=codes.device), target]


def _round_robin(support: Support) -> Tensor:
    """Return an order of the items that takes one of each class at a time, padding last."""
    key, class_key = canonical_keys(support)
    own, code = class_key.gather(1, support.target), support.target
    padding = support.weight == 0
    order = key.masked_fill(padding, torch.inf).argsort(dim=1, stable=True)
    is_own = code.gather(1, order).unsqueeze(1) == code.gather(1, order).unsqueeze(2)
    rank = is_own.long().tril(-1).sum(dim=2)  # earlier items of the class
    rank = rank.scatter(1, order, rank)  # in the order given
    by_class = own.argsort(dim=1, stable=True)
    rank = rank.masked_fill(padding, code.shape[1])
    return by_class.gather(1, rank.gather(1, by_class).argsort(dim=1, stable=True))


def _deal(support: Support) -> Tensor:
    """Return the number of the label of each class, in the order of the classes' means."""
    _, class_key = canonical_keys(support)
    count = support.weight.new_zeros(class_key.shape).scatter_add(1, support.target, support.weight)
    class_key = class_key.masked_fill(count == 0, torch.inf)
    return class_key.argsort(dim=1, stable=True).argsort(dim=1)
