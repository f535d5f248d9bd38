"""Least recently used access against plain loops, and what is overwritten."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from sklearn_fewshot.nn.memory import LeastUsedMemory, MemoryState

N_INPUTS, N_SLOTS, WIDTH, N_READS, DIM = 3, 6, 4, 2, 5


@pytest.fixture
def network():
    sizes = {"n_slots": N_SLOTS, "width": WIDTH, "n_reads": N_READS, "controller_dim": DIM}
    return LeastUsedMemory(N_INPUTS, **sizes).double()


def steps(network, n_steps, n_sequences=3):
    """Return the state before and after the last of some steps, its input, output and writing."""
    after = network.initial_state(n_sequences)
    for _ in range(n_steps):
        before, inputs = after, torch.randn(n_sequences, N_INPUTS, dtype=torch.float64)
        output, after, writing = network.step(inputs, before)
    return before, inputs, output, after, writing


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def test_a_step_equals_plain_loops(network):
    before, inputs, output, after, _ = (
        part if isinstance(part, tuple) else part.detach().numpy() for part in steps(network, 4)
    )
    weight, bias = (p.detach().numpy() for p in network.gates.parameters())
    address, offset = (p.detach().numpy() for p in network.address.parameters())
    for s in range(3):
        h, c, memory, usage, weights, read = (part[s].detach().numpy() for part in before)
        gates = weight @ np.concatenate([inputs[s], h, read.ravel()]) + bias
        keep, write, show, value = np.split(gates, 4)
        c = expit(keep + 1) * c + expit(write) * np.tanh(value)
        h = expit(show) * np.tanh(c)
        least = np.argsort(usage)[:N_READS]
        memory = memory.copy()
        memory[least] = 0.0
        usage = network.decay * usage
        parts = (address @ h + offset).reshape(N_READS, -1)
        for head in range(N_READS):
            _, content, gate, _ = np.split(parts[head], [WIDTH, 2 * WIDTH, 2 * WIDTH + 1])
            for slot in range(N_SLOTS):
                share = expit(gate[0]) * weights[head, slot]
                share += (1 - expit(gate[0])) * (slot == least[head])
                memory[slot] += share * np.tanh(content)
                usage[slot] += share
        reads = []
        for head in range(N_READS):
            key, strength = np.tanh(parts[head, :WIDTH]), 1 + np.log1p(np.exp(parts[head, -1]))
            w = softmax([strength * cosine(key, memory[slot]) for slot in range(N_SLOTS)])
            usage += w
            reads.append(w @ memory)
            np.testing.assert_allclose(after.weights[s, head].detach(), w, rtol=1e-10)
        np.testing.assert_allclose(after.memory[s].detach(), memory, atol=1e-12)
        np.testing.assert_allclose(after.usage[s].detach(), usage, rtol=1e-10)
        np.testing.assert_allclose(output[s], np.concatenate([h, *reads]), rtol=1e-10)


def test_the_least_used_slots_are_overwritten(network):
    before, _, _, after, writing = steps(network, 9)
    erased = writing.erased > 0
    assert (erased.sum(dim=1) == N_READS).all()
    highest = before.usage.masked_fill(~erased, -torch.inf).amax(dim=1)
    lowest = before.usage.masked_fill(erased, torch.inf).amin(dim=1)
    assert (highest < lowest).all()
    # What the others have is kept, up to what is written where the heads have read.
    change = (after.memory - before.memory).abs().amax(dim=2)
    assert (change[~erased] <= writing.weights[~erased] + 1e-12).all()  # contents are below 1


def test_the_first_steps_fill_empty_slots_in_turn(network):
    state, seen = network.initial_state(1), []
    for _ in range(N_SLOTS // N_READS):
        _, state, writing = network.step(torch.zeros(1, N_INPUTS, dtype=torch.float64), state)
        seen += writing.erased[0].nonzero().flatten().tolist()
    assert len(set(seen)) >= N_SLOTS - N_READS


def test_gradients_pass_through_a_step(network):
    before = steps(network, 3, n_sequences=1)[0]
    parts = [
        part.detach().requires_grad_(name != "usage") for name, part in before._asdict().items()
    ]

    def step(inputs, *parts):
        output, after, _ = network.step(inputs, MemoryState(*parts))
        return output, after.memory

    inputs = torch.randn(1, N_INPUTS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(step, (inputs, *parts))


def test_a_mask_chooses_states_by_sequence(network):
    before, _, _, after, _ = steps(network, 2)
    mixed = after.where(torch.tensor([True, False, True]), before)
    for name, part in mixed._asdict().items():
        expected = torch.stack(
            [getattr(it, name)[i] for i, it in enumerate((after, before, after))]
        )
        assert torch.equal(part, expected)
