"""Type checkers see what users call: results have types, and slips in calls are found."""

import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_fewshot
from sklearn_fewshot.base import BaseFewShotLearner

PACKAGE_FOLDER = Path(__file__).parents[1]
SOUND = """
from pathlib import Path
from typing import Any, Unpack, assert_type

import numpy as np
import torch

import sklearn_fewshot as sf
from sklearn_fewshot import FewShotClassifier, ProtoNetClassifier, adapt, load_model, save_model
from sklearn_fewshot.base import BaseFewShotLearner, CommonParameters, with_common_parameters
from sklearn_fewshot.model_selection import EpisodeSplit, EpisodicResult, episodic_score

X, y = np.zeros((4, 2)), np.array([0, 0, 1, 1])
learner = assert_type(ProtoNetClassifier(random_state=0).fit(X, y), ProtoNetClassifier)
classifier = assert_type(learner.adapt(X, y), FewShotClassifier)
assert_type(adapt(learner, X, y), FewShotClassifier)
assert_type(classifier.partial_fit(X, y).drop_classes([0]), FewShotClassifier)
assert_type(classifier.predict_proba(X), np.ndarray)
result = assert_type(episodic_score(learner, X, y, n_way=2), EpisodicResult)
assert_type(result.mean, float)
assert_type(episodic_score(learner, X, y, episodes=[EpisodeSplit(3)]), list[EpisodicResult])
save_model(learner, Path("learner.skops"))
assert_type(load_model("learner.skops", trusted=["a.b"]), Any)

ProtoNetClassifier(metric=torch.cdist, backbone=torch.nn.Linear(2, 2), n_shot=3, n_way="all")
ProtoNetClassifier(metric="cosine", backbone=torch.nn.Flatten, n_shot=(1, 5), scale=2)
ProtoNetClassifier(optimizer=torch.optim.AdamW, lr_schedule=lambda progress: 1 - progress)
ProtoNetClassifier(validation_classes=["a", "b"], random_state=np.random.RandomState(0))
ProtoNetClassifier(compile=True, device=torch.device("cpu"), checkpoint=Path("folder"))


class LogMixin:
    def log(self) -> str:
        return type(self).__name__


class LoggedProtoNet(LogMixin, ProtoNetClassifier):
    pass


@with_common_parameters(n_way=20)
class OwnNet(LogMixin, BaseFewShotLearner):
    def __init__(self, *, head: int = 1, **common: Unpack[CommonParameters]) -> None:
        self.head = head
        super().__init__(**common)


assert_type(LoggedProtoNet(n_way=5, metric="cosine").fit(X, y).adapt(X, y), FewShotClassifier)
zero_shot = sf.ZeroShotProtoNetClassifier(seen_bias=0).fit(X, y, class_attributes={0: [1], 1: [2]})
assert_type(zero_shot.adapt(class_attributes=([2], [[3]])), FewShotClassifier)
assert_type(OwnNet(head=2, lr=1e-2).fit(X, y), OwnNet).log()
"""
SLIPS = {
    "learner.adapt(X)": "Missing positional argument",
    "episodic_score(learner, X, y, n_wya=2).mean": "No overload variant",
    "result.means": "has no attribute",
    "save_model(learner)": "Missing positional argument",
    "load_model(5)": "incompatible type",
    "ProtoNetClassifier(n_wya=5)": "Unexpected keyword argument",
    'ProtoNetClassifier(lr="fast")': "incompatible type",
    "ProtoNetClassifier(metric=3)": "incompatible type",
    'ProtoNetClassifier(metric="manhattan")': "incompatible type",
    'ProtoNetClassifier(precision="half")': "incompatible type",
    "ProtoNetClassifier(n_shot=(1, 2, 3))": "incompatible type",
    "LoggedProtoNet(n_wya=5)": "Unexpected keyword argument",
    'OwnNet(n_way="most")': "incompatible type",
    "zero_shot.adapt(X, y)": "Too many positional arguments",
    "OwnNet(n_wya=5)": "Unexpected keyword argument",
    "with_common_parameters(n_wya=5)": "Unexpected keyword argument",
}
LEARNERS = [
    name
    for name in sklearn_fewshot.__all__
    if isinstance(cls := getattr(sklearn_fewshot, name), type)
    and issubclass(cls, BaseFewShotLearner)
]
SLIPS |= {f"sf.{name}(n_wya=5)": "Unexpected keyword argument" for name in LEARNERS}
SLIPS |= {f'sf.{name}(max_epochs="many")': "incompatible type" for name in LEARNERS}


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
