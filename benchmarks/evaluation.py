"""How fast episodes are scored, over stored embeddings and from pixels.

Stored embeddings: 12,000 rows of 20 new classes (the size of miniImageNet's test set), Gaussian
clusters that overlap; 10,000 episodes of 5 ways, 5 shots, 15 queries per class. The package's
public ``episodic_score``, with a learner of each head and ``backbone="identity"``, against two
fixed rivals in ``benchmarks/rivals``: a bare PyTorch loop over the same rows, one episode at a
time, and easyfsl if it is installed. The time includes sampling the episodes, on one thread. Rivals
and package alternate in one process: medians over the rounds, in CPU time of the process, which
depends less on other load than wall-clock time. If the table says so, fewer episodes than 10,000
are timed, and the time is extrapolated.

On the same episodes the accuracies of the bare loop, and of easyfsl if its head is the same
function, equal the package's; the script stops if they do not.

    python -m benchmarks.evaluation [--heads prototypical ...] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sklearn_fewshot import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score

from . import _data
from ._report import Study, markdown_table, write_page
from .omniglot import COLUMNS, SETTINGS
from .rivals import bare_loop, easyfsl_loop

STUDY = Study("evaluation")
N_EPISODES = 10_000
EPISODE = {"n_way": 5, "n_shot": 5, "n_query": 15}
DIMS = (64, 640)
OVERLAP = {64: 0.4, 640: 0.2}  # spread of the class means: far from chance and from 100 %
N_CLASSES, N_ROWS = 20, 600
N_COMPARED = 200  # episodes on which accuracies must agree
TARGETS = {"prototypical": {"bare": 3.0, "easyfsl": 7.0}, "full context": {"easyfsl": 30.0}}
EXACT_IN_EASYFSL = ("prototypical", "relation", "centroid")
HEADER = ["head", "dim", "package, s", "bare loop, s", "faster by", "easyfsl, s", "faster by"]
HEADER += ["accuracy, %: package", "bare", "easyfsl"]
N_OMNIGLOT_EPISODES = 1000
IMAGES_TARGET = 20.0
VERSION = easyfsl_loop.__version__
RIVALS = {"bare": "the bare loop", "easyfsl": "easyfsl"}


class Entry(NamedTuple):
    """A head in the table, and how many episodes of it are timed in a round, by dimension."""

    make: Callable[..., Any]
    package: dict[int, int] = dict.fromkeys(DIMS, N_EPISODES)
    bare: dict[int, int] = {64: 1000, 640: 500}
    easyfsl: dict[int, int] = {64: 500, 640: 500}


ENTRIES = {
    "prototypical": Entry(ProtoNetClassifier),
    "matching": Entry(MatchingNetClassifier),
    "full context": Entry(
        partial(MatchingNetClassifier, fce=True),
        {64: 2000, 640: 100},
        {64: 500, 640: 30},
        {64: 300, 640: 20},
    ),
    "full context, 25 steps": Entry(
        partial(MatchingNetClassifier, fce=True, n_steps=25),
        {64: 500, 640: 20},
        {64: 200, 640: 10},
        {64: 200, 640: 10},
    ),
    "relation": Entry(RelationNetClassifier, easyfsl={64: 300, 640: 100}),
    "siamese": Entry(SiameseNetClassifier),
    "centroid": Entry(BaselineClassifier),
}


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # BLAS, or its waiting threads are counted as CPU time
    for dim in DIMS:
        for name in args.heads:
            what = partial(run, name, dim, args.rounds)
            result = STUDY.remember(name, dim, compute=what)
            print(name, dim, {k: v for k, v in result.items() if k != "machine"}, flush=True)
    STUDY.remember("omniglot", compute=run_omniglot)
    write()


def stored_embeddings(dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows and labels of base classes, and of as many new ones."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(2 * N_CLASSES), N_ROWS)
    centres = OVERLAP[dim] * rng.standard_normal((2 * N_CLASSES, dim))
    X = (centres[y] + rng.standard_normal((len(y), dim))).astype(np.float32)
    is_base = y < N_CLASSES
    return X[is_base], y[is_base], X[~is_base], y[~is_base]


def run(name: str, dim: int, rounds: int) -> dict[str, Any]:
    """Time the package and its rivals in turns, after a check that they compute the same."""
    entry = ENTRIES[name]
    X_base, y_base, X, y = stored_embeddings(dim)
    learner = entry.make(backbone="identity", max_epochs=0, random_state=0)
    learner.fit(X_base[::10], y_base[::10])
    head = learner.module_.head
    family = name.partition(",")[0]
    embedding = learner.transform(X)  # of the baseline, centred
    rivals = {"bare": bare(family, head, embedding, y, entry.bare[dim])}
    if VERSION and family in easyfsl_loop.METHODS:
        rivals["easyfsl"] = easyfsl(family, head, embedding, y, entry.easyfsl[dim])
    same = compare(learner, X, y, {who: accuracy for who, (_, accuracy, _) in rivals.items()})
    require_agreement(name, dim, same)
    package = partial(score_by_package, learner, X, y, entry.package[dim])
    contestants = {who: (play, n) for who, (play, _, n) in rivals.items()}
    times = in_turns(contestants | {"package": (package, entry.package[dim])}, rounds)
    return {"rounds": rounds, "same_episodes": same, "easyfsl_version": VERSION} | times


def score_by_package(learner: Any, X: np.ndarray, y: np.ndarray, n: int, seed: int) -> float:
    """Score as a user does."""
    return episodic_score(learner, X, y, n_episodes=n, random_state=seed, **EPISODE).mean


def bare(name: str, head: Any, X: np.ndarray, y: np.ndarray, n: int) -> tuple[Any, Any, int]:
    """Return the bare loop, its accuracy on one given episode, and how many to time."""
    score = bare_loop.HEADS[name](head)
    embedding = torch.from_numpy(X)
    rows = [torch.from_numpy(np.flatnonzero(y == label)) for label in np.unique(y)]

    def play(seed: int) -> float:
        torch.manual_seed(seed)
        return bare_loop.run(score, embedding, rows, n_episodes=n, **EPISODE).mean()

    @torch.inference_mode()
    def accuracy(support: torch.Tensor, query: torch.Tensor) -> float:
        target = np.repeat(np.arange(len(support)), len(query) // len(support))
        return np.mean(score(support, query).argmax(dim=1).numpy() == target)

    return play, accuracy, n


def easyfsl(name: str, head: Any, X: np.ndarray, y: np.ndarray, n: int) -> tuple[Any, Any, int]:
    """Return easyfsl's evaluation, its accuracy on one given episode, and how many to time."""
    model = easyfsl_loop.METHODS[name](head)
    shape = (-1, 1, 1) if name == "relation" else (-1,)
    embedding = torch.from_numpy(X).unflatten(1, shape)
    labels = np.unique(y, return_inverse=True)[1].tolist()

    def play(seed: int) -> float:
        return easyfsl_loop.run(model, embedding, labels, n_episodes=n, seed=seed, **EPISODE)

    def accuracy(support: torch.Tensor, query: torch.Tensor) -> float:
        return easyfsl_loop.accuracy(model, support.unflatten(2, shape), query.unflatten(1, shape))

    return play, accuracy, n


