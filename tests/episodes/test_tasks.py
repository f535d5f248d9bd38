"""Laws of episodes whose classes are those of one task."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_fewshot.episodes import EpisodeSampler, pair_with_tasks

SEEDS = st.integers(0, 2**32 - 1)
# Numbers of labels of each task: a label is in all tasks that have more.
LABELS = st.lists(st.integers(2, 5), min_size=2, max_size=6)
few_examples = settings(max_examples=40)


def make_rows(n_labels, seed=0, n_rows=8):
    """Label and task of rows in mixed order, `n_rows` of each pair."""
    pairs = [(label, task) for task, n in enumerate(n_labels) for label in range(n)]
    rows = np.random.default_rng(seed).permutation(np.repeat(pairs, n_rows, axis=0))
    return rows[:, 0], rows[:, 1]


def make_sampler(labels, tasks, **params):
    codes, class_tasks = pair_with_tasks(labels, tasks, np.arange(tasks.max() + 1))
    params = {"n_way": "all", "n_shot": 1, "n_query": 2} | params
    return EpisodeSampler(codes, class_tasks=class_tasks, **params), class_tasks


def make_plan(labels, tasks, n_episodes=60, seed=0, **params):
    return make_sampler(labels, tasks, **params)[0].plan(n_episodes, np.random.default_rng(seed))


def rows_of(plan, episode):
    rows = np.concatenate([plan.support[episode].ravel(), plan.query[episode].ravel()])
    return rows[rows >= 0]


@few_examples
@given(LABELS, SEEDS, st.booleans(), st.booleans())
def test_all_classes_of_an_episode_are_of_one_task(n_labels, seed, clamp, grouped):
    labels, tasks = make_rows(n_labels, seed)
    groups = np.random.default_rng(seed).integers(4, size=len(labels)) if grouped else None
    params = {"n_way": 4, "clamp": True} if clamp or grouped else {"n_way": 2}
    plan = make_plan(labels, tasks, seed=seed, groups=groups, **params)
    for episode in range(plan.n_episodes):
        rows = rows_of(plan, episode)
        assert len(set(tasks[rows])) == 1
        assert len(set(labels[rows])) == np.count_nonzero(plan.classes[episode] >= 0) >= 2
        if grouped:
            support, query = plan.support[episode], plan.query[episode]
            assert not set(groups[support[support >= 0]]) & set(groups[query[query >= 0]])


@few_examples
@given(LABELS, SEEDS)
def test_all_takes_every_class_of_the_task(n_labels, seed):
    labels, tasks = make_rows(n_labels, seed)
    plan = make_plan(labels, tasks, seed=seed)
    assert plan.classes.shape[1] == max(n_labels)
    for episode in range(plan.n_episodes):
        rows = rows_of(plan, episode)
        assert len(set(labels[rows])) == n_labels[tasks[rows[0]]]


def test_a_class_is_a_label_of_one_task():
    labels, tasks = make_rows([2, 3])
    codes, class_tasks = pair_with_tasks(labels, tasks, np.array(["a", "b"]))
    assert class_tasks.n_labels == 3
    np.testing.assert_array_equal(class_tasks.task, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(class_tasks.label, [0, 1, 0, 1, 2])
    np.testing.assert_array_equal(class_tasks.task[codes], tasks)
    np.testing.assert_array_equal(class_tasks.label[codes], labels)


def test_tasks_are_equally_likely_and_so_are_their_classes():
    labels, tasks = make_rows([2, 5, 2])
    plan = make_plan(labels, tasks, 3000, n_way=2)
    _, class_tasks = make_sampler(labels, tasks)
    count = np.bincount(class_tasks.task[plan.classes[:, 0]])
    np.testing.assert_allclose(count, 1000, rtol=0.1)
    of_big = np.bincount(plan.classes[np.isin(plan.classes, np.arange(2, 7))])[2:7]
    np.testing.assert_allclose(of_big, 2 * count[1] / 5, rtol=0.15)


def test_the_way_is_clamped_to_the_task():
    labels, tasks = make_rows([2, 4])
    sampler, class_tasks = make_sampler(labels, tasks, n_way=(3, 20), clamp=True)
    assert sampler.n_way_ == (3, 4)
    plan = sampler.plan(100, np.random.default_rng(0))
    n_way, task = (plan.classes >= 0).sum(axis=1), class_tasks.task[plan.classes[:, 0]]
    assert set(n_way[task == 0]) == {2}
    assert set(n_way[task == 1]) == {3, 4}


def test_a_task_of_one_class_takes_no_part_in_training():
    labels, tasks = make_rows([2, 1, 3])
    plan = make_plan(labels, tasks, clamp=True)
    assert set(tasks[np.concatenate([rows_of(plan, i) for i in range(60)])]) == {0, 2}


@pytest.mark.parametrize(
    ("n_labels", "params", "message"),
    [
        ([3, 1], {"n_way": 2}, r"needs two\. Task 1 has 1 class; give it another one, or leave"),
        ([3, 2], {"n_way": 3}, r"of the smallest task, 2\. Got 3\. Task 1 has 2 classes; lower"),
        ([3, 2], {"n_way": (2, 3)}, r"smallest task, 2\. Got \(2, 3\)\."),
        ([2, 2], {"n_query": 8}, r"Class 0 of task 0 has 8 examples"),
        ([1, 1], {"clamp": True}, r"needs a task with two classes of two examples each\. Got none"),
    ],
)
def test_what_no_episode_can_be_drawn_from_is_refused(n_labels, params, message):
    labels, tasks = make_rows(n_labels)
    codes, class_tasks = pair_with_tasks(labels, tasks, np.arange(len(n_labels)))
    params = {"n_way": "all", "n_shot": 1, "n_query": 2, "names": class_tasks.label} | params
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(codes, class_tasks=class_tasks, **params)


def test_one_task_is_drawn_from_as_classes_without_tasks_are():
    labels, tasks = make_rows([5])
    plan = make_plan(labels, tasks, 400, n_way=3)
    np.testing.assert_allclose(np.bincount(plan.classes.ravel()), 240, rtol=0.15)


# ------------------------------------------------------------------ without tasks


CODES = np.random.default_rng(0).permutation(np.repeat(np.arange(12), np.arange(4, 16)))
DIVIDED = "e151a9a565be5e11"
GROUPS = (np.arange(len(CODES)) * 7) % 5


@pytest.mark.parametrize(
    ("params", "digest"),
    [
        ({"n_way": 5, "n_shot": 1, "n_query": 2}, "bae5b473009fc01e"),
        ({"n_way": "all", "n_shot": (1, 2), "n_query": 1}, "548554e957fd3f82"),
        ({"n_way": (2, 9), "n_shot": (1, 5), "n_query": 5, "clamp": True}, "e965a669cf79c551"),
        (
            {"n_way": 4, "n_shot": 2, "n_query": 4, "clamp": True, "groups": GROUPS},
            "e151a9a565be5e11",
        ),
    ],
)
def test_plans_without_tasks_are_those_of_before_there_were_tasks(params, digest):
    plan = EpisodeSampler(CODES, **params).plan(40, np.random.default_rng(3))
    content = b"".join(np.ascontiguousarray(part, dtype="<i8").tobytes() for part in plan)
    assert hashlib.blake2b(content, digest_size=8).hexdigest() == digest
