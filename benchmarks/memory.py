"""Omniglot and tables: learners that read the support set, beside those that compare with it.

*Sequences* are those of Santoro et al. (2016): five classes, ten samples of each in random order,
the label of each shown one step late, accuracy by how often the class has come before; 500
sequences of test characters of the Vinyals split (rotations are classes). The networks with and
without memory read embeddings of one Prototypical Network, which is trained first (434 CPU seconds)
and then fixed, and see equally many sequences, or train equally long; the published ones read
pixels, and were trained 17 times as long. In training a third of the samples of a sequence is left
out: otherwise the last labels follow from the number of earlier ones, and networks learn little
else.

*Omniglot* episodes as in [the other families](optimization.md): 600 of five classes, 200 of 20,
one network each, strided and trained from random weights.

*Tables*, series (vibration and words as in [series](series.md)) and pictures (qazaq) are 5-way
episodes of new classes with default arguments, means of class splits.

    python -m benchmarks.memory [--part sequences omniglot tables] [--data letter ...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from sklearn_fewshot import (
    InContextClassifier,
    MANNClassifier,
    MatchingNetClassifier,
    MetaNetClassifier,
    ProtoNetClassifier,
)
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score
from sklearn_fewshot.nn.heads import MemoryHead
from sklearn_fewshot.nn.memory import LeastUsedMemory, MemoryState, Writing

from . import _data, series, shots
from ._report import Study, markdown_table, write_page

STUDY = Study("memory")
PARTS = ("sequences", "omniglot", "tables")
PUBLISHED = {  # Santoro et al. (2016), table 1: 100,000 batches, raw pixels
    "MANN": {1: 36.4, 2: 82.8, 5: 94.9, 10: 98.1},
    "LSTM": {1: 24.4, 2: 49.5, 5: 63.6, 10: 62.5},
}
SHOWN = (1, 2, 3, 5, 10)  # presentations
COMMON = {"patience": None, "calibrate": False, "precision": "float32"}


class NoMemory(LeastUsedMemory):
    """The controller alone: nothing is written, zeros are read."""

    def step(self, inputs: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState, Writing]:
        """Take one step."""
        seen = torch.cat([inputs, state.h, state.read.flatten(1)], dim=1)
        h, c = self._control(seen, state.c)
        nothing = Writing(torch.zeros_like(state.usage), torch.zeros_like(state.usage))
        return torch.cat([h, state.read.flatten(1)], dim=1), state._replace(h=h, c=c), nothing


class LSTMHead(MemoryHead):
    """The head of a memory-augmented network without the memory."""

    def __init__(self, n_features: int, **options: Any) -> None:
        super().__init__(n_features, **options)
        self.cell = NoMemory(n_features + self.code_size, n_slots=4, n_reads=4, controller_dim=200)


class LSTMClassifier(MANNClassifier):
    """A recurrent network that has to remember by itself."""

    def _head(self) -> tuple[type, dict[str, Any]]:
        return LSTMHead, super()._head()[1]


SEQUENCES: dict[str, tuple[type[MANNClassifier], int]] = {  # and epochs of 4,000 sequences
    "MANN": (MANNClassifier, 24),
    "LSTM": (LSTMClassifier, 24),
    "LSTM, as long": (LSTMClassifier, 86),
}
EPISODES: dict[str, tuple[Callable[..., Any], str]] = {
    "Meta Networks": (
        partial(
            MetaNetClassifier,
            n_way=5,
            n_shot=1,
            n_query=5,
            max_epochs=40,
            episodes_per_epoch=800,
            lr_schedule="linear",
        ),
        "98.95",
    ),
    "in-context attention": (
        partial(
            InContextClassifier,
            n_way=30,
            n_shot=1,
            n_query=5,
            max_epochs=20,
            episodes_per_epoch=500,
        ),
        "",
    ),
}
SETTINGS = ((5, 1, 600), (5, 5, 600), (20, 1, 200))
TABLES = {  # and class splits
    "letter": 3,
    "isolet": 3,
    "libras": 3,
    "grocery_features": 3,
    "clinc150": 3,
    "vibration": 3,
    "words": 3,
    "qazaq": 1,
}
SHOTS = (1, 5, 20)
LEARNERS: dict[str, Callable[..., Any]] = {
    "ProtoNet": ProtoNetClassifier,
    "MatchingNet": MatchingNetClassifier,
    "MatchingNet, full context": partial(MatchingNetClassifier, fce=True),
    "in-context attention": InContextClassifier,
}


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--learner", nargs="*", help="of the Omniglot part")
    parser.add_argument("--data", choices=TABLES, nargs="+", default=list(TABLES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if "sequences" in args.part:
        for name in SEQUENCES:
            print(name, STUDY.remember("sequences", name, compute=partial(sequences, name)))
    if "omniglot" in args.part:
        for name in args.learner or EPISODES:
            print(name, STUDY.remember("omniglot", name, compute=partial(omniglot, name)))
    if "tables" in args.part:
        for data in args.data:
            for split in range(TABLES[data]):
                for name in LEARNERS:
                    compute = partial(table, data, split, name)
                    print(data, split, name, STUDY.remember(data, split, name, compute=compute))
    write()


def sequences(name: str) -> dict[str, Any]:
    """Train on sequences of embeddings and score test sequences by presentation."""
    embedding = shots.network("omniglot", "ProtoNet")
    X, y = _data.omniglot(0, 1)
    validation = np.unique(_data.omniglot(1)[1])
    network, n_epochs = SEQUENCES[name]
    learner = network(
        label_code="one-hot",
        backbone="identity",
        max_epochs=n_epochs,
        episodes_per_epoch=4000,
        validation_classes=validation,
        random_state=0,
        **COMMON,
    )
    start = time.process_time()
    learner.fit(embedding.transform(unit(X)), y)
    seconds = time.process_time() - start
    X, y = _data.omniglot(2)
    rows = embedding.transform(unit(X))
    accuracy = learner.presentation_accuracy(rows, y, n_episodes=500, random_state=0)
    return {
        "cpu seconds": round(seconds),
        "sequences": learner.episodes_per_epoch * len(learner.history_),
        "accuracy": [round(100 * float(it), 1) for it in accuracy],
        "curve": [round(row["train_loss"], 3) for row in learner.history_],
    }


def unit(X: np.ndarray) -> np.ndarray:
    """Return pictures as the embedding was trained on."""
    return X.astype(np.float32) / 255


def omniglot(name: str) -> dict[str, Any]:
    """Train from random weights and score test characters."""
    X, y = _data.omniglot(0, 1)
    learner = EPISODES[name][0](
        backbone="conv4_strided",
        validation_classes=np.unique(_data.omniglot(1)[1]),
        random_state=0,
        **COMMON,
    )
    start = time.process_time()
    learner.fit(X, y)
    result: dict[str, Any] = {
        "cpu seconds": round(time.process_time() - start),
        "episodes": learner.episodes_per_epoch * len(learner.history_),
        "best epoch": learner.best_epoch_,
    }
    X, y = _data.omniglot(2)
    for n_way, n_shot, n_episodes in SETTINGS:
        score = episodic_score(
            learner, X, y, n_way=n_way, n_shot=n_shot, n_episodes=n_episodes, random_state=0
        )
        result[f"{n_way}w{n_shot}s"] = f"{100 * score.mean:.1f} ± {100 * score.half_width:.1f}"
    return result


def table(data: str, split: int, name: str) -> dict[str, Any]:
    """Train with default arguments on one class split and score the other classes."""
    X, y, standardise = samples(data)
    n_test = max(5, len(np.unique(y)) // 5)
    base, test = next(ClassShuffleSplit(1, test_size=n_test, random_state=split).split(X, y))
    steps = [*[StandardScaler()] * standardise, LEARNERS[name](random_state=split)]
    start = time.process_time()
    model = make_pipeline(*steps).fit(X[base], y[base])
    result = {"cpu seconds": round(time.process_time() - start, 1)}
    smallest = np.unique(y[test], return_counts=True)[1].min()
    for n_shot in SHOTS:
        if smallest >= n_shot + 3:
            score = episodic_score(
                model,
                X[test],
                y[test],
                n_way=5,
                n_shot=n_shot,
                n_query=int(min(15, smallest - n_shot)),
                n_episodes=400,
                random_state=split,
            )
            result[str(n_shot)] = round(100 * score.mean, 2)
    return result


def samples(data: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return samples, labels, and whether to standardise columns."""
    if data in series.DATA:
        return *series.DATA[data](), False
    X, y, _, standardise = getattr(_data, data)()
    return X, y, standardise


