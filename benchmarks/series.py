"""Default arguments on series: short gestures, long vibration, spoken words.

*Vibration*: 40 machines, 40 windows of 2,048 steps each. Impulses at a rate of the machine excite
its two to four resonances; phase, speed, load and gain vary, and there is three times as much noise
as signal. *Words*: 40 words of two to four sounds (three formants, or noise of a band), each said
30 times at other speeds and by other voices, about 500 to 4,000 steps. Both are drawn from a seed.
*Gestures* are libras, recordings of 45 steps in 2 channels. On class splits with a quarter of the
classes, at least five, for testing: `ProtoNetClassifier` with default arguments except the seed;
the same with a convolutional network of strides 16, 4 and 4 (below 512 steps 2, 2 and 2) and the
mean over time as `backbone`; and nearest centroids of the series stretched to 64 steps, without
training. 5-way episodes of test classes, 200 per split and shot. Seconds are those of the processor
in `fit`.

    python -m benchmarks.series [--data vibration words gestures] [--splits 2]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.signal import lfilter
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import pad_series
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score
from sklearn_fewshot.nn.backbones import mask_padding

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("series")
SHOTS = (1, 5)
Series = tuple[np.ndarray, np.ndarray]  # X and y


# ---------------------------------------------------------------------- data


def vibration(n_classes: int = 40, n_samples: int = 40, length: int = 2048) -> Series:
    """Draw windows of machines whose impulses excite resonances."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(n_classes), n_samples)
    X = []
    for _ in range(n_classes):
        machine = [
            (rng.uniform(0.03, 0.45), rng.uniform(0.01, 0.06), rng.uniform(0.3, 1.0))
            for _ in range(rng.integers(2, 5))
        ]
        period = rng.uniform(30, 300)
        X += [_window(rng, machine, period, length) for _ in range(n_samples)]
    return np.array(X, np.float32)[:, None], y


def _window(rng: np.random.Generator, machine: Any, period: float, length: int) -> np.ndarray:
    """Draw one window: resonances of (frequency, damping, gain), and noise."""
    gaps = period * rng.normal(1, 0.02) * rng.normal(1, 0.03, size=length)
    at = np.cumsum(gaps) - rng.uniform(256, 556)
    impulses, time = np.zeros(length + 256), np.arange(256)
    at = at[(at > -256) & (at < length)].astype(int) + 256
    np.add.at(impulses, at, rng.uniform(0.5, 1.5, len(at)))
    response = sum(
        gain
        * rng.uniform(0.6, 1.4)
        * np.exp(-damping * time)
        * np.sin(2 * np.pi * frequency * rng.normal(1, 0.01) * time)
        for frequency, damping, gain in machine
    )
    signal = np.convolve(impulses, response)[256 : 256 + length]
    noise = rng.normal(scale=np.sqrt(3.0) * signal.std() + 1e-3, size=length)
    return rng.uniform(0.5, 2.0) * (signal + noise)


def words(n_classes: int = 40, n_samples: int = 30) -> Series:
    """Draw words of sounds, at different speeds and by different voices."""
    rng = np.random.default_rng(0)
    ranges = ((250, 850), (900, 2200), (2300, 3400))  # Hz, of the formants
    formants = np.stack([rng.uniform(low, high, 14) for low, high in ranges], axis=1)
    is_voiced = rng.random(14) < 0.7
    series = []
    for _ in range(n_classes):
        word = rng.choice(14, rng.integers(2, 5))
        series += [_say(rng, formants[word], is_voiced[word]) for _ in range(n_samples)]
    return pad_series(series), np.repeat(np.arange(n_classes), n_samples)


def _say(rng: np.random.Generator, formants: np.ndarray, is_voiced: np.ndarray) -> np.ndarray:
    """Say a word at 8 kHz."""
    speed, voice, pitch = rng.uniform(0.5, 1.6), rng.normal(1, 0.06), rng.uniform(90, 230)
    sounds = []
    for peaks, voiced in zip(formants, is_voiced, strict=True):
        n_steps = int(450 / speed * rng.uniform(0.7, 1.3))
        pulses = np.diff(np.floor(np.arange(n_steps + 1) * pitch / 8000))
        sound = 8.0 * voiced * pulses + rng.normal(scale=0.05 if voiced else 0.4, size=n_steps)
        for peak in peaks * voice * rng.normal(1, 0.02, 3):
            angle, radius = 2 * np.pi * peak / 8000, np.exp(-np.pi * 110 / 8000)
            sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
        sounds.append((1.0 if voiced else 0.4) * sound / (sound.std() + 1e-9))
    word = np.concatenate(sounds)
    return rng.uniform(0.3, 1.5) * (word + rng.normal(scale=0.3, size=len(word)))


