"""Batch normalisation by the moments of a support set."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_fewshot.nn.optimization import TaskNorm, with_task_norm


def trained_norm(kind=nn.BatchNorm2d):
    norm = kind(3)
    with torch.no_grad():
        for value in (norm.weight, norm.running_var):
            value.uniform_(0.5, 2.0)
        for value in (norm.bias, norm.running_mean):
            value.normal_()
    return norm.eval()


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (5, 3)), (nn.BatchNorm2d, (5, 3, 4, 2))]
)
def test_without_a_support_set_it_is_the_layer_in_evaluation_mode(kind, shape):
    norm = trained_norm(kind)
    x = torch.randn(shape)
    torch.testing.assert_close(TaskNorm(norm)(x), norm(x))


def test_moments_are_those_of_the_support_set_mixed_with_the_running_ones():
    norm = trained_norm()
    x, weight = torch.randn(5, 3, 4, 2), torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0])
    task_norm = TaskNorm(norm)
    task_norm.row_weight = weight
    task_norm(x)
    mean, variance = (moment.detach().numpy() for moment in task_norm.moments)
    rows = np.repeat(x.numpy(), weight.numpy().astype(int), axis=0).transpose(1, 0, 2, 3)
    own = rows.reshape(3, -1)
    running = norm.running_mean.numpy(), norm.running_var.numpy()
    np.testing.assert_allclose(mean, (5 * own.mean(axis=1) + running[0]) / 6, rtol=1e-5)
    np.testing.assert_allclose(variance, (5 * own.var(axis=1) + running[1]) / 6, rtol=1e-5)


def test_queries_are_normalised_by_given_moments():
    norm = trained_norm(nn.BatchNorm1d)
    x, mean, variance = torch.randn(4, 3), torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    task_norm = TaskNorm(norm)
    task_norm.moments = (mean, variance)
    expected = (x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(task_norm(x), expected)


def test_a_single_example_of_one_pixel_is_finite():
    task_norm = TaskNorm(nn.BatchNorm2d(3))
    task_norm.row_weight = torch.ones(1)
    assert task_norm(torch.randn(1, 3, 1, 1)).isfinite().all()


def test_running_moments_follow_those_of_support_sets():
    task_norm = TaskNorm(nn.BatchNorm1d(2))
    task_norm.follow((torch.tensor([[1.0, 3.0], [3.0, 3.0]]), torch.full((2, 2), 2.0)))
    torch.testing.assert_close(task_norm.running_mean, torch.tensor([0.2, 0.3]))
    torch.testing.assert_close(task_norm.running_var, torch.tensor([1.1, 1.1]))
    assert task_norm.num_batches_tracked == 1


def test_weights_keep_their_names_and_activations_are_not_in_place():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net = with_task_norm(net)
    assert isinstance(net[1], TaskNorm)
    assert not net[2].inplace
    assert net.state_dict().keys() == before.keys()
    net.load_state_dict(before)
