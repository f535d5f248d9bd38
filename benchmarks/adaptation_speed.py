"""Speed of training through gradient steps: many tasks at once against a loop over tasks.

The rival is the loop of the public libraries (``benchmarks/rivals/maml_loop.py``), with their batch
normalisation, by the moments of each batch, on the same tasks, weights and thread. *Own loop* is
what this package does where a network cannot be vectorised. All take turns, seven times; a ratio
above 1 says that this package does more tasks per CPU second. Without batch normalisation the
gradients are compared, too: largest difference over largest gradient.

    python -m benchmarks.adaptation_speed
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from sklearn_fewshot.nn import EpisodeBatch
from sklearn_fewshot.nn.backbones import Conv4Strided
from sklearn_fewshot.nn.heads import Head
from sklearn_fewshot.nn.optimization import GradientModule

from ._report import Study, markdown_table, write_page
from .rivals.maml_loop import meta_loss

STUDY = Study("adaptation_speed")
N_ROUNDS = 7
Case = tuple[str, Callable[[], nn.Module], tuple[int, ...], int, int, int, int]


def mlp() -> nn.Module:
    """Return the body of the network for sinusoids of Finn et al. (2017)."""
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())


def strided() -> nn.Module:
    """Return their network for Omniglot."""
    return Conv4Strided((1, 28, 28))


def bare_strided() -> nn.Module:
    """Return it without batch normalisation: gradients are then the same."""
    net = Conv4Strided((1, 28, 28))
    for block in list(net)[:4]:
        block[1] = nn.Identity()
    return net


CASES: list[Case] = [
    # title, body, input shape, tasks, support, queries, steps
    ("MLP 1-40-40-1, 25 tasks of 10 + 10", mlp, (1,), 25, 10, 10, 1),
    ("the same, 5 steps", mlp, (1,), 25, 10, 10, 5),
    ("strided Conv4-64, 16 tasks of 5 + 25 pictures", strided, (1, 28, 28), 16, 5, 25, 1),
    ("without batch normalisation", bare_strided, (1, 28, 28), 16, 5, 25, 1),
]


def main() -> None:
    """Measure every case and write the page."""
    torch.set_num_threads(1)
    for case in CASES:
        STUDY.remember(case[0], compute=partial(run, case))
    write()


def write() -> None:
    """Write the table of everything measured so far."""
    rows, used = [], []
    for case in CASES:
        result = STUDY.get(case[0])
        if result is not None:
            used.append(result)
            cells = [f"{result['ours']:.0f}", f"{result['loop']:.0f}", f"{result['ratio']:.1f}"]
            cells += [f"{result['own loop']:.0f}", f"{result['own ratio']:.1f}"]
            difference = "" if case[1] is strided else f"{result['difference']:.0e}"
            rows.append([case[0], *cells, difference])
    header = ["network and tasks", "tasks/s", "rival, tasks/s", "ratio", "own loop, tasks/s"]
    loads = [run["load_before"] for run in used]
    write_page(
        "adaptation_speed",
        "Speed of training through gradient steps",
        " ".join(__doc__.split("\n\n")[1].split()),
        markdown_table([*header, "ratio", "difference of gradients"], rows),
        "python -m benchmarks.adaptation_speed",
        f"Machine: {used[0]['machine']}. Load average before: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def run(case: Case) -> dict[str, float]:
    """Return tasks per CPU second of both, the median ratio, and how the gradients differ."""
    _, make_body, shape, n_tasks, n_support, n_query, n_steps = case
    torch.manual_seed(0)
    module = GradientModule.build(
        shape,
        adaptation={
            "start": "shared",
            "n_targets": 1,
            "n_steps": n_steps,
            "step_size": 0.01,
            "learn_step_size": False,
            "multi_step_loss": False,
        },
        backbone=make_body(),
        head=Head,
    )
    assert not module.loops
    rival = nn.Sequential(make_body(), nn.Flatten(), nn.Linear(module.readout.n_features, 1))
    rival[0].load_state_dict(module.initial.backbone.state_dict())
    rival.train()
    rival[2].load_state_dict(module.readout.layer.state_dict())
    x = torch.randn(n_tasks, n_support + n_query, *shape)
    y = torch.randn(n_tasks, n_support + n_query, 1)
    batch = as_batch(x, y, n_support)
    tasks = [
        (a[:n_support], b[:n_support], a[n_support:], b[n_support:])
        for a, b in zip(x, y, strict=True)
    ]

    def ours() -> Tensor:
        return module.training_loss(batch, mse_loss)

    def loop() -> Tensor:
        return meta_loss(rival, mse_loss, tasks, n_steps=n_steps, step_size=0.01)

    gradients = []
    for network, loss in ((module, ours), (rival, loop)):
        network.zero_grad()
        loss().backward()
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    difference = (gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()

    def own_loop() -> Tensor:
        module.loops = True
        try:
            return ours()
        finally:
            module.loops = False

    seconds = np.array([[timed(it) for it in (ours, loop, own_loop)] for _ in range(N_ROUNDS)])
    return {
        "own loop": n_tasks / np.median(seconds[:, 2]),
        "own ratio": float(np.median(seconds[:, 2] / seconds[:, 0])),
        "ours": n_tasks / np.median(seconds[:, 0]),
        "loop": n_tasks / np.median(seconds[:, 1]),
        "ratio": float(np.median(seconds[:, 1] / seconds[:, 0])),
        "difference": float(difference),
    }


def timed(loss: Callable[[], Tensor]) -> float:
    """Return the CPU seconds of one step, of at least a few."""
    n, start = 0, time.process_time()
    while time.process_time() - start < 0.5 or n < 2:
        loss().backward()
        n += 1
    return (time.process_time() - start) / n


def as_batch(x: Tensor, y: Tensor, n_support: int) -> EpisodeBatch:
    """Return tasks as a batch of the package."""
    place = torch.arange(x.shape[0] * x.shape[1]).view(x.shape[:2])
    return EpisodeBatch(
        inputs=x.flatten(0, 1),
        support=place[:, :n_support],
        support_target=y[:, :n_support],
        weight=torch.ones(len(x), n_support),
        query=place[:, n_support:],
        target=y[:, n_support:],
        n_classes=1,
    )


if __name__ == "__main__":
    main()
