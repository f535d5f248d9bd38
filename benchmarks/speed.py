"""What meta-training and prediction cost beyond the network itself, as ratios.

In each round of the first table three programs take turns on all cores: the package, a bare PyTorch
loop (`benchmarks/rivals/bare_training.py`: the same network, precision, memory format and allocator
settings, precomputed batches; only forward, loss, backward and step), and training as in easyfsl
(`benchmarks/rivals/easyfsl_training.py`, in a separate process, since allocator settings are
process-wide). A ratio is the median over the rounds of the ratio within a round, so that other load
on the machine affects all equally. The package is timed over the training steps inside the public
``fit``, sampling and gathering included, after a warm-up epoch. Images are 28 x 28 in one channel,
with `conv4` of 64 filters; table rows have 64 columns, with `residual_mlp`. By default the package
trains on images in bfloat16 where the processor has it, easyfsl always in float32.
Its episodes are those that are drawn, one division of the rows into support and queries, except in
the row *each sample in each role* (the default): there a step has 20 episodes of the same rows,
which are embedded once, and a row counts once for each.

    python -m benchmarks.speed [--rounds 5]
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.nn import kept_memory
from sklearn_fewshot.nn._data import as_input, as_tensor
from sklearn_fewshot.nn._hardware import has_native_bfloat16
from sklearn_fewshot.nn.backbones import make_backbone

from ._report import Study, machine, markdown_table, write_page
from .rivals import bare_training, easyfsl_loop, easyfsl_training

STUDY = Study("speed")
CPU = torch.device("cpu")
PICTURES = {"shape": (1, 28, 28), "backbone": "conv4"}
IN_FLOAT32 = PICTURES | {"precision": "float32"}  # that in which easyfsl trains
TABLE = {"shape": (64,), "backbone": "residual_mlp"}
BARE_TARGET, EASYFSL_TARGET, EMBED_TARGET = 0.92, 4.0, 0.9
QUERY_TARGET, IMPORT_TARGET = 1.0, 0.15  # ms; s

ROTATING = "table, each sample in each role"
# name: data, episode, episodes per step, steps of the package and bare loop, of easyfsl
TRAININGS: dict[str, tuple[dict[str, Any], dict[str, int], int, int, int]] = {
    "pictures, 20-way 1-shot": (PICTURES, {"n_way": 20, "n_shot": 1, "n_query": 5}, 1, 100, 20),
    "pictures, 60-way 1-shot": (PICTURES, {"n_way": 60, "n_shot": 1, "n_query": 5}, 1, 40, 8),
    "pictures in float32, 60-way 1-shot": (
        IN_FLOAT32,
        {"n_way": 60, "n_shot": 1, "n_query": 5},
        1,
        40,
        8,
    ),
    "table, 5-way 5-shot": (TABLE, {"n_way": 5, "n_shot": 5, "n_query": 15}, 1, 500, 200),
    ROTATING: (TABLE, {"n_way": 5, "n_shot": 5, "n_query": 15}, 1, 500, 200),
    "table, 8 episodes a step": (TABLE, {"n_way": 5, "n_shot": 5, "n_query": 15}, 8, 200, 200),
}


def main() -> None:
    """Measure everything and write the page; or, as a child, the memory of prediction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "WITH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, argument = args.child
        child = {"million": predict_a_million, "easyfsl": train_by_easyfsl}[what]
        print(json.dumps(child(argument)))
        return
    start, load = time.perf_counter(), os.getloadavg()[0]
    result: dict[str, Any] = {"rounds": args.rounds, "easyfsl": easyfsl_loop.__version__}
    result["training"] = {name: say(name, train_in_turns(name, args.rounds)) for name in TRAININGS}
    result["embedding"] = {
        precision: say(precision, embed_in_turns(precision, args.rounds))
        for precision in ("float32", "bfloat16")
    }
    result["one query"] = {
        name: say(name, answer_in_turns(data))
        for name, data in (("pictures", PICTURES), ("table", TABLE))
    }
    result["import"] = say("import", import_in_turns(args.rounds))
    result["million"] = say("a million queries", million())
    result |= {"seconds": round(time.perf_counter() - start), "load": [load, os.getloadavg()[0]]}
    result["machine"] = machine()
    STUDY.store({"last run": result})
    write()


