"""Laws of the classes that are held out of training."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sklearn_fewshot.episodes._holdout import drawable_classes, held_out_classes

FRACTIONS = st.floats(0.0, 0.95)
SEEDS = st.integers(0, 2**32 - 1)
DRAWABLE = st.lists(st.booleans(), min_size=1, max_size=30).map(np.array)


@given(DRAWABLE, FRACTIONS, SEEDS)
def test_two_drawable_classes_stay_on_each_side_or_none_is_held_out(drawable, fraction, seed):
    held_out = held_out_classes(drawable, fraction, None, np.random.default_rng(seed))
    assert not (held_out & ~drawable).any()
    if held_out.any():
        assert held_out.sum() >= 2
        assert (drawable & ~held_out).sum() >= 2
    else:
        assert fraction == 0.0 or drawable.sum() < 4


@given(st.integers(4, 200), FRACTIONS, SEEDS)
def test_the_share_is_met(n_classes, fraction, seed):
    drawable = np.ones(n_classes, dtype=bool)
    held_out = held_out_classes(drawable, fraction, None, np.random.default_rng(seed))
    if fraction > 0:
        assert held_out.sum() == min(max(2, round(fraction * n_classes)), n_classes - 2)


@given(DRAWABLE, FRACTIONS, SEEDS, st.integers(1, 6))
def test_groups_of_classes_stay_whole(drawable, fraction, seed, n_groups):
    rng = np.random.default_rng(seed)
    owners = np.unique(rng.integers(n_groups, size=len(drawable)), return_inverse=True)[1]
    held_out = held_out_classes(drawable, fraction, owners, rng)
    for owner in np.unique(owners):
        assert len(np.unique(held_out[(owners == owner) & drawable])) <= 1


def test_every_class_can_be_held_out():
    seen = np.zeros(10, dtype=int)
    for seed in range(200):
        seen += held_out_classes(np.ones(10, bool), 0.3, None, np.random.default_rng(seed))
    assert seen.min() > 30


def test_a_class_is_drawable_with_two_rows_of_two_groups():
    codes = np.array([0, 0, 1, 2, 2, 2, 3])
    assert list(drawable_classes(codes, None)) == [True, False, True, False]
    groups = np.array(["a", "b", "a", "c", "c", "c", "a"])
    assert list(drawable_classes(codes, groups)) == [True, False, False, False]
