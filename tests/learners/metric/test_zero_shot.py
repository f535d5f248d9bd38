"""Zero-shot learners: new classes from attributes, bad attributes, base classes beside new."""

import pickle
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from hypothesis import given as each_of
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_fewshot import (
    ClassAttributes,
    FewShotClassifier,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
    adapt,
)
from sklearn_fewshot.episodes._holdout import reserved_rows
from sklearn_fewshot.episodes._sampler import EpisodeSampler
from sklearn_fewshot.model_selection import ClassKFold, episodic_score, generalized_accuracy
from sklearn_fewshot.training._attribute_regression import attribute_regression
from sklearn_fewshot.training._config import TrainingConfig
from sklearn_fewshot.training._data import QuerySampler

METHODS = ("predict_proba", "decision_function", "score_samples")
BUDGET = {"n_way": 6, "n_query": 3, "episodes_per_epoch": 5, "max_epochs": 2, "random_state": 0}


class Described(NamedTuple):
    """Samples of base and of new classes, and attributes of all. Read-only."""

    X: np.ndarray
    y: np.ndarray
    X_new: np.ndarray
    y_new: np.ndarray
    labels: np.ndarray
    matrix: np.ndarray

    def of(self, labels):
        """Return a mapping to the attributes of some classes."""
        rows = dict(zip(self.labels.tolist(), self.matrix, strict=True))
        return {label: rows[label] for label in np.unique(labels).tolist()}

    @property
    def everything(self):
        return ClassAttributes(self.labels, self.matrix)


def make_toy(kind, n_base=20, n_new=5, n_each=8, noise=0.5, n_features=8, own=0.0):
    """Make classes whose means are linear in five attributes, but for a share of their own."""
    rng = np.random.default_rng(0)
    shape = {"table": (n_features,), "pictures": (1, 4, 4), "series": (2, 10)}[kind]
    n_classes = n_base + n_new
    matrix = rng.normal(size=(n_classes, 5))
    codes = np.repeat(np.arange(n_classes), n_each)
    means = matrix @ rng.normal(size=(5, np.prod(shape)))
    X = (means + own * rng.normal(size=means.shape))[codes]
    X += noise * rng.normal(size=X.shape)
    X = X.reshape(-1, *shape)
    if kind == "pictures":
        X = np.clip(128 + 25 * np.kron(X, np.ones((1, 1, 4, 4))), 0, 255).astype(np.uint8)
    names = {"table": [f"class {7 * k % 101:03d}" for k in range(n_classes)]}
    names = np.array(names.get(kind, 3 * rng.permutation(n_classes)))
    order = rng.permutation(len(codes))
    X, codes = X[order], codes[order]
    base = codes < n_base
    y = names[codes]
    toy = Described(X[base], y[base], X[~base], y[~base], names, matrix)
    for part in toy:
        part.flags.writeable = False
    return toy


@pytest.fixture(scope="module", params=[ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier])
def cls(request):
    return request.param


@pytest.fixture(scope="module")
def make(cls):
    return lambda **params: cls(**{**BUDGET, **params})


@pytest.fixture(scope="module")
def described():
    """The table."""
    return make_toy("table")


@pytest.fixture(scope="module", params=["table", "pictures", "series"])
def toy(request):
    return make_toy(request.param)


@pytest.fixture(scope="module")
def fitted(make, described):
    """Fitted on the table, with the attributes of all classes. Shared: nobody may refit it."""
    learner = make(max_epochs=4)
    return learner.fit(described.X, described.y, class_attributes=described.everything)


@pytest.fixture(scope="module")
def fitted_on_any(make, toy):
    """Fitted on all kinds of input. Shared: nobody may refit it."""
    return make(refit=False).fit(toy.X, toy.y, class_attributes=toy.of(toy.y))


def states(learner):
    return {name: value.clone() for name, value in learner.module_.state_dict().items()}


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def check_same(estimator, expected, X, atol=0.0):
    np.testing.assert_array_equal(estimator.classes_, expected.classes_)
    for method in METHODS:
        scores, other = (getattr(it, method)(X) for it in (estimator, expected))
        np.testing.assert_allclose(scores, other, rtol=0, atol=atol * np.abs(other).max())


# ------------------------------------------------------------------ new classes


def test_new_classes_are_recognised_far_above_chance(fitted_on_any, toy):
    classifier = fitted_on_any.adapt(class_attributes=toy.of(toy.y_new))
    assert list(classifier.classes_) == sorted(set(toy.y_new))
    assert classifier.score(toy.X_new, toy.y_new) > 0.6  # chance is 0.2
    assert fitted_on_any.score(toy.X, toy.y) > 0.4  # of 20 classes


