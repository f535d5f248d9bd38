"""Batches of training: planned rows embedded once, orders that repeat, states to go on from."""

import numpy as np
import pytest
import torch

from sklearn_fewshot.episodes import EpisodePlan, EpisodeSampler
from sklearn_fewshot.nn import (
    DataTensor,
    EpisodeBatch,
    EpisodeLoader,
    SampleBatch,
    SampleLoader,
    _loader,
    collate,
    collate_rotated,
    with_values,
)

CPU = torch.device("cpu")
CODES = np.repeat(np.arange(6), 12)
X = (np.random.default_rng(0).normal(size=(72, 5)) + CODES[:, None]).astype(np.float32)


def make_sampler(n_way=(2, 4), n_shot=(1, 3), n_query=2):
    return EpisodeSampler(CODES, n_way=n_way, n_shot=n_shot, n_query=n_query)


def make_loader(seed=0, sampler=None, **params):
    params = {"n_episodes": 7, "meta_batch_size": 3} | params
    rng = np.random.default_rng(seed)
    return EpisodeLoader(DataTensor(X, CPU), sampler or make_sampler(), rng=rng, **params)


def parts_of(plan, size=3):
    """Cut a plan as the loader does."""
    return [plan.take(slice(start, start + size)) for start in range(0, plan.n_episodes, size)]


class OfOneTask:
    """A sampler of episodes of a single task, as regressions have."""

    def plan(self, n_episodes, rng):
        return EpisodePlan(*(part[:, :1] for part in make_sampler().plan(n_episodes, rng)))


def test_an_epoch_is_cut_into_batches():
    loader = make_loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert all(isinstance(batch, EpisodeBatch) for batch in batches)
    assert [len(batch.support) for batch in batches] == [3, 3, 1]


@pytest.mark.parametrize("n_kept", [100, 1])
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("params", [{"n_way": 3, "n_shot": 2}, {}], ids=["equal", "ragged"])
def test_a_batch_holds_the_samples_of_its_plan(params, rotate, n_kept, monkeypatch):
    """Also the second epoch, in which layouts that are kept are not made again."""
    monkeypatch.setattr(_loader, "MAX_LAYOUTS", n_kept)
    sampler, rng = make_sampler(**params), np.random.default_rng(0)
    loader = make_loader(sampler=sampler, rotate=rotate)
    for _ in range(2):
        for batch, part in zip(loader, parts_of(sampler.plan(7, rng)), strict=True):
            rows, expected = (collate_rotated if rotate else collate)(part)
            assert torch.equal(batch.inputs, torch.from_numpy(X[rows]))
            for name in ("support", "support_target", "weight", "query", "target", "classes"):
                assert torch.equal(getattr(batch, name), getattr(expected, name))
            assert batch.n_classes == expected.n_classes
            assert batch.attributes is None


def test_attributes_are_those_of_the_classes_of_an_episode():
    attributes = torch.randn(6, 4)
    for batch in make_loader(attributes=attributes):
        for episode, place in np.ndindex(*batch.classes.shape):
            label = int(batch.classes[episode, place])
            if label >= 0:
                assert torch.equal(batch.attributes[episode, place], attributes[label])


def test_targets_are_values_in_regression():
    """Drawn as the classes are, from the same source."""
    values = torch.randn(72, 2)
    plan = OfOneTask().plan(7, np.random.default_rng(0))
    loader = make_loader(sampler=OfOneTask(), values=values)
    for batch, part in zip(loader, parts_of(plan), strict=True):
        expected = with_values(collate(part)[1], part, values)
        for name in ("support_target", "target"):
            torch.testing.assert_close(
                getattr(batch, name), getattr(expected, name), rtol=0, atol=0, equal_nan=True
            )
        of_support = batch.inputs[batch.support][batch.weight > 0]
        rows = [int(np.flatnonzero((x == X).all(axis=1))[0]) for x in of_support.numpy()]
        assert torch.equal(batch.support_target[batch.weight > 0], values[rows])


