"""Support sets as states; sums, logsumexps, maxima and means within classes, by plain loops."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from sklearn_fewshot.nn._support import (
    Support,
    class_logsumexp,
    class_max,
    class_mean,
    class_means,
    class_sums,
    from_state,
    to_state,
)


@pytest.fixture
def values(make_query, ragged):
    """A value for each query and item."""
    return make_query(shape=(ragged.target.shape[1],))


@pytest.fixture
def weighted(ragged):
    """The ragged support set with some items that stand for several examples."""
    weight = ragged.weight.clone()
    weight[0, 2], weight[1, 1], weight[2, 3] = 3.0, 2.0, 5.0
    return ragged._replace(weight=weight)


def by_loops(condense, values, support, empty=-np.inf):
    """Apply ``condense(values, weights)`` to the real items of each query and class."""
    result = np.full((*values.shape[:2], support.n_classes), empty)
    for episode, query, label in np.ndindex(result.shape):
        members = [
            item
            for item, code in enumerate(support.target[episode])
            if code == label and support.weight[episode, item] > 0
        ]
        if members:
            condensed = condense(
                values[episode, query, members].numpy(), support.weight[episode, members].numpy()
            )
            result[episode, query, label] = condensed
    return result


@pytest.mark.parametrize(
    ("function", "condense"),
    [
        (class_logsumexp, lambda values, weight: np.log(np.sum(weight * np.exp(values)))),
        (class_max, lambda values, weight: max(values)),
        (class_mean, lambda values, weight: sum(values * weight) / sum(weight)),
    ],
)
def test_values_of_a_class_equal_plain_loops(function, condense, values, weighted):
    expected = by_loops(condense, values, weighted)
    assert (expected[2, :, 2] == -np.inf).all()
    np.testing.assert_allclose(function(values, weighted), expected, rtol=1e-12)


def test_balanced_classes_average_instead_of_summing(values, weighted):
    def mean(values, weight):
        return np.log(np.sum(weight * np.exp(values)) / np.sum(weight))

    balanced = class_logsumexp(values, weighted, balanced=True)
    np.testing.assert_allclose(balanced, by_loops(mean, values, weighted), rtol=1e-12)


def test_sums_equal_plain_loops(make_support):
    support = make_support()
    expected = np.zeros((3, 4, 6))
    for episode, codes in enumerate(support.target):
        for item, code in enumerate(codes):
            expected[episode, code] += support.inputs[episode, item].numpy()
    np.testing.assert_allclose(class_sums(support.inputs, support), expected, rtol=1e-12)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e4, 1e30])
def test_logsumexp_of_any_size_is_accurate_and_has_gradients(values, weighted, balanced, size):
    values = (size * values).requires_grad_()
    result = class_logsumexp(values, weighted, balanced=balanced)

    def expected(values, weight):
        return logsumexp(values, b=weight / np.sum(weight) if balanced else weight)

    by_hand = by_loops(expected, values.detach(), weighted)
    np.testing.assert_allclose(result.detach(), by_hand, rtol=1e-12, atol=1e-12)
    result[result.isfinite()].sum().backward()
    assert values.grad.isfinite().all()
    real = (weighted.weight > 0).unsqueeze(1).expand_as(values)
    assert (values.grad[~real] == 0).all()
    present = int(result.isfinite().sum())
    np.testing.assert_allclose(values.grad.sum(), present)  # the attention within a class is one


def test_means_do_not_depend_on_the_unit_of_the_weights(values, weighted):
    """Unlabelled samples count as fractions of an example."""
    thousandth = weighted._replace(weight=weighted.weight / 1000)
    means, expected = class_means(thousandth), class_means(weighted)
    torch.testing.assert_close(means.inputs, expected.inputs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(1000 * means.weight, expected.weight, rtol=1e-10, atol=1e-12)
    for function in (class_mean, partial(class_logsumexp, balanced=True)):
        scores, expected = function(values, thousandth), function(values, weighted)
        torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_absent_classes_make_no_nan_on_the_way_back(values, weighted):
    """What is masked in the end would not show, but torch's search for anomalies would stop."""
    for balanced in (False, True):
        with torch.autograd.detect_anomaly():
            result = class_logsumexp(values.requires_grad_(), weighted, balanced=balanced)
            result[result.isfinite()].sum().backward()


@pytest.mark.parametrize("function", [class_logsumexp, class_max, class_mean])
def test_gradients_are_right(function, values, weighted):
    def of_present(values):
        result = function(values, weighted)
        return result[result.isfinite()]

    assert torch.autograd.gradcheck(of_present, values.requires_grad_())


def test_a_class_of_padding_only_and_a_class_of_no_item_are_alike():
    values = torch.zeros(1, 2, 3, dtype=torch.float64)
    code, weight = torch.tensor([[0, 1, 1]]), torch.tensor([[1.0, 0.0, 0.0]])
    support = Support(torch.zeros(1, 3, 1), code, weight, 3)
    for function in (class_logsumexp, class_max, class_mean):
        scores = function(values, support)
        assert (scores[..., 0] == 0).all()
        assert (scores[..., 1:] == -np.inf).all()


# ------------------------------------------------------------------ states


def test_a_support_set_comes_back_from_a_state(weighted):
    support = from_state(to_state(weighted))
    assert support.n_classes == weighted.n_classes
    for value, expected in zip(support[:3], weighted[:3], strict=True):
        assert value is expected


def test_a_state_counts_the_examples_of_each_class(weighted):
    state = to_state(weighted)
    assert state["count"].shape == (3, 4)
    for episode, label in np.ndindex(3, 4):
        members = weighted.target[episode] == label
        assert state["count"][episode, label] == weighted.weight[episode, members].sum()
    assert state["count"][2, 2] == 0


def test_the_first_axis_of_a_state_is_the_episode(weighted):
    """So some episodes of a state are the state of these episodes."""
    whole = to_state(weighted)
    alone = to_state(Support(*(value[1:2] for value in weighted[:3]), 4))
    assert whole.keys() == alone.keys()
    for name, value in whole.items():
        assert torch.equal(value[1:2], alone[name])


def test_a_class_that_has_no_item_is_still_one():
    support = Support(torch.zeros(1, 2, 3), torch.tensor([[0, 0]]), torch.ones(1, 2), 5)
    assert from_state(to_state(support)).n_classes == 5
