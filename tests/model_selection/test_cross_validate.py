"""Laws of cross-validation over classes and seeds."""

import numpy as np
import pytest
import scipy.stats
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import (
    ClassKFold,
    ClassShuffleSplit,
    EpisodicCrossValidation,
    EpisodicResult,
    EpisodicScorer,
    episodic_cross_validate,
    episodic_score,
)

RNG = np.random.default_rng(0)
MEANS = RNG.normal(size=(12, 1, 4))
X = (MEANS + RNG.normal(size=(12, 10, 4))).reshape(-1, 4)
y = np.repeat([f"c{i:02}" for i in range(12)], 10)
FAMILY = np.repeat(list("abcdef"), 20)
SPEAKER = np.tile(np.arange(5), 24)
CV = ClassKFold(3)
EPISODES = {"n_way": 3, "n_query": 3, "n_episodes": 10}


class Recorder(ProtoNetClassifier):
    """A learner that keeps what its ``fit`` was given."""

    def fit(self, X, y, groups=None, class_groups=None):
        super().fit(X, y, groups=groups, class_groups=class_groups)
        self.given_ = {"groups": groups, "class_groups": class_groups}
        return self


def tiny(cls=ProtoNetClassifier, **params):
    sizes = {"n_shot": 1, "n_query": 2, "n_way": 3, "validation_fraction": 0.0}
    return cls(**{"max_epochs": 1, "episodes_per_epoch": 2} | sizes | params)


def run(estimator=None, **params):
    estimator = tiny() if estimator is None else estimator
    return episodic_cross_validate(estimator, X, y, **{"cv": CV} | EPISODES | params)


def test_equal_seeds_give_equal_numbers_and_others_do_not():
    estimator = tiny(backbone="mlp")  # of random weights
    first, again, other = (run(estimator, random_state=seed, n_seeds=2) for seed in (0, 0, 1))
    assert_array_equal(first.scores, again.scores)
    assert first.scores.shape == (3, 2)
    assert (first.scores != other.scores).any()
    assert (first.scores[:, 0] != first.scores[:, 1]).any()


def test_trainings_have_seeds_of_their_own_and_one_more_changes_none():
    found = run(make_pipeline(StandardScaler(), tiny()), n_seeds=3, return_estimator=True)
    seeds = np.array([[fitted[-1].random_state for fitted in row] for row in found.estimators])
    assert len(set(seeds[0])) == 3
    assert (seeds == seeds[0]).all()
    estimator = tiny(backbone="mlp")
    two, three = (run(estimator, n_seeds=n_seeds).scores for n_seeds in (2, 3))
    assert_array_equal(two, three[:, :2])


def test_each_score_is_that_of_a_clone_fitted_on_the_other_classes():
    estimator = make_pipeline(StandardScaler(), tiny())
    found = run(estimator, return_estimator=True)
    for (train, test), (fitted,), (result,), classes in zip(
        CV.split(X, y), found.estimators, found.results, found.test_classes, strict=True
    ):
        assert_array_equal(classes, np.unique(y[test]))
        assert_array_equal(fitted.classes_, np.setdiff1d(y, classes))
        by_hand = clone(estimator).set_params(
            protonetclassifier__random_state=fitted[-1].random_state
        )
        by_hand.fit(X[train], y[train])
        expected = episodic_score(by_hand, X[test], y[test], **EPISODES)
        assert_array_equal(result.scores, expected.scores)
    assert not hasattr(estimator[-1], "classes_")
    assert estimator[-1].random_state is None
    assert run(estimator).estimators is None


def test_ten_random_splits_that_share_no_class_are_the_default():
    found = run(KNeighborsClassifier(1), cv=None, n_way="all", random_state=5)
    expected = ClassShuffleSplit(10, random_state=5).split(X, y)
    assert [labels.tolist() for labels in found.test_classes] == [
        np.unique(y[test]).tolist() for _, test in expected
    ]


