"""Type checkers see what users call: results have types, and slips in calls are found."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE_FOLDER = Path(__file__).parents[1]
SOUND = """
from pathlib import Path
from typing import Any, assert_type

import numpy as np

from sklearn_fewshot import FewShotClassifier, ProtoNetClassifier, adapt, load_model, save_model
from sklearn_fewshot.model_selection import EpisodicResult, episodic_score

X, y = np.zeros((4, 2)), np.array([0, 0, 1, 1])
learner = assert_type(ProtoNetClassifier(random_state=0).fit(X, y), ProtoNetClassifier)
classifier = assert_type(learner.adapt(X, y), FewShotClassifier)
assert_type(adapt(learner, X, y), FewShotClassifier)
assert_type(classifier.partial_fit(X, y).drop_classes([0]), FewShotClassifier)
assert_type(classifier.predict_proba(X), np.ndarray)
result = assert_type(episodic_score(learner, X, y, n_way=2), EpisodicResult)
assert_type(result.mean, float)
assert_type(episodic_score(learner, X, y, episodes=[None]), list[EpisodicResult])
save_model(learner, Path("learner.skops"))
assert_type(load_model("learner.skops", trusted=["a.b"]), Any)
"""
SLIPS = {
    "learner.adapt(X)": "Missing positional argument",
    "episodic_score(learner, X, y, n_wya=2).mean": "No overload variant",
    "result.means": "has no attribute",
    "save_model(learner)": "Missing positional argument",
    "load_model(5)": "incompatible type",
}


def check(folder, text):
    """Run mypy on a user's file, for whom the package is installed: its inside is not reported."""
    pytest.importorskip("mypy")
    (folder / "user.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "user.py"]
    command += ["--config-file=", "--cache-dir", folder / "cache"]
    return subprocess.run(
        command,
        cwd=folder,
        env={"MYPYPATH": str(PACKAGE_FOLDER)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_results_have_types_and_slips_are_found(tmp_path):
    n_sound = len(SOUND.splitlines())
    done = check(tmp_path, SOUND + "\n".join(SLIPS) + "\n")
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    unexpected = [line for line in errors if int(line.split(":")[1]) <= n_sound]
    assert unexpected == [], done.stdout + done.stderr
    for number, words in enumerate(SLIPS.values(), start=n_sound + 1):
        here = [line for line in errors if line.startswith(f"user.py:{number}:")]
        assert any(words in line for line in here), done.stdout
