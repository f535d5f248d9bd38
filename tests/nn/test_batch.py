"""Batches: which queries are padding, and the episodes of a batch taken apart."""

from functools import partial

import numpy as np
import pytest
import torch

from sklearn_fewshot.nn import EpisodeBatch, is_padding, take_rows


@pytest.fixture
def take(batch):
    return partial(take_rows, batch.inputs)


@pytest.mark.parametrize("shape", [(7,), (2, 5), (3, 2, 4)])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_padding_is_a_class_of_minus_one_or_a_value_that_is_none(shape, n_targets):
    is_real = torch.rand(shape) < 0.5
    codes = torch.randint(0, 3, shape).where(is_real, -1)
    values = torch.randn(*shape, n_targets).where(is_real.unsqueeze(-1), torch.nan)
    for target in (codes, codes.int(), values, values.double()):
        assert torch.equal(is_padding(target), ~is_real)


def test_rows_are_taken_as_by_indexing():
    values, index = torch.randn(9, 2, 3), torch.randint(0, 9, (4, 5))
    assert torch.equal(take_rows(values, index), values[index])
    assert take_rows(values, index[:, :0]).shape == (4, 0, 2, 3)


def test_support_sets_hold_the_rows_at_their_positions(batch, take):
    support = batch.support_sets(take)
    for episode, item in np.ndindex(*batch.support.shape):
        row = batch.inputs[batch.support[episode, item]]
        assert torch.equal(support.inputs[episode, item], row)
    assert support.target is batch.support_target
    assert support.weight is batch.weight
    assert support.n_classes == batch.n_classes


def test_support_sets_of_attributes_have_one_item_for_each_class_that_there_is(batch):
    """No row is taken; a class of padding counts nothing."""
    attributes = torch.randn(2, 3, 4).double()
    batch = batch._replace(
        classes=torch.tensor([[6, 0, 3], [2, 5, -1]]), n_classes=3, attributes=attributes
    )
    support = batch.support_sets(None)
    assert support.inputs is attributes
    assert support.target.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert support.weight.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert support.weight.dtype == attributes.dtype
    assert support.n_classes == 3
    there = batch._replace(classes=batch.classes.to("meta"), attributes=attributes.to("meta"))
    assert {value.device.type for value in there.support_sets(None)[:3]} == {"meta"}


@pytest.mark.parametrize("has_attributes", [False, True])
def test_episodes_come_one_by_one_without_padded_queries(has_attributes, batch):
    if has_attributes:
        batch = batch._replace(attributes=torch.randn(2, 2, 4))
    parts = list(batch.one_by_one())
    assert len(parts) == len(batch.query)
    for episode, one in enumerate(parts):
        real = batch.target[episode] != -1
        assert one.query.tolist() == [batch.query[episode][real].tolist()]
        assert one.target.tolist() == [batch.target[episode][real].tolist()]
        for name in ("support", "support_target", "weight", "classes"):
            assert torch.equal(getattr(one, name), getattr(batch, name)[[episode]])
        assert one.inputs is batch.inputs
        assert one.n_classes == batch.n_classes
        if has_attributes:
            assert torch.equal(one.attributes, batch.attributes[[episode]])


def test_episodes_of_values_come_one_by_one_too(batch):
    values = torch.randn(2, 3, 2)
    values[1, 1:] = torch.nan
    batch = batch._replace(target=values, support_target=torch.randn(2, 4, 2), n_classes=1)
    first, second = batch.one_by_one()
    assert torch.equal(first.target, values[:1])
    assert torch.equal(second.target, values[1:, :1])
    assert second.query.shape == (1, 1)


def test_classes_and_attributes_may_be_left_out(batch):
    bare = EpisodeBatch(*batch[:7])
    assert len(bare.classes) == 0
    assert bare.attributes is None
    assert [one.query.shape[1] for one in bare.one_by_one()] == [3, 2]
