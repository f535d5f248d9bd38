"""Training on more images than fit into memory: from a memory map, and from an array in memory.

190,000 images of 1,000 synthetic classes, 3 x 84 x 84 in 8 bits: 4 GB, in a file. ``ProtoNet`` is
trained on them with a small convolution, so inexpensive that the relative cost of reading is as
large as it gets; at the end it embeds all of them. Then 200 episodes are scored. Map and memory
alternate, each in a separate process on one thread, from the same seed: the weights must be the
same to the last bit. Images per second are those of the training steps, in wall-clock time and in
CPU time of the process, which depends less on other load. Peak memory is the maximum resident size
of the process, including mapped pages of the file.

    python -m benchmarks.memory_map [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import episodic_score

from ._report import Study, markdown_table, write_page

STUDY = Study("memory_map")
N_CLASSES, N_EACH, SHAPE = 1000, 190, (3, 84, 84)
PLACES = ("map", "memory")
MOST_MEMORY, LEAST_SPEED = 1.5, 0.8  # GB; of the speed in memory
HEADER = ["images from", "peak after fit, GB", "with scoring, GB", "images/s, clock"]
HEADER += ["images/s, CPU", "fit, s", "accuracy, %"]


def main() -> None:
    """Run what is not measured yet and write the page; or, as a child, one training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("PLACE", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        torch.set_num_threads(1)
        print(json.dumps(train(*args.child)))
        return
    STUDY.remember("pictures", compute=partial(run, args.rounds))
    write()


def run(rounds: int) -> dict[str, Any]:
    """Write the file and train on it in turns."""
    result: dict[str, Any] = {place: [] for place in PLACES}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        write_images(path)
        for _ in range(rounds):
            for place in PLACES:
                command = [sys.executable, "-m", "benchmarks.memory_map", "--child", place, path]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                result[place].append(json.loads(output))
                print(place, result[place][-1], flush=True)
        result["bytes"] = path.stat().st_size
    weights = {one["weights"] for place in PLACES for one in result[place]}
    if len(weights) > 1:
        raise SystemExit(f"The weights differ: {result}")
    return result


def write_images(path: Path) -> None:
    """Write noise around one image per class, class by class."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 156, size=(N_EACH, *SHAPE), dtype=np.uint8)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (N_CLASSES * N_EACH, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(N_CLASSES):
            blocks = rng.integers(0, 100, size=(3, 7, 7), dtype=np.uint8)
            (noise + blocks.repeat(12, axis=1).repeat(12, axis=2)).tofile(file)


class Small(nn.Sequential):
    """One convolution that sees every pixel once; counts the images it is trained on."""

    n_trained = 0

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        convolution = nn.Conv2d(input_shape[0], 16, kernel_size=6, stride=6)
        pool = nn.AdaptiveAvgPool2d(2)
        super().__init__(convolution, nn.BatchNorm2d(16), nn.ReLU(), pool, nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images, shape (n_images, 64)."""
        Small.n_trained += len(images) * self.training
        return super().forward(images)


class Watch(Callback):
    """Takes the time of the training steps. A learner copies its callbacks: the class remembers."""

    clock: list[float] = []
    cpu: list[float] = []

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Start."""
        Watch.clock.append(time.perf_counter())
        Watch.cpu.append(time.process_time())

    on_train_end = on_train_begin


def train(place: str, path: str) -> dict[str, Any]:
    """Train and score in this process."""
    X = np.load(path, mmap_mode="r" if place == "map" else None)
    y = np.arange(N_CLASSES).repeat(N_EACH)
    learner = ProtoNetClassifier(
        backbone=Small, validation_fraction=0.0, max_epochs=6, callbacks=[Watch()], random_state=0
    )
    start = time.perf_counter()
    learner.fit(X, y)
    fitted, after_fit = time.perf_counter() - start, peak()
    score = episodic_score(learner, X, y + N_CLASSES, n_episodes=200, random_state=0)
    weights = b"".join(value.numpy().tobytes() for value in learner.module_.state_dict().values())
    return {
        "peak_after_fit": after_fit,
        "peak": peak(),
        "clock": round(Small.n_trained / (Watch.clock[1] - Watch.clock[0])),
        "cpu": round(Small.n_trained / (Watch.cpu[1] - Watch.cpu[0])),
        "fit_seconds": round(fitted, 1),
        "accuracy": round(100 * score.mean, 2),
        "weights": blake2b(weights, digest_size=8).hexdigest(),
    }


def peak() -> float:
    """Return the greatest resident size of this process so far, in GB."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(1024 * kibibytes / 1e9, 2)


def write() -> None:
    """Write the page."""
    result = STUDY.get("pictures")
    rows = []
    for place in PLACES:
        runs = result[place]
        most = [f"{max(one[key] for one in runs):.2f}" for key in ("peak_after_fit", "peak")]
        keys = ("clock", "cpu", "fit_seconds")
        middle = [f"{np.median([one[key] for one in runs]):,.0f}" for key in keys]
        rows.append([place, *most, *middle, f"{runs[0]['accuracy']:.2f}"])
    write_page(
        "memory_map",
        "Data larger than memory",
        " ".join(__doc__.split("\n\n")[1].split()),
        f"{markdown_table(HEADER, rows)}\n\n{targets(result)}",
        "python -m benchmarks.memory_map",
        f"Machine: {result['machine']}. Load average before the runs: "
        f"{result['load_before']:.1f}. Rounds: {len(result['map'])}. Memory is the maximum, "
        "speed and time the median over the rounds. The file had just been written and was in the "
        "page cache: otherwise the disk limits the speed.",
    )


def targets(result: dict[str, Any]) -> str:
    """Say which targets are met."""
    most = max(one["peak"] for one in result["map"])
    lines = [
        f"{most:.2f} GB of memory for a file of {result['bytes'] / 1e9:.1f} GB; target below "
        f"{MOST_MEMORY}: {verdict(most < MOST_MEMORY)}"
    ]
    for key, name in (("clock", "wall-clock time"), ("cpu", "CPU time")):
        there, here = (np.median([one[key] for one in result[place]]) for place in PLACES)
        lines.append(
            f"{there / here:.2f} of the speed in memory in {name}; target {LEAST_SPEED}: "
            f"{verdict(there / here >= LEAST_SPEED)}"
        )
    return "\n".join(f"- {line}" for line in [*lines, "weights: the same"])


def verdict(met: bool) -> str:
    """Say whether a target is met."""
    return "met" if met else "**missed**"


if __name__ == "__main__":
    main()