def test_training_improves_on_the_start(make):
    """Classes lie on a circle; their attributes are waves along it."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = [wave(k * angle) for k in (2, 3) for wave in (np.cos, np.sin)]
    y = np.repeat(np.arange(48), 10)
    X = np.column_stack([np.cos(angle), np.sin(angle)])[y] + 0.06 * rng.normal(size=(480, 2))
    old = y % 4 < 3
    budget = {"backbone": "mlp", "n_way": 20, "episodes_per_epoch": 30, "validation_fraction": 0.0}
    given = {"class_attributes": (np.arange(48), np.column_stack(waves))}
    start, trained = (make(max_epochs=e, **budget).fit(X[old], y[old], **given) for e in (0, 6))
    losses = [row["train_loss"] for row in trained.history_]
    assert losses[-1] < 0.8 * losses[0]
    assert trained.score(X[old], y[old]) > start.score(X[old], y[old]) > 0.5  # of 36 classes
    assert trained.score(X[~old], y[~old]) > 0.9  # of 12 classes


def test_a_classifier_is_one_of_the_family(fitted_on_any, toy):
    """All methods, one query or many, one class or many; twice the same."""
    before = states(fitted_on_any)
    labels = np.unique(toy.y_new)
    for some in (labels, labels[:2], labels[:1]):
        classifier = fitted_on_any.adapt(class_attributes=toy.of(some))
        assert isinstance(classifier, FewShotClassifier)
        np.testing.assert_array_equal(classifier.class_count_, np.ones(len(some)))
        for n_queries in (1, len(toy.X)):
            proba = classifier.predict_proba(toy.X[:n_queries])
            assert proba.shape == (n_queries, len(some))
            np.testing.assert_allclose(proba.sum(axis=1), 1.0)
            predicted = classifier.predict(toy.X[:n_queries])
            np.testing.assert_array_equal(predicted, some[proba.argmax(axis=1)])
        check_same(classifier, fitted_on_any.adapt(class_attributes=toy.of(some)), toy.X)
    assert equal_states(states(fitted_on_any), before)


def test_the_score_of_a_query_does_not_depend_on_the_others(fitted_on_any, toy):
    classifier = fitted_on_any.adapt(class_attributes=toy.of(toy.y_new))
    together = classifier.decision_function(toy.X_new)
    atol = (1e-6 if toy.X.ndim == 2 else 1e-5) * np.abs(together).max()
    for rows in ([3], [5, 3], np.arange(len(toy.X_new))[::-1]):
        some = classifier.decision_function(toy.X_new[rows])
        np.testing.assert_allclose(some, together[rows], rtol=0, atol=atol)


def test_the_score_of_a_class_does_not_depend_on_the_others(fitted, described):
    classifier = fitted.adapt(class_attributes=described.of(described.y_new))
    scores = classifier.decision_function(described.X)
    for column, label in enumerate(classifier.classes_):
        alone = fitted.adapt(class_attributes=described.of([label]))
        np.testing.assert_allclose(
            alone.score_samples(described.X), scores[:, column], rtol=0, atol=1e-5
        )


def test_every_way_to_predict_new_classes_is_the_same(fitted, described):
    given = described.of(described.y_new)
    classifier = fitted.adapt(class_attributes=given)
    for method in ("predict", *METHODS):
        through_learner = getattr(fitted, method)(described.X, class_attributes=given)
        np.testing.assert_array_equal(through_learner, getattr(classifier, method)(described.X))
    weights = np.arange(len(described.y_new))
    expected = np.average(classifier.predict(described.X_new) == described.y_new, weights=weights)
    score = fitted.score(described.X_new, described.y_new, weights, class_attributes=given)
    assert score == pytest.approx(expected)


def test_the_base_classes_are_those_of_their_own_attributes(fitted, described):
    expected = fitted.adapt(class_attributes=described.of(described.y))
    check_same(fitted, expected, described.X_new)
    np.testing.assert_array_equal(fitted.predict(described.X), expected.predict(described.X))


def test_renaming_the_classes_permutes_the_columns(fitted, described):
    labels, names = np.unique(described.y_new), np.array(["d", "a", "e", "b", "c"])
    matrix = np.array(list(described.of(labels).values()))
    renamed = fitted.adapt(class_attributes=(names, matrix))
    proba = renamed.predict_proba(described.X)[:, np.searchsorted(renamed.classes_, names)]
    expected = fitted.adapt(class_attributes=(labels, matrix)).predict_proba(described.X)
    np.testing.assert_allclose(proba, expected, rtol=0, atol=1e-6)


# ------------------------------------------------------------------ formats


def formats(toy, labels):
    rows = toy.of(labels)
    labels, matrix = np.array(list(rows)), np.array(list(rows.values()))
    order = np.random.default_rng(1).permutation(len(labels))
    return {
        "mapping": rows,
        "lists": {label: row.tolist() for label, row in rows.items()},
        "pair": (labels, matrix),
        "another order": (labels[order].tolist(), matrix[order].tolist()),
        "frame": pd.DataFrame(matrix, index=labels),
        "named, shuffled frame": pd.DataFrame(matrix, index=labels).add_prefix("a").iloc[order],
        "series": {label: pd.Series(row) for label, row in rows.items()},
        "wrapper": ClassAttributes(labels, matrix),
    }


def test_formats_and_the_order_of_classes_make_no_difference(make, toy):
    params = {"max_epochs": 1, "refit": False}
    expected = make(**params).fit(toy.X, toy.y, class_attributes=toy.of(toy.y))
    new = expected.adapt(class_attributes=toy.of(toy.y_new))
    for given in formats(toy, toy.y).values():
        learner = make(**params).fit(toy.X, toy.y, class_attributes=given)
        assert equal_states(states(learner), states(expected))
        assert learner.seen_bias_ == expected.seen_bias_
        assert isinstance(learner.class_attributes_, ClassAttributes)
        np.testing.assert_array_equal(learner.predict(toy.X), expected.predict(toy.X))
        if toy.X.ndim > 2:
            break  # once is enough: the network takes its time
    for given in formats(toy, toy.y_new).values():
        check_same(expected.adapt(class_attributes=given), new, toy.X)


@pytest.mark.parametrize(("unit", "offset"), [(1000.0, 12345.0), (1e-15, 0.0), (1e25, 0.0)])
def test_an_offset_and_a_unit_of_all_attributes_change_nothing(make, described, unit, offset):
    """They are centred on the mean of the base classes, and divided by the largest."""
    new = described.y_new
    params = {"max_epochs": 0, "validation_fraction": 0.0}
    expected = make(**params).fit(
        described.X, described.y, class_attributes=described.of(described.y)
    )
    expected = expected.adapt(class_attributes=described.of(new)).predict_proba(described.X_new)
    moved = described._replace(matrix=unit * described.matrix + offset * np.arange(5))
    learner = make(**params).fit(described.X, described.y, class_attributes=moved.of(described.y))
    proba = learner.adapt(class_attributes=moved.of(new)).predict_proba(described.X_new)
    np.testing.assert_allclose(proba, expected, rtol=0, atol=1e-3)


def test_attributes_of_other_classes_change_no_training(make, described):
    """Neither the network nor the bias: calibration knows the classes of y only."""
    expected = make().fit(described.X, described.y, class_attributes=described.of(described.y))
    others = described._replace(matrix=described.matrix.copy())
    is_new = np.isin(described.labels, described.y_new)
    for attributes in (described.matrix[is_new], 100.0 * described.matrix[is_new][::-1]):
        others.matrix[is_new] = attributes
        learner = make().fit(described.X, described.y, class_attributes=others.everything)
        assert equal_states(states(learner), states(expected))
        assert learner.seen_bias_ == expected.seen_bias_
        np.testing.assert_array_equal(learner.attribute_mean_, expected.attribute_mean_)


# ------------------------------------------------------------------ bad attributes


def without_last(rows):
    return dict(list(rows.items())[:-1])


def spoiled(rows, value):
    label = next(iter(rows))
    return {**rows, label: [value, *rows[label][1:]]}


def renamed(rows):
    return pd.DataFrame(list(rows.values()), index=range(len(rows)))


BAD_IN_FIT = {
    "missing class": (without_last, "must describe every class of y. Got none for 'class"),
    "NaN": (lambda rows: spoiled(rows, np.nan), r"NaN or infinity for 'class 000'\. Impute them"),
    "infinity": (lambda rows: spoiled(rows, -np.inf), "NaN or infinity for 'class 000'"),
    "text": (lambda rows: spoiled(rows, "tall"), "must be a matrix of real numbers"),
    "unequal": (
        lambda rows: {**rows, "class 99": [1.0]},
        r"one length.*shape \(5,\) for class .* shape \(1,\) for class 'class 99'",
    ),
    "twice": (
        lambda rows: (["class 000", *rows], [np.ones(5), *rows.values()]),
        "describe each class once. Got 'class 000' more than once",
    ),
    "other labels": (renamed, "attributes are labelled by number, y by text: convert one"),
    "lengths": (lambda rows: (list(rows), np.ones((3, 5))), "Got 20 labels and 3 rows"),
    "no attribute": (lambda rows: (list(rows), np.ones((20, 0))), r"Got dtype .*\(20, 0\)"),
    "no class": (lambda rows: {}, "need one label a class"),
}


@pytest.mark.parametrize(("spoil", "match"), BAD_IN_FIT.values(), ids=BAD_IN_FIT)
def test_bad_attributes_are_refused_and_leave_the_learner_as_it_is(
    fitted, make, described, spoil, match
):
    bad = spoil(described.of(described.y))
    before, expected = dict(vars(fitted)), fitted.predict_proba(described.X)
    with pytest.raises(ValueError, match=match):
        fitted.fit(described.X, described.y, class_attributes=bad)
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())
    np.testing.assert_array_equal(fitted.predict_proba(described.X), expected)
    unfitted = make()
    with pytest.raises(ValueError, match=match):
        unfitted.fit(described.X, described.y, class_attributes=bad)
    with pytest.raises(NotFittedError):
        unfitted.predict(described.X)


@pytest.mark.parametrize("bad", [3, "class 000", [], np.eye(5), pd.Series([1.0]), [[1], [2], [3]]])
def test_what_is_no_table_of_attributes_is_refused(fitted, described, cls, bad):
    match = f"class_attributes of {cls.__name__} must be a DataFrame .* Got {type(bad).__name__}"
    with pytest.raises(TypeError, match=match):
        fitted.fit(described.X, described.y, class_attributes=bad)
    with pytest.raises(TypeError, match=match):
        fitted.adapt(class_attributes=bad)


def test_new_classes_need_the_attributes_of_fit(make, described, cls):
    frame = pd.DataFrame(described.matrix, index=described.labels).add_prefix("trait ")
    learner = make(max_epochs=0).fit(described.X, described.y, class_attributes=frame)
    new = frame.loc[np.unique(described.y_new)]
    other = {
        f"{cls.__name__} was fitted with 5 attributes a class. Got 4": new.iloc[:, :4],
        "another order. Attribute 0 was 'trait 0'; got 'trait 4'": new.iloc[:, ::-1],
        "Attribute 3 was 'trait 3'; got 'size'": new.rename(columns={"trait 3": "size"}),
        "NaN or infinity for 'class 039', 'class 046'": new.assign(**{"trait 2": np.nan}),
        "'class 000' had other attributes in the fit": pd.concat([new, frame[:1] + 1]),
    }
    for message, given in other.items():
        for ask in (learner.adapt, lambda **kw: learner.predict(described.X, **kw)):
            with pytest.raises(ValueError, match=message):
                ask(class_attributes=given)
    unnamed = learner.adapt(class_attributes=described.of(described.y_new))
    check_same(unnamed, learner.adapt(class_attributes=new), described.X)


def test_labels_of_two_types_are_not_joined(fitted, described):
    given = {1: described.matrix[0], 2: described.matrix[1]}
    with pytest.raises(ValueError, match=r"\(1, 2\) and .*'class 000'.* different types"):
        fitted.adapt(class_attributes=given, include_base=True)
    assert list(fitted.adapt(class_attributes=given).classes_) == [1, 2]


def test_support_sets_are_refused_with_what_to_pass(fitted, described, cls):
    X, y = described.X_new, described.y_new
    for name in ("adapt", "predict", "predict_proba", "decision_function", "score_samples"):
        method = getattr(fitted, name)
        queries = () if name == "adapt" else (X,)
        match = f"{cls.__name__}.{name} takes no support set.*Pass class_attributes="
        for args, params in ((X, y), {}), ((), {"X_support": X, "y_support": y}):
            with pytest.raises(TypeError, match=match):
                method(*queries, *args, **params)
    with pytest.raises(TypeError, match="score takes no support set"):
        fitted.score(X, y, X_support=X, y_support=y)
    with pytest.raises(TypeError, match="takes no support set"):
        adapt(fitted, X, y)


@pytest.mark.filterwarnings("ignore:.* was trained on .* classes of y")
def test_examples_are_refused_where_the_learner_is_wrapped(fitted, described):
    X, y = described.X_new, described.y_new
    classifier = fitted.adapt(class_attributes=described.of(y))
    wrapped = (
        lambda: FewShotClassifier(fitted).fit(X, y),
        lambda: FewShotClassifier(fitted).partial_fit(X, y),
        lambda: classifier.fit(X, y),
        lambda: classifier.partial_fit(X, y),
        lambda: adapt(classifier, X, y),
        lambda: episodic_score(fitted, X, y, n_way=3, n_shot=1, n_query=2, n_episodes=2),
    )
    expected = classifier.predict_proba(X)
    for call in wrapped:
        with pytest.raises(TypeError, match=r"take no support set.*adapt\(class_attributes"):
            call()
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("seen_bias", [np.inf, -np.inf, np.nan, "none", None])
def test_the_bias_is_a_number(make, described, seen_bias):
    with pytest.raises(ValueError, match="'seen_bias' parameter of ZeroShot"):
        make(seen_bias=seen_bias).fit(described.X, described.y)


# ------------------------------------------------------------------ without attributes


def test_without_attributes_it_is_an_ordinary_classifier(make, described, cls):
    learner = make(n_way=20, episodes_per_epoch=20).fit(described.X, described.y)
    assert learner.class_attributes_ is None
    assert learner.module_.head.n_attributes == 20
    assert learner.score(described.X, described.y) > 0.6  # of 20 classes
    for ask in (learner.adapt, lambda **kw: learner.predict(described.X, **kw)):
        with pytest.raises(ValueError, match=f"{cls.__name__} was fitted without class_attributes"):
            ask(class_attributes=described.of(described.y_new))
    with pytest.raises(ValueError, match="No label of y is known"):
        learner.score(described.X_new, described.y_new)
    held_out = np.unique(described.y)[:3]
    with pytest.raises(ValueError, match="has validation_classes but got no class_attributes"):
        make(validation_classes=held_out).fit(described.X, described.y)


# ------------------------------------------------------------------ score


def test_score_chooses_among_the_classes_that_y_is_of(fitted, described):
    """Base classes, other described classes, or both; whichever of them y happens to have."""
    X, y, X_new, y_new = described[:4]
    new = described.of(y_new)
    cases = [
        (X, y, fitted.predict),
        (X_new, y_new, fitted.adapt(class_attributes=new).predict),
    ]
    for queries, labels, predict in cases:
        first = labels == labels[0]
        for rows in (np.ones(len(labels), bool), first):
            expected = np.mean(predict(queries[rows]) == labels[rows])
            assert fitted.score(queries[rows], labels[rows]) == pytest.approx(expected)
    both = fitted.adapt(class_attributes=new, include_base=True)
    some_X, some_y = np.concatenate([X[:50], X_new[:5]]), np.concatenate([y[:50], y_new[:5]])
    assert fitted.score(some_X, some_y) == pytest.approx(both.score(some_X, some_y))
    weights = np.arange(55)
    expected = both.score(some_X, some_y, weights)
    assert fitted.score(some_X, some_y, sample_weight=weights) == pytest.approx(expected)


def test_unknown_labels_count_as_errors(fitted, described):
    y = described.y_new.copy()
    y[:10] = "nobody"
    with pytest.warns(UserWarning, match="'nobody'.* count as errors"):
        score = fitted.score(described.X_new, y)
    predicted = fitted.predict(described.X_new, class_attributes=described.of(described.y_new))
    assert score == pytest.approx(np.mean(predicted == y))
    with pytest.raises(ValueError, match="No label of y is known"):
        fitted.score(described.X_new[:10], y[:10])


def test_cross_validation_over_classes_measures_new_classes(make, described):
    """Also where there are as many classes as samples, which scikit-learn would cut."""
    X, y = described.X, described.y
    n_more = len(y) - 25
    labels = np.concatenate([described.labels, [f"more {k}" for k in range(n_more)]])
    far = np.random.default_rng(0).normal(size=(n_more, 5))
    expected = []
    for train, test in ClassKFold(4).split(X, y):
        learner = make().fit(X[train], y[train], class_attributes=described.of(y))
        given = described.of(y[test])
        expected.append(learner.score(X[test], y[test], class_attributes=given))
    folds = {"cv": ClassKFold(4), "error_score": "raise"}
    of_y = ClassAttributes(list(described.of(y)), list(described.of(y).values()))
    result = cross_validate(make(), X, y, params={"class_attributes": of_y}, **folds)
    np.testing.assert_allclose(result["test_score"], expected)
    assert np.mean(expected) > 0.6  # chance is 0.2
    as_many = ClassAttributes(labels, np.concatenate([described.matrix, far]))
    assert len(as_many.labels) == len(X)
    result = cross_validate(make(), X, y, params={"class_attributes": as_many}, **folds)
    assert (result["test_score"] <= np.array(expected) + 0.1).all()  # more to choose from
    assert result["test_score"].mean() > 0.1  # of 145 classes


# ------------------------------------------------------------------ scikit-learn's tools


def test_attributes_pass_through_pipelines(make, cls, described):
    X, y, X_new, y_new = described[:4]
    params = {f"{cls.__name__.lower()}__class_attributes": described.everything}
    pipeline = make_pipeline(StandardScaler(), make(max_epochs=1)).fit(X, y, **params)
    scaler = StandardScaler().fit(X)
    learner = make(max_epochs=1)
    learner.fit(scaler.transform(X), y, class_attributes=described.everything)
    scaled = scaler.transform(X_new)
    assert pipeline.score(X_new, y_new) == learner.score(scaled, y_new) > 0.6
    given = described.of(y_new)
    np.testing.assert_array_equal(
        pipeline.predict(X_new, class_attributes=given),
        learner.predict(scaled, class_attributes=given),
    )


def test_under_metadata_routing_attributes_need_a_request(make, described):
    X, y, X_new, y_new = described[:4]
    given = described.everything
    with sklearn.config_context(enable_metadata_routing=True):
        learner = make(max_epochs=0).set_fit_request(class_attributes=True)
        learner.set_predict_request(class_attributes=True)
        learner.set_score_request(class_attributes=False)
        pipeline = make_pipeline(StandardScaler(), learner)
        pipeline.fit(X, y, class_attributes=given)
        predicted = pipeline.predict(X_new, class_attributes=described.of(y_new))
        folds = {"cv": ClassKFold(3), "error_score": "raise"}
        routed = cross_validate(learner, X, y, params={"class_attributes": given}, **folds)
        with pytest.raises(UnsetMetadataPassedError, match="class_attributes"):
            make_pipeline(StandardScaler(), make()).fit(X, y, class_attributes=given)
    assert np.mean(predicted == y_new) > 0.6
    plain = cross_validate(make(max_epochs=0), X, y, params={"class_attributes": given}, **folds)
    np.testing.assert_array_equal(routed["test_score"], plain["test_score"])


def test_a_pickle_is_small_and_predicts_the_same(fitted_on_any, toy):
    pickled = pickle.dumps(fitted_on_any)
    weights = sum(v.numel() * v.element_size() for v in states(fitted_on_any).values())
    described = 8 * 2 * fitted_on_any.class_attributes_.matrix.size
    assert len(pickled) < weights + described + 20_000
    loaded = pickle.loads(pickled)
    given = toy.of(toy.y_new)
    classifier = fitted_on_any.adapt(class_attributes=given, include_base=True)
    check_same(loaded, fitted_on_any, toy.X_new, atol=1e-7)
    adapted = loaded.adapt(class_attributes=given, include_base=True)
    check_same(adapted, classifier, toy.X_new, atol=1e-7)
    check_same(pickle.loads(pickle.dumps(classifier)), classifier, toy.X_new, atol=1e-7)


def test_a_clone_is_unfitted_and_equal(make):
    learner = clone(make(seen_bias=0.3, lr=0.01).fit(*make_toy("table")[:2]))
    assert learner.get_params() == make(seen_bias=0.3, lr=0.01).get_params()
    assert not hasattr(learner, "class_attributes_")


def test_a_fit_repeats_with_the_seed(make, described):
    given = {"class_attributes": described.everything}
    first, again, other = (
        make(random_state=seed).fit(described.X, described.y, **given) for seed in (3, 3, 4)
    )
    assert equal_states(states(first), states(again))
    assert first.seen_bias_ == again.seen_bias_
    assert first.history_[0]["train_loss"] == again.history_[0]["train_loss"]
    assert not equal_states(states(first), states(other))


# ------------------------------------------------------------------ ways to train


def make_backbone(toy):
    n_features = int(np.prod(toy.X.shape[1:]))
    return nn.Sequential(nn.Flatten(), nn.Linear(n_features, 16), nn.BatchNorm1d(16), nn.ReLU())


def test_a_backbone_given_is_where_every_fit_starts(make, toy):
    backbone = make_backbone(toy)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    learner = make(backbone=backbone, validation_fraction=0.0)
    learner.fit(toy.X, toy.y, class_attributes=toy.everything)
    assert equal_states(backbone.state_dict(), before)
    assert not equal_states(learner.module_.backbone.state_dict(), before)
    first = states(learner)
    learner.fit(toy.X, toy.y, class_attributes=toy.everything)
    assert equal_states(states(learner), first)


def test_a_frozen_backbone_stays_as_it_is(make, toy):
    backbone = make_backbone(toy)
    learner = make(backbone=backbone, freeze_backbone=True)
    learner.fit(toy.X, toy.y, class_attributes=toy.everything)
    frozen, _ = learner.module_.backbone
    assert equal_states(frozen.module.state_dict(), backbone.state_dict())
    assert learner.score(toy.X_new, toy.y_new) > 0.4  # chance is 0.2


def test_episodes_of_several_sizes_train_in_one_batch(make, toy):
    learner = make(n_way=(2, 6), meta_batch_size=3, validation_fraction=0.0)
    learner.fit(toy.X, toy.y, class_attributes=toy.everything)
    assert all(np.isfinite(row["train_loss"]) for row in learner.history_)
    assert all(value.isfinite().all() for value in learner.module_.state_dict().values())


def test_a_warm_start_continues(make, described):
    given = {"class_attributes": described.everything}
    learner = make(warm_start=True, lr=1e-9).fit(described.X, described.y, **given)
    before = states(learner)
    learner.fit(described.X[::-1], described.y[::-1], **given)
    for name, value in states(learner).items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-4)
    fewer = (described.labels, described.matrix[:, :3])
    with pytest.raises(ValueError, match=r"warm_start=True .* with 5 attributes per class. Got 3"):
        learner.fit(described.X, described.y, class_attributes=fewer)
    learner.set_params(warm_start=False).fit(described.X, described.y, class_attributes=fewer)
    assert learner.module_.head.n_attributes == 3


def test_held_out_classes_choose_the_weights(make, described):
    held_out = np.unique(described.y)[:6]
    learner = make(validation_classes=held_out, max_epochs=3)
    learner.fit(described.X, described.y, class_attributes=described.everything)
    accuracy = [row["valid_acc"] for row in learner.history_]
    assert min(accuracy) > 0.5  # chance is 0.17
    if learner.best_epoch_ > 0:
        assert accuracy[learner.best_epoch_ - 1] == max(accuracy)


@pytest.mark.parametrize("n_query", [1, 2, 5])
def test_episodes_are_queries_that_know_their_class(n_query):
    """By its code in the data, of which every third class is not drawn from."""
    codes = np.random.default_rng(0).permutation(np.repeat(np.arange(9), 6))
    drawn = np.arange(9) % 3 > 0
    rows, members = np.flatnonzero(drawn[codes]), np.flatnonzero(drawn)
    within = np.searchsorted(members, codes[rows])
    size = {"n_way": (2, 4), "n_shot": 1, "n_query": max(1, n_query - 1)}
    sampler = QuerySampler(EpisodeSampler(within, **size, rows=rows), members, n_query)
    plan = sampler.plan(50, np.random.default_rng(0))
    assert plan.support.shape[2] == 0
    assert plan.query.shape[2] == n_query
    padding = plan.classes < 0
    assert padding.any()
    assert (plan.query[padding] == -1).all()
    expected = np.broadcast_to(plan.classes[~padding][:, None], plan.query[~padding].shape)
    np.testing.assert_array_equal(codes[plan.query[~padding]], expected)
    assert all(len(set(queries)) == n_query for queries in plan.query[~padding])


def test_held_out_classes_are_not_trained_on(make, described):
    """Without a second training, their rows may be anything."""
    held_out = np.unique(described.y)[:6]
    inside = np.isin(described.y, held_out)
    learner = make(validation_classes=held_out, max_epochs=0, seen_bias=0.0)
    X = described.X.copy()
    networks = []
    for _ in range(2):
        learner.fit(X, described.y, class_attributes=described.everything)
        networks.append(states(learner))
        X[inside] = np.random.default_rng(0).permutation(X[inside])
    assert equal_states(*networks)


def test_groups_of_classes_stay_on_one_side(make, described, monkeypatch):
    family = np.array([label[-1] for label in described.y])
    seen = []
    monkeypatch.setattr(
        "sklearn_fewshot.training._attribute_start.best_penalty",
        lambda *args: seen.append(args[3]) or 0.0,
    )
    given = {"class_attributes": described.everything}
    make(refit=False).fit(described.X, described.y, class_groups=family, **given)
    families = np.array([label[-1] for label in np.unique(described.y)])
    assert not set(families[seen[0]]) & set(families[~seen[0]])


def test_groups_only_keep_reserved_rows_apart(make, described):
    """With the bias given nothing is reserved, and they are without effect."""
    given = {"class_attributes": described.everything}
    groups = np.arange(len(described.y)) % 7
    learner, expected = (
        make(seen_bias=0.1).fit(described.X, described.y, groups=g, **given) for g in (groups, None)
    )
    assert equal_states(states(learner), states(expected))
    with pytest.raises(ValueError, match=r"groups must have one entry a sample: 160. Got 3"):
        make().fit(described.X, described.y, groups=groups[:3], **given)


# ------------------------------------------------------------------ base and new classes together


@pytest.fixture(scope="module")
def crowded():
    """Attributes say less of a class than its own samples: base classes are ahead."""
    sizes = {"n_base": 40, "n_new": 10, "n_each": 12, "n_features": 30}
    return make_toy("table", noise=1.0, own=2.0, **sizes)


@pytest.fixture(scope="module")
def generalized(make, crowded):
    """Score a learner with some bias on half of the base samples, and on new classes."""
    by_class = np.argsort(crowded.y, kind="stable")
    train = np.zeros(len(by_class), dtype=bool)
    train[by_class[::2]] = True
    X = np.concatenate([crowded.X[~train], crowded.X_new])
    y = np.concatenate([crowded.y[~train], crowded.y_new])

    def accuracy(seen_bias):
        learner = make(seen_bias=seen_bias, max_epochs=4, n_way=20, lr=1e-3)
        given = {"class_attributes": crowded.of(crowded.y)}
        learner.fit(crowded.X[train], crowded.y[train], **given)
        both = learner.adapt(class_attributes=crowded.of(crowded.y_new), include_base=True)
        return learner, generalized_accuracy(y, both.predict(X), learner.classes_)

    return accuracy


def test_a_bias_moves_decisions_from_base_to_new_classes(generalized):
    results = [generalized(bias)[1] for bias in (-2.0, 0.0, 0.2, 100.0)]
    seen, unseen = ([getattr(r, side) for r in results] for side in ("seen", "unseen"))
    assert seen == sorted(seen, reverse=True)
    assert unseen == sorted(unseen)
    assert seen[-1] == 0.0
    assert seen[0] > seen[2]
    assert unseen[0] < unseen[2]


def test_the_calibrated_bias_serves_both_sides(generalized):
    learner, calibrated = generalized("auto")
    _, without = generalized(0.0)
    assert learner.seen_bias_ > 0
    assert calibrated.harmonic_mean > without.harmonic_mean
    assert calibrated.unseen > without.unseen
    assert calibrated.seen < without.seen


def test_base_classes_are_penalised_beside_new_ones_only(make, cls, described):
    given = {"class_attributes": described.everything}
    learner = make(seen_bias=0.25, max_epochs=0).fit(described.X, described.y, **given)
    assert learner.seen_bias_ == 0.25
    new = described.of(described.y_new)
    both = learner.adapt(class_attributes=new, include_base=True)
    assert list(both.classes_) == sorted(described.labels)
    is_base = np.isin(both.classes_, learner.classes_)
    scores = both.decision_function(described.X)
    alone = learner.adapt(class_attributes=new).decision_function(described.X)
    np.testing.assert_allclose(scores[:, ~is_base], alone, rtol=1e-5, atol=1e-6)
    of_base = learner.decision_function(described.X)
    if cls is ZeroShotProtoNetClassifier:
        lowered = of_base - 0.25 * learner.scale_
    else:
        lowered = of_base - 0.25  # of the logarithm of the relation score
    np.testing.assert_allclose(scores[:, is_base], lowered, rtol=1e-5, atol=1e-6)
    one_base = {**new, **described.of(described.y[:1])}
    mixed = learner.adapt(class_attributes=one_base)
    column = np.searchsorted(mixed.classes_, described.y[0])
    place = np.searchsorted(learner.classes_, described.y[0])
    np.testing.assert_allclose(
        mixed.decision_function(described.X)[:, column], lowered[:, place], rtol=1e-5, atol=1e-6
    )


def test_dropping_the_base_classes_leaves_the_new_ones(fitted, described):
    new = described.of(described.y_new)
    both = fitted.adapt(class_attributes=new, include_base=True)
    only_new = both.drop_classes(fitted.classes_)
    check_same(only_new, fitted.adapt(class_attributes=new), described.X, atol=1e-6)


def test_base_classes_may_be_described_again(fitted, described):
    again = described.of(np.concatenate([described.y_new, described.y[:5]]))
    expected = fitted.adapt(class_attributes=described.of(described.y_new), include_base=True)
    check_same(fitted.adapt(class_attributes=again, include_base=True), expected, described.X)
    only_base = fitted.adapt(class_attributes=described.of(described.y[:1]), include_base=True)
    check_same(only_base, fitted, described.X)


def test_nothing_is_calibrated_without_held_out_classes(make, described):
    given = {"class_attributes": described.everything}
    learner = make(validation_fraction=0.0).fit(described.X, described.y, **given)
    assert learner.seen_bias_ == 0.0


def test_calibration_compares_held_out_classes_with_rows_kept_from_training(
    make, described, monkeypatch
):
    calls, plans = [], []

    def spy(ahead, right, codes, is_seen):
        calls.append((right, codes, is_seen))
        return 0.125

    monkeypatch.setattr("sklearn_fewshot.training._attribute_start.best_penalty", spy)
    held_out = np.unique(described.y)[:6]
    learner = make(validation_classes=held_out, max_epochs=1)
    sampler = TrainingConfig.sampler
    monkeypatch.setattr(
        TrainingConfig,
        "sampler",
        lambda self, data, drawn: plans.append(data) or sampler(self, data, drawn),
    )
    learner.fit(described.X, described.y, class_attributes=described.everything)
    assert learner.seen_bias_ == 0.125
    ((right, codes, is_seen),) = calls
    labels = learner.classes_
    np.testing.assert_array_equal(is_seen, ~np.isin(labels, held_out))
    count = np.bincount(codes, minlength=20)
    assert (count[~is_seen] == 8).all()  # every sample
    assert 0.1 < count[is_seen].sum() / (14 * 8) < 0.3  # a fifth
    assert right.mean() > 0.5
    data = next(data for data in plans if data.reserved is not None)
    trained = data.rows_of(is_seen)
    assert not data.reserved[trained].any()
    assert len(trained) + data.reserved.sum() == 14 * 8


@pytest.mark.parametrize("order", ["sorted", "in turns"])
def test_rows_are_thinned_whatever_their_order(make, described, order, monkeypatch):
    """Few of many rows are of every class; every second row of classes in turns is not."""
    rows = np.argsort(described.y, kind="stable")
    if order == "in turns":
        rows = rows.reshape(20, 8).T.ravel()
    given = {"class_attributes": described.everything}
    codes = []

    def spy(features, of_rows, *args):
        codes.append(of_rows)
        return attribute_regression(features, of_rows, *args)

    monkeypatch.setattr("sklearn_fewshot.training._attribute_start.attribute_regression", spy)
    monkeypatch.setattr("sklearn_fewshot.training._attribute_start.MAX_ROWS", 80)
    make(validation_fraction=0.0).fit(described.X[rows], described.y[rows], **given)
    np.testing.assert_array_equal(np.bincount(codes[0]), np.full(20, 4))


# ------------------------------------------------------------------ rows kept for calibration


@each_of(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.booleans())
def test_reserved_rows_leave_two_of_every_class(seed, fraction, grouped):
    rng = np.random.default_rng(seed)
    codes = np.append(np.arange(9), rng.integers(9, size=40))
    groups = rng.integers(15, size=49) if grouped else None
    reserved = reserved_rows(codes, groups, fraction, rng)
    left = np.bincount(codes[~reserved], minlength=9)
    assert (left[np.bincount(codes, weights=reserved) > 0] >= 2).all()
    assert reserved.sum() <= max(1, round(fraction * 49))


def test_the_share_of_reserved_rows_is_met_and_any_row_may_be_one():
    codes, count = np.repeat(np.arange(4), 25), np.zeros(100)
    for seed in range(200):
        reserved = reserved_rows(codes, None, 0.2, np.random.default_rng(seed))
        assert reserved.sum() == 20
        count += reserved
    assert count.min() > 10


def test_groups_of_reserved_rows_stay_whole():
    codes = np.tile(np.arange(4), 25)
    groups = np.arange(100) // 5
    reserved = reserved_rows(codes, groups, 0.2, np.random.default_rng(0))
    assert reserved.sum() == 20
    assert len(np.unique(groups[reserved])) == 4


def test_groups_of_samples_are_kept_from_training_whole(make, described, monkeypatch):
    groups = np.arange(len(described.y)) % 40
    plans = []
    monkeypatch.setattr(
        "sklearn_fewshot.learners.metric._zero_shot_base.reserved_rows",
        lambda codes, given, *args: plans.append(given) or reserved_rows(codes, given, *args),
    )
    given = {"class_attributes": described.everything}
    make(max_epochs=0, refit=False).fit(described.X, described.y, groups=groups, **given)
    np.testing.assert_array_equal(plans[0], groups)


def test_what_is_kept_from_training_causes_no_warning(make, described):
    """Eight samples are enough for eight queries."""
    given = {"class_attributes": described.everything}
    make(n_query=8, max_epochs=0).fit(described.X, described.y, **given)


# ------------------------------------------------------------------ prototypes


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine", "cityblock"])
def test_any_metric_recognises_new_classes(metric, described):
    learner = ZeroShotProtoNetClassifier(metric=metric, **BUDGET)
    learner.fit(described.X, described.y, class_attributes=described.everything)
    assert learner.score(described.X_new, described.y_new) > 0.6


def test_the_scale_starts_at_sixteen_over_the_median_distance(described):
    params = {**BUDGET, "max_epochs": 0, "n_way": "all", "validation_fraction": 0.0}
    given = {"class_attributes": described.everything}
    learner = ZeroShotProtoNetClassifier(**params).fit(described.X, described.y, **given)
    distance = -learner.decision_function(described.X) / learner.scale_
    assert learner.scale_ == pytest.approx(16.0 / np.median(distance), rel=0.1)
    fixed = ZeroShotProtoNetClassifier(scale=3.0, learn_scale=False, **BUDGET)
    assert fixed.fit(described.X, described.y, **given).scale_ == pytest.approx(3.0)
