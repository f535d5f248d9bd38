"""The regression that zero-shot training starts from, against ridge regression by scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sklearn_fewshot.training import _attribute_regression
from sklearn_fewshot.training._attribute_regression import (
    PENALTIES,
    LinearMap,
    attribute_regression,
    class_accuracy,
    class_mean,
)


def make_data(n_classes=12, n_features=7, n_attributes=4, noise=0.5, seed=0):
    """Make classes of unequal sizes whose means are linear in unit attributes."""
    rng = np.random.default_rng(seed)
    attributes = rng.normal(size=(n_classes, n_attributes))
    attributes /= np.linalg.norm(attributes, axis=1, keepdims=True)
    codes = rng.permutation(np.repeat(np.arange(n_classes), rng.integers(2, 15, size=n_classes)))
    X = (attributes @ rng.normal(size=(n_attributes, n_features)))[codes] + 3.0
    return X + noise * rng.normal(size=X.shape), codes, attributes


def balanced_weights(codes):
    """Return weights with which every class weighs as much, one together."""
    weight = np.zeros(len(codes))
    for k in np.unique(codes):
        weight[codes == k] = 1.0 / np.sum(codes == k) / len(np.unique(codes))
    return weight


def damped(attributes):
    """Solve for the two-sided penalty: of the largest variance of a direction."""
    covariance = sum(np.outer(v, v) for v in attributes) / len(attributes)
    largest = np.linalg.eigvalsh(covariance)[-1]
    return np.linalg.inv(covariance + largest * np.eye(len(covariance)))


def mean_projection(mapped, codes, attributes):
    by_class = [
        np.mean([mapped[i] @ attributes[k] for i in np.flatnonzero(codes == k)])
        for k in np.unique(codes)
    ]
    return np.mean(by_class)


def ridge(X, codes, attributes, penalty):
    """Return the unscaled map by scikit-learn: a penalty in units of the mean variance."""
    weight = balanced_weights(codes)
    mean = weight @ X
    variance = np.sum(weight @ (X - mean) ** 2) / X.shape[1]
    used = attributes[np.unique(codes)]
    model = Ridge(alpha=penalty * variance, fit_intercept=False)
    model.fit(X - mean, attributes[codes], sample_weight=weight)
    coefficients = model.coef_.T @ damped(used)
    return LinearMap(coefficients, -mean @ coefficients)


def test_it_is_a_ridge_regression_of_classes_that_count_equally():
    X, codes, attributes = make_data()
    regression = attribute_regression(X, codes, attributes, None)
    expected = ridge(X, codes, attributes, 1.0)
    factor = 1.0 / mean_projection(expected(X), codes, attributes)
    np.testing.assert_allclose(regression.weight, factor * expected.weight, rtol=1e-8)
    np.testing.assert_allclose(regression(X), factor * expected(X), rtol=1e-6, atol=1e-10)


def test_the_mean_projection_on_the_own_attributes_is_one():
    X, codes, attributes = make_data()
    for rng in (None, np.random.default_rng(0)):
        mapped = attribute_regression(X, codes, attributes, rng)(X)
        assert mean_projection(mapped, codes, attributes) == pytest.approx(1.0)
        weighted = balanced_weights(codes) @ mapped
        np.testing.assert_allclose(weighted, 0.0, atol=1e-12)  # the mean sample maps to zero


def test_samples_given_twice_in_one_class_change_nothing():
    X, codes, attributes = make_data()
    rows = np.concatenate([np.arange(len(X)), *3 * [np.flatnonzero(codes == 2)]])
    expected = attribute_regression(X, codes, attributes, None)
    regression = attribute_regression(X[rows], codes[rows], attributes, None)
    np.testing.assert_allclose(regression.weight, expected.weight, rtol=1e-8)
    np.testing.assert_allclose(regression.offset, expected.offset, rtol=1e-8)


def test_the_order_of_samples_and_unused_classes_change_nothing():
    X, codes, attributes = make_data()
    order = np.random.default_rng(0).permutation(len(X))
    more = np.vstack([[[9.0, 9.0, 9.0, 9.0]], attributes, 5.0 + attributes])
    for seed in (None, 0):
        rngs = (None if seed is None else np.random.default_rng(seed) for _ in range(2))
        expected = attribute_regression(X, codes, attributes, next(rngs))
        # Codes are only names: of the same order, the folds are the same.
        regression = attribute_regression(X[order], codes[order] + 1, more, next(rngs))
        np.testing.assert_allclose(regression.weight, expected.weight, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_the_unit_of_the_features_does_not_matter(factor):
    X, codes, attributes = make_data(n_features=4)
    for seed in (None, 0):
        rngs = (None if seed is None else np.random.default_rng(seed) for _ in range(2))
        expected = attribute_regression(X, codes, attributes, next(rngs))(X)
        scaled = attribute_regression(factor * X, codes, attributes, next(rngs))(factor * X)
        np.testing.assert_allclose(scaled, expected, rtol=1e-6, atol=1e-9)


def candidates_by_hand(X, codes, attributes):
    """Yield each candidate's map: ridge, then (in one space) shrunk towards the identity."""

    def towards_zero(penalty):
        return lambda X, codes: ridge(X, codes, attributes, penalty)

    def towards_identity(penalty):
        def fit(X, codes):
            weight = balanced_weights(codes)
            mean = weight @ X
            total = np.sum(weight @ (X - mean) ** 2)
            goal = np.eye(X.shape[1]) / np.sqrt(total)
            centred = X - mean
            # minimise sum w |x B - a|^2 + ridge |B - goal|^2, as ridge regression of B - goal
            model = Ridge(alpha=penalty * total / X.shape[1], fit_intercept=False)
            model.fit(centred, attributes[codes] - centred @ goal, sample_weight=weight)
            coefficients = model.coef_.T + goal
            return LinearMap(coefficients, -mean @ coefficients)

        return fit

    makers = [towards_zero(penalty) for penalty in PENALTIES]
    if X.shape[1] == attributes.shape[1]:
        makers += [towards_identity(penalty) for penalty in PENALTIES]
    return makers


