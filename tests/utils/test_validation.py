"""Bad input: an error that says of what, what was got and what to do; nothing is lost by it."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_fewshot import FewShotClassifier, FrozenEncoder, adapt

LEARNER, CLASSIFIER = "ProtoNetClassifier", "FewShotClassifier"


@pytest.fixture(scope="module")
def fitted(make_learner, table):
    """Everything that takes samples, fitted; shared, since failed calls change nothing."""
    learner = make_learner(max_epochs=1).fit(table.X, table.y)
    return {
        "learner": learner,
        "classifier": learner.adapt(table.X_new, table.y_new),
        "raw": FewShotClassifier().fit(table.X_new, table.y_new),
    }


@pytest.fixture(scope="module")
def fitted_on_images(make_learner):
    """A learner of small colour images, and the images."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(6), 5)
    X = rng.integers(0, 255, size=(30, 3, 16, 16), dtype=np.uint8)
    return make_learner(max_epochs=0, backbone="mlp").fit(X, y), X, y


@contextmanager
def refused(estimator, X, error, match):
    """The block raises, and the estimator is as usable as before."""
    before, expected = dict(vars(estimator)), estimator.predict_proba(X)
    with pytest.raises(error, match=match):
        yield
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is value for name, value in before.items())
    np.testing.assert_array_equal(estimator.predict_proba(X), expected)


# ------------------------------------------------------------------ samples


def with_value(value):
    def spoil(X):
        X = X.copy()
        X[1, 2] = value
        return X

    return spoil


BAD_X = {
    "empty": (lambda X: X[:0], ValueError, r"array with 0 sample\(s\).* required by"),
    "no features": (lambda X: X[:, :0], ValueError, r"array with 0 feature\(s\).* required by"),
    "NaN": (with_value(np.nan), ValueError, "X contains NaN"),
    "infinity": (with_value(np.inf), ValueError, "X .*infinity.* Drop those samples"),
    "beyond float32": (with_value(1e300), ValueError, "X .*range of float32.*1e.300.* Scale X"),
    "one axis": (lambda X: X[:, 0], ValueError, "Expected 2D array, got 1D array"),
    "sparse": (csr_matrix, TypeError, r"must be dense. Got a sparse matrix.*toarray\(\)"),
    "text": (
        lambda X: np.full(X.shape, "word"),
        ValueError,
        r"X .*strings.* Encode .* as numbers.*sparse_output=False",
    ),
    "objects": (
        lambda X: np.full(X.shape, "word", dtype=object),
        ValueError,
        "X .*string to float: 'word'.* Encode .* as numbers",
    ),
    "dates": (
        lambda X: np.full(X.shape, np.datetime64("2020-01-01")),
        ValueError,
        r"X .*Got .*datetime64.* X.astype\(float\)",
    ),
    "complex": (lambda X: X + 1j, ValueError, "Complex data not supported"),
    "five axes": (lambda X: X[..., None, None, None], ValueError, r"X .*shape .*1, 1, 1\)"),
    "nothing": (lambda X: None, ValueError, "Expected 2D array, got scalar array|both halves"),
}
EVERY_BAD_X = pytest.mark.parametrize(("spoil", "error", "match"), BAD_X.values(), ids=BAD_X)


@EVERY_BAD_X
def test_bad_samples_are_refused_in_fit(fitted, make_learner, table, spoil, error, match):
    for name, data in (("learner", (table.X, table.y)), ("raw", (table.X_new, table.y_new))):
        with refused(fitted[name], table.X, error, match):
            fitted[name].fit(spoil(data[0]), data[1])
    for unfitted in (make_learner(), FewShotClassifier()):
        with pytest.raises(error, match=match):
            unfitted.fit(spoil(table.X), table.y)
        with pytest.raises(NotFittedError):
            unfitted.predict(table.X)


