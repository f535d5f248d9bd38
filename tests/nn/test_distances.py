"""Laws of the distances: they are scipy's, in any shape, with gradients, near and far."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sklearn_fewshot.nn import METRICS, get_metric

ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))


def points(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


@ALL_METRICS
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_metrics_equal_scipy(metric, dtype, rtol):
    a, b = points(7, 5, dtype=dtype), points(4, 5, seed=1, dtype=dtype)
    distance = get_metric(metric)(a, b)
    assert distance.dtype == dtype
    expected = cdist(a.double().numpy(), b.double().numpy(), metric)
    np.testing.assert_allclose(distance, expected, rtol=rtol)


@ALL_METRICS
def test_leading_axes_are_independent(metric):
    a, b = points(3, 2, 7, 5), points(3, 2, 4, 5, seed=1)
    distance = get_metric(metric)(a, b)
    assert distance.shape == (3, 2, 7, 4)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_allclose(distance[i, j], cdist(a[i, j], b[i, j], metric), rtol=1e-12)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock"])
def test_near_pairs_far_from_the_origin_keep_their_digits(metric):
    a = (100.0 + points(7, 64)).float()
    b = a[:4] + 1e-3 * points(4, 64, seed=1).float()
    distance = get_metric(metric)(a, b)
    expected = cdist(a.double().numpy(), b.double().numpy(), metric)
    np.testing.assert_allclose(distance, expected, rtol=1e-6)


@ALL_METRICS
def test_distances_are_not_negative_and_vanish_between_equal_points(metric):
    a = points(50, 8, dtype=torch.float32)
    distance = get_metric(metric)(a, a)
    assert distance.min() > -1e-15
    np.testing.assert_allclose(distance.diagonal(), 0.0, atol=1e-6)


@ALL_METRICS
def test_gradients_are_right(metric):
    a, b = points(2, 3, 4).requires_grad_(), points(2, 2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(get_metric(metric), (a, b))


@ALL_METRICS
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_are_finite_between_equal_points(metric, value):
    a = torch.full((2, 3), value, requires_grad=True)
    b = torch.full((1, 3), value, requires_grad=True)
    get_metric(metric)(a, b).sum().backward()
    assert a.grad.isfinite().all()
    assert b.grad.isfinite().all()


def test_a_zero_vector_is_at_cosine_distance_one_from_everything():
    distance = get_metric("cosine")(torch.zeros(1, 5), points(4, 5, dtype=torch.float32))
    np.testing.assert_array_equal(distance, np.ones((1, 4)))


def test_a_callable_is_taken_as_it_is():
    def chebyshev(a, b):
        return (a.unsqueeze(-2) - b.unsqueeze(-3)).abs().amax(-1)

    assert get_metric(chebyshev) is chebyshev
