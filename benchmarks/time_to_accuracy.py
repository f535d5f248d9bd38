"""Seconds until 5-way 1-shot accuracy on Omniglot's validation characters reaches a mark.

Learners with default arguments except the seed and the validation classes: 4,112 classes for
training, 688 for validation, none of them a test class. The time is that of ``fit``, its own
validation included; it excludes the benchmark's scoring, after each epoch of 50 episodes, of 1,000
frozen episodes of the validation classes with 5 queries per class.

Below, variants of ProtoNet that differ from the defaults in one respect each.

Then this ProtoNet predicts 1,000 test episodes in float32 and in bfloat16.

    python -m benchmarks.time_to_accuracy
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback as SkorchCallback

from sklearn_fewshot import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.nn import EmbeddingModule, evaluating, score_plan, take_rows
from sklearn_fewshot.nn._data import as_input, as_tensor

from . import _data
from ._report import Study, kept, markdown_table, write_page
from .omniglot import COLUMNS, SETTINGS

STUDY = Study("time_to_accuracy")
MARKS = (95.0, 97.0, 98.0)
AIMS = {95.0: 60, 98.0: 600}  # seconds
LEARNERS: dict[str, Callable[..., Any]] = {
    "ProtoNet": ProtoNetClassifier,
    "MatchingNet": MatchingNetClassifier,
    "MatchingNet, FCE": partial(MatchingNetClassifier, fce=True),
    "RelationNet": RelationNetClassifier,
    "SiameseNet": SiameseNetClassifier,
    "Baseline": BaselineClassifier,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "n_way=20": {"n_way": 20, "episodes_per_epoch": 150},
    "n_shot=1": {"n_shot": 1, "episodes_per_epoch": 67},
    "meta_batch_size=2": {"meta_batch_size": 2},
    "lr_schedule='constant'": {"lr_schedule": "constant"},
    "lr=3e-3": {"lr": 3e-3},
    "precision='float32'": {"precision": "float32"},
}
N_EPISODES = 1000
FOOT = (
    "The defaults are a compromise for all kinds of data, and for one and several shots. Training "
    "with `n_shot=1` reaches this 1-shot accuracy sooner; so does a threefold learning rate, at "
    "which a RelationNet on vectors may stall. The machine had other load during the variants, "
    "most during the last."
)


class Clock(SkorchCallback):
    """Scores after each epoch, off the clock.

    Learners copy their callbacks: the class remembers.
    """

    start = 0.0
    rows: list[dict[str, float]] = []
    score: Callable[[Any], float]

    @classmethod
    def begin(cls, score: Callable[[Any], float]) -> None:
        """Start."""
        cls.score, cls.rows, cls.start = staticmethod(score), [], time.perf_counter()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Score the network as it is now."""
        now = time.perf_counter()
        accuracy = 100 * Clock.score(net.module_)
        Clock.rows.append({"seconds": round(now - Clock.start, 1), "accuracy": round(accuracy, 2)})
        Clock.start += time.perf_counter() - now


def main() -> None:
    """Run what is not measured yet and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in LEARNERS:
        STUDY.remember(name, compute=partial(run, name, {}, args.seed))
    for name, parameters in VARIANTS.items():
        STUDY.remember(name, compute=partial(run, "ProtoNet", parameters, args.seed))
    STUDY.remember("bfloat16", compute=partial(compare_precisions, args.seed))
    write()


def run(name: str, parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train a learner, and keep what it reached when."""
    X, y = _data.omniglot(0, 1)
    X_validation, y_validation = _data.omniglot(1)
    learner = LEARNERS[name](
        random_state=seed,
        validation_classes=np.unique(y_validation),
        callbacks=[Clock()],
        **parameters,
    )
    what = name if not parameters else f"{name}, {parameters}"
    Clock.begin(scorer(X_validation, y_validation))
    learner.fit(X, y)
    seconds = time.perf_counter() - Clock.start
    print(what, f"{seconds:.0f} s", Clock.rows[-1], "load", os.getloadavg()[0], flush=True)
    if name == "ProtoNet" and not parameters:
        kept("time-to-accuracy-protonet", lambda: learner.set_params(callbacks=None))
    return {
        "epochs": Clock.rows,
        "seconds": round(seconds),
        "best_epoch": learner.best_epoch_,
        "load_after": round(os.getloadavg()[0], 2),
    }


def fitted(seed: int) -> ProtoNetClassifier:
    """Return the learner of the first line."""
    _, y = _data.omniglot(1)
    learner = ProtoNetClassifier(random_state=seed, validation_classes=np.unique(y))
    return learner.fit(*_data.omniglot(0, 1))