def gestures() -> Series:
    """Return libras."""
    data = _data.libras()
    return data.X, data.y


DATA: dict[str, Callable[[], Series]] = {
    "vibration": vibration,
    "words": words,
    "gestures": gestures,
}


# ---------------------------------------------------------------------- learners


class StridedCNN(nn.Module):
    """Three strided convolutions with batch normalisation, and the mean over time."""

    takes_any_length = True

    def __init__(self, input_shape: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = input_shape[0]
        long, short = ((32, 64, 16), (64, 5, 4), (64, 5, 4)), ((32, 5, 2), (64, 5, 2), (64, 5, 2))
        for n_out, kernel, stride in long if input_shape[1] >= 512 else short:
            conv = nn.Conv1d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm1d(n_out), nn.ReLU()]
            n_in = n_out
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, length) to (n, 64)."""
        x, is_step = mask_padding(x)
        x = self.layers(x)
        weight = nn.functional.adaptive_max_pool1d(is_step.float(), x.shape[2])
        return (x * weight).sum(dim=2) / weight.sum(dim=2)


BACKBONES: dict[str, Any] = {"default": "auto", "strided CNN": StridedCNN}


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--splits", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.data:
        X, y = DATA[name]()
        for split in range(args.splits):
            result = STUDY.remember(name, split, compute=partial(run, X, y, split))
            print(name, split, result, flush=True)
    write()


def run(X: np.ndarray, y: np.ndarray, split: int) -> dict[str, Any]:
    """Train on one class split and score on the same episodes."""
    n_test = max(5, len(np.unique(y)) // 4)
    base, test = next(ClassShuffleSplit(1, test_size=n_test, random_state=split).split(X, y))
    flat = np.array([stretch(series) for series in X[test]]).reshape(len(test), -1)
    result = {"untrained": scores(NearestCentroid(), flat, y[test], split)}
    for name, backbone in BACKBONES.items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no epoch was better than the start
            learner = ProtoNetClassifier(backbone=backbone, random_state=split)
            learner.fit(X[base], y[base])
        seconds = round(time.process_time() - start, 1)
        result[name] = scores(learner, X[test], y[test], split) | {"seconds": seconds}
    return result


def scores(classifier: Any, X: np.ndarray, y: np.ndarray, split: int) -> dict[str, float]:
    """Return the accuracies in %, by the number of shots."""
    smallest = np.unique(y, return_counts=True)[1].min()
    return {
        str(n_shot): 100
        * episodic_score(
            classifier,
            X,
            y,
            n_shot=n_shot,
            n_query=int(min(15, smallest - n_shot)),
            n_episodes=200,
            random_state=split,
        ).mean
        for n_shot in SHOTS
    }


def stretch(series: np.ndarray) -> np.ndarray:
    """Interpolate a series to 64 steps, without its padding."""
    steps = np.flatnonzero(~np.isnan(series[0]))
    return np.stack([np.interp(np.linspace(0, steps[-1], 64), steps, c[steps]) for c in series])


# ---------------------------------------------------------------------- page


def write() -> None:
    """Write the table of everything measured so far."""
    header = ["data", "splits", "network", "1-shot, %", "5-shot, %", "`fit`, s"]
    rows, loads, machine = [], [], ""
    for data in DATA:
        runs = STUDY.find(data)
        rows += [row(data, runs, network) for network in (*BACKBONES, "untrained") if runs]
        loads += [run["load_before"] for run in runs]
        machine = runs[0]["machine"] if runs else machine
    write_page(
        "series",
        "Series",
        " ".join(__doc__.split("\n\n")[1].split()),
        markdown_table(header, rows),
        "python -m benchmarks.series",
        f"Machine: {machine}. Load average before the runs: {min(loads):.1f} to {max(loads):.1f}.",
    )


def row(data: str, runs: list[dict[str, Any]], network: str) -> list[str]:
    """Lay out one network on one data set."""
    of = [run[network] for run in runs]
    cells = [f"{np.mean([it[str(n_shot)] for it in of]):.1f}" for n_shot in SHOTS]
    seconds = f"{np.mean([it['seconds'] for it in of]):.0f}" if "seconds" in of[0] else "0"
    return [data, str(len(runs)), network, *cells, seconds]


if __name__ == "__main__":
    main()
