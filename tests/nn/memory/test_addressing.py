"""Addressing by content and location: plain loops, invariances, gradients."""

import math

import pytest
import torch

from sklearn_fewshot.nn.memory import content_weights, interpolate, sharpen, shift

N_SEQUENCES, N_HEADS, N_SLOTS, WIDTH = 2, 3, 5, 4


def make(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_SEQUENCES, *shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def key():
    return make(N_HEADS, WIDTH)


@pytest.fixture
def memory():
    return make(N_SLOTS, WIDTH, seed=1)


@pytest.fixture
def strength():
    return make(N_HEADS, seed=2).exp()


@pytest.fixture
def weights():
    return make(N_HEADS, N_SLOTS, seed=3).softmax(dim=-1)


@pytest.fixture
def previous():
    return make(N_HEADS, N_SLOTS, seed=4).softmax(dim=-1)


@pytest.fixture
def gate():
    return make(N_HEADS, seed=5).sigmoid()


@pytest.fixture(params=[1, 3, 5], ids="{} offsets".format)
def kernel(request):
    return make(N_HEADS, request.param, seed=6).softmax(dim=-1)


@pytest.fixture
def gamma():
    return 1.0 + make(N_HEADS, seed=7).exp()


def compare(found, expected):
    """Compare weights with what a function of sequence, head and slot says."""
    assert found.shape == (N_SEQUENCES, N_HEADS, N_SLOTS)
    for s in range(N_SEQUENCES):
        for head in range(N_HEADS):
            for slot in range(N_SLOTS):
                wanted = expected(s, head, slot)
                assert float(found[s, head, slot]) == pytest.approx(wanted, rel=1e-12)


# ------------------------------------------------------------------ plain loops


def test_content_weights_are_a_softmax_of_cosines(key, memory, strength):
    def power(s, head, slot):
        u, v = key[s, head].tolist(), memory[s, slot].tolist()
        cosine = sum(a * b for a, b in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)
        return math.exp(float(strength[s, head]) * cosine)

    def expected(s, head, slot):
        return power(s, head, slot) / sum(power(s, head, other) for other in range(N_SLOTS))

    compare(content_weights(key, memory, strength), expected)


def test_interpolation_mixes_slot_by_slot(weights, previous, gate):
    def expected(s, head, slot):
        g = float(gate[s, head])
        return g * float(weights[s, head, slot]) + (1 - g) * float(previous[s, head, slot])

    compare(interpolate(weights, previous, gate), expected)


def test_shift_is_a_circular_convolution(weights, kernel):
    reach = kernel.shape[-1] // 2

    def expected(s, head, slot):
        total = 0.0
        for offset in range(-reach, reach + 1):
            share = float(kernel[s, head, offset + reach])
            total += share * float(weights[s, head, (slot - offset) % N_SLOTS])
        return total

    compare(shift(weights, kernel), expected)


def test_sharpening_divides_powers_by_their_sum(weights, gamma):
    def expected(s, head, slot):
        powers = [w ** float(gamma[s, head]) for w in weights[s, head].tolist()]
        return powers[slot] / sum(powers)

    compare(sharpen(weights, gamma), expected)


# ------------------------------------------------------------------ invariances


def test_all_are_distributions_over_slots(
    key, memory, strength, weights, previous, gate, kernel, gamma
):
    for found in (
        content_weights(key, memory, strength),
        interpolate(weights, previous, gate),
        shift(weights, kernel),
        sharpen(weights, gamma),
    ):
        assert (found >= 0.0).all()
        torch.testing.assert_close(found.sum(dim=-1), torch.ones_like(gate))


def test_content_weights_depend_on_directions_only(key, memory, strength):
    found = content_weights(7.0 * key, 0.01 * memory, strength)
    torch.testing.assert_close(found, content_weights(key, memory, strength))


def test_content_weights_follow_the_order_of_the_slots(key, memory, strength):
    order = torch.tensor([3, 0, 4, 1, 2])
    found = content_weights(key, memory[:, order], strength)
    torch.testing.assert_close(found, content_weights(key, memory, strength)[..., order])


def test_without_strength_all_slots_weigh_the_same(key, memory, strength):
    found = content_weights(key, memory, 0.0 * strength)
    torch.testing.assert_close(found, torch.full_like(found, 1 / N_SLOTS))


def test_gates_choose(weights, previous, gate):
    assert torch.equal(interpolate(weights, previous, torch.ones_like(gate)), weights)
    assert torch.equal(interpolate(weights, previous, torch.zeros_like(gate)), previous)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_a_shift_by_one_offset_rolls(weights, offset):
    kernel = torch.zeros(N_SEQUENCES, N_HEADS, 5, dtype=torch.float64)
    kernel[..., offset + 2] = 1.0
    assert torch.equal(shift(weights, kernel), weights.roll(offset, dims=-1))


def test_a_kernel_has_a_middle(weights):
    with pytest.raises(ValueError, match=r"must have an odd length.*Got 4"):
        shift(weights, make(N_HEADS, 4))


def test_sharpening_with_one_changes_nothing(weights, gate):
    torch.testing.assert_close(sharpen(weights, torch.ones_like(gate)), weights)


def test_sharpening_leaves_the_largest(weights, gate):
    found = sharpen(weights, torch.full_like(gate, 1000.0))
    assert torch.equal(found.argmax(dim=-1), weights.argmax(dim=-1))
    torch.testing.assert_close(found.amax(dim=-1), torch.ones_like(gate))


def test_sharpening_survives_powers_below_the_smallest_number():
    flat = torch.full((1, 128), 1 / 128)
    torch.testing.assert_close(sharpen(flat, torch.tensor([50.0])), flat)


# ------------------------------------------------------------------ gradients


def test_gradients_are_those_of_finite_differences(
    key, memory, strength, weights, previous, gate, kernel, gamma
):
    for function, *inputs in (
        (content_weights, key, memory, strength),
        (interpolate, weights, previous, gate),
        (shift, weights, kernel),
        (sharpen, weights, gamma),
    ):
        inputs = [value.clone().requires_grad_() for value in inputs]
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-14, 1e-6])
def test_zero_and_tiny_rows_give_finite_weights_and_gradients(dtype, length):
    key = torch.tensor([[1.0, 0.0], [length, 0.0]], dtype=dtype, requires_grad=True)
    rows = [[length, 0.0], [0.0, 1.0], [0.0, 0.0]]
    memory = torch.tensor(rows, dtype=dtype, requires_grad=True)
    weights = content_weights(key, memory, torch.tensor([1.0, 2.0], dtype=dtype))
    weights[:, 0].sum().backward()
    for values in (weights, key.grad, memory.grad):
        assert values.isfinite().all()
    assert (memory.grad[2] == 0.0).all()
    torch.testing.assert_close(weights[0, 1], weights[0, 2])  # cosines of 0


def test_weights_of_zero_give_finite_gradients_when_sharpened():
    weights = torch.tensor([[1.0, 0.0]], requires_grad=True)
    gamma = torch.tensor([1.0], requires_grad=True)
    sharpen(weights, gamma)[0, 0].backward()
    assert weights.grad.isfinite().all()
    assert gamma.grad.isfinite().all()
