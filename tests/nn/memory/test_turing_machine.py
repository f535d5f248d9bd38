"""The Neural Turing Machine: one step by plain loops, invariances, a task that is learned."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from sklearn_fewshot.nn.memory import NeuralTuringMachine, TuringState

N_SEQUENCES, N_INPUTS, N_OUTPUTS, N_READS, N_SLOTS, WIDTH, DIM = 2, 3, 2, 2, 5, 4, 6


@pytest.fixture
def machine():
    torch.manual_seed(0)
    sizes = {"n_slots": N_SLOTS, "width": WIDTH, "n_reads": N_READS, "controller_dim": DIM}
    net = NeuralTuringMachine(N_INPUTS, N_OUTPUTS, **sizes).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


@pytest.fixture
def state():
    torch.manual_seed(1)
    shapes = [(DIM,), (DIM,), (N_SLOTS, WIDTH), (1 + N_READS, N_SLOTS), (N_READS, WIDTH)]
    h, c, memory, weights, read = (torch.randn(N_SEQUENCES, *shape).double() for shape in shapes)
    return TuringState(h, c, memory, weights.softmax(dim=-1), read)


@pytest.fixture
def sequence():
    torch.manual_seed(2)
    return torch.randn(4, N_SEQUENCES, N_INPUTS).double()


# ------------------------------------------------------------------ one step by plain loops


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softplus(x):
    return math.log1p(math.exp(x))


def dot(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True))


def affine(layer, x):
    return [
        b + dot(row, x) for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def lstm(cell, x, h, c):
    rows = torch.cat([cell.weight_ih, cell.weight_hh], dim=1).tolist()
    biases = (cell.bias_ih + cell.bias_hh).tolist()
    gates = [b + dot(row, x + h) for row, b in zip(rows, biases, strict=True)]
    i, f, g, o = np.split(np.array(gates), 4)
    new_c = [sigmoid(f[u]) * c[u] + sigmoid(i[u]) * math.tanh(g[u]) for u in range(DIM)]
    return [sigmoid(o[u]) * math.tanh(new_c[u]) for u in range(DIM)], new_c


def address(values, memory, previous):
    """Return the weights of one head, from what the controller emits for it."""
    key, (strength, gate), shares = values[:WIDTH], values[WIDTH : WIDTH + 2], values[WIDTH + 2 :]
    key, strength, gate = [math.tanh(v) for v in key], softplus(strength), sigmoid(gate)
    total = sum(math.exp(v) for v in shares[:3])
    back, stay, ahead = (math.exp(v) / total for v in shares[:3])
    gamma = 1 + softplus(shares[3])
    cosines = [dot(key, row) / math.hypot(*key) / math.hypot(*row) for row in memory]
    total = sum(math.exp(strength * cosine) for cosine in cosines)
    mixed, moved = [], []
    for i in range(N_SLOTS):
        by_content = math.exp(strength * cosines[i]) / total
        mixed.append(gate * by_content + (1 - gate) * previous[i])
    for i in range(N_SLOTS):
        before, after = mixed[i - 1], mixed[(i + 1) % N_SLOTS]
        moved.append((ahead * before + stay * mixed[i] + back * after) ** gamma)
    return [w / sum(moved) for w in moved]


def step(net, x, h, c, memory, weights, read):
    """Return output and state after a step of one sequence."""
    h, c = lstm(net.controller, x + [v for row in read for v in row], h, c)
    values = affine(net.address.parameters_of_heads, h)
    size = len(values) // (1 + N_READS)
    for head in range(1 + N_READS):
        weights[head] = address(values[head * size : (head + 1) * size], memory, weights[head])
    content = affine(net.write_content, h)
    after = [[0.0] * WIDTH for _ in range(N_SLOTS)]
    for i in range(N_SLOTS):
        for d in range(WIDTH):
            erase, add = sigmoid(content[d]), math.tanh(content[WIDTH + d])
            after[i][d] = memory[i][d] * (1 - weights[0][i] * erase) + weights[0][i] * add
    read = [[0.0] * WIDTH for _ in range(N_READS)]
    for head in range(N_READS):
        for i in range(N_SLOTS):
            for d in range(WIDTH):
                read[head][d] += weights[1 + head][i] * after[i][d]
    output = affine(net.output, h + [v for row in read for v in row])
    return output, (h, c, after, weights, read)


def test_a_step_is_that_of_plain_loops(machine, state, sequence):
    with torch.no_grad():
        output, new = machine.step(sequence[0], state)
    for s in range(N_SEQUENCES):
        values = [part[s].tolist() for part in state]
        wanted, wanted_state = step(machine, sequence[0, s].tolist(), *values)
        np.testing.assert_allclose(output[s], wanted, rtol=1e-10)
        for part, expected in zip(new, wanted_state, strict=True):
            np.testing.assert_allclose(part[s], expected, rtol=1e-10, atol=1e-14)


# ------------------------------------------------------------------ invariances


def test_a_sequence_is_its_steps(machine, sequence):
    state, outputs = machine.initial_state(N_SEQUENCES), []
    for inputs in sequence:
        output, state = machine.step(inputs, state)
        outputs.append(output)
    assert torch.equal(machine(sequence), torch.stack(outputs))


def test_sequences_do_not_see_one_another(machine, sequence):
    alone = torch.cat([machine(part) for part in sequence.split(1, dim=1)], dim=1)
    torch.testing.assert_close(machine(sequence), alone)


def test_heads_stay_distributions(machine, sequence):
    state = machine.initial_state(N_SEQUENCES)
    for inputs in sequence:
        assert (state.weights >= 0.0).all()
        torch.testing.assert_close(state.weights.sum(dim=2), torch.ones(2, 3).double())
        _, state = machine.step(inputs, state)


def test_the_initial_state_has_the_dtype_of_the_weights(machine):
    assert {part.dtype for part in machine.initial_state(3)} == {torch.float64}
    assert {part.dtype for part in machine.float().initial_state(3)} == {torch.float32}
    assert {len(part) for part in machine.initial_state(3)} == {3}


def test_gradients_are_those_of_finite_differences(machine, state, sequence):
    def run(inputs, *parts):
        output, new = machine.step(inputs, TuringState(*parts))
        return output, *machine.step(inputs, new)[1]

    inputs = [value.clone().requires_grad_() for value in (sequence[0], *state)]
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_what_is_written_is_read_where_the_heads_have_moved(machine, sequence, offset):
    """With constant gates: location alone, the slot erased and written."""
    content = torch.linspace(-1.0, 1.0, WIDTH)
    with torch.no_grad():
        for layer in (machine.address.parameters_of_heads, machine.write_content):
            layer.weight.zero_()
            layer.bias.zero_()
        heads = machine.address.parameters_of_heads.bias.view(1 + N_READS, -1)
        heads[:, WIDTH + 1] = -50.0  # the gate: no content
        heads[:, WIDTH + 3 + offset] = 50.0
        machine.write_content.bias.copy_(torch.cat([torch.full((WIDTH,), 50.0), content]))
        before = machine.initial_state(N_SEQUENCES)
        _, state = machine.step(sequence[0], before)
    written = content.tanh().double()
    torch.testing.assert_close(state.read, written.expand_as(state.read))
    torch.testing.assert_close(state.memory[:, offset], written.expand(N_SEQUENCES, -1))
    others = torch.arange(N_SLOTS) != offset % N_SLOTS
    torch.testing.assert_close(state.memory[:, others], before.memory[:, others])


def test_every_parameter_is_trained(machine, sequence):
    machine(sequence).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in machine.parameters())


# ------------------------------------------------------------------ a task


def draw_copy_task(generator, n_sequences, length=3, n_bits=4):
    """Draw bits that are to be repeated after a delimiter; return inputs and bits."""
    bits = torch.randint(2, (length, n_sequences, n_bits), generator=generator).float()
    sequence = torch.zeros(2 * length + 1, n_sequences, n_bits + 1)
    sequence[:length, :, :n_bits] = bits
    sequence[length, :, n_bits] = 1.0
    return sequence, bits


def bits_per_element(net, sequence, bits):
    copy = net(sequence)[len(bits) + 1 :]
    return binary_cross_entropy_with_logits(copy, bits) / math.log(2)


def test_it_learns_to_copy():
    """Guessing costs one bit for each; the worst of 32 seeds had 0.32."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = NeuralTuringMachine(5, 4, n_slots=8, width=8, controller_dim=16)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(250):
        loss = bits_per_element(net, *draw_copy_task(generator, n_sequences=16))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        assert bits_per_element(net, *draw_copy_task(generator, n_sequences=200)) < 0.5
