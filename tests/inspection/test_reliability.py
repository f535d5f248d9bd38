"""ReliabilityDisplay draws accuracy against confidence, for any number of classes."""

from io import BytesIO
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.exceptions import NotFittedError
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_fewshot import adapt
from sklearn_fewshot.inspection import ReliabilityDisplay
from sklearn_fewshot.model_selection import EpisodeSplit, EpisodicResult, episodic_score

CLASSES = np.array(["c", "a", "d", "b"])  # in no order


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def answers():
    """Labels and probabilities of 300 queries; some confidences are on the edges of bins."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.full(4, 0.4), size=300)
    proba[:4] = np.eye(4)  # confidence 1
    proba[4:20] = [0.25, 0.25, 0.5, 0.0]
    proba[20:30] = [0.8, 0.1, 0.1, 0.0]
    return CLASSES[rng.integers(0, 4, size=300)], proba


def render(display):
    """Draw to the end: what is missing in a font or a layout warns only here."""
    display.figure_.savefig(BytesIO(), format="png")


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def by_loops(y, proba, n_bins):
    """Return confidence, accuracy and count of the filled bins, and the error over all."""
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    filled, error = [], 0.0
    for low, high in pairwise(edges):
        confidences, hits = [], []
        for label, row in zip(y, proba, strict=True):
            winner = int(np.argmax(row))
            if low < row[winner] <= high:
                confidences.append(row[winner])
                hits.append(CLASSES[winner] == label)
        if hits:
            filled.append((np.mean(confidences), np.mean(hits), len(hits)))
            error += len(hits) / len(y) * abs(np.mean(hits) - np.mean(confidences))
    return np.array(filled).T, error


# ---------------------------------------------------------------------- what is computed


@pytest.mark.parametrize("n_bins", [1, 2, 5, 15, 100])
def test_bins_are_those_of_plain_loops(answers, n_bins):
    display = ReliabilityDisplay.from_predictions(*answers, CLASSES, n_bins=n_bins)
    render(display)
    (confidence, accuracy, count), error = by_loops(*answers, n_bins)
    np.testing.assert_allclose(display.confidence, confidence)
    np.testing.assert_allclose(display.accuracy, accuracy)
    np.testing.assert_array_equal(display.count, count)
    assert display.expected_calibration_error == pytest.approx(error)
    assert display.count.sum() == 300


def test_empty_bins_are_left_out(answers):
    y, proba = answers
    display = ReliabilityDisplay.from_predictions(y, proba, CLASSES, n_bins=15)
    assert len(display.count) < 15  # no query of four classes is less sure than 1 / 4
    assert display.count.min() > 0
    one = ReliabilityDisplay.from_predictions(y[:1], proba[:1], CLASSES)
    render(one)
    assert one.count.tolist() == [1]


def test_renaming_and_reordering_classes_changes_nothing(answers):
    y, proba = answers
    display = ReliabilityDisplay.from_predictions(y, proba, CLASSES)
    order = np.array([2, 0, 3, 1])
    codes = {label: 10 * k for k, label in enumerate(CLASSES)}
    other = ReliabilityDisplay.from_predictions(
        [codes[label] for label in y], proba[:, order], [codes[k] for k in CLASSES[order]]
    )
    np.testing.assert_array_equal(other.accuracy, display.accuracy)
    np.testing.assert_array_equal(other.confidence, display.confidence)


def test_two_classes_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    positive = rng.uniform(0.5, 1.0, size=200)  # then the second class is the likeliest
    y = rng.random(200) < positive
    display = ReliabilityDisplay.from_predictions(
        y, np.column_stack([1 - positive, positive]), [False, True], n_bins=10
    )
    accuracy, confidence = calibration_curve(y, positive, n_bins=10)
    np.testing.assert_allclose(display.accuracy, accuracy)
    np.testing.assert_allclose(display.confidence, confidence)


def test_probabilities_that_are_right_so_often_have_hardly_an_error():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=20_000)
    label = (proba.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    exact = ReliabilityDisplay.from_predictions(CLASSES[label], proba, CLASSES)
    assert exact.expected_calibration_error < 0.02
    sharpened = proba**2 / (proba**2).sum(axis=1, keepdims=True)
    sharp = ReliabilityDisplay.from_predictions(CLASSES[label], sharpened, CLASSES)
    assert sharp.expected_calibration_error > 0.1
    assert np.average(sharp.accuracy < sharp.confidence, weights=sharp.count) > 0.9


# ---------------------------------------------------------------------- from_estimator


@pytest.mark.parametrize("kind", ["adapted", "learner", "pipeline", "ordinary"])
def test_estimators_are_asked_for_probabilities(kind, learner, make_learner, table):
    X, y, X_query, y_query = table.X_new[:30], table.y_new[:30], table.X_new[30:], table.y_new[30:]
    if kind == "adapted":
        estimator = learner.adapt(X, y)
    elif kind == "learner":
        estimator, X_query, y_query = learner, table.X, table.y
    elif kind == "pipeline":
        pipe = make_pipeline(StandardScaler(), make_learner()).fit(7 * table.X, table.y)
        estimator, X_query = adapt(pipe, 7 * X, y), 7 * X_query
    else:
        estimator = GaussianNB().fit(X, y)
    display = ReliabilityDisplay.from_estimator(estimator, X_query, y_query, n_bins=7)
    expected = ReliabilityDisplay.from_predictions(
        y_query, estimator.predict_proba(X_query), estimator.classes_, n_bins=7
    )
    np.testing.assert_array_equal(display.confidence, expected.confidence)
    np.testing.assert_array_equal(display.accuracy, expected.accuracy)
    right = np.sum(estimator.predict(X_query) == y_query)
    assert np.sum(display.accuracy * display.count) == pytest.approx(right)
    assert legend_texts(display.ax_)[0].startswith(f"{type(estimator).__name__}: ")


# ---------------------------------------------------------------------- from_result


def test_results_draw_the_known_queries_of_all_episodes(learner, table):
    X, y = table.X_new, table.y_new
    split = EpisodeSplit(6, n_way=3, n_shot=2, n_query=5, random_state=0)
    result = episodic_score(learner, X, y, episodes=split, n_unknown=1)
    display = ReliabilityDisplay.from_result(result, name="2-shot")
    render(display)
    assert display.expected_calibration_error == pytest.approx(result.open_set.calibration_error)
    assert legend_texts(display.ax_)[0].startswith("2-shot: calibration error ")
    confidence, right = [], 0
    for support, query in split.split(X, y):
        clf = learner.adapt(X[support], y[support])
        confidence += clf.predict_proba(X[query]).max(axis=1).tolist()
        right += np.sum(clf.predict(X[query]) == y[query])
    one_bin = ReliabilityDisplay.from_result(result, n_bins=1)
    np.testing.assert_allclose(one_bin.confidence, np.mean(confidence))
    np.testing.assert_allclose(one_bin.accuracy, right / len(confidence))
    assert one_bin.count == len(confidence)


def test_results_must_have_known_and_unknown_queries():
    result = EpisodicResult(np.ones(3), 5, 1, 15, "accuracy")
    with pytest.raises(TypeError, match=r"ReliabilityDisplay.from_result takes .* n_unknown"):
        ReliabilityDisplay.from_result(result)
    with pytest.raises(ValueError, match=r"'n_bins' parameter of .* at least 1. Got 0"):
        ReliabilityDisplay.from_result(result, n_bins=0)


# ---------------------------------------------------------------------- what is drawn


def test_line_and_bars_are_in_percent(answers):
    display = ReliabilityDisplay.from_predictions(*answers, CLASSES, n_bins=5)
    assert isinstance(display, ReliabilityDisplay)
    assert display.figure_ is display.ax_.figure
    np.testing.assert_allclose(display.line_.get_xdata(), 100 * display.confidence)
    np.testing.assert_allclose(display.line_.get_ydata(), 100 * display.accuracy)
    heights = [bar.get_height() for bar in display.bars_]
    np.testing.assert_allclose(heights, display.count / 3)  # of 300
    confidence = answers[1].max(axis=1)
    for bar, n_queries in zip(display.bars_, display.count, strict=True):
        low, high = bar.get_x() / 100, (bar.get_x() + bar.get_width()) / 100
        slack = 1e-9
        n_inside = np.sum((confidence > low + slack) & (confidence <= high + slack))
        assert n_inside == n_queries


def test_legend_and_labels_say_what_is_seen():
    proba = [[0.9, 0.1], [0.9, 0.1]]
    display = ReliabilityDisplay.from_predictions(["a", "b"], proba, ["a", "b"])
    error = "calibration error 40.0 %"
    rest = ["accuracy = confidence", "share of the queries in each bin"]
    assert legend_texts(display.ax_) == [error, *rest]
    assert legend_texts(display.plot(name="net").ax_) == [f"net: {error}", *rest]
    assert display.ax_.get_xlabel() == "confidence (highest probability) in %"
    assert display.ax_.get_ylabel() == "accuracy in %"


def test_diagonal_is_where_accuracy_is_confidence(answers):
    display = ReliabilityDisplay.from_predictions(*answers, CLASSES)
    (diagonal,) = set(display.ax_.lines) - {display.line_}
    assert (diagonal.get_xy1(), diagonal.get_slope()) == ((0, 0), 1)


def test_draws_in_the_given_axes(answers):
    figure, axes = plt.subplots(1, 2)
    display = ReliabilityDisplay.from_predictions(*answers, CLASSES, ax=axes[1], name="a")
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert not axes[0].has_data()
    first = display.line_
    assert display.plot(ax=axes[1], name="b") is display
    assert len(axes[1].lines) == 3  # one diagonal
    assert len(legend_texts(axes[1])) == 4  # one of the bars
    assert first.get_color() != display.line_.get_color()
    assert first.get_marker() != display.line_.get_marker()
    assert plt.get_fignums() == [figure.number]
    render(display)


def test_properties_reach_the_line_by_any_of_their_names(answers):
    display = ReliabilityDisplay.from_predictions(*answers, CLASSES, c="r", ls="--")
    assert (display.line_.get_color(), display.line_.get_linestyle()) == ("r", "--")


# ---------------------------------------------------------------------- errors


def test_unknown_labels_are_named(answers):
    y, proba = answers
    message = r"none of the 4 classes: 'e'. The classes are 'c', .*Drop those queries"
    with pytest.raises(ValueError, match=message):
        ReliabilityDisplay.from_predictions([*y[:-1], "e"], proba, CLASSES)
    with pytest.raises(ValueError, match=r"none of the 4 classes: 1"):
        ReliabilityDisplay.from_predictions(np.ones(300, dtype=int), proba, CLASSES)


def test_shapes_must_agree(answers):
    y, proba = answers
    message = r"y_proba must have .*\(n_queries, 4\).* Got an array of shape \({}\)"
    for wrong, shape in (
        (proba[:, :3], "300, 3"),
        (proba[:, 0], "300,"),
        (proba[:0], "0, 4"),
        (proba[None], "1, 300, 4"),
    ):
        with pytest.raises(ValueError, match=message.format(shape)):
            ReliabilityDisplay.from_predictions(y, wrong, CLASSES)
    with pytest.raises(ValueError, match=r"y_proba and y_true have inconsistent .* 300 and 299"):
        ReliabilityDisplay.from_predictions(y[1:], proba, CLASSES)


def test_scores_are_no_probabilities(answers):
    y, proba = answers
    for scores in (-proba, 2 * proba, np.log(proba + 1e-9), np.full_like(proba, np.nan)):
        with pytest.raises(ValueError, match=r"y_proba must hold probabilities.*not scores"):
            ReliabilityDisplay.from_predictions(y, scores, CLASSES)
    negative = proba + np.array([-1.0, 1.0, 0.0, 0.0])  # rows still sum to 1
    with pytest.raises(ValueError, match=r"y_proba must hold probabilities.*not scores"):
        ReliabilityDisplay.from_predictions(y, negative, CLASSES)


@pytest.mark.parametrize("classes", [["a", "b", "c", "a"], "abcd", [["a", "b", "c", "d"]]])
def test_classes_must_be_labels_of_columns(answers, classes):
    with pytest.raises(ValueError, match=r"classes must hold .* Pass classes_ of the classifier"):
        ReliabilityDisplay.from_predictions(*answers, classes)


@pytest.mark.parametrize("n_bins", [0, 2.5, "15", None])
def test_bins_must_be_a_number_of_bins(answers, n_bins):
    with pytest.raises(ValueError, match=r"'n_bins' parameter of .* at least 1. Got"):
        ReliabilityDisplay.from_predictions(*answers, CLASSES, n_bins=n_bins)


def test_estimators_must_predict_probabilities_and_be_fitted(make_learner, table):
    machine = LinearSVC().fit(table.X, table.y)
    with pytest.raises(
        TypeError, match=r"takes a fitted classifier with predict_proba. Got Linear"
    ):
        ReliabilityDisplay.from_estimator(machine, table.X, table.y)
    with pytest.raises(NotFittedError):
        ReliabilityDisplay.from_estimator(make_learner(), table.X, table.y)
