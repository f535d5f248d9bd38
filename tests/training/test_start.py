"""Linear starts: the discriminant projection, and who gets it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid
from torch import nn

from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.network import Recipe
from sklearn_fewshot.nn import DataTensor, EmbeddingModule
from sklearn_fewshot.nn.backbones import ResidualMLP, SeriesFeatures, Spectral
from sklearn_fewshot.nn.heads import PrototypicalHead
from sklearn_fewshot.training import _start
from sklearn_fewshot.training._config import Task
from sklearn_fewshot.training._start import Discriminant, Start, Untrained


def correlated(n_classes=5, n_each=200, n_features=8, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_classes), n_each)
    mixing = rng.normal(size=(n_features, n_features)) * rng.uniform(0.1, 5.0, size=n_features)
    X = rng.normal(size=(n_classes, n_features))[codes] + rng.normal(size=(len(codes), n_features))
    return X @ mixing, codes


def within(X, codes):
    means = np.array([X[codes == code].mean(axis=0) for code in np.unique(codes)])
    return X - means[codes]


def discriminant_projection(X, codes, shrinkage=1e-3):
    return Discriminant(X, codes).projection(shrinkage)


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


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 0.9, 1.0])
def test_what_is_whitened_is_the_shrunk_covariance(shrinkage):
    X, codes = correlated(n_classes=3, n_each=3, n_features=20)  # fewer rows than features
    projection = discriminant_projection(X, codes, shrinkage)
    assert projection.shape == (20, 2)
    assert np.isfinite(projection).all()
    deviation = within(X, codes)
    spread = np.sqrt(np.mean(deviation**2, axis=0))
    covariance = shrunk_covariance((deviation / spread).T @ (deviation / spread) / 9, shrinkage)
    scaled = projection * spread[:, None]
    np.testing.assert_allclose(scaled.T @ covariance @ scaled, np.eye(2), atol=1e-8)


def test_shrunk_wholly_it_is_the_principal_plane_of_the_class_means():
    X, codes = correlated(n_features=4)
    projection = discriminant_projection(X, codes, shrinkage=1.0)
    spread = within(X, codes).std(axis=0)
    means = np.array([X[codes == code].mean(axis=0) for code in range(5)]) / spread
    distances = pdist(means @ (projection * spread[:, None]))
    np.testing.assert_allclose(distances, pdist(means), rtol=1e-6)


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


@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize("shrinkage", [None, 0.5])
def test_a_network_starts_as_the_linear_method(shrinkage, unit_length):
    X, codes = correlated()
    X += 5.0
    network = untrained(8)
    started = network.starting_as(Start(shrinkage, unit_length), X[::2], codes[::2])
    expected = X / np.sqrt(np.mean((X[::2] - X[::2].mean(axis=0)) ** 2))
    if shrinkage is not None:
        expected = X @ Discriminant(X[::2], codes[::2]).projection(shrinkage)
    if unit_length:
        expected = expected - expected[::2].mean(axis=0)
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    for module in (started.module, started.trained):
        with torch.no_grad():
            embedding = module.eval().backbone(torch.from_numpy(X).float()).numpy()
        np.testing.assert_allclose(embedding, expected, rtol=1e-3, atol=1e-3)
    again = started.recipe.build()
    again.load_state_dict(started.module.state_dict())
    assert network.module.backbone.embedding_dim == 8  # a copy was changed
    assert network.module.backbone.bias is None


def test_the_start_that_is_chosen_is_measured_on_other_classes(make_learner):
    """Classes whose direction matters and length does not; noise features that shrinkage hides."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(30), 8)
    direction = rng.normal(size=(30, 10))[codes] + 0.3 * rng.normal(size=(240, 10))
    X = direction * rng.lognormal(sigma=1.0, size=(240, 1))
    learner = make_learner(max_epochs=0, n_shot=(1, 3)).fit(X, codes)
    np.testing.assert_allclose(np.linalg.norm(learner.transform(X), axis=1), 1.0, rtol=1e-5)
    flat = rng.normal(size=(30, 10))[codes] + 0.1 * rng.normal(size=(240, 10))
    flat[:, 0] += 20.0 * rng.normal(size=240)  # a direction without meaning, wide
    length = np.linalg.norm(make_learner(max_epochs=0).fit(flat, codes).transform(flat), axis=1)
    assert length.std() > 0.01 or length.mean() == pytest.approx(1.0, rel=1e-4)


