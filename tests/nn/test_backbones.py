"""Backbones: shapes, starts, copies, and errors that say what is wrong."""

from functools import partial

import pytest
import torch
from torch import nn

from sklearn_fewshot.nn.backbones import (
    BACKBONES,
    Conv4,
    Frozen,
    Identity,
    ResidualMLP,
    ResNet12,
    Spectral,
    distances_mean_something,
    has_linear_start,
    make_backbone,
    starts_from_features,
)

VECTOR, SERIES, PICTURE, LARGE = (5,), (2, 30), (3, 16, 20), (1, 65, 66)
TAKES = {
    "mlp": [VECTOR, SERIES, PICTURE],
    "residual_mlp": [VECTOR, SERIES, PICTURE],
    "identity": [VECTOR, SERIES, PICTURE],
    "spectral": [SERIES],
    "conv4": [PICTURE, LARGE],
    "conv4_32": [PICTURE, LARGE],
    "conv4_strided": [PICTURE, LARGE],
    "conv4_maps": [PICTURE, LARGE],
    "koch": [LARGE],
    "resnet12": [PICTURE],
}


def batch(shape, n=4, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def equal_states(a, b):
    b = b.state_dict()
    return all(torch.equal(value, b[name]) for name, value in a.state_dict().items())


def in_eval(module, x):
    with torch.no_grad():
        return module.eval()(x)


def randomised(module):
    """Give every parameter and running statistic a value of no special kind."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1)
    return module


# ------------------------------------------------------------------ every named backbone


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_returns_one_finite_embedding_a_sample(name):
    for shape in TAKES[name]:
        for n in (1, 4):
            embedding = in_eval(make_backbone(name, shape), batch(shape, n))
            assert embedding.ndim == (4 if name == "conv4_maps" else 2)
            assert len(embedding) == n
            assert embedding.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"identity"}))
def test_every_backbone_can_be_trained(name):
    shape = TAKES[name][0]
    module = make_backbone(name, shape).train()
    module(batch(shape)).square().sum().backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert gradients
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(VECTOR, ResidualMLP), (SERIES, Spectral), (PICTURE, Conv4), ((1, 8, 16), ResidualMLP)],
    ids=["vector", "series", "picture", "tiny picture"],
)
def test_auto_goes_by_what_a_sample_is(shape, expected):
    assert type(make_backbone("auto", shape)) is expected


@pytest.mark.parametrize("name", ["spectral", "conv4", "conv4_maps", "koch", "resnet12"])
@pytest.mark.parametrize("shape", [VECTOR, SERIES, PICTURE, (1, 8, 8)])
def test_backbones_refuse_samples_of_another_shape(name, shape):
    if shape in TAKES[name]:
        return
    with pytest.raises(ValueError, match=rf"backbone '{name}' takes .* Got .*input_shape"):
        make_backbone(name, shape)


# ------------------------------------------------------------------ pictures


def test_conv4_is_the_network_of_the_paper():
    module = Conv4((1, 28, 28))
    assert in_eval(module, batch((1, 28, 28))).shape == (4, 64)
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64] * 4
    assert sum(p.numel() for p in module.parameters()) == 9 * 64 + 3 * 9 * 64**2 + 4 * 2 * 64


def test_pooling_before_the_relu_is_the_same_function():
    module = randomised(Conv4(PICTURE, n_filters=4)).eval()
    *blocks, flatten = module
    papers_order = nn.Sequential(
        *(nn.Sequential(conv, norm, relu, pool) for conv, norm, pool, relu in blocks), flatten
    )
    x = batch(PICTURE)
    assert torch.equal(in_eval(module, x), in_eval(papers_order, x))


@pytest.mark.parametrize(
    ("shape", "sides"), [((1, 28, 28), (5, 5)), ((3, 84, 84), (19, 19)), ((1, 16, 20), (2, 3))]
)
def test_conv4_maps_keeps_the_positions_of_the_paper(shape, sides):
    module = make_backbone("conv4_maps", shape)
    assert in_eval(module, batch(shape)).shape == (4, 64, *sides)


def test_resnet12_averages_over_positions():
    assert in_eval(ResNet12(PICTURE, widths=(4, 4, 4, 7)), batch(PICTURE)).shape == (4, 7)


# ------------------------------------------------------------------ linear starts


def test_residual_backbones_start_as_the_identity():
    x = batch(PICTURE)
    assert torch.equal(in_eval(ResidualMLP(PICTURE), x), x.flatten(1))
    module, series = Spectral(SERIES), batch(SERIES)
    assert torch.equal(in_eval(module, series), module.front(series))


def test_residual_backbones_start_from_a_projection():
    x = batch(VECTOR)
    projection = torch.randn(*VECTOR, 3, generator=torch.Generator().manual_seed(1))
    module = ResidualMLP(VECTOR, embedding_dim=3)
    assert has_linear_start(module)
    assert has_linear_start(Spectral(SERIES, embedding_dim=3))
    module.start_from(projection)
    torch.testing.assert_close(in_eval(module, x), x @ projection)


def test_the_linear_path_of_a_wide_input_has_no_weights():
    module = ResidualMLP((1025,), hidden_dim=4)
    assert not has_linear_start(module)
    assert isinstance(module.linear, nn.Identity)
    assert torch.equal(in_eval(module, batch((1025,))), batch((1025,)))


def test_only_backbones_without_a_random_start_start_from_features():
    modules = {name: make_backbone(name, TAKES[name][0]) for name in BACKBONES}
    starts = {name for name, module in modules.items() if starts_from_features(module)}
    assert starts == {"identity", "residual_mlp", "spectral"}


def test_untrained_distances_mean_nothing_behind_batch_normalisation():
    modules = {name: make_backbone(name, TAKES[name][0]) for name in BACKBONES}
    trusted = {name for name, module in modules.items() if distances_mean_something(module)}
    assert trusted == {"identity", "residual_mlp", "spectral", "mlp", "koch"}


# ------------------------------------------------------------------ frozen networks


def test_a_frozen_network_never_changes():
    network = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Unflatten(1, (2, 2)))
    frozen = Frozen(randomised(network)).train()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    embedding = frozen(batch(VECTOR))
    assert embedding.shape == (4, 4)
    assert not frozen.training
    assert not embedding.requires_grad
    assert torch.equal(embedding, frozen(batch(VECTOR)))
    for name, value in frozen.state_dict().items():
        assert torch.equal(value, before[name])


# ------------------------------------------------------------------ backbones of the user


class Sized(nn.Linear):
    """A backbone class that asks for the input shape."""

    def __init__(self, input_shape, n_out=3):
        super().__init__(input_shape[0], n_out)


def test_a_module_is_copied():
    network = nn.Linear(5, 3)
    module = make_backbone(network, VECTOR)
    assert module is not network
    assert equal_states(module, network)
    with torch.no_grad():
        module.weight.add_(1.0)
    assert not equal_states(module, network)


@pytest.mark.parametrize(
    "factory",
    [Sized, partial(Sized, n_out=3), lambda input_shape: Sized(input_shape), lambda: Sized((5,))],
    ids=["class", "partial", "function", "function without input_shape"],
)
def test_classes_and_functions_are_called(factory):
    assert in_eval(make_backbone(factory, VECTOR), batch(VECTOR)).shape == (4, 3)


def test_trying_the_backbone_leaves_its_mode_and_statistics():
    network = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).train()
    module = make_backbone(network, VECTOR)
    assert module.training
    assert equal_states(module, network)


class Returns(nn.Module):
    """A backbone that returns what it is told to."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x.sum(), r"one embedding per sample.*Got \(\)"),
        (lambda x: x.sum(dim=1), r"one embedding per sample.*Got \(2,\)"),
        (lambda x: x[:1], r"one embedding per sample.*Got \(1, 5\)"),
        (lambda x: (x, x), r"one embedding per sample.*Got tuple"),
        (lambda x: x + torch.nan, r"NaN or infinity.*Check its weights"),
        (lambda x: x - torch.inf, r"NaN or infinity.*Check its weights"),
    ],
)
def test_a_backbone_must_return_finite_embeddings(make, message):
    with pytest.raises(ValueError, match=f"The backbone Returns .*{message}"):
        make_backbone(Returns(make), VECTOR)


def test_a_backbone_for_another_shape_is_named_with_its_error():
    with pytest.raises(ValueError, match=r"Linear failed on samples of shape \(5,\).*input_shape"):
        make_backbone(nn.Linear(4, 3), VECTOR)


def test_a_factory_must_return_a_module():
    with pytest.raises(TypeError, match=r"'backbone' parameter must be .* Got .* returned str"):
        make_backbone(lambda: "conv4", VECTOR)


def test_the_identity_flattens():
    x = batch(PICTURE)
    assert torch.equal(Identity(PICTURE)(x), x.flatten(1))