def compare(
    learner: Any, X: np.ndarray, y: np.ndarray, accuracies: dict[str, Callable[..., float]]
) -> dict[str, Any]:
    """Score the same episodes by all, and say how far rivals are from the package in the mean."""
    same = {"n_episodes": N_COMPARED, "random_state": 1}
    package = episodic_score(learner, X, y, **same, **EPISODE).scores
    embedding, shape = (
        torch.from_numpy(learner.transform(X)),
        (EPISODE["n_way"], EPISODE["n_shot"], -1),
    )
    scores: dict[str, list[float]] = {who: [] for who in accuracies}
    for support, query in EpisodeSplit(**same, **EPISODE).split(X, y):
        for who, accuracy in accuracies.items():
            scores[who].append(accuracy(embedding[support].view(shape), embedding[query]))
    result: dict[str, Any] = {"package": 100 * package.mean()}
    for who, score in scores.items():
        result[who] = 100 * np.mean(score)
        result[f"{who}_mean_difference"] = 100 * np.abs(np.array(score) - package).mean()
    return {key: round(float(value), 3) for key, value in result.items()}


def require_agreement(name: str, dim: int, same: dict[str, Any]) -> None:
    """Stop if a rival that computes the same function has other accuracies, ties apart."""
    for who in ("bare", "easyfsl"):
        exact = who == "bare" or name in EXACT_IN_EASYFSL
        if exact and same.get(f"{who}_mean_difference", 0.0) > 0.1:
            raise SystemExit(
                f"{name}, {dim}: {who} does not do the same work as the package: {same}"
            )


