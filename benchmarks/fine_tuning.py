"""Fine-tuning against meta-learning over 1 to 50 examples per class: where each wins.

5-way episodes of test classes of random class splits, on tables after a StandardScaler. *ProtoNet*
adapts without training. *Fine-tuned baseline* trains the embedding of an ordinary classifier and a
linear layer on the support set of each episode: 100 full-batch steps of Adam at 1e-3, not tuned.
*Logistic regression* is fitted on the support set only.

    python -m benchmarks.fine_tuning [--splits 5]
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_fewshot import BaselineClassifier, ProtoNetClassifier
from sklearn_fewshot.model_selection import episodic_score

from ._report import DOCS, Study, markdown_table, write_page
from .learners import class_split

STUDY = Study("fine_tuning")
DATA = ("letter", "isolet")
SHOTS = (1, 2, 5, 10, 20, 50)
METHODS = ("ProtoNet", "Fine-tuned baseline", "Logistic regression")
EPISODES = {"n_way": 5, "n_query": 15, "n_episodes": 40}


class FineTuned(ClassifierMixin, BaseEstimator):
    """The network of a fitted learner, trained further on the support set with a linear layer."""

    def __init__(self, learner: Any, n_steps: int = 100, lr: float = 1e-3) -> None:
        self.learner = learner
        self.n_steps = n_steps
        self.lr = lr

    def __sklearn_clone__(self) -> FineTuned:
        return FineTuned(self.learner, self.n_steps, self.lr)

    def fit(self, X: np.ndarray, y: np.ndarray) -> FineTuned:
        """Train on all of the support set at once."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        torch.manual_seed(0)
        backbone = copy.deepcopy(self.learner.module_.backbone).requires_grad_(True).train()
        n_features = self.learner.transform(X[:1]).shape[1]
        self.net_ = nn.Sequential(backbone, nn.Linear(n_features, len(self.classes_)))
        optimizer = torch.optim.Adam(self.net_.parameters(), lr=self.lr)
        rows, target = torch.from_numpy(X).float(), torch.from_numpy(codes)
        for _ in range(self.n_steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(self.net_(rows), target).backward()
            optimizer.step()
        self.net_.eval()
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict the class of each query."""
        with torch.inference_mode():
            return self.classes_[self.net_(torch.from_numpy(X).float()).argmax(dim=1).numpy()]


def main() -> None:
    """Run what the command line asks for, write the page and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in DATA:
        for split in range(args.splits):
            STUDY.remember(name, split, compute=partial(run, name, split))
    write()


def run(name: str, split: int) -> dict[str, Any]:
    """Train both learners on one class split and score all methods."""
    (X, y), (X_test, y_test), _ = class_split(name, split)
    scaler = StandardScaler().fit(X)
    X, X_test = (scaler.transform(part).astype(np.float32) for part in (X, X_test))
    proto = ProtoNetClassifier(random_state=split).fit(X, y)
    baseline = BaselineClassifier(random_state=split).fit(X, y)
    methods = (proto, FineTuned(baseline), LogisticRegression(max_iter=1000))
    result: dict[str, Any] = {}
    for n_shot in SHOTS:
        for method, estimator in zip(METHODS, methods, strict=True):
            score = episodic_score(
                estimator, X_test, y_test, n_shot=n_shot, random_state=split, **EPISODES
            )
            result[f"{n_shot}-shot {method}"] = 100 * score.mean
    print(name, split, {key: round(value, 1) for key, value in result.items()}, flush=True)
    return result


def write() -> None:
    """Write the table and draw the curves of everything measured so far."""
    rows, used = [], []
    figure, axes = plt.subplots(1, len(DATA), figsize=(9, 3.8), layout="constrained", sharex=True)
    for axis, name in zip(axes, DATA, strict=True):
        runs = STUDY.find(name)
        used += runs
        for method in METHODS:
            curve = [np.mean([run[f"{k}-shot {method}"] for run in runs]) for k in SHOTS]
            rows.append([f"{name} ({len(runs)})", method, *(f"{value:.1f}" for value in curve)])
            axis.plot(SHOTS, curve, marker="o", label=method)
        axis.set(title=name, xscale="log", xlabel="examples of each class")
        axis.set_xticks(SHOTS, [str(k) for k in SHOTS])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on 5 new classes, %")
    axes[0].legend()
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS / "fine_tuning.png", dpi=120)
    plt.close(figure)
    loads = [run["load_before"] for run in used]
    write_page(
        "fine_tuning",
        "Fine-tuning against meta-learning",
        " ".join(__doc__.split("\n\n")[1].split())
        + " Accuracy in %, mean over the splits.\n\n![Accuracy against the number of examples]"
        "(fine_tuning.png)",
        markdown_table(["data (splits)", "method", *(f"{k}-shot" for k in SHOTS)], rows),
        "python -m benchmarks.fine_tuning --threads 1",
        f"Machine: {used[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


if __name__ == "__main__":
    main()
