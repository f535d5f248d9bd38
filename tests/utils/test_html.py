"""What a notebook shows of learners, classifiers and results."""

from html.parser import HTMLParser

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    adapt,
)
from sklearn_fewshot.model_selection import (
    ClassKFold,
    EpisodicComparison,
    EpisodicResult,
    compare_on_episodes,
    episodic_cross_validate,
    generalized_episodic_score,
    shot_curve,
)
from sklearn_fewshot.utils._html import html_table

HOSTILE = "<script>alert('x')</script>"
SIZE = {"n_way": 3, "n_shot": 1, "n_query": 2, "scoring": "accuracy"}


class Tables(HTMLParser):
    """Collects the cells of the tables outside scikit-learn's diagram, and all tags."""

    def __init__(self, html):
        super().__init__()
        self.cells, self.tags, self._inside = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = tag in ("td", "th", "b")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.cells.append(data)


def view(estimator):
    return estimator._repr_mimebundle_()["text/html"]


def test_names_are_text_and_never_tags(learner, table):
    classifier = learner.adapt(table.X_new[:2], [HOSTILE, "b"])
    scores = np.array([0.5, 0.7])
    results = {HOSTILE: EpisodicResult(scores, **SIZE), "b": EpisodicResult(scores, **SIZE)}
    shown = EpisodicComparison(results)._repr_html_()
    assert "&lt;script&gt;alert" in shown
    for html in (shown, view(learner), view(classifier)):
        assert HOSTILE not in html


def test_pipelines_and_the_display_setting_are_as_ever(learner, table):
    pipe = make_pipeline(StandardScaler(), clone(learner)).fit(table.X, table.y)
    assert "sk-container" in view(pipe)
    assert "sk-container" in view(adapt(pipe, table.X_new, table.y_new))
    with config_context(display="text"):
        assert "text/html" not in learner._repr_mimebundle_()
        assert not hasattr(learner, "_repr_html_")


def test_results_are_tables(learner, table):
    X, y = table.X_new, table.y_new
    task = {"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 5}
    comparison = compare_on_episodes({"a": learner, "b": NearestCentroid()}, X, y, **task)
    first = comparison.results["a"]
    cells = Tables(comparison._repr_html_()).cells
    low, high = first.interval
    assert f"{100 * first.mean:.2f} ({100 * low:.2f} to {100 * high:.2f}) %" in cells
    assert "against a" in cells
    assert f"{100 * low:.2f} to {100 * high:.2f}" in Tables(first._repr_html_()).cells

    curve = shot_curve(learner, X, y, n_shots=(1, 2), n_way=3, n_query=2, n_episodes=4)
    assert Tables(curve._repr_html_()).cells[2:6:2] == ["1", "2"]

    both = generalized_episodic_score(
        learner, X, y, table.X, table.y, n_way=3, n_shot=1, n_query=2, n_episodes=3
    )
    assert Tables(both._repr_html_()).tags.count("tr") == 4

    many = episodic_cross_validate(
        NearestCentroid(), table.X, table.y, cv=ClassKFold(2), **{**task, "n_way": 2}
    )
    assert Tables(many._repr_html_()).tags.count("tr") == 3


def test_a_single_episode_has_no_interval():
    html = EpisodicResult(np.array([0.5]), **SIZE)._repr_html_()
    assert "nan to" not in html
    assert "interval over episodes</th>" not in html


def test_a_table_has_the_cells_it_was_given():
    table = Tables(html_table([("a", "1"), ("b & c", "2")], header=("name", "n"), caption="<all>"))
    assert table.cells == ["<all>", "name", "n", "a", "1", "b & c", "2"]
