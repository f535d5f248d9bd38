"""Koch's network: the paper's sides and weights, the smallest picture, the order of pooling."""

import pytest
import torch
from torch import nn

from sklearn_fewshot.nn.backbones import make_backbone
from sklearn_fewshot.nn.backbones._koch import KochConv

SMALLEST = (2, 65, 70)


def batch(shape=SMALLEST, n=2):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


def as_printed(input_shape=(1, 105, 105)):
    """Make the net without its 39 million numbers."""
    with torch.device("meta"):
        return KochConv(input_shape)


def test_the_maps_have_the_sides_of_the_paper():
    x = torch.empty(3, 1, 105, 105, device="meta")
    shapes = []
    for layer in as_printed().modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.Flatten | nn.Linear):
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        *[(64, 96, 96), (64, 48, 48)],
        *[(128, 42, 42), (128, 21, 21)],
        *[(128, 18, 18), (128, 9, 9)],
        (256, 6, 6),
        *[(9216,), (4096,)],
    ]


def test_the_weights_are_those_of_the_paper():
    layers = [(64, 1 * 10**2), (128, 64 * 7**2), (128, 128 * 4**2), (256, 128 * 4**2), (4096, 9216)]
    by_hand = sum(n_out * (n_in + 1) for n_out, n_in in layers)
    assert sum(p.numel() for p in as_printed().parameters()) == by_hand


@pytest.mark.parametrize("height", range(65, 130, 7))
@pytest.mark.parametrize("width", [65, 105, 128])
def test_any_larger_picture_fits(height, width):
    shape = (3, height, width)
    assert as_printed(shape)(torch.empty(2, *shape, device="meta")).shape == (2, 4096)


@pytest.mark.parametrize("shape", [(1, 64, 105), (1, 105, 64), (105, 105), (11025,)])
def test_other_samples_are_refused(shape):
    with pytest.raises(ValueError, match=r"backbone 'koch' takes .* 65 x 65\. Got .*input_shape"):
        KochConv(shape)


def test_embeddings_are_sigmoids_and_all_weights_learn():
    module = make_backbone(KochConv, SMALLEST)
    embedding = module(batch())
    assert embedding.shape == (2, 4096)
    assert ((embedding > 0) & (embedding < 1)).all()
    embedding.square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_the_sigmoids_do_not_start_saturated():
    with torch.no_grad():
        embedding = KochConv(SMALLEST)(batch())
    assert embedding.min() > 0.05
    assert embedding.max() < 0.95


def test_pooling_before_the_relu_is_the_same_function():
    module = KochConv(SMALLEST, embedding_dim=3)
    *blocks, last, flatten, linear, sigmoid = module
    papers_order = nn.Sequential(
        *(nn.Sequential(conv, relu, pool) for conv, pool, relu in blocks),
        *(last, flatten, linear, sigmoid),
    )
    with torch.no_grad():
        assert torch.equal(module(batch()), papers_order(batch()))
