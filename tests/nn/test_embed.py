"""Embedding: bounded chunks, no influence between samples, nothing left behind."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sklearn_fewshot.nn import embed
from sklearn_fewshot.nn._embed import LADDER, chunks
from sklearn_fewshot.nn.backbones import Conv4, ResidualMLP, Spectral

VECTOR, SERIES, PICTURE = (5,), (2, 20), (1, 16, 16)


def samples(shape, n=70, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def used(backbone, shape):
    """Give batch norms running statistics, as training does."""
    torch.manual_seed(0)
    module = backbone(shape).train()
    module(torch.from_numpy(samples(shape, 30, seed=5)))
    return module.eval()


class Recorder(nn.Module):
    """The identity, remembering the sizes of the batches it saw."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        return x.flatten(1)


@given(
    st.integers(0, 2000),
    st.sets(st.integers(1, 300), min_size=1, max_size=5).map(sorted).map(tuple),
)
def test_chunks_cover_every_row_once_and_in_order(n, sizes):
    cut = list(chunks(n, sizes))
    rows = [row for start, stop, _ in cut for row in range(start, stop)]
    assert rows == list(range(n))
    assert all(stop - start <= size and size in sizes for start, stop, size in cut)


@given(st.integers(1, 2000))
def test_padding_never_doubles_the_work(n):
    sizes = (*LADDER, 128)
    padded = sum(size for _, _, size in chunks(n, sizes))
    assert padded < 2 * n or n == 1


@pytest.mark.parametrize("shape", [VECTOR, SERIES, PICTURE])
@pytest.mark.parametrize("n", [1, 7, 40, 100])
def test_the_network_sees_few_sizes_and_bounded_batches(shape, n):
    recorder = Recorder()
    embedding = embed(recorder, samples(shape, n), batch_size=32)
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, samples(shape, n).reshape(n, -1))
    assert set(recorder.sizes) <= ({32} if shape == VECTOR else {1, 8, 32})


def test_a_vector_does_not_depend_on_its_neighbours():
    module, X = used(ResidualMLP, VECTOR), samples(VECTOR)
    torch.nn.init.normal_(module.branch[-1].weight)
    together = embed(module, X, batch_size=32)
    for rows in ([3], [69, 3], range(20, 65), np.random.default_rng(0).permutation(70)):
        apart = embed(module, X[list(rows)], batch_size=32)
        np.testing.assert_allclose(apart, together[list(rows)], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("backbone", "shape"), [(Conv4, PICTURE), (Spectral, SERIES)])
def test_a_picture_or_series_hardly_depends_on_how_many_come_with_it(backbone, shape):
    module, X = used(backbone, shape), samples(shape)
    together = embed(module, X)
    tolerance = 1e-5 * np.abs(together).max()
    for rows in ([3], range(5), range(40, 60), range(69, -1, -1)):
        apart = embed(module, X[list(rows)])
        np.testing.assert_allclose(apart, together[list(rows)], rtol=0, atol=tolerance)
    neighbours = samples(shape, seed=1)  # others, equally many: the same digits
    neighbours[3] = X[3]
    np.testing.assert_allclose(embed(module, neighbours)[3], together[3], rtol=0, atol=1e-7)


def test_the_network_is_left_as_it_was():
    module = used(Conv4, PICTURE).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    embedding = embed(module, samples(PICTURE, 9))
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    np.testing.assert_array_equal(embed(module.eval(), samples(PICTURE, 9)), embedding)


def test_the_scale_applies_to_integers_and_floats_alike():
    integers = np.random.default_rng(0).integers(0, 256, size=(9, 1, 16, 16), dtype=np.uint8)
    module = used(Conv4, PICTURE)
    scaled = embed(module, integers, scale=1 / 255)
    np.testing.assert_array_equal(embed(module, integers.astype(float), scale=1 / 255), scaled)
    plain = embed(module, integers / np.float32(255))
    np.testing.assert_allclose(scaled, plain, rtol=0, atol=1e-5 * np.abs(plain).max())


def test_lower_precision_is_used_only_on_request():
    module, X = used(Conv4, PICTURE), samples(PICTURE, 9)
    exact, rough = embed(module, X), embed(module, X, autocast_dtype=torch.bfloat16)
    assert rough.dtype == np.float32
    error = np.abs(rough - exact).max() / np.abs(exact).max()
    assert 1e-6 < error < 0.1
