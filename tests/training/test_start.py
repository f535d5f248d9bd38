"""Linear starts: the discriminant projection, and who gets it."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from sklearn_fewshot.network import Recipe
from sklearn_fewshot.nn import DataTensor, EmbeddingModule
from sklearn_fewshot.nn.heads import PrototypicalHead
from sklearn_fewshot.training import _start
from sklearn_fewshot.training._start import Untrained, discriminant_projection


def correlated(n_classes=5, n_each=200, n_features=8, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_classes), n_each)
    mixing = rng.normal(size=(n_features, n_features)) * rng.uniform(0.1, 5.0, size=n_features)
    X = rng.normal(size=(n_classes, n_features))[codes] + rng.normal(size=(len(codes), n_features))
    return X @ mixing, codes


def within(X, codes):
    means = np.array([X[codes == code].mean(axis=0) for code in np.unique(codes)])
    return X - means[codes]


def test_the_projection_whitens_classes_and_keeps_the_axes_of_their_means():
    X, codes = correlated(n_each=3000)
    projected = X @ discriminant_projection(X, codes)
    assert projected.shape == (len(X), 4)
    np.testing.assert_allclose(np.cov(within(projected, codes).T), np.eye(4), atol=0.05)


def test_nearest_centroids_behind_it_are_linear_discriminant_analysis():
    X, codes = correlated()
    projected = X @ discriminant_projection(X, codes)
    lda = LinearDiscriminantAnalysis(priors=np.full(5, 0.2)).fit(X, codes).predict(X)
    centroids = NearestCentroid().fit(projected, codes).predict(projected)
    assert np.mean(lda == centroids) > 0.97


def test_units_and_class_names_do_not_matter():
    X, codes = correlated(n_each=10)
    units = np.array([1e-2, 1.0, 1e2, 1e-1, 1e1, 1.0, 1e-2, 1e2])
    projection = discriminant_projection(X, codes)
    np.testing.assert_allclose(
        np.abs(discriminant_projection(X * units, 7 * codes + 3)),
        np.abs(projection / units[:, None]),
        rtol=1e-4,
        atol=1e-7,
    )


def test_fewer_rows_than_features_are_shrunk():
    X, codes = correlated(n_classes=3, n_each=3, n_features=20)
    projection = discriminant_projection(X, codes)
    assert projection.shape == (20, 2)
    assert np.isfinite(projection).all()
    spread = within(X, codes).std(axis=0)
    covariance, _ = ledoit_wolf(within(X, codes) / spread, assume_centered=True)
    scaled = projection * spread[:, None]
    np.testing.assert_allclose(scaled.T @ covariance @ scaled, np.eye(2), atol=1e-8)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features_are_survived(value):
    X, codes = correlated()
    X[:, 2] = value
    assert np.isfinite(discriminant_projection(X, codes)).all()
    X[:] = value
    assert np.isfinite(discriminant_projection(X, codes)).all()


def test_classes_without_spread_keep_their_distances():
    means = np.random.default_rng(0).normal(size=(5, 8))
    projected = means @ discriminant_projection(np.repeat(means, 3, axis=0), np.arange(15) // 3)
    ratio = pdist(projected) / pdist(means)
    np.testing.assert_allclose(ratio, ratio[0])


def untrained(n_features):
    options = {"backbone": "residual_mlp", "head": PrototypicalHead}
    recipe = Recipe(EmbeddingModule, (n_features,), options)
    module = recipe.build()
    return Untrained(recipe, module, module)


def test_a_network_with_a_projection_embeds_by_it():
    X, codes = correlated()
    network = untrained(8)
    store = DataTensor(X.astype(np.float32), torch.device("cpu"))
    rows = np.arange(0, len(X), 2)
    projected = network.with_projection(store, rows, codes)
    projection = discriminant_projection(X[rows], codes[rows])
    with torch.no_grad():
        embedding = projected.module.eval().backbone(store.take(np.arange(len(X)))).numpy()
    np.testing.assert_allclose(np.abs(embedding), np.abs(X @ projection), rtol=1e-3, atol=1e-3)
    assert projected.recipe.build().backbone.embedding_dim == 4
    assert network.module.backbone.embedding_dim == 8  # a copy was changed


def test_many_rows_are_thinned_with_their_classes(monkeypatch):
    X, codes = correlated()
    store = DataTensor(X.astype(np.float32), torch.device("cpu"))
    monkeypatch.setattr(_start, "MAX_ROWS", 300)
    projected = untrained(8).with_projection(store, np.arange(len(X)), codes)
    expected = discriminant_projection(X[::4], codes[::4])
    weight = projected.module.backbone.linear.weight.detach().numpy().T
    np.testing.assert_allclose(np.abs(weight), np.abs(expected), rtol=1e-3, atol=1e-3)
