"""EpisodeScoresDisplay draws the scores of episodes, and their paired differences."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sklearn_fewshot.inspection import EpisodeScoresDisplay
from sklearn_fewshot.model_selection import compare_on_episodes, episodic_score
from sklearn_fewshot.model_selection._result import score_text

TASK = {"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 12}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def comparison(table):
    estimators = {"centroid": NearestCentroid(), "neighbour": KNeighborsClassifier(1)}
    return compare_on_episodes(estimators, table.X_new, table.y_new, **TASK)


def written(display):
    return [text.get_text() for text in display.ax_.texts]


def test_scores_and_their_means(comparison):
    display = EpisodeScoresDisplay.from_results(comparison)
    display.figure_.savefig(BytesIO(), format="png")
    for (name, values), text in zip(display.values_.items(), written(display), strict=True):
        result = comparison.results[name]
        np.testing.assert_array_equal(values, result.scores)
        assert text == str(result).partition(" (3-way")[0]
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == ["centroid", "neighbour"]
    assert display.ax_.get_xlabel() == "accuracy in %"


def test_paired_differences_are_those_of_the_comparison(comparison):
    display = EpisodeScoresDisplay.from_results(comparison, paired=True)
    display.figure_.savefig(BytesIO(), format="png")
    first, second = (result.scores for result in comparison.results.values())
    np.testing.assert_array_equal(display.values_["neighbour"], second - first)
    difference = comparison.difference("neighbour")
    assert written(display)[0] == score_text(difference, "accuracy", sign="+")
    assert "difference of accuracy to centroid" in display.ax_.get_xlabel()


def test_one_result_and_one_episode(table):
    task = {**TASK, "n_episodes": 1}
    result = episodic_score(NearestCentroid(), table.X_new, table.y_new, **task)
    display = EpisodeScoresDisplay.from_results(result)
    display.figure_.savefig(BytesIO(), format="png")
    assert "±" not in written(display)[0]
    _, ax = plt.subplots()
    assert EpisodeScoresDisplay.from_results({"it": result}, ax=ax).ax_ is ax


def test_bars_of_other_classes_are_those_of_the_comparison(table):
    estimators = {"centroid": NearestCentroid(), "neighbour": KNeighborsClassifier(1)}
    groups = np.arange(len(np.unique(table.y_new))) // 2
    rows = groups[np.unique(table.y_new, return_inverse=True)[1]]
    found = compare_on_episodes(estimators, table.X_new, table.y_new, class_groups=rows, **TASK)
    display = EpisodeScoresDisplay.from_results(found, paired=True)
    expected = found.difference("neighbour", over="classes")
    assert display._interval("neighbour", "classes") == expected
    assert expected.name.endswith("groups of classes, paired")


def test_what_does_not_go_together_is_refused(table, comparison):
    with pytest.raises(TypeError, match="takes what compare_on_episodes"):
        EpisodeScoresDisplay.from_results([0.5, 0.6])
    with pytest.raises(ValueError, match="give two results"):
        EpisodeScoresDisplay.from_results(comparison.results["centroid"], paired=True)
    loss = episodic_score(
        KNeighborsClassifier(2), table.X_new, table.y_new, scoring="neg_log_loss", **TASK
    )
    with pytest.raises(ValueError, match="must be of one scoring"):
        EpisodeScoresDisplay.from_results({**comparison.results, "loss": loss})
    other = episodic_score(
        NearestCentroid(), table.X_new, table.y_new, random_state=1, **{**TASK, "n_episodes": 7}
    )
    with pytest.raises(ValueError, match="episodes"):
        EpisodeScoresDisplay.from_results({**comparison.results, "other": other}, paired=True)


def test_scores_that_are_no_shares_keep_their_unit(table):
    loss = episodic_score(
        KNeighborsClassifier(2), table.X_new, table.y_new, scoring="neg_log_loss", **TASK
    )
    display = EpisodeScoresDisplay.from_results(loss)
    assert display.ax_.get_xlabel() == loss.scoring
