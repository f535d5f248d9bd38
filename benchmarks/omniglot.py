"""Omniglot: every learner on the Vinyals split, and on Lake's one-shot runs.

One model per learner and seed, trained with one shot, is scored in all four columns of the main
table: 1,000 episodes of test classes, 15 queries per class, running batch-norm statistics. Weights
are selected on the split's own validation characters, nothing on test characters. Lake's 20 runs
(20-way 1-shot, all characters of a run from one alphabet) are another, harder task with separate
models, trained on the background set only. These models are trained on episodes as in the papers;
rows in which no argument is set, or only the length of training, use each sample of an episode in
each role, as is the default.

    python -m benchmarks.omniglot --learner all
    python -m benchmarks.omniglot --learner protonet --seeds 0 1 2
    python -m benchmarks.omniglot --learner protonet --task default long --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from sklearn_fewshot import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.model_selection import episodic_score

from . import _data
from ._report import Study, kept, markdown_table, write_page

STUDY = Study("omniglot")
SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
COLUMNS = [f"{n_way}w{n_shot}s" for n_way, n_shot in SETTINGS]
SCHEDULE = {"episodes_per_epoch": 250, "max_epochs": 22, "patience": None}
EPISODE = {  # of 360 images, as in the papers
    "n_way": 60,
    "n_shot": 1,
    "n_query": 5,
    "rotate_support": False,
    "lr": 1e-3,
}
LONG = {"max_epochs": 100, "patience": None}


class Entry(NamedTuple):
    """A learner in the table."""

    make: Callable[..., Any]  # the recipe, which may take 45 minutes on two cores
    published: tuple[float, ...]  # accuracies of the columns
    source: str
    band: tuple[float, ...]  # from which a result counts as reproduced
    lake: str = ""  # published accuracy on Lake's runs, with its conditions


ENTRIES = {
    "protonet": Entry(
        lambda **kw: ProtoNetClassifier(scale=1.0, learn_scale=False, **EPISODE, **kw),
        (98.8, 99.7, 96.0, 98.9),
        "Snell et al. (2017)",
        (98.3, 99.5, 94.9, 98.6),
    ),
    "matchingnet": Entry(
        lambda **kw: MatchingNetClassifier(**EPISODE, **kw),
        (98.1, 98.9, 93.8, 98.5),
        "Vinyals et al. (2016)",
        (97.5, 98.7, 92.5, 97.5),
    ),
    "matchingnet-fce": Entry(
        lambda **kw: MatchingNetClassifier(fce=True, **EPISODE, **kw),
        (98.1, 98.9, 93.8, 98.5),
        "Vinyals et al. (2016), without FCE",
        (97.5, 98.7, 92.5, 97.5),
    ),
    "relationnet": Entry(
        lambda **kw: RelationNetClassifier(n_way=20, n_shot=1, n_query=10, **kw),
        (99.6, 99.8, 97.6, 99.1),
        "Sung et al. (2018), batch statistics and checkpoints of the test classes",
        (97.0, 98.9),
    ),
    "siamesenet": Entry(
        lambda **kw: SiameseNetClassifier(**EPISODE, **kw),
        (96.7, 98.4, 88.0, 96.5),
        "Koch et al. (2015), by Vinyals et al. (2016)",
        (95.5, 98.0, 87.0, 96.0),
        "92.0 (Koch et al.: 105 x 105, his network, affine distortions)",
    ),
    "ridgenet": Entry(lambda **kw: RidgeNetClassifier(**EPISODE, **kw), (), "", ()),
    "baseline": Entry(lambda **kw: BaselineClassifier(batch_size=360, **kw), (), "", ()),
}


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learner", choices=["all", *ENTRIES], nargs="+", default=["all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--task", choices=TASKS, nargs="+", default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    learners = ENTRIES if "all" in args.learner else args.learner
    for task in args.task or ["vinyals", "lake"]:
        for learner in learners:
            for seed in args.seeds:
                STUDY.remember(task, learner, seed, compute=partial(TASKS[task], learner, seed))
    write()


def run_vinyals(learner: str, seed: int) -> dict[str, Any]:
    """Train with the split's validation characters and score on its test characters."""
    X, y = _data.omniglot(0, 1)
    _, y_validation = _data.omniglot(1)
    estimator = ENTRIES[learner].make(
        validation_classes=np.unique(y_validation), random_state=seed, verbose=1, **SCHEDULE
    )
    name = f"omniglot-vinyals-{learner}-seed{seed}"
    result, estimator = kept(name, lambda: (trained(estimator, X, y), estimator))
    return result | scores(estimator)


def run_default(learner: str, seed: int) -> dict[str, Any]:
    """Train the estimator without arguments on the training and validation characters."""
    estimator = type(ENTRIES[learner].make())(random_state=seed)
    return trained(estimator, *_data.omniglot(0, 1)) | scores(estimator)