@EVERY_BAD_X
def test_bad_support_is_refused(fitted, table, spoil, error, match):
    bad, labels = spoil(table.X_new), table.y_new
    with refused(fitted["learner"], table.X, error, match):
        fitted["learner"].adapt(bad, labels)
    with refused(fitted["learner"], table.X, error, match):
        fitted["learner"].predict(table.X, X_support=bad, y_support=labels)
    for name in ("classifier", "raw"):
        with refused(fitted[name], table.X, error, match):
            fitted[name].fit(bad, labels)
        with refused(fitted[name], table.X, error, match):
            fitted[name].partial_fit(bad, labels)


@EVERY_BAD_X
@pytest.mark.parametrize("name", ["learner", "classifier", "raw"])
def test_bad_queries_are_refused(fitted, table, name, spoil, error, match):
    for method in ("predict", "predict_proba", "decision_function", "score_samples", "transform"):
        if hasattr(fitted[name], method):
            with refused(fitted[name], table.X, error, match):
                getattr(fitted[name], method)(spoil(table.X))


@pytest.mark.parametrize("name", ["learner", "classifier", "raw"])
def test_another_width_is_refused(fitted, table, name):
    with refused(fitted[name], table.X, ValueError, "X has 3 features.* 6 features"):
        fitted[name].predict(table.X[:, :3])
    with refused(fitted[name], table.X, ValueError, r"shape \(6, 1, 1\).*reshape\(len\(X\), 6\)"):
        fitted[name].predict(table.X[:, :, None, None])


# ------------------------------------------------------------------ images and series


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda X: np.moveaxis(X, 1, -1), r"channels last.*np.moveaxis\(X, -1, 1\)"),
        (lambda X: X[:, 0], r"without a channel axis.*X\[:, None\]"),
        (lambda X: X[:, 0].astype(float), r"without a channel axis.*X\[:, None\]"),
        (lambda X: X[:, 0, :, :8], r"without a channel axis.*uint8 series.*input_shape"),
    ],
    ids=["channels last", "8-bit without channels", "square without channels", "8-bit series"],
)
def test_images_in_another_layout_are_refused_with_the_remedy(fitted_on_images, spoil, match):
    learner, X, y = fitted_on_images
    with refused(learner, X, ValueError, match):
        learner.fit(spoil(X), y)
    with pytest.raises(ValueError, match=match):
        FewShotClassifier().fit(spoil(X), y)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda X: X[:, :1], r"shape \(1, 16, 16\).* on samples of shape \(3, 16, 16\)"),
        (lambda X: X[:, :, :8], r"shape \(3, 8, 16\).* on samples of shape \(3, 16, 16\)"),
        (lambda X: np.moveaxis(X, 1, -1), r"shape \(16, 16, 3\).*another order.*np.moveaxis"),
        (lambda X: X[:, 0], r"shape \(16, 16\).* on samples of shape \(3, 16, 16\)"),
        (lambda X: X.reshape(30, -1), r"shape \(768,\).*reshape\(len\(X\), 3, 16, 16\)"),
        (lambda X: X.reshape(30, -1)[:, :700], r"shape \(700,\).* of shape \(3, 16, 16\)"),
    ],
    ids=["channel count", "size", "channels last", "no channels", "flattened", "width"],
)
def test_queries_and_support_must_look_like_what_was_fitted(fitted_on_images, spoil, match):
    learner, X, y = fitted_on_images
    with refused(learner, X, ValueError, match):
        learner.predict(spoil(X))
    with refused(learner, X, ValueError, match):
        learner.adapt(spoil(X), y)


CHANNELS_LAST = [(5, 5, 2), (12, 12, 2), (8, 8, 5), (20, 20, 13), (6, 9, 3)]
PROBABLY_LAST = [(11, 12, 5), (9, 8, 2), (5, 5, 6), (30, 6), (6, 2)]
CHANNELS_FIRST = [
    (2, 12, 12),
    (13, 20, 20),
    (30, 6, 6),
    (3, 9, 20),
    (3, 3, 2),
    (4, 4, 2),
    (1, 9, 8),
]
CHANNELS_FIRST += [(20, 8, 7), (3, 3, 30), (1, 1, 1), (2, 30), (6, 30), (13, 12, 10)]


def samples_of(shape):
    y = np.repeat(np.arange(6), 4)
    return np.random.default_rng(0).normal(size=(24, *shape)).astype(np.float32), y


