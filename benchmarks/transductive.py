"""Gains of unlabelled examples, by refinement.

Random class splits not used in development, with about a fifth of the classes as new ones; on each,
``ProtoNetClassifier`` is trained on the other classes with default arguments except the seed, after
a StandardScaler where columns have units. 5-way episodes of new classes, 60 per split and setting,
the same for all refinements. *Transductive*: the queries themselves are the unlabelled examples, as
in `episodic_score(transductive=...)`. *Semi-supervised*: up to 15 queries per class are other rows.
There are 15 unlabelled examples per class (on `grocery_features`, whose classes are small, fewer),
or as many on average with Dirichlet-distributed shares of the classes (concentration 2: "unequal");
"with others": and as many of each of five other classes.

    python -m benchmarks.transductive [--data letter isolet ...] [--splits 3]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import ClassShuffleSplit, EpisodeSplit, episodic_score

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("transductive")
DATA = ("letter", "isolet", "grocery_features", "clinc150")
REFINEMENTS = ("soft_kmeans", "bd_cspn", "alpha_tim")
SHOTS, N_EPISODES, N_UNLABELLED, N_QUERIES = (1, 5), 60, 15, 15
ALPHA = {"equal": None, "unequal": 2.0, "with others": None}
NONE = -1  # the mark of unlabelled examples


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.data:
        for split in range(args.splits):
            STUDY.remember(name, split, compute=partial(run, name, split))
            print(name, split, flush=True)
    write()


def run(name: str, split: int) -> dict[str, Any]:
    """Train on one class split and score every refinement."""
    data = getattr(_data, name)()
    n_test = max(5, len(np.unique(data.y)) // 5)
    splitter = ClassShuffleSplit(1, test_size=n_test, random_state=split)
    base, new = next(splitter.split(data.X, data.y))
    X, X_new, y_new = data.X[base], data.X[new], data.y[new]
    if data.standardise:
        scaler = StandardScaler().fit(X)
        X, X_new = (scaler.transform(part).astype(np.float32) for part in (X, X_new))
    start = time.process_time()
    learner = ProtoNetClassifier(random_state=split).fit(X, data.y[base])
    result: dict[str, Any] = {"seconds of fit": round(time.process_time() - start, 1)}
    for n_shot in SHOTS:
        for shares in ALPHA:
            for mode, score in (("transductive", transductive), ("semi-supervised", supervised)):
                scores = score(learner, X_new, y_new, n_shot, shares, split)
                if scores is not None:
                    result[f"{mode}, {shares}, {n_shot}-shot"] = np.round(scores, 3).tolist()
    return result | milliseconds(learner, X_new, y_new)


def episodes(y: np.ndarray, n_shot: int, shares: str, split: int, n_used: int) -> EpisodeSplit:
    """Return episodes whose queries are the unlabelled examples."""
    smallest = np.unique(y, return_counts=True)[1].min()
    n_query = int(min(N_UNLABELLED, (smallest - n_shot) // n_used))
    sizes = {"n_shot": n_shot, "n_query": n_query, "query_alpha": ALPHA[shares]}
    return EpisodeSplit(N_EPISODES, random_state=split, **sizes)


def transductive(
    learner: Any, X: np.ndarray, y: np.ndarray, n_shot: int, shares: str, split: int
) -> np.ndarray | None:
    """Return the accuracy in % without and with each refinement by the queries."""
    if shares == "with others":  # queries are of the classes
        return None
    drawn = episodes(y, n_shot, shares, split, n_used=1)
    results = [
        episodic_score(learner, X, y, episodes=drawn, transductive=refinement)
        for refinement in (None, *REFINEMENTS)
    ]
    return 100 * np.array([result.mean for result in results])


def supervised(
    learner: Any, X: np.ndarray, y: np.ndarray, n_shot: int, shares: str, split: int
) -> np.ndarray | None:
    """Return the accuracy in % on other queries without and with each refinement."""
    labels, rng = np.unique(y), np.random.default_rng(split)
    if shares == "with others" and len(labels) < 10:
        return None
    drawn = episodes(y, n_shot, shares, split, n_used=2)
    accuracy = []
    for support, extra in drawn.split(X, y):
        present = np.unique(y[support])
        rest = np.setdiff1d(np.flatnonzero(np.isin(y, present)), [*support, *extra])
        query = some_of_each(rest, y, rng, N_QUERIES)
        if shares == "with others":
            others = rng.choice(np.setdiff1d(labels, present), 5, replace=False)
            outliers = some_of_each(np.flatnonzero(np.isin(y, others)), y, rng, drawn.n_query)
            extra = np.concatenate([extra, outliers])
        both = np.concatenate([support, extra])
        marked = np.concatenate([y[support], np.full(len(extra), NONE)])
        classifiers = [learner.adapt(X[support], y[support])] + [
            learner.adapt(X[both], marked, unlabelled=NONE, refinement=refinement)
            for refinement in REFINEMENTS
        ]
        accuracy.append([np.mean(clf.predict(X[query]) == y[query]) for clf in classifiers])
    return 100 * np.mean(accuracy, axis=0)


def some_of_each(
    rows: np.ndarray, y: np.ndarray, rng: np.random.Generator, most: int
) -> np.ndarray:
    """Draw up to so many of the rows of each class."""
    rows = rng.permutation(rows)
    return np.concatenate([rows[y[rows] == label][:most] for label in np.unique(y[rows])])


def milliseconds(learner: Any, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the time to adapt to 5 classes with one labelled and 15 unlabelled examples each."""
    drawn = episodes(y, 1, "equal", 0, n_used=1)
    support, extra = next(drawn.split(X, y))
    both = np.concatenate([support, extra])
    marked = np.concatenate([y[support], np.full(len(extra), NONE)])
    spent = {}
    for refinement in REFINEMENTS:
        runs = []
        for _ in range(20):
            start = time.process_time()
            learner.adapt(X[both], marked, unlabelled=NONE, refinement=refinement)
            runs.append(1000 * (time.process_time() - start))
        spent[f"ms, {refinement}"] = round(float(np.median(runs)), 1)
    return spent


