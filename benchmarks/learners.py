"""Which learner should I use? All of them with default arguments, and baselines.

Random class splits with about a fifth of the classes for testing; on each, every learner is trained
on the other classes with default arguments except the seed. Episodes of test classes, 5-way and
all-way ("all": 5 classes of letter, isolet and libras, so the same there), 1-shot and 5-shot;
learners and baselines on the same episodes and after the same scaler. *Support baseline*: the best,
for each data set and setting, of nearest centroid, 1-nearest neighbour, logistic regression and
(5-shot) shrinkage LDA fitted on the support set only. *Base-class LDA*: nearest centroid after the
shrinkage LDA of the base classes. Omniglot has the Vinyals split; its all-way episodes have 1,692
classes and there are five of them. RelationNet, whose module is applied to every pair of query and
class, is scored on one query per class in two such episodes.

    python -m benchmarks.learners [--data letter isolet ...] [--learners ...] [--splits 5]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score
from sklearn_fewshot.model_selection._baselines import base_class_lda, support_baselines

from . import _data
from ._report import Study, markdown_table, write_page
from .tables import flat, paired

STUDY = Study("learners")
DATA = ("letter", "isolet", "grocery_features", "clinc150", "libras", "omniglot")
LEARNERS = {
    "ProtoNet": ProtoNetClassifier,
    "MatchingNet": MatchingNetClassifier,
    "MatchingNet with FCE": lambda **kw: MatchingNetClassifier(fce=True, **kw),
    "RelationNet": RelationNetClassifier,
    "SiameseNet": SiameseNetClassifier,
    "RidgeNet": RidgeNetClassifier,
    "Baseline": BaselineClassifier,
    "Baseline, anchored": lambda **kw: BaselineClassifier(readout="anchored", **kw),
}
SETTINGS = ((5, 1), (5, 5), ("all", 1), ("all", 5))
N_EPISODES = {5: 200, "all": 40}
N_EPISODES_MANY_WAYS = 5  # of a thousand classes and more


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--learners", nargs="+", choices=["baselines", *LEARNERS], default=None)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.data:
        for split in range(1 if name == "omniglot" else args.splits):
            for who in args.learners or ["baselines", *LEARNERS]:
                what = partial(run, name, who, split)
                result = STUDY.remember(name, who, split, compute=what)
                print(name, split, who, {k: round(v, 1) for k, v in result.items() if "-way" in k})
    write()


def run(name: str, who: str, split: int) -> dict[str, Any]:
    """Train a learner on one class split and score it, or score the baselines."""
    (X, y), (X_test, y_test), standardise = class_split(name, split)
    if who == "baselines":
        return run_baselines(X, y, X_test, y_test, standardise, split)
    learner = LEARNERS[who](random_state=split)
    start = time.perf_counter()
    model = make_pipeline(*[StandardScaler()] * standardise, learner).fit(X, y)
    result = {"seconds": round(time.perf_counter() - start, 1), "best_epoch": learner.best_epoch_}
    for label, episodes in settings(y_test, split):
        if who == "RelationNet" and episodes["n_episodes"] == N_EPISODES_MANY_WAYS:
            episodes |= {"n_query": 1, "n_episodes": 2}
        result[label] = 100 * episodic_score(model, X_test, y_test, **episodes).mean
    return result


def class_split(name: str, split: int) -> tuple[Any, Any, bool]:
    """Return base and test classes."""
    if name == "omniglot":
        return _data.omniglot(0, 1), _data.omniglot(2), False
    data = getattr(_data, name)()
    n_test = max(5, len(np.unique(data.y)) // 5)
    splitter = ClassShuffleSplit(1, test_size=n_test, random_state=split)
    base, test = next(splitter.split(data.X, data.y))
    return (data.X[base], data.y[base]), (data.X[test], data.y[test]), data.standardise


def settings(y_test: np.ndarray, split: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the episodes of each setting."""
    counts = np.unique(y_test, return_counts=True)[1]
    found = []
    for n_way, n_shot in SETTINGS:
        episodes = {
            "n_way": n_way,
            "n_shot": n_shot,
            "n_query": int(min(15, counts.min() - n_shot)),
            "n_episodes": N_EPISODES[n_way],
            "random_state": split,
        }
        if n_way == "all" and len(counts) >= 1000:
            episodes["n_episodes"] = N_EPISODES_MANY_WAYS
        found.append((f"{n_way}-way {n_shot}-shot", episodes))
    return found


