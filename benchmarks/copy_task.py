"""The copy task: a network with an external memory repeats what it was shown.

Random vectors of 8 bits, 1 to 10 of them, then a delimiter; then they are to be repeated, in order,
without further input (Graves et al. 2014, section 4.1). A Neural Turing Machine with 32 slots of
20 numbers and a controller of 100 units is compared with a plain LSTM of 256 units: the same
sequences in the same order, 2,000 updates of 16 sequences of one length, by Adam with learning rate
0.01 and gradients clipped to norm 10. The cost is the cross-entropy in bits for each bit to be
repeated: 1 for guessing, 0 for a perfect copy; here for 200 sequences of each length. Length 20
was never trained on.

Seeds are fresh: the setting was chosen on others. Before, with 128 slots, rate 0.003 and 4,000
updates, one of three seeds copied; the worst length had 0.002, 0.389 and 0.418 bits. The LSTM had
0.327, 0.268 and 0.393 bits there, better than here.

    python -m benchmarks.copy_task
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sklearn_fewshot.nn.memory import NeuralTuringMachine

from ._report import Study, markdown_table, write_page

STUDY = Study("copy_task")
N_BITS, LONGEST, LONGER = 8, 10, 20
N_UPDATES, BATCH_SIZE, LEARNING_RATE, MAX_NORM = 2000, 16, 1e-2, 10.0
CURVE_STEP = 250  # updates
SEEDS = range(3, 8)
TARGET = 0.1  # bits for each bit


class PlainLSTM(nn.Module):
    """An LSTM with a linear output."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_inputs, 256)
        self.output = nn.Linear(256, n_outputs)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the outputs of all steps, shape (n_steps, n_sequences, n_outputs)."""
        return self.output(self.lstm(sequence)[0])


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "Neural Turing Machine": partial(NeuralTuringMachine, n_slots=32),
    "LSTM": PlainLSTM,
}


def main() -> None:
    """Train what is not trained yet and write the page."""
    torch.set_num_threads(1)
    for seed in SEEDS:
        for name in NETWORKS:
            STUDY.remember(name, seed, compute=partial(run, name, seed))
    write()


def run(name: str, seed: int) -> dict[str, Any]:
    """Train a network; return its cost at each length, its learning curve and its CPU time."""
    torch.manual_seed(seed)
    network = NETWORKS[name](N_BITS + 1, N_BITS)
    start = time.process_time()
    curve = train(network, seed)
    seconds = time.process_time() - start
    costs = {length: evaluate(network, length) for length in (*range(1, LONGEST + 1), LONGER)}
    print(name, seed, costs, f"{seconds:.0f} s", flush=True)
    return {
        "costs": costs,
        "curve": curve,
        "cpu_seconds": round(seconds),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def train(network: nn.Module, seed: int) -> list[float]:
    """Train a network; return the mean cost of each 250 updates."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    found = []
    for _ in range(N_UPDATES):
        length = int(torch.randint(1, LONGEST + 1, (), generator=generator))
        loss = cost(network, make_bits(length, BATCH_SIZE, generator))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimizer.step()
        found.append(loss.item())
    return [round(float(part), 5) for part in np.reshape(found, (-1, CURVE_STEP)).mean(axis=1)]


def make_bits(length: int, n_sequences: int, generator: torch.Generator) -> Tensor:
    """Draw vectors of bits, shape (length, n_sequences, 8)."""
    return torch.randint(2, (length, n_sequences, N_BITS), generator=generator).float()


def cost(network: nn.Module, bits: Tensor) -> Tensor:
    """Return the mean cross-entropy of the copy, in bits."""
    length, n_sequences, _ = bits.shape
    sequence = bits.new_zeros(2 * length + 1, n_sequences, N_BITS + 1)
    sequence[:length, :, :N_BITS] = bits
    sequence[length, :, N_BITS] = 1.0  # the delimiter
    copy = network(sequence)[length + 1 :]
    return binary_cross_entropy_with_logits(copy, bits) / math.log(2)


@torch.no_grad()
def evaluate(network: nn.Module, length: int) -> float:
    """Return the cost for 200 sequences, the same for every network."""
    generator = torch.Generator().manual_seed(1_000_000 + length)
    return round(float(cost(network, make_bits(length, 200, generator))), 5)


def write() -> None:
    """Write the page."""
    runs = {name: STUDY.find(name) for name in NETWORKS}
    (machine,) = {one["machine"] for found in runs.values() for one in found}
    loads = [one["load_before"] for found in runs.values() for one in found]
    write_page(
        "copy_task",
        "Copy task",
        "\n\n".join(" ".join(part.split()) for part in __doc__.split("\n\n")[1:3]),
        f"{table(runs)}\n\n{targets(runs)}\n\nLearning curves, by seed:\n\n{curves(runs)}",
        "python -m benchmarks.copy_task",
        f"Machine: {machine}. Load average before: {min(loads):.1f} to {max(loads):.1f}. "
        f"In the first table the mean and, in parentheses, the worst seed, of "
        f"{len(runs['LSTM'])}.",
    )


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Lay out the cost at some lengths."""
    lengths = (1, 5, LONGEST, LONGER)
    rows = []
    for name, found in runs.items():
        costs = [[one["costs"][str(length)] for one in found] for length in lengths]
        cells = [f"{np.mean(cost):.3f} ({max(cost):.3f})" for cost in costs]
        seconds = f"{np.mean([one['cpu_seconds'] for one in found]):.0f}"
        rows.append([name, f"{found[0]['n_parameters']:,}", *cells, seconds])
    header = ["network", "parameters", *(f"length {length}" for length in lengths), "training, s"]
    return markdown_table(header, rows)


def targets(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Say whether the target is met at every trained length, with every seed."""
    lines = []
    for name, found in runs.items():
        worst = [max(one["costs"][str(n)] for n in range(1, LONGEST + 1)) for one in found]
        n_met = sum(cost < TARGET for cost in worst)
        line = f"{name}: at most {', '.join(f'{cost:.3f}' for cost in worst)} bits at lengths 1 to "
        line += f"{LONGEST}, by seed; below {TARGET} with {n_met} of {len(worst)} seeds"
        lines.append(line)
        if name == "Neural Turing Machine":
            lines[-1] += "; target all: " + ("met" if n_met == len(worst) else "**missed**")
    return "\n".join(f"- {line}" for line in lines)


def curves(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Lay out the cost during training."""
    ends = range(CURVE_STEP, N_UPDATES + 1, CURVE_STEP)
    columns = [one["curve"] for found in runs.values() for one in found]
    rows = [
        [f"{end - CURVE_STEP + 1:,} to {end:,}", *(f"{value:.3f}" for value in values)]
        for end, *values in zip(ends, *columns, strict=True)
    ]
    titles = [f"{name}, {seed}" for name, found in runs.items() for seed in SEEDS[: len(found)]]
    return markdown_table(["updates", *titles], rows)


if __name__ == "__main__":
    main()
