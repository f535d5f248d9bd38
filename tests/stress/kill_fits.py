"""Kill fits at random moments, fit again, and compare with fits that nobody disturbed.

    python -m tests.stress.kill_fits 20 --seed 0

A fit is killed (SIGKILL) once to three times in a row, at any time or while it saves, and then left
to end. It is lost if it does not end, or if the learner differs in a single bit from that of an
undisturbed fit. The exit status says whether any was.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from sklearn_fewshot import (
    BaselineClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
)
from sklearn_fewshot.training._fingerprint import fingerprint

BUDGET = {"n_way": 6, "episodes_per_epoch": 8, "max_epochs": 6, "refit": True, "random_state": 0}
LEARNERS = [
    ProtoNetClassifier(**BUDGET),
    BaselineClassifier(batch_size=48, **BUDGET),
    SiameseNetClassifier(optimizer="sgd", net_params={"optimizer__momentum": 0.9}, **BUDGET),
    RelationNetClassifier(patience=2, **BUDGET),
    ZeroShotProtoNetClassifier(**BUDGET),
]
LONGEST_FIT = 120.0  # seconds
MOST_SAVES = 8  # after which a fit is killed


def data():
    """Return twelve noisy classes of vectors."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(12), 10)
    return rng.normal(size=(12, 6))[y] + rng.normal(size=(120, 6)), y


def result_of(learner, X):
    """Name everything about a fitted learner that another may not differ in."""
    rows = [{k: v for k, v in row.items() if k != "duration"} for row in learner.history_]
    return fingerprint(
        dict(learner.module_.state_dict()),
        learner.representation_,
        learner._network.calibration,
        learner.best_epoch_,
        rows,
        learner.predict_proba(X),
    )


def begun(learner, folder, answer):
    """Fit in a process of its own, which writes its result to a file; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        warnings.filterwarnings("ignore", "Training brought")  # so small a one may bring nothing
        X, y = data()
        learner.set_params(checkpoint=folder).fit(X, y)
        result = answer.with_suffix(".new")
        result.write_text(result_of(learner, X))
        result.replace(answer)
        os._exit(0)
    except BaseException as error:
        print(f"{type(learner).__name__}: {error!r}", file=sys.stderr)
        os._exit(1)


def ended(child, seconds=0.0):
    """Wait for a process at most so long; whether it has ended by then."""
    stop = time.perf_counter() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.perf_counter() >= stop:
            return False
        time.sleep(0.001)
    return True


def undisturbed(learner, folder):
    """Return result and duration of a fit without a checkpoint."""
    answer, start = folder / "answer", time.perf_counter()
    if not ended(begun(learner, None, answer), LONGEST_FIT) or not answer.exists():
        raise SystemExit(f"{type(learner).__name__} does not even fit undisturbed.")
    return answer.read_text(), time.perf_counter() - start


def wait_for_save(child, folder, number):
    """Wait until a fit is about to replace its file for so many times; whether it ended instead."""
    for left_by_another in folder.glob("*.part"):
        left_by_another.unlink()
    for left in reversed(range(number)):
        while not has_part(folder):
            if ended(child):
                return True
        while left and has_part(folder):
            pass
    return False


def has_part(folder):
    """Whether there is a file that is being written."""
    return any(name.endswith(".part") for name in os.listdir(folder))


def wait_for_moment(child, folder, duration, rng):
    """Wait until any time, or until any moment of a save; whether the fit ended before."""
    if rng.random() < 0.5:
        return ended(child, rng.uniform(0.0, duration))
    has_ended = wait_for_save(child, folder, int(rng.integers(1, MOST_SAVES)))
    time.sleep(rng.choice([0.0, 0.001, 0.002]))
    return has_ended or ended(child)


def kill_some(learner, duration, folder, n_kills, rng):
    """Begin and kill a fit so many times; returns kills, and how many left a file half written."""
    n_killed = n_saving = 0
    for _ in range(n_kills):
        child = begun(learner, folder, folder / "answer")
        if wait_for_moment(child, folder, duration, rng):
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        n_killed += 1
        n_saving += has_part(folder)
    return n_killed, n_saving


def outcome(learner, expected, folder):
    """Let the fit end; returns what is wrong with it, if anything."""
    answer = folder / "answer"
    if not answer.exists():
        child = begun(learner, folder, answer)
        if not ended(child, LONGEST_FIT):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not answer.exists():
        return "did not end"
    if answer.read_text() != expected:
        return "ended otherwise"
    left = [path.name for path in folder.iterdir() if path.stem != "answer"]
    return f"left {left}" if left else ""


def one_fit(learner, known, folder, n_wanted, rng):
    """Kill a fit some times and let it end.

    Returns kills, those while saving, 1 for the fit, whether it could resume; and what is wrong.
    """
    name = type(learner).__name__
    if name not in known:
        known[name] = undisturbed(learner, folder)
        (folder / "answer").unlink()
    expected, duration = known[name]
    n_killed, n_saving = kill_some(learner, duration, folder, n_wanted, rng)
    can_resume = any(folder.glob("*.ckpt"))
    return (n_killed, n_saving, 1, can_resume), outcome(learner, expected, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("n_kills", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    tried, lost, known = np.zeros(4, dtype=int), [], {}
    while tried[0] < options.n_kills:
        learner = LEARNERS[tried[2] % len(LEARNERS)]
        with tempfile.TemporaryDirectory() as folder:
            n_wanted = min(int(rng.integers(1, 4)), options.n_kills - tried[0])
            counted, wrong = one_fit(learner, known, Path(folder), n_wanted, rng)
        tried += counted
        if wrong:
            lost.append(f"{type(learner).__name__}, fit {tried[2]}: {wrong}")
    n_kills, n_saving, n_fits, n_resumed = tried
    print(
        f"{n_kills} kills, {n_saving} of them while saving, in {n_fits} fits, of which {n_resumed} "
        f"had a state to go on from (seed {options.seed}): {len(lost)} lost"
    )
    print(*lost, sep="\n", end="\n" if lost else "")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