@pytest.mark.parametrize("shape", CHANNELS_LAST, ids=str)
def test_channels_that_are_certainly_last_are_refused(make_any, shape):
    learner = make_any(max_epochs=0, backbone="identity")
    X, y = samples_of(shape)
    with pytest.raises(
        ValueError, match=r"np.moveaxis\(X, -1, 1\).* first, flatten .*input_shape="
    ):
        learner.fit(X, y)


def test_channels_that_only_seem_to_be_last_pass_as_flat_rows(make_any):
    X, y = samples_of((5, 5, 2))
    learner = make_any(max_epochs=0, backbone="identity", input_shape=(5, 5, 2))
    assert learner.fit(X.reshape(24, -1), y).input_shape_ == (5, 5, 2)


@pytest.mark.parametrize("shape", PROBABLY_LAST, ids=str)
def test_channels_that_are_probably_last_are_warned_of(make_learner, shape):
    _warns_of_layout(make_learner, shape)


@pytest.mark.parametrize("shape", [(5, 5, 6), (6, 2)], ids=str)
def test_every_learner_warns_of_channels_that_are_probably_last(make_any, shape):
    _warns_of_layout(make_any, shape)


def _warns_of_layout(make, shape):
    learner = make(max_epochs=0, backbone=lambda: nn.Flatten())
    X, y = samples_of(shape)
    seen = f"{shape[0]} channels of {' x '.join(map(str, shape[1:]))}"
    with pytest.warns(UserWarning, match=rf"read as {seen} .* np.moveaxis\(X, -1, 1\)") as caught:
        learner.fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]
    learner.set_params(input_shape=shape).fit(X, y)
    learner.set_params(input_shape=None, backbone="identity").fit(X, y)  # takes any order


@pytest.mark.parametrize("shape", CHANNELS_FIRST, ids=str)
def test_channels_first_are_taken_as_they_are(make_learner, shape):
    X, y = samples_of(shape)
    make_learner(max_epochs=0, backbone=lambda: nn.Flatten()).fit(X, y)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_an_encoder_tells_channels_first_as_a_learner_does(method):
    encoder = FrozenEncoder(nn.Flatten())
    for shape in CHANNELS_LAST:
        with pytest.raises(ValueError, match=r"np.moveaxis\(X, -1, 1\).* preprocess=np.asarray"):
            getattr(encoder, method)(samples_of(shape)[0])
    for shape in [it for it in PROBABLY_LAST if len(it) == 3]:
        with pytest.warns(UserWarning, match=r"np.moveaxis\(X, -1, 1\).* preprocess=np.asarray"):
            getattr(encoder, method)(samples_of(shape)[0])
    for shape in CHANNELS_FIRST:
        getattr(FrozenEncoder(nn.Flatten()), method)(samples_of(shape)[0])
    encoder.set_params(preprocess=np.asarray)
    for shape in CHANNELS_LAST:
        getattr(clone(encoder), method)(samples_of(shape)[0])


def test_a_learner_of_flattened_samples_says_how_to_flatten(make_learner, table):
    X, y = np.tile(table.X, (1, 2)), table.y
    learner = make_learner(input_shape=(2, 6), max_epochs=0).fit(X, y)
    with refused(learner, X, ValueError, r"rows of 12 values.*Pass X.reshape\(len\(X\), -1\)"):
        learner.predict(X.reshape(-1, 2, 6))


def test_series_of_length_one_are_series(make_learner, table):
    X = table.X[:, :, None]
    learner = make_learner(max_epochs=0, input_shape=X.shape[1:]).fit(X, table.y)
    assert learner.predict(X).shape == table.y.shape


@pytest.mark.parametrize("shape", [(2, 2), (7,), (6, 2)])
def test_rows_must_fit_the_input_shape(make_learner, table, shape):
    with pytest.raises(ValueError, match=r"6 features.*input_shape.*ProtoNetClassifier"):
        make_learner(input_shape=shape).fit(table.X, table.y)