def say(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """Show progress."""
    print(name, result, flush=True)
    return result


def in_turns(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each contestant measured in each round, after one that does not count."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, measure in contestants.items():
            value = measure()
            if turn:
                measured[name].append(float(f"{value:.4g}"))
    return measured


# ---------------------------------------------------------------------- training


def samples(shape: tuple[int, ...], n_classes: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return noise, 20 samples per class: its values do not matter."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(n_classes), 20)
    if len(shape) == 3:
        return rng.integers(0, 256, size=(len(y), *shape), dtype=np.uint8), y
    return rng.standard_normal((len(y), *shape)).astype(np.float32), y


def train_in_turns(name: str, rounds: int) -> dict[str, Any]:
    """Return rows per second of the package and its rivals."""
    data, size, meta_batch_size, n_steps, _ = TRAININGS[name]
    shape, backbone = data["shape"], data["backbone"]
    X, y = samples(shape)
    n_rows = size["n_way"] * (size["n_shot"] + size["n_query"])
    rotates = name == ROTATING
    n_divisions = size["n_shot"] + size["n_query"] if rotates else 1
    is_picture = len(shape) == 3
    precision = data.get("precision", "auto")
    is_short = is_picture and precision == "auto" and has_native_bfloat16(CPU)
    dtype = torch.bfloat16 if is_short else None
    network = make_backbone(backbone, shape)
    rng = np.random.default_rng(0)
    drawn = [as_tensor(X[rng.integers(0, len(X), n_rows)]) for _ in range(16)]
    batches = [as_input(rows, 1 / 255 if is_picture else 1.0) for rows in drawn]

    def package() -> float:
        n_episodes = n_steps * meta_batch_size
        durations = fit_durations(
            X,
            y,
            backbone=backbone,
            episodes_per_epoch=n_episodes,
            meta_batch_size=meta_batch_size,
            precision=precision,
            rotate_support=rotates,
            **size,
        )
        return n_episodes * n_divisions * n_rows * len(durations) / sum(durations)

    def bare() -> float:
        with kept_memory():
            bare_training.run(copy.deepcopy(network), batches, n_steps=10, dtype=dtype, **size)
            seconds = bare_training.run(
                copy.deepcopy(network), batches, n_steps=n_steps, dtype=dtype, **size
            )
        return n_steps * n_rows / seconds

    def easyfsl() -> float:
        # Not here: the settings of the allocator are those of the process, and it would share them.
        return in_a_process_of_its_own("easyfsl", name)

    return in_turns({"package": package, "bare": bare, "easyfsl": easyfsl}, rounds)


def train_by_easyfsl(name: str) -> float:
    """Return rows per second of easyfsl's training."""
    data, size, _, _, n_steps = TRAININGS[name]
    X, y = samples(data["shape"])
    n_rows = size["n_way"] * (size["n_shot"] + size["n_query"])
    is_picture = len(data["shape"]) == 3
    network = easyfsl_training.conv4() if is_picture else easyfsl_training.ResidualMLP()
    labels = y.tolist()
    easyfsl_training.run(network, X, labels, n_steps=5, **size)
    return n_steps * n_rows / easyfsl_training.run(network, X, labels, n_steps=n_steps, **size)


def fit_durations(X: np.ndarray, y: np.ndarray, **parameters: Any) -> list[float]:
    """Fit and return the seconds of each epoch's training steps but the first's."""
    learner = ProtoNetClassifier(
        max_epochs=3,
        validation_fraction=0.0,
        calibrate=False,
        random_state=0,
        **parameters,
    )
    learner.fit(X, y)
    return [epoch["duration"] for epoch in learner.history_[1:]]


# ---------------------------------------------------------------------- prediction


def untrained(data: dict[str, Any], **parameters: Any) -> ProtoNetClassifier:
    """Return a fitted but untrained learner: weights do not matter."""
    X, y = samples(data["shape"], n_classes=20)
    learner = ProtoNetClassifier(
        backbone=data["backbone"], max_epochs=0, random_state=0, **parameters
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return learner.fit(X, y)


def embed_in_turns(precision: str, rounds: int, n: int = 8192) -> dict[str, Any]:
    """Return images per second of ``transform`` and of the bare network."""
    learner = untrained(PICTURES, precision=precision)
    X = samples(PICTURES["shape"])[0][:n]
    network = learner.module_.backbone
    dtype = torch.bfloat16 if precision == "bfloat16" else None
    batches = as_input(as_tensor(X), 1 / 255).split(learner.predict_batch_size)

    def package() -> float:
        start = time.perf_counter()
        learner.transform(X)
        return n / (time.perf_counter() - start)

    @torch.inference_mode()
    def bare() -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            for batch in batches:
                network(batch)
        return n / (time.perf_counter() - start)

    return in_turns({"package": package, "bare": bare}, rounds)


def answer_in_turns(data: dict[str, Any], n_times: int = 200) -> dict[str, Any]:
    """Return milliseconds of adapting to 5 x 5 examples, of one query, and of the network alone."""
    learner = untrained(data)
    X, y = samples(data["shape"], n_classes=5)
    y = y[np.tile(np.arange(20) < 5, 5)]
    support = X[np.tile(np.arange(20) < 5, 5)]
    classifier = learner.adapt(support, y)
    network = learner.module_.backbone
    scale = learner.input_scale_

    @torch.inference_mode()
    def bare(rows: np.ndarray) -> None:
        network(as_input(as_tensor(rows), scale))

    calls: dict[str, Callable[[], Any]] = {
        "adapt": lambda: learner.adapt(support, y),
        "network on 25": lambda: bare(support),
        "predict": lambda: classifier.predict(X[:1]),
        "network on 1": lambda: bare(X[:1]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(n_times + 20):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 20:
                seconds[name].append(time.perf_counter() - start)
    return {name: round(1e3 * float(np.median(times)), 3) for name, times in seconds.items()}


def predict_a_million(folder: str) -> dict[str, Any]:
    """Predict a million rows of a memory map; returns megabytes by which that raised the peak."""
    path = Path(folder) / "queries.npy"
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(1_000_000, 64))
    X[:] = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32).repeat(1000, 0)
    X.flush()
    del X
    X = np.load(path, mmap_mode="r")
    learner = untrained(TABLE)
    support, y = samples(TABLE["shape"], n_classes=5)
    classifier = learner.adapt(support, y)
    classifier.predict(X[:10_000])
    before = resident()
    peak = Peak()
    start = time.perf_counter()
    with peak:
        classifier.predict(X)
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 1), "megabytes": round(peak.value - before)}


class Peak:
    """Greatest resident memory in MB while the block ran, without pages of files."""

    value = 0.0

    def __enter__(self) -> None:
        import threading

        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.value = max(self.value, resident())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def resident() -> float:
    """Return the memory of this process in MB, without pages of files."""
    pages, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (pages - shared) * resource.getpagesize() / 1e6


def million() -> dict[str, Any]:
    """Measure memory in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        return in_a_process_of_its_own("million", folder)


def in_a_process_of_its_own(what: str, argument: str) -> Any:
    """Return the measurement of a child process."""
    command = [sys.executable, "-m", "benchmarks.speed", "--child", what, argument]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# ---------------------------------------------------------------------- import

IMPORT = """
import time
import torch, skorch, sklearn
start = time.perf_counter()
import sklearn_fewshot
print(time.perf_counter() - start)
import sys
assert "matplotlib" not in sys.modules
"""


def import_in_turns(rounds: int) -> dict[str, Any]:
    """Return the seconds that the import adds to those of its dependencies."""
    seconds = []
    for _ in range(rounds):
        output = subprocess.run(
            [sys.executable, "-c", IMPORT], check=True, stdout=subprocess.PIPE
        ).stdout
        seconds.append(round(float(output), 4))
    return {"seconds": seconds}


# ---------------------------------------------------------------------- page


def ratio(measured: dict[str, list[float]], rival: str) -> float:
    """Return the median over rounds of the package's speed by the rival's."""
    return float(np.median(np.divide(measured["package"], measured[rival])))


def verdict(is_met: bool) -> str:
    """Say whether a target is met."""
    return "met" if is_met else "**missed**"


def write() -> None:
    """Write the page of the last run."""
    result = STUDY.get("last run")
    rows = []
    for name, measured in result["training"].items():
        mine, *theirs = (f"{np.median(values):,.0f}" for values in measured.values())
        for rival, speed, target in zip(
            ("bare", "easyfsl"), theirs, (BARE_TARGET, EASYFSL_TARGET), strict=True
        ):
            if rival == "bare" and not name.startswith("pictures"):
                target = None
            rows.append(
                training_row(
                    f"training, {shown(name)}", mine, rival, speed, ratio(measured, rival), target
                )
            )
    for precision, measured in result["embedding"].items():
        mine, bare = (f"{np.median(values):,.0f}" for values in measured.values())
        target = EMBED_TARGET if precision == "float32" else None
        value = ratio(measured, "bare")
        rows.append(training_row(f"embedding, {precision}", mine, "bare", bare, value, target))
    header = ["rows per second", "package", "rival", "its rows/s", "ratio", "target", ""]
    costs = [
        cost_row(f"{what}, {shown(name)}", times[call], times[network])
        for name, times in result["one query"].items()
        for what, call, network in (
            ("`adapt` to 5 x 5 examples", "adapt", "network on 25"),
            ("`predict` of one query", "predict", "network on 1"),
        )
    ]
    added, million = np.median(result["import"]["seconds"]), result["million"]
    text = "\n\n".join(
        [
            markdown_table(header, rows),
            "One call, medians over 200 in turns:",
            markdown_table(["", "ms", "network alone, ms", "overhead, ms", "target", ""], costs),
            f"- `import sklearn_fewshot` after torch, skorch and scikit-learn: {added:.3f} s; "
            f"target {IMPORT_TARGET} s: {verdict(added <= IMPORT_TARGET)}. matplotlib is not "
            "imported.\n"
            "- A million queries of 64 columns from a memory map of 256 MB: "
            f"{million['seconds']:.1f} s, and {million['megabytes']} MB more memory than before "
            "(without pages of the file), 8 MB of it the predictions.",
        ]
    )
    intro = "\n\n".join(" ".join(part.split()) for part in __doc__.split("\n\n")[:2])
    low, high = sorted(result["load"])
    write_page(
        "speed",
        "Speed",
        f"{intro} easyfsl: {result['easyfsl'] or 'not installed; reimplemented'}.",
        text,
        "python -m benchmarks.speed",
        f"Machine: {result['machine']}. {result['rounds']} rounds, {result['seconds']} s in all; "
        f"load average {low:.1f} to {high:.1f}, including the benchmark itself (one or two).",
    )


def shown(name: str) -> str:
    """Return the key of a stored result as the page shows it."""
    return name.replace("pictures", "images").replace("episodes a step", "episodes per step")


def training_row(
    name: str, mine: str, rival: str, speed: str, value: float, target: float | None
) -> list[str]:
    """Lay out one comparison."""
    known = {"bare": "bare loop", "easyfsl": "easyfsl"}[rival]
    goal = ["", ""] if target is None else [f"{target:g}", verdict(value >= target)]
    return [name, mine, known, speed, f"{value:.2f}", *goal]


def cost_row(name: str, mine: float, network: float) -> list[str]:
    """Lay out what a call costs beyond the network."""
    beyond = mine - network
    goal = [f"{QUERY_TARGET:g}", verdict(beyond < QUERY_TARGET)]
    return [name, f"{mine:.2f}", f"{network:.2f}", f"{beyond:.2f}", *goal]


if __name__ == "__main__":
    main()
