"""Gains of shot-bias correction, rejection, calibration and unlabelled examples.

Random class splits not used in development, with about a fifth of the classes as new classes; on
each, learners are trained with default arguments except the seed on four fifths of the rows of the
other (base) classes, after a StandardScaler where columns have units. Omniglot has the Vinyals
split and ProtoNet only. "As trained" is the same network with `calibrate=False`: uncorrected
scores, softmax at temperature 1.

    python -m benchmarks.open_world [--data clinc150 letter ...] [--learners ...] [--splits 3]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler, normalize

from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.inspection import RejectionDisplay, ReliabilityDisplay
from sklearn_fewshot.model_selection import generalized_episodic_score

from . import _data
from ._report import DOCS, Study, markdown_table, write_page
from .learners import class_split

STUDY = Study("open_world")
DATA = ("clinc150", "isolet", "grocery_features", "letter", "omniglot")
LEARNERS = {
    "ProtoNet": ProtoNetClassifier,
    "MatchingNet": MatchingNetClassifier,
    "RelationNet": RelationNetClassifier,
    "SiameseNet": SiameseNetClassifier,
    "Baseline": BaselineClassifier,
}
DRAWN = "ProtoNet"  # whose curves are stored, since nobody reads those of the others
WITH_MEANS = ("ProtoNet", "RelationNet", "Baseline")  # what unlabelled examples can refine
FIRST_SPLIT = 10  # earlier ones were used in development
WAYS, N_EPISODES, N_QUERIES = (5, 10, 30), 60, 50
RATES = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5])
NONE = -1  # the label of outliers
# Other refinements are compared by benchmarks/transductive.py.
SOFT_KMEANS: dict[str, Any] = {"unlabelled": NONE, "refinement": "soft_kmeans"}


class Task(NamedTuple):
    """Samples of base and new classes of one class split."""

    X: np.ndarray  # base classes, for training
    y: np.ndarray
    X_old: np.ndarray  # base classes, other rows
    y_old: np.ndarray
    X_new: np.ndarray
    y_new: np.ndarray
    family: np.ndarray  # of the new samples: outliers are of other families
    X_none: np.ndarray | None  # out-of-scope samples, where the data have them


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.data:
        is_long = name == "omniglot"
        for split in range(FIRST_SPLIT, FIRST_SPLIT + (1 if is_long else args.splits)):
            for who in ["ProtoNet"] if is_long else args.learners:
                STUDY.remember(name, who, split, compute=partial(run, name, who, split))
                print(name, split, who, flush=True)
    write()


def task_of(name: str, split: int) -> Task:
    """Return the samples of one class split."""
    (X, y), (X_new, y_new), standardise = class_split(name, split)
    if standardise:
        scaler = StandardScaler().fit(X)
        X, X_new = (scaler.transform(part).astype(np.float32) for part in (X, X_new))
    rng = np.random.default_rng(split)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    place = np.arange(len(y)) - np.searchsorted(y[order], y[order])
    is_kept = np.zeros(len(y), dtype=bool)
    is_kept[order[place % 5 == 0]] = True
    family, X_none = y_new, None
    if name == "omniglot":
        family = _data._read("omniglot/omniglot_28.npz")["alphabet"][y_new // 4]
    if name == "clinc150":
        f = _data._read("clinc150/clinc150_minilm.npz")
        X_none = f["X"][f["y"] < 0].astype(np.float32)
    old = X[is_kept], y[is_kept]
    return Task(X[~is_kept], y[~is_kept], *old, X_new, y_new, family, X_none)


def run(name: str, who: str, split: int) -> dict[str, Any]:
    """Train a learner on one class split and measure everything."""
    task = task_of(name, split)
    start = time.perf_counter()
    learner = LEARNERS[who](random_state=split).fit(task.X, task.y)
    result: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 1)}
    as_trained = copy.copy(learner)
    as_trained._network = copy.copy(learner._network)
    as_trained._network.calibration = None
    for kind, model in (("corrected", learner), ("as trained", as_trained)):
        result |= old_and_new(kind, model, task)
    result |= none_of_these(learner, as_trained, task, with_curves=who == DRAWN)
    result |= confidence(learner, as_trained, task, with_curves=who == DRAWN)
    if who in WITH_MEANS:
        result |= unlabelled_examples(learner, task)
    return result


def old_and_new(kind: str, learner: Any, task: Task) -> dict[str, Any]:
    """Measure accuracy on base classes, on twenty new ones, and the harmonic mean."""
    result = {}
    n_way = min(20, len(np.unique(task.y_new)))
    for n_shot in (1, 3, 5):
        score = generalized_episodic_score(
            learner,
            task.X_new,
            task.y_new,
            task.X_old,
            task.y_old,
            n_way=n_way,
            n_shot=n_shot,
            n_query=10,
            n_base_query=3,
            n_episodes=20,
        )
        means = score.base.mean(), score.new.mean(), score.harmonic_mean.mean()
        result[f"old and new, {n_shot}-shot, {kind}"] = [100 * float(value) for value in means]
    return result


def episode(
    task: Task, classes: np.ndarray, n_way: int, n_shot: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sample the rows of support and queries of some of the classes."""
    n_query = max(2, -(-N_QUERIES // n_way))
    drawn = rng.choice(classes, n_way, replace=False)
    members = [rng.permutation(np.flatnonzero(task.y_new == label)) for label in drawn]
    support = np.concatenate([rows[:n_shot] for rows in members])
    return support, np.concatenate([rows[n_shot : n_shot + n_query] for rows in members])


def known_and_unknown(task: Task, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return classes to sample from, and outliers."""
    if task.X_none is not None:
        return np.unique(task.y_new), task.X_none
    families = rng.permutation(np.unique(task.family))
    is_known = np.isin(task.family, families[: len(families) // 2])
    return np.unique(task.y_new[is_known]), task.X_new[~is_known]


def none_of_these(
    learner: Any, as_trained: Any, task: Task, *, with_curves: bool
) -> dict[str, Any]:
    """Measure how well outliers are detected, and both errors of the threshold."""
    result = {}
    for n_way in WAYS:
        for n_shot in (1, 3, 5):
            rng = np.random.default_rng([n_way, n_shot])
            areas, rejected, missed = [], [], []
            for _ in range(N_EPISODES):
                classes, X_none = known_and_unknown(task, rng)
                if len(classes) < n_way:
                    return result
                support, query = episode(task, classes, n_way, n_shot, rng)
                X_none = X_none[rng.choice(len(X_none), len(query), replace=False)]
                both = np.concatenate([task.X_new[query], X_none])
                is_known = np.repeat([1, 0], [len(query), len(X_none)])
                X_support, y_support = task.X_new[support], task.y_new[support]
                classifier = learner.adapt(X_support, y_support)
                plain = as_trained.adapt(X_support, y_support)
                scores = (
                    classifier.score_samples(both),
                    plain.predict_proba(both).max(axis=1),
                    nearest_cosine(X_support, y_support, both),
                )
                areas.append([roc_auc_score(is_known, score) for score in scores])
                answers = [
                    classifier.predict(both, reject_label=NONE, reject_rate=rate) == NONE
                    for rate in (RATES if n_way == 5 else [0.05])
                ]
                rejected.append([answer[is_known == 1].mean() for answer in answers])
                missed.append([(~answer[is_known == 0]).mean() for answer in answers])
            at = int(np.flatnonzero(RATES == 0.05)[0]) if n_way == 5 else 0
            rejected, missed = np.mean(rejected, axis=0), np.mean(missed, axis=0)
            measured = {
                "score, softmax, cosine": np.mean(areas, axis=0).tolist(),
                "rejected": 100 * rejected[at],
                "missed": 100 * missed[at],
            }
            if with_curves:
                measured["curve"] = [rejected.tolist(), missed.tolist()]
            result[f"none of these, {n_way}-way {n_shot}-shot"] = measured
    return result


def nearest_cosine(X_support: np.ndarray, y_support: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return the cosine to the nearest class mean of the inputs."""
    flat = X_support.reshape(len(X_support), -1).astype(float)
    means = np.stack([flat[y_support == label].mean(axis=0) for label in np.unique(y_support)])
    return (normalize(X.reshape(len(X), -1).astype(float)) @ normalize(means).T).max(axis=1)


def confidence(learner: Any, as_trained: Any, task: Task, *, with_curves: bool) -> dict[str, Any]:
    """Measure calibration error and log-loss of probabilities."""
    result = {}
    for n_way in WAYS:
        if n_way > len(np.unique(task.y_new)):
            continue
        for n_shot in (1, 5):
            rng = np.random.default_rng([n_way, n_shot])
            found: dict[str, list[Any]] = {"calibrated": [], "as trained": []}
            for _ in range(N_EPISODES):
                support, query = episode(task, np.unique(task.y_new), n_way, n_shot, rng)
                for kind, model in (("calibrated", learner), ("as trained", as_trained)):
                    classifier = model.adapt(task.X_new[support], task.y_new[support])
                    codes = np.searchsorted(classifier.classes_, task.y_new[query])
                    found[kind].append((codes, classifier.predict_proba(task.X_new[query])))
            measured = {}
            for kind, parts in found.items():
                codes, proba = (np.concatenate(part) for part in zip(*parts, strict=True))
                classes = np.arange(n_way)
                display = ReliabilityDisplay.from_predictions(codes, proba, classes)
                plt.close(display.figure_)
                measured[kind] = {
                    "error": display.expected_calibration_error,
                    "log-loss": log_loss(codes, proba, labels=classes),
                }
                if with_curves:
                    bins = display.confidence.tolist(), display.accuracy.tolist()
                    measured[kind] |= {"bins": bins, "count": display.count.tolist()}
            result[f"confidence, {n_way}-way {n_shot}-shot"] = measured
    return result


def unlabelled_examples(learner: Any, task: Task) -> dict[str, Any]:
    """Measure the gain of ten unlabelled examples per class, 5-way."""
    result = {}
    for kind in ("balanced", "unbalanced", "with five other classes"):
        n_others = 5 if kind == "with five other classes" else 0
        if len(np.unique(task.y_new)) < 5 + n_others:
            continue
        for n_shot in (1, 5):
            rng = np.random.default_rng(n_shot)
            gain = []
            for _ in range(N_EPISODES):
                share = rng.dirichlet(np.ones(5)) if kind == "unbalanced" else np.full(5, 0.2)
                count = rng.multinomial(50, share) if kind == "unbalanced" else np.full(5, 10)
                classes = rng.choice(np.unique(task.y_new), 5 + n_others, replace=False)
                rows = [rng.permutation(np.flatnonzero(task.y_new == label)) for label in classes]
                n_query = min(10, min(map(len, rows)) - n_shot - 1)
                first = n_shot + n_query
                extra = [r[first : first + n] for r, n in zip(rows[:5], count, strict=True)]
                extra += [other[:10] for other in rows[5:]]
                support = np.concatenate([members[:n_shot] for members in rows[:5]])
                query = np.concatenate([members[n_shot:first] for members in rows[:5]])
                every = np.concatenate([support, *extra])
                labels = task.y_new[every].astype(int)
                labels[len(support) :] = NONE
                plain = learner.adapt(task.X_new[support], task.y_new[support])
                refined = learner.adapt(task.X_new[every], labels, **SOFT_KMEANS)
                gain.append([accuracy(model, task, query) for model in (plain, refined)])
            result[f"unlabelled, {kind}, {n_shot}-shot"] = (100 * np.mean(gain, axis=0)).tolist()
    return result


def accuracy(classifier: FewShotClassifier, task: Task, query: np.ndarray) -> float:
    """Return the accuracy on some rows of the new classes."""
    return float(np.mean(classifier.predict(task.X_new[query]) == task.y_new[query]))


# ------------------------------------------------------------------ the page


def mean_of(runs: list[dict[str, Any]], key: str, inner: Any = None) -> np.ndarray | None:
    """Return the mean over the splits that have it."""
    values = [run[key] for run in runs if key in run]
    values = values if inner is None else [inner(value) for value in values]
    return np.mean(values, axis=0) if values else None


def write() -> None:
    """Write the tables and draw the figures of everything measured so far."""
    measured = {(name, who): STUDY.find(name, who) for name in DATA for who in LEARNERS}
    measured = {key: runs for key, runs in measured.items() if runs}
    parts = [
        "## Base and new classes in one decision\n\nAccuracy in % on queries of base classes, of "
        "new ones (twenty, or all if there are fewer), and their harmonic mean; as trained, and "
        "with the shot bias of classes with few examples corrected, as estimated on held-out "
        "classes.\n",
        table_of_old_and_new(measured),
        "\n## Rejection of outliers\n\nInliers against as many outliers: out-of-scope sentences "
        "(clinc150), letters of other alphabets (omniglot), other products (grocery_features). "
        "Area under the ROC curve of `score_samples`, of the highest probability at temperature 1, "
        "and of the cosine of the inputs to the nearest class mean; then, at `reject_rate=0.05`, "
        "the share of inliers rejected and of outliers accepted, in %.\n",
        table_of_none(measured),
        "\n![Both errors against the nominal rate, 5-way 5-shot](open_world_rejection.png)\n",
        "\n## Calibration\n\nExpected calibration error (15 bins) and log-loss of "
        "`predict_proba`, as trained and calibrated; mean over the splits of each split's error.\n",
        table_of_confidence(measured),
        "\n![Confidence against accuracy, 5-way 1-shot](open_world_reliability.png)\n",
        "\n## Unlabelled examples\n\nAccuracy in % of 5-way episodes without and with ten "
        "unlabelled examples per class (on average: if unbalanced, with shares from a flat "
        "Dirichlet distribution; with other classes, another ten of each of five), by soft "
        "k-means. Other refinements: [unlabelled examples](transductive.md).\n",
        table_of_unlabelled(measured),
    ]
    draw_figures(measured)
    used = [run for runs in measured.values() for run in runs]
    loads = [run["load_before"] for run in used]
    write_page(
        "open_world",
        "Base and new classes, rejection, calibration",
        " ".join(__doc__.split("\n\n")[1].split()),
        "\n".join(parts),
        "python -m benchmarks.open_world --threads 1",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def table_of_old_and_new(measured: dict[Any, Any]) -> str:
    """Lay out accuracies on base and new classes."""
    rows = []
    for (name, who), runs in measured.items():
        for n_shot in (1, 3, 5):
            cells = []
            for kind in ("as trained", "corrected"):
                values = mean_of(runs, f"old and new, {n_shot}-shot, {kind}")
                cells += [f"{value:.1f}" for value in values]
            rows.append([f"{name} ({len(runs)})", who, str(n_shot), *cells])
    sides = ("base", "new", "harmonic mean")
    header = ["data (splits)", "learner", "shots", *sides, *(f"corrected: {s}" for s in sides)]
    return markdown_table(header, rows)


def table_of_none(measured: dict[Any, Any]) -> str:
    """Lay out how well outliers are detected."""
    rows = []
    for (name, who), runs in measured.items():
        for n_way in WAYS:
            for n_shot in (1, 3, 5):
                key = f"none of these, {n_way}-way {n_shot}-shot"
                areas = mean_of(runs, key, lambda value: value["score, softmax, cosine"])
                if areas is None:
                    continue
                errors = mean_of(runs, key, lambda value: [value["rejected"], value["missed"]])
                cells = [f"{value:.3f}" for value in areas] + [f"{value:.1f}" for value in errors]
                rows.append([f"{name} ({len(runs)})", who, f"{n_way}-way {n_shot}-shot", *cells])
    scores = ["score_samples", "softmax", "cosine"]
    return markdown_table(
        ["data (splits)", "learner", "setting", *scores, "rejected", "accepted"], rows
    )


def table_of_confidence(measured: dict[Any, Any]) -> str:
    """Lay out calibration errors and log-losses."""
    rows = []
    for (name, who), runs in measured.items():
        for n_way in WAYS:
            for n_shot in (1, 5):
                key, cells = f"confidence, {n_way}-way {n_shot}-shot", []
                for what, digits in (("error", 3), ("log-loss", 3)):
                    for kind in ("as trained", "calibrated"):
                        value = mean_of(runs, key, lambda it, k=kind, w=what: it[k][w])
                        cells.append("" if value is None else f"{value:.{digits}f}")
                if any(cells):
                    setting = f"{n_way}-way {n_shot}-shot"
                    rows.append([f"{name} ({len(runs)})", who, setting, *cells])
    errors = ["error as trained", "error", "log-loss as trained", "log-loss"]
    return markdown_table(["data (splits)", "learner", "setting", *errors], rows)


def table_of_unlabelled(measured: dict[Any, Any]) -> str:
    """Lay out the gain of unlabelled examples."""
    rows = []
    for (name, who), runs in measured.items():
        for kind in ("balanced", "unbalanced", "with five other classes"):
            for n_shot in (1, 5):
                values = mean_of(runs, f"unlabelled, {kind}, {n_shot}-shot")
                if values is not None:
                    cells = [f"{value:.1f}" for value in values]
                    change = f"{values[1] - values[0]:+.1f}"
                    setting = f"{kind}, {n_shot}-shot"
                    rows.append([f"{name} ({len(runs)})", who, setting, *cells, change])
    return markdown_table(["data (splits)", "learner", "setting", "without", "with", "gain"], rows)


def draw_figures(measured: dict[Any, Any]) -> None:
    """Draw both errors of rejection, and confidence against accuracy, of ProtoNet."""
    with panels(measured, ("clinc150", "omniglot", "grocery_features"), "rejection") as each:
        for axis, runs in each:
            key = "none of these, 5-way 5-shot"
            RejectionDisplay(RATES, *mean_of(runs, key, lambda value: value["curve"])).plot(ax=axis)
    with panels(measured, ("clinc150", "letter", "omniglot"), "reliability") as each:
        for axis, runs in each:
            for kind, found in runs[0]["confidence, 5-way 1-shot"].items():
                values = (np.array(it) for it in (*found["bins"], found["count"]))
                ReliabilityDisplay(*values).plot(ax=axis, name=kind)


@contextmanager
def panels(
    measured: dict[Any, Any], names: tuple[str, ...], figure_name: str
) -> Iterator[list[Any]]:
    """Save a figure of one panel per data set, with the axes and the runs that belong in it."""
    names = [name for name in names if (name, DRAWN) in measured]
    figure, axes = plt.subplots(
        1, max(1, len(names)), figsize=(4.2 * max(1, len(names)), 4.8), layout="constrained"
    )
    yield [
        (axis, measured[name, DRAWN])
        for axis, name in zip(np.atleast_1d(axes), names, strict=False)
        if axis.set_title(name)
    ]
    for axis in np.atleast_1d(axes)[: len(names)]:  # below, not to cover the curves
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small")
    figure.savefig(DOCS / f"open_world_{figure_name}.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
