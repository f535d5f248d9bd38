"""The letter model that comes with the package: how it was trained, and what it reads.

A `ProtoNetClassifier` with a small network (`backbone="conv4_32"`) is meta-trained on the printed
letters of `make_glyphs` but the Georgian ones, support and queries never in the same typeface. The
epoch and the calibration come from held-out letters of the same scripts. Then it is scored, without
further training, on scripts and hands that it has not seen: Georgian in print, again across
typefaces; characters of the test classes of Omniglot and letters of Qazaq, drawn by hand. 600
episodes each, on which the nearest neighbour of the pixels is scored too.

    python -m benchmarks.pretrained
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

from sklearn_fewshot import ProtoNetClassifier, load_pretrained, save_model
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score
from sklearn_fewshot.persistence._pretrained import MODELS

from . import _data
from ._report import Study, markdown_table, write_page

STUDY = Study("pretrained")
NEW_SCRIPT = "Georgian"
MODEL = MODELS / "glyphs.skops"
SETTINGS = [(5, 1), (5, 5), (20, 1), (20, 5)]


def main() -> None:
    """Train, unless it is done, score and write the page."""
    torch.set_num_threads(1)
    STUDY.remember("training", compute=train)
    learner = load_pretrained("glyphs")
    for name in ("georgian", "omniglot", "qazaq"):
        STUDY.remember(name, compute=lambda name=name: score(learner, *unseen(name)))
    write()


def train() -> dict[str, Any]:
    """Train the model and write its file into the package."""
    glyphs = make_glyphs(random_state=0)
    base = glyphs.script != NEW_SCRIPT
    learner = ProtoNetClassifier(
        backbone="conv4_32",
        n_shot=1,
        n_query=5,
        max_epochs=100,
        patience=None,
        lr=3e-3,
        augment="affine",
        random_state=0,
        verbose=1,
    )
    start = time.process_time()
    learner.fit(glyphs.images[base], glyphs.target[base], groups=glyphs.face[base])
    seconds = time.process_time() - start
    MODELS.mkdir(exist_ok=True)
    save_model(learner.set_params(verbose=0), MODEL)
    return {
        "n_classes": len(learner.classes_),
        "seconds": round(seconds),
        "best_epoch": learner.best_epoch_,
        "kilobytes": round(MODEL.stat().st_size / 1000),
    }


def unseen(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return images, labels and groups of a script that was not trained on."""
    if name == "georgian":
        glyphs = make_glyphs(random_state=0)
        rows = glyphs.script == NEW_SCRIPT
        return glyphs.images[rows], glyphs.target[rows], glyphs.face[rows]
    if name == "qazaq":
        data = _data.qazaq()
        return data.X, data.y, None
    X, y = _data.omniglot(2)
    return X, y, None


def score(
    learner: Any, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None
) -> dict[str, list[float]]:
    """Return mean and half width in %, of the learner and of the nearest neighbour."""
    settings = [
        EpisodeSplit(600, n_way=n_way, n_shot=n_shot, n_query=5) for n_way, n_shot in SETTINGS
    ]
    rows = {"model": (learner, X), "pixels": (KNeighborsClassifier(1), X.reshape(len(X), -1))}
    return {
        f"{who} {n_way}-way {n_shot}-shot": [100 * result.mean, 100 * result.half_width]
        for who, (it, samples) in rows.items()
        for (n_way, n_shot), result in zip(
            SETTINGS,
            episodic_score(it, samples, y, episodes=settings, groups=groups),
            strict=True,
        )
    }


def write() -> None:
    """Write the page."""
    training = STUDY.get("training")
    assert training is not None
    words = {
        "georgian": "Georgian, print",
        "omniglot": "Omniglot, test characters",
        "qazaq": "Qazaq, drawn",
    }
    rows = []
    for name, text in words.items():
        result = STUDY.get(name)
        assert result is not None
        for who, label in (
            ("model", "**pretrained**"),
            ("pixels", "1-nearest neighbour of pixels"),
        ):
            cells = [result[f"{who} {n_way}-way {n_shot}-shot"] for n_way, n_shot in SETTINGS]
            rows.append([text, label, *(f"{mean:.1f} ± {half:.1f}" for mean, half in cells)])
    write_page(
        "pretrained",
        "Pretrained letters",
        " ".join(__doc__.split("\n\n")[1].split()),
        markdown_table(["images", "", *(f"{a}-way {b}-shot, %" for a, b in SETTINGS)], rows),
        "python -m benchmarks.pretrained",
        f"Machine: {training['machine']}. {training['n_classes']:,} letters, best epoch "
        f"{training['best_epoch']}, {training['seconds']} s of one thread; the file has "
        f"{training['kilobytes']} kB. Intervals are over episodes.",
    )


if __name__ == "__main__":
    main()
