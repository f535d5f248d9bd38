"""A controller with an external memory that is written where it was used least."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from ._addressing import content_weights

EMPTY = 1e-6  # what a memory holds at first: the cosine of zero is not defined


class MemoryState(NamedTuple):
    """The state of a memory-augmented network, of several sequences.

    Parameters
    ----------
    h, c : tensor of shape (n_sequences, controller_dim)
        Of the controller.
    memory : tensor of shape (n_sequences, n_slots, width)
        The memory.
    usage : tensor of shape (n_sequences, n_slots)
        How much each slot was read and written, lately.
    weights : tensor of shape (n_sequences, n_reads, n_slots)
        Where the heads have read.
    read : tensor of shape (n_sequences, n_reads, width)
        What they have read.

    Examples
    --------
    >>> from sklearn_fewshot.nn.memory import LeastUsedMemory
    >>> network = LeastUsedMemory(n_inputs=5, n_slots=8, width=4, n_reads=2, controller_dim=16)
    >>> network.initial_state(3).memory.shape
    torch.Size([3, 8, 4])
    """

    h: Tensor
    c: Tensor
    memory: Tensor
    usage: Tensor
    weights: Tensor
    read: Tensor

    def where(self, keeps: Tensor, other: "MemoryState") -> "MemoryState":
        """Return this state for the sequences of a mask, and another one for the rest."""
        parts = zip(self, other, strict=True)
        masks = (keeps.view(-1, *[1] * (a.dim() - 1)) for a in self)
        return MemoryState(
            *(torch.where(mask, a, b) for mask, (a, b) in zip(masks, parts, strict=True))
        )


class Writing(NamedTuple):
    """How a step has changed the memory.

    Parameters
    ----------
    erased : tensor of shape (n_sequences, n_slots)
        1 for slots that were set to zero.
    weights : tensor of shape (n_sequences, n_slots)
        How much was added to each slot, over all heads.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import LeastUsedMemory
    >>> network = LeastUsedMemory(n_inputs=5, n_slots=8, width=4, n_reads=2, controller_dim=16)
    >>> _, _, writing = network.step(torch.zeros(1, 5), network.initial_state(1))
    >>> writing.erased
    tensor([[1., 1., 0., 0., 0., 0., 0., 0.]])
    """

    erased: Tensor
    weights: Tensor


class LeastUsedMemory(nn.Module):
    r"""LSTM with an external memory and least recently used access.

    With keys :math:`k_t`, contents :math:`a_t` and gates :math:`g_t` from the controller's output,
    for each of ``R`` heads:

    .. math::

        w^w_t = \sigma(g_t)\, w^r_{t-1} + (1 - \sigma(g_t))\, w^{lu}_{t-1}, \qquad
        M_t = M_{t-1} \odot (1 - \textstyle\sum w^{lu}_{t-1}) + \sum w^w_t a_t^\top

    .. math::

        w^r_t = \operatorname{softmax} \big(\beta_t \cos(k_t, M_t)\big), \qquad r_t = w^r_t M_t,
        \qquad w^u_t = \gamma w^u_{t-1} + \textstyle\sum (w^r_t + w^w_t)

    where :math:`w^{lu}_{t-1}` is one for the slot of least usage :math:`w^u_{t-1}`, for the next
    head the second least, and so on. No gradient passes through this choice.

    Parameters
    ----------
    n_inputs : int
        Size of an input.
    n_slots, width : int
        Size of the memory.
    n_reads : int
        Heads, each of which writes and reads; at most ``n_slots``.
    controller_dim : int
        Units of the LSTM.
    decay : float
        :math:`\gamma` of the usage.

    Notes
    -----
    Differences from the paper: a content :math:`a_t` of its own is written, not the key; and the
    softmax of cosines has a learned factor :math:`\beta_t \ge 1` as in a Neural Turing Machine:
    without it, it is nearly flat over 128 slots.

    References
    ----------
    A. Santoro, S. Bartunov, M. Botvinick, D. Wierstra and T. Lillicrap, "Meta-Learning with
    Memory-Augmented Neural Networks", ICML 2016 (section 3.2).

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import LeastUsedMemory
    >>> network = LeastUsedMemory(n_inputs=5, n_slots=8, width=4, n_reads=2, controller_dim=16)
    >>> state = network.initial_state(3)
    >>> output, state, writing = network.step(torch.zeros(3, 5), state)
    >>> output.shape, writing.erased.sum(dim=1)
    (torch.Size([3, 24]), tensor([2., 2., 2.]))
    """

    def __init__(
        self,
        n_inputs: int,
        *,
        n_slots: int = 128,
        width: int = 40,
        n_reads: int = 4,
        controller_dim: int = 200,
        decay: float = 0.95,
    ) -> None:
        super().__init__()
        self.n_slots, self.width, self.n_reads = n_slots, width, n_reads
        self.controller_dim, self.decay = controller_dim, decay
        self.n_outputs = controller_dim + n_reads * width
        self.gates = nn.Linear(n_inputs + self.n_outputs, 4 * controller_dim)
        self.address = nn.Linear(controller_dim, n_reads * (2 * width + 2))

    def initial_state(self, n_sequences: int) -> MemoryState:
        """Return the state before the first step, in the dtype of the weights."""
        new = self.address.weight.new_zeros
        h = new(n_sequences, self.controller_dim)
        memory = new(n_sequences, self.n_slots, self.width) + EMPTY
        usage = torch.linspace(0, EMPTY, self.n_slots, dtype=h.dtype, device=h.device)
        weights = one_hot(torch.arange(self.n_reads, device=h.device), self.n_slots).to(h.dtype)
        return MemoryState(
            h=h,
            c=h,
            memory=memory,
            usage=usage.expand(n_sequences, -1),  # the first slots are taken first
            weights=weights.expand(n_sequences, -1, -1),
            read=new(n_sequences, self.n_reads, self.width),
        )

    def step(self, inputs: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState, Writing]:
        """Take one step.

        Parameters
        ----------
        inputs : tensor of shape (n_sequences, n_inputs)
            Inputs.
        state : MemoryState
            Before the step.

        Returns
        -------
        output : tensor of shape (n_sequences, controller_dim + n_reads * width)
            The controller's output and what was read.
        state : MemoryState
            After the step.
        writing : Writing
            How the memory was changed.
        """
        h, c = self._control(torch.cat([inputs, state.h, state.read.flatten(1)], dim=1), state.c)
        parts = self.address(h).unflatten(1, (self.n_reads, -1))
        key, content, gate, strength = parts.split([self.width, self.width, 1, 1], dim=2)
        least = self._least_used(state.usage)  # (n_sequences, n_reads, n_slots)
        gate = gate.sigmoid()
        write = gate * state.weights + (1.0 - gate) * least
        erased = least.sum(dim=1)  # (n_sequences, n_slots)
        memory = state.memory * (1.0 - erased).unsqueeze(2) + write.mT @ content.tanh()
        weights = content_weights(key.tanh(), memory, 1.0 + softplus(strength.squeeze(2)))
        read = weights @ memory  # (n_sequences, n_reads, width)
        written = write.sum(dim=1)
        usage = self.decay * state.usage + weights.sum(dim=1) + written
        after = MemoryState(h, c, memory, usage, weights, read)
        return torch.cat([h, read.flatten(1)], dim=1), after, Writing(erased, written)

    def _control(self, inputs: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        keep, write, show, value = self.gates(inputs).chunk(4, dim=1)
        c = (keep + 1.0).sigmoid() * c + write.sigmoid() * value.tanh()  # it remembers at first
        return show.sigmoid() * c.tanh(), c

    def _least_used(self, usage: Tensor) -> Tensor:
        slots = usage.detach().topk(self.n_reads, dim=1, largest=False, sorted=True).indices
        return one_hot(slots, self.n_slots).to(usage.dtype)
