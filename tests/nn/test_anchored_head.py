"""The anchored head: a convex regression, held at the prototypes, that can be trained through."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from sklearn_fewshot.nn import Support
from sklearn_fewshot.nn.heads import AnchoredHead, PrototypicalHead


def scored(head, support, query):
    with torch.no_grad():
        return head.score(head.context(head.represent(support)), query)


def episode(support, index=0):
    """Return embeddings, codes and weights of one episode as arrays, without padding."""
    real = support.weight[index] > 0
    return (part[index][real].numpy() for part in support[:3])


def minimum(head, support, index=0):
    """Return the weights of the regression of one episode by a general-purpose solver.

    In its own terms: ``sum(cross-entropy) + penalty / 2 |(W - W_0, b - b_0) / unit|^2``.
    """
    X, code, weight = episode(support, index)
    classes = np.unique(code)
    scale, penalty = head.scale.item(), head.log_penalty.exp().item()
    means = np.array([np.average(X[code == k], axis=0, weights=weight[code == k]) for k in classes])
    x = np.sqrt(2.0 * scale) * (X - means.mean(axis=0))
    anchor = -scale * ((X[:, None] - means) ** 2).sum(axis=2)
    target = np.searchsorted(classes, code)

    def loss(flat):
        u = flat.reshape(len(classes), -1)
        log_p = log_softmax(anchor + x @ u[:, :-1].T + u[:, -1], axis=1)
        entropy = -weight @ log_p[np.arange(len(x)), target]
        return entropy + 0.5 * penalty * flat @ flat

    found = minimize(loss, np.zeros(len(classes) * (X.shape[1] + 1)), tol=1e-12)
    u = found.x.reshape(len(classes), -1)
    return classes, means, x, u


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_with_many_steps_it_is_the_minimum(ragged, make_query, penalty, index):
    head, query = AnchoredHead(scale=0.3, penalty=penalty, n_steps=5000), make_query()
    logits = scored(head, ragged, query)[index].numpy()
    classes, means, _, u = minimum(head, ragged, index)
    q = query[index].numpy()
    expected = -0.3 * ((q[:, None] - means) ** 2).sum(axis=2)
    expected += np.sqrt(0.6) * (q - means.mean(axis=0)) @ u[:, :-1].T + u[:, -1]
    np.testing.assert_allclose(logits[:, classes], expected, rtol=1e-4, atol=1e-4)


def test_fifteen_steps_are_near_the_minimum(make_support, make_query):
    support, query = make_support(n_support=60), make_query()
    few = scored(AnchoredHead(scale=0.3), support, query)
    many = scored(AnchoredHead(scale=0.3, n_steps=3000), support, query)
    assert float((few.softmax(-1) - many.softmax(-1)).abs().max()) < 0.02


def test_a_large_penalty_leaves_the_prototypical_classifier(ragged, make_query):
    query = make_query()
    anchored = scored(AnchoredHead(scale=0.7, penalty=1e9), ragged, query)
    np.testing.assert_allclose(anchored, scored(PrototypicalHead(scale=0.7), ragged, query))


def test_one_example_per_class_far_apart_stays_there(make_query):
    support = Support(
        50.0 * torch.eye(4, 6).double()[None], torch.arange(4)[None], torch.ones(1, 4), 4
    )
    query = make_query()[:1]
    anchored = scored(AnchoredHead(), support, query)
    torch.testing.assert_close(anchored, scored(PrototypicalHead(), support, query))


def test_many_examples_are_separated_where_means_are_not():
    """Two classes whose wide axis says nothing: the means are off by chance, the data are not."""
    rng = np.random.default_rng(0)
    code = np.arange(40) % 2
    X = np.column_stack([8.0 * rng.normal(size=40), (2 * code - 1) + 0.1 * rng.normal(size=40)])
    support = Support(*(torch.from_numpy(v)[None] for v in (X, code, np.ones(40))), 2)
    anchored = scored(AnchoredHead(scale=0.2, penalty=0.1), support, support.inputs)
    assert (anchored.argmax(dim=-1) == support.target).all()
    plain = scored(PrototypicalHead(scale=0.2), support, support.inputs)
    assert (plain.argmax(dim=-1) != support.target).any()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_size_of_the_embedding_does_not_matter(make_support, make_query, size):
    support, query = make_support(), make_query()
    other = support._replace(inputs=size * support.inputs)
    ours = scored(AnchoredHead(scale=0.3 / size**2), other, size * query)
    np.testing.assert_allclose(ours, scored(AnchoredHead(scale=0.3), support, query), rtol=1e-4)


def test_it_is_trained_through_its_steps(make_support, make_query):
    support, query = make_support(), make_query().requires_grad_()
    support.inputs.requires_grad_()
    head = AnchoredHead(learn_scale=True).double()
    parameters = (head.log_scale, head.log_penalty)

    def scores(inputs, query, *parameters):
        given = support._replace(inputs=inputs)
        return head.score(head.context(given), query)

    inputs = (support.inputs, query, *parameters)
    assert torch.autograd.gradcheck(scores, inputs, fast_mode=True)


def test_a_learner_has_it_as_a_readout(make_learner, table):
    plain = make_learner().fit(table.X, table.y)
    learner = make_learner(readout="anchored").fit(table.X, table.y)
    assert isinstance(learner.module_.head, AnchoredHead)
    assert learner.adapt(table.X_new, table.y_new).score(table.X_new, table.y_new) > 0.9
    first = np.unique(table.y_new, return_index=True)[1]
    one = table.X_new[first], table.y_new[first]
    accuracy = learner.adapt(*one).score(table.X_new, table.y_new)
    assert accuracy >= plain.adapt(*one).score(table.X_new, table.y_new) - 0.1
    with pytest.raises(ValueError, match="'readout' parameter of ProtoNetClassifier"):
        make_learner(readout="logistic").fit(table.X, table.y)
