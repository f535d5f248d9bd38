"""What happens at the limits: numbers, names and sizes that are extreme or say nothing."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_fewshot import FewShotClassifier, MANNClassifier, adapt
from sklearn_fewshot.nn import EmbeddingModule
from sklearn_fewshot.nn.backbones import BACKBONES, ResidualMLP, n_parameters

FLOAT16_MAX = 65504.0


# ------------------------------------------------------------------ numbers


def test_half_precision_input_cannot_overflow_inside(make_any, table):
    """Squares and sums of numbers that float16 just holds: it computes in float32 and float64."""
    scale = FLOAT16_MAX / np.abs(table.X).max()
    half = (table.X * scale).astype(np.float16)
    learner = make_any(precision="float32").fit(half, table.y)
    support = (table.X_new * scale).clip(-FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)
    classifier = learner.adapt(support, table.y_new)
    scores = classifier.decision_function(half)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(classifier.decision_function(half.astype(np.float64)), scores)


@pytest.mark.parametrize("factor", [1e-30, 1e-9, 1e9, 1e37])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_unit_of_a_table_does_not_decide(make_learner, table, precision, factor):
    learner = make_learner(precision=precision).fit(table.X * factor, table.y)
    classifier = learner.adapt(table.X_new * factor, table.y_new)
    assert classifier.score(table.X_new * factor, table.y_new) > 0.8


def test_more_than_float32_holds_is_refused(make_learner, table):
    with pytest.raises(ValueError, match=r"beyond the range of float32.*Scale X first"):
        make_learner().fit(table.X.astype(np.float64) * 1e39, table.y)


@pytest.mark.parametrize(
    "as_tensor", [torch.Tensor.bfloat16, torch.Tensor.requires_grad_], ids=["bfloat16", "grad"]
)
def test_tensors_that_numpy_cannot_read_are_refused_with_the_remedy(learner, table, as_tensor):
    X = as_tensor(torch.tensor(table.X, dtype=torch.float32))
    with pytest.raises(TypeError, match=r"numpy cannot read.*X\.detach\(\)\.float\(\)\.cpu\(\)"):
        learner.predict(X)
    assert len(learner.predict(X.detach().float().cpu())) == len(X)


class HalfPrecision(nn.Module):
    """Multiplies in float16, and so beyond its range."""

    def __init__(self, factor=1e5):
        super().__init__()
        self.weight = nn.Parameter(torch.full((), factor))

    def forward(self, X):
        return (X.half() * self.weight.half()).float()


@pytest.mark.filterwarnings("ignore:.*only one class|.*without validation")
def test_a_backbone_that_overflows_is_named_with_its_row(make_learner, table):
    learner = make_learner(backbone=HalfPrecision(1.0), max_epochs=0).fit(table.X, table.y)
    support = table.X_new[:6].copy()
    support[4] = FLOAT16_MAX * 2
    with pytest.raises(ValueError, match=r"NaN or infinity for 1 of 6 samples, first for row 4"):
        learner.adapt(support, table.y_new[:6])


def test_training_that_overflows_is_stopped(make_learner, table):
    learner = make_learner(backbone=HalfPrecision(1e5), calibrate=False, validation_fraction=0.0)
    with pytest.raises(ValueError, match=r"epoch 1.*lr|NaN or infinity"):
        learner.fit(table.X, table.y)
    assert not hasattr(learner, "classes_")


# ------------------------------------------------------------------ data that say nothing


def test_features_that_never_vary_leave_every_class_as_likely(make_any, table):
    ones, new = np.ones_like(table.X), np.ones_like(table.X_new)
    learner = make_any().fit(ones, table.y)
    with pytest.warns(UserWarning, match="have several labels"):
        classifier = learner.adapt(*one_each(new, table.y_new))
    proba = classifier.predict_proba(new)
    np.testing.assert_allclose(proba, 1 / proba.shape[1], rtol=1e-6)


def test_columns_that_never_vary_do_no_harm(make_any, table):
    X, X_new = (np.column_stack([X, np.full(len(X), 7.0)]) for X in (table.X, table.X_new))
    learner = make_any().fit(X, table.y)
    classifier = learner.adapt(X_new, table.y_new)
    assert np.isfinite(classifier.predict_proba(X_new)).all()
    if not isinstance(learner, MANNClassifier):  # which learns slowly
        assert classifier.score(X_new, table.y_new) > 0.7


def one_each(X, y):
    """Return the first example of each class."""
    labels, first = np.unique(y, return_index=True)
    return X[first], labels


def test_one_example_under_two_labels_is_warned_of_and_is_a_tie(make_any, table):
    learner = make_any().fit(table.X, table.y)
    rows, labels = table.X_new[[0, 0, 1]], ["a", "b", "c"]
    with pytest.warns(UserWarning, match=r"1 examples .*: row 1 \('b'\) equals row 0 \('a'\)"):
        classifier = learner.adapt(rows, labels)
    proba = classifier.predict_proba(table.X)
    if "duplicates" not in getattr(learner.module_, "head", learner.module_).breaks:
        np.testing.assert_allclose(proba[:, 0], proba[:, 1], rtol=1e-5)
    alike = proba[:, 2] < 1 / 3
    if alike.any():
        assert set(classifier.predict(table.X[alike])) <= {"a", "b"}


def test_the_same_example_again_under_one_label_is_no_conflict(learner, table):
    learner.adapt(table.X_new[[0, 0, 1, 0]], ["a", "a", "b", "a"])  # a warning would be an error


def test_conflicts_among_unlabelled_examples_are_none(learner, table):
    learner.adapt(table.X_new[[0, 0, 1]], [5, -1, 6], unlabelled=-1)


# ------------------------------------------------------------------ names


def test_examples_of_a_base_class_join_it(learner, table):
    """A name of the base classes means that class where these are kept, else a class anew."""
    known = learner.classes_[1]
    labels = np.array([known, known, "new"])
    both = learner.adapt(table.X_new[:3], labels, include_base=True)
    n_base = (table.y == known).sum()
    assert list(both.classes_) == sorted({*learner.classes_, "new"})
    assert both.class_count_[both.classes_ == known] == n_base + 2
    alone = learner.adapt(table.X_new[:3], labels)
    assert alone.class_count_[alone.classes_ == known] == 2


def test_names_of_another_type_are_refused_beside_the_base_classes(learner, table):
    with pytest.raises(ValueError, match=r"of different types. Use one type for both"):
        learner.adapt(table.X_new[:3], [1, 1, 2], include_base=True)


# ------------------------------------------------------------------ sizes


def test_twenty_thousand_classes_in_one_decision(learner, table):
    n_classes, n_features = 20_000, table.X.shape[1]
    rng = np.random.default_rng(0)
    spread = table.X.std(axis=0)
    support = table.X.mean(axis=0) + spread * rng.normal(size=(n_classes, n_features))
    classifier = learner.adapt(support, np.arange(n_classes))
    queries = support[:2000]
    tracemalloc.start()
    predicted = classifier.predict(queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(predicted, np.arange(2000))
    assert peak < 0.75 * 8 * n_classes * len(queries)  # bytes; all scores at once would be more


# ------------------------------------------------------------------ learners that were changed


def test_examples_of_two_networks_are_not_mixed(make_learner, table):
    learner = make_learner().fit(table.X, table.y)
    classifier = learner.adapt(table.X_new[:12], table.y_new[:12])
    before = classifier.predict_proba(table.X)
    learner.set_params(random_state=5).fit(table.X, table.y)
    with pytest.raises(ValueError, match=r"fitted again or exchanged .* Call fit, or adapt"):
        classifier.partial_fit(table.X_new[12:], table.y_new[12:])
    np.testing.assert_array_equal(classifier.predict_proba(table.X), before)
    classifier.fit(table.X_new, table.y_new)
    expected = learner.adapt(table.X_new, table.y_new).predict_proba(table.X)
    np.testing.assert_array_equal(classifier.predict_proba(table.X), expected)


def test_another_learner_needs_another_fit(make_learner, learner, table):
    classifier = learner.adapt(table.X_new[:12], table.y_new[:12])
    classifier.set_params(learner=make_learner(random_state=5).fit(table.X, table.y))
    with pytest.raises(ValueError, match="fitted again or exchanged"):
        classifier.partial_fit(table.X_new[12:], table.y_new[12:])
    anew = adapt(classifier, table.X_new, table.y_new)
    assert len(anew.predict(table.X)) == len(table.X)


def test_a_classifier_without_a_learner_goes_on(table):
    classifier = FewShotClassifier().fit(table.X_new[:12], table.y_new[:12])
    classifier.partial_fit(table.X_new[12:], table.y_new[12:])
    assert classifier.class_count_.sum() == len(table.y_new)


def test_columns_that_vary_by_rounding_alone_say_nothing_of_distance(make_learner, table):
    """As those of a TruncatedSVD beyond the rank of its training data."""
    noise = 1e-16 * np.random.default_rng(0).normal(size=(len(table.X), 40))
    learner = make_learner().fit(np.hstack([table.X, noise]), table.y)
    X_new = np.hstack([table.X_new, np.full((len(table.X_new), 40), 1e-3)])
    learner.adapt(X_new, table.y_new)  # a warning would be an error


# ------------------------------------------------------------------ networks


def test_a_network_absurdly_large_for_its_data_is_named_before_it_is_built(make_any, monkeypatch):
    """64 x 64 pixels of 13 bands, read as 64 channels: 27 million weights for 24 samples."""

    class Built(Exception):
        pass

    def build(*args, **kwargs):
        raise Built

    X, y = np.zeros((24, 64 * 64 * 13), dtype=np.float32), np.repeat(np.arange(6), 4)
    learner = make_any(input_shape=(64, 64, 13), backbone="residual_mlp")
    learner.set_params(calibrate=False)
    monkeypatch.setattr(EmbeddingModule, "build", build)
    message = r"'residual_mlp' of \w+ has 27\.\d million parameters .* only 24 samples"
    with pytest.raises(Built), pytest.warns(UserWarning, match=message):
        learner.fit(X, y)
    for fine in ({"backbone": "identity"}, {"backbone": ResidualMLP}):  # a module may be pretrained
        with pytest.raises(Built):
            learner.set_params(**fine).fit(X, y)


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_are_counted_without_a_network(name):
    shape = {"spectral": (2, 40), "koch": (1, 65, 66)}.get(name, (2, 20, 24))
    state = torch.get_rng_state()
    counted = n_parameters(name, shape)
    assert torch.equal(torch.get_rng_state(), state)
    assert counted == sum(it.numel() for it in BACKBONES[name](shape).parameters())
