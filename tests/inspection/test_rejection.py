"""RejectionDisplay counts what ``predict(reject_label=...)`` answers, and draws both errors."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import FewShotClassifier, adapt
from sklearn_fewshot.inspection import RejectionDisplay

RATES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.9)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def task(table):
    """Support of unequal shots of three new classes, queries of these, and queries of a fourth."""
    *known, unknown = np.unique(table.y_new)
    shots = dict(zip(known, (1, 3, 6), strict=True))
    support = np.concatenate([np.flatnonzero(table.y_new == k)[:n] for k, n in shots.items()])
    rest = np.setdiff1d(np.arange(len(table.y_new)), support)
    X, y = table.X_new, table.y_new
    is_unknown = y[rest] == unknown
    return X[support], y[support], X[rest[~is_unknown]], X[rest[is_unknown]]


@pytest.fixture
def clf(learner, task):
    return learner.adapt(*task[:2])


def render(display):
    """Draw to the end: what is missing in a font or a layout warns only here."""
    display.figure_.savefig(BytesIO(), format="png")


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def counted(predict, X_known, X_unknown, rates=RATES):
    """Ask at each rate anew."""
    false_rejections, false_acceptances = [], []
    for rate in rates:
        known, unknown = (
            predict(X, reject_label="none", reject_rate=rate) for X in (X_known, X_unknown)
        )
        false_rejections.append(np.mean(known == "none"))
        false_acceptances.append(np.mean(unknown != "none"))
    return false_rejections, false_acceptances


def assert_counts(display, expected):
    np.testing.assert_array_equal(display.false_rejections, expected[0])
    np.testing.assert_array_equal(display.false_acceptances, expected[1])


# ---------------------------------------------------------------------- what is counted


def test_errors_are_those_of_predict(clf, task):
    *_, X_known, X_unknown = task
    threshold = clf.rejection_threshold(0.2)
    assert len(np.unique(threshold)) == 3  # each class has its own, by its shots
    display = RejectionDisplay.from_estimator(clf, X_known, X_unknown, reject_rates=RATES)
    assert_counts(display, counted(clf.predict, X_known, X_unknown))
    assert len(np.unique(display.false_rejections)) > 3
    np.testing.assert_array_equal(display.reject_rates, RATES)


def test_errors_of_two_classes_are_those_of_predict(learner, task):
    X, y, X_known, X_unknown = task
    two = y != y[0]
    clf = learner.adapt(X[two], y[two])
    display = RejectionDisplay.from_estimator(clf, X_known, X_unknown, reject_rates=RATES)
    assert_counts(display, counted(clf.predict, X_known, X_unknown))


def test_a_query_that_scores_the_threshold_is_accepted(clf, task):
    *_, X_known, X_unknown = task
    scores = np.sort(np.concatenate([clf.score_samples(X) for X in (X_known, X_unknown)]))
    clf._threshold = lambda support, rate: np.full(3, scores[int(rate * len(scores))])
    display = RejectionDisplay.from_estimator(clf, X_known, X_unknown, reject_rates=RATES)
    assert_counts(display, counted(clf.predict, X_known, X_unknown))
    assert (display.false_rejections[0], display.false_acceptances[0]) == (0.0, 1.0)


def test_errors_do_not_depend_on_the_blocks_that_queries_are_scored_in(clf, task):
    *_, X_known, X_unknown = task
    X_known, X_unknown = np.tile(X_known, (40, 1)), np.tile(X_unknown, (70, 1))
    whole = RejectionDisplay.from_estimator(clf, X_known, X_unknown)
    with sklearn.config_context(working_memory=0):
        assert len(list(clf._score_blocks(X_known))) > 1
        parts = RejectionDisplay.from_estimator(clf, X_known, X_unknown)
    assert_counts(parts, (whole.false_rejections, whole.false_acceptances))
    assert parts.roc_auc == whole.roc_auc


def test_queries_are_scored_once(clf, task, monkeypatch):
    *_, X_known, X_unknown = task
    n_rows, score_blocks = [], FewShotClassifier._score_blocks

    def counting(self, X):
        n_rows.append(len(X))
        return score_blocks(self, X)

    monkeypatch.setattr(FewShotClassifier, "_score_blocks", counting)
    RejectionDisplay.from_estimator(clf, X_known, X_unknown)
    assert n_rows == [len(X_known), len(X_unknown)]


def test_area_is_the_share_of_pairs_in_which_the_known_query_scores_higher(clf, task):
    *_, X_known, X_unknown = task
    X_known = np.concatenate([X_known, X_unknown[:2]])  # ties
    pairs = [
        1.0 if known > unknown else 0.5 if known == unknown else 0.0
        for known in clf.score_samples(X_known)
        for unknown in clf.score_samples(X_unknown)
    ]
    display = RejectionDisplay.from_estimator(clf, X_known, X_unknown)
    assert display.roc_auc == pytest.approx(np.mean(pairs))
    assert 0.5 < display.roc_auc < 1.0


def test_default_rates_reach_from_none_to_half(clf, task):
    rates = RejectionDisplay.from_estimator(clf, *task[2:]).reject_rates
    assert (rates[0], rates[-1], len(rates)) == (0.0, 0.5, 21)


# ---------------------------------------------------------------------- other estimators


def test_a_learner_answers_with_its_base_classes(learner, table):
    display = RejectionDisplay.from_estimator(learner, table.X, table.X_new, reject_rates=RATES)
    assert_counts(display, counted(learner.predict, table.X, table.X_new))
    assert legend_texts(display.ax_)[0] == "ProtoNetClassifier: inliers rejected"


@pytest.mark.parametrize("is_adapted", [True, False])
def test_queries_pass_through_the_transformers_of_a_pipeline(make_learner, table, task, is_adapted):
    X_support, y_support, X_known, X_unknown = task
    pipe = make_pipeline(StandardScaler(), make_learner()).fit(7 * table.X, table.y)
    if is_adapted:
        pipe = adapt(pipe, 7 * X_support, y_support)
    display = RejectionDisplay.from_estimator(pipe, 7 * X_known, 7 * X_unknown, reject_rates=RATES)
    assert_counts(display, counted(pipe.predict, 7 * X_known, 7 * X_unknown))
    assert len(np.unique(display.false_acceptances)) > 2


def test_a_search_answers_as_its_best_learner(make_learner, table):
    every = np.arange(len(table.y))
    search = GridSearchCV(make_learner(), {"max_epochs": [1]}, cv=[(every, every)])
    search.fit(table.X, table.y)
    display = RejectionDisplay.from_estimator(search, table.X, table.X_new, reject_rates=RATES)
    assert_counts(display, counted(search.best_estimator_.predict, table.X, table.X_new))


# ---------------------------------------------------------------------- what is drawn


def test_lines_are_the_shares_in_percent(clf, task):
    display = RejectionDisplay.from_estimator(clf, *task[2:], reject_rates=RATES)
    render(display)
    assert isinstance(display, RejectionDisplay)
    assert display.figure_ is display.ax_.figure
    shares = display.false_rejections, display.false_acceptances
    for line, share in zip(display.lines_, shares, strict=True):
        np.testing.assert_allclose(line.get_xdata(), 100 * np.array(RATES))
        np.testing.assert_allclose(line.get_ydata(), 100 * share)


def test_legend_and_labels_say_what_is_seen():
    errors = [0.0, 0.1], [0.1, 0.3], [0.5, 0.2]
    ax = RejectionDisplay.from_errors(*errors, roc_auc=0.9, name="net").ax_
    assert legend_texts(ax) == [
        "net: inliers rejected",
        "net: outliers accepted (ROC area 0.900)",
        "nominal",
    ]
    assert ax.get_xlabel() == "nominal false rejection rate (reject_rate) in %"
    assert ax.get_ylabel() == "share of queries in %"
    unnamed = RejectionDisplay.from_errors(*errors)
    assert legend_texts(unnamed.ax_)[:2] == ["inliers rejected", "outliers accepted"]
    assert legend_texts(unnamed.plot(name="b").ax_)[0] == "b: inliers rejected"


def test_known_queries_rejected_as_stated_lie_on_the_diagonal():
    display = RejectionDisplay.from_errors(RATES, RATES, np.zeros(8))
    (diagonal,) = set(display.ax_.lines) - set(display.lines_)
    assert (diagonal.get_xy1(), diagonal.get_slope()) == ((0, 0), 1)


def test_curves_look_different_without_colour():
    errors = RATES, RATES, np.zeros(8)
    first = RejectionDisplay.from_errors(*errors)
    second = RejectionDisplay.from_errors(*errors, ax=first.ax_)
    assert [line.get_linestyle() for line in first.lines_] == ["-", "--"]
    assert [line.get_markerfacecolor() for line in first.lines_] == [
        first.lines_[0].get_color(),
        "w",
    ]
    assert first.lines_[0].get_marker() != second.lines_[0].get_marker()
    assert first.lines_[0].get_color() != second.lines_[0].get_color()


def test_properties_reach_both_curves_by_any_of_their_names():
    lines = RejectionDisplay.from_errors(RATES, RATES, RATES, c="r", marker="", lw=3).lines_
    for line in lines:
        assert (line.get_color(), line.get_marker(), line.get_linewidth()) == ("r", "", 3)


def test_draws_in_the_given_axes(clf, task):
    figure, axes = plt.subplots(1, 2)
    display = RejectionDisplay.from_estimator(clf, *task[2:], ax=axes[1], name="clf")
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert not axes[0].has_data()
    assert display.plot(ax=axes[0]) is display
    assert display.ax_ is axes[0]
    assert len(display.lines_) == 2
    display.plot(ax=axes[0], name="again")
    assert len(axes[0].lines) == 5  # one diagonal
    assert legend_texts(axes[0])[-2:] != legend_texts(axes[0])[:2]
    assert plt.get_fignums() == [figure.number]
    render(display)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("which", [0, 1])
def test_no_queries_of_a_kind_is_an_error(clf, task, which):
    queries = list(task[2:])
    queries[which] = queries[which][:0]
    name = ("X_known", "X_unknown")[which]
    with pytest.raises(ValueError, match=rf"^{name} of .*from_estimator has no samples. Pass"):
        RejectionDisplay.from_estimator(clf, *queries)


@pytest.mark.parametrize(
    "rates", [[], 0.1, [0.5, 0.1], [0.1, 0.1], [-0.1, 0.2], [0.5, 1.0], ["a"], [np.nan], [[0.1]]]
)
def test_other_things_than_ascending_shares_are_refused(clf, task, rates):
    message = r"'reject_rates' parameter of RejectionDisplay must hold .* ascending. Got"
    with pytest.raises(ValueError, match=message):
        RejectionDisplay.from_estimator(clf, *task[2:], reject_rates=rates)
    with pytest.raises(ValueError, match=message):
        RejectionDisplay.from_errors(rates, rates, rates)


def test_errors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"false_rejections must have .*: 2. Got .* \(1,\)"):
        RejectionDisplay.from_errors([0.0, 0.1], [0.1], [0.5, 0.2])
    with pytest.raises(ValueError, match=r"false_acceptances must hold shares .*. Got \[50. 20.\]"):
        RejectionDisplay.from_errors([0.0, 0.1], [0.1, 0.2], [50, 20])


def test_other_estimators_are_refused(table):
    neighbour = NearestCentroid().fit(table.X, table.y)
    with pytest.raises(
        TypeError, match=r"takes a fitted FewShotClassifier or learner.*from_errors"
    ):
        RejectionDisplay.from_estimator(neighbour, table.X, table.X_new)


def test_a_classifier_that_was_not_calibrated_is_refused(task):
    X_support, y_support, *queries = task
    clf = FewShotClassifier().fit(X_support, y_support)
    with pytest.raises(TypeError, match="calibrate=True"):
        RejectionDisplay.from_estimator(clf, *queries)


def test_estimators_must_be_fitted(make_learner, learner, task):
    for unfitted in (make_learner(), FewShotClassifier(learner)):
        with pytest.raises(NotFittedError):
            RejectionDisplay.from_estimator(unfitted, *task[2:])
        with pytest.raises(NotFittedError):
            RejectionDisplay.from_estimator(make_pipeline(StandardScaler(), unfitted), *task[2:])
