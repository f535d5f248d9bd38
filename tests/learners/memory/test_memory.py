"""Learners that read the support set: what they learn, and where a memory ends."""

import numpy as np
import pytest

from sklearn_fewshot import InContextClassifier, MANNClassifier, MetaNetClassifier
from sklearn_fewshot.model_selection import episodic_score

SHORT = {"max_epochs": 1, "episodes_per_epoch": 5, "calibrate": False, "random_state": 0}


@pytest.fixture(scope="module")
def many():
    """Fifty base and ten new classes."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(60), 10)
    X = 3.0 * rng.normal(size=(60, 6))[y] + rng.normal(size=(600, 6))
    return X[y < 50], y[y < 50], X[y >= 50], y[y >= 50]


@pytest.fixture(scope="module")
def mann(many):
    """A memory-augmented network that was trained for a few seconds."""
    sizes = {"memory_slots": 16, "memory_width": 16, "n_reads": 1, "controller_dim": 64}
    episodes = {"n_way": 2, "n_shot": 2, "n_query": 2, "episodes_per_epoch": 640}
    learner = MANNClassifier(
        **sizes,
        **episodes,
        label_code="one-hot",
        backbone="identity",
        validation_fraction=0.0,
        max_epochs=25,
        lr=1e-2,
        calibrate=False,
        random_state=0,
    )
    return learner.fit(*many[:2])


def test_a_memory_learns_to_bind_labels(mann, many):
    accuracy = mann.presentation_accuracy(*many[2:], n_way=2, n_presentations=4, random_state=0)
    assert accuracy.shape == (4,)
    assert accuracy[1:].min() > 0.75  # chance is a half
    result = episodic_score(
        mann, *many[2:], n_way=2, n_shot=2, n_query=2, n_episodes=100, random_state=0
    )
    assert result.mean > 0.75


def test_presentations_repeat_with_the_seed_and_change_nothing(mann, many):
    options = {"n_way": 2, "n_presentations": 3, "n_episodes": 20}
    before = mann.predict(many[2])
    first, again, other = (
        mann.presentation_accuracy(*many[2:], **options, random_state=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(mann.predict(many[2]), before)


def test_presentations_of_too_few_samples_are_an_error(mann, many):
    with pytest.raises(ValueError, match="presentation_accuracy must leave n_query=10"):
        mann.presentation_accuracy(*many[2:], n_way=2, n_presentations=11)
    with pytest.raises(ValueError, match="has 2 outputs and cannot adapt to more classes"):
        mann.presentation_accuracy(*many[2:], n_way=3)


def test_a_memory_is_full_at_some_time(mann, many):
    X, y = many[2][:17], np.tile(["a", "b"], 9)[:17]
    with pytest.raises(ValueError, match=r"reads at most 16 examples .*Got 17.*ProtoNetClassifier"):
        mann.adapt(X, y)
    classifier = mann.adapt(X[:16], y[:16])
    before = classifier.predict_proba(X)
    with pytest.raises(ValueError, match="at most 16 examples"):
        classifier.partial_fit(X[16:], y[16:])
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    with pytest.raises(ValueError, match="at most 16 examples"):
        episodic_score(mann, *many[2:], n_way=2, n_shot=9, n_query=1, n_episodes=2)


def test_one_hot_labels_are_of_a_fixed_number(mann, many):
    X, y = many[2:]
    with pytest.raises(ValueError, match="has 2 outputs and cannot adapt to more classes"):
        mann.adapt(X[:30:3], y[:30:3])


def test_letters_are_labels_of_any_number(many):
    learner = MANNClassifier(controller_dim=16, n_way=3, n_shot=1, **SHORT).fit(*many[:2])
    X, y = many[2:]
    assert learner.adapt(X[::5], y[::5]).predict_proba(X).shape == (100, 10)


@pytest.mark.parametrize(
    ("cls", "parameters", "message"),
    [
        (MANNClassifier, {"n_way": "all"}, "'n_way' parameter of MANNClassifier must be a number"),
        (MANNClassifier, {"memory_slots": 24}, "must be at least n_way \\* n_shot = 25.*Got 24"),
        (MANNClassifier, {"n_reads": 200}, "'n_reads' .* must be at most memory_slots=128"),
        (InContextClassifier, {"token_dim": 6}, "must be a multiple of n_heads=4. Got 6"),
    ],
)
def test_parameters_that_do_not_fit_are_an_error(many, cls, parameters, message):
    with pytest.raises(ValueError, match=message):
        cls(**parameters, **SHORT).fit(*many[:2])


@pytest.mark.parametrize("cls", [InContextClassifier, MANNClassifier, MetaNetClassifier])
def test_base_classes_are_compared_by_their_means(cls, many):
    learner = cls(n_shot=1, **SHORT).fit(*many[:2])
    X, y, X_new, y_new = many
    means = np.array([learner.transform(X[y == k]).mean(axis=0) for k in range(50)])
    nearest = ((learner.transform(X_new)[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(learner.predict(X_new), nearest)
    both = learner.adapt(X_new[:20], y_new[:20], include_base=True)
    assert len(both.classes_) == 52
    assert both.score(X, y) > 0.6


def test_more_examples_than_attention_has_memory_for(table):
    learner = InContextClassifier(max_epochs=0, calibrate=False).fit(table.X, table.y)
    rows = np.arange(5001) % len(table.X)
    with pytest.raises(ValueError, match=r"at most 5000 examples .*Got 5001.*ProtoNetClassifier"):
        learner.adapt(table.X[rows], table.y[rows])


def test_episodes_of_more_examples_than_attention_has_memory_for():
    y = np.arange(6 * 840) % 6
    learner = InContextClassifier(n_way=6, n_shot=835, max_epochs=0, validation_fraction=0.0)
    with pytest.raises(ValueError, match=r"at most 5000 .*up to 6 classes .*Lower n_way or n_shot"):
        learner.fit(np.random.default_rng(0).normal(size=(len(y), 3)), y)


def test_in_context_attention_is_above_class_means_of_two_modes():
    """Each class has two clusters, far from their mean: a query has to find its own."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(40), 20)
    centre = 4.0 * rng.normal(size=(40, 2, 4))
    X = centre[y, np.tile([0, 1], 400)] + rng.normal(size=(800, 4))
    base = y < 30
    options = {"n_way": 5, "n_shot": 8, "max_epochs": 3, "validation_fraction": 0.0}
    learner = InContextClassifier(**options, calibrate=False, random_state=0)
    learner.fit(X[base], y[base])
    assert float(learner.module_.head.closeness) > 0.5
    episodes = {"n_way": 5, "n_shot": 8, "n_query": 5, "n_episodes": 50, "random_state": 0}
    means = InContextClassifier(**options | {"max_epochs": 0}, calibrate=False, random_state=0)
    means.fit(X[base], y[base]).module_.head.closeness.data.zero_()
    assert (
        episodic_score(learner, X[~base], y[~base], **episodes).mean
        > episodic_score(means, X[~base], y[~base], **episodes).mean + 0.05
    )
