"""Laws of the distortions: geometry in pixels, ranges, independence, layout, errors."""

import copy
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import affine_transform, gaussian_filter

from sklearn_fewshot.nn._augment import (
    AUGMENTATIONS,
    Affine,
    RandomAffine,
    affine_matrices,
    resolve_augmentation,
    warp,
)
from sklearn_fewshot.nn._data import channels_last


def affine(n=1, rotation=0.0, shear=(0.0, 0.0), scale=(1.0, 1.0), shift=(0.0, 0.0)):
    """Make the same distortion for each of ``n`` pictures."""
    rows = [torch.tensor(x, dtype=torch.float64) for x in (rotation, shear, scale, shift)]
    return Affine(*(row.expand(n, *row.shape) for row in rows))


def some_affines(n=20):
    """Draw distortions far beyond the default ranges."""
    augment = RandomAffine(170.0, 0.9, (0.3, 3.0), 0.4, probability=0.8)
    return augment.draw(picture((n, 1, 11, 16)))


def picture(shape=(1, 1, 12, 20), dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def smooth_picture(height, width):
    noise = np.random.default_rng(0).random((height, width))
    return torch.from_numpy(gaussian_filter(noise, 2.0))[None, None]


def distort(pictures, **params):
    return warp(pictures, affine_matrices(affine(len(pictures), **params)))


def forward_map(theta, shear, scale):
    """Compute where a point goes, from the formula of the docstring."""
    theta = np.deg2rad(theta)
    rotation = [[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]]
    return np.array(rotation) @ [[1.0, shear[0]], [shear[1], 1.0]] @ np.diag(scale)


# ------------------------------------------------------------------ geometry


def test_the_matrices_undo_the_formula():
    drawn = some_affines()
    matrices = affine_matrices(drawn).numpy()
    assert matrices.shape == (20, 2, 3)
    point = np.array([3.0, -7.0])
    for i, matrix in enumerate(matrices):
        rotation, shear, scale, shift = (part[i].numpy() for part in drawn)
        moved = forward_map(rotation, shear, scale) @ point + shift
        assert_allclose(matrix[:, :2] @ moved + matrix[:, 2], point)


def test_warping_equals_scipy():
    source = smooth_picture(11, 16)
    matrices = affine_matrices(some_affines())
    warped = warp(source.expand(len(matrices), -1, -1, -1), matrices)
    centre = np.array([5.0, 7.5])  # scipy counts (row, column) from the first pixel
    for got, matrix in zip(warped[:, 0].numpy(), matrices.numpy(), strict=True):
        linear, shift = matrix[::-1, 1::-1], matrix[::-1, 2]
        expected = affine_transform(
            source[0, 0].numpy(),
            linear,
            offset=centre - linear @ centre + shift,
            order=1,
            mode="grid-constant",
        )
        assert_allclose(got, expected, atol=1e-12)


def test_a_shift_by_whole_pixels_goes_right_and_down():
    pictures = picture()
    expected = torch.zeros_like(pictures)
    expected[..., 3:, 2:] = pictures[..., :-3, :-2]
    torch.testing.assert_close(distort(pictures, shift=(2.0, 3.0)), expected)


def test_a_quarter_turn_is_clockwise_and_does_not_stretch():
    pictures = picture((1, 2, 12, 20))
    expected = torch.zeros_like(pictures)
    expected[..., 4:16] = pictures[..., 4:16].rot90(-1, dims=(2, 3))
    torch.testing.assert_close(distort(pictures, rotation=90.0), expected)


def test_a_half_turn_reverses_both_axes():
    pictures = picture()
    torch.testing.assert_close(distort(pictures, rotation=180.0), pictures.flip(2, 3))


def test_a_scale_above_one_enlarges():
    block = torch.zeros(1, 1, 12, 20, dtype=torch.float64)
    block[..., 4:8, 8:12] = 1.0
    expected = torch.zeros_like(block)
    expected[..., 4:8, 4:16] = 1.0
    inner = (..., slice(4, 8), slice(6, 14))  # the edges are ramps
    assert torch.equal(distort(block, scale=(3.0, 1.0))[inner], expected[inner])
    assert distort(block, scale=(3.0, 1.0)).sum().item() == pytest.approx(3 * 16)


def test_a_shear_moves_each_row_by_its_height():
    pictures = picture((1, 1, 5, 20))
    sheared = distort(pictures, shear=(1.0, 0.0))
    for row, step in enumerate([-2, -1, 0, 1, 2]):
        inner = slice(2, 18)
        rolled = pictures[0, 0, row].roll(step)
        torch.testing.assert_close(sheared[0, 0, row, inner], rolled[inner])


# ------------------------------------------------------------------ chance


def test_without_probability_nothing_changes():
    pictures = picture((8, 3, 17, 9), torch.float32)
    augmented = RandomAffine(probability=0.0)(pictures)
    torch.testing.assert_close(augmented, pictures, rtol=0, atol=1e-5)


def test_every_picture_is_distorted_on_its_own():
    same = picture((1, 1, 28, 28)).expand(30, -1, -1, -1)
    augmented = RandomAffine(probability=1.0)(same).flatten(1)
    apart = torch.cdist(augmented, augmented) + torch.eye(30, dtype=torch.float64)
    assert apart.min() > 1e-3


def test_the_channels_of_a_picture_move_together():
    grey = picture((6, 1, 15, 15)).repeat(1, 3, 1, 1)
    augmented = RandomAffine()(grey)
    assert torch.equal(augmented, augmented[:, :1].repeat(1, 3, 1, 1))


def test_draws_keep_to_their_ranges_and_reach_their_ends():
    drawn = RandomAffine(probability=1.0).draw(picture((1, 1, 1, 1)).expand(4000, 1, 105, 210))
    ends = [
        (drawn.rotation, -10.0, 10.0),
        (drawn.shear, -0.3, 0.3),
        (drawn.scale, 0.8, 1.2),
        (drawn.shift[:, 0], -4.0, 4.0),
        (drawn.shift[:, 1], -2.0, 2.0),
    ]
    for values, low, high in ends:
        slack = 0.01 * (high - low)
        assert low <= values.min() < low + slack
        assert high - slack < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 3 * slack


def test_each_axis_has_its_own_value():
    drawn = RandomAffine(probability=1.0).draw(picture((2000, 1, 28, 28)))
    columns = torch.column_stack([drawn.rotation, drawn.shear, drawn.scale, drawn.shift])
    correlation = columns.T.corrcoef()
    assert (correlation - torch.eye(7, dtype=torch.float64)).abs().max() < 0.1


@pytest.mark.parametrize("probability", [0.5, 0.8])
def test_the_four_distortions_are_included_independently(probability):
    n = 8000
    drawn = RandomAffine(probability=probability).draw(picture((n, 1, 1, 1)))
    included = torch.stack(
        [
            drawn.rotation != 0,
            (drawn.shear != 0).all(dim=1),
            (drawn.scale != 1).all(dim=1),
            (drawn.shift != 0).all(dim=1),
        ],
        dim=1,
    )
    code = (included.long() * torch.tensor([1, 2, 4, 8])).sum(dim=1)
    frequency = torch.bincount(code, minlength=16) / n
    for subset in range(16):
        n_included = subset.bit_count()
        expected = probability**n_included * (1 - probability) ** (4 - n_included)
        assert abs(frequency[subset].item() - expected) < 5 * (expected / n) ** 0.5


def test_one_picture_in_sixteen_is_left_alone():
    pictures = picture((4000, 1, 8, 8), torch.float32)
    change = (RandomAffine()(pictures) - pictures).abs().amax(dim=(1, 2, 3))
    assert abs((change < 1e-5).double().mean().item() - 1 / 16) < 0.02


def test_the_seed_decides():
    pictures = picture((5, 1, 20, 20))

    def augmented(seed):
        torch.manual_seed(seed)
        return RandomAffine()(pictures)

    assert torch.equal(augmented(3), augmented(3))
    assert not torch.equal(augmented(3), augmented(4))


# ------------------------------------------------------------------ what goes in comes out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last])
def test_the_memory_layout_stays(channels, layout):
    pictures = layout(picture((4, channels, 10, 13), torch.float32))
    augmented = RandomAffine()(pictures)
    assert augmented.shape == pictures.shape
    assert augmented.stride() == pictures.stride()


def test_the_memory_layout_does_not_change_the_result():
    pictures = picture((4, 3, 10, 13))
    matrices = affine_matrices(some_affines(4))
    torch.testing.assert_close(
        warp(channels_last(pictures), matrices), warp(pictures, matrices), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype):
    augmented = RandomAffine()(picture((4, 1, 10, 13), dtype))
    assert augmented.dtype is dtype
    assert augmented.isfinite().all()


def test_half_precision_is_only_the_pictures():
    pictures = picture((4, 1, 90, 90)).half()
    matrices = affine_matrices(some_affines(4)).float()
    torch.testing.assert_close(
        warp(pictures, matrices).float(), warp(pictures.float(), matrices), rtol=1e-3, atol=1e-3
    )


def test_the_input_is_not_written_to():
    pictures = picture((3, 1, 9, 9))
    before = pictures.clone()
    RandomAffine()(pictures)
    assert torch.equal(pictures, before)


# ------------------------------------------------------------------ names and errors


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_names_give_fresh_augmentations(name):
    augment = resolve_augmentation(name)
    assert isinstance(augment, AUGMENTATIONS[name])
    assert augment is not resolve_augmentation(name)
    assert copy.deepcopy(augment)(picture((2, 1, 28, 28))).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("augment", [None, torch.neg, RandomAffine(max_shift=0.0)])
def test_callables_and_none_are_themselves(augment):
    assert resolve_augmentation(augment) is augment


def test_an_unknown_name_is_refused_with_the_known():
    with pytest.raises(ValueError, match=r"'augment' parameter .* 'affine'.* Got 'afine'"):
        resolve_augmentation("afine")


@pytest.mark.parametrize(
    "samples",
    [torch.rand(4, 5), torch.rand(4, 2, 30), torch.zeros(4, 1, 9, 9, dtype=torch.uint8)],
    ids=["table", "series", "integers"],
)
def test_only_float_pictures_are_taken(samples):
    got = re.escape(f"Got {samples.dtype} of shape {tuple(samples.shape)}")
    with pytest.raises(ValueError, match=rf"takes float images .*{got}.*pass a callable or None"):
        RandomAffine()(samples)


@pytest.mark.parametrize(
    "params",
    [
        {"max_rotation": -1.0},
        {"max_shear": 1.0},
        {"max_shear": -0.1},
        {"scale_range": (0.0, 1.2)},
        {"scale_range": (1.2, 0.8)},
        {"max_shift": -0.1},
        {"probability": 1.5},
    ],
)
def test_parameters_out_of_range_are_named(params):
    ((name, value),) = params.items()
    message = rf"'{name}' parameter of RandomAffine must be .* Got {re.escape(repr(value))}"
    with pytest.raises(ValueError, match=message):
        RandomAffine(**params)
