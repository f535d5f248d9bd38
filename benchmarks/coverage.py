"""Coverage of intervals, and wrong verdicts, with known truth.

Data sets are drawn again and again from a population of classes, so that the truth is known: the
mean over all of them. *Isotropic*: centres of classes and rows around them are normal, in twelve
features. *Nested*: so are centres of families of five classes. *omniglot*: characters, 14 x 14
pixels, one by one or by whole alphabets (twelve characters of each). *clinc150*: embedded
sentences, by intents or whole domains. Each is scored by nearest class means, 5-way (or all
classes: *all*) 1-shot, on 200 episodes. Two methods have half of the features each, so that on
isotropic and nested data neither is better than the other in the population.

    python -m benchmarks.coverage [--repeats 400]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from sklearn_fewshot import FewShotClassifier, ProtoNetClassifier
from sklearn_fewshot.model_selection import (
    EpisodicComparison,
    EpisodicResult,
    Interval,
    episodic_cross_validate,
    episodic_score,
)
from sklearn_fewshot.model_selection._interval import t_interval

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("coverage")
SAMPLED = (
    ("isotropic", 5, 5),
    ("isotropic", 20, 5),
    ("isotropic", 60, 5),
    ("isotropic", 200, 5),
    ("isotropic", 20, "all"),
    ("isotropic", 60, "all"),
    ("nested", 20, 5),
    ("nested", 60, 5),
    ("nested", 200, 5),
    ("nested", 60, "all"),
    ("omniglot", 5, 5),
    ("omniglot", 20, 5),
    ("omniglot", 60, 5),
    ("omniglot", 200, 5),
    ("omniglot", 20, "all"),
    ("omniglot alphabets", 60, 5),
    ("omniglot alphabets", 120, 5),
    ("clinc150", 5, 5),
    ("clinc150", 20, 5),
    ("clinc150 domains", 45, 5),
)
SENTENCES = ('"on these classes"', '"on others like them"', '"on those of other groups"')
ROWS, N_FEATURES, FAMILY = 20, 12, 5
EPISODES: dict[str, Any] = {"n_shot": 1, "n_query": 10, "n_episodes": 200}
POOL, N_EPISODES = 10_000, (20, 100, 600)  # episodes of which some are drawn
SPREADS = (1.0, 2.0, 4.0)  # of the classes of data whose episodes are drawn
N_SPLITS, N_CLASSES = 10, 26


class Sample(NamedTuple):
    """Classes that were drawn from a population."""

    X: np.ndarray  # (n_classes, n_rows, n_features)
    group: np.ndarray  # of each class: family, alphabet, domain


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message=r"Training brought|.*have an equal row")
    for kind, n_classes, n_way in SAMPLED:
        compute = partial(over_classes, kind, n_classes, n_way, args.repeats)
        print(
            kind,
            n_classes,
            n_way,
            STUDY.remember("classes", kind, n_classes, n_way, compute=compute),
        )
    for spread in SPREADS:
        compute = partial(over_episodes, spread, args.repeats)
        print(spread, STUDY.remember("episodes", int(spread), compute=compute))
    print(STUDY.remember("splits", "isotropic", compute=partial(over_splits, args.repeats // 4)))
    write()


def isotropic(rng: np.random.Generator, n_classes: int, spread: float = 2.0) -> Sample:
    """Draw classes that have nothing to do with each other."""
    centres = spread * rng.normal(size=(n_classes, 1, N_FEATURES))
    X = centres + rng.normal(size=(n_classes, ROWS, N_FEATURES))
    return Sample(X, np.arange(n_classes))


def nested(rng: np.random.Generator, n_classes: int) -> Sample:
    """Draw families of classes."""
    group = np.arange(n_classes) // FAMILY
    centres = 1.6 * rng.normal(size=(group.max() + 1, 1, N_FEATURES))[group]
    centres = centres + 1.2 * rng.normal(size=(n_classes, 1, N_FEATURES))
    return Sample(centres + rng.normal(size=(n_classes, ROWS, N_FEATURES)), group)


def some_classes(population: Sample, rng: np.random.Generator, n_classes: int) -> Sample:
    """Draw classes one by one."""
    kept = rng.choice(len(population.X), n_classes, replace=False)
    return Sample(population.X[kept], np.arange(n_classes))


def some_groups(population: Sample, rng: np.random.Generator, n_classes: int) -> Sample:
    """Draw whole groups, which have equally many classes."""
    size = np.count_nonzero(population.group == 0)
    groups = rng.choice(population.group.max() + 1, n_classes // size, replace=False)
    kept = np.concatenate([np.flatnonzero(population.group == group) for group in groups])
    return Sample(population.X[kept], population.group[kept])


@cache
def omniglot(by_alphabet: bool) -> Sample:
    """Return all characters, or twelve of each alphabet, with even columns of pixels first."""
    f = _data._read("omniglot/omniglot_28.npz")
    images = f["images"].reshape(-1, 20, 14, 2, 14, 2).mean(axis=(3, 5), dtype=np.float32) / 255
    X = np.concatenate([images[..., ::2], images[..., 1::2]], axis=2).reshape(len(images), 20, -1)
    _, group = np.unique(f["alphabet"], return_inverse=True)
    kept = np.concatenate([np.flatnonzero(group == k)[:12] for k in range(group.max() + 1)])
    return Sample(X[kept], group[kept]) if by_alphabet else Sample(X, group)


@cache
def clinc150() -> Sample:
    """Return twenty sentences of each intent, with its domain."""
    data, domain = _data.clinc150(), _data._read("clinc150/clinc150_text.npz")["domain"]
    return Sample(np.stack([data.X[data.y == k][:ROWS] for k in range(150)]), domain)


def drawing(kind: str) -> Callable[[np.random.Generator, int], Sample]:
    """Return what draws classes of a kind of population."""
    return {
        "isotropic": lambda *args: isotropic(*args),
        "nested": lambda *args: nested(*args),
        "omniglot": lambda *args: some_classes(omniglot(False), *args),
        "omniglot alphabets": lambda *args: some_groups(omniglot(True), *args),
        "clinc150": lambda *args: some_classes(clinc150(), *args),
        "clinc150 domains": lambda *args: some_groups(clinc150(), *args),
    }[kind]


def score_halves(sample: Sample, **params: Any) -> EpisodicComparison:
    """Score nearest class means on the first and on the second half of the features."""
    n_classes, n_rows, n_features = sample.X.shape
    X, y = sample.X.reshape(-1, n_features), np.repeat(np.arange(n_classes), n_rows)
    halves = {"first": X[:, : n_features // 2], "second": X[:, n_features // 2 :]}
    scored = {
        name: episodic_score(FewShotClassifier(), part, y, **EPISODES | params)
        for name, part in halves.items()
    }
    return EpisodicComparison(scored)


def over_classes(kind: str, n_classes: int, n_way: Any, repeats: int) -> dict[str, Any]:
    """Draw classes, and see what intervals over them cover and how often a verdict is given."""
    found: dict[str, list[Interval]] = {}
    here, elsewhere, other_groups = [], [], []
    draw, rng = drawing(kind), np.random.default_rng(0)
    for _ in range(repeats):
        sample = draw(rng, n_classes)
        comparison = score_halves(sample, n_way=n_way, random_state=int(rng.integers(2**31)))
        for name, interval in intervals_of(comparison, sample.group):
            found.setdefault(name, []).append(interval)
        here.append("on these classes" in comparison.verdict)
        elsewhere.append("and on others" in comparison.verdict)
        grouped = replace(comparison, class_groups=sample.group).verdict
        other_groups.append("and on those" in grouped)
    return {
        "accuracy": mean_of(found["classes"]),
        "difference": mean_of(found["difference, classes"]),
        "repeats": repeats,
        **{name: coverage(part, mean_of(part)) for name, part in found.items()},
        "verdicts on these classes": round(float(np.mean(here)), 4),
        "verdicts on others": round(float(np.mean(elsewhere)), 4),
        "verdicts on other groups": round(float(np.mean(other_groups)), 4),
    }


def intervals_of(
    comparison: EpisodicComparison, group: np.ndarray
) -> Iterator[tuple[str, Interval]]:
    """Yield intervals for other classes, of a score and of a difference."""
    result = comparison.results["first"]
    yield "episodes", result.interval_over()
    yield "recalls", recall_interval(result)
    yield "classes", result.interval_over("classes")
    yield "bootstrap", result.interval_over("classes", method="bootstrap")
    yield "difference, episodes", comparison.difference("second")
    yield "difference, classes", comparison.difference("second", over="classes")
    if len(np.unique(group)) < len(group):
        yield "groups", result.interval_over("classes", class_groups=group)
        grouped = replace(comparison, class_groups=group)
        yield "difference, groups", grouped.difference("second", over="classes")


def recall_interval(result: EpisodicResult) -> Interval:
    """Return Student's interval of the recalls, as if they were independent."""
    recall = result.recall()
    return t_interval(recall[~np.isnan(recall)], "classes")


