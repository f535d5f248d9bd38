"""From planned rows to batches: the right rows, in the right places, each embedded once."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import nn

from sklearn_fewshot.episodes._sampler import EpisodePlan, EpisodeSampler
from sklearn_fewshot.nn import (
    DataTensor,
    EpisodeLoader,
    EpisodicCrossEntropy,
    EpisodicModule,
    SampleLoader,
    ValidationEpisodes,
    _data,
    collate,
    evaluate,
    score_frozen,
)
from sklearn_fewshot.nn.backbones import MLP
from sklearn_fewshot.nn.heads import PrototypicalHead

CPU = torch.device("cpu")
CODES = np.repeat(np.arange(6), 12)
X = (np.random.default_rng(0).normal(size=(72, 5)) + CODES[:, None]).astype(np.float32)


def make_sampler(n_way=(2, 4), n_shot=(1, 3), n_query=2):
    return EpisodeSampler(CODES, n_way=n_way, n_shot=n_shot, n_query=n_query)


def make_plan(n_episodes=7, seed=0, **params):
    return make_sampler(**params).plan(n_episodes, np.random.default_rng(seed))


def make_module(seed=0):
    torch.manual_seed(seed)
    return EpisodicModule(MLP((5,), hidden_dim=8, embedding_dim=4), PrototypicalHead()).eval()


def make_loader(seed=0, **params):
    params = {"n_episodes": 7, "meta_batch_size": 3} | params
    rng = np.random.default_rng(seed)
    return EpisodeLoader(DataTensor(X, CPU), make_sampler(), rng=rng, **params)


def check_places(rows, batch, target, plan):
    """Every item of the batch is the row that was planned for its place."""
    n_episodes, n_way, n_shot = plan.support.shape
    shape = (n_episodes, n_way)
    real = batch.weight.numpy().reshape(*shape, n_shot) > 0
    assert np.array_equal(real, plan.support >= 0)
    support = rows[batch.support.numpy()].reshape(plan.support.shape)
    assert np.array_equal(support[real], plan.support[real])
    assert np.array_equal(batch.code.reshape(*shape, n_shot), np.indices(plan.support.shape)[1])
    query = rows[batch.query.numpy()].reshape(plan.query.shape)
    real = plan.query >= 0
    assert np.array_equal(query[real], plan.query[real])
    expected = np.where(real, np.indices(plan.query.shape)[1], -1)
    assert np.array_equal(target.reshape(plan.query.shape), expected)
    assert batch.n_classes == n_way


@pytest.mark.parametrize("params", [{"n_way": 3, "n_shot": 2}, {}], ids=["equal", "ragged"])
def test_every_item_stands_where_it_was_planned(params):
    plan = make_plan(**params)
    rows, batch, target = collate(plan)
    assert len(rows) == sum((part >= 0).sum() for part in (plan.support, plan.query))
    check_places(rows, batch, target, plan)


def test_an_epoch_is_cut_into_batches():
    loader = make_loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert [len(batch.support) for batch, _ in batches] == [3, 3, 1]


def test_a_batch_holds_the_samples_of_its_plan():
    plan = make_sampler().plan(7, np.random.default_rng(0))
    for number, (batch, target) in enumerate(make_loader()):
        rows, expected, expected_target = collate(plan.take(slice(3 * number, 3 * number + 3)))
        assert torch.equal(batch.inputs, torch.from_numpy(X[rows]))
        assert torch.equal(batch.query, expected.query)
        assert torch.equal(target, expected_target)


def test_epochs_differ_but_repeat_with_the_seed():
    def first_inputs(loader):
        return next(iter(loader))[0].inputs

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
    for (batch, _), inputs in zip(batches, seen, strict=True):
        assert torch.equal(batch.inputs, inputs + 1.0)


def test_one_pass_for_many_ragged_episodes_equals_one_for_each():
    plan, module, data = make_plan(), make_module(), DataTensor(X, CPU)
    rows, batch, target = collate(plan)
    with torch.inference_mode():
        together = module(batch._replace(inputs=data.take(rows)))
    for episode in range(plan.n_episodes):
        alone = plan.take([episode])
        n_way = int((alone.classes >= 0).sum())
        alone = EpisodePlan(*(part[:, :n_way] for part in alone))  # without its padding
        rows, batch, alone_target = collate(alone)
        with torch.inference_mode():
            scores = module(batch._replace(inputs=data.take(rows)))[0]
        real = target[episode] >= 0
        assert torch.equal(target[episode][real], alone_target[0])
        torch.testing.assert_close(together[episode][real][:, :n_way], scores)
        assert (together[episode][:, n_way:] == -torch.inf).all()


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
    return np.array(rows), torch.cat([target[0] for _, target in batches]).numpy()


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


def test_an_epoch_has_as_many_batches_as_asked_for_and_a_batch_is_one_episode():
    loader = make_sample_loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    for inputs, target in batches:
        assert inputs.shape == (5, 5)
        assert target.shape == (1, 5)
        assert target.dtype == torch.int64


def test_samples_come_in_an_order_that_repeats_with_the_seed():
    first, again, other = (served(make_sample_loader(seed))[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_augmentation_changes_single_samples_too():
    plain, changed = make_sample_loader(), make_sample_loader(augment=lambda inputs: inputs + 1.0)
    for (inputs, _), (augmented, _) in zip(plain, changed, strict=True):
        assert torch.equal(augmented, inputs + 1.0)


# ------------------------------------------------------------------ frozen episodes


class Counter(nn.Module):
    """A backbone that counts the rows it embeds."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.n_rows = 0

    def forward(self, x):
        self.n_rows += len(x)
        return self.backbone(x)


