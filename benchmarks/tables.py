"""Default arguments on tables, embeddings, series and small images, and baselines.

Random class splits with about a fifth of the classes for testing; on each, ``ProtoNetClassifier``
is trained on the other classes with default arguments except the seed; on tables, embeddings and
series once more with ``readout="anchored"``. 5-way episodes of test classes, 200 per split and
shot; baselines on the same episodes and after the same scaler. *Support baseline*: the best, for
each data set and shot, of nearest centroid, 1-nearest neighbour, logistic regression and (from two
shots on) shrinkage LDA fitted on the support set only. *Base baseline*: the best of methods that
use the base classes without a network: nearest centroid after their shrinkage LDA (*LDA*), after
that, their mean and unit length (*LDA, unit*), or after their mean and unit length alone
(*SimpleShot*). *On its embedding*: logistic regression of the support set, embedded by the learner.

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
from sklearn.preprocessing import Normalizer, StandardScaler

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score
from sklearn_fewshot.model_selection._baselines import base_class_lda, support_baselines

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("tables")
DATA = ("letter", "isolet", "grocery_features", "clinc150", "libras", "qazaq", "grocery_pixels")
SHOTS = (1, 5, 20)
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
    learner, seconds, model = fit(data, base, split)
    result: dict[str, Any] = {
        "seconds": seconds,
        "best_epoch": learner.best_epoch_,
        "epochs": len(learner.history_),
    }
    models = {"learner": model}
    if data.X.ndim < 4:
        _, result["anchored seconds"], models["anchored"] = fit(
            data, base, split, readout="anchored"
        )
    scaler = model[0] if data.standardise else None
    X_base, X_test = (flat(data.X[rows], scaler) for rows in (base, test))
    y = data.y[test]
    smallest = np.unique(y, return_counts=True)[1].min()
    for n_shot in SHOTS:
        if smallest < n_shot + 3:
            continue
        episodes = {
            "n_shot": n_shot,
            "n_query": int(min(15, smallest - n_shot)),
            "n_episodes": 200,
            "random_state": split,
        }
        scores = {
            who: episodic_score(it, data.X[test], y, **episodes) for who, it in models.items()
        }
        embedding = model.transform(data.X[test])
        scores["embedding"] = episodic_score(
            LogisticRegression(max_iter=1000), embedding, y, **episodes
        )
        baselines = support_baselines(n_shot)
        if X_base.shape[1] > MAX_FEATURES_OF_FLOOR:
            baselines.pop("shrinkage LDA", None)
        for baseline, classifier in baselines.items():
            scores[f"support {baseline}"] = episodic_score(classifier, X_test, y, **episodes)
        for name, steps in base_methods(X_base, data.y[base]).items():
            scores[f"base {name}"] = episodic_score(
                NearestCentroid(), steps.transform(X_test), y, **episodes
            )
        result |= {f"{n_shot}-shot {who}": 100 * score.mean for who, score in scores.items()}
    return result


def fit(
    data: _data.DataSet, base: np.ndarray, split: int, **options: Any
) -> tuple[Any, float, Any]:
    """Return a learner, the seconds of its fit, and it behind the scaler."""
    learner = ProtoNetClassifier(random_state=split, **options)
    steps = [StandardScaler(), learner] if data.standardise else [learner]
    start = time.perf_counter()
    model = make_pipeline(*steps).fit(data.X[base], data.y[base])
    return learner, round(time.perf_counter() - start, 1), model


def base_methods(X_base: np.ndarray, y_base: np.ndarray) -> dict[str, Any]:
    """Return transformers, fitted on the base classes, before nearest centroid."""
    behind = base_class_lda(X_base, y_base)
    return {
        "LDA": behind,
        "LDA, unit": make_pipeline(behind, centred_unit(behind.transform(X_base))),
        "SimpleShot": centred_unit(X_base),
    }


def centred_unit(X_base: np.ndarray) -> Any:
    """Return a transformer that subtracts the mean of the base classes and scales to length one."""
    return make_pipeline(StandardScaler(with_std=False), Normalizer()).fit(X_base)


def flat(X: np.ndarray, scaler: StandardScaler | None) -> np.ndarray:
    """Return rows in the format of the baselines."""
    is_wide = X.dtype == np.uint8 and X[0].size > MAX_FEATURES_OF_FLOOR
    # Logistic regression of 3,072 pixels between 0 and 255 takes its 1,000 iterations every time.
    X = X.reshape(len(X), -1).astype(np.float32) / (255.0 if is_wide else 1.0)
    return X if scaler is None else scaler.transform(X)


def write() -> None:
    """Write the table of everything measured so far."""
    header = ["data", "splits", "shot", "learner", "anchored", "support baseline", "difference"]
    header += ["base baseline", "difference", "on its embedding", "anchored less that", "seconds"]
    rows, loads, machine = [], [], ""
    for name in DATA:
        runs = STUDY.find(name)
        rows += [row(name, runs, n_shot) for n_shot in SHOTS if runs and has(runs, n_shot)]
        loads += [run["load_before"] for run in runs]
        machine = runs[0]["machine"] if runs else machine
    write_page(
        "tables",
        "Default arguments on tables, embeddings, series and small images",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Accuracy in %; differences are paired over the class splits, with their 95 % "
        "t-interval over splits. Seconds are those of the default fit, and of the anchored one. "
        "Defaults were selected on part of the classes of letter, isolet, grocery_features and "
        "clinc150, and first tried on random splits like these: for those, selection has used test "
        "classes.",
        markdown_table(header, rows),
        "python -m benchmarks.tables --threads 1",
        f"Machine: {machine}. Load average before the runs: {min(loads):.1f} to {max(loads):.1f}.",
    )


def has(runs: list[dict[str, Any]], n_shot: int) -> bool:
    """Whether a data set was scored with so many examples."""
    return f"{n_shot}-shot learner" in runs[0]


def row(name: str, runs: list[dict[str, Any]], n_shot: int) -> list[str]:
    """Lay out one data set and shot."""
    column = {
        who.removeprefix(f"{n_shot}-shot "): np.array([run[who] for run in runs])
        for who in runs[0]
        if who.startswith(f"{n_shot}-shot")
    }
    learner, anchored = column["learner"], column.get("anchored")
    cells = [name, str(len(runs)), str(n_shot), f"{learner.mean():.1f}"]
    cells.append("" if anchored is None else f"{anchored.mean():.1f}")
    for kind in ("support ", "base "):
        rivals = {who: values for who, values in column.items() if who.startswith(kind)}
        best = max(rivals, key=lambda who: rivals[who].mean())
        shown = f"{rivals[best].mean():.1f} ({best.removeprefix(kind)})"
        cells += [shown, paired(learner - rivals[best])]
    behind = column.get("embedding")
    cells.append("" if behind is None else f"{behind.mean():.1f}")
    cells.append("" if behind is None or anchored is None else paired(anchored - behind))
    seconds = f"{np.mean([run['seconds'] for run in runs]):.0f}"
    if anchored is not None:
        seconds += f", {np.mean([run['anchored seconds'] for run in runs]):.0f}"
    return [*cells, seconds]


def paired(difference: np.ndarray) -> str:
    """Return mean and half-width of the 95 % interval over splits."""
    if len(difference) == 1:
        return f"{difference[0]:+.1f}"
    half_width = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
    return f"{difference.mean():+.1f} ± {half_width:.1f}"


if __name__ == "__main__":
    main()
