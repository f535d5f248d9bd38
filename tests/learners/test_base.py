"""Meta-training and prediction, as every learner inherits them."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sklearn_fewshot.training import _meta_train

PREDICTIONS = ("predict", "predict_proba", "decision_function", "score_samples", "transform")


def states(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture
def tasks(monkeypatch):
    """What networks were trained on, in order: each an EpisodicTask and a number of epochs."""
    seen = []

    def spy(module, criterion, task, **params):
        seen.append((task, params["max_epochs"]))
        return train(module, criterion, task, **params)

    train = _meta_train.train
    monkeypatch.setattr(_meta_train, "train", spy)
    return seen


def training_plan(task, n_episodes=200):
    return task.train.sampler.plan(n_episodes, np.random.default_rng(0))


def training_rows(task):
    plan = training_plan(task)
    rows = np.unique(np.concatenate([plan.support.ravel(), plan.query.ravel()]))
    return rows[rows >= 0]


# ------------------------------------------------------------------ randomness


def test_equal_seeds_give_equal_learners(make_learner, table):
    first, second, other = (
        make_learner(backbone="mlp", random_state=seed).fit(table.X, table.y) for seed in (0, 0, 1)
    )
    assert equal_states(states(first.module_), states(second.module_))
    for method in PREDICTIONS:
        np.testing.assert_array_equal(
            getattr(first, method)(table.X), getattr(second, method)(table.X)
        )
    assert not np.array_equal(first.transform(table.X), other.transform(table.X))


def test_a_random_state_instance_is_drawn_from(make_learner, table):
    state = np.random.RandomState(0)
    first, second = (
        make_learner(backbone="mlp", random_state=state).fit(table.X, table.y) for _ in range(2)
    )
    assert not np.array_equal(first.transform(table.X), second.transform(table.X))


def test_global_random_states_are_left_as_found(make_learner, pictures):
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    learner = make_learner(max_epochs=1, refit=True).fit(pictures.X, pictures.y)
    learner.adapt(pictures.X_new, pictures.y_new).predict(pictures.X_new)
    for before, after in zip(numpy_state, np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(before, after)
    assert torch.equal(torch_state, torch.get_rng_state())


def test_the_global_random_state_has_no_influence(make_learner, table):
    learners = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learners.append(make_learner(backbone="mlp").fit(table.X, table.y))
    assert equal_states(*(states(learner.module_) for learner in learners))


# ------------------------------------------------------------------ prediction


@pytest.mark.parametrize("kind", ["table", "pictures", "series"])
def test_a_small_training_recognises_new_classes(make_learner, kind, request):
    data = request.getfixturevalue(kind)
    learner = make_learner(max_epochs=1).fit(data.X, data.y)
    first = [np.flatnonzero(data.y_new == label)[0] for label in np.unique(data.y_new)]
    rest = np.setdiff1d(np.arange(len(data.y_new)), first)
    classifier = learner.adapt(data.X_new[first], data.y_new[first])
    chance = 1 / len(first)
    assert classifier.score(data.X_new[rest], data.y_new[rest]) > chance + 0.4
    assert learner.score(data.X, data.y) > 0.6  # the base classes, at once


def test_predicting_changes_nothing(picture_learner, pictures):
    learner, before = picture_learner, states(picture_learner.module_)
    attributes = dict(vars(learner))
    assert any("running_mean" in name for name in before)
    for method in PREDICTIONS:
        first = getattr(learner, method)(pictures.X)
        np.testing.assert_array_equal(getattr(learner, method)(pictures.X), first)
    learner.adapt(pictures.X_new, pictures.y_new).predict(pictures.X_new)
    learner.predict(pictures.X, X_support=pictures.X_new, y_support=pictures.y_new)
    assert equal_states(before, states(learner.module_))
    assert not learner.module_.training
    assert not any(parameter.requires_grad for parameter in learner.module_.parameters())
    assert all(vars(learner)[name] is value for name, value in attributes.items())


def test_batch_norm_predicts_with_running_statistics(picture_learner, pictures):
    module = picture_learner.module_
    with torch.no_grad():
        inputs = torch.tensor(pictures.X[:5]) * picture_learner.input_scale_
        expected = module.backbone(inputs).numpy()
    embedding = picture_learner.transform(pictures.X[:5])
    np.testing.assert_allclose(embedding, expected, atol=1e-5 * np.abs(expected).max())
    norm = next(m for m in module.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked > 0


@pytest.mark.parametrize("method", ["predict_proba", "decision_function", "score_samples"])
def test_a_query_does_not_depend_on_the_others(learner, table, method):
    classifier = learner.adapt(table.X_new[:20], table.y_new[:20])
    together = getattr(classifier, method)(table.X)
    for rows in ([7], [7, 8, 9], range(79, -1, -1)):
        apart = getattr(classifier, method)(table.X[list(rows)])
        np.testing.assert_allclose(apart, together[list(rows)], rtol=1e-7, atol=1e-7)


def test_a_picture_hardly_depends_on_how_many_come_with_it(picture_learner, pictures):
    together = picture_learner.decision_function(pictures.X)
    tolerance = 1e-5 * np.abs(together).max()
    for rows in ([7], [7, 8, 9], range(20)):
        apart = picture_learner.decision_function(pictures.X[list(rows)])
        np.testing.assert_allclose(apart, together[list(rows)], rtol=0, atol=tolerance)


def test_probabilities_and_predictions_follow_the_scores(learner, table):
    scores = learner.decision_function(table.X)
    proba = learner.predict_proba(table.X)
    inverse_temperature = learner._network.calibration.inverse_temperature(
        np.unique(table.y, return_counts=True)[1]
    )
    expected = np.exp(inverse_temperature * (scores - scores.max(axis=1, keepdims=True)))
    np.testing.assert_allclose(proba, expected / expected.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(learner.predict(table.X), learner.classes_[scores.argmax(axis=1)])
    np.testing.assert_array_equal(learner.score_samples(table.X), scores.max(axis=1))


def test_one_call_equals_adapting_first(learner, table):
    support = {"X_support": table.X_new[:20], "y_support": table.y_new[:20]}
    classifier = learner.adapt(*support.values())
    for method in ("predict", "predict_proba", "decision_function", "score_samples"):
        np.testing.assert_array_equal(
            getattr(learner, method)(table.X, **support), getattr(classifier, method)(table.X)
        )
    queries, labels = table.X_new[20:], table.y_new[20:]
    weights = np.arange(len(labels))
    assert learner.score(queries, labels, weights, **support) == classifier.score(
        queries, labels, weights
    )


def test_base_classes_stay_beside_the_new_ones(learner, table):
    classifier = learner.adapt(table.X_new[:20], table.y_new[:20], include_base=True)
    is_base = np.isin(classifier.classes_, learner.classes_)
    assert set(classifier.classes_[~is_base]) == set(table.y_new[:20])
    scores = classifier.decision_function(table.X)
    np.testing.assert_allclose(scores[:, is_base], learner.decision_function(table.X), rtol=1e-12)
    only_new = learner.adapt(table.X_new[:20], table.y_new[:20])
    np.testing.assert_allclose(scores[:, ~is_base], only_new.decision_function(table.X), rtol=1e-12)


def test_examples_of_a_base_class_add_to_it(make_learner, table):
    learner = make_learner(max_epochs=0).fit(table.X, table.y)
    extra = learner.adapt(table.X_new[:3], table.y[[0, 0, 0]], include_base=True)
    y = np.append(table.y, table.y[[0, 0, 0]])
    expected = learner.adapt(np.concatenate([table.X, table.X_new[:3]]), y)
    np.testing.assert_array_equal(extra.classes_, learner.classes_)
    np.testing.assert_allclose(
        extra.decision_function(table.X), expected.decision_function(table.X), rtol=1e-9
    )


def test_adapting_leaves_the_learner_alone(learner, table):
    predicted = learner.predict_proba(table.X)
    learner.adapt(table.X_new, table.y_new, include_base=True)
    assert not np.isin(table.y_new, learner.classes_).any()
    np.testing.assert_array_equal(learner.predict_proba(table.X), predicted)


# ------------------------------------------------------------------ the embedding


def test_transform_returns_named_float32_vectors(learner, picture_learner, table, pictures):
    for fitted, X in ((learner, table.X), (picture_learner, pictures.X)):
        embedding = fitted.transform(X)
        assert embedding.dtype == np.float32
        assert embedding.shape == (len(X), len(fitted.get_feature_names_out()))
        assert fitted.get_feature_names_out()[1] == "protonetclassifier1"


def test_transform_fills_data_frames(learner, table):
    frame = clone(learner).set_output(transform="pandas").fit_transform(table.X, table.y)
    np.testing.assert_array_equal(frame.to_numpy(), learner.transform(table.X))
    np.testing.assert_array_equal(frame.columns, learner.get_feature_names_out())


def test_the_representation_is_no_raw_data(learner, table):
    representation = learner.representation_
    assert len(representation.embedding) == len(learner.classes_) < len(table.X)


# ------------------------------------------------------------------ what the network takes


@pytest.mark.parametrize("kind", ["pictures", "series"])
def test_flattened_samples_equal_samples_in_shape(make_learner, kind, request):
    data = request.getfixturevalue(kind)
    flat, flat_new = data.X.reshape(len(data.X), -1), data.X_new.reshape(len(data.X_new), -1)
    shaped = make_learner(max_epochs=1).fit(data.X, data.y)
    reshaped = make_learner(max_epochs=1, input_shape=data.X.shape[1:]).fit(flat, data.y)
    assert reshaped.input_shape_ == shaped.input_shape_ == data.X.shape[1:]
    assert reshaped.input_scale_ == shaped.input_scale_
    assert reshaped.n_features_in_ == flat.shape[1]
    expected = shaped.adapt(data.X_new, data.y_new).predict_proba(data.X_new)
    got = reshaped.adapt(flat_new, data.y_new).predict_proba(flat_new)
    np.testing.assert_array_equal(got, expected)


def test_equal_values_of_any_type_give_equal_predictions(picture_learner, pictures):
    assert picture_learner.input_scale_ == 1 / 255
    expected = picture_learner.predict_proba(pictures.X)
    for dtype in (np.int64, np.float32, np.float64):
        other = picture_learner.predict_proba(pictures.X.astype(dtype))
        np.testing.assert_array_equal(other, expected)


@pytest.mark.parametrize(
    ("X", "scale"),
    [
        (np.full((2, 1, 4, 4), 255, np.uint8), 1 / 255),
        (np.full((2, 1, 4, 4), 255, np.int64), 1 / 255),
        (np.full((2, 1, 4, 4), 4000, np.uint16), 1 / 4000),
        (np.full((2, 1, 4, 4), 1, np.uint8), 1.0),
        (np.full((2, 1, 4, 4), 255, np.float32), 1.0),
        (np.full((2, 16), 255, np.uint8), 1.0),
    ],
)
def test_only_integer_pictures_are_scaled(make_learner, X, scale):
    learner = make_learner(max_epochs=0, backbone="identity", validation_fraction=0.0, n_query=1)
    X = np.concatenate([X, np.zeros_like(X)])
    learner.fit(X, [0, 0, 1, 1])
    assert learner.input_scale_ == scale
    np.testing.assert_allclose(learner.transform(X), X.reshape(4, -1) * np.float32(scale))


def test_labels_of_any_sortable_type_are_kept(make_learner, table):
    _, codes = np.unique(table.y, return_inverse=True)
    kinds = [
        codes * 7 - 3,
        codes.astype(float),
        table.y.astype(object),
        pd.Series(table.y),
        pd.Series(table.y, dtype="category"),
        list(table.y),
    ]
    for y in kinds:
        learner = make_learner(max_epochs=0).fit(table.X, y)
        np.testing.assert_array_equal(learner.classes_, np.unique(np.asarray(y)))
        assert learner.score(table.X, y) > 0.6


def test_renaming_the_classes_permutes_the_columns(make_learner, table):
    classes, codes = np.unique(table.y, return_inverse=True)
    support = np.random.default_rng(0).permutation(len(table.y))[:40]
    learner = make_learner().fit(table.X, table.y)
    new_name = np.random.default_rng(1).permutation(len(classes))
    plain = learner.adapt(table.X[support], codes[support])
    renamed = learner.adapt(table.X[support], new_name[codes[support]])
    columns = np.searchsorted(renamed.classes_, new_name[plain.classes_])
    np.testing.assert_allclose(
        renamed.decision_function(table.X)[:, columns], plain.decision_function(table.X), rtol=1e-12
    )


# ------------------------------------------------------------------ which classes train


def test_held_out_classes_are_not_trained_on(make_learner, table, tasks):
    make_learner(validation_fraction=0.25).fit(table.X, table.y)
    ((task, _),) = tasks
    trained, held_out = set(table.y[training_rows(task)]), set(table.y[task.valid.rows])
    assert len(held_out) == 2
    assert trained | held_out == set(table.y)
    assert not trained & held_out


def test_given_validation_classes_win_over_the_fraction(make_learner, table, tasks):
    chosen = np.unique(table.y)[[0, 3, 5]]
    make_learner(validation_classes=chosen, validation_fraction=0.9).fit(table.X, table.y)
    ((task, _),) = tasks
    assert set(table.y[task.valid.rows]) == set(chosen)
    assert set(table.y[training_rows(task)]) == set(table.y) - set(chosen)


def test_what_held_out_samples_look_like_does_not_change_the_weights(make_learner, table):
    chosen = np.unique(table.y)[:2]
    shaken = table.X.copy()
    shaken[np.isin(table.y, chosen)] *= -3.0
    params = {"validation_classes": chosen, "max_epochs": 0}
    first, second = (make_learner(**params).fit(X, table.y) for X in (table.X, shaken))
    assert equal_states(states(first.module_), states(second.module_))


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_classes_of_one_group_stay_on_one_side(make_learner, table, tasks, fraction):
    family = np.array([int(label[-1]) % 3 for label in table.y])
    for seed in range(3):
        learner = make_learner(max_epochs=0, validation_fraction=fraction, random_state=seed)
        learner.fit(table.X, table.y, class_groups=family)
    for task, _ in tasks:
        assert task.valid is not None
        assert not set(family[training_rows(task)]) & set(family[task.valid.rows])


def test_support_and_query_of_an_episode_share_no_group(make_learner, table, tasks):
    rng = np.random.default_rng(0)
    writer = np.array(["ann", "bob", "cid", "dan"])[rng.integers(4, size=len(table.y))]
    make_learner(n_query=1).fit(table.X, table.y, groups=writer)
    ((task, _),) = tasks
    plan = training_plan(task)
    for support, query in zip(plan.support, plan.query, strict=True):
        assert not set(writer[support[support >= 0]]) & set(writer[query[query >= 0]])
    plan, rows = task.valid.plan, task.valid.rows
    for support, query in zip(plan.support, plan.query, strict=True):
        support, query = rows[support[support >= 0]], rows[query[query >= 0]]
        assert not set(writer[support]) & set(writer[query])


def test_few_classes_are_trained_on_once_more_all_together(
    make_learner, table, tasks, script_validation
):
    script_validation(0.5, 0.6, 0.8, 0.7, 0.7)
    learner = make_learner(refit=True, max_epochs=4).fit(table.X, table.y)
    (first, n_first), (second, n_second) = tasks
    assert (n_first, n_second) == (4, 2)
    assert learner.best_epoch_ == 2
    assert set(table.y[training_rows(first)]) < set(table.y)
    assert set(table.y[training_rows(second)]) == set(table.y)
    assert second.valid is None
    assert [row["valid_acc"] for row in learner.history_] == [0.6, 0.8, 0.7, 0.7]


def test_the_untrained_network_is_not_trained_after_all(make_learner, table, tasks):
    learner = make_learner(refit=True, lr=1.0, lr_schedule="constant").fit(table.X, table.y)
    assert learner.best_epoch_ == 0
    untrained = make_learner(refit=True, max_epochs=0).fit(table.X, table.y)
    np.testing.assert_array_equal(learner.predict(table.X), untrained.predict(table.X))
    assert sum(n_epochs for _, n_epochs in tasks[1:]) == 0


# ------------------------------------------------------------------ training clamps


def test_small_classes_take_part_with_what_they_have(make_learner, table, tasks):
    names = np.unique(table.y)
    alone, pair = np.flatnonzero(table.y == names[0])[1:], np.flatnonzero(table.y == names[1])[2:]
    kept = np.setdiff1d(np.arange(len(table.y)), [*alone, *pair])
    X, y = table.X[kept], table.y[kept]
    learner = make_learner(validation_classes=names[-2:], n_shot=2, n_way=60)
    with pytest.warns(
        UserWarning, match="2 of the 6 training classes .* take part with fewer.*Lower n_shot"
    ):
        learner.fit(X, y)
    ((task, _),) = tasks
    assert set(y[training_rows(task)]) == set(names[1:-2])
    assert learner.n_way_ == 5
    np.testing.assert_array_equal(learner.classes_, names)
    assert learner.adapt(X[:1], y[:1]).classes_ == y[:1]


@pytest.mark.parametrize(
    ("n_way", "expected"), [(3, 3), (60, 6), ("all", 6), ((2, 4), (2, 4)), ((4, 60), (4, 6))]
)
def test_ways_are_cut_to_the_classes_there_are(make_learner, table, n_way, expected):
    learner = make_learner(n_way=n_way, max_epochs=1, validation_fraction=0.25)
    assert learner.fit(table.X, table.y).n_way_ == expected


def test_shots_may_be_a_range(make_learner, table, tasks):
    make_learner(n_shot=(1, 4)).fit(table.X, table.y)
    shots = (training_plan(tasks[0][0]).support >= 0).sum(axis=2)
    assert set(shots[:, 0]) == {1, 2, 3, 4}


def test_too_few_classes_for_validation_are_said_once(make_learner, table):
    rows = np.isin(table.y, np.unique(table.y)[:3])
    learner = make_learner(max_epochs=3)
    with pytest.warns(
        UserWarning, match="no validation classes.*max_epochs=3.*Add classes"
    ) as record:
        learner.fit(table.X[rows], table.y[rows])
    assert len(record) == 1
    assert record[0].filename == __file__
    assert len(learner.history_) == 3
    assert "valid_acc" not in learner.history_[0]


# ------------------------------------------------------------------ backbones of the user


class Counting(nn.Module):
    """A backbone with batch norm that counts the rows it embeds, over all its copies."""

    def __init__(self, n_rows):
        super().__init__()
        self.n_rows = n_rows
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())

    def __deepcopy__(self, memo):
        copied = Counting(self.n_rows)
        copied.load_state_dict(self.state_dict())
        return copied

    def forward(self, x):
        self.n_rows.append(int((x != 0).any(dim=1).sum()))  # padding is zero
        return self.body(x)


def test_a_module_is_never_trained_in_place(make_learner, table):
    backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    before = states(backbone)
    learner = make_learner(backbone=backbone, validation_fraction=0.0)
    first = states(learner.fit(table.X, table.y).module_)
    assert not equal_states(states(learner.module_.backbone), before)
    assert equal_states(states(backbone), before)
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert equal_states(states(learner.fit(table.X, table.y).module_), first)


def test_a_frozen_backbone_embeds_once_and_never_changes(make_learner, table):
    n_rows = []
    backbone = Counting(n_rows)
    before = states(backbone)
    learner = make_learner(backbone=backbone, freeze_backbone=True, max_epochs=3, lr=0.01)
    learner.fit(table.X, table.y)
    assert sum(n_rows) == len(table.X)
    assert equal_states(states(backbone), before)
    assert equal_states(states(learner.module_.backbone[0].module), before)
    assert learner.score(table.X, table.y) > 0.6


def test_a_warm_start_keeps_what_is_frozen(make_learner, table):
    backbone = nn.Linear(6, 5)
    params = {"freeze_backbone": True, "warm_start": True, "validation_fraction": 0.0}
    learner = make_learner(backbone=backbone, **params).fit(table.X, table.y)
    before = states(learner.module_)
    learner.fit(table.X, table.y)
    after = states(learner.module_)
    assert equal_states(states(learner.module_.backbone[0].module), states(backbone))
    assert not equal_states(before, after)


@pytest.mark.parametrize(("asked", "mode"), [(True, None), ("reduce-overhead", "reduce-overhead")])
def test_the_backbone_is_compiled_for_training_only(make_learner, table, monkeypatch, asked, mode):
    compiled, modes = [], []

    def compile(module, mode):  # what it does is torch's business, and takes long
        compiled.append(module)
        modes.append(mode)
        return nn.Sequential(module)

    monkeypatch.setattr(torch, "compile", compile)
    params = {"backbone": "mlp", "validation_fraction": 0.0}
    learner = make_learner(compile=asked, **params).fit(table.X, table.y)
    assert learner.module_.backbone is compiled[0]
    assert modes == [mode]
    plain = make_learner(**params).fit(table.X, table.y)
    assert len(compiled) == 1
    np.testing.assert_allclose(learner.transform(table.X), plain.transform(table.X), rtol=1e-6)


def test_augmentation_is_for_training_only(make_learner, pictures):
    shapes = []

    def augment(inputs):
        shapes.append(tuple(inputs.shape[1:]))
        assert inputs.dtype == torch.float32
        return inputs.flip(-1)

    learner = make_learner(augment=augment, max_epochs=2, patience=None)
    learner.fit(pictures.X, pictures.y)
    assert shapes == [pictures.X.shape[1:]] * 10  # epochs times episodes
    learner.predict(pictures.X)
    assert len(shapes) == 10


def test_lower_precision_of_predictions_is_asked_for_by_name(make_learner, pictures):
    params = {"max_epochs": 0, "backbone": "conv4"}
    exact, auto, rough = (
        make_learner(precision=precision, **params).fit(pictures.X, pictures.y)
        for precision in ("float32", "auto", "bfloat16")
    )
    expected = exact.transform(pictures.X)
    np.testing.assert_array_equal(auto.transform(pictures.X), expected)
    error = np.abs(rough.transform(pictures.X) - expected).max()
    assert 0 < error < 0.1 * np.abs(expected).max()


# ------------------------------------------------------------------ refitting


def test_refitting_starts_afresh(make_learner, table, pictures):
    learner = make_learner(max_epochs=1).fit(pd.DataFrame(table.X).add_prefix("x"), table.y)
    assert hasattr(learner, "feature_names_in_")
    learner.fit(pictures.X, pictures.y)
    assert not hasattr(learner, "feature_names_in_")
    fresh = make_learner(max_epochs=1).fit(pictures.X, pictures.y)
    assert vars(learner).keys() == vars(fresh).keys()
    np.testing.assert_array_equal(
        learner.predict_proba(pictures.X), fresh.predict_proba(pictures.X)
    )


def test_a_warm_start_continues_from_the_last_weights(make_learner, table):
    learner = make_learner(backbone="mlp", warm_start=True, validation_fraction=0.0)
    learner.fit(table.X, table.y)
    before = states(learner.module_)
    learner.set_params(max_epochs=0).fit(table.X, table.y)
    assert equal_states(states(learner.module_), before)
    learner.set_params(warm_start=False).fit(table.X, table.y)
    assert not equal_states(states(learner.module_), before)


def test_refitting_leaves_adapted_classifiers_alone(make_learner, table):
    learner = make_learner(backbone="mlp").fit(table.X, table.y)
    classifier = learner.adapt(table.X_new, table.y_new)
    before = classifier.predict_proba(table.X)
    for warm_start in (False, True):
        learner.set_params(random_state=7, lr=0.1, warm_start=warm_start).fit(table.X, table.y)
        np.testing.assert_array_equal(classifier.predict_proba(table.X), before)


def test_a_warm_start_refuses_another_backbone(make_learner, table):
    learner = make_learner(backbone="mlp", warm_start=True).fit(table.X, table.y)
    before = learner.predict_proba(table.X)
    with pytest.raises(ValueError, match=r"fitted with backbone='mlp'\. Got backbone='identity'"):
        learner.set_params(backbone="identity").fit(table.X, table.y)
    np.testing.assert_array_equal(learner.predict_proba(table.X), before)


def test_training_that_brings_nothing_says_so(make_learner, table):
    with pytest.warns(ConvergenceWarning, match=r"brought ProtoNetClassifier nothing.*lower lr"):
        learner = make_learner(lr=1e-30).fit(table.X, table.y)
    assert learner.best_epoch_ == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_learner(max_epochs=0).fit(table.X, table.y)  # wanted
        make_learner(lr=1e-30, validation_fraction=0.0).fit(table.X, table.y)  # not measured