def test_the_input_shape_must_be_that_of_shaped_samples(fitted_on_images, make_learner):
    _, X, y = fitted_on_images
    match = r"'input_shape' parameter of ProtoNetClassifier is \(1, 16, 16\).*flatten X"
    with pytest.raises(ValueError, match=match):
        make_learner(input_shape=(1, 16, 16)).fit(X, y)


# ------------------------------------------------------------------ labels


def mixed(y):
    return np.array([*y[:-1].astype(object), 3], dtype=object)


BAD_Y = {
    "missing": (lambda y: None, ValueError, "y.* None|got X_support without y_support"),
    "too short": (lambda y: y[:-1], ValueError, "X and y have inconsistent numbers of samples: "),
    "two columns": (lambda y: np.stack([y, y], axis=1), ValueError, r"1d array.*shape \(.*, 2\)"),
    "a scalar": (lambda y: y[0], ValueError, r"1d array.*shape \(\)"),
    "NaN": (lambda y: np.full(len(y), np.nan), ValueError, "y contains NaN.* relabel"),
    "continuous": (lambda y: np.linspace(0, 1, len(y)), ValueError, "label type: continuous"),
    "mixed types": (mixed, TypeError, r"y must .*one sortable type.* int, str.*y.astype\(str\)"),
    "None among strings": (
        lambda y: np.array([None, *y[1:]], dtype=object),
        ValueError,
        r"y lacks 1 labels \(NaN or None\), first at position 0",
    ),
}
EVERY_BAD_Y = pytest.mark.parametrize(("spoil", "error", "match"), BAD_Y.values(), ids=BAD_Y)


@EVERY_BAD_Y
def test_bad_labels_are_refused(fitted, table, spoil, error, match):
    for name, (X, y) in {"learner": (table.X, table.y), "raw": (table.X_new, table.y_new)}.items():
        with refused(fitted[name], table.X, error, match):
            fitted[name].fit(X, spoil(y))
    bad = spoil(table.y_new)
    with refused(fitted["learner"], table.X, error, match):
        fitted["learner"].adapt(table.X_new, bad)
    with refused(fitted["classifier"], table.X, error, match):
        fitted["classifier"].partial_fit(table.X_new, bad)


def test_one_class_cannot_be_trained_on(fitted, table):
    match = "ProtoNetClassifier needs at least two classes.* Got 1 class: 'base-0'"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].fit(table.X, np.full(len(table.X), "base-0"))


def test_single_examples_cannot_be_trained_on(fitted, table):
    _, first = np.unique(table.y, return_index=True)
    match = "ProtoNetClassifier needs a class with two examples. Got none"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].fit(table.X[first], table.y[first])


def test_labels_that_nothing_knows_cannot_be_scored(fitted, table):
    match = "No label of y is known.*'new-.*classes_ has 'base-.*EpisodicScorer"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].score(table.X_new, table.y_new)
    match = "No label of y is known.*'base-.*classes_ has 'new-.*EpisodicScorer"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].score(table.X, table.y, X_support=table.X_new, y_support=table.y_new)
    for other_type in (np.zeros(len(table.X), dtype=int), np.full(len(table.X), "0")):
        with refused(fitted["classifier"], table.X, ValueError, "No label of y is known"):
            fitted["classifier"].score(table.X, other_type)


def test_numbers_are_not_taken_for_strings_of_digits(table):
    codes = np.unique(table.y, return_inverse=True)[1]
    classifier = FewShotClassifier().fit(table.X, codes)
    with refused(classifier, table.X, ValueError, "No label of y is known"):
        classifier.score(table.X, codes.astype(str))
    with refused(classifier, table.X, ValueError, "drop_classes .* does not know: '0'"):
        classifier.drop_classes(["0"])
    with refused(classifier, table.X, ValueError, "'a'.*0, 1.*different types"):
        classifier.partial_fit(table.X[:1], ["a"])


# ------------------------------------------------------------------ support sets and classifiers


def test_a_support_set_has_two_halves(fitted, table):
    learner = fitted["learner"]
    for method in ("predict", "predict_proba", "decision_function", "score_samples"):
        with refused(learner, table.X, ValueError, "got X_support without y_support"):
            getattr(learner, method)(table.X, X_support=table.X_new)
        with refused(learner, table.X, ValueError, "got y_support without X_support"):
            getattr(learner, method)(table.X, y_support=table.y_new)
    with refused(learner, table.X, ValueError, "adapt needs a support set: X_support and y_supp"):
        learner.adapt(None, None)