def mean_of(intervals: list[Interval]) -> float:
    """Return the mean of the means: the truth, of so many samples."""
    return round(float(np.mean([interval.mean for interval in intervals])), 5)


def coverage(intervals: list[Interval], truth: float) -> list[float]:
    """Return the share of intervals that have the truth, and their mean half-width."""
    covered = [interval.low <= truth <= interval.high for interval in intervals]
    return [
        round(float(np.mean(covered)), 4),
        round(float(np.mean([interval.half_width for interval in intervals])), 5),
    ]


def over_episodes(spread: float, repeats: int) -> dict[str, Any]:
    """Draw episodes of given classes, and see what intervals over them cover."""
    rng = np.random.default_rng(0)
    result: dict[str, Any] = {"accuracy": [], "repeats": repeats}
    found: dict[str, list[bool]] = {}
    for _ in range(8):
        pool = score_halves(isotropic(rng, 20, spread), n_way=5, n_episodes=POOL)
        one, other = (pool.results[name].scores for name in ("first", "second"))
        result["accuracy"].append(round(float(one.mean()), 4))
        for n_episodes in N_EPISODES:
            for _ in range(repeats // 8):
                kept = rng.integers(POOL, size=n_episodes)
                part = EpisodicResult(one[kept], 5, 1, 10, "accuracy")
                for method in ("auto", "t", "bootstrap"):
                    interval = part.interval_over(method=method, n_resamples=500)
                    covered = interval.low <= one.mean() <= interval.high
                    found.setdefault(f"{n_episodes} {method}", []).append(covered)
                interval = t_interval((one - other)[kept], "episodes, paired")
                covered = interval.low <= (one - other).mean() <= interval.high
                found.setdefault(f"{n_episodes} difference", []).append(covered)
    return result | {name: round(float(np.mean(part)), 4) for name, part in found.items()}


def over_splits(repeats: int) -> dict[str, Any]:
    """Draw classes, split them ten times, train, and see what intervals over splits cover."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Interval]] = {"corrected": [], "plain": []}
    found |= {"difference, corrected": [], "difference, plain": []}
    for _ in range(repeats):
        sample = isotropic(rng, N_CLASSES, 1.5)
        y = np.repeat(np.arange(N_CLASSES), ROWS)
        learner = ProtoNetClassifier(max_epochs=0, calibrate=False, random_state=0)
        params = EPISODES | {"n_episodes": 50, "random_state": int(rng.integers(2**31))}
        first, second = (
            episodic_cross_validate(learner, part.reshape(len(y), -1), y, **params)
            for part in np.split(sample.X, 2, axis=2)
        )
        scores = first.scores.mean(axis=1)
        differences = scores - second.scores.mean(axis=1)
        found["corrected"].append(first.interval_over())
        found["plain"].append(t_interval(scores, "splits"))
        found["difference, corrected"].append(first.difference(second))
        found["difference, plain"].append(t_interval(differences, "splits"))
    return {
        "accuracy": mean_of(found["plain"]),
        "repeats": repeats,
        **{name: coverage(part, mean_of(part)) for name, part in found.items()},
    }


def write() -> None:
    """Write the tables of everything measured so far."""
    used = STUDY.find("classes") + STUDY.find("episodes") + STUDY.find("splits")
    loads = [run["load_before"] for run in used]
    write_page(
        "coverage",
        "What intervals cover",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Nominal is 95 %. Coverages of 400 repeats have a standard error of one point, of 100 "
        "repeats of two.",
        "\n\n".join([classes_table(), episodes_table(), splits_table()]),
        "python -m benchmarks.coverage --threads 1",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


def classes_table() -> str:
    """Lay out what intervals cover where classes are drawn."""
    header = ["population", "classes", "way", "accuracy", "over classes", "over groups"]
    header += ["bootstrap, classes", "t of recalls", "over episodes"]
    header += ["difference, classes", "difference, groups"]
    rows, verdicts = [], []
    for kind, n_classes, n_way in SAMPLED:
        run = STUDY.get("classes", kind, n_classes, n_way)
        if run is None:
            continue
        cells = [kind, str(n_classes), str(n_way), f"{100 * run['accuracy']:.1f}"]
        rows.append(
            cells
            + [width_text(run.get(name)) for name in ("classes", "groups", "bootstrap", "recalls")]
            + [width_text(run["episodes"])]
            + [width_text(run.get(f"difference, {name}")) for name in ("classes", "groups")]
        )
        if kind in ("isotropic", "nested"):
            given = (run["verdicts on these classes"], run["verdicts on others"])
            shares = [*cells, *(f"{100 * share:.1f}" for share in given)]
            of_groups = run.get("verdicts on other groups")
            shares.append("" if kind == "isotropic" else f"{100 * of_groups:.1f}")
            verdicts.append(shares)
    return (
        "## Over classes\n\n"
        "Share of the data sets, in %, whose interval has the accuracy on other classes of the "
        "population (in brackets the mean half-width, in points). *Over classes* is "
        '`interval_over("classes")`, *over groups* the same with `class_groups`, *t of recalls* '
        "Student's t of the recalls as if they were independent. An interval over episodes does "
        "not speak of other classes; it is here to show how far off it is. Classes of one "
        "alphabet, domain or family are drawn together: then the interval over classes is "
        "conditional on these families, and `class_groups` gives the one for others. With five "
        "classes nobody can know how often two classes are hard to tell apart: near an accuracy "
        "of 1 such an interval covers less.\n\n"
        + markdown_table(header, rows)
        + "\n\n## Verdicts\n\n"
        "Share of the data sets, in %, for which one of two methods that are equally good in the "
        "population is called better. On the classes at hand one of them *is* better, and enough "
        "episodes show it; the verdict on others should be wrong in at most 5 %. Of families "
        "it is conditional on them, without `class_groups`.\n\n"
        + markdown_table([*header[:4], *SENTENCES], verdicts)
    )


def width_text(covered: list[float] | None) -> str:
    """Return coverage and half-width."""
    return "" if covered is None else f"{100 * covered[0]:.1f} ({100 * covered[1]:.1f})"


def episodes_table() -> str:
    """Lay out what intervals cover where episodes are drawn."""
    header = ["accuracy", "episodes", "`interval`", "Student's t", "bootstrap", "paired difference"]
    rows = []
    for spread in SPREADS:
        run = STUDY.get("episodes", int(spread))
        if run is None:
            continue
        mean = f"{100 * np.mean(run['accuracy']):.1f}"
        rows += [
            [mean, str(n)]
            + [f"{100 * run[f'{n} {it}']:.1f}" for it in ("auto", "t", "bootstrap", "difference")]
            for n in N_EPISODES
        ]
    return (
        "## Over episodes\n\n"
        "Share of the samples, in %, whose interval has the mean of 10,000 episodes of the same 20 "
        "isotropic classes: eight such data sets for each row.\n\n" + markdown_table(header, rows)
    )


def splits_table() -> str:
    """Lay out what intervals cover where classes are drawn and split."""
    run = STUDY.get("splits", "isotropic")
    header = [
        "accuracy",
        "score",
        "difference",
        "score, not corrected",
        "difference, not corrected",
    ]
    names = ("corrected", "difference, corrected", "plain", "difference, plain")
    rows = []
    if run is not None:
        rows = [[f"{100 * run['accuracy']:.1f}", *(width_text(run[name]) for name in names)]]
    return (
        "## Over class splits\n\n"
        "Share of the data sets of 26 isotropic classes, in %, whose interval over ten random "
        "splits (six test classes; `ProtoNetClassifier(max_epochs=0)`, which learns from the base "
        "classes in closed form) has the accuracy on other classes of the population.\n\n"
        + markdown_table(header, rows)
    )


if __name__ == "__main__":
    main()
