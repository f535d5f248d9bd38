"""Model cards say what is so, of every learner."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    ClassAttributes,
    FewShotClassifier,
    ProtoNetClassifier,
    ZeroShotProtoNetClassifier,
    adapt,
    model_card,
)
from sklearn_fewshot.model_selection import episodic_score


def test_every_learner_and_what_it_adapts_to_has_a_card(make_any, table):
    any_learner = make_any(max_epochs=0).fit(table.X, table.y)
    card = model_card(any_learner)
    assert card.startswith("---\nlibrary_name: sklearn_fewshot\n")
    assert f"# {type(any_learner).__name__}\n" in card
    assert f"On {len(any_learner.classes_)} classes" in card
    adapted = model_card(any_learner.adapt(table.X_new[:24], table.y_new[:24]))
    assert f"It was adapted from a {type(any_learner).__name__}." in adapted
    assert "It knows" in adapted


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.repeat([f"c{k:02d}" for k in range(20)], 10)
    X = 3 * rng.normal(size=(20, 4))[np.repeat(np.arange(20), 10)] + rng.normal(size=(200, 4))
    return pd.DataFrame(X, columns=list("abcd")), y


def test_a_pipeline_says_its_columns_steps_and_scores(data):
    X, y = data
    learner = ProtoNetClassifier(max_epochs=2, episodes_per_epoch=5, random_state=0)
    scaler = StandardScaler().set_output(transform="pandas")
    pipe = make_pipeline(scaler, learner).fit(X[:150], y[:150])
    task = {"n_query": 3, "n_episodes": 20}
    result = episodic_score(pipe, X[150:], y[150:], **task)
    baseline = episodic_score(LogisticRegression(), X[150:], y[150:], **task)
    card = model_card(pipe, {"this model": result, "logistic regression": baseline})
    for text in (
        "Samples have the shape 4.",
        "Columns: 'a', 'b', 'c', 'd'.",
        "pass through StandardScaler.",
        "On 15 classes: 'c00'",
        f"Epoch {learner.best_epoch_} of 2 was kept" if learner.best_epoch_ else "Epoch 0 of 2",
        "rest on 3 held-out classes",
        "few classes were held out",
        str(result),
        str(baseline),
        "adapt(model, X_support, y_support)",
    ):
        assert text in card, text
    adapted = model_card(adapt(pipe, X[150:], y[150:]))
    assert (
        "It knows 5 classes: 'c15', 'c16', 'c17', 'c18', 'c19', from 10 examples each." in adapted
    )
    assert "adapt(model" not in adapted


def test_a_learner_of_attributes_is_used_with_attributes(data):
    X, y = data
    attributes = ClassAttributes(np.unique(y), np.eye(20))
    learner = ZeroShotProtoNetClassifier(max_epochs=0, random_state=0)
    assert "adapt(class_attributes=attributes)" in model_card(
        learner.fit(X, y, class_attributes=attributes)
    )


def test_a_learner_without_calibration_says_so(data):
    X, y = data
    learner = ProtoNetClassifier(max_epochs=0, calibrate=False, random_state=0).fit(X, y)
    assert "thresholds are not calibrated." in model_card(learner)


def test_a_classifier_without_a_learner_has_a_card():
    classifier = FewShotClassifier().fit([[0.0], [1.0], [1.5]], ["a", "b", "b"])
    card = model_card(classifier)
    assert "It knows 2 classes: 'a', 'b', from 1 to 2 examples each." in card
    assert "Meta-training" not in card


def test_what_is_no_learner_is_refused(data):
    X, y = data
    with pytest.raises(TypeError, match=r"Got DummyClassifier\."):
        model_card(DummyClassifier().fit(X, y))
