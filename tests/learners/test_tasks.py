"""Learners whose classes belong to tasks: ``fit(X, y, tasks=...)``."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier, SiameseNetClassifier
from sklearn_fewshot.learners.metric import _siamesenet
from sklearn_fewshot.model_selection import EpisodicScorer, episodic_score
from sklearn_fewshot.training import _meta_train


def make_assays(n_tasks=12, n_labels=3, n_rows=8, *, spread=3.0, noise=1.0, seed=0):
    """Samples, labels that all tasks have, and tasks.

    Eight features say which task a sample is of and nothing of its label; three say the label. A
    rotation mixes them.
    """
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_labels * n_rows)
    y = np.tile(np.repeat(np.arange(n_labels), n_rows), n_tasks)
    where = rng.normal(scale=spread, size=(n_tasks, 8))[task]
    what = rng.normal(scale=1.5, size=(n_tasks * n_labels, 3))[task * n_labels + y]
    where, what = (
        part + rng.normal(scale=scale, size=part.shape)
        for part, scale in ((where, noise), (what, 0.7))
    )
    rotation = np.linalg.qr(np.random.default_rng(99).normal(size=(11, 11)))[0]
    X = np.hstack([where, what]) @ rotation
    return X, y, np.array([f"assay {number:02}" for number in task])


@pytest.fixture(scope="module")
def assays():
    return make_assays()


@pytest.fixture
def trainings(monkeypatch):
    """What networks were trained on, in order."""
    seen = []

    def spy(module, criterion, task, **params):
        seen.append(task)
        return train(module, criterion, task, **params)

    train = _meta_train.train
    monkeypatch.setattr(_meta_train, "train", spy)
    return seen


def episodes_of(plan):
    for support, query in zip(plan.support, plan.query, strict=True):
        rows = np.concatenate([support.ravel(), query.ravel()])
        yield rows[rows >= 0]


def training_plan(training):
    return training.train.sampler.plan(100, np.random.default_rng(0))


def test_training_and_validation_episodes_are_of_one_task(make_learner, assays, trainings):
    X, y, tasks = assays
    learner = make_learner(n_way=3).fit(X, y, tasks=tasks)
    (training,) = trainings
    held_out = training.valid.rows
    validation = training.valid.plan
    for rows in episodes_of(training_plan(training)):
        assert len(set(tasks[rows])) == 1
        assert len(set(y[rows])) == 3
        assert not set(tasks[rows]) & set(tasks[held_out])
    assert all(len(set(tasks[held_out][rows])) == 1 for rows in episodes_of(validation))
    np.testing.assert_array_equal(learner.classes_, [0, 1, 2])
    assert learner.n_way_ == 3


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_whole_tasks_are_held_out(make_learner, assays, trainings, fraction):
    X, y, tasks = assays
    for seed in range(3):
        learner = make_learner(max_epochs=0, validation_fraction=fraction, random_state=seed)
        learner.fit(X, y, tasks=tasks)
    for training in trainings:
        trained = np.concatenate(list(episodes_of(training_plan(training))))
        held_out = set(tasks[training.valid.rows])
        assert held_out
        assert not held_out & set(tasks[trained])
        assert held_out | set(tasks[trained]) == set(tasks)


def test_a_class_that_is_too_small_is_held_out_with_its_task(make_learner, assays, monkeypatch):
    X, y, tasks = assays
    kept = np.ones(len(y), dtype=bool)
    for task in np.unique(tasks):  # one sample of label 2 in every task
        kept[np.flatnonzero((tasks == task) & (y == 2))[1:]] = False
    seen, train = [], _meta_train.meta_train
    monkeypatch.setattr(
        "sklearn_fewshot.learners._base.meta_train",
        lambda config, data, *args, **kw: seen.append(data) or train(config, data, *args, **kw),
    )
    with pytest.warns(UserWarning, match="too few examples"):
        make_learner(max_epochs=0).fit(X[kept], y[kept], tasks=tasks[kept])
    (data,) = seen
    side = data.validation[data.codes]
    assert side.any()
    assert not set(tasks[kept][side]) & set(tasks[kept][~side])


def test_with_class_groups_neither_tasks_nor_groups_are_divided(make_learner, assays, trainings):
    X, y, tasks = assays
    lab = np.array([int(name[-2:]) // 2 for name in tasks])  # of two assays each
    make_learner(max_epochs=0).fit(X, y, tasks=tasks, class_groups=lab)
    (training,) = trainings
    trained = np.concatenate(list(episodes_of(training_plan(training))))
    for unit in (tasks, lab):
        assert not set(unit[training.valid.rows]) & set(unit[trained])


def test_other_names_of_the_tasks_change_nothing(make_any, assays):
    X, y, tasks = assays
    numbers = -np.unique(tasks, return_inverse=True)[1]  # in the reverse order
    first, second = (make_any().fit(X, y, tasks=named) for named in (tasks, numbers))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_base_classes_are_the_labels_of_all_tasks_together(make_any, assays):
    X, y, tasks = assays
    learner = make_any().fit(X, y, tasks=tasks)
    np.testing.assert_array_equal(learner.classes_, [0, 1, 2])
    assert learner.predict_proba(X[:5]).shape == (5, 3)
    adapted = learner.adapt(X[:24], y[:24])
    np.testing.assert_array_equal(adapted.classes_, [0, 1, 2])


def test_base_classes_are_represented_by_the_means_over_tasks(make_learner, assays):
    X, y, tasks = assays
    learner = make_learner(max_epochs=0).fit(X, y, tasks=tasks)
    by_hand = learner.adapt(X, y)
    np.testing.assert_allclose(learner.predict_proba(X), by_hand.predict_proba(X), atol=1e-6)


def test_one_task_is_as_none(make_learner, table):
    plain = make_learner().fit(table.X, table.y)
    one = make_learner().fit(table.X, table.y, tasks=np.zeros(len(table.y)))
    np.testing.assert_array_equal(plain.predict_proba(table.X), one.predict_proba(table.X))


def test_the_way_is_clamped_to_the_task(make_learner, assays):
    X, y, tasks = assays
    assert make_learner(n_way=60).fit(X, y, tasks=tasks).n_way_ == 3
    assert make_learner(n_way=(2, 60)).fit(X, y, tasks=tasks).n_way_ == (2, 3)


def test_groups_are_kept_apart_within_a_task(make_learner, assays, trainings):
    X, y, tasks = assays
    groups = np.random.default_rng(0).integers(5, size=len(y))
    make_learner().fit(X, y, tasks=tasks, groups=groups)
    plan = training_plan(trainings[0])
    for support, query in zip(plan.support, plan.query, strict=True):
        assert not set(groups[support[support >= 0]]) & set(groups[query[query >= 0]])


def test_warm_start_goes_on_with_tasks(make_learner, assays):
    X, y, tasks = assays
    learner = make_learner(warm_start=True, validation_fraction=0).fit(X, y, tasks=tasks)
    before = learner.transform(X)
    assert not np.array_equal(learner.fit(X, y, tasks=tasks).transform(X), before)


def test_the_threshold_of_siamese_networks_is_of_pairs_within_a_task(assays, monkeypatch):
    X, y, tasks = assays
    n_pairs = []
    monkeypatch.setattr(_siamesenet, "warn_of_few_pairs", lambda n, rate: n_pairs.append(n))
    learner = SiameseNetClassifier(
        n_way=3, n_query=3, episodes_per_epoch=2, max_epochs=0, refit=False, random_state=0
    ).fit(X, y, tasks=tasks)
    n_held_out = learner.n_calibration_classes_ // 3
    assert n_pairs == [n_held_out * 3 * 8 * 8]  # three pairs of classes, of eight samples each


# ------------------------------------------------------------------ what is refused and warned of


def test_a_task_with_one_class_takes_no_part(make_learner, assays, trainings):
    X, y, tasks = assays
    odd = (tasks == "assay 00") | (tasks == "assay 05")
    kept = ~odd | (y == 1)
    with pytest.warns(UserWarning, match="2 of the 12 tasks of ProtoNetClassifier have fewer"):
        make_learner().fit(X[kept], y[kept], tasks=tasks[kept])
    trained = np.concatenate(list(episodes_of(training_plan(trainings[0]))))
    used = set(tasks[kept][trained]) | set(tasks[kept][trainings[0].valid.rows])
    assert used == set(tasks) - {"assay 00", "assay 05"}


def test_tasks_of_one_class_each_are_refused(make_learner, table):
    with pytest.raises(ValueError, match=r"a task with two classes .* Got 8 tasks .* has 1 class"):
        make_learner().fit(table.X, table.y, tasks=table.y)


def test_too_few_tasks_to_hold_one_out_is_said(make_learner, assays):
    X, y, tasks = assays
    two = np.isin(tasks, ["assay 00", "assay 01"])
    make_learner().fit(X[two], y[two], tasks=tasks[two])
    odd = two & ((tasks == "assay 00") | (y == 0))
    with (
        pytest.warns(UserWarning, match="no validation classes .* Add tasks with two classes"),
        pytest.warns(UserWarning, match="1 of the 2 tasks"),
    ):
        make_learner().fit(X[odd], y[odd], tasks=tasks[odd])


def test_validation_classes_are_labels(make_learner, assays, trainings):
    X, y, tasks = assays
    own = np.char.add(tasks, y.astype(str))
    wanted = np.unique(own[tasks == "assay 03"])
    make_learner(validation_classes=wanted).fit(X, own, tasks=tasks)
    assert set(tasks[trainings[0].valid.rows]) == {"assay 03"}
    with pytest.raises(ValueError, match="no task with two classes to train on"):
        make_learner(validation_classes=[0, 1]).fit(X, y, tasks=tasks)


@pytest.mark.parametrize("tasks", [[1, 2], None])
def test_tasks_that_do_not_fit_leave_the_learner_as_it_was(make_learner, assays, tasks):
    X, y, _ = assays
    learner = make_learner()
    given = np.r_[[np.nan], np.ones(len(y) - 1)] if tasks is None else tasks
    with pytest.raises(ValueError, match="tasks"):
        learner.fit(X, y, tasks=given)
    assert not hasattr(learner, "classes_")


# ------------------------------------------------------------------ scikit-learn's own tools


def test_tasks_reach_fit_and_scorer_by_routing(make_learner, assays):
    X, y, tasks = assays
    with sklearn.config_context(enable_metadata_routing=True):
        learner = make_learner().set_fit_request(tasks=True)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), learner),
            {"protonetclassifier__n_shot": [1, 2]},
            cv=GroupKFold(2).set_split_request(groups="tasks"),
            scoring=EpisodicScorer(n_way=3, n_query=2, n_episodes=20).set_score_request(tasks=True),
            error_score="raise",
        )
        clone(search).fit(X, y, tasks=tasks)
        with pytest.raises(ValueError, match="not requested"):
            clone(search).set_params(scoring=EpisodicScorer(n_way=3, n_query=2, n_episodes=20)).fit(
                X, y, tasks=tasks
            )


def test_pipelines_pass_tasks_by_name(make_learner, assays):
    X, y, tasks = assays
    pipe = make_pipeline(StandardScaler(), make_learner())
    pipe.fit(X, y, protonetclassifier__tasks=tasks)
    expected = make_learner().fit(StandardScaler().fit_transform(X), y, tasks=tasks)
    np.testing.assert_array_equal(
        pipe.predict_proba(X), expected.predict_proba(StandardScaler().fit_transform(X))
    )


# ------------------------------------------------------------------ what it is for


def test_episodes_of_one_task_are_harder_and_training_on_them_helps_there():
    X, y, tasks = make_assays(80, n_rows=12, spread=12.0, noise=2.0)
    own = np.char.add(tasks, y.astype(str))
    new = tasks >= "assay 60"
    setting = {"n_way": 3, "n_query": 5, "n_episodes": 300}
    params = {"n_way": 5, "meta_batch_size": 16, "episodes_per_epoch": 800, "lr": 3e-3}
    learner = ProtoNetClassifier(
        backbone="mlp", max_epochs=2, refit=False, calibrate=False, random_state=0, **params
    )
    pooled = clone(learner).fit(X[~new], own[~new])
    within = clone(learner).fit(X[~new], own[~new], tasks=tasks[~new])
    plain = episodic_score(pooled, X[new], own[new], **setting).mean
    of_pooled, of_within = (
        episodic_score(one, X[new], own[new], tasks=tasks[new], **setting).mean
        for one in (pooled, within)
    )
    assert plain > of_pooled + 0.15
    assert of_within > of_pooled + 0.03