def test_few_classes_start_as_the_identity(make_learner, table):
    kept = np.isin(table.y, np.unique(table.y)[:5])
    learner = make_learner(max_epochs=0, validation_fraction=0.0).fit(table.X[kept], table.y[kept])
    np.testing.assert_allclose(learner.transform(table.X), table.X, rtol=1e-5, atol=1e-6)


def test_many_rows_are_thinned_with_their_classes(monkeypatch, make_learner):
    X, codes = correlated(n_classes=8)
    seen = []
    monkeypatch.setattr(_start, "MAX_ROWS", 400)

    class Spy(Discriminant):
        def __init__(self, features, codes):
            seen.append(np.bincount(codes, minlength=8))
            super().__init__(features, codes)

    monkeypatch.setattr(_start, "Discriminant", Spy)
    make_learner(max_epochs=0, validation_fraction=0.0).fit(X.astype(np.float32), codes)
    assert seen
    for count in seen:
        assert count.sum() <= 400
        assert np.ptp(count[count > 0]) <= 1


@pytest.mark.parametrize("backbone", [ResidualMLP, ResidualMLP((6,)), ResidualMLP((6,), 3)])
def test_networks_of_ones_own_start_as_they_are(make_learner, table, backbone):
    learner = make_learner(backbone=backbone, max_epochs=0).fit(table.X, table.y)
    n_kept = learner.transform(table.X).shape[1]
    np.testing.assert_allclose(
        learner.transform(table.X), table.X[:, :n_kept], rtol=1e-5, atol=1e-6
    )


class Count(nn.Module):
    """Counts the rows that pass through it."""

    n_rows = 0

    def forward(self, x):
        self.n_rows += len(x)
        return x.flatten(1)


def test_features_of_series_are_computed_once(make_learner, series, monkeypatch):
    n_rows, forward = [], SeriesFeatures.forward

    def count(self, x):
        n_rows.append(int((x != 0).flatten(1).any(dim=1).sum()))  # zero rows pad a chunk
        return forward(self, x)

    monkeypatch.setattr(SeriesFeatures, "forward", count)
    make_learner().fit(series.X, series.y)
    assert sum(n_rows) == len(series.X)


def test_augmented_series_pass_through_the_whole_network(make_learner, series):
    learner = make_learner(augment=lambda x: 1.1 * x).fit(series.X, series.y)
    plain = make_learner().fit(series.X, series.y)
    assert type(learner.module_.backbone) is type(plain.module_.backbone) is Spectral
    assert learner.adapt(series.X, series.y).score(series.X, series.y) > 0.9


def test_rows_are_embedded_once_to_measure_the_scale(table):
    codes = np.unique(table.y, return_inverse=True)[1]
    store = DataTensor(table.X.astype(np.float32), torch.device("cpu"))
    sampler = EpisodeSampler(codes, n_way=3, n_shot=1, n_query=2)
    data = SimpleNamespace(attributes=None)
    task = Task(data, store, sampler, np.random.default_rng(0), torch.device("cpu"))
    module = EmbeddingModule(Count(), PrototypicalHead())
    _start.start_scale(module, task)
    rows = sampler.plan(_start.N_START_EPISODES, np.random.default_rng(0)).rows()
    assert module.backbone.n_rows == len(rows)


def test_features_are_those_of_the_rows_that_are_asked_for(monkeypatch):
    monkeypatch.setattr(_start, "ROWS_AT_A_TIME", 3)
    X = np.arange(40.0, dtype=np.float32).reshape(20, 2)
    module = EmbeddingModule(ResidualMLP((2,)), PrototypicalHead())
    network = Untrained(Recipe(EmbeddingModule, (2,), {}), module, module)
    features = _start._Features(network, DataTensor(X, torch.device("cpu")), np.arange(3, 9))
    for rows in ([7, 3, 3, 11], [0, 19, 7], [3], np.arange(20)):
        np.testing.assert_array_equal(features.take(np.array(rows)), X[rows])
