"""EmbeddingDisplay draws what the network makes of an episode."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import FewShotClassifier, MatchingNetClassifier, ProtoNetClassifier, adapt
from sklearn_fewshot.inspection import EmbeddingDisplay


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def episode(table):
    """Support and queries of new classes."""
    return table.X_new[:20], table.y_new[:20], table.X_new[20:], table.y_new[20:]


def render(display):
    """Draw to the end: what is missing in a font or a layout warns only here."""
    display.figure_.savefig(BytesIO(), format="png")


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_plane_is_that_of_the_embeddings(learner, episode):
    X_support, _, X_query, _ = episode
    display = EmbeddingDisplay.from_estimator(learner, *episode)
    render(display)
    embedding = learner.transform(np.concatenate([X_support, X_query])).astype(np.float64)
    n_classes = len(np.unique(episode[1]))
    means = [embedding[:20][episode[1] == label].mean(axis=0) for label in np.unique(episode[1])]
    expected = PCA(2, svd_solver="full").fit_transform(np.concatenate([embedding, means]))
    drawn = np.concatenate([display.support, display.query, display.prototypes])
    np.testing.assert_allclose(drawn, expected, atol=1e-4 * np.abs(expected).max())
    assert display.prototypes.shape == (n_classes, 2)


def test_queries_that_are_taken_for_another_class_are_crossed(learner, episode):
    X_support, y_support, X_query, y_query = episode
    display = EmbeddingDisplay.from_estimator(learner, *episode)
    classifier = learner.adapt(X_support, y_support)
    np.testing.assert_array_equal(display.y_pred, classifier.predict(X_query))
    share = 100 * classifier.score(X_query, y_query)
    assert f"({share:.0f} %)" in display.ax_.get_title()
    assert legend_texts(display.ax_)[-2:] == ["prototype", "wrong"]
    unknown = EmbeddingDisplay.from_estimator(learner, *episode[:3])
    assert "wrong" not in legend_texts(unknown.ax_)
    assert "query, as its predicted class" in legend_texts(unknown.ax_)


@pytest.mark.parametrize("adapted", [False, True])
def test_pipelines_transform_first(table, episode, adapted):
    params = {"max_epochs": 1, "episodes_per_epoch": 4, "random_state": 0}
    pipe = make_pipeline(StandardScaler(), ProtoNetClassifier(**params)).fit(table.X, table.y)
    given = adapt(pipe, *episode[:2]) if adapted else pipe
    display = EmbeddingDisplay.from_estimator(given, *episode)
    scaled = [pipe[0].transform(X) for X in (episode[0], episode[2])]
    alone = EmbeddingDisplay.from_estimator(pipe[-1], scaled[0], episode[1], scaled[1], episode[3])
    np.testing.assert_allclose(display.query, alone.query)


def test_learners_without_means_and_classifiers_without_a_learner(table, episode):
    learner = MatchingNetClassifier(max_epochs=1, episodes_per_epoch=4, random_state=0)
    display = EmbeddingDisplay.from_estimator(learner.fit(table.X, table.y), *episode)
    assert display.prototypes is None
    assert "prototype" not in legend_texts(display.ax_)
    raw = EmbeddingDisplay.from_estimator(FewShotClassifier().fit(*episode[:2]), *episode)
    assert raw.prototypes is not None


def test_pictures_are_embedded_flat(picture_learner, pictures):
    X, y = pictures.X_new, pictures.y_new
    render(EmbeddingDisplay.from_estimator(picture_learner, X[:8], y[:8], X[8:], y[8:]))


def test_any_transformer_draws_the_plane(learner, episode):
    tsne = TSNE(perplexity=5, random_state=0)
    display = EmbeddingDisplay.from_estimator(learner, *episode, transformer=tsne)
    assert display.ax_.get_xlabel() == "TSNE, first dimension"
    assert not hasattr(tsne, "embedding_")  # a clone was fitted
    with pytest.raises(ValueError, match=r"two columns: set its n_components=2. .*\(\d+, 3\)"):
        EmbeddingDisplay.from_estimator(learner, *episode, transformer=PCA(3))
    with pytest.raises(ValueError, match="must have fit_transform"):
        EmbeddingDisplay.from_estimator(learner, *episode, transformer="pca")


def test_embeddings_of_your_own():
    rng = np.random.default_rng(0)
    support, query = rng.normal(size=(4, 6)), rng.normal(size=(9, 6))
    labels = [0, 0, 1, 1], np.arange(9) % 2
    _, ax = plt.subplots()
    display = EmbeddingDisplay.from_embeddings(support, labels[0], query, labels[1], ax=ax)
    assert display.ax_ is ax
    assert display.plot().ax_ is not ax
    with pytest.raises(ValueError, match="Give y_query, y_pred or both"):
        EmbeddingDisplay.from_embeddings(support, labels[0], query)
    with pytest.raises(ValueError, match=r"query of shape \(9, 5\), where support has \(4, 6\)"):
        EmbeddingDisplay.from_embeddings(support, labels[0], query[:, :5], labels[1])
    with pytest.raises(ValueError, match=r"one prototype for each of the 2 classes .* Got 3"):
        EmbeddingDisplay.from_embeddings(
            support, *labels[:1], query, labels[1], prototypes=query[:3]
        )
    with pytest.raises(ValueError, match="y_query must have one label a sample of query: 9"):
        EmbeddingDisplay.from_embeddings(support, labels[0], query, [0, 1])


def test_what_is_not_fitted_is_refused(episode):
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(ProtoNetClassifier(), *episode)