def test_a_support_set_is_given_by_name(fitted, table):
    with refused(fitted["learner"], table.X, TypeError, "positional argument"):
        fitted["learner"].predict(table.X, table.X_new, table.y_new)


def test_classes_that_cannot_be_dropped(fitted, table):
    classifier = fitted["classifier"]
    match = "drop_classes .* does not know: 'base-0'. It knows 'new-"
    with refused(classifier, table.X, ValueError, match):
        classifier.drop_classes(["base-0", classifier.classes_[0]])
    with refused(classifier, table.X, ValueError, "would leave no class"):
        classifier.drop_classes(classifier.classes_)


def test_labels_outside_the_announced_classes_are_refused(fitted, table):
    classifier = fitted["classifier"]
    with refused(classifier, table.X, ValueError, "y has labels .* not in `classes`: 'other'"):
        classifier.partial_fit(table.X[:1], ["other"], classes=classifier.classes_)


def test_base_classes_and_new_ones_have_labels_of_one_type(fitted, table):
    match = "'base-.*different types. Use one type"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].adapt(table.X_new[:2], [0, 1], include_base=True)


@pytest.mark.parametrize("bad", ["proto", 3, StandardScaler()], ids=str)
def test_a_classifier_needs_a_learner(table, bad):
    got = type(bad).__name__
    with pytest.raises(TypeError, match=f"'learner' .*must be a fitted learner.*Got {got}"):
        FewShotClassifier(bad).fit(table.X, table.y)
    with pytest.raises(TypeError, match=f"learner.*Got {got}"):
        adapt(bad, table.X, table.y)


def test_a_classifier_of_a_pipeline_points_to_adapt(fitted, table):
    pipeline = make_pipeline(StandardScaler(), fitted["learner"])
    with pytest.raises(TypeError, match=r"Got Pipeline.*sklearn_fewshot\.adapt"):
        FewShotClassifier(pipeline).fit(table.X, table.y)


def test_what_is_not_fitted_says_so(make_learner, table):
    learner = make_learner()
    for method in ("predict", "predict_proba", "decision_function", "score_samples", "transform"):
        with pytest.raises(NotFittedError, match=LEARNER):
            getattr(learner, method)(table.X)
    with pytest.raises(NotFittedError, match=LEARNER):
        learner.adapt(table.X, table.y)
    with pytest.raises(NotFittedError, match=LEARNER):
        FewShotClassifier(learner).fit(table.X, table.y)
    with pytest.raises(NotFittedError, match=CLASSIFIER):
        FewShotClassifier().drop_classes([0])
    with pytest.raises(AttributeError, match="no module_ before fit"):
        learner.module_  # noqa: B018 - a property


# ------------------------------------------------------------------ parameters


class Spoiled(nn.Module):
    """A network that spoils its output."""

    def __init__(self, spoil):
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.spoil = spoil

    def forward(self, x):
        return self.spoil(self.linear(x))


