"""Probabilities of classes that are represented by attributes."""

import numpy as np
import pytest

from sklearn_fewshot import ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier
from sklearn_fewshot.calibration import sample_queries_by_attributes
from sklearn_fewshot.training._calibrated import represent_attributes

LEARNERS = [ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier]
BUDGET = {"n_way": 10, "episodes_per_epoch": 10, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def described():
    """Sixty classes whose samples lie around a linear map of their attributes."""
    rng = np.random.default_rng(0)
    attributes = rng.normal(size=(60, 6))
    y = np.repeat(np.arange(60), 12)
    X = (attributes @ rng.normal(size=(6, 15)))[y] + 1.5 * rng.normal(size=(len(y), 15))
    return X.astype(np.float32), y, attributes


def fit(cls, described, **params):
    X, y, attributes = described
    return cls(**{**BUDGET, **params}).fit(
        X[y < 40], y[y < 40], class_attributes=(np.arange(60), attributes)
    )


def error(learner, described, classes):
    """Mean confidence minus accuracy among some classes."""
    X, y, attributes = described
    asked = np.isin(y, classes)
    classifier = learner.adapt(class_attributes=(classes, attributes[classes]))
    proba = classifier.predict_proba(X[asked])
    right = classifier.classes_[proba.argmax(axis=1)] == y[asked]
    return proba.max(axis=1).mean() - right.mean()


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("cls", LEARNERS)
def test_confidence_is_near_the_accuracy_on_unseen_classes(cls, described, refit):
    learner = fit(cls, described, refit=refit, validation_fraction=0.4)
    assert learner._network.calibration.n_held_out == 16
    for classes in (np.arange(40, 60), np.arange(40, 45)):
        assert abs(error(learner, described, classes)) < 0.1


def test_without_held_out_classes_pairs_are_calibrated_on_training_classes(described):
    """Squared errors of pairs say nothing of several classes; a cross-entropy has done it."""
    pairs, proto = (fit(cls, described, validation_fraction=0.0) for cls in reversed(LEARNERS))
    assert pairs._network.calibration.n_held_out == 0
    assert abs(error(pairs, described, np.arange(40))) < 0.1
    assert proto._network.calibration is None


@pytest.mark.parametrize("cls", LEARNERS)
def test_the_temperature_changes_probabilities_alone(cls, described):
    X = described[0]
    learner, plain = (fit(cls, described, calibrate=on) for on in (True, False))
    assert plain._network.calibration is None
    np.testing.assert_array_equal(learner.decision_function(X), plain.decision_function(X))
    with pytest.raises(TypeError, match="was fitted on examples"):
        learner.adapt(class_attributes={0: described[2][0], 1: described[2][1]}).predict(
            X, reject_label=-1
        )


def test_sampled_queries_are_scored_among_the_drawn_classes(described):
    X, y, attributes = described
    learner = fit(ZeroShotProtoNetClassifier, described, max_epochs=0)
    network = learner._network
    items = represent_attributes(network, learner._rows_of_head(attributes[40:52]))
    rows, codes = network.encode(X[(y >= 40) & (y < 52)]), y[(y >= 40) & (y < 52)] - 40
    sizes = sample_queries_by_attributes(network, items, rows, codes)
    assert [size.n_way for size in sizes] == [2, 5, 10, 12]
    every = network.predict_uncorrected(network.adapt(items), rows, 12)
    for size in sizes:
        assert size.logits.shape[1] == size.n_way
        own = size.logits[np.arange(len(size.target)), size.target]
        assert np.isin(own, every[np.arange(len(codes)), codes]).all()
        assert set(size.code) == set(range(12))
