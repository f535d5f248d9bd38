"""AttentionDisplay draws what queries read of a support set."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    InContextClassifier,
    MANNClassifier,
    MatchingNetClassifier,
    MetaNetClassifier,
)
from sklearn_fewshot.inspection import AttentionDisplay

READERS = {
    "MatchingNet": (MatchingNetClassifier, {}),
    "MatchingNet with full context": (MatchingNetClassifier, {"fce": True}),
    "InContext": (InContextClassifier, {}),
    "MANN": (MANNClassifier, {"controller_dim": 16, "n_shot": 1}),
    "MetaNet": (MetaNetClassifier, {"hidden_dim": 8}),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module", params=READERS.values(), ids=READERS)
def reader(request, table):
    cls, options = request.param
    short = {"max_epochs": 1, "episodes_per_epoch": 5, "calibrate": False}
    return cls(**short, **options, validation_fraction=0.0, random_state=0).fit(table.X, table.y)


@pytest.fixture
def episode(table):
    return table.X_new[:12], table.y_new[:12], table.X_new[12:22], table.y_new[12:22]


def test_attention_is_shared_out_over_the_examples(reader, episode):
    display = AttentionDisplay.from_estimator(reader, *episode)
    assert display.attention.shape == (10, 12)
    assert display.attention.min() >= 0.0
    np.testing.assert_allclose(display.attention.sum(axis=1), 1.0, rtol=1e-5)


def test_attention_follows_the_examples_into_another_order(reader, episode):
    X_support, y_support, X_query, _ = episode
    order = np.random.default_rng(0).permutation(12)
    one = AttentionDisplay.from_estimator(reader, X_support, y_support, X_query)
    other = AttentionDisplay.from_estimator(reader, X_support[order], y_support[order], X_query)
    np.testing.assert_allclose(other.attention, one.attention[:, order], atol=1e-5)


def test_matching_networks_predict_the_sum_of_the_attention(table, episode):
    learner = MatchingNetClassifier(
        max_epochs=1, episodes_per_epoch=5, calibrate=False, class_balanced=False, random_state=0
    ).fit(table.X, table.y)
    X_support, y_support, X_query, _ = episode
    display = AttentionDisplay.from_estimator(learner, X_support, y_support, X_query)
    proba = learner.adapt(X_support, y_support).predict_proba(X_query)
    for column, label in enumerate(np.unique(y_support)):
        of_class = display.attention[:, y_support == label].sum(axis=1)
        np.testing.assert_allclose(of_class, proba[:, column], rtol=1e-4)


def test_rows_and_columns_are_in_the_order_of_classes(table, episode):
    steps = make_pipeline(
        StandardScaler(), MatchingNetClassifier(max_epochs=0, calibrate=False, random_state=0)
    )
    display = AttentionDisplay.from_estimator(steps.fit(table.X, table.y), *episode)
    columns, rows = np.argsort(episode[1], kind="stable"), np.argsort(episode[3], kind="stable")
    drawn = np.asarray(display.im_.get_array())
    np.testing.assert_array_equal(drawn, display.attention[rows][:, columns])
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert labels == list(np.unique(episode[1]))
    names = [text.get_text() for text in display.ax_.get_yticklabels()]
    wrong = display.y_pred[rows] != episode[3][rows]
    assert [", " in name for name in names] == list(wrong)


def test_other_learners_are_an_error(learner, episode):
    with pytest.raises(TypeError, match="Take a learner that does: MatchingNetClassifier"):
        AttentionDisplay.from_estimator(learner, *episode)
