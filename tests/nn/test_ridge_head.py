"""The ridge head against plain loops and scikit-learn's Ridge, and what its scaling is for."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import Ridge

from sklearn_fewshot.nn import Support
from sklearn_fewshot.nn.heads import RidgeHead
from sklearn_fewshot.nn.heads._ridge import solve_ridge


def scored(head, support, query):
    with torch.no_grad():
        return head.score(head.context(head.represent(support)), query).numpy()


def one_shot(embedding):
    """Return a support set of one example per class."""
    n = len(embedding)
    return Support(embedding[None], torch.arange(n)[None], torch.ones(1, n), n)


def by_loops(support, query, index, penalty, scale):
    """Score the queries of one episode in plain loops and numpy, class by class."""
    X, code, weight = (
        part[index][support.weight[index] > 0].numpy().astype(float) for part in support[:3]
    )
    classes = np.unique(code)
    count = {k: weight[code == k].sum() for k in classes}
    mean = sum(np.average(X[code == k], axis=0, weights=weight[code == k]) for k in classes)
    mean = mean / len(classes)
    square = 0.0
    for x, k, w in zip(X, code, weight, strict=True):
        square += w / count[k] / len(classes) * ((x - mean) ** 2).sum()
    size = np.sqrt(square)
    effective = len(classes) ** 2 / sum(1 / n for n in count.values())
    gram = penalty * np.eye(X.shape[1])
    target = np.zeros((X.shape[1], support.n_classes))
    for x, k, w in zip(X, code, weight, strict=True):
        z, share = (x - mean) / size, effective * w / count[k] / len(classes)
        gram += share * np.outer(z, z)
        target[:, int(k)] += share * z
    scores = np.full((len(query[index]), support.n_classes), -np.inf)
    for q, row in enumerate(query[index].numpy()):
        for k in classes.astype(int):
            scores[q, k] = scale * ((row - mean) / size) @ np.linalg.solve(gram, target[:, k])
    return scores


@pytest.mark.parametrize("n_features", [6, 40])  # fewer and more than examples
@pytest.mark.parametrize("penalty", [0.03, 1.0, 30.0])
def test_scores_equal_plain_loops(make_support, make_query, n_features, penalty):
    support, query = make_support(shape=(n_features,)), make_query(shape=(n_features,))
    support.weight[1, [0, 4, 7]] = 0.0
    support.weight[2, support.target[2] == 2] = 0.0
    support.weight[0, :5] = 3.0
    scores = scored(RidgeHead(penalty=penalty, scale=0.7), support, query)
    for index in range(3):
        expected = by_loops(support, query, index, penalty, 0.7)
        np.testing.assert_allclose(scores[index], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("n_features", [6, 40])
def test_with_equal_shots_it_is_scikit_learns_ridge(make_query, n_features):
    """On embeddings of mean square one; its intercept is the same for all classes."""
    rng, code = np.random.default_rng(0), np.arange(12) % 4
    X = rng.normal(size=(12, n_features)) + 5.0
    support = Support(*(torch.from_numpy(part)[None] for part in (X, code, np.ones(12))), 4)
    query = make_query(shape=(n_features,))[:1]
    size = np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).mean())
    ridge = Ridge(alpha=0.3, solver="cholesky").fit(X / size, np.eye(4)[code])
    np.testing.assert_allclose(ridge.intercept_ + ridge.coef_ @ X.mean(axis=0) / size, 0.25)
    expected = 10.0 * (ridge.predict(query[0].numpy() / size) - 0.25)
    np.testing.assert_allclose(
        scored(RidgeHead(penalty=0.3), support, query)[0], expected, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize(("n_samples", "n_features"), [(5, 9), (7, 7), (9, 5)])
def test_primal_and_dual_are_one_solution(n_samples, n_features):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(3, n_samples, n_features)), rng.normal(size=(3, n_samples, 2))
    solution = solve_ridge(torch.from_numpy(X), torch.from_numpy(Y), torch.tensor(0.3).double())
    for x, y, found in zip(X, Y, solution.numpy(), strict=True):
        primal = np.linalg.solve(x.T @ x + 0.3 * np.eye(n_features), x.T @ y)
        dual = x.T @ np.linalg.solve(x @ x.T + 0.3 * np.eye(n_samples), y)
        np.testing.assert_allclose(found, primal, rtol=1e-6)
        np.testing.assert_allclose(found, dual, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_neither_unit_nor_origin_of_the_embedding_matter(make_support, make_query, size):
    support, query = make_support(), make_query()
    moved = support._replace(inputs=size * (support.inputs + 3.0))
    scores = scored(RidgeHead(), moved, size * (query + 3.0))
    np.testing.assert_allclose(scores, scored(RidgeHead(), support, query), rtol=1e-8, atol=1e-10)


def test_centred_labels_have_the_same_probabilities(make_support, make_query):
    """They subtract the same response from all classes."""
    support = make_support()
    root = torch.ones(3, 12, 1).double()
    X, target = support.inputs, torch.nn.functional.one_hot(support.target).double()
    penalty = torch.tensor(1.0).double()
    plain, centred = (solve_ridge(root * X, Y, penalty) for Y in (target, target - 0.25))
    query = make_query()
    torch.testing.assert_close((query @ plain).softmax(-1), (query @ centred).softmax(-1))


def test_classes_with_more_examples_are_not_preferred(make_query):
    """Two classes, mirror images of each other, one with nine times the examples."""
    rng = np.random.default_rng(0)
    one = 1.0 + rng.normal(size=(1, 6))
    X = np.concatenate([np.repeat(one, 9, axis=0), -one])
    code = np.repeat([0, 1], [9, 1])
    support = Support(*(torch.from_numpy(part)[None] for part in (X, code, np.ones(10))), 2)
    query = make_query()[:1]
    scores = scored(RidgeHead(), support, query)
    np.testing.assert_allclose(scores[..., 0], scored(RidgeHead(), support, -query)[..., 1])


def test_a_large_penalty_leaves_directions_of_the_class_means(make_support):
    support = make_support()
    state = RidgeHead(penalty=1e8).context(support)
    with torch.no_grad():
        means = [
            np.mean(support.inputs[0][support.target[0] == k].numpy(), axis=0) for k in range(4)
        ]
        found = state["coefficients"][0].T.numpy()
    directions = np.array(means) - np.mean(means, axis=0)
    cosines = (directions * found).sum(axis=1) / np.linalg.norm(directions, axis=1)
    np.testing.assert_allclose(cosines / np.linalg.norm(found, axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_equal_embeddings_say_nothing(dtype, value):
    support = one_shot(torch.full((3, 6), value, dtype=dtype))
    scores = scored(RidgeHead(), support, torch.randn(1, 5, 6, dtype=dtype))
    np.testing.assert_allclose(scores, 0.0, atol=1e-3)


def test_a_small_penalty_is_solved_in_float32(make_support, make_query):
    support, query = make_support(shape=(40,)), make_query(shape=(40,))
    exact = scored(RidgeHead(penalty=1e-6), support, query)
    single = support._replace(inputs=support.inputs.float())
    rounded = scored(RidgeHead(penalty=1e-6), single, query.float())
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(softmax(rounded, axis=-1), softmax(exact, axis=-1), atol=1e-3)


def test_it_is_trained_through_the_solution(make_support, make_query):
    head = RidgeHead().double()
    for n_features in (6, 40):  # primal and dual
        support = make_support(shape=(n_features,))
        query = make_query(shape=(n_features,)).requires_grad_()

        def scores(inputs, query, *_, support=support):
            return head.score(head.context(support._replace(inputs=inputs)), query)

        inputs = (support.inputs.requires_grad_(), query, head.log_penalty, head.log_scale)
        assert torch.autograd.gradcheck(scores, inputs, fast_mode=True)


def test_the_penalty_is_learned_unless_it_is_fixed():
    assert RidgeHead().log_penalty.requires_grad
    assert not RidgeHead(learn_penalty=False).log_penalty.requires_grad
    assert float(RidgeHead(penalty=3.0).penalty.detach()) == pytest.approx(3.0)


def test_the_start_has_the_scale_of_least_log_loss(make_support, make_query):
    support, query = make_support(), make_query()
    target = torch.from_numpy(np.arange(15) % 4).view(3, 5)
    head = RidgeHead().double()
    head.start_from(torch.from_numpy(scored(head, support, query)), target)

    def loss(factor):
        logits = torch.from_numpy(factor * scored(head, support, query)).flatten(0, 1)
        smooth = torch.nn.functional.cross_entropy(logits, target.flatten(), label_smoothing=0.01)
        return float(smooth)

    assert loss(1.0) < min(loss(0.9), loss(1.1))
