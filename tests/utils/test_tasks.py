"""Tasks are checked, and numbered whatever they are called."""

import numpy as np
import pandas as pd
import pytest

from sklearn_fewshot.utils._tasks import check_tasks, join_units


@pytest.mark.parametrize(
    "tasks",
    [["b", "a", "b", "c"], [7, -1, 7, 30], pd.Series(["x", "q", "x", "z"]), [True, False, True, 5]],
)
def test_tasks_are_numbered_as_they_appear(tasks):
    names, codes = check_tasks(tasks, 4)
    np.testing.assert_array_equal(codes, [0, 1, 0, 2])
    assert len(names) == 3


@pytest.mark.parametrize("tasks", [None, ["a", "a"], [3, 3]])
def test_one_task_is_none(tasks):
    assert check_tasks(tasks, 2) == (None, None)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([1.0, np.nan, 2.0], r"tasks lacks 1 entries \(NaN or None\), first at position 1"),
        (["a", None, "b"], r"tasks lacks 1 .*first at position 1"),
        (np.array([1.0, 2.0, np.nan], dtype=object), r"tasks lacks 1 .*first at position 2"),
        (pd.Series(["a", pd.NA, "b"], dtype="string"), r"tasks lacks 1 .*first at position 1"),
        (["a", "b"], r"tasks must have one entry per sample: 3\. Got 2"),
        ([[1, 2], [3, 4], [5, 6]], r"tasks must have one entry per sample: 3\. Got shape \(3, 2\)"),
    ],
)
def test_what_names_no_task_is_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        check_tasks(tasks, 3)


def test_joined_units_divide_neither_kind_and_are_the_smallest():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(8, size=(2, 12))
        units = join_units(one, other)
        for kind in (one, other):
            assert all(len(set(units[kind == unit])) == 1 for unit in set(kind))
        for unit in set(units):  # from any item all others of its unit can be reached
            inside = np.flatnonzero(units == unit)
            reached = {inside[0]}
            for _ in inside:
                near = np.isin(one, one[list(reached)]) | np.isin(other, other[list(reached)])
                reached |= set(np.flatnonzero(near))
            assert reached == set(inside)
