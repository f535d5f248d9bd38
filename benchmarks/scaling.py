"""How costs grow: with way, shot, queries, episodes, embedding size and number of base classes.

One quantity is varied at a time. Images are 28 x 28 in one channel, with `conv4`; table rows have
64 columns, with `residual_mlp`; all are noise. Training: milliseconds of a step inside ``fit`` (one
episode of 20 ways, 1 shot and 5 queries for images, 5 ways, 5 shots and 15 queries for tables,
where not varied), and the part of planning: sampling the rows of the episode, timed separately.
Evaluation: seconds of ``episodic_score`` of embeddings, 1,000 episodes of 5 ways, 5 shots and 15
queries where not varied. Base classes have 20 rows each, up to two million rows; each ``fit`` runs
in a separate process, and its memory is the maximum resident size minus that before ``fit``, with
the data loaded.

    python -m benchmarks.scaling
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import NullFormatter

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn._hardware import move
from sklearn_fewshot.nn._loader import EpisodeLoader

from ._report import DOCS, Study, markdown_table, write_page
from .speed import PICTURES, TABLE, Peak, resident, samples

STUDY = Study("scaling")
DATA = {"pictures": PICTURES, "table": TABLE}
SIZE = {
    "pictures": {"n_way": 20, "n_shot": 1, "n_query": 5},
    "table": {"n_way": 5, "n_shot": 5, "n_query": 15},
}
VARIED: dict[str, tuple[int, ...]] = {
    "n_way": (5, 10, 20, 50, 100),
    "n_shot": (1, 2, 5),
    "n_query": (1, 2, 5, 10, 15),
}
N_CLASSES = {"pictures": (100, 1000, 10_000, 100_000), "table": (100, 1000, 10_000, 100_000)}
EPISODES = (100, 1000, 10_000, 100_000)
DIMS = (16, 64, 256, 1024)
MOST_PLANNING = {"pictures": 5.0, "table": 10.0}  # % of a step
WORDS = {"n_way": "ways", "n_shot": "shots", "n_query": "queries per class"}
NAMES = {"pictures": "images", "table": "table"}  # of the keys of stored results
N_ROWS = 20  # of a class


def main() -> None:
    """Run what is not measured yet and write the page; or, as a child, one fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=2, metavar=("KIND", "N_CLASSES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(fit_many_classes(args.child[0], int(args.child[1]))))
        return
    for kind in DATA:
        for name, values in VARIED.items():
            STUDY.remember(kind, name, compute=partial(vary, kind, name, values))
        STUDY.remember(kind, "ragged", compute=partial(vary, kind, "n_shot", ((1, 5),)))
        STUDY.remember(kind, "classes", compute=partial(vary_classes, kind))
    STUDY.remember("episodes", compute=vary_episodes)
    STUDY.remember("dims", compute=vary_dims)
    write()


def vary(kind: str, name: str, values: tuple[Any, ...]) -> dict[str, Any]:
    """Time training steps of episodes of several sizes."""
    X, y = samples(DATA[kind]["shape"])
    points = []
    for value in values:
        size = SIZE[kind] | {name: value}
        points.append({"value": value} | step_times(kind, X, y, size))
        print(kind, name, points[-1], flush=True)
    return {"points": points}


def step_times(kind: str, X: np.ndarray, y: np.ndarray, size: dict[str, Any]) -> dict[str, float]:
    """Return milliseconds of a training step in ``fit``, and of the planning in it."""
    n_rows = size["n_way"] * (np.max(size["n_shot"]) + size["n_query"])
    n_steps = max(10, (8000 if kind == "pictures" else 40_000) // n_rows)
    learner = ProtoNetClassifier(
        backbone=DATA[kind]["backbone"],
        episodes_per_epoch=n_steps,
        max_epochs=4,
        validation_fraction=0.0,
        calibrate=False,
        random_state=0,
        **size,
    )
    learner.fit(X, y)
    step = np.median([epoch["duration"] for epoch in learner.history_[1:]]) / n_steps
    return {
        "step_ms": round(1e3 * float(step), 3),
        "planning_ms": round(1e3 * planning_time(y, size, n_steps), 4),
    }


class NoData:
    """Replaces the samples, if only their row numbers are needed."""

    data = torch.empty(0)

    def take(self, rows: np.ndarray) -> torch.Tensor:
        """Return the numbers as they are sent to the device."""
        return move(torch.from_numpy(rows), self.data.device)


def planning_time(y: np.ndarray, size: dict[str, Any], n_steps: int) -> float:
    """Return seconds per step of sampling the rows of episodes."""
    sampler = EpisodeSampler(y, **size)
    rng = np.random.default_rng(0)
    loader = EpisodeLoader(NoData(), sampler, n_episodes=n_steps, meta_batch_size=1, rng=rng)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in loader:
            pass
        seconds.append((time.perf_counter() - start) / n_steps)
    return float(np.median(seconds))


def vary_classes(kind: str) -> dict[str, Any]:
    """Fit more and more classes, each number in a separate process."""
    points = []
    for n_classes in N_CLASSES[kind]:
        command = [sys.executable, "-m", "benchmarks.scaling", "--child", kind, str(n_classes)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        points.append({"value": n_classes} | json.loads(output))
        print(kind, points[-1], flush=True)
    return {"points": points}


def fit_many_classes(kind: str, n_classes: int) -> dict[str, float]:
    """Fit, and return what it took in time and memory."""
    X, y = rows_of_noise(DATA[kind]["shape"], n_classes)
    warm, warm_y = samples(DATA[kind]["shape"], n_classes=10)
    n_steps = 50 if kind == "pictures" else 400
    learner = ProtoNetClassifier(
        backbone=DATA[kind]["backbone"],
        episodes_per_epoch=n_steps,
        max_epochs=3,
        random_state=0,
        **SIZE[kind],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.fit(warm, warm_y)
    before, start, peak = resident(), time.perf_counter(), Peak()
    with peak:
        learner.fit(X, y)
    seconds = time.perf_counter() - start
    trained = learner.history_[1:]
    step = np.median([epoch["duration"] for epoch in trained]) / n_steps
    return {
        "step_ms": round(1e3 * step, 3),
        "planning_ms": round(1e3 * planning_time(y, SIZE[kind], n_steps), 4),
        "fit_s": round(seconds, 1),
        "data_mb": round(X.nbytes / 1e6),
        "memory_mb": round(peak.value - before),
    }


def rows_of_noise(shape: tuple[int, ...], n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise around one point per class, written class by class."""
    rng = np.random.default_rng(0)
    is_picture = len(shape) == 3
    X = np.empty((n_classes * N_ROWS, *shape), np.uint8 if is_picture else np.float32)
    for rows in np.array_split(np.arange(len(X)), max(1, len(X) // 10_000)):
        if is_picture:
            X[rows] = rng.integers(0, 256, size=(len(rows), *shape), dtype=np.uint8)
        else:
            X[rows] = rng.standard_normal((len(rows), *shape), dtype=np.float32)
    return X, np.repeat(np.arange(n_classes), N_ROWS)


def stored(dim: int) -> tuple[ProtoNetClassifier, np.ndarray, np.ndarray]:
    """Return a learner with the identity as backbone, and rows of 200 new classes."""
    X, y = rows_of_noise((dim,), 220)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner = ProtoNetClassifier(backbone="identity", max_epochs=0, random_state=0)
        learner.fit(X[: 20 * N_ROWS], y[: 20 * N_ROWS])
    return learner, X[20 * N_ROWS :], y[20 * N_ROWS :]


def evaluation_time(dim: int, n_episodes: int) -> float:
    """Return the median seconds of three evaluations."""
    learner, X, y = stored(dim)
    seconds = []
    for turn in range(4):
        start = time.perf_counter()
        episodic_score(
            learner, X, y, n_shot=5, n_query=15, n_episodes=n_episodes, random_state=turn
        )
        seconds.append(time.perf_counter() - start)
    return round(float(np.median(seconds[1:])), 4)


def vary_episodes() -> dict[str, Any]:
    """Time evaluations of more and more episodes."""
    return {"points": [{"value": n, "seconds": evaluation_time(64, n)} for n in EPISODES]}


def vary_dims() -> dict[str, Any]:
    """Time evaluations and training steps of wider and wider embeddings."""
    points = []
    for dim in DIMS:
        X, y = rows_of_noise((dim,), 200)
        step = step_times("table", X, y, SIZE["table"])
        points.append({"value": dim, "seconds": evaluation_time(dim, 1000)} | step)
        print("dims", points[-1], flush=True)
    return {"points": points}


# ---------------------------------------------------------------------- page


def write() -> None:
    """Draw the curves and write the page of everything measured."""
    results = {
        (kind, name): STUDY.get(kind, name) for kind in DATA for name in (*VARIED, "classes")
    }
    episodes, dims = STUDY.get("episodes"), STUDY.get("dims")
    draw_steps(results)
    draw_rest(results, episodes, dims)
    rows = [
        [NAMES[kind], f"{point['value']:,} {WORDS.get(name, 'classes')}", *step_cells(kind, point)]
        for (kind, name), result in results.items()
        for point in result["points"]
    ]
    rows += [
        ["table", f"{point['value']:,} columns", *step_cells("table", point)]
        for point in dims["points"]
    ]
    ragged = {kind: STUDY.get(kind, "ragged") for kind in DATA}
    rows += [
        [NAMES[kind], "1 to 5 shots per episode", *step_cells(kind, result["points"][0])]
        for kind, result in ragged.items()
    ]
    fits = [
        [
            NAMES[kind],
            f"{point['value']:,}",
            f"{N_ROWS * point['value']:,}",
            f"{point['data_mb']:,}",
            f"{point['memory_mb']:,}",
            f"{point['fit_s']:.1f}",
        ]
        for kind in DATA
        for point in results[kind, "classes"]["points"]
    ]
    used = [*results.values(), episodes, dims]
    loads = [result["load_before"] for result in used]
    header = ["", "varied", "step, ms", "planning, ms", "planning, %", "at most", ""]
    write_page(
        "scaling",
        "How costs grow",
        " ".join(__doc__.split("\n\n")[1].split()),
        "\n\n".join(
            [
                "![Milliseconds of a training step](scaling_steps.png)",
                "![Base classes, episodes and embedding size](scaling_rest.png)",
                markdown_table(header, rows),
                "Memory of `fit` in addition to the data, three epochs, calibration included:",
                markdown_table(
                    ["", "base classes", "rows", "data, MB", "`fit`, MB", "`fit`, s"],
                    fits,
                ),
            ]
        ),
        "python -m benchmarks.scaling",
        f"Machine: {used[-1]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def step_cells(kind: str, point: dict[str, float]) -> list[str]:
    """Lay out one training step."""
    share = 100 * point["planning_ms"] / point["step_ms"]
    most = MOST_PLANNING[kind]
    return [
        f"{point['step_ms']:.2f}",
        f"{point['planning_ms']:.3f}",
        f"{share:.1f}",
        f"{most:.0f}",
        "met" if share <= most else "**missed**",
    ]


def draw_steps(results: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Draw steps and planning against the size of the episode."""
    figure, axes = plt.subplots(1, len(VARIED), figsize=(9, 3.4), layout="constrained", sharey=True)
    for axis, name in zip(axes, VARIED, strict=True):
        for kind, colour in zip(DATA, ("C0", "C1"), strict=True):
            points = results[kind, name]["points"]
            x = [point["value"] for point in points]
            axis.plot(
                x, [p["step_ms"] for p in points], "o-", color=colour, label=f"{NAMES[kind]}: step"
            )
            axis.plot(
                x,
                [p["planning_ms"] for p in points],
                "s--",
                color=colour,
                label=f"{NAMES[kind]}: planning",
            )
        axis.set(xscale="log", yscale="log", xlabel=WORDS[name])
        axis.set_xticks(VARIED[name], [str(value) for value in VARIED[name]])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("milliseconds per step")
    axes[1].legend(fontsize=8, loc="center right")
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS / "scaling_steps.png", dpi=120)
    plt.close(figure)


def draw_rest(
    results: dict[tuple[str, str], dict[str, Any]], episodes: dict[str, Any], dims: dict[str, Any]
) -> None:
    """Draw what depends on classes, episodes and embedding size."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
    for kind, colour in zip(DATA, ("C0", "C1"), strict=True):
        points = results[kind, "classes"]["points"]
        x = [point["value"] for point in points]
        for key, style in (("step_ms", "o-"), ("planning_ms", "s--")):
            label = f"{NAMES[kind]}: {'step' if key == 'step_ms' else 'planning'}"
            axes[0].plot(x, [p[key] for p in points], style, color=colour, label=label)
    axes[0].set(xlabel="base classes", ylabel="milliseconds per step")
    axes[0].legend(fontsize=8)
    for axis, result, label in ((axes[1], episodes, "episodes"), (axes[2], dims, "columns")):
        points = result["points"]
        axis.plot([p["value"] for p in points], [p["seconds"] for p in points], "o-", color="C2")
        axis.set(xlabel=label, ylabel="seconds of episodic_score")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    figure.savefig(DOCS / "scaling_rest.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