BAD_PARAMETERS = {
    "metric": ({"metric": "hamming"}, ValueError, "'metric'.*cosine.*callable. Got 'hamming'"),
    "backbone": ({"backbone": "vgg"}, ValueError, "'backbone'.*conv4.*callable. Got 'vgg'"),
    "backbone for images": ({"backbone": "conv4"}, ValueError, r"'conv4'.* Got .*\(6,\).*Set"),
    "backbone of NaN": (
        {"backbone": Spoiled(lambda x: x * torch.nan)},
        ValueError,
        "backbone Spoiled returned NaN.* Check its weights",
    ),
    "backbone of infinity": (
        {"backbone": Spoiled(lambda x: x / 0.0)},
        ValueError,
        "backbone Spoiled returned NaN or infinity",
    ),
    "backbone of another shape": (
        {"backbone": Spoiled(lambda x: x.mean(dim=1))},
        ValueError,
        r"backbone Spoiled must return one embedding per sample.* Got \(2,\)",
    ),
    "backbone of another width": (
        {"backbone": nn.Linear(5, 3)},
        ValueError,
        r"backbone Linear failed on samples of shape \(6,\).* Check its input size",
    ),
    "factory of no module": (
        {"backbone": lambda: "conv4"},
        TypeError,
        "'backbone' parameter must be .* Got .* returned str",
    ),
    "one way": ({"n_way": 1}, ValueError, "'n_way' parameter of ProtoNetClassifier.* Got 1"),
    "turned range": ({"n_way": (5, 2)}, ValueError, r"'n_way' .*\(low, high\).* Got \(5, 2\)"),
    "shots from none": ({"n_shot": (0, 2)}, ValueError, r"'n_shot' .* at least 1.* Got \(0, 2\)"),
    "three shots": ({"n_shot": (1, 2, 3)}, ValueError, r"'n_shot' .* Got \(1, 2, 3\)"),
    "no query": ({"n_query": 0}, ValueError, "'n_query' parameter of ProtoNetClassifier.* Got 0"),
    "optimizer": ({"optimizer": "lbfgs"}, ValueError, "'optimizer'.*adam.* Got 'lbfgs'"),
    "schedule": ({"lr_schedule": "cubic"}, ValueError, "'lr_schedule'.*cosine.* Got 'cubic'"),
    "all held out": ({"validation_fraction": 1.0}, ValueError, "'validation_fraction'.* Got 1.0"),
    "unknown held out": (
        {"validation_classes": ["base-0", "base-1"]},
        ValueError,
        "'validation_classes' parameter of ProtoNetClassifier.* labels of y. Got 'base-1'",
    ),
    "one held out": (
        {"validation_classes": ["base-0"]},
        ValueError,
        "'validation_classes' .* two classes on each side. Got 1 of 8",
    ),
    "unknown parameter of skorch": ({"net_params": {"speed": 1}}, ValueError, "argument.* speed"),
}


@pytest.mark.parametrize(("params", "error", "match"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_bad_parameters_are_refused_in_fit(fitted, table, params, error, match):
    learner = fitted["learner"]
    good = {name: getattr(learner, name) for name in params}
    try:
        learner.set_params(**params)
        with refused(learner, table.X, error, match):
            learner.fit(table.X, table.y)
    finally:
        learner.set_params(**good)


def test_frozen_samples_cannot_be_augmented(make_learner, table):
    learner = make_learner(freeze_backbone=True, augment=torch.flip)
    with pytest.raises(ValueError, match="ProtoNetClassifier has augment and freeze_backbone=True"):
        learner.fit(table.X, table.y)


def test_a_network_that_returns_nan_for_some_samples_names_the_first(make_learner, table):
    backbone = Spoiled(lambda x: torch.where(x[:, :1] > 1e6, torch.nan, x))
    learner = make_learner(backbone=backbone, max_epochs=0).fit(table.X, table.y)
    far = table.X.copy()
    far[3:5] = 1e9 * np.sign(learner.module_.backbone.linear.weight[0].numpy())
    match = "NaN or infinity for 2 of 80 samples, first for row 3.* scale of X"
    with refused(learner, table.X, ValueError, match):
        learner.predict(far)


@pytest.mark.parametrize("name", ["groups", "class_groups"])
@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda y: y[:5], ValueError, "must have one entry per sample: 80. Got 5"),
        (
            lambda y: np.stack([y, y], axis=1),
            ValueError,
            r"must have one entry per sample: 80. Got .*\(80, 2\)",
        ),
        (lambda y: mixed(y), TypeError, "must hold labels of one sortable type.* int, str"),
    ],
    ids=["too short", "two columns", "mixed types"],
)
def test_bad_groups_are_refused(fitted, table, name, make, error, match):
    with refused(fitted["learner"], table.X, error, f"^{name} {match}"):
        fitted["learner"].fit(table.X, table.y, **{name: make(table.y)})


def test_a_class_belongs_to_one_class_group(fitted, table):
    match = "class_groups must give every class one group.*'base-.* is in .*0, 1.* use groups"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].fit(table.X, table.y, class_groups=np.arange(80) % 2)


