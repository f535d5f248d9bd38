"""Tensors of torch as data, under scikit-learn's array API dispatch too."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

FIT = """
import numpy as np, sklearn, torch
from sklearn_fewshot import ProtoNetClassifier, adapt
from sklearn_fewshot.model_selection import episodic_score
rng = np.random.default_rng(0)
y = np.repeat(np.arange(8), 6)
X = 3 * rng.normal(size=(8, 4))[y] + rng.normal(size=(48, 4))
data, labels = torch.tensor(X), torch.tensor(y)
options = dict(max_epochs=1, episodes_per_epoch=3, n_query=2, n_way=3, random_state=0, verbose=0)
learner = ProtoNetClassifier(**options, validation_fraction=0.0).fit(X[y < 6], y[y < 6])
expected = adapt(learner, X[y > 5], y[y > 5]).predict(X)
with sklearn.config_context(array_api_dispatch=True):
    learner = ProtoNetClassifier(**options, validation_fraction=0.0)
    learner.fit(data[labels < 6], labels[labels < 6])
    classifier = adapt(learner, data[labels > 5], labels[labels > 5])
    predicted = classifier.predict(data)
    assert type(predicted) is np.ndarray, type(predicted)
    np.testing.assert_array_equal(predicted, expected)
    assert isinstance(classifier.score(data[labels > 5], labels[labels > 5]), float)
    assert type(learner.transform(data)) is np.ndarray
    classifier.partial_fit(data[:3], labels[:3]).drop_classes([0])
"""


def test_tensors_are_samples_under_array_api_dispatch():
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FIT], env=environment, capture_output=True, text=True
    )
    if "array_api_compat is required" in done.stderr:
        pytest.skip("this scikit-learn needs another package for the dispatch")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_are_samples(make_learner, table, dtype):
    learner = make_learner().fit(table.X, table.y)
    queries = torch.tensor(table.X_new, dtype=dtype)
    np.testing.assert_array_equal(learner.predict(queries), learner.predict(table.X_new))
