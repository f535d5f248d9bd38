"""Heads on centred embeddings of unit length."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sklearn_fewshot.nn import METRICS, EmbeddingModule
from sklearn_fewshot.nn.backbones import Identity
from sklearn_fewshot.nn.heads import (
    AnchoredCentroidHead,
    AnchoredHead,
    CentroidHead,
    PrototypicalHead,
)

ALL_METRICS = pytest.mark.parametrize("metric", sorted(METRICS))
BOTH = pytest.mark.parametrize("cls", [CentroidHead, AnchoredCentroidHead])
CENTER = torch.tensor([0.3, -0.2, 0.5, 0.0, 1.0, -1.0], dtype=torch.float64)


@pytest.fixture
def query(make_query):
    return make_query()


def on(head):
    """Return a network that compares the samples themselves; the center is not the origin."""
    module = EmbeddingModule(Identity((6,)), head).double()
    module.head.center.copy_(CENTER)
    return module


def scored(module, support, query):
    def embedded(values):
        rows = module.head.prepare(values.flatten(0, 1))
        return rows.unflatten(0, values.shape[:2])

    with torch.inference_mode():
        state = module.adapt_embedded(support._replace(inputs=embedded(support.inputs)))
        return module.predict_embedded(state, embedded(query))


def lengthened(values, seed=3):
    """Scale each embedding, seen from the center, by a factor of its own."""
    factor = np.random.default_rng(seed).uniform(0.1, 30.0, size=(*values.shape[:2], 1))
    return CENTER + torch.from_numpy(factor) * (values - CENTER)


@BOTH
def test_only_directions_from_the_center_count(cls, ragged, query):
    longer = ragged._replace(inputs=lengthened(ragged.inputs))
    module = on(cls(6))
    expected = scored(module, ragged, query)
    found = scored(module, longer, lengthened(query))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@ALL_METRICS
def test_centroids_equal_plain_loops(metric, ragged, query):
    scores = scored(on(CentroidHead(6, metric, scale=3.0)), ragged, query)
    center = CENTER.numpy()
    for episode in range(3):
        unit, unit_query = (
            [(x - center) / np.sqrt(sum((x - center) ** 2)) for x in values[episode].numpy()]
            for values in (ragged.inputs, query)
        )
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


@pytest.mark.parametrize(
    ("cls", "plain"), [(CentroidHead, PrototypicalHead), (AnchoredCentroidHead, AnchoredHead)]
)
def test_the_network_prepares_each_row_once(cls, plain, make_support, query):
    """Its embeddings are those that the head without preparation compares."""
    support, module = make_support(), on(cls(6))
    with torch.inference_mode():
        found = module.predict(module.adapt(support), query)
        head = plain("cosine", 10.0).double()
        rows = [module.embed(values.flatten(0, 1)) for values in (support.inputs, query)]
        inputs, queries = rows[0].view_as(support.inputs), rows[1].view_as(query)
        state = head.context(head.represent(support._replace(inputs=inputs)))
        torch.testing.assert_close(found, head.score(state, queries))
    torch.testing.assert_close(rows[0].norm(dim=1), torch.ones(len(rows[0])).double())


@BOTH
def test_the_center_follows_the_mean_of_the_embeddings(cls):
    head, batch = cls(2), torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    head.follow(batch, momentum=1.0)
    assert head.center.tolist() == [2.0, 4.0]
    head.follow(torch.zeros(3, 2), momentum=0.25)
    assert head.center.tolist() == [1.5, 3.0]