def test_a_loader_goes_on_from_a_state():
    loader = make_loader()
    list(loader)
    state, expected = loader.state_dict(), [batch.inputs for batch in loader]
    other = make_loader(seed=1)
    other.load_state_dict(state)
    for batch, inputs in zip(other, expected, strict=True):
        assert torch.equal(batch.inputs, inputs)


def test_epochs_differ_but_repeat_with_the_seed():
    def first_inputs(loader):
        return next(iter(loader)).inputs

    loader = make_loader()
    epochs = [first_inputs(loader), first_inputs(loader)]
    assert epochs[0].shape != epochs[1].shape or not torch.equal(*epochs)
    again = make_loader()
    assert torch.equal(first_inputs(again), epochs[0])
    assert torch.equal(first_inputs(again), epochs[1])


def test_augmentation_changes_the_inputs_of_each_batch():
    seen = []

    def augment(inputs):
        seen.append(inputs.clone())
        return inputs + 1.0

    batches = list(make_loader(augment=augment))
    assert len(seen) == len(batches)
    for batch, inputs in zip(batches, seen, strict=True):
        assert torch.equal(batch.inputs, inputs + 1.0)


# ------------------------------------------------------------------ single samples


SOME_ROWS = np.arange(1, 70, 3)  # 23 of the samples


def make_sample_loader(seed=0, **params):
    params = {"batch_size": 5, "n_batches": 3, "rng": np.random.default_rng(seed)} | params
    return SampleLoader(DataTensor(X, CPU), SOME_ROWS, CODES[SOME_ROWS], **params)


def served(loader, n_epochs=1):
    """Return the rows and classes of some epochs, in the order they came."""
    batches = [batch for _ in range(n_epochs) for batch in loader]
    inputs = torch.cat([inputs for inputs, _ in batches]).numpy()
    rows = [int(np.flatnonzero((x == X).all(axis=1))[0]) for x in inputs]
    return np.array(rows), torch.cat([target for _, target in batches]).numpy()


@pytest.mark.parametrize("batch_size", [2, 5, 23, 24, 1000])
def test_every_sample_is_served_once_before_any_again(batch_size):
    """Also where passes end within a batch or within an epoch."""
    rows, classes = served(make_sample_loader(batch_size=batch_size), n_epochs=20)
    assert np.array_equal(classes, CODES[rows])
    passes = [rows[start : start + 23] for start in range(0, len(rows) - 22, 23)]
    assert len(passes) > 4
    for one in passes:
        assert np.array_equal(np.sort(one), SOME_ROWS)
    assert not np.array_equal(passes[0], passes[1])


def test_an_epoch_has_as_many_batches_as_asked_for():
    loader = make_sample_loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    for batch in batches:
        assert isinstance(batch, SampleBatch)
        assert batch.inputs.shape == (5, 5)
        assert batch.target.shape == (5,)
        assert batch.target.dtype == torch.int64


def test_samples_come_in_an_order_that_repeats_with_the_seed():
    first, again, other = (served(make_sample_loader(seed))[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_augmentation_changes_single_samples_too():
    plain, changed = make_sample_loader(), make_sample_loader(augment=lambda inputs: inputs + 1.0)
    for (inputs, _), (augmented, _) in zip(plain, changed, strict=True):
        assert torch.equal(augmented, inputs + 1.0)


def test_a_loader_of_samples_goes_on_from_a_state():
    """Also within a pass over the samples: none is served again."""
    loader = make_sample_loader()
    first = served(loader)[0]
    state, expected = loader.state_dict(), served(loader, n_epochs=3)[0]
    other = make_sample_loader(seed=1)
    other.load_state_dict(state)
    assert np.array_equal(served(other, n_epochs=3)[0], expected)
    assert len(np.unique([*first, *expected[:8]])) == 23
