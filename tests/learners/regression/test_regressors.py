"""What holds for every few-shot regressor."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_fewshot
from sklearn_fewshot import (
    FewShotClassifier,
    FewShotPipeline,
    FewShotRegressor,
    NeuralProcessRegressor,
    ProtoNetClassifier,
    RidgeNetRegressor,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from sklearn_fewshot.base import BaseFewShotRegressor, with_common_parameters
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.model_selection import episodic_score
from tests.members.members import RidgeRegressor

BUDGET = {"n_shot": (1, 10), "n_query": 5, "meta_batch_size": 8, "episodes_per_epoch": 160}
BUDGET |= {"max_epochs": 2, "lr": 3e-3, "refit": False, "random_state": 0}
CHEAPER = {
    "MAMLRegressor": {"n_steps": 1, "episodes_per_epoch": 24},
    "ReptileRegressor": {"adapt_steps": 3, "episodes_per_epoch": 8},
}


@with_common_parameters(**BUDGET)
class MemberRegressor(BaseFewShotRegressor):
    """A module that predicts values only, and knows nothing of the base.

    Parameters
    ----------
    {common_parameters}

    Attributes
    ----------
    {common_attributes}
    """

    def __init__(self, **common):
        super().__init__(**common)

    def _module(self):
        return RidgeRegressor, {"n_hidden": 16}


EXPORTED = [getattr(sklearn_fewshot, name) for name in sklearn_fewshot.__all__]
REGRESSORS = [
    cls for cls in EXPORTED if isinstance(cls, type) and issubclass(cls, BaseFewShotRegressor)
]
REGRESSORS.append(MemberRegressor)
X, y, TASKS = make_sinusoids(n_tasks=40, n_samples=20, random_state=0)
X_NEW, y_new, _ = make_sinusoids(n_tasks=1, n_samples=40, random_state=1)
SUPPORT, QUERY = (X_NEW[:6], y_new[:6]), X_NEW[6:]


@pytest.fixture(scope="module")
def fitted():
    """Every regressor, fitted once. Shared: nobody may refit it."""
    budgets = {cls: BUDGET | CHEAPER.get(cls.__name__, {}) for cls in REGRESSORS}
    return {cls: cls(**budget).fit(X, y, tasks=TASKS) for cls, budget in budgets.items()}


@pytest.fixture(params=REGRESSORS, ids=lambda cls: cls.__name__)
def learner(request, fitted):
    return fitted[request.param]


def both(estimator, *args, **params):
    """Return values and standard deviations, one below the other."""
    return np.stack(estimator.predict(*args, return_std=True, **params))


# ------------------------------------------------------------------ laws


def test_the_order_of_the_support_changes_nothing(learner):
    order = np.random.default_rng(0).permutation(len(SUPPORT[0]))
    shuffled = learner.adapt(*(part[order] for part in SUPPORT))
    expected = both(learner.adapt(*SUPPORT), QUERY)
    np.testing.assert_allclose(both(shuffled, QUERY), expected, atol=1e-4)


def test_a_query_alone_is_a_query_among_others(learner):
    regressor = learner.adapt(*SUPPORT)
    alone = np.concatenate([both(regressor, row[None]) for row in QUERY], axis=1)
    np.testing.assert_allclose(alone, both(regressor, QUERY), atol=1e-6)


def test_learning_on_equals_learning_at_once(learner):
    regressor = FewShotRegressor(learner)
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        regressor.partial_fit(*(part[rows] for part in SUPPORT))
    np.testing.assert_array_equal(both(regressor, QUERY), both(learner.adapt(*SUPPORT), QUERY))
    assert regressor.n_support_ == 6


def test_a_support_set_given_to_predict_is_adapted_to(learner):
    params = dict(zip(("X_support", "y_support"), SUPPORT, strict=True))
    regressor = learner.adapt(*SUPPORT)
    np.testing.assert_array_equal(both(learner, QUERY, **params), both(regressor, QUERY))
    assert learner.score(QUERY, y_new[6:], **params) == regressor.score(QUERY, y_new[6:])


@pytest.mark.parametrize("cls", [RidgeNetRegressor, NeuralProcessRegressor, MemberRegressor])
def test_values_may_be_of_any_unit_and_have_any_origin(cls, fitted):
    """They are standardised by the base, and so is the support set: never by itself."""
    other = cls(**BUDGET).fit(X, 100.0 - 8.0 * y, tasks=TASKS)
    expected = both(fitted[cls].adapt(*SUPPORT), QUERY) * [[-8.0], [8.0]] + [[100.0], [0.0]]
    found = both(other.adapt(SUPPORT[0], 100.0 - 8.0 * SUPPORT[1]), QUERY)
    if cls is MemberRegressor:  # linear in the values: the sign changes nothing else
        np.testing.assert_allclose(found, expected, atol=0.02)
    shifted = cls(**BUDGET).fit(X, 16.0 + 4.0 * y, tasks=TASKS)
    expected = both(fitted[cls].adapt(*SUPPORT), QUERY) * 4.0 + [[16.0], [0.0]]
    found = both(shifted.adapt(SUPPORT[0], 16.0 + 4.0 * SUPPORT[1]), QUERY)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_it_learns_and_says_how_sure_it_is(learner):
    assert len(learner.history_) == 2
    assert "valid_loss" in learner.history_[0]
    assert learner.n_calibration_tasks_ == 8
    values, std = both(learner.adapt(*SUPPORT), QUERY)
    assert values.shape == std.shape == (34,)
    assert (std > 0).all()


def test_without_a_support_set_it_predicts_the_prior(learner):
    """One that no new task has changed, whatever it is."""
    prior = both(learner, QUERY)
    learner.adapt(*SUPPORT).predict(QUERY)
    np.testing.assert_array_equal(both(learner, QUERY), prior)
    assert np.isfinite(prior).all()


# ------------------------------------------------------------------ copies and files


def test_copies_predict_the_same(learner, tmp_path):
    regressor = learner.adapt(*SUPPORT)
    expected = both(regressor, QUERY)
    np.testing.assert_array_equal(both(pickle.loads(pickle.dumps(regressor)), QUERY), expected)
    loaded = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(both(loaded.adapt(*SUPPORT), QUERY), expected)
    np.testing.assert_array_equal(both(loaded, QUERY), both(learner, QUERY))
    cloned = clone(regressor)
    assert cloned.learner is learner
    np.testing.assert_array_equal(both(cloned.fit(*SUPPORT), QUERY), expected)


def test_files_predict_the_same(learner, tmp_path):
    path, own = tmp_path / "model.skops", type(learner).__module__.startswith("tests")
    trusted = ["tests.members.members.RidgeRegressor", f"{__name__}.MemberRegressor"] * own
    for estimator in (learner, learner.adapt(*SUPPORT), make_pipeline(learner)):
        save_model(estimator, path)
        if own:
            with pytest.raises(Exception, match="not trusted"):
                load_model(path)
        loaded = load_model(path, trusted=trusted)
        np.testing.assert_array_equal(both(loaded, QUERY), both(estimator, QUERY))


# ------------------------------------------------------------------ pipelines and searches


def test_tasks_are_routed_through_pipelines():
    with sklearn.config_context(enable_metadata_routing=True):
        learner = RidgeNetRegressor(**BUDGET).set_fit_request(tasks=True)
        pipe = make_pipeline(StandardScaler(), learner).fit(X, y, tasks=TASKS)
        assert len(pipe[-1].tasks_) == 40
    adapted = adapt(pipe, *SUPPORT)
    direct = pipe[-1].adapt(pipe[0].transform(SUPPORT[0]), SUPPORT[1])
    expected = direct.predict(pipe[0].transform(QUERY))
    np.testing.assert_array_equal(adapted.predict(QUERY), expected)
    whole = FewShotPipeline(pipe.steps)
    support = {"X_support": SUPPORT[0], "y_support": SUPPORT[1]}
    np.testing.assert_array_equal(whole.predict(QUERY, **support), expected)
    std = direct.predict(pipe[0].transform(QUERY), return_std=True)[1]
    np.testing.assert_array_equal(whole.predict(QUERY, return_std=True, **support)[1], std)
    more = whole.adapt(*(part[:3] for part in SUPPORT)).partial_fit(*(part[3:] for part in SUPPORT))
    np.testing.assert_allclose(more.predict(QUERY), expected)
    with pytest.raises(ValueError, match="cannot be passed through scikit-learn's own objects"):
        pipe.predict(QUERY, **support)


def test_a_fitted_search_is_adapted_like_its_best_estimator():
    search = GridSearchCV(RidgeNetRegressor(**BUDGET), {"penalty": [0.1, 1.0]}, cv=GroupKFold(2))
    with sklearn.config_context(enable_metadata_routing=True):
        search.estimator.set_fit_request(tasks=True)
        search.fit(X, y, tasks=TASKS, groups=TASKS)
    expected = search.best_estimator_.adapt(*SUPPORT).predict(QUERY)
    np.testing.assert_array_equal(adapt(search, *SUPPORT).predict(QUERY), expected)


def test_tasks_are_the_groups_of_an_outer_split():
    with sklearn.config_context(enable_metadata_routing=True):
        learner = RidgeNetRegressor(**BUDGET).set_fit_request(tasks=True)
        params = {"tasks": TASKS, "groups": TASKS}
        result = cross_validate(
            learner, X, y, cv=GroupKFold(2), params=params, return_estimator=True
        )
    seen = [set(it.tasks_) for it in result["estimator"]]
    assert seen[0] | seen[1] == set(TASKS)
    assert not seen[0] & seen[1]


def test_another_support_set_replaces_that_of_an_adapted_regressor(learner):
    regressor = learner.adapt(X[:3], y[:3])
    again = adapt(regressor, *SUPPORT)
    np.testing.assert_array_equal(again.predict(QUERY), learner.adapt(*SUPPORT).predict(QUERY))
    assert regressor.n_support_ == 3
    for estimator in (learner, regressor):
        with pytest.raises(TypeError, match="include_base=True takes a learner of classes"):
            adapt(estimator, *SUPPORT, include_base=True)


# ------------------------------------------------------------------ tasks


@pytest.mark.parametrize("names", [str, float, lambda task: f"task {task}"])
def test_tasks_have_labels_of_any_type(names):
    labels = np.array([names(task) for task in TASKS])
    params = BUDGET | {"max_epochs": 0}
    learner = RidgeNetRegressor(**params).fit(X, y, tasks=pd.Series(labels))
    np.testing.assert_array_equal(learner.tasks_, np.unique(labels))
    few = RidgeNetRegressor(validation_tasks=[names(3), names(5)], **params)
    assert few.fit(X, y, tasks=labels).n_calibration_tasks_ == 2


def test_rows_of_one_task_are_what_it_adapts_to():
    one = TASKS == 0
    with pytest.warns(UserWarning, match="has no validation tasks .1 tasks in all"):
        learner = RidgeNetRegressor(**BUDGET | {"max_epochs": 10}).fit(X[one], y[one])
    expected = learner.adapt(X[one], y[one]).predict(QUERY)
    np.testing.assert_allclose(learner.predict(QUERY), expected)
    assert learner.n_calibration_tasks_ == 0


def test_a_task_of_one_row_takes_no_part_and_is_counted():
    names = np.where(np.arange(len(TASKS)) == 0, -1, TASKS)
    params = BUDGET | {"validation_fraction": 0.0, "n_shot": 5, "max_epochs": 1}
    learner = RidgeNetRegressor(**params)
    with pytest.warns(UserWarning, match=r"^1 of the 41 training tasks .* with a single sample"):
        learner.fit(X, y, tasks=names)


def test_several_targets_are_predicted_at_once():
    Y = np.column_stack([y, 3.0 - y, 0.0 * y])
    learner = RidgeNetRegressor(**BUDGET).fit(X, Y, tasks=TASKS)
    regressor = learner.adapt(X[:5], Y[:5])
    values, std = regressor.predict(QUERY, return_std=True)
    assert values.shape == std.shape == (34, 3)
    assert learner.n_outputs_ == regressor.n_outputs_ == 3
    np.testing.assert_allclose(values[:, 2], 0.0, atol=0.5)
    column = RidgeNetRegressor(**BUDGET).fit(X, y[:, None], tasks=TASKS)
    assert column.predict(QUERY).shape == (34, 1)
    assert column.adapt(X[:5], y[:5]).predict(QUERY).shape == (34, 1)


def test_going_on_needs_as_many_targets():
    learner = RidgeNetRegressor(warm_start=True, **BUDGET).fit(X, y, tasks=TASKS)
    learner.fit(X, y, tasks=TASKS)
    with pytest.raises(ValueError, match=r"was fitted on 1 targets. Got 2"):
        learner.fit(X, np.column_stack([y, y]), tasks=TASKS)


def test_training_again_takes_all_tasks_and_keeps_the_calibration():
    learner = RidgeNetRegressor(**BUDGET | {"refit": "auto"}).fit(X, y, tasks=TASKS)
    once = RidgeNetRegressor(**BUDGET).fit(X, y, tasks=TASKS)
    calibrations = (it._network.calibration for it in (learner, once))
    for found, expected in zip(*calibrations, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(learner.predict(QUERY), once.predict(QUERY))


def test_an_interrupted_fit_resumes(tmp_path):
    class Stop(Exception):
        pass

    from skorch.callbacks import Callback

    class Interrupt(Callback):
        armed = True

        def on_epoch_end(self, net, **kwargs):
            if Interrupt.armed and len(net.history) == 2:
                raise Stop

    params = BUDGET | {"max_epochs": 3, "checkpoint": tmp_path, "callbacks": [Interrupt()]}
    learner = RidgeNetRegressor(**params)
    with pytest.raises(Stop):
        learner.fit(X, y, tasks=TASKS)
    Interrupt.armed = False
    learner.fit(X, y, tasks=TASKS)
    straight = RidgeNetRegressor(**params | {"checkpoint": None}).fit(X, y, tasks=TASKS)
    np.testing.assert_array_equal(learner.predict(QUERY), straight.predict(QUERY))


# ------------------------------------------------------------------ input


BAD = {
    "tasks must have one entry per sample: 800. Got 3": {"tasks": TASKS[:3]},
    "tasks lacks 20 entries": {"tasks": np.where(TASKS == 0, np.nan, TASKS)},
    "tasks lacks 20 .*position 0": {"tasks": np.where(TASKS == 0, np.nan, TASKS).astype(object)},
    "Input y contains NaN": {"y": np.where(TASKS == 0, np.nan, y)},
    "y of RidgeNetRegressor must hold numbers.*take a classifier": {"y": TASKS.astype(str) + "a"},
    "inconsistent numbers of samples: 800 and 3": {"y": y[:3]},
    "requires y to be passed": {"y": None},
    "needs a task of at least two samples": {"tasks": np.arange(len(TASKS))},
    "'validation_tasks' parameter .* labels of tasks. Got 99": {"validation_tasks": [99]},
    "must leave a task of at least two samples on each side": {"validation_tasks": np.arange(40)},
}


@pytest.mark.parametrize("match", BAD)
def test_bad_input_of_fit_is_explained(match):
    data = {"X": X, "y": y, "tasks": TASKS}
    params = {name: value for name, value in BAD[match].items() if name not in data}
    with pytest.raises(ValueError, match=match):
        RidgeNetRegressor(**BUDGET, **params).fit(
            **{name: BAD[match].get(name, value) for name, value in data.items()}
        )


def test_bad_support_sets_are_explained(learner):
    for support, match in (
        ((X[:0], y[:0]), "0 sample"),
        ((X[:2], y[:3]), "inconsistent numbers of samples: 2 and 3"),
        ((X[:2], np.zeros((2, 2))), "y must have 1 target, as in fit of the learner. Got 2"),
        ((X[:2], [np.nan, 1.0]), "contains NaN"),
        ((X[:2], ["a", "b"]), "must hold numbers"),
        ((X[:2], None), "without y_support"),
        ((np.zeros((2, 3)), y[:2]), "3 features"),
    ):
        with pytest.raises(ValueError, match=match):
            learner.adapt(*support)
    with pytest.raises(ValueError, match="got X_support without y_support"):
        learner.predict(QUERY, X_support=X[:2])


def test_an_unfitted_learner_says_so():
    for call in (
        lambda: RidgeNetRegressor().predict(X),
        lambda: RidgeNetRegressor().adapt(*SUPPORT),
        lambda: FewShotRegressor(RidgeNetRegressor()).fit(*SUPPORT),
        lambda: FewShotRegressor().predict(X),
    ):
        with pytest.raises(sklearn.exceptions.NotFittedError):
            call()


def test_classifiers_and_regressors_are_not_mixed_up(learner):
    sizes = {"n_shot": 1, "n_query": 1, "max_epochs": 0, "validation_fraction": 0.0}
    rows, labels = np.repeat(np.eye(2), 3, axis=0), np.repeat([0, 1], 3)
    classifier = ProtoNetClassifier(**sizes).fit(rows, labels)
    with pytest.raises(TypeError, match=r"must be a fitted regressor.*use FewShotClassifier"):
        FewShotRegressor(classifier).fit([[0.0, 1.0]], [1.0])
    with pytest.raises(TypeError, match=r"must be a fitted classifier.*use FewShotRegressor"):
        FewShotClassifier(learner).fit(X[:2], [0, 1])
    labels = np.arange(len(X)) % 2
    for estimator in (learner, learner.adapt(*SUPPORT), make_pipeline(StandardScaler(), learner)):
        with pytest.raises(TypeError, match=r"takes a learner or a classifier.*use task_score"):
            episodic_score(estimator, X, labels, n_way=2)


def test_images_and_series_are_regressed_too():
    rng = np.random.default_rng(0)
    for shape in ((2, 24), (1, 16, 16)):
        inputs = rng.normal(size=(48, *shape)).astype(np.float32)
        values, tasks = rng.normal(size=48), np.repeat(np.arange(4), 12)
        params = {"max_epochs": 1, "episodes_per_epoch": 4, "meta_batch_size": 2, "n_shot": 2}
        learner = RidgeNetRegressor(**params, random_state=0).fit(inputs, values, tasks=tasks)
        assert learner.adapt(inputs[:3], values[:3]).predict(inputs[:5]).shape == (5,)
        assert learner.transform(inputs[:2]).shape[0] == 2


def test_a_pipeline_of_the_package_scales_the_support_too():
    pipe = make_fewshot_pipeline(StandardScaler(), MemberRegressor())
    pipe.fit(1000.0 * X, y, memberregressor__tasks=TASKS)
    found = pipe.predict(1000.0 * QUERY, X_support=1000.0 * SUPPORT[0], y_support=SUPPORT[1])
    assert np.isfinite(found).all()


def test_a_constant_target_is_divided_by_one():
    Y = np.column_stack([y, np.full(len(y), 0.1)])
    learner = RidgeNetRegressor(**BUDGET | {"max_epochs": 0}).fit(X, Y, tasks=TASKS)
    np.testing.assert_array_equal(learner.y_scale_, Y.std(axis=0) * [1, 0] + [0, 1])
