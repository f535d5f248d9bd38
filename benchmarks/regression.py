"""Few-shot regression: sinusoids, and measurements of letters.

*Sinusoids* are those of Finn et al. (2017): learners train on 10,000 tasks of 30 points each and
are scored on 1,000 others, by the mean squared error. *Letters*: a task is a letter of the data set
letter, and the value is its column x2ybr, predicted from the other 15, which are standardised. On
class splits with 8 of the 26 letters for testing; errors are in units of the variance over the base
letters. The baselines see the same episodes; the boosted trees are one regressor of all base
letters. 600 episodes of test tasks with 15 queries each. Learners have default arguments except the
seed; seconds are those of the processor in `fit`, and *coverage* is the share of queries inside
their 90 % interval. *Steps* has the network of Finn et al. (1-40-40-1, ReLU), trained for one step
of size 0.02 (at first, where it is learned) with as many examples as it is scored with and ten
queries, and errors after other numbers of steps; published figures are those after 70,000 batches.

    python -m benchmarks.regression [--learner ridgenet ...] [--seeds 0 1 2] [--splits 0 1 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_fewshot import (
    MAMLRegressor,
    NeuralProcessRegressor,
    ReptileRegressor,
    RidgeNetRegressor,
)
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.model_selection import (
    ClassShuffleSplit,
    TaskSplit,
    task_baselines,
    task_score,
)

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("regression")
LEARNERS: dict[str, Callable[..., Any]] = {
    "ridgenet": RidgeNetRegressor,
    "neural process": NeuralProcessRegressor,
    "maml": MAMLRegressor,
    "reptile": ReptileRegressor,
}
SINUSOID_SHOTS, LETTER_SHOTS = (5, 10), (2, 5, 10, 20)
NETWORK = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
STEPS = {  # kind of step sizes, examples, epochs of 25,000 tasks
    "MAML, 5 shots": (False, 5, 40),
    "MAML, 10 shots": (False, 10, 12),
    "Meta-SGD, 5 shots": ("element", 5, 12),
}
COUNTS = (0, 1, 5, 10)
PUBLISHED = {"MAML, 5 shots": "0.67 / 0.38 / 0.35", "Meta-SGD, 5 shots": "0.90 / - / -"}
X2YBR = 10  # a column: the mean of x * x * y over the black pixels
Tasks = tuple[np.ndarray, np.ndarray, np.ndarray]  # X, y and tasks


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learner", choices=LEARNERS, nargs="*", default=list(LEARNERS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", choices=STEPS, nargs="*", default=list(STEPS))
    parser.add_argument("--splits", type=int, nargs="*", default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for split in args.splits:
        STUDY.remember("letter", "baselines", split, compute=partial(score_baselines, split))
        for name in args.learner:
            print(name, STUDY.remember("letter", name, split, compute=partial(letter, name, split)))
    for seed in args.seeds:
        for name in args.learner:
            print(
                name, STUDY.remember("sinusoid", name, seed, compute=partial(sinusoid, name, seed))
            )
    for name in args.steps:
        for seed in args.seeds[:1]:
            print(name, STUDY.remember("steps", name, seed, compute=partial(steps, name, seed)))
    write()


# ---------------------------------------------------------------------- runs


def steps(name: str, seed: int) -> dict[str, Any]:
    """Train through one step, and score after several."""
    learned, n_shot, n_epochs = STEPS[name]
    base = make_sinusoids(n_tasks=10000, random_state=1000 + seed)
    new = make_sinusoids(n_tasks=1000, random_state=2000 + seed)
    learner = MAMLRegressor(
        backbone=NETWORK,
        n_steps=1,
        step_size=0.02,
        learn_step_size=learned,
        n_shot=n_shot,
        n_query=10,
        episodes_per_epoch=25000,
        max_epochs=n_epochs,
        patience=None,
        refit=False,
        calibrate=False,
        random_state=seed,
    )
    start = time.process_time()
    learner.fit(*base[:2], tasks=base[2])
    seconds = round(time.process_time() - start)
    found = {"cpu seconds": seconds, "tasks": 25000 * len(learner.history_)}
    for n_steps in (0, 1) if learned else (0, 1, 5, 10):
        found[f"after {n_steps}"] = error(learner.with_steps(n_steps), new, n_shot)
    return found


def sinusoid(name: str, seed: int) -> dict[str, Any]:
    """Train a learner on sinusoids and score it on others."""
    base = make_sinusoids(n_tasks=10000, random_state=1000 + seed)
    new = make_sinusoids(n_tasks=1000, random_state=2000 + seed)
    learner, seconds = fit(name, base, seed)
    return {"cpu seconds": seconds} | score(learner, new, SINUSOID_SHOTS)


def letter(name: str, split: int) -> dict[str, Any]:
    """Train a learner on the base letters and score it on the test letters."""
    base, new = letters(split)
    learner, seconds = fit(name, base, split)
    return {"cpu seconds": seconds} | score(learner, new, LETTER_SHOTS)


def score_baselines(split: int) -> dict[str, Any]:
    """Score what a learner has to beat."""
    base, new = letters(split)
    return {
        name: {str(n_shot): error(regressor, new, n_shot) for n_shot in LETTER_SHOTS}
        for name, regressor in task_baselines(base[0], base[1]).items()
    }


def letters(split: int) -> tuple[Tasks, Tasks]:
    """Return base and test letters; values have mean 0 and variance 1 over the base."""
    data = _data.letter()
    X, y = np.delete(data.X, X2YBR, axis=1), data.X[:, X2YBR].astype(float)
    base, new = next(ClassShuffleSplit(1, test_size=8, random_state=split).split(data.X, data.y))
    X = StandardScaler().fit(X[base]).transform(X)
    y = (y - y[base].mean()) / y[base].std()
    first, second = ((X[rows], y[rows], data.y[rows]) for rows in (base, new))
    return first, second


def fit(name: str, base: Tasks, seed: int) -> tuple[Any, float]:
    """Train a learner; returns it and the seconds of the processor."""
    learner = LEARNERS[name](random_state=seed)
    start = time.process_time()
    learner.fit(*base[:2], tasks=base[2])
    return learner, round(time.process_time() - start, 1)


def score(learner: Any, new: Tasks, shots: tuple[int, ...]) -> dict[str, Any]:
    """Return mean squared errors and coverages by number of shots."""
    return {str(n_shot): error(learner, new, n_shot) for n_shot in shots} | {
        f"coverage {n_shot}": coverage(learner, new, n_shot) for n_shot in shots
    }


def error(regressor: Any, new: Tasks, n_shot: int) -> float:
    """Return the mean squared error over episodes."""
    return round(-task_score(regressor, *new, n_shot=n_shot).mean, 4)


def coverage(learner: Any, new: Tasks, n_shot: int) -> float:
    """Return the share of queries inside their 90 % interval, over 100 episodes."""
    X, y, tasks = new
    inside = []
    for support, query in TaskSplit(100, n_shot=n_shot).split(X, groups=tasks):
        regressor = learner.adapt(X[support], y[support])
        values, std = regressor.predict(X[query], return_std=True)
        inside.append(np.abs(y[query] - values) <= 1.645 * std)
    return round(float(np.mean(inside)), 3)


# ---------------------------------------------------------------------- page


def write() -> None:
    """Write the tables of everything measured so far."""
    used = STUDY.find("sinusoid") + STUDY.find("letter")
    loads = [run["load_before"] for run in used]
    write_page(
        "regression",
        "Few-shot regression",
        " ".join(__doc__.split("\n\n")[1].split()),
        f"## Sinusoids\n\n{sinusoid_table()}\n\n## Steps\n\n{steps_table()}"
        f"\n\n## Letters, by split\n\n{letter_table()}",
        "python -m benchmarks.regression",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def sinusoid_table() -> str:
    """Return mean errors over the seeds, with the largest."""
    rows = []
    for name, cls in LEARNERS.items():
        runs = STUDY.find("sinusoid", name)
        if runs:
            cells = [mean_and_worst([run[str(n)] for run in runs]) for n in SINUSOID_SHOTS]
            covers = [f"{np.mean([run[f'coverage {n}'] for run in runs]):.2f}" for n in (5, 10)]
            seconds = f"{np.mean([run['cpu seconds'] for run in runs]):.0f}"
            rows.append([cls.__name__, str(len(runs)), *cells, *covers, seconds])
    shots = [f"{n} shots (worst)" for n in SINUSOID_SHOTS]
    covers = [f"coverage, {n}" for n in SINUSOID_SHOTS]
    return markdown_table(["learner", "seeds", *shots, *covers, "CPU s of fit"], rows)


def steps_table() -> str:
    """Return errors after several numbers of steps."""
    rows = []
    for name in STEPS:
        for run in STUDY.find("steps", name):
            cells = [f"{run[k]:.2f}" if k in run else "" for k in map("after {}".format, COUNTS)]
            spent = [f"{run['cpu seconds']:.0f}", f"{run['tasks']:,}"]
            rows.append([name, *cells, PUBLISHED.get(name, ""), *spent])
    header = ["method", *(f"{n} steps" for n in COUNTS), "published, 1 / 5 / 10"]
    return markdown_table([*header, "CPU s of fit", "tasks"], rows)


def mean_and_worst(errors: list[float]) -> str:
    """Return a cell of the table."""
    return f"{np.mean(errors):.3f} ({max(errors):.3f})"


def letter_table() -> str:
    """Return errors of learners and baselines on each split."""
    rows, columns = [], [str(n) for n in LETTER_SHOTS]
    for split in range(3):
        for name, cls in LEARNERS.items():
            if (run := STUDY.get("letter", name, split)) is not None:
                cover = f"{np.mean([run[f'coverage {n}'] for n in LETTER_SHOTS]):.2f}"
                cells = [f"{run[n]:.3f}" for n in columns]
                rows.append([str(split), cls.__name__, *cells, cover, f"{run['cpu seconds']:.0f}"])
        for name, errors in (STUDY.get("letter", "baselines", split) or {}).items():
            if isinstance(errors, dict):
                rows.append([str(split), name, *(f"{errors[n]:.3f}" for n in columns), "", ""])
    shots = [f"{n} shots" for n in LETTER_SHOTS]
    return markdown_table(["split", "regressor", *shots, "coverage", "CPU s of fit"], rows)


if __name__ == "__main__":
    main()
