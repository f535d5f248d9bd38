"""Heads on embeddings of unit length: centroids by plain loops, regression by scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from sklearn_fewshot.nn import METRICS, Support
from sklearn_fewshot.nn.heads import CentroidHead, LogisticHead

ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))


@pytest.fixture
def query(make_query):
    return make_query()


def scored(head, support, query):
    with torch.inference_mode():
        return head.double().score(head.context(head.represent(support)), query)


def lengthened(values, seed=3):
    """Scale each embedding by a factor of its own."""
    factor = np.random.default_rng(seed).uniform(0.1, 30.0, size=(*values.shape[:2], 1))
    return torch.from_numpy(factor) * values


@pytest.mark.parametrize("cls", [CentroidHead, LogisticHead])
def test_only_directions_count(cls, ragged, query):
    longer = ragged._replace(inputs=lengthened(ragged.inputs))
    expected = scored(cls(), ragged, query)
    torch.testing.assert_close(
        scored(cls(), longer, lengthened(query)), expected, rtol=1e-4, atol=1e-5
    )


# ------------------------------------------------------------------ centroids


@ALL_METRICS
def test_centroids_equal_plain_loops(metric, ragged, query):
    ragged, query = ragged._replace(inputs=lengthened(ragged.inputs)), lengthened(query)
    scores = scored(CentroidHead(metric, scale=3.0), ragged, query)
    for episode in range(3):
        unit = [x / np.sqrt(sum(x**2)) for x in ragged.inputs[episode].numpy()]
        unit_query = [x / np.sqrt(sum(x**2)) for x in query[episode].numpy()]
        for label in range(4):
            members = [
                unit[item]
                for item, code in enumerate(ragged.target[episode])
                if code == label and ragged.weight[episode, item] > 0
            ]
            if not members:
                assert (scores[episode, :, label] == -np.inf).all()
                continue
            centroid = sum(members) / len(members)
            expected = -3.0 * cdist(unit_query, [centroid], metric)[:, 0]
            np.testing.assert_allclose(scores[episode, :, label], expected, rtol=1e-6, atol=1e-7)


def test_centroids_are_not_lengthened_again_when_examples_join(make_support):
    """A condensed class is the mean of unit vectors, shorter than one, and stays so."""
    head, support = CentroidHead(), make_support()
    once = head.represent(support)
    assert (once.inputs.norm(dim=-1)[once.weight > 1] < 1.0).all()
    torch.testing.assert_close(head.represent(once).inputs, once.inputs)


# ------------------------------------------------------------------ logistic regression


def one_episode(support, query, episode):
    alone = Support(*(value[[episode]] for value in support[:3]), support.n_classes)
    return alone, query[[episode]]


@pytest.mark.parametrize("C", [1e-6, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("episode", range(3))
def test_probabilities_equal_scikit_learn(C, episode, ragged, query):
    support, queries = one_episode(ragged, query, episode)
    scores = scored(LogisticHead(C), support, queries)
    X, y, weight = (value[0].numpy() for value in support[:3])
    reference = LogisticRegression(C=C, tol=1e-8, max_iter=10_000)
    reference.fit(normalize(X[weight > 0]), y[weight > 0])
    expected = np.zeros((5, 4))
    expected[:, reference.classes_] = reference.predict_proba(normalize(queries[0].numpy()))
    proba = scores.softmax(dim=-1)[0]
    np.testing.assert_allclose(proba, expected, atol=1e-4)
    assert len(reference.classes_) == (3 if episode == 2 else 4)  # the third lacks a class


def test_weights_are_sample_weights(make_support, query):
    support = make_support()
    weight = torch.from_numpy(np.random.default_rng(0).integers(1, 5, size=(3, 12)).astype(float))
    proba = scored(LogisticHead(), support._replace(weight=weight), query).softmax(dim=-1)
    for episode in range(3):
        X = normalize(support.inputs[episode].numpy())
        reference = LogisticRegression(tol=1e-8, max_iter=10_000)
        reference.fit(X, support.target[episode], sample_weight=weight[episode])
        expected = reference.predict_proba(normalize(query[episode].numpy()))
        np.testing.assert_allclose(proba[episode], expected, atol=1e-4)


def test_two_classes_are_treated_alike(make_support, query):
    """scikit-learn has one weight vector for two classes; here each class has its own."""
    support = make_support(n_classes=2)
    scores = scored(LogisticHead(), support, query)
    renamed = scored(LogisticHead(), support._replace(target=1 - support.target), query)
    torch.testing.assert_close(renamed.flip(-1), scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.sum(dim=-1), torch.zeros(3, 5).double(), atol=1e-5, rtol=0)


def test_a_single_class_is_certain(make_support, query):
    scores = scored(LogisticHead(), make_support(n_classes=1), query)
    assert (scores.softmax(dim=-1) == 1).all()


def test_the_penalty_leaves_the_bias_alone(make_support, query):
    """So weak a fit knows only how many examples there are of each class."""
    support = make_support()
    proba = scored(LogisticHead(C=1e-6), support, query).softmax(dim=-1)
    for episode in range(3):
        shares = np.bincount(support.target[episode], minlength=4) / 12
        np.testing.assert_allclose(proba[episode], np.tile(shares, (5, 1)), atol=1e-2)


def test_gradients_go_to_the_queries_and_not_through_the_fit(ragged, query):
    """They would be NaN: steps that an episode does not make divide by zero."""
    ragged.inputs.requires_grad_()
    scores = LogisticHead().score(LogisticHead().context(ragged), query.requires_grad_())
    scores[scores.isfinite()].square().sum().backward()
    assert ragged.inputs.grad is None
    assert query.grad.isfinite().all()
    assert query.grad.abs().max() > 0