def scorer(X: np.ndarray, y: np.ndarray) -> Callable[[Any], float]:
    """Return what scores a network on frozen episodes."""
    sampler = EpisodeSampler(np.unique(y, return_inverse=True)[1], n_way=5, n_shot=1, n_query=5)
    plan = sampler.plan(N_EPISODES, np.random.default_rng(0))
    inputs = as_input(as_tensor(X), 1 / 255)

    def score(module: EmbeddingModule) -> float:
        with evaluating(module):
            embedding = torch.cat([module.embed(part) for part in inputs.split(128)])
            take = partial(take_rows, embedding)
            parts = score_plan(module, plan, take, device=inputs.device)
            hits = torch.cat([logits.argmax(dim=-1) == target for logits, target in parts])
        return float(hits.double().mean())

    return score


def compare_precisions(seed: int) -> dict[str, Any]:
    """Answer test episodes in float32 and bfloat16, and count what differs."""
    learner = kept("time-to-accuracy-protonet", lambda: fitted(seed))
    X, y = _data.omniglot(2)
    codes = np.unique(y, return_inverse=True)[1]
    network = copy.copy(learner._network)
    embedding = {}
    for dtype in (None, torch.bfloat16):
        network.autocast_dtype = dtype
        embedding[dtype] = network.to_tensor(network.embed(X))
    result: dict[str, Any] = {}
    for (n_way, n_shot), column in zip(SETTINGS, COLUMNS, strict=True):
        sampler = EpisodeSampler(codes, n_way=n_way, n_shot=n_shot, n_query=15)
        plan = sampler.plan(N_EPISODES, np.random.default_rng(0))
        answers, accuracy = {}, {}
        for dtype, stored in embedding.items():
            parts = [
                (scores.argmax(axis=2), target)
                for scores, target in network.score_plan(stored, plan)
            ]
            answers[dtype] = np.concatenate([answer for answer, _ in parts])
            accuracy[dtype] = np.mean(np.concatenate([a == target for a, target in parts]))
        result[column] = {
            "changed": round(100 * float(np.mean(answers[None] != answers[torch.bfloat16])), 3),
            "float32": round(100 * float(accuracy[None]), 2),
            "bfloat16": round(100 * float(accuracy[torch.bfloat16]), 2),
        }
    return result


# ---------------------------------------------------------------------- page


def write() -> None:
    """Write the page of everything measured so far."""
    results = {name: result for name in (*LEARNERS, *VARIANTS) if (result := STUDY.get(name))}
    header = ["", *(f"{mark:.0f} %, s" for mark in MARKS), "best, %", "at, s", "`fit`, s"]
    tables = [
        markdown_table(header, [row(name, results[name]) for name in names if name in results])
        for names in (LEARNERS, ("ProtoNet", *VARIANTS))
    ]
    parts = " ".join(__doc__.split("\n\n")[1].split()), tables[0], aims(results["ProtoNet"])
    body = [
        *parts,
        "Variants of ProtoNet (`n_way=20` and `n_shot=1` with more episodes per epoch, "
        "for about as many images):",
        tables[1],
        FOOT,
    ]
    if result := STUDY.get("bfloat16"):
        body.append(precisions(result))
    loads = [result["load_before"] for result in results.values()]
    write_page(
        "time_to_accuracy",
        "Time to accuracy",
        body[0],
        "\n\n".join(body[1:]),
        "python -m benchmarks.time_to_accuracy",
        f"Machine: {results['ProtoNet']['machine']}. One seed. Load average before the runs: "
        f"{min(loads):.1f} to {max(loads):.1f}.",
    )


def row(name: str, result: dict[str, Any]) -> list[str]:
    """Lay out one training."""
    epochs = result["epochs"]
    best = max(epochs, key=lambda epoch: epoch["accuracy"])
    cells = ["" if (t := reached(result, mark)) is None else f"{t:.0f}" for mark in MARKS]
    return [
        name,
        *cells,
        f"{best['accuracy']:.1f}",
        f"{best['seconds']:.0f}",
        str(result["seconds"]),
    ]


def reached(result: dict[str, Any], mark: float) -> float | None:
    """Return the seconds after which an accuracy was first reached."""
    times = (e["seconds"] for e in result["epochs"] if e["accuracy"] >= mark)
    return next(times, None)


def aims(result: dict[str, Any]) -> str:
    """Say whether the aims are met."""
    lines = []
    for mark, seconds in AIMS.items():
        got = reached(result, mark)
        told = "never reached" if got is None else f"after {got:.0f} s"
        is_met = got is not None and got <= seconds
        verdict = "met" if is_met else "**missed**"
        lines.append(f"- ProtoNet, {mark:.0f} %: {told}; aim {seconds} s: {verdict}")
    return "\n".join(lines)


def precisions(result: dict[str, Any]) -> str:
    """Lay out what bfloat16 changes."""
    cells = [
        [name, *(f"{result[column][key]:.2f}" for column in COLUMNS)]
        for name, key in (
            ("accuracy in float32, %", "float32"),
            ("accuracy in bfloat16, %", "bfloat16"),
            ("predictions that differ, %", "changed"),
        )
    ]
    return (
        'Prediction with `precision="bfloat16"`: 1,000 episodes of test characters, 15 queries '
        "per class, by the ProtoNet of the first line.\n\n" + markdown_table(["", *COLUMNS], cells)
    )


if __name__ == "__main__":
    main()
