"""RiskCoverageDisplay draws what is kept at each threshold: accuracy, and unknown queries."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from sklearn_fewshot.inspection import RiskCoverageDisplay
from sklearn_fewshot.model_selection import EpisodicResult, episodic_score
from sklearn_fewshot.model_selection._open_set import OpenSetQueries, open_set_result

N_KNOWN, N_UNKNOWN = 40, 24


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made_up(n_episodes=12, *, ties=False, is_right=None, seed=0):
    """Return a result of random scores and hits, a tenth of the queries rejected."""
    rng = np.random.default_rng(seed)
    shape = n_episodes, N_KNOWN + N_UNKNOWN
    is_known = np.broadcast_to(np.arange(shape[1]) < N_KNOWN, shape)
    score = rng.normal(size=shape) + is_known
    score = np.round(score) if ties else score
    if is_right is None:
        is_right = rng.random(shape) < scipy.stats.norm.cdf(score)
    queries = OpenSetQueries(
        is_known, score, rng.random(shape), is_right & is_known, score < np.quantile(score, 0.1)
    )
    scores = queries.is_right[:, :N_KNOWN].mean(axis=1)
    open_set = open_set_result(queries, 5, 0.1)
    return EpisodicResult(scores, 5, 1, 15, "accuracy", open_set=open_set)


def render(display):
    """Draw to the end: what is missing in a font or a layout warns only here."""
    display.figure_.savefig(BytesIO(), format="png")


def legend_texts(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in [*legend.get_texts(), legend.get_title()]]


# ---------------------------------------------------------------------- what is computed


def test_curves_are_those_of_plain_loops():
    result = made_up()
    curve = RiskCoverageDisplay.from_results(result).curves_[""]
    queries = result.open_set.queries
    for coverage, accuracy, accepted in zip(
        curve.coverage, curve.accuracy, curve.accepted, strict=True
    ):
        n_kept = round(coverage * N_KNOWN)
        assert n_kept == pytest.approx(coverage * N_KNOWN)
        hits, outliers = [], []
        for score, is_right in zip(queries.score, queries.is_right, strict=True):
            best = np.argsort(-score[:N_KNOWN])[:n_kept]
            hits.append(is_right[best].mean())
            outliers.append(np.mean(score[N_KNOWN:] >= score[best[-1]]))
        assert accuracy == pytest.approx(np.mean(hits))
        assert accepted == pytest.approx(np.mean(outliers))
    assert curve.accuracy[0] > curve.accuracy[-1]


def test_with_everything_kept_the_accuracy_is_the_score():
    result = made_up()
    curve = RiskCoverageDisplay.from_results(result).curves_[""]
    assert curve.coverage[-1] == 1.0
    assert curve.accuracy[-1] == pytest.approx(result.mean)
    assert_allclose((curve.low[-1], curve.high[-1]), result.interval)


def test_the_order_of_queries_with_equal_scores_does_not_matter():
    result = made_up(ties=True)
    queries = result.open_set.queries
    backwards = np.r_[np.arange(N_KNOWN)[::-1], np.arange(N_KNOWN, N_KNOWN + N_UNKNOWN)]
    other = open_set_result(OpenSetQueries(*(it[:, backwards] for it in queries)), 5, 0.1)
    turned = EpisodicResult(result.scores, 5, 1, 15, "accuracy", open_set=other)
    one, two = RiskCoverageDisplay.from_results({"a": result, "b": turned}).curves_.values()
    assert_allclose(one.accuracy, two.accuracy)
    assert_allclose(one.accepted, two.accepted)


def test_unknown_queries_that_score_the_threshold_are_kept():
    score = np.array([[3.0, 2.0, 1.0, 0.0, 3.0, 1.0]])
    is_known = np.array([[True] * 4 + [False] * 2])
    queries = OpenSetQueries(is_known, score, score, is_known, score < 0)
    open_set = open_set_result(queries, 1, 0.1)
    result = EpisodicResult(np.ones(1), 2, 1, 2, "accuracy", open_set=open_set)
    curve = RiskCoverageDisplay.from_results(result).curves_[""]
    at = np.searchsorted(curve.coverage, [0.25, 0.5, 0.75, 1.0])
    assert_allclose(curve.accepted[at], [0.5, 0.5, 1.0, 1.0])


def test_scores_that_tell_nothing_give_a_flat_accuracy_and_a_diagonal():
    queries = made_up(300).open_set.queries
    rng = np.random.default_rng(1)
    random = queries._replace(score=rng.random(queries.score.shape))
    result = EpisodicResult(
        np.zeros(300), 5, 1, 15, "accuracy", open_set=open_set_result(random, 5, 0.1)
    )
    curve = RiskCoverageDisplay.from_results(result).curves_[""]
    assert_allclose(curve.accuracy, curve.accuracy[-1], atol=0.06)
    assert_allclose(curve.accepted, curve.coverage, atol=0.03)


# ---------------------------------------------------------------------- what is drawn


def test_lines_are_the_shares_in_percent_with_a_band():
    display = RiskCoverageDisplay.from_results(made_up())
    render(display)
    curve = display.curves_[""]
    for line, shares in zip(display.lines_, (curve.accuracy, curve.accepted), strict=True):
        assert_allclose(line.get_xdata(), 100 * curve.coverage)
        assert_allclose(line.get_ydata(), 100 * shares)
    (band,) = display.bands_
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(100 * curve.high.max())
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == "known queries kept (coverage) in %"


def test_large_markers_are_where_the_reject_rate_puts_the_threshold():
    result = made_up()
    display = RiskCoverageDisplay.from_results(result)
    (marks,) = (it for it in display.ax_.collections if it not in display.bands_)
    open_set = result.open_set
    kept = 100 * (1 - open_set.false_rejection.mean())
    expected = [open_set.accuracy_of_rest.mean(), 1 - open_set.unknown_rejected.mean()]
    assert_allclose(marks.get_offsets(), [[kept, 100 * share] for share in expected])


def test_results_look_different_and_have_names():
    display = RiskCoverageDisplay.from_results({"1-shot": made_up(), "5-shot": made_up(seed=1)})
    render(display)
    assert legend_texts(display.ax_) == [
        "1-shot: accuracy of the known kept",
        "1-shot: unknown kept",
        "5-shot: accuracy of the known kept",
        "5-shot: unknown kept",
        "large: predict at reject_rate=0.1\nband: 95 % interval over 12 episodes",
    ]
    first, _, second, _ = display.lines_
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--", "-", "--"]


def test_a_single_episode_has_no_band():
    display = RiskCoverageDisplay.from_results(made_up(1))
    render(display)
    assert display.bands_ == []
    assert legend_texts(display.ax_)[-1] == "large: predict at reject_rate=0.1"


def test_draws_in_the_given_axes():
    figure, axes = plt.subplots(1, 2)
    display = RiskCoverageDisplay.from_results(made_up(), ax=axes[1])
    assert display.ax_ is axes[1]
    assert not axes[0].has_data()
    assert display.plot(ax=axes[0]) is display
    assert display.ax_ is axes[0]
    assert plt.get_fignums() == [figure.number]


def test_draws_what_episodic_score_returns(learner, table):
    sizes = {"n_way": 3, "n_shot": 2, "n_query": 5, "n_episodes": 4}
    result = episodic_score(learner, table.X_new, table.y_new, n_unknown=1, **sizes)
    display = RiskCoverageDisplay.from_results({"it": result})
    render(display)
    assert display.curves_["it"].accuracy[-1] == pytest.approx(result.mean)


@pytest.mark.parametrize(
    "results", [{}, [], EpisodicResult(np.ones(3), 5, 1, 15, "accuracy"), {"a": made_up(), "b": 1}]
)
def test_other_things_are_refused(results):
    with pytest.raises(TypeError, match=r"takes what episodic_score returned with n_unknown.* Got"):
        RiskCoverageDisplay.from_results(results)