def test_one_group_cannot_be_divided(fitted, table):
    match = "ProtoNetClassifier needs a class with examples of two groups"
    with refused(fitted["learner"], table.X, ValueError, match):
        fitted["learner"].fit(table.X, table.y, groups=np.zeros(80))


def test_a_warm_start_needs_samples_of_the_same_shape(make_learner, table):
    learner = make_learner(warm_start=True, max_epochs=0).fit(table.X, table.y)
    match = r"warm_start=True.* shape \(6,\). Got samples of shape \(3,\)"
    with refused(learner, table.X, ValueError, match):
        learner.fit(table.X[:, :3], table.y)


# ------------------------------------------------------------------ frames


def test_text_columns_are_refused(fitted, table):
    frame = pd.DataFrame(table.X).add_prefix("x").assign(x0="word")
    with refused(fitted["learner"], table.X, ValueError, "X .* must hold finite numbers"):
        fitted["learner"].fit(frame, table.y)


def test_columns_in_another_order_are_refused(make_learner, table):
    frame = pd.DataFrame(table.X).add_prefix("x")
    learner = make_learner(max_epochs=0).fit(frame, table.y)
    with refused(learner, frame, ValueError, "Feature names must be in the same order"):
        learner.adapt(frame[frame.columns[::-1]], table.y)


@pytest.mark.parametrize("container", [list, tuple, np.array, pd.Series])
def test_texts_are_refused_with_what_to_put_in_front(container):
    with pytest.raises(ValueError, match=r"rows of numbers. Got texts: 'ab c' .*HashingVectorizer"):
        FewShotClassifier().fit(container(["ab c", "de"]), [0, 1])


@pytest.mark.parametrize(
    "pictures",
    [
        ["a/b.png", "c.JPG"],
        np.array(["a.jpeg", "b.jpeg"]),
        pd.Series(["x.tiff", "y.tiff"]),
        [Path("x"), Path("y")],
        [Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2))],
    ],
    ids=["names", "array", "column", "paths", "Pillow"],
)
def test_pictures_are_refused_with_what_reads_them(pictures):
    with pytest.raises(ValueError, match=r"Got pictures, or paths.*load_images.*FrozenEncoder"):
        FewShotClassifier().fit(pictures, [0, 1])


def test_a_single_sample_is_told_from_a_wrong_shape(make_learner, pictures, series):
    for data in (pictures, series):
        learner = make_learner(max_epochs=0).fit(data.X, data.y)
        message = r"single sample: pass X\[None\]"
        for call in (learner.predict, learner.transform):
            with pytest.raises(ValueError, match=message):
                call(data.X[0])
        with pytest.raises(ValueError, match=message):
            learner.adapt(data.X[0], [0])


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, x):
        return self.table(x).mean(1)


@pytest.mark.parametrize(
    ("backbone", "remedy"),
    [
        (nn.Linear(6, 3).double(), r"weights are float64: pass module.float\(\)"),
        (nn.Linear(6, 3).half(), r"weights are float16: pass module.float\(\)"),
        (Embeds(), "convert them to integers in its forward"),
        (nn.Linear(7, 3), "Check its input size"),
    ],
    ids=["double", "half", "integers", "size"],
)
def test_a_network_that_fails_is_given_the_remedy_that_fits(make_learner, table, backbone, remedy):
    with pytest.raises(ValueError, match=remedy):
        make_learner(backbone=backbone).fit(table.X, table.y)


def test_sparse_matrices_are_refused_with_what_to_put_in_front():
    with pytest.raises(
        TypeError, match=r"sparse matrix of shape \(2, 2\).*toarray.*HashingVectorizer"
    ):
        FewShotClassifier().fit(csr_matrix(np.eye(2)), [0, 1])


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT])
def test_missing_labels_are_named(missing):
    y = np.array(["a", missing, "b"], dtype=object)
    with pytest.raises(ValueError, match=r"y lacks 1 labels \(NaN or None\), first at position 1"):
        FewShotClassifier().fit(np.eye(3), y)
