"""From planned rows to positions: every item stands where it was planned."""

import numpy as np
import pytest
import torch

from sklearn_fewshot.episodes import EpisodePlan
from sklearn_fewshot.nn import (
    collate,
    collate_rotated,
    is_padding,
    over_stored_rows,
    to_device,
    with_values,
)
from sklearn_fewshot.nn._collate import planned_rows

CPU = torch.device("cpu")
PLANS = pytest.mark.parametrize("params", [{"n_way": 3, "n_shot": 2}, {}], ids=["equal", "ragged"])


def check_places(rows, batch, plan):
    """Every item of the batch is the row that was planned for its place."""
    n_episodes, n_way, n_shot = plan.support.shape
    shape = (n_episodes, n_way)
    real = batch.weight.numpy().reshape(*shape, n_shot) > 0
    assert np.array_equal(real, plan.support >= 0)
    support = rows[batch.support.numpy()].reshape(plan.support.shape)
    assert np.array_equal(support[real], plan.support[real])
    code = batch.support_target.reshape(*shape, n_shot)
    assert np.array_equal(code, np.indices(plan.support.shape)[1])
    query = rows[batch.query.numpy()].reshape(plan.query.shape)
    real = plan.query >= 0
    assert np.array_equal(query[real], plan.query[real])
    expected = np.where(real, np.indices(plan.query.shape)[1], -1)
    assert np.array_equal(batch.target.reshape(plan.query.shape), expected)
    assert np.array_equal(batch.classes, plan.classes)
    assert batch.n_classes == n_way


@PLANS
def test_every_item_stands_where_it_was_planned(params, make_plan):
    plan = make_plan(**params)
    rows, batch = collate(plan)
    assert len(rows) == sum((part >= 0).sum() for part in (plan.support, plan.query))
    assert len(batch.inputs) == 0
    check_places(rows, batch, plan)


@PLANS
def test_rotated_episodes_share_one_stack(params, make_plan):
    plan = make_plan(**params)
    rows, batch = collate_rotated(plan)
    assert np.array_equal(rows, collate(plan)[0])
    check_places(rows, batch, plan.rotated())


@PLANS
def test_positions_among_all_rows_are_the_rows(params, make_plan):
    plan = make_plan(**params)
    batch = over_stored_rows(plan)
    check_places(np.arange(72), batch, plan)
    stacked = collate(plan)[1]
    for name in ("support_target", "weight", "target", "classes"):
        assert torch.equal(getattr(batch, name), getattr(stacked, name))


@PLANS
def test_planned_rows_are_those_of_the_support_then_those_of_the_query(params, make_plan):
    plan = make_plan(**params)
    for episode, rows in enumerate(planned_rows(plan)):
        assert rows.tolist() == [*plan.support[episode].ravel(), *plan.query[episode].ravel()]


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("n_shot", [3, (1, 5)])
@pytest.mark.parametrize("lay_out", [lambda plan: collate(plan)[1], over_stored_rows])
def test_values_stand_where_their_rows_do(n_targets, n_shot, lay_out, make_plan):
    plan = EpisodePlan(*(part[:, :1] for part in make_plan(n_shot=n_shot)))  # of one task each
    plan.query[1, 0, -1] = -1
    values = torch.randn(72, n_targets)
    classes = lay_out(plan)
    batch = with_values(classes, plan, values)
    for rows, targets in ((plan.support, batch.support_target), (plan.query, batch.target)):
        rows = rows.reshape(len(rows), -1)
        assert targets.shape == (*rows.shape, n_targets)
        for place in zip(*np.nonzero(rows >= 0), strict=True):
            assert torch.equal(targets[place], values[rows[place]])
    assert torch.equal(is_padding(batch.target), is_padding(classes.target))
    assert is_padding(batch.target).sum() == 1
    assert batch.support_target.isfinite().all()  # what has no weight must not be NaN
    for name in ("support", "weight", "query", "classes"):
        assert torch.equal(getattr(batch, name), getattr(classes, name))


def test_a_batch_goes_to_a_device_whole(make_plan):
    """Tensors of the device "meta" have shapes alone."""
    batch = collate(make_plan())[1]
    assert to_device(batch, CPU) is batch
    moved = to_device(batch, torch.device("meta"))
    for name in ("support", "support_target", "weight", "query", "target", "classes"):
        before, after = getattr(batch, name), getattr(moved, name)
        assert after.device.type == "meta"
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert moved.n_classes == batch.n_classes
    plan = EpisodePlan(*(part[:, :1] for part in make_plan()))
    of_values = with_values(moved, plan, torch.empty(72, 2, device="meta"))
    assert of_values.target.device.type == of_values.support_target.device.type == "meta"