def in_turns(contestants: dict[str, tuple[Any, int]], rounds: int) -> dict[str, Any]:
    """Time one after the other, round by round, after a warm-up; seconds for all episodes."""
    cpu: dict[str, list[float]] = {who: [] for who in contestants}
    wall: dict[str, list[float]] = {who: [] for who in contestants}
    mean: dict[str, list[float]] = {who: [] for who in contestants}
    for turn in range(rounds + 1):
        for who, (play, n_episodes) in contestants.items():
            start = time.process_time(), time.perf_counter()
            accuracy = play(turn)
            if turn == 0:
                continue  # the first call of many torch functions is slow
            scale = N_EPISODES / n_episodes
            cpu[who].append(scale * (time.process_time() - start[0]))
            wall[who].append(scale * (time.perf_counter() - start[1]))
            mean[who].append(100 * accuracy)
    return {
        who: {
            "episodes": n_episodes,
            "cpu_seconds": [round(value, 3) for value in cpu[who]],
            "wall_seconds": [round(value, 3) for value in wall[who]],
            "accuracy": round(float(np.mean(mean[who])), 2),
        }
        for who, (_, n_episodes) in contestants.items()
    }


def run_omniglot() -> dict[str, Any]:
    """Score the four settings from pixels: by four calls, and by one call for all."""
    X_base, y_base = _data.omniglot(1)
    X, y = _data.omniglot(2)
    learner = ProtoNetClassifier(max_epochs=0, random_state=0).fit(X_base[:2000], y_base[:2000])
    n_images: list[int] = []
    backbone = learner.module_.backbone
    backbone.register_forward_hook(lambda module, inputs, output: n_images.append(len(inputs[0])))
    episodes = [
        EpisodeSplit(N_OMNIGLOT_EPISODES, n_way=n_way, n_shot=n_shot, n_query=15, random_state=0)
        for n_way, n_shot in SETTINGS
    ]
    result: dict[str, Any] = {"available": len(X)}
    for way in ("four calls", "one call"):
        n_images.clear()
        start = time.process_time()
        if way == "one call":
            scores = episodic_score(learner, X, y, episodes=episodes)
        else:
            scores = [episodic_score(learner, X, y, episodes=split) for split in episodes]
        result[way] = {
            "images": sum(n_images),
            "cpu_seconds": round(time.process_time() - start, 1),
            "accuracy": [round(100 * score.mean, 2) for score in scores],
        }
    result["each_episode"] = sum(
        N_OMNIGLOT_EPISODES * n_way * (n_shot + 15) for n_way, n_shot in SETTINGS
    )
    return result


