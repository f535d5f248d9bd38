"""Omniglot: learners that adapt their own weights, beside a Prototypical Network of equal time.

Every learner has the strided network of Finn et al. (2017) and about ten minutes of one core; the
numbers of episodes were chosen for that. Weights are selected on the validation characters of the
Vinyals split, rotations are classes, and nothing is selected on test characters. Episodes of test
characters: 600 of 5 classes, 200 of 20, with 15 queries per class. No query is seen by another:
batch normalisation goes by the moments of the support set. *Zero steps* is the same network before
it is adapted, in the 5-way 1-shot episodes. *Published* are figures of the papers, after far longer
training, with their conditions.

    python -m benchmarks.optimization [--learner protomaml anil ...] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from sklearn_fewshot import (
    MAMLClassifier,
    MetaLSTMClassifier,
    ProtoNetClassifier,
    ReptileClassifier,
)
from sklearn_fewshot.model_selection import episodic_score

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("optimization")
SETTINGS = [(5, 1, 600), (5, 5, 600), (20, 1, 200)]
ONE_SHOT = {"n_shot": 1, "n_query": 5}
COMMON = {"patience": None, "calibrate": False, "precision": "float32"}


class Entry(NamedTuple):
    """A learner in the table."""

    title: str
    make: Callable[..., Any]
    published: str


ENTRIES = {
    "protonet": Entry(
        "ProtoNet, 30-way",
        partial(
            ProtoNetClassifier,
            backbone="conv4_strided",
            n_way=30,
            max_epochs=20,
            episodes_per_epoch=500,
            **ONE_SHOT,
        ),
        "98.8 (60-way, Conv4)",
    ),
    "anil": Entry(
        "ANIL from prototypes, 30-way, 5 steps",
        partial(
            MAMLClassifier,
            adapts="head",
            n_steps=5,
            backbone="conv4_strided",
            n_way=30,
            meta_batch_size=1,
            max_epochs=20,
            episodes_per_epoch=500,
            **ONE_SHOT,
        ),
        "",
    ),
    "protomaml": Entry(
        "Proto-MAML, 20-way, 1 step, first order",
        partial(
            MAMLClassifier,
            first_order=True,
            n_steps=1,
            n_way=20,
            meta_batch_size=4,
            max_epochs=20,
            episodes_per_epoch=400,
            **ONE_SHOT,
        ),
        "",
    ),
    "maml": Entry(
        "MAML, shared row, 5-way, 3 steps",
        partial(
            MAMLClassifier,
            start="shared",
            step_size=0.4,
            learn_step_size=False,
            meta_batch_size=16,
            max_epochs=20,
            episodes_per_epoch=720,
            **ONE_SHOT,
        ),
        "98.7 (60,000 batches of 32, queries normalised together)",
    ),
    "mamlpp": Entry(
        "MAML++: the same, step sizes learned, multi-step loss, first order for a half",
        partial(
            MAMLClassifier,
            start="shared",
            step_size=0.4,
            first_order=0.5,
            meta_batch_size=16,
            max_epochs=20,
            episodes_per_epoch=720,
            **ONE_SHOT,
        ),
        "99.5 (queries normalised together)",
    ),
    "fomaml": Entry(
        "first-order MAML, shared row, 5-way, 3 steps",
        partial(
            MAMLClassifier,
            start="shared",
            step_size=0.4,
            learn_step_size=False,
            multi_step_loss=False,
            first_order=True,
            meta_batch_size=16,
            max_epochs=20,
            episodes_per_epoch=1120,
            **ONE_SHOT,
        ),
        "98.3 (queries normalised together)",
    ),
    "reptile": Entry(
        "Reptile, 5 steps, 50 in use",
        partial(ReptileClassifier, max_epochs=12, episodes_per_epoch=500),
        "95.4 (100,000 batches of 5)",
    ),
    "metalstm": Entry(
        "LSTM meta-learner, 32 filters, 8 steps",
        partial(
            MetaLSTMClassifier,
            n_steps=8,
            max_epochs=20,
            episodes_per_epoch=80,
            **ONE_SHOT,
        ),
        "none for Omniglot",
    ),
}


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learner", choices=ENTRIES, nargs="+", default=list(ENTRIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for seed in args.seeds:
        for name in args.learner:
            result = STUDY.remember("omniglot", name, seed, compute=partial(run, name, seed))
            print(name, seed, result)
    write()


def run(name: str, seed: int) -> dict[str, Any]:
    """Train a learner and score it on test characters, also without its steps."""
    X, y = _data.omniglot(0, 1)
    validation = np.unique(_data.omniglot(1)[1])
    learner = ENTRIES[name].make(validation_classes=validation, random_state=seed, **COMMON)
    start = time.process_time()
    learner.fit(X, y)
    result: dict[str, Any] = {
        "cpu seconds": round(time.process_time() - start),
        "episodes": learner.episodes_per_epoch * len(learner.history_),
        "best epoch": learner.best_epoch_,
    }
    X, y = _data.omniglot(2)
    scored = {column(*setting[:2]): (learner, setting) for setting in SETTINGS}
    if isinstance(learner, MAMLClassifier):
        scored["zero steps"] = learner.with_steps(0), SETTINGS[0]
    for label, (it, (n_way, n_shot, n_episodes)) in scored.items():
        start = time.process_time()
        score = episodic_score(it, X, y, n_way=n_way, n_shot=n_shot, n_episodes=n_episodes)
        result[label] = round(100 * score.mean, 2)
        result[f"{label} half width"] = round(100 * score.half_width, 2)
        result[f"{label} ms"] = round(1000 * (time.process_time() - start) / n_episodes, 1)
    return result


def column(n_way: int, n_shot: int) -> str:
    """Return the title of a setting."""
    return f"{n_way}w{n_shot}s"


def write() -> None:
    """Write the table of everything measured so far."""
    columns = [column(*setting[:2]) for setting in SETTINGS]
    header = ["learner", "seeds", *columns, "zero steps", "published, 5w1s"]
    header += ["CPU s of fit", "episodes", "ms an episode"]
    rows, used = [], []
    for name, entry in ENTRIES.items():
        runs = STUDY.find("omniglot", name)
        if runs:
            used += runs
            cells = [cell(runs, label) for label in (*columns, "zero steps")]
            means = [
                f"{np.mean([run[k] for run in runs]):.0f}" for k in ("cpu seconds", "episodes")
            ]
            speed = f"{np.mean([run['5w1s ms'] for run in runs]):.1f}"
            rows.append([entry.title, str(len(runs)), *cells, entry.published, *means, speed])
    loads = [run["load_before"] for run in used]
    write_page(
        "optimization",
        "Learners that adapt their own weights",
        " ".join(__doc__.split("\n\n")[1].split()),
        markdown_table(header, rows),
        "python -m benchmarks.optimization --threads 1",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def cell(runs: list[dict[str, Any]], label: str) -> str:
    """Return the mean over seeds, with the interval over episodes of one."""
    found = [run for run in runs if label in run]
    if not found:
        return ""
    mean = np.mean([run[label] for run in found])
    return f"{mean:.1f} ± {np.mean([run[f'{label} half width'] for run in found]):.1f}"


if __name__ == "__main__":
    main()
