"""Texts: which vectors of sentences tell new intents apart that no training sentence was of.

Sentences of clinc150, 30 of its 150 intents new, in random class splits. *TF-IDF and SVD* are
fitted on the sentences of the base intents, so a word that only new intents use means nothing to
them. *Hashed words* (`HashingVectorizer`) are fitted on nothing: every word has its column. The
*sentence encoder* is MiniLM, 384 numbers per sentence. Before each of them stands the same
`ProtoNetClassifier`, and a logistic regression that is fitted on the support set only; the last row
fits TF-IDF on the support set, too.

    python -m benchmarks.texts [--splits 3]
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import ClassShuffleSplit, episodic_score

from ._data import clinc150, clinc150_texts
from ._report import Study, markdown_table, write_page

STUDY = Study("texts")
N_NEW = 30
SHOTS = (1, 5, 10)
EPISODES = {"n_way": 5, "n_query": 15, "n_episodes": 200}
VECTORS = ("TF-IDF and SVD", "hashed words", "sentence encoder")
ALONE = "TF-IDF of the support set"


def main() -> None:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for split in range(args.splits):
        STUDY.remember("clinc150", split, compute=partial(run, split))
    write()


def run(split: int) -> dict[str, Any]:
    """Score every kind of vector on one class split."""
    texts, y = clinc150_texts()
    base, new = next(ClassShuffleSplit(1, test_size=N_NEW, random_state=split).split(texts, y))
    result: dict[str, Any] = {}
    for name, X in vectors(texts, base).items():
        learner = ProtoNetClassifier(random_state=split).fit(X[base], y[base])
        for method, estimator in (("ProtoNet", learner), ("logistic", logistic())):
            result |= score(f"{name} {method}", estimator, X[new], y[new], split)
    alone = make_pipeline(TfidfVectorizer(), logistic())
    result |= score(f"{ALONE} logistic", alone, texts[new], y[new], split)
    print(split, {key: round(value, 1) for key, value in result.items()}, flush=True)
    return result


def vectors(texts: np.ndarray, base: np.ndarray) -> dict[str, np.ndarray]:
    """Return each kind of vector of all sentences; what is fitted is fitted on base classes."""
    words = make_pipeline(TfidfVectorizer(), TruncatedSVD(128, random_state=0)).fit(texts[base])
    hashed = HashingVectorizer(n_features=2**11, alternate_sign=False).transform(texts)
    found = (words.transform(texts), hashed.toarray(), clinc150().X)
    return {name: X.astype(np.float32) for name, X in zip(VECTORS, found, strict=True)}


def logistic() -> LogisticRegression:
    """Return a logistic regression that few examples do not regularise away."""
    return LogisticRegression(C=100, max_iter=1000)


def score(
    name: str, estimator: BaseEstimator, X: np.ndarray, y: np.ndarray, split: int
) -> dict[str, float]:
    """Return the accuracy in % at each number of shots."""
    return {
        f"{n_shot}-shot {name}": 100
        * episodic_score(estimator, X, y, n_shot=n_shot, random_state=split, **EPISODES).mean
        for n_shot in SHOTS
    }


def write() -> None:
    """Write the table of everything measured so far."""
    runs, rows = STUDY.find("clinc150"), []
    kinds = [(name, method) for name in VECTORS for method in ("ProtoNet", "logistic")]
    for name, method in (*kinds, (ALONE, "logistic")):
        cells = []
        for n_shot in SHOTS:
            values = [run[f"{n_shot}-shot {name} {method}"] for run in runs]
            cells.append(f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}")
        rows.append([name, method, *cells])
    loads = [run["load_before"] for run in runs]
    write_page(
        "texts",
        "Texts",
        " ".join(__doc__.split("\n\n")[1].split())
        + f" 5-way accuracy in %, mean and standard deviation over {len(runs)} splits.",
        markdown_table(["vectors", "classifier", *(f"{k}-shot" for k in SHOTS)], rows),
        "python -m benchmarks.texts --threads 1",
        f"Machine: {runs[0]['machine']}. Load average before the runs: {min(loads):.1f} to "
        f"{max(loads):.1f}.",
    )


if __name__ == "__main__":
    main()
