"""Data with few, many or very unequal classes, and columns of all kinds: no worse than raw rows."""

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from sklearn_fewshot import AutoFewShotClassifier, ProtoNetClassifier
from sklearn_fewshot.model_selection import episodic_score

BUDGET = {"n_way": 10, "episodes_per_epoch": 5, "max_epochs": 1, "random_state": 0}
LEARNERS = {
    "ProtoNet": ProtoNetClassifier(**BUDGET),
    "untrained pool": AutoFewShotClassifier(**BUDGET, estimators=["raw", "linear"]),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* training classes of .* too few examples:UserWarning"),
    pytest.mark.filterwarnings("ignore:.* has no validation classes:UserWarning"),
    pytest.mark.filterwarnings("ignore:self.within_class_std_dev_:UserWarning"),  # scikit-learn's
]


def blobs(sizes, n_features=12, distance=1.2):
    """Classes of the given sizes around random means."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(sizes)), sizes)
    means = distance * rng.normal(size=(len(sizes), n_features))
    return (means[y] + rng.normal(size=(len(y), n_features))).astype(np.float32), y


def unit_length():
    X, y = blobs([20] * 35, n_features=32)
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def with_constant_and_equal_columns():
    X, y = blobs([20] * 25)
    return np.hstack([X, X[:, :4], np.ones((len(X), 3), np.float32)]), y


def counts():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(25), 20)
    return rng.poisson(rng.gamma(0.3, 5.0, size=(25, 30))[y]).astype(np.float32), y


def of_very_different_scale():
    X, y = blobs([20] * 25)
    return X * np.logspace(-6, 6, 12).astype(np.float32), y


CASES = {  # samples, labels, and how many classes are base classes
    "two base classes": (*blobs([30] * 7), 2),
    "base classes of 2,000 to 3": (*blobs([2000, 900, 300, 100, 30, 10, 5, 3, *[20] * 5]), 8),
    "a thousand base classes": (*blobs([6] * 1000 + [20] * 8), 1000),
    "constant and equal columns": (*with_constant_and_equal_columns(), 20),
    "unit length": (*unit_length(), 30),
    "counts": (*counts(), 20),
    "very different scales": (*of_very_different_scale(), 20),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LEARNERS)
def test_no_worse_than_the_raw_class_means(name, case):
    X, y, n_base = CASES[case]
    base = y < n_base
    task = {"n_way": 5, "n_shot": 2, "n_query": 5, "n_episodes": 60, "random_state": 0}
    learner = LEARNERS[name].fit(X[base], y[base])
    scores = [
        episodic_score(one, X[~base], y[~base], **task).mean for one in (learner, NearestCentroid())
    ]
    assert scores[0] > scores[1] - 0.04
    proba = learner.adapt(X[~base][::5], y[~base][::5]).predict_proba(X[~base])
    assert np.isfinite(proba).all()
