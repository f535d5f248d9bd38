"""Laws of the shot curve: nothing but the number of examples varies along it."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier, adapt
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score, shot_curve


def make_table(prefix, n_classes, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_classes, 1, 4)) + rng.normal(size=(n_classes, 16, 4))
    return X.reshape(-1, 4), np.repeat([f"{prefix} {i}" for i in range(n_classes)], 16)


X, y = make_table("new", 5, seed=0)
X_base, y_base = make_table("old", 8, seed=1)
learner = ProtoNetClassifier(max_epochs=1, episodes_per_epoch=2, random_state=0)
pipe = make_pipeline(StandardScaler(), learner).fit(X_base, y_base)
PARAMS = {"n_shots": (1, 3, 6), "n_way": 3, "n_query": 4, "n_episodes": 15, "random_state": 2}


@pytest.mark.parametrize("grouped", [False, True])
def test_supports_are_nested_and_queries_the_same(grouped):
    groups = np.arange(len(y)) // 2 if grouped else None
    curve = shot_curve(KNeighborsClassifier(1), X, y, groups=groups, **PARAMS)
    plans = [result.answers.plan for result in curve.results]
    for n_shot, plan in zip(curve.n_shots, plans, strict=True):
        assert_array_equal(plan.query, plans[0].query)
        assert_array_equal(plan.classes, plans[0].classes)
        assert_array_equal(plan.support, plans[-1].support[:, :, :n_shot])
        assert (plan.support >= 0).all()


@pytest.mark.parametrize("name", ["learner", "neighbour"])
def test_each_point_equals_a_loop_over_its_episodes(name):
    estimator = {"learner": pipe, "neighbour": KNeighborsClassifier(1)}[name]
    for result in shot_curve(estimator, X, y, **PARAMS).results:
        for score, support, query in zip(result.scores, *result.answers.plan[:2], strict=True):
            rows, asked = support.ravel(), query.ravel()
            fitted = (
                adapt(pipe, X[rows], y[rows])
                if name == "learner"
                else clone(estimator).fit(X[rows], y[rows])
            )
            assert score == pytest.approx(np.mean(fitted.predict(X[asked]) == y[asked]))


def test_the_last_point_is_the_score_with_as_many_examples():
    curve = shot_curve(pipe, X, y, **PARAMS)
    episodes = EpisodeSplit(15, n_way=3, n_shot=6, n_query=4, random_state=2)
    last = episodic_score(pipe, X, y, episodes=episodes)
    assert_array_equal(curve.results[-1].scores, last.scores)
    assert str(curve.results[-1]) == str(last)


def test_numbers_are_sorted_and_each_once():
    curve = shot_curve(pipe, X, y, **PARAMS | {"n_shots": [6, 1, 3, 1]})
    assert curve.n_shots == (1, 3, 6)
    assert [result.n_shot for result in curve.results] == [1, 3, 6]
    assert_array_equal(curve.mean, shot_curve(pipe, X, y, **PARAMS).mean)
    assert shot_curve(pipe, X, y, **PARAMS | {"n_shots": 3}).n_shots == (3,)


def test_the_curve_is_readable():
    curve = shot_curve(pipe, X, y, **PARAMS | {"n_way": "all", "scoring": "neg_log_loss"})
    lines = str(curve).splitlines()
    assert [line.partition("(")[2].split(", ")[1] for line in lines] == [
        "5-way 1-shot",
        "5-way 3-shot",
        "5-way 6-shot",
    ]
    assert repr(curve) == f"<ShotCurve: {curve}>"
    pytest.importorskip("pandas")
    frame = curve.to_frame()
    assert frame.index.tolist() == [1, 3, 6]
    assert frame.index.name == "n_shot"
    assert_array_equal(frame["mean"], curve.mean)
    assert_array_equal(frame["half_width"], curve.half_width)


@pytest.mark.parametrize("n_shots", [(), (0, 1), (1.5,), "all", [True], None, -1])
def test_numbers_that_are_none_are_refused(n_shots):
    with pytest.raises(ValueError, match=r"shot_curve takes n_shots as ints of at least 1\. Got"):
        shot_curve(pipe, X, y, **PARAMS | {"n_shots": n_shots})


def test_other_arguments_are_refused_under_the_name_of_the_function():
    with pytest.raises(ValueError, match=r"'n_shot' parameter of shot_curve .*has 16 examples"):
        shot_curve(pipe, X, y, **PARAMS | {"n_shots": (1, 13)})
    with pytest.raises(ValueError, match="'scoring' parameter of shot_curve"):
        shot_curve(pipe, X, y, **PARAMS, scoring="acuracy")
    with pytest.raises(TypeError, match="shot_curve takes a learner or a classifier"):
        shot_curve(LinearRegression(), X, y, **PARAMS)
