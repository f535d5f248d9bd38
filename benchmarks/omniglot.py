"""Omniglot, Vinyals split: the main table.

Trains one 1-shot model a seed and evaluates it on all four settings: 1,000 episodes of test
classes, 15 queries a class, running batch-norm statistics. The weights kept are those that score
best on the split's own validation characters. ``--default`` times the estimator without arguments.

    python -m benchmarks.omniglot --learner protonet --seeds 0 1 2
    python -m benchmarks.omniglot --learner protonet --default
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import episodic_score

from ._data import omniglot
from ._report import markdown_table, remembered, write_page

SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))

# By learner: the recipe of the main table, which may take 40 minutes on two cores.
RECIPES: dict[str, Callable[..., Any]] = {
    "protonet": lambda **kw: ProtoNetClassifier(
        n_way=60,
        n_shot=1,
        n_query=5,
        scale=1.0,
        learn_scale=False,
        episodes_per_epoch=250,
        max_epochs=22,
        patience=None,
        **kw,
    ),
}
DEFAULTS: dict[str, Callable[..., Any]] = {"protonet": ProtoNetClassifier}
PUBLISHED = {"protonet": ("Snell et al. (2017)", (98.8, 99.7, 96.0, 98.9))}
BANDS = {"protonet": (98.3, 99.5, 94.9, 98.6)}


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learner", choices=sorted(RECIPES), default="protonet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--default", action="store_true", help="the estimator without arguments")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.default:
        remembered(f"omniglot-{args.learner}-default", lambda: run_default(args.learner))
    else:
        for seed in args.seeds:
            name = f"omniglot-{args.learner}-seed{seed}"
            remembered(name, lambda seed=seed: run_recipe(args.learner, seed))
    write(args.learner)


def run_recipe(learner: str, seed: int) -> dict[str, Any]:
    """Train with the split's validation characters and score on its test characters."""
    X, y = omniglot(0, 1)
    _, y_validation = omniglot(1)
    estimator = RECIPES[learner](
        validation_classes=np.unique(y_validation), random_state=seed, verbose=1
    )
    return train_and_score(estimator, X, y)


def run_default(learner: str) -> dict[str, Any]:
    """Train the estimator without arguments on the training and validation characters."""
    return train_and_score(DEFAULTS[learner](random_state=0), *omniglot(0, 1))


def train_and_score(estimator: Any, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Fit, time, and score on the four settings."""
    start = time.perf_counter()
    estimator.fit(X, y)
    return {"seconds": round(time.perf_counter() - start, 1)} | scores(estimator)


def scores(estimator: Any) -> dict[str, Any]:
    """Score a fitted learner on the test characters."""
    X_test, y_test = omniglot(2)
    result: dict[str, Any] = {
        "epochs": len(estimator.history_),
        "best_epoch": estimator.best_epoch_,
        "valid_acc": max(row["valid_acc"] for row in estimator.history_),
    }
    for n_way, n_shot in SETTINGS:
        score = episodic_score(
            estimator, X_test, y_test, n_way=n_way, n_shot=n_shot, n_query=15, n_episodes=1000
        )
        print(score, flush=True)
        result[f"{n_way}w{n_shot}s"] = 100 * score.mean
        result[f"{n_way}w{n_shot}s_half_width"] = 100 * score.half_width
    return result


def write(learner: str) -> None:
    """Write the table of everything measured so far."""
    from ._report import RESULTS

    files = sorted(RESULTS.glob(f"omniglot-{learner}-seed*.json"))
    runs = [remembered(path.stem, dict) for path in files]
    names = [f"{w}w{s}s" for w, s in SETTINGS]
    header = ["model", *names, "minutes"]
    source, published = PUBLISHED[learner]
    rows = [
        [f"published, {source}", *(f"{value:.1f}" for value in published), ""],
        ["reproduced from", *(f"{value:.1f}" for value in BANDS[learner]), ""],
    ]
    rows += [
        result_row(path.stem.split("-")[-1], run, names)
        for path, run in zip(files, runs, strict=True)
    ]
    if len(runs) > 1:
        means = [f"**{np.mean([run[name] for run in runs]):.2f}**" for name in names]
        rows.append([f"**mean of {len(runs)} seeds**", *means, ""])
    default = RESULTS / f"omniglot-{learner}-default.json"
    if default.exists():
        run = remembered(default.stem, dict)
        runs.append(run)
        rows.append(result_row("no argument set", run, names))
    loads = ", ".join(f"{run['load_before']:.1f}" for run in runs)
    write_page(
        f"omniglot-{learner}",
        f"Omniglot: {learner}",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Accuracy in %, with the 95 % interval over episodes: conditional on the trained model "
        "and the test classes.",
        markdown_table(header, rows),
        f"python -m benchmarks.omniglot --learner {learner} --threads 1",
        f"Machine: {runs[0]['machine']}. Load average before each run: {loads}; the minutes are "
        "those of a machine with other work on it. The last row is --default, on two threads.",
    )


def result_row(label: str, run: dict[str, Any], names: list[str]) -> list[str]:
    """Lay out one run."""
    cells = [f"{run[name]:.2f} ± {run[name + '_half_width']:.2f}" for name in names]
    threads = re.search(r"\d+ thread", run["machine"])[0]
    return [label, *cells, f"{run['seconds'] / 60:.1f} ({threads})"]


if __name__ == "__main__":
    main()