def test_classes_of_a_group_stay_together():
    found = run(tiny(Recorder), class_groups=FAMILY, return_estimator=True)
    for (fitted,), classes in zip(found.estimators, found.test_classes, strict=True):
        families = set(FAMILY[np.isin(y, classes)])
        assert len(families) == 2
        assert not families & set(fitted.given_["class_groups"])


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("shape", ["learner", "pipeline", "nested pipeline"])
def test_both_kinds_of_groups_reach_fit(shape, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        learner = tiny(Recorder)
        if routing:
            learner.set_fit_request(groups=True, class_groups=True)
        estimator = {
            "learner": learner,
            "pipeline": make_pipeline(StandardScaler(), learner),
            "nested pipeline": make_pipeline(make_pipeline(StandardScaler(), learner)),
        }[shape]
        found = run(
            estimator, groups=SPEAKER, class_groups=FAMILY, return_estimator=True, n_query=2
        )
    for (train, test), (fitted,), (result,) in zip(
        CV.split(X, y, FAMILY), found.estimators, found.results, strict=True
    ):
        while hasattr(fitted, "steps"):
            fitted = fitted[-1]
        assert_array_equal(fitted.given_["groups"], SPEAKER[train])
        assert_array_equal(fitted.given_["class_groups"], FAMILY[train])
        speaker = SPEAKER[test]
        for support, query in zip(*result.answers.plan[:2], strict=True):
            assert not set(speaker[support].ravel()) & set(speaker[query].ravel())


def test_groups_reach_a_pipeline_in_a_search():
    scorer = EpisodicScorer(n_way=2, n_query=2, n_episodes=3)
    pipe = make_pipeline(StandardScaler(), tiny(Recorder))
    search = GridSearchCV(pipe, {}, cv=ClassKFold(2), scoring=scorer, error_score="raise")
    found = run(search, groups=SPEAKER, class_groups=FAMILY, return_estimator=True, n_query=2)
    (train, _), *_ = CV.split(X, y, FAMILY)
    given = found.estimators[0][0].best_estimator_[-1].given_
    assert_array_equal(given["groups"], SPEAKER[train])
    assert_array_equal(given["class_groups"], FAMILY[train])


def test_a_dict_meets_the_same_episodes():
    estimators = {"learner": tiny(), "neighbour": KNeighborsClassifier(1)}
    found = run(estimators, n_seeds=2)
    assert list(found) == list(estimators)
    for name, estimator in estimators.items():
        assert_array_equal(found[name].scores, run(estimator, n_seeds=2).scores)
    for one, other in zip(*(part.results for part in found.values()), strict=True):
        assert_array_equal(one[0].answers.plan.query, other[0].answers.plan.query)
        assert_array_equal(one[0].answers.plan.query, one[1].answers.plan.query)
    # A classifier without training does not depend on the seed of the training.
    assert_array_equal(*found["neighbour"].scores.T)
    difference = found["learner"].difference(found["neighbour"])
    values = found["learner"].scores.mean(axis=1) - found["neighbour"].scores.mean(axis=1)
    n_test, n_train = len(found["learner"].test_classes[0]), found["learner"].n_train_classes[0]
    error = values.std(ddof=1) * np.sqrt(1 / 3 + n_test / n_train)
    expected = scipy.stats.t.interval(0.95, 2, values.mean(), error)
    assert_allclose(difference[1:3], expected)
    assert difference.name == "95 % corrected t-interval over 3 class splits, paired"


def test_only_scores_of_one_kind_are_subtracted():
    accuracy, loss = (
        run(KNeighborsClassifier(2), scoring=it) for it in ("accuracy", "neg_log_loss")
    )
    with pytest.raises(ValueError, match=r"scores of one kind.*accuracy.*neg_log_loss"):
        accuracy.difference(loss)


def test_the_line_names_all_ways():
    family = np.minimum(np.unique(y, return_inverse=True)[1] // 4, 1)
    found = run(KNeighborsClassifier(1), class_groups=family, cv=ClassKFold(2), n_way="all")
    ways = sorted(results[0].n_way for results in found.results)
    assert ways[0] < ways[1]
    assert f"({ways[0]} to {ways[1]}-way" in str(found)


def test_processes_change_nothing():
    estimators = {"learner": tiny(), "neighbour": KNeighborsClassifier(1)}
    alone, together = (run(estimators, n_jobs=n_jobs) for n_jobs in (None, 2))
    for name in estimators:
        assert_array_equal(alone[name].scores, together[name].scores)


def test_progress_counts_trainings(capsys):
    quiet = run(KNeighborsClassifier(1), n_seeds=2)
    assert capsys.readouterr() == ("", "")
    told = run(KNeighborsClassifier(1), n_seeds=2, verbose=True)
    assert " 6/6 " in capsys.readouterr().err
    assert_array_equal(told.scores, quiet.scores)


# ------------------------------------------------------------------ the result


def validation_of(means, test_classes=None):
    results = [
        [EpisodicResult(np.array([mean, mean]), 5, 1, 15, "accuracy") for mean in row]
        for row in means
    ]
    n_splits = len(means)
    return EpisodicCrossValidation(
        results, test_classes or [np.arange(3)] * n_splits, [12] * n_splits
    )


MEANS_OF = np.array([[0.9, 0.7], [0.8, 0.6], [0.5, 0.7]])


@pytest.mark.parametrize(("unit", "axis"), [("splits", 1), ("seeds", 0)])
def test_intervals_are_over_the_means_of_splits_or_seeds(unit, axis):
    found = validation_of(MEANS_OF).interval_over(unit)
    values = MEANS_OF.mean(axis=axis)
    error = scipy.stats.sem(values)
    if unit == "splits":  # variance of the mean: 1/3 + 3/12 of that of a split, not 1/3
        error *= np.sqrt((1 / 3 + 3 / 12) / (1 / 3))
    expected = scipy.stats.t.interval(0.95, len(values) - 1, values.mean(), error)
    assert_allclose(found[1:3], expected)
    assert found.mean == pytest.approx(MEANS_OF.mean())
    name = "class splits" if unit == "splits" else "seeds"
    kind = "corrected t-interval" if unit == "splits" else "t-interval"
    assert found.name == f"95 % {kind} over {len(values)} {name}"
    bootstrap = validation_of(MEANS_OF).interval_over(unit, method="bootstrap")
    assert values.min() - 1e-9 < bootstrap.low < bootstrap.high < values.max() + 1e-9
    assert "bootstrap" in bootstrap.name


def test_a_single_split_or_seed_has_no_interval():
    single = validation_of([[0.9]])
    for method in ("t", "bootstrap"):
        for unit in ("splits", "seeds"):
            assert np.isnan(single.interval_over(unit, method=method).half_width)
    assert "90.00 % (5-way" in str(single)


@pytest.mark.parametrize(("unit", "method"), [("episodes", "t"), ("splits", "bca")])
def test_other_intervals_are_refused(unit, method):
    with pytest.raises(ValueError, match=f"Got '{unit}' and '{method}'"):
        validation_of(MEANS_OF).interval_over(unit, method=method)


def test_differences_need_the_same_splits():
    one = validation_of(MEANS_OF)
    assert one.difference(validation_of(MEANS_OF - 0.1)).mean == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"Got \(3, 2\) and \(2, 2\) splits and seeds"):
        one.difference(validation_of(MEANS_OF[:2]))
    with pytest.raises(ValueError, match="and other test classes"):
        one.difference(validation_of(MEANS_OF, [np.arange(4)] * 3))


def test_cross_validations_become_data_frames():
    pytest.importorskip("pandas")
    frame = validation_of(MEANS_OF).to_frame()
    assert frame.index.names == ["split", "seed"]
    assert_allclose(frame["mean"].unstack(), MEANS_OF)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_seeds": 0}, ValueError, r"'n_seeds' parameter of episodic_cross_validate .*Got 0"),
        ({"random_state": None}, ValueError, r"'random_state' parameter of .*Got None"),
        ({"random_state": -1}, ValueError, r"'random_state' .* int of at least 0\. Got -1"),
        ({"cv": 5}, TypeError, r"takes a splitter as cv, such as ClassKFold\(5\)\. Got 5"),
        ({"scoring": "acuracy"}, ValueError, "'scoring' parameter of episodic_cross_validate"),
        ({"n_way": 9}, ValueError, "'n_way' parameter of"),
        ({"class_groups": SPEAKER}, ValueError, "Class 'c00' is in the groups 0, 1"),
        ({"groups": [0]}, ValueError, "inconsistent numbers of samples"),
        ({"estimator": {}}, TypeError, "an estimator, or a dict of at least one"),
        ({"estimator": BaseEstimator()}, TypeError, "takes a learner or a classifier"),
    ],
)
def test_what_cannot_be_validated_is_refused(params, error, message):
    with pytest.raises(error, match=message):
        run(**params)
