"""Old and new classes in one decision: equal to a plain loop over ``adapt``."""

import sys

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import MatchingNetClassifier, ProtoNetClassifier, adapt
from sklearn_fewshot.model_selection import (
    EpisodeSplit,
    GeneralizedResult,
    _generalized_score,
    generalized_accuracy,
    generalized_episodic_score,
)
from sklearn_fewshot.model_selection._interval import share_interval

TINY = {"max_epochs": 1, "episodes_per_epoch": 2, "random_state": 0}


def make_table(prefix, n_classes, n_per_class, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_classes, 1, 4)) + rng.normal(size=(n_classes, n_per_class, 4))
    return X.reshape(-1, 4), np.repeat([f"{prefix} {i}" for i in range(n_classes)], n_per_class)


X, y = make_table("new", 5, 12, seed=0)
X_all, y_all = make_table("old", 6, 18, seed=1)
held_out = np.arange(len(y_all)) % 3 == 0  # six of each class
X_base, y_base = X_all[held_out], y_all[held_out]
X_train, y_train = X_all[~held_out], y_all[~held_out]
learner = ProtoNetClassifier(**TINY).fit(X_train, y_train)
LEARNERS = {
    "proto": learner,
    "matching": MatchingNetClassifier(**TINY).fit(X_train, y_train),
    "pipeline": make_pipeline(StandardScaler(), ProtoNetClassifier(**TINY)).fit(X_train, y_train),
}
PARAMS = {"n_shot": 2, "n_query": 3, "n_episodes": 8, "random_state": 3}


def adapted(estimator, support):
    if not hasattr(estimator, "steps"):
        return estimator.adapt(X[support], y[support], include_base=True)
    scaler, inner = estimator[:-1], estimator[-1]
    return make_pipeline(
        scaler, inner.adapt(scaler.transform(X[support]), y[support], include_base=True)
    )


@pytest.mark.parametrize("n_way", ["all", 3, (2, 4)])
@pytest.mark.parametrize("name", LEARNERS)
def test_scores_equal_a_loop_over_adapt_with_the_base_classes(name, n_way):
    estimator = LEARNERS[name]
    params = PARAMS | {"n_way": n_way}
    # All six held-out samples of each base class are asked for: none are left to chance.
    found = generalized_episodic_score(estimator, X, y, X_base, y_base, n_base_query=9, **params)
    split = EpisodeSplit(8, n_way=n_way, n_shot=2, n_query=3, random_state=3)
    expected = []
    for support, query in split.split(X, y):
        both = adapted(estimator, support)
        true = np.concatenate([y[query], y_base])
        answers = both.predict(np.concatenate([X[query], X_base]))
        expected.append(generalized_accuracy(true, answers, learner.classes_))
    assert_allclose(np.column_stack([found.base, found.new, found.harmonic_mean]), expected)


def test_so_many_base_queries_of_each_class_are_drawn_anew(monkeypatch):
    asked = []

    def keep(true, predicted, base_classes):
        asked.append(np.unique(true[np.isin(true, base_classes)], return_counts=True))
        return generalized_accuracy(true, predicted, base_classes)

    monkeypatch.setattr(_generalized_score, "generalized_accuracy", keep)
    two = generalized_episodic_score(learner, X, y, X_base, y_base, n_base_query=2, **PARAMS)
    for classes, counts in asked:
        assert_array_equal(classes, learner.classes_)
        assert set(counts) == {2}
    assert len(set(two.base)) > 1
    again = generalized_episodic_score(learner, X, y, X_base, y_base, n_base_query=2, **PARAMS)
    assert_array_equal(two.base, again.base)


def test_what_was_adapted_already_starts_from_the_learner():
    ready = adapt(LEARNERS["pipeline"], X[:24], y[:24])
    args = X, y, X_base, y_base
    found = generalized_episodic_score(ready, *args, **PARAMS)
    expected = generalized_episodic_score(LEARNERS["pipeline"], *args, **PARAMS)
    assert_array_equal(found.new, expected.new)
    assert_array_equal(found.base, expected.base)


def test_groups_keep_support_and_new_queries_apart(monkeypatch):
    speaker, seen = np.arange(len(y)) % 4, []
    rows = _generalized_score.episode_rows

    def keep(plan):
        for support, query in rows(plan):
            seen.append((support, query))
            yield support, query

    monkeypatch.setattr(_generalized_score, "episode_rows", keep)
    generalized_episodic_score(learner, X, y, X_base, y_base, groups=speaker, **PARAMS)
    assert len(seen) == 8
    assert not any(set(speaker[support]) & set(speaker[query]) for support, query in seen)


def test_progress_counts_episodes(capsys):
    generalized_episodic_score(learner, X, y, X_base, y_base, verbose=True, **PARAMS)
    assert " 8/8 " in capsys.readouterr().err


# ------------------------------------------------------------------ the result


def test_the_interval_is_over_the_harmonic_means():
    rng = np.random.default_rng(0)
    result = GeneralizedResult(base=rng.random(20), new=rng.random(20))
    means = scipy.stats.hmean([result.base, result.new])
    assert_allclose(result.harmonic_mean, means)
    found = result.interval_over_episodes()
    assert found[:3] == pytest.approx(share_interval(means, "episodes")[:3])
    assert found.name.endswith("over 20 episodes")


def test_who_never_answers_with_a_new_class_has_no_harmonic_mean():
    result = GeneralizedResult(base=np.array([0.9, 0.0]), new=np.array([0.0, 0.0]))
    assert_array_equal(result.harmonic_mean, [0.0, 0.0])


def test_the_result_is_readable(monkeypatch):
    result = GeneralizedResult(base=np.array([0.9]), new=np.array([0.3]))
    assert str(result) == (
        "base 90.00 %, new 30.00 %, harmonic mean 45.00 % (1 episode, interval over episodes)"
    )
    pytest.importorskip("pandas")
    assert result.to_frame().columns.tolist() == ["base", "new", "harmonic_mean"]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"GeneralizedResult\.to_frame needs pandas"):
        result.to_frame()


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.repeat(["new 0", "old 1"], 30)}, r"'old 1' in y are base classes of the learn"),
        ({"y_base": np.repeat(["old 0", "new 1"], 18)}, r"'new 1' in y_base are not base classes"),
        ({"y_base": y_base[:-1]}, "X_base and y_base have inconsistent numbers of samples"),
        ({"n_base_query": 0}, r"'n_base_query' parameter .* int of at least 1\. Got 0"),
        ({"n_base_query": 2.5}, r"'n_base_query' parameter .*Got 2\.5"),
        ({"n_way": 9}, "'n_way' parameter of generalized_episodic_score"),
        ({"X_base": X_base[:, 1:]}, "features"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(change, message):
    data = {"X": X, "y": y, "X_base": X_base, "y_base": y_base}
    with pytest.raises(ValueError, match=message):
        generalized_episodic_score(learner, **data | PARAMS | change)


def test_what_is_no_fitted_learner_is_refused():
    args = X, y, X_base, y_base
    with pytest.raises(TypeError, match="generalized_episodic_score takes a fitted learner"):
        generalized_episodic_score(KNeighborsClassifier(), *args)
    with pytest.raises(NotFittedError):
        generalized_episodic_score(ProtoNetClassifier(), *args, **PARAMS)