def run_baselines(
    X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, scaled: bool, split: int
) -> dict[str, Any]:
    """Score everything that needs no learner."""
    scaler = StandardScaler().fit(X) if scaled else None
    X, X_test = flat(X, scaler), flat(X_test, scaler)
    behind = base_class_lda(X, y)
    result: dict[str, Any] = {}
    for label, episodes in settings(y_test, split):
        baselines = support_baselines(episodes["n_shot"])
        if len(np.unique(y_test)) >= 1000 and episodes["n_way"] == "all":
            baselines = {
                name: baselines[name] for name in ("nearest centroid", "1-nearest neighbour")
            }
        for baseline, classifier in baselines.items():
            score = episodic_score(classifier, X_test, y_test, **episodes)
            result[f"{label} {baseline}"] = 100 * score.mean
        score = episodic_score(NearestCentroid(), X_test, y_test, preprocess=behind, **episodes)
        result[f"{label} base"] = 100 * score.mean
    return result


def write() -> None:
    """Write the table of everything measured so far."""
    rows, used = [], []
    for name in DATA:
        for n_way, n_shot in SETTINGS:
            baselines = STUDY.find(name, "baselines")
            if baselines:
                rows.append(row(name, f"{n_way}-way {n_shot}-shot", baselines))
        used += [run for who in ("baselines", *LEARNERS) for run in STUDY.find(name, who)]
    loads = [run["load_before"] for run in used]
    times = [[who, *(seconds(STUDY.find(name, who)) for name in DATA)] for who in measured()]
    table = markdown_table(
        ["data", "setting", *measured(), "support baseline", "base-class LDA"], rows
    )
    table += (
        "\n\nSeconds of training (mean; upper bounds, as the machine had other load), and on how "
        "many of the splits training found nothing better than its start (`best_epoch_ == 0`):\n\n"
    )
    table += markdown_table(["learner", *DATA], times)
    write_page(
        "learners",
        "Which learner should I use?",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Mean accuracy in % over the splits; in brackets the difference to ProtoNet, paired "
        "over the splits, with its 95 % interval over splits, corrected for the classes that "
        "splits have in common.",
        table,
        "python -m benchmarks.learners --threads 1",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def measured() -> list[str]:
    """Return the learners that there are results of."""
    return [who for who in LEARNERS if any(STUDY.find(name, who) for name in DATA)]


def row(name: str, label: str, baselines: list[dict[str, Any]]) -> list[str]:
    """Lay out one data set and setting."""
    column = {
        key.removeprefix(label + " "): np.array([run[key] for run in baselines])
        for key in baselines[0]
        if key.startswith(label)
    }
    base = column.pop("base")
    best = max(column, key=lambda baseline: column[baseline].mean())
    reference = np.array([run[label] for run in STUDY.find(name, "ProtoNet")])
    cells = [f"{name} ({len(baselines)})", label]
    for who in measured():
        values = np.array([run[label] for run in STUDY.find(name, who)])
        cell = f"{values.mean():.1f}" if len(values) else ""
        if len(values) == len(reference) > 1 and who != "ProtoNet":
            cell += f" ({paired(name, values - reference)})"
        cells.append(cell)
    return [*cells, f"{column[best].mean():.1f} ({best})", f"{base.mean():.1f}"]


def seconds(runs: list[dict[str, Any]]) -> str:
    """Return the mean time of training, and how often the start was kept."""
    if not runs:
        return ""
    kept = sum(run["best_epoch"] == 0 for run in runs)
    found = f", start {kept} of {len(runs)}" if kept else ""
    return f"{np.mean([run['seconds'] for run in runs]):.0f}{found}"


if __name__ == "__main__":
    main()
