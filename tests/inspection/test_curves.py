"""ShotCurveDisplay draws the means and intervals of shot curves, and says what they are."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sklearn_fewshot.inspection import ShotCurveDisplay
from sklearn_fewshot.model_selection import EpisodicResult, ShotCurve, shot_curve

TASK = {"n_shots": (1, 2, 4), "n_way": 3, "n_query": 5, "n_episodes": 20}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made_up(n_shots=(1, 2, 4), n_episodes=20, **changes):
    """Return a curve of random scores."""
    rng = np.random.default_rng(0)
    task = {"n_way": 5, "n_query": 15, "scoring": "accuracy"} | changes
    return ShotCurve(
        n_shots,
        tuple(EpisodicResult(rng.random(n_episodes), n_shot=n_shot, **task) for n_shot in n_shots),
    )


def render(display):
    """Draw to the end: what is missing in a font or a layout warns only here."""
    display.figure_.savefig(BytesIO(), format="png")


def legend_texts(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in [*legend.get_texts(), legend.get_title()]]


def ends(band):
    """Return the ends of a band at each number of examples."""
    vertices = band.get_paths()[0].vertices
    return np.array([np.sort(vertices[vertices[:, 0] == x, 1])[[0, -1]] for x in (1, 2, 4)])


# ---------------------------------------------------------------------- what is drawn


def test_lines_are_the_means_and_bands_the_intervals():
    curves = {"a": made_up(), "b": made_up((1, 2, 4))}
    display = ShotCurveDisplay.from_curves(curves)
    render(display)
    assert isinstance(display, ShotCurveDisplay)
    assert display.figure_ is display.ax_.figure
    assert len(display.lines_) == len(display.bands_) == 2
    for line, band, curve in zip(display.lines_, display.bands_, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), curve.n_shots)
        np.testing.assert_allclose(line.get_ydata(), 100 * curve.mean)
        intervals = 100 * np.array([result.interval for result in curve.results])
        np.testing.assert_allclose(ends(band), intervals)


def test_legend_and_labels_say_what_is_seen():
    ax = ShotCurveDisplay.from_curves({"net": made_up(), "floor": made_up()}).ax_
    assert legend_texts(ax) == [
        "net",
        "floor",
        "band: 95 % Korn-Graubard interval over 20 episodes",
    ]
    assert ax.get_title() == "5-way, 15 queries of each class"
    assert ax.get_xlabel() == "examples of each class"
    assert ax.get_ylabel() == "accuracy in %"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "4"]


def test_curves_look_different_without_colour():
    lines = ShotCurveDisplay.from_curves({name: made_up() for name in "abcd"}).lines_
    assert len({line.get_marker() for line in lines}) == 4
    assert len({line.get_color() for line in lines}) == 4


def test_scores_that_are_no_shares_are_drawn_as_they_are():
    curve = made_up(scoring="neg_log_loss")
    display = ShotCurveDisplay.from_curves({"a": curve})
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), curve.mean)
    assert display.ax_.get_ylabel() == "neg_log_loss"


def test_a_single_episode_has_no_band_and_claims_none():
    display = ShotCurveDisplay.from_curves({"a": made_up(n_episodes=1)})
    render(display)
    assert display.bands_ == []
    assert legend_texts(display.ax_) == ["a", ""]


def test_curves_may_differ_in_the_numbers_of_examples():
    display = ShotCurveDisplay.from_curves({"a": made_up((1, 8)), "b": made_up((2,))})
    render(display)
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["1", "2", "8"]


def test_ranges_of_ways_are_named():
    ax = ShotCurveDisplay.from_curves({"a": made_up(n_way=(2, 5), n_query=1)}).ax_
    assert ax.get_title() == "2 to 5-way, 1 query of each class"


# ---------------------------------------------------------------------- from_estimator


def test_estimator_is_scored_as_shot_curve_does(learner, table):
    display = ShotCurveDisplay.from_estimator(learner, table.X_new, table.y_new, **TASK)
    render(display)
    curve = shot_curve(learner, table.X_new, table.y_new, **TASK)
    np.testing.assert_allclose(display.lines_[0].get_ydata(), 100 * curve.mean)
    assert legend_texts(display.ax_)[0] == "ProtoNetClassifier"
    assert list(display.curves) == ["ProtoNetClassifier"]


def test_arguments_reach_shot_curve(learner, table):
    options = {
        "groups": np.arange(len(table.y_new)) % 10,
        "scoring": "f1_macro",
        "random_state": 7,
        "preprocess": learner,
        "n_jobs": 1,
    }
    args = NearestCentroid(), table.X_new, table.y_new
    display = ShotCurveDisplay.from_estimator(*args, **TASK, **options, name="floor")
    curve = shot_curve(*args, **TASK, **options)
    np.testing.assert_array_equal(display.curves["floor"].mean, curve.mean)
    assert display.ax_.get_ylabel() == "f1_macro in %"


# ---------------------------------------------------------------------- axes and errors


def test_draws_in_the_given_axes(table):
    figure, axes = plt.subplots(1, 2)
    args = KNeighborsClassifier(1), table.X_new, table.y_new
    display = ShotCurveDisplay.from_estimator(*args, **TASK, ax=axes[1])
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert not axes[0].has_data()
    assert display.plot(ax=axes[0]) is display
    assert display.ax_ is axes[0]
    assert len(display.lines_) == 1
    assert plt.get_fignums() == [figure.number]
    render(display)


@pytest.mark.parametrize(
    "change", [{"n_way": 2}, {"n_query": 1}, {"scoring": "f1_macro"}, {"n_episodes": 3}]
)
def test_curves_of_different_conditions_are_refused(change):
    with pytest.raises(ValueError, match=r"must have the same conditions. 'a' has .*, 'b' has"):
        ShotCurveDisplay.from_curves({"a": made_up(), "b": made_up(**change)})


@pytest.mark.parametrize("curves", [{}, made_up(), [made_up()], {"a": 0.5}])
def test_other_things_than_curves_are_refused(curves):
    with pytest.raises(TypeError, match=r"takes a dict of names and shot curves"):
        ShotCurveDisplay.from_curves(curves)
