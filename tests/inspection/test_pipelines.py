"""Displays of pipelines within pipelines: what `adapt` takes, they take."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_fewshot import SiameseNetClassifier, adapt
from sklearn_fewshot.inspection import (
    EmbeddingDisplay,
    EpisodeDisplay,
    PairRocDisplay,
    RejectionDisplay,
    ReliabilityDisplay,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def nest(learner, table):
    inner = make_pipeline(StandardScaler(), learner)
    return Pipeline([("outer", MinMaxScaler()), ("inner", inner)]).fit(table.X, table.y)


def test_displays_take_nested_pipelines(make_learner, table):
    nested = nest(make_learner(), table)
    X_support, X_query = table.X_new[::2], table.X_new[1::2]
    y_support, y_query = table.y_new[::2], table.y_new[1::2]
    adapted = adapt(nested, X_support, y_support)
    for display in (EmbeddingDisplay, EpisodeDisplay):
        drawn = display.from_estimator(nested, X_support, y_support, X_query, y_query)
        np.testing.assert_array_equal(drawn.y_pred, adapted.predict(X_query))
    reliability = ReliabilityDisplay.from_estimator(adapted, X_query, y_query)
    assert reliability.ax_ is not None
    RejectionDisplay.from_estimator(adapted, X_query, table.X)


def test_pairs_of_nested_pipelines_are_drawn(table):
    learner = SiameseNetClassifier(max_epochs=1, episodes_per_epoch=5, n_query=3, random_state=0)
    nested = nest(learner, table)
    pairs = np.stack([table.X_new[:-1], table.X_new[1:]], axis=1)
    is_same = np.where(table.y_new[:-1] == table.y_new[1:], 1, -1)
    assert PairRocDisplay.from_estimator(nested, pairs, is_same).ax_ is not None