def write() -> None:
    """Write the tables of everything measured so far."""
    runs = {name: found for name in DATA if (found := STUDY.find(name))}
    every = [run for found in runs.values() for run in found]
    settings = [key for key in every[-1] if key.endswith("shot")]
    header = ["data (splits)", "setting", "without", *(f"`{name}`" for name in REFINEMENTS)]
    rows, gains = [], {}
    for name, found in runs.items():
        for setting in settings:
            if setting in found[0]:
                mean = np.mean([run[setting] for run in found], axis=0)
                gains.setdefault(setting, []).append(mean[1:] - mean[0])
                cells = [f"{gain:+.1f}" for gain in mean[1:] - mean[0]]
                rows.append([f"{name} ({len(found)})", setting, f"{mean[0]:.1f}", *cells])
    summary = [
        [setting, str(len(gain)), *(f"{value:+.1f}" for value in np.mean(gain, axis=0))]
        for setting, gain in gains.items()
    ]
    everything = np.mean([np.mean(gain, axis=0) for gain in gains.values()], axis=0)
    summary.append(["mean of the settings", "", *(f"{value:+.2f}" for value in everything)])
    spent = [np.median([run[f"ms, {name}"] for run in every]) for name in REFINEMENTS]
    summary.append(["CPU milliseconds to adapt", "", *(f"{value:.0f}" for value in spent)])
    parts = [
        "## Means over the data sets\n\nGain in points of accuracy; the last row is the time to "
        "adapt to five classes with one labelled and 15 unlabelled examples each.\n",
        markdown_table(["setting", "data sets", *header[3:]], summary),
        "\n## Each data set\n\nAccuracy in % without unlabelled examples, and gains in points.\n",
        markdown_table(header, rows),
    ]
    loads = [run["load_before"] for run in every]
    write_page(
        "transductive",
        "Unlabelled examples, by refinement",
        " ".join(__doc__.split("\n\n")[1].split()),
        "\n".join(parts),
        "python -m benchmarks.transductive --threads 1",
        f"Machine: {every[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


if __name__ == "__main__":
    main()