def test_frozen_episodes_embed_every_distinct_row_once():
    plan, module = make_plan(200), make_module()
    counter = Counter(module.backbone)
    frozen = ValidationEpisodes(DataTensor(X, CPU), plan)
    scores = score_frozen(EpisodicModule(counter, module.head), frozen, batch_size=5)
    rows, batch, _ = collate(plan)
    assert counter.n_rows == len(np.unique(rows))
    with torch.inference_mode():
        expected = module(batch._replace(inputs=DataTensor(X, CPU).take(rows)))
    real = frozen.target >= 0
    torch.testing.assert_close(scores[real], expected[real])


def test_evaluation_equals_plain_loops():
    plan, module = make_plan(20), make_module()
    with torch.inference_mode():
        embedding = module.backbone(torch.from_numpy(X)).double().numpy()
    hits, losses = [], []
    for support, query, classes in zip(*plan, strict=True):
        way = range(int((classes >= 0).sum()))
        prototypes = np.array([embedding[support[k][support[k] >= 0]].mean(axis=0) for k in way])
        episode_losses = []
        for k in way:
            for row in query[k][query[k] >= 0]:
                scores = -np.square(embedding[row] - prototypes).sum(axis=1)
                hits.append(scores.argmax() == k)
                episode_losses.append(logsumexp(scores) - scores[k])
        losses.append(np.mean(episode_losses))
    frozen = ValidationEpisodes(DataTensor(X, CPU), plan)
    accuracy, loss = evaluate(module, EpisodicCrossEntropy(), frozen)
    assert accuracy == pytest.approx(np.mean(hits))
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_evaluation_leaves_the_network_as_it_was():
    backbone = nn.Sequential(MLP((5,), embedding_dim=4), nn.BatchNorm1d(4))
    module = EpisodicModule(backbone, PrototypicalHead()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    frozen = ValidationEpisodes(DataTensor(X, CPU), make_plan())
    first = evaluate(module, EpisodicCrossEntropy(), frozen)
    assert module.training
    assert first == evaluate(module, EpisodicCrossEntropy(), frozen)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


# ------------------------------------------------------------------ data on the device


DTYPES = ["?", "u1", "i1", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i2", "g"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_numeric_array_becomes_float32_input(dtype):
    values = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    data = DataTensor(values, CPU, scale=0.5)
    inputs = data.take(np.array([2, 0]))
    assert len(data) == 3
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs, [[0.5, 0.0], [0.0, 0.5]])


def test_eight_bit_pictures_stay_eight_bit_until_they_are_gathered():
    pictures = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    data = DataTensor(pictures, CPU, scale=1 / 255)
    assert data.data.dtype == torch.uint8
    inputs = data.take(np.array([1]))
    np.testing.assert_allclose(inputs, pictures[[1]] / 255, rtol=1e-6)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_pictures_are_gathered_with_their_channels_last_in_memory(n_channels):
    pictures = np.arange(5 * n_channels * 16).reshape(5, n_channels, 4, 4)
    for dtype in (np.uint8, np.float32):
        inputs = DataTensor(pictures.astype(dtype), CPU, scale=0.5).take(np.arange(5))
        np.testing.assert_array_equal(inputs, 0.5 * pictures)
        # What convolutions go by, also where one channel makes other strides equivalent.
        assert inputs.stride() == (16 * n_channels, 1, 4 * n_channels, n_channels)


def test_read_only_and_strided_arrays_are_taken():
    values = np.arange(12.0).reshape(3, 4)[:, ::-2]
    values.flags.writeable = False
    np.testing.assert_array_equal(DataTensor(values, CPU).take(np.arange(3)), values)


def test_what_the_device_has_no_room_for_stays_and_gives_the_same_rows(monkeypatch):
    pictures = np.arange(6 * 16, dtype=np.uint8).reshape(6, 1, 4, 4)
    rows = np.array([5, 0, 0, 3])
    expected = DataTensor(pictures, CPU, scale=0.5).take(rows)
    asked = []
    monkeypatch.setattr(_data, "fits", lambda n_bytes, device: asked.append(n_bytes))
    data = DataTensor(pictures, CPU, scale=0.5)
    assert isinstance(data.data, _data.HostRows)
    assert asked == [pictures.nbytes]
    torch.testing.assert_close(data.take(rows), expected, rtol=0, atol=0)
    assert data.take(rows).stride() == expected.stride()
    assert data.as_array() is pictures


def test_samples_come_back_from_the_device_as_an_array():
    values = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(DataTensor(values, CPU).as_array(), values)