def write() -> None:
    """Write the tables of everything measured so far."""
    parts = [
        ("Sequences of five classes, by presentation", sequence_table()),
        ("Omniglot, accuracy in %", omniglot_table()),
        ("Other data, 1 / 5 / 20 examples per class, accuracy in %", data_table()),
    ]
    runs = [run for part in ("sequences", "omniglot", *TABLES) for run in STUDY.find(part)]
    loads = [run["load_before"] for run in runs]
    intro = __doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
    write_page(
        "memory",
        "Learners that read the support set",
        intro,
        "\n\n".join(f"## {title}\n\n{text}" for title, text in parts),
        "python -m benchmarks.memory --threads 1",
        f"Machine: {runs[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def sequence_table() -> str:
    """Return accuracy by presentation, and the published ones."""
    rows = []
    for name in SEQUENCES:
        run = STUDY.get("sequences", name)
        if run:
            cells = [f"{run['accuracy'][k - 1]:.1f}" for k in SHOWN]
            curve = run["curve"]
            losses = " / ".join(f"{curve[i]:.2f}" for i in (0, len(curve) // 4, len(curve) - 1))
            rows.append([name, *cells, losses, str(run["sequences"]), str(run["cpu seconds"])])
    for name, accuracy in PUBLISHED.items():
        published = [f"{value:.1f}" if value else "" for value in map(accuracy.get, SHOWN)]
        rows.append([f"{name}, published", *published, "", "1,600,000", ""])
    header = ["network", *(f"{k}." for k in SHOWN), "loss: first, quarter, last epoch"]
    return markdown_table([*header, "sequences", "CPU s"], rows)


def omniglot_table() -> str:
    """Return accuracies of episodes."""
    rows = []
    columns = [f"{n_way}w{n_shot}s" for n_way, n_shot, _ in SETTINGS]
    for name, (_, published) in EPISODES.items():
        run = STUDY.get("omniglot", name)
        if run:
            done = [str(run["episodes"]), str(run["cpu seconds"])]
            rows.append([name, *(run[column] for column in columns), published, *done])
    return markdown_table(["learner", *columns, "published, 5w1s", "episodes", "CPU s"], rows)


def data_table() -> str:
    """Return means over class splits."""
    rows = []
    for data in TABLES:
        splits = [  # that every learner has
            split
            for split in range(TABLES[data])
            if all(STUDY.get(data, split, name) for name in LEARNERS)
        ]
        if not splits:
            continue
        cells = []
        for name in LEARNERS:
            found = (STUDY.get(data, split, name) for split in splits)
            runs = [run for run in found if run]
            means = [
                f"{np.mean([run[str(k)] for run in runs]):.1f}"
                for k in SHOTS
                if runs and all(str(k) in run for run in runs)
            ]
            seconds = f" ({np.mean([run['cpu seconds'] for run in runs]):.0f} s)" if runs else ""
            cells.append(" / ".join(means) + seconds)
        rows.append([data, str(len(splits)), *cells])
    return markdown_table(["data", "splits", *LEARNERS], rows)


if __name__ == "__main__":
    main()
