"""
Evaluation on a dask cluster
============================

Under joblib's ``parallel_config("dask")`` the episodes of an evaluation, and the trainings of a
cross-validation, go to the workers of a dask cluster. The scores are the same as in one process.

The cluster here is two processes of this machine. For other machines, give ``Client`` the address
of their scheduler; its workers need this package, too. A task as small as this one is faster
without a cluster, which pays for many training runs, or baselines fitted on many support sets.

dask is optional: ``pip install distributed``, or ``pip install '.[dask]'`` in the clone.
"""

import sys
import time

try:
    from distributed import Client, LocalCluster
except ImportError:
    sys.exit("This example runs on dask, which is not installed: pip install distributed")

import joblib
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.model_selection import (
    ClassShuffleSplit,
    episodic_cross_validate,
    episodic_score,
)


def evaluate(X, y):
    """Score a baseline over many episodes, and a learner that is trained on each class split."""
    start = time.perf_counter()
    baseline = episodic_score(KNeighborsClassifier(1), X, y, n_episodes=300)
    learner = ProtoNetClassifier(n_way=20, episodes_per_epoch=20, max_epochs=2, refit=False)
    cv = ClassShuffleSplit(2, test_size=10, random_state=0)
    learned = episodic_cross_validate(learner, X, y, cv=cv, n_episodes=100)
    print(f"    nearest neighbour  {baseline}")
    print(f"    ProtoNet           {learned}")
    print(f"    {time.perf_counter() - start:.1f} s\n")
    return np.concatenate([baseline.scores, *(row[0].scores for row in learned.results)])


# Worker processes import this file: only the first process may start the cluster.
if __name__ == "__main__":
    glyphs = make_glyphs(scripts="Georgian", size=16, n_per_class=20, random_state=0)
    X, y = glyphs.images.reshape(len(glyphs.images), -1) / np.float32(255), glyphs.target

    print("In this process:")
    serial = evaluate(X, y)

    print("On the cluster:")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        parallel = evaluate(X, y)  # without n_jobs: all workers

    assert np.array_equal(serial, parallel), "The numbers differ."
    print(f"All {len(serial)} scores of episodes are the same.")
