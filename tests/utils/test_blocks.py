"""Blocks: they cover all items, in order, in the memory that is allowed."""

from __future__ import annotations

import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st

from sklearn_fewshot.utils._blocks import block_size, blocks

sizes = st.integers(0, 500)


@given(sizes, sizes, st.integers(1, 2000), st.none() | st.integers(1, 50), st.integers(1, 20))
def test_blocks_cover_all_items_once_and_in_order(n_items, n_bytes, max_bytes, max_items, multiple):
    options = {"max_bytes": max_bytes, "max_items": max_items, "multiple_of": multiple}
    parts = list(blocks(n_items, n_bytes, **options))
    assert [k for part in parts for k in range(part.start, part.stop)] == list(range(n_items))
    sizes = [part.stop - part.start for part in parts]
    assert all(size == block_size(n_bytes, **options) for size in sizes[:-1])
    assert all(size > 0 and size % multiple == 0 for size in sizes[:-1])


@given(st.integers(1, 500), st.integers(1, 2000), st.none() | st.integers(1, 50))
def test_blocks_fit_or_are_single_items(n_bytes, max_bytes, max_items):
    size = block_size(n_bytes, max_bytes=max_bytes, max_items=max_items)
    assert size == 1 or (size * n_bytes <= max_bytes and size <= (max_items or size))
    if max_items is None:
        assert (size + 1) * n_bytes > max_bytes  # as large as may be


@pytest.mark.parametrize("mebibytes", [0.5, 1, 2])
def test_less_working_memory_makes_blocks_smaller(mebibytes):
    with sklearn.config_context(working_memory=mebibytes):
        assert block_size(2**10) == mebibytes * 2**10


def test_more_working_memory_does_not_make_blocks_larger():
    usual = block_size(2**10)
    with sklearn.config_context(working_memory=2**14):
        assert block_size(2**10) == usual


def test_no_working_memory_is_one_item_at_a_time():
    with sklearn.config_context(working_memory=0):
        assert len(list(blocks(3, 1))) == 3
