"""Prediction is a function of the learner, the support set and the query, and of nothing else."""

import copy
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed

from sklearn_fewshot import FewShotClassifier

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")
N_THREADS, N_CALLS = 8, 160


@pytest.fixture(scope="module")
def any_learner(make_any, table):
    """A learner of each kind. Shared: nobody may refit it."""
    return make_any().fit(table.X, table.y)


@pytest.fixture
def adapted(any_learner, table):
    return any_learner.adapt(table.X_new[:24], table.y_new[:24])


@pytest.fixture
def queries(table):
    return np.concatenate([table.X_new[24:], table.X])


def answers(classifier, X):
    return {method: getattr(classifier, method)(X) for method in METHODS}


def assert_same(got, expected, atol=1e-6):
    for method, values in expected.items():
        if values.dtype.kind == "f":
            # Learned metrics are in float32: processors differ in how they round.
            scale = max(1.0, np.abs(values).max())
            np.testing.assert_allclose(got[method], values, rtol=1e-7, atol=atol * scale)
        else:
            np.testing.assert_array_equal(got[method], values)


def random_states():
    return random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()  # noqa: NPY002


def test_asking_twice_gives_the_same_answers(adapted, queries):
    first = answers(adapted, queries)
    for method, values in answers(adapted, queries).items():
        np.testing.assert_array_equal(values, first[method])


def test_order_and_company_of_queries_do_not_matter(adapted, queries):
    expected = answers(adapted, queries)
    order = np.random.default_rng(0).permutation(len(queries))
    shuffled = answers(adapted, queries[order])
    assert_same({name: values[np.argsort(order)] for name, values in shuffled.items()}, expected)
    for rows in ([0], [5, 3], range(30)):
        some = answers(adapted, queries[list(rows)])
        assert_same(some, {name: values[list(rows)] for name, values in expected.items()})


def test_asking_changes_neither_the_classifier_nor_the_learner(any_learner, adapted, queries):
    before = pickle.dumps((any_learner, adapted))
    answers(adapted, queries)
    any_learner.predict(queries, X_support=queries[:6], y_support=[0, 1, 2] * 2)
    assert pickle.dumps((any_learner, adapted)) == before


def test_asking_leaves_the_random_states_as_they_were(any_learner, table, queries):
    before = random_states()
    answers(any_learner.adapt(table.X_new, table.y_new), queries)
    any_learner.transform(queries)
    for old, new in zip(before, random_states(), strict=True):
        np.testing.assert_equal(new, old)


def test_fitting_leaves_the_random_states_as_they_were(make_any, table):
    before = random_states()
    make_any().fit(table.X, table.y)
    for old, new in zip(before, random_states(), strict=True):
        np.testing.assert_equal(new, old)


def test_threads_share_a_learner_and_do_not_mix_their_support_sets(any_learner, table, queries):
    rng = np.random.default_rng(0)
    names = np.unique(table.y_new)
    tasks = []
    for _ in range(N_CALLS // 4):
        classes = rng.permutation(names)[: rng.integers(2, len(names) + 1)]
        rows = np.flatnonzero(np.isin(table.y_new, classes))
        tasks.append((table.X_new[rows], table.y_new[rows]))
    expected = [any_learner.predict_proba(queries, X_support=X, y_support=y) for X, y in tasks]
    start = threading.Barrier(N_THREADS)

    def ask(thread):
        start.wait(timeout=60)
        order = np.random.default_rng(thread).permutation(len(tasks))[: N_CALLS // N_THREADS]
        for task in order:
            X, y = tasks[task]
            got = any_learner.predict_proba(queries, X_support=X, y_support=y)
            np.testing.assert_allclose(got, expected[task], rtol=1e-7, atol=1e-7)
        return len(order)

    with ThreadPoolExecutor(N_THREADS) as pool:
        assert sum(pool.map(ask, range(N_THREADS))) == N_CALLS


def test_threads_may_ask_one_classifier(adapted, queries):
    expected = answers(adapted, queries)
    with ThreadPoolExecutor(N_THREADS) as pool:
        for got in pool.map(lambda _: answers(adapted, queries), range(2 * N_THREADS)):
            assert_same(got, expected)


def test_a_pickle_gives_the_same_answers(any_learner, adapted, table, queries):
    expected = answers(adapted, queries)
    again = pickle.loads(pickle.dumps(adapted))
    assert_same(answers(again, queries), expected)
    learner = pickle.loads(pickle.dumps(any_learner))
    assert_same(answers(learner.adapt(table.X_new[:24], table.y_new[:24]), queries), expected)


def test_another_process_gives_the_same_answers(adapted, queries):
    expected = answers(adapted, queries)
    (got,) = Parallel(n_jobs=2)([delayed(answers)(adapted, queries)])
    assert_same(got, expected)


def test_what_is_added_to_a_copy_stays_there(adapted, table, queries):
    expected = answers(adapted, queries)
    for copied in (copy.deepcopy(adapted), copy.copy(adapted)):
        copied.partial_fit(table.X[:4], [f"further-{i}" for i in range(4)])
        assert len(copied.classes_) == len(adapted.classes_) + 4
        assert_same(answers(adapted, queries), expected)


def test_one_seed_gives_one_learner_in_this_process_and_in_others(make_any, table, queries):
    learner = make_any().fit(table.X, table.y)
    others = Parallel(n_jobs=2)(
        [delayed(make_any().fit)(table.X, table.y), delayed(make_any().fit)(table.X, table.y)]
    )
    expected = learner.transform(queries)
    for other in others:
        np.testing.assert_allclose(other.transform(queries), expected, rtol=1e-6, atol=1e-6)


def test_a_classifier_goes_on_with_the_network_it_was_adapted_through(make_learner, table, queries):
    learner = make_learner().fit(table.X, table.y)
    classifier = FewShotClassifier(learner).fit(table.X_new[:24], table.y_new[:24])
    expected = answers(classifier, queries)
    learner.set_params(random_state=5).fit(table.X, table.y)
    assert_same(answers(classifier, queries), expected)
    whole = FewShotClassifier(learner).fit(table.X_new[:24], table.y_new[:24])
    assert not np.allclose(whole.decision_function(queries), expected["decision_function"])
