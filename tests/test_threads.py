"""Searches in several processes: together they use as many threads as there are cores."""

import joblib
from sklearn.model_selection import GridSearchCV

from sklearn_fewshot.model_selection import ClassKFold


def test_searches_in_processes_do_not_use_more_threads_than_cores(make_learner, table):
    def n_threads(learner, X, y):  # by value, into the other processes
        import threadpoolctl
        import torch

        pools = threadpoolctl.threadpool_info()
        return max([torch.get_num_threads(), *(pool["num_threads"] for pool in pools)])

    search = GridSearchCV(
        make_learner(max_epochs=1),
        {"n_shot": [1, 2]},
        scoring=n_threads,
        cv=ClassKFold(2),
        n_jobs=2,
        refit=False,
        error_score="raise",
    )
    results = search.fit(table.X, table.y).cv_results_
    most = max(1, joblib.cpu_count() // 2)
    assert all((results[f"split{k}_test_score"] <= most).all() for k in range(2))
