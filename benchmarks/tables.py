"""Default arguments on tables, embeddings, series and small images, against all baselines.

Random class splits with about a fifth of the classes for testing; on each, ``ProtoNetClassifier``
and ``AutoFewShotClassifier`` are trained on the other classes with default arguments except the
seed. Episodes of test classes: 5-way, 200 for each split and shot; all-way, 20. Baselines are
scored on the same episodes and after the same scaler. *Best baseline* is the best of all, selected
for each row by its mean over the splits: fitted on the support set only, nearest centroid,
1-nearest neighbour, logistic regression and (from two shots on) shrinkage LDA; with the base
classes but without a network, nearest centroid after their shrinkage LDA (*LDA*), after that, their
mean and unit length (*LDA, unit*), or after their mean and unit length alone (*SimpleShot*); and
logistic regression of the support set as ProtoNet embeds it (*on the embedding*).

    python -m benchmarks.tables [--data letter isolet ...] [--splits 10]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import AutoFewShotClassifier, ProtoNetClassifier
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score
from sklearn_fewshot.model_selection._baselines import (
    base_class_lda,
    centred_unit_length,
    support_baselines,
)

from . import _data
from ._report import FORMER, Study, markdown_table, write_page

STUDY = Study("tables")
DATA = ("letter", "isolet", "grocery_features", "clinc150", "libras", "qazaq", "grocery_pixels")
SETTINGS = [(5, 1), (5, 2), (5, 5), (5, 10), (5, 20), ("all", 1), ("all", 5)]
N_EPISODES = {5: 200, "all": 20}
LEARNERS = {"ProtoNet": ProtoNetClassifier, "Auto": AutoFewShotClassifier}
N_CLASSES = {  # of all splits; a fifth of them, at least five, are tested
    "letter": 26,
    "isolet": 26,
    "grocery_features": 81,
    "clinc150": 150,
    "libras": 15,
    "qazaq": 42,
    "grocery_pixels": 81,
}
MAX_FEATURES_OF_FLOOR = 1024  # a discriminant of 3,072 pixels in every episode takes hours


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for split in range(args.splits):
        for name in args.data:
            result = STUDY.remember(name, split, compute=partial(run, name, split))
            print(name, split, {k: round(v, 1) for k, v in result.items() if "-way" in k})
    write()


def run(name: str, split: int) -> dict[str, Any]:
    """Train on one class split and score learner and baselines on the same episodes."""
    data = getattr(_data, name)()
    splitter = ClassShuffleSplit(1, test_size=n_test_classes(name), random_state=split)
    base, test = next(splitter.split(data.X, data.y))
    models, result = {}, {}
    for who, cls in LEARNERS.items():
        steps = [*[StandardScaler()] * data.standardise, cls(random_state=split)]
        start, cpu = time.perf_counter(), time.process_time()
        models[who] = make_pipeline(*steps).fit(data.X[base], data.y[base])
        result[f"{who} seconds"] = round(time.perf_counter() - start, 1)
        result[f"{who} cpu seconds"] = round(time.process_time() - cpu, 1)
    scaler = models["ProtoNet"][0] if data.standardise else None
    rows = [flat(data.X[part], scaler) for part in (base, test)]
    y = data.y[test]
    transformed = {
        name: steps.transform(rows[1])
        for name, steps in base_methods(rows[0], data.y[base]).items()
    }
    embedding = models["ProtoNet"].transform(data.X[test])
    smallest = np.unique(y, return_counts=True)[1].min()
    for n_way, n_shot in SETTINGS:
        if smallest < n_shot + 3:
            continue
        episodes = {
            "n_way": n_way,
            "n_shot": n_shot,
            "n_query": int(min(15, smallest - n_shot)),
            "n_episodes": N_EPISODES[n_way],
            "random_state": split,
        }
        scored = {who: (it, data.X[test]) for who, it in models.items()}
        scored["on the embedding"] = LogisticRegression(max_iter=1000), embedding
        scored |= {who: (it, rows[1]) for who, it in of_support(n_shot, rows[1]).items()}
        scored |= {who: (NearestCentroid(), X) for who, X in transformed.items()}
        result |= {
            f"{n_way}-way {n_shot}-shot {who}": round(
                100 * episodic_score(it, X, y, **episodes).mean, 3
            )
            for who, (it, X) in scored.items()
        }
    return result


def n_test_classes(name: str) -> int:
    """Return the number of test classes of a split."""
    return max(5, N_CLASSES[name] // 5)


def of_support(n_shot: int, X: np.ndarray) -> dict[str, Any]:
    """Return the baselines that are fitted on the support set only."""
    baselines = support_baselines(n_shot)
    if X.shape[1] > MAX_FEATURES_OF_FLOOR:
        baselines.pop("shrinkage LDA", None)
    return baselines


def base_methods(X_base: np.ndarray, y_base: np.ndarray) -> dict[str, Any]:
    """Return transformers, fitted on the base classes, before nearest centroid."""
    lda = base_class_lda(X_base, y_base)
    return {
        "LDA": lda,
        "LDA, unit": make_pipeline(lda, centred_unit_length(lda.transform(X_base))),
        "SimpleShot": centred_unit_length(X_base),
    }


def flat(X: np.ndarray, scaler: StandardScaler | None) -> np.ndarray:
    """Return rows in the format of the baselines."""
    is_wide = X.dtype == np.uint8 and X[0].size > MAX_FEATURES_OF_FLOOR
    # Logistic regression of 3,072 pixels between 0 and 255 takes its 1,000 iterations every time.
    X = X.reshape(len(X), -1).astype(np.float32) / (255.0 if is_wide else 1.0)
    return X if scaler is None else scaler.transform(X)


def write() -> None:
    """Write the table of everything measured so far."""
    header = ["data", "splits", "setting", "ProtoNet", "Auto", "best baseline"]
    header += ["ProtoNet less that", "Auto less that", "seconds of fit"]
    rows, gains, used = [], [], []
    for name in DATA:
        runs = STUDY.find(name)
        used += runs
        for n_way, n_shot in SETTINGS:
            label = f"{n_way}-way {n_shot}-shot"
            scored = [run for run in runs if f"{label} ProtoNet" in run]
            if scored:
                cells, gain = row(name, label, scored)
                rows.append(cells)
                gains += gain
    loads = [run["load_before"] for run in used]
    write_page(
        "tables",
        "Default arguments against all baselines",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Accuracy in %; differences are paired over the class splits, with their 95 % "
        "interval over splits (Student's t, corrected for the classes that splits have in common: "
        "it speaks of other classes). Seconds are CPU seconds of ProtoNet and of Auto (of images: "
        "elapsed, measured earlier). Defaults were selected on part of the classes of letter, "
        "isolet, groceries and clinc150, and first tried on random splits like these: for those, "
        "selection has used test classes.",
        markdown_table(header, rows)
        + f"\n\nMean of the differences of Auto over these rows: {np.mean(gains):+.1f}.",
        "python -m benchmarks.tables --threads 1",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}. \\* {FORMER}",
    )


def row(name: str, label: str, runs: list[dict[str, Any]]) -> tuple[list[str], list[float]]:
    """Lay out one data set and setting; returns also the gain of Auto over the best baseline."""
    column = {
        who.removeprefix(f"{label} "): np.array([run[who] for run in runs])
        for who in runs[0]
        if who.startswith(f"{label} ") and all(who in run for run in runs)
    }
    proto, auto = column.pop("ProtoNet"), column.pop("Auto", None)
    best = max(column, key=lambda who: column[who].mean())
    mark = "\\*" if any(run.get("former_defaults") for run in runs) else ""
    cells = [name + mark, str(len(runs)), label, f"{proto.mean():.1f}"]
    cells.append("" if auto is None else f"{auto.mean():.1f}")
    cells += [f"{column[best].mean():.1f} ({best})", paired(name, proto - column[best])]
    cells.append("" if auto is None else paired(name, auto - column[best]))
    spent = [
        [run.get(f"{who} cpu seconds", run.get(f"{who} seconds")) for run in runs]
        for who in LEARNERS
    ]
    cells.append(", ".join(f"{np.mean(one):.0f}" for one in spent if None not in one))
    return cells, [] if auto is None else [float((auto - column[best]).mean())]


def paired(name: str, difference: np.ndarray) -> str:
    """Return mean and half-width of the 95 % interval over splits, which have classes in common.

    As in ``EpisodicCrossValidation.difference``.
    """
    if len(difference) == 1:
        return f"{difference[0]:+.1f}"
    ratio = n_test_classes(name) / (N_CLASSES[name] - n_test_classes(name))
    error = difference.std(ddof=1) * np.sqrt(1 / len(difference) + ratio)
    half_width = stats.t.ppf(0.975, len(difference) - 1) * error
    return f"{difference.mean():+.1f} ± {half_width:.1f}"


if __name__ == "__main__":
    main()
