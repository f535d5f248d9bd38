"""Division of the work on episodes: pieces, processes, progress, warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from ..episodes import EpisodePlan
from ..network import FittedNetwork
from ..utils._progress import progress

ROUNDS = 20  # of parallel work, after each of which progress is shown
# A warning of scikit-learn on few samples with many classes, as episodes are by design.
MANY_CLASSES = "The number of unique classes is greater than 50%"

T = TypeVar("T", covariant=True)


class Worker(Protocol[T]):
    """Makes something of the episodes of a plan; goes to other processes as a whole."""

    @property
    def estimator(self) -> Any:
        """What adapts or fits."""
        ...

    def __call__(self, plan: EpisodePlan) -> T:
        """Return what is made of the episodes."""
        ...


class Piece(NamedTuple):
    """Some queries of some episodes: the unit of work."""

    episodes: slice
    queries: slice
    plan: EpisodePlan


def work_on(
    worker: Worker[T], parts: list[list[EpisodePlan]], n_jobs: int | None, verbose: bool
) -> list[list[T]]:
    """Return the worker's results for lists of plans, in order, in parallel by ``n_jobs``."""
    with each_warning_once():
        done = iter(
            list(_iterate(worker, [plan for part in parts for plan in part], n_jobs, verbose))
        )
    return [[next(done) for _ in part] for part in parts]


def _iterate(
    worker: Worker[T], plans: list[EpisodePlan], n_jobs: int | None, verbose: bool
) -> Iterator[T]:
    n_workers = effective_n_jobs(n_jobs)
    expected = _expected_time(worker, plans) if verbose else ""
    with progress(_n_queries(plans), "query", verbose, desc=expected) as add:
        if n_workers == 1 or len(plans) == 1:
            for plan in plans:
                yield worker(plan)
                add(_n_queries([plan]))
            return
        n_rounds = ROUNDS if verbose else 1
        with Parallel(n_jobs=n_jobs) as parallel:
            for some in _in_runs(plans, n_rounds):
                runs = _in_runs(some, 4 * n_workers)
                for results in parallel(delayed(_work_on_all)(worker, run) for run in runs):
                    yield from results
                add(_n_queries(some))


def _expected_time(worker: Worker[Any], plans: list[EpisodePlan]) -> str:
    """Say how long adapting to all support sets will take, going by one, if that is costly."""
    network = worker.estimator
    if not isinstance(network, FittedNetwork) or not network.module.is_costly:
        return ""
    start = time.perf_counter()
    worker(plans[0].take(slice(0, 1)))
    seconds = (time.perf_counter() - start) * sum(plan.n_episodes for plan in plans)
    return f"at most {seconds:.0f} s"


def _n_queries(plans: list[EpisodePlan]) -> int:
    return sum(int(np.count_nonzero(plan.query >= 0)) for plan in plans)


def _work_on_all(worker: Worker[T], plans: list[EpisodePlan]) -> list[T]:
    with each_warning_once():
        return [worker(plan) for plan in plans]


def _in_runs(plans: list[EpisodePlan], n_runs: int) -> list[list[EpisodePlan]]:
    """Cut a list into about equally long runs, none of them empty."""
    step = -(-len(plans) // n_runs)
    return [plans[start : start + step] for start in range(0, len(plans), step)]


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Collect warnings; then issue one per line of code, under the filters of the caller."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    kept = [w for w in caught if not str(w.message).startswith(MANY_CLASSES)]
    firsts = {(w.category, w.filename, w.lineno): w for w in reversed(kept)}
    for place, warning in firsts.items():
        warnings.warn_explicit(warning.message, *place)