def chosen_by_hand(X, codes, attributes, seed):
    """Return the candidate that tells classes of a fold apart best, learned on the others."""
    classes = np.unique(codes)
    n_folds = min(5, len(classes) // 2)
    folds = np.array_split(np.random.default_rng(seed).permutation(classes), n_folds)
    accuracy = []
    for fit in candidates_by_hand(X, codes, attributes):
        per_fold = []
        for fold in folds:
            outside = ~np.isin(codes, fold)
            regression = fit(X[outside], codes[outside])
            recalls = []
            for k in fold:
                scores = regression(X[codes == k]) @ attributes[fold].T
                recalls.append(np.mean(fold[scores.argmax(axis=1)] == k))
            per_fold.append(np.mean(recalls))
        accuracy.append(np.sum(per_fold))
    return int(np.argmax(accuracy)), accuracy


# Data of one space, where the identity is good, and of two, with little or much noise.
ONE_SPACE = {"n_features": 4, "n_attributes": 4}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("options", [{"noise": 2.0}, {"noise": 0.3}, {**ONE_SPACE, "noise": 1.0}])
def test_what_is_chosen_recognises_classes_that_were_left_out(seed, options):
    X, codes, attributes = make_data(seed=seed, **options)
    if options["noise"] == 1.0:
        noise = np.random.default_rng(seed).normal(size=X.shape)
        X = attributes[codes] + 0.3 * noise
    best, _ = chosen_by_hand(X, codes, attributes, seed)
    fit = candidates_by_hand(X, codes, attributes)[best]
    expected = fit(X, codes)
    factor = 1.0 / mean_projection(expected(X), codes, attributes)
    regression = attribute_regression(X, codes, attributes, np.random.default_rng(seed))
    np.testing.assert_allclose(regression.weight, factor * expected.weight, rtol=1e-7, atol=1e-10)


def test_the_cases_above_choose_different_things():
    choices = set()
    for seed in range(8):
        X, codes, attributes = make_data(seed=seed, noise=2.0)
        choices.add(chosen_by_hand(X, codes, attributes, seed)[0])
        noise = np.random.default_rng(seed).normal(size=(len(codes), 4))
        X = attributes[codes] + 0.3 * noise
        choices.add(chosen_by_hand(X, codes, attributes, seed)[0])
    assert len(choices) >= 3
    assert max(choices) >= len(PENALTIES)  # towards the identity, once at least


@pytest.mark.parametrize("n_classes", [2, 5])
def test_with_few_classes_nothing_is_chosen(n_classes, monkeypatch):
    X, codes, attributes = make_data(n_classes=n_classes, noise=2.0)
    regression = attribute_regression(X, codes, attributes, np.random.default_rng(0))
    expected = attribute_regression(X, codes, attributes, None)
    np.testing.assert_array_equal(regression.weight, expected.weight)
    assert _attribute_regression.PENALTIES[0] == 1.0


@pytest.mark.parametrize("what", ["features", "attributes", "both"])
def test_what_does_not_vary_gives_finite_maps(what):
    X, codes, attributes = make_data(n_features=4)
    if what != "attributes":
        X = np.full_like(X, 3.0)
    if what != "features":
        attributes = np.zeros_like(attributes)
    regression = attribute_regression(X, codes, attributes, np.random.default_rng(0))
    assert np.isfinite(regression(X)).all()


def test_more_features_than_samples_are_no_problem():
    X, codes, attributes = make_data(n_features=300, noise=0.1)
    mapped = attribute_regression(X, codes, attributes, np.random.default_rng(0))(X)
    predicted = (mapped @ attributes.T).argmax(axis=1)
    assert class_accuracy(predicted, codes) > 0.8


def test_means_of_classes_count_equally():
    codes = np.array([0, 0, 0, 3, 3, 5])
    values = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 6.0])
    assert class_mean(values, codes) == pytest.approx((2.0 + 15.0 + 6.0) / 3)
    assert class_accuracy(np.array([0, 1, 1, 3, 3, 0]), codes) == pytest.approx((1 / 3 + 1 + 0) / 3)