def write() -> None:
    """Write the page of everything measured so far."""
    runs = {
        (name, dim): result for dim in DIMS for name in ENTRIES if (result := STUDY.get(name, dim))
    }
    table = markdown_table(
        HEADER,
        [row(name, dim, result) for (name, dim), result in runs.items()],
    )
    omniglot = STUDY.get("omniglot")
    results = [*runs.values(), omniglot]
    loads = [result["load_before"] for result in results]
    machines = dict.fromkeys(result["machine"] for result in reversed(results))
    rounds = sorted({result["rounds"] for result in runs.values()})
    versions = {result["easyfsl_version"] for result in runs.values()} - {None}
    write_page(
        "evaluation",
        "Scoring episodes",
        "\n\n".join(" ".join(part.split()) for part in __doc__.split("\n\n")[1:3])
        + f" easyfsl: {', '.join(sorted(versions)) or 'not installed'}.",
        "\n\n".join([table, FOOT, targets(runs), omniglot_text(omniglot)]),
        "python -m benchmarks.evaluation",
        f"Machine: {'; '.join(machines)}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}. Rounds: {' or '.join(map(str, rounds))}.",
    )


FOOT = (
    "Seconds are for 10,000 episodes, in brackets the number timed in a round if fewer. "
    "Accuracies are of untrained heads on 200 episodes, the same for all. easyfsl's Matching "
    "Network has the weights of the package's, but attends to the support in as many steps as it "
    "has examples (25 here; the package: 5 by default) and has another similarity, so that its "
    'accuracy differs; the row "25 steps" has as many steps. Its relation module was replaced by '
    "the package's perceptron for vectors."
)


def row(name: str, dim: int, result: dict[str, Any]) -> list[str]:
    """Lay out one head and dimension."""
    same = result["same_episodes"]
    cells = [name, str(dim), seconds(result["package"])]
    for who in ("bare", "easyfsl"):
        if who in result:
            cells += [seconds(result[who]), f"{faster(result, who):.1f}"]
        else:
            cells += ["", ""]
    return [
        *cells,
        *(f"{same[w]:.1f}" if w in same else "" for w in ("package", "bare", "easyfsl")),
    ]


def seconds(timed: dict[str, Any]) -> str:
    """Return the median over rounds, and the number of episodes timed."""
    text = f"{np.median(timed['cpu_seconds']):.2f}"
    return text if timed["episodes"] == N_EPISODES else f"{text} ({timed['episodes']})"


def faster(result: dict[str, Any], who: str) -> float:
    """Return how many times faster than a rival the package is."""
    return float(
        np.median(result[who]["cpu_seconds"]) / np.median(result["package"]["cpu_seconds"])
    )


def targets(runs: dict[tuple[str, int], dict[str, Any]]) -> str:
    """Say which targets are met."""
    lines = []
    for (name, dim), result in runs.items():
        for who, least in TARGETS.get(name, {}).items():
            if who in result:
                factor = faster(result, who)
                lines.append(
                    f"- {name}, {dim}: {factor:.1f} times the speed of {RIVALS[who]}; "
                    f"target {least:.0f}: {verdict(factor, least)}"
                )
    return "Targets:\n\n" + "\n".join(lines)


def verdict(got: float, least: float) -> str:
    """Say whether a target is met."""
    return "met" if got >= least else "**missed**"


def omniglot_text(result: dict[str, Any]) -> str:
    """Lay out the Omniglot part."""
    each, rows = result["each_episode"], []
    for way in ("four calls", "one call"):
        run = result[way]
        cells = [way, f"{run['images']:,}", f"{each / run['images']:.1f}"]
        rows.append([*cells, f"{run['cpu_seconds']:.1f}", *map(str, run["accuracy"])])
    factor = each / result["one call"]["images"]
    header = ["", "images embedded", "times fewer", "s", *(f"{c}, %" for c in COLUMNS)]
    return (
        "Omniglot from pixels: 1,000 episodes of test characters in each of four settings, 15 "
        f"queries per class, untrained Conv4; {each:,} images, if each episode embeds its own. One "
        "call is `episodic_score(learner, X, y, episodes=[EpisodeSplit(...), ...])`.\n\n"
        f"{markdown_table(header, rows)}\n\n"
        f"- images embedded: {factor:.1f} times fewer; target {IMAGES_TARGET:.0f}: "
        f"{verdict(factor, IMAGES_TARGET)}"
    )


if __name__ == "__main__":
    main()
