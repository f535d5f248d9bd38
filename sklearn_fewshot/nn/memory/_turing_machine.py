"""An LSTM that reads and writes an external memory."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ._addressing import content_weights, interpolate, sharpen, shift

EMPTY = 1e-6  # what a memory holds at first: the cosine of zero is not defined
OFFSETS = 3  # of a shift: back, stay, ahead


class TuringState(NamedTuple):
    """The state of a Neural Turing Machine, of several sequences.

    Parameters
    ----------
    h, c : tensor of shape (n_sequences, controller_dim)
        Of the controller.
    memory : tensor of shape (n_sequences, n_slots, width)
        The memory.
    weights : tensor of shape (n_sequences, 1 + n_reads, n_slots)
        Where the write head has written, and where the read heads have read.
    read : tensor of shape (n_sequences, n_reads, width)
        What they have read.

    Examples
    --------
    >>> from sklearn_fewshot.nn.memory import NeuralTuringMachine
    >>> state = NeuralTuringMachine(n_inputs=5, n_outputs=2, n_slots=8).initial_state(3)
    >>> state.weights[0]  # both heads start at the first slot
    tensor([[1., 0., 0., 0., 0., 0., 0., 0.],
            [1., 0., 0., 0., 0., 0., 0., 0.]])
    """

    h: Tensor
    c: Tensor
    memory: Tensor
    weights: Tensor
    read: Tensor


class Addressing(nn.Module):
    r"""Weights of heads over the slots, by content and by location.

    A linear map of the controller's output gives each head a key :math:`k` by tanh, a strength
    :math:`\beta` by softplus, a gate :math:`g` by the logistic function, shares :math:`s` of the
    offsets -1, 0 and 1 by softmax, and :math:`\gamma` by one plus softplus. Equations 5 to 9 follow
    one another.

    Parameters
    ----------
    controller_dim : int
        Size of the controller's output.
    n_heads : int
        Number of heads.
    width : int
        Size of a slot.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import Addressing
    >>> memory, previous = torch.ones(3, 8, 4), torch.full((3, 2, 8), 1 / 8)
    >>> weights = Addressing(controller_dim=16, n_heads=2, width=4)(
    ...     torch.zeros(3, 16), memory, previous
    ... )
    >>> weights.shape
    torch.Size([3, 2, 8])
    """

    def __init__(self, controller_dim: int, n_heads: int, width: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.sizes = [width, 1, 1, OFFSETS, 1]
        self.parameters_of_heads = nn.Linear(controller_dim, n_heads * sum(self.sizes))

    def forward(self, h: Tensor, memory: Tensor, previous: Tensor) -> Tensor:
        """Return where the heads look.

        Parameters
        ----------
        h : tensor of shape (n_sequences, controller_dim)
            The controller's output.
        memory : tensor of shape (n_sequences, n_slots, width)
            The memory.
        previous : tensor of shape (n_sequences, n_heads, n_slots)
            Weights of the step before.

        Returns
        -------
        weights : tensor of shape (n_sequences, n_heads, n_slots)
            Non-negative, with sum one over the slots.
        """
        parts = self.parameters_of_heads(h).unflatten(1, (self.n_heads, -1))
        key, strength, gate, kernel, gamma = parts.split(self.sizes, dim=2)
        weights = content_weights(key.tanh(), memory, softplus(strength.squeeze(2)))
        weights = interpolate(weights, previous, gate.squeeze(2).sigmoid())
        weights = shift(weights, kernel.softmax(dim=2))
        return sharpen(weights, 1.0 + softplus(gamma.squeeze(2)))


class NeuralTuringMachine(nn.Module):
    r"""LSTM with an external memory, addressed by content and by location.

    At each step the controller sees the input and what was read the step before. The write head
    erases and adds (equations 3 and 4), the read heads read what is there then (equation 2):

    .. math::

        M_t(i) = M_{t-1}(i) \odot \big(1 - w^w_t(i)\, e_t\big) + w^w_t(i)\, a_t, \qquad
        r_t = \sum_i w^r_t(i)\, M_t(i)

    The output is linear in the controller's output and in what was read.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Size of an input and of an output.
    n_slots, width : int
        Size of the memory.
    n_reads : int
        Read heads; there is one write head.
    controller_dim : int
        Units of the LSTM.

    See Also
    --------
    Addressing : Of its heads.

    Notes
    -----
    What the paper leaves open: keys and additions pass through tanh; all slots hold 1e-6 at first,
    as small constants train fastest in M. Collier and J. Beel ("Implementing Neural Turing
    Machines", ICANN 2018); all heads start at the first slot and choose slots by what the memory
    held before the step; write precedes read.

    Not every seed learns to use the memory: some trainings end with what the LSTM can do alone.

    References
    ----------
    A. Graves, G. Wayne and I. Danihelka, "Neural Turing Machines", arXiv:1410.5401, 2014.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn.memory import NeuralTuringMachine
    >>> machine = NeuralTuringMachine(n_inputs=5, n_outputs=2, n_slots=8, width=4)
    >>> machine(torch.zeros(7, 3, 5)).shape  # 7 steps of 3 sequences
    torch.Size([7, 3, 2])
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        *,
        n_slots: int = 128,
        width: int = 20,
        n_reads: int = 1,
        controller_dim: int = 100,
    ) -> None:
        super().__init__()
        self.n_slots, self.width, self.n_reads = n_slots, width, n_reads
        self.controller_dim = controller_dim
        self.controller = nn.LSTMCell(n_inputs + n_reads * width, controller_dim)
        self.address = Addressing(controller_dim, 1 + n_reads, width)
        self.write_content = nn.Linear(controller_dim, 2 * width)
        self.output = nn.Linear(controller_dim + n_reads * width, n_outputs)

    def initial_state(self, n_sequences: int) -> TuringState:
        """Return the state before the first step, in the dtype of the weights."""
        new = self.output.weight.new_zeros
        h = new(n_sequences, self.controller_dim)
        weights = new(n_sequences, 1 + self.n_reads, self.n_slots)
        weights[:, :, 0] = 1.0
        return TuringState(
            h=h,
            c=h,
            memory=new(n_sequences, self.n_slots, self.width) + EMPTY,
            weights=weights,
            read=new(n_sequences, self.n_reads, self.width),
        )

    def step(self, inputs: Tensor, state: TuringState) -> tuple[Tensor, TuringState]:
        """Take one step.

        Parameters
        ----------
        inputs : tensor of shape (n_sequences, n_inputs)
            Inputs.
        state : TuringState
            Before the step.

        Returns
        -------
        outputs : tensor of shape (n_sequences, n_outputs)
            Any real numbers.
        state : TuringState
            After the step.
        """
        seen = torch.cat([inputs, state.read.flatten(1)], dim=1)
        h, c = self.controller(seen, (state.h, state.c))
        weights = self.address(h, state.memory, state.weights)
        memory = self._write(h, state.memory, weights[:, :1].mT)
        read = weights[:, 1:] @ memory  # (n_sequences, n_reads, width)
        outputs = self.output(torch.cat([h, read.flatten(1)], dim=1))
        return outputs, TuringState(h, c, memory, weights, read)

    def _write(self, h: Tensor, memory: Tensor, weights: Tensor) -> Tensor:
        erase, add = self.write_content(h).unsqueeze(1).chunk(2, dim=2)
        return memory * (1.0 - weights * erase.sigmoid()) + weights * add.tanh()

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the outputs of all steps, from the initial state.

        Parameters
        ----------
        sequence : tensor of shape (n_steps, n_sequences, n_inputs)
            Inputs.

        Returns
        -------
        outputs : tensor of shape (n_steps, n_sequences, n_outputs)
            Any real numbers.
        """
        state, outputs = self.initial_state(sequence.shape[1]), []
        for inputs in sequence:
            output, state = self.step(inputs, state)
            outputs.append(output)
        return torch.stack(outputs)
