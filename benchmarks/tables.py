"""Default arguments on tables, embeddings, series and small images, and baselines.

Random class splits with about a fifth of the classes for testing; on each, ``ProtoNetClassifier``
is trained on the other classes with default arguments except the seed. 5-way episodes of test
classes, 200 per split and shot; baselines on the same episodes and after the same scaler. *Support
baseline*: the best, for each data set and shot, of nearest centroid, 1-nearest neighbour, logistic
regression and (5-shot) shrinkage LDA fitted on the support set only. *Base-class LDA*: nearest
centroid after the shrinkage LDA of the base classes.

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
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score
from sklearn_fewshot.model_selection._baselines import base_class_lda, support_baselines

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("tables")
DATA = ("letter", "isolet", "grocery_features", "clinc150", "libras", "qazaq", "grocery_pixels")
SHOTS = (1, 5)
MAX_FEATURES_OF_FLOOR = 1024  # a discriminant of 3,072 pixels in every episode takes hours


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.data:
        for split in range(args.splits):
            result = STUDY.remember(name, split, compute=partial(run, name, split))
            print(name, split, {k: round(v, 1) for k, v in result.items() if "shot" in k})
    write()


def run(name: str, split: int) -> dict[str, Any]:
    """Train on one class split and score learner and baselines on the same episodes."""
    data = getattr(_data, name)()
    n_test = max(5, len(np.unique(data.y)) // 5)
    splitter = ClassShuffleSplit(1, test_size=n_test, random_state=split)
    base, test = next(splitter.split(data.X, data.y))
    learner = ProtoNetClassifier(random_state=split)
    steps = [StandardScaler(), learner] if data.standardise else [learner]
    start = time.perf_counter()
    model = make_pipeline(*steps).fit(data.X[base], data.y[base])
    result: dict[str, Any] = {
        "seconds": round(time.perf_counter() - start, 1),
        "best_epoch": learner.best_epoch_,
        "epochs": len(learner.history_),
    }
    scaler = model[0] if data.standardise else None
    X_base, X_test = (flat(data.X[rows], scaler) for rows in (base, test))
    behind = base_class_lda(X_base, data.y[base])
    smallest = np.unique(data.y[test], return_counts=True)[1].min()
    for n_shot in SHOTS:
        episodes = {
            "n_shot": n_shot,
            "n_query": int(min(15, smallest - n_shot)),
            "n_episodes": 200,
            "random_state": split,
        }
        y = data.y[test]
        scores = {"learner": episodic_score(model, data.X[test], y, **episodes)}
        baselines = support_baselines(n_shot)
        if X_base.shape[1] > MAX_FEATURES_OF_FLOOR:
            baselines.pop("shrinkage LDA", None)
        for baseline, classifier in baselines.items():
            scores[baseline] = episodic_score(classifier, X_test, y, **episodes)
        scores["base"] = episodic_score(NearestCentroid(), X_test, y, preprocess=behind, **episodes)
        result |= {f"{n_shot}-shot {who}": 100 * score.mean for who, score in scores.items()}
    return result


def flat(X: np.ndarray, scaler: StandardScaler | None) -> np.ndarray:
    """Return rows in the format of the baselines."""
    is_wide = X.dtype == np.uint8 and X[0].size > MAX_FEATURES_OF_FLOOR
    # Logistic regression of 3,072 pixels between 0 and 255 takes its 1,000 iterations every time.
    X = X.reshape(len(X), -1).astype(np.float32) / (255.0 if is_wide else 1.0)
    return X if scaler is None else scaler.transform(X)


def write() -> None:
    """Write the table of everything measured so far."""
    header = ["data", "splits", "shot", "learner", "support baseline", "difference"]
    header += ["base-class LDA", "difference", "seconds"]
    rows, loads, machine = [], [], ""
    for name in DATA:
        runs = STUDY.find(name)
        rows += [row(name, runs, n_shot) for n_shot in SHOTS if runs]
        loads += [run["load_before"] for run in runs]
        machine = runs[0]["machine"] if runs else machine
    write_page(
        "tables",
        "Default arguments on tables, embeddings, series and small images",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Accuracy in %; differences are paired over the class splits, with their 95 % "
        "t-interval over splits. Defaults were selected on part of the classes of letter, isolet, "
        "grocery_features and libras, and first tried on random splits like these: for those four, "
        "selection has used test classes.",
        markdown_table(header, rows),
        "python -m benchmarks.tables --threads 1",
        f"Machine: {machine}. Load average before the runs: {min(loads):.1f} to {max(loads):.1f}.",
    )


def row(name: str, runs: list[dict[str, Any]], n_shot: int) -> list[str]:
    """Lay out one data set and shot."""
    column = {
        who.removeprefix(f"{n_shot}-shot "): np.array([run[who] for run in runs])
        for who in runs[0]
        if who.startswith(f"{n_shot}-shot")
    }
    learner, base = column.pop("learner"), column.pop("base")
    best = max(column, key=lambda baseline: column[baseline].mean())
    seconds = np.mean([run["seconds"] for run in runs])
    cells = [name, str(len(runs)), str(n_shot), f"{learner.mean():.1f}"]
    cells += [f"{column[best].mean():.1f} ({best})", paired(learner - column[best])]
    return [*cells, f"{base.mean():.1f}", paired(learner - base), f"{seconds:.0f}"]


def paired(difference: np.ndarray) -> str:
    """Return mean and half-width of the 95 % interval over splits."""
    if len(difference) == 1:
        return f"{difference[0]:+.1f}"
    half_width = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
    return f"{difference.mean():+.1f} ± {half_width:.1f}"


if __name__ == "__main__":
    main()