def run_long(learner: str, seed: int) -> dict[str, Any]:
    """Train for longer, else by default, with the split's validation characters."""
    _, y_validation = _data.omniglot(1)
    estimator = type(ENTRIES[learner].make())(
        validation_classes=np.unique(y_validation), random_state=seed, **LONG
    )
    return trained(estimator, *_data.omniglot(0, 1)) | scores(estimator)


def run_lake(learner: str, seed: int) -> dict[str, Any]:
    """Train on the background set, whole alphabets held out, and answer Lake's 20 runs."""
    X, y, alphabet = _data.omniglot_background()
    schedule = SCHEDULE | {"max_epochs": 8}
    estimator = ENTRIES[learner].make(
        validation_fraction=0.15, random_state=seed, verbose=1, **schedule
    )
    result = trained(estimator, X, y, class_groups=alphabet)
    hits = [
        np.mean(estimator.adapt(X_support, np.arange(20)).predict(X_query) == answer)
        for X_support, X_query, answer in _data.omniglot_runs()
    ]
    print(f"Lake's runs: {100 * np.mean(hits):.2f} %", flush=True)
    return result | {"lake": 100 * np.mean(hits), "runs": hits}


TASKS = {
    "vinyals": run_vinyals,
    "default": run_default,
    "long": run_long,
    "lake": run_lake,
}


def trained(estimator: Any, X: np.ndarray, y: np.ndarray, **groups: Any) -> dict[str, Any]:
    """Fit, and say how it went."""
    start = time.perf_counter()
    estimator.fit(X, y, **groups)
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "epochs": len(estimator.history_),
        "best_epoch": estimator.best_epoch_,
        "valid_acc": max(row["valid_acc"] for row in estimator.history_),
    }


def scores(estimator: Any) -> dict[str, Any]:
    """Score a fitted learner on the test characters."""
    X_test, y_test = _data.omniglot(2)
    result: dict[str, Any] = {}
    for name, (n_way, n_shot) in zip(COLUMNS, SETTINGS, strict=True):
        score = episodic_score(
            estimator, X_test, y_test, n_way=n_way, n_shot=n_shot, n_query=15, n_episodes=1000
        )
        print(score, flush=True)
        result[name] = 100 * score.mean
        result[f"{name}_half_width"] = 100 * score.half_width
    return result


def write() -> None:
    """Write the page of everything measured so far."""
    rows, runs = [], []
    for learner, entry in ENTRIES.items():
        seeds, lake = STUDY.find("vinyals", learner), STUDY.find("lake", learner)
        if not (seeds or lake):
            continue
        if entry.published:
            cells = [f"{value:.1f}" for value in entry.published]
            rows.append([f"published, {entry.source}", *cells, entry.lake, ""])
            band = [f"{value:.1f}" for value in entry.band] + ["none"] * (4 - len(entry.band))
            rows.append([f"{learner} counts as reproduced from", *band, "", ""])
        runs += seeds + lake
        lakes = " / ".join(f"{run['lake']:.1f}" for run in lake)
        if len(seeds) == 1:
            rows.append(row(f"**{learner}**", seeds[0], lakes))
        else:
            rows += [row(f"{learner}, seed {i}", run, "") for i, run in enumerate(seeds)]
            rows.append(mean_row(f"**{learner}**", seeds, lakes))
        longer = ", ".join(f"{name}={value}" for name, value in LONG.items())
        for task, what in (("default", "no argument set"), ("long", longer)):
            others = STUDY.find(task, learner)
            rows += [row(f"{learner}, {what}, seed {i}", run, "") for i, run in enumerate(others)]
            if len(others) > 1:
                rows.append(mean_row(f"**{learner}**, {what}", others, ""))
            runs += others
    loads = [run["load_before"] for run in runs]
    write_page(
        "omniglot",
        "Omniglot: every learner",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Accuracy in %; intervals of 95 % over episodes are conditional on the trained model "
        "and the test classes. The last column is the time of training.",
        markdown_table(["model", *COLUMNS, "Lake's runs", "minutes"], rows),
        "python -m benchmarks.omniglot --learner all --threads 1",
        f"Machine: {runs[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}; minutes with other load on the machine.",
    )


def row(label: str, run: dict[str, Any], lake: str) -> list[str]:
    """Lay out one run."""
    cells = [f"{run[name]:.2f} ± {run[name + '_half_width']:.2f}" for name in COLUMNS]
    threads = re.search(r"\d+ thread", run["machine"])[0]
    minutes = f"{run['seconds'] / 60:.1f} ({threads})"
    if run.get("suspended"):
        minutes = "not measured: suspended for a time"
    return [label, *cells, lake, minutes]


def mean_row(label: str, runs: list[dict[str, Any]], lake: str) -> list[str]:
    """Lay out the mean over seeds."""
    if not runs:
        return [label, *[""] * len(COLUMNS), lake, ""]
    means = [f"**{np.mean([run[name] for run in runs]):.2f}**" for name in COLUMNS]
    return [f"{label} (mean of {len(runs)})", *means, lake, ""]


if __name__ == "__main__":
    main()
