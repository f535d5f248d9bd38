"""Learners that adapt their own weights: settings, base classes, numbers of steps, bad input."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from torch import nn

from sklearn_fewshot import (
    FewShotClassifier,
    MAMLClassifier,
    MetaLSTMClassifier,
    ReptileClassifier,
    adapt,
    load_model,
    save_model,
)
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn import EmbeddingModule
from sklearn_fewshot.nn.optimization import GradientModule

BUDGET = {"n_way": 5, "n_shot": 1, "n_query": 3, "episodes_per_epoch": 4, "max_epochs": 1}
BUDGET |= {"refit": False, "random_state": 0}
OF_BODIES = [
    MAMLClassifier(n_steps=2, **BUDGET),
    ReptileClassifier(n_steps=2, adapt_steps=3, **BUDGET),
    MetaLSTMClassifier(n_steps=2, hidden_dim=4, **BUDGET),
]


@pytest.fixture(scope="module", params=OF_BODIES, ids=lambda it: type(it).__name__)
def fitted(request, table):
    """Shared: nobody may refit it."""
    return request.param.fit(table.X, table.y)


@pytest.fixture(scope="module")
def maml(table):
    """Shared: nobody may refit it."""
    return MAMLClassifier(n_steps=3, **BUDGET).fit(table.X, table.y)


# ------------------------------------------------------------------ base and new classes


def test_base_classes_are_compared_by_the_network_before_the_steps(fitted, table):
    embedding = fitted.transform(table.X)
    means = np.stack([embedding[table.y == label].mean(axis=0) for label in fitted.classes_])
    distance = ((fitted.transform(table.X_new)[:, None] - means) ** 2).sum(axis=2)
    np.testing.assert_array_equal(
        fitted.predict(table.X_new), fitted.classes_[distance.argmin(axis=1)]
    )
    assert fitted.representation_.embedding.shape == means.shape  # no rows are kept


def test_old_and_new_classes_together_are_not_adapted_to(fitted, table):
    both = fitted.adapt(table.X_new, table.y_new, include_base=True)
    proto = FewShotClassifier(fitted, include_base=True).fit(table.X_new, table.y_new)
    assert set(both.classes_) == {*table.y, *table.y_new}
    np.testing.assert_array_equal(both.predict(table.X), proto.predict(table.X))
    assert both.score(table.X, table.y) > 0.5
    assert both.score(table.X_new, table.y_new) > 0.5
    grown = fitted.adapt(table.X_new[:9], table.y_new[:9], include_base=True)
    grown.partial_fit(table.X_new[9:], table.y_new[9:])
    np.testing.assert_allclose(
        grown.decision_function(table.X), both.decision_function(table.X), rtol=1e-5, atol=1e-5
    )


def test_old_and_new_classes_survive_a_file(fitted, table, tmp_path):
    both = fitted.adapt(table.X_new, table.y_new, include_base=True)
    save_model(both, tmp_path / "both.skops")
    loaded = load_model(tmp_path / "both.skops")
    np.testing.assert_array_equal(loaded.predict(table.X), both.predict(table.X))
    loaded.partial_fit(table.X_new[:1], table.y_new[:1])


def test_adapting_does_not_change_the_learner(fitted, table):
    before = fitted.transform(table.X_new), fitted.predict_proba(table.X_new)
    fitted.adapt(table.X_new, table.y_new)
    np.testing.assert_array_equal(fitted.transform(table.X_new), before[0])
    np.testing.assert_array_equal(fitted.predict_proba(table.X_new), before[1])


def test_adapting_changes_the_network(fitted, table):
    state = fitted.adapt(table.X_new[:12], table.y_new[:12]).state_
    moved = [name for name in state if name.startswith("body.")]
    assert moved
    own = dict(fitted.module_.initial.backbone.named_parameters())
    assert any(
        not np.array_equal(state[name][0], own[name.removeprefix("body.")].numpy())
        for name in moved
    )


# ------------------------------------------------------------------ settings


SETTINGS = {
    "MAML": {"start": "shared", "learn_step_size": False, "multi_step_loss": False},
    "first-order MAML": {"start": "shared", "learn_step_size": False, "first_order": True},
    "Meta-SGD": {"start": "shared", "learn_step_size": "element", "n_steps": 2},
    "MAML++": {"start": "shared", "first_order": 0.5},
    "ANIL": {"start": "shared", "adapts": "head"},
    "ANIL, element": {"adapts": "head", "learn_step_size": "element"},
    "BOIL": {"adapts": "body"},
    "Proto-MAML": {"first_order": True},
    "UNICORN-MAML": {"start": "shared", "first_order": True, "n_steps": 15},
}


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_relatives_learn_and_recognise_new_classes(options, table):
    learner = MAMLClassifier(**BUDGET | {"n_shot": 2, "max_epochs": 2} | options)
    learner.fit(table.X, table.y)
    assert all(np.isfinite(row["train_loss"]) for row in learner.history_)
    result = episodic_score(
        learner, table.X_new, table.y_new, n_way=3, n_shot=5, n_query=4, n_episodes=20
    )
    assert result.mean > 0.6  # chance is 0.33


def test_the_last_layer_alone_embeds_once(table):
    head = MAMLClassifier(adapts="head", **BUDGET).fit(table.X, table.y)
    assert isinstance(head.module_, EmbeddingModule)
    assert head._network.embeds_rows
    body = MAMLClassifier(**BUDGET).fit(table.X, table.y)
    assert isinstance(body.module_, GradientModule)
    assert not body._network.embeds_rows


def test_pictures_have_the_strided_network(pictures):
    learner = MAMLClassifier(**BUDGET | {"max_epochs": 0}).fit(pictures.X, pictures.y)
    assert learner.transform(pictures.X[:2]).shape == (2, 64)
    strides = [m.stride for m in learner.module_.modules() if isinstance(m, nn.Conv2d)]
    assert strides == [(2, 2)] * 4


# ------------------------------------------------------------------ numbers of steps


@pytest.mark.parametrize("adapts", ["all", "head"])
def test_without_steps_it_is_a_prototypical_network(adapts, table):
    maml = MAMLClassifier(adapts=adapts, **BUDGET).fit(table.X, table.y)
    classifier = maml.with_steps(0).adapt(table.X_new, table.y_new)
    embedding = maml.transform(table.X_new)
    means = [embedding[table.y_new == label].mean(axis=0) for label in classifier.classes_]
    scale = float(getattr(maml.module_, "initial", maml.module_).head.scale)
    found = classifier.decision_function(table.X)
    expected = -scale * cdist(maml.transform(table.X), means, "sqeuclidean")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_first_of_the_learned_steps_can_be_taken(maml, table):
    fewer = maml.with_steps(2)
    assert fewer.n_steps == 2
    assert maml.n_steps == 3
    state = fewer.adapt(table.X_new, table.y_new).state_
    longer = maml.adapt(table.X_new, table.y_new).state_
    assert not np.array_equal(state["weight"], longer["weight"])
    assert maml.with_steps(3)._network is maml._network


@pytest.mark.parametrize("learned", ["layer", "element"])
def test_more_steps_than_were_learned_are_refused(learned, table):
    learner = MAMLClassifier(n_steps=2, learn_step_size=learned, **BUDGET).fit(table.X, table.y)
    with pytest.raises(ValueError, match=r"learned for n_steps=2. Got 5. Fit it with that many"):
        learner.with_steps(5)


@pytest.mark.parametrize("change", [{"n_steps": 10}, {"learn_step_size": False}])
def test_parameters_set_after_fit_do_not_count_as_learned(change, table):
    learner = MAMLClassifier(n_steps=2, **BUDGET).fit(table.X, table.y).set_params(**change)
    with pytest.raises(ValueError, match=r"learned for n_steps=2. Got 5"):
        learner.with_steps(5)


@pytest.mark.parametrize("adapts", ["all", "body", "head"])
def test_steps_of_one_given_size_can_be_any_number(adapts, table):
    options = {"adapts": adapts, "learn_step_size": False, "n_steps": 2, **BUDGET}
    learner = MAMLClassifier(**options).fit(table.X, table.y)
    for n_steps in (0, 1, 9):
        other = learner.with_steps(n_steps).adapt(table.X_new, table.y_new)
        assert other.score(table.X_new, table.y_new) > 0.8
    back = learner.with_steps(9).with_steps(2).adapt(table.X_new, table.y_new)
    same = learner.adapt(table.X_new, table.y_new)
    np.testing.assert_array_equal(back.state_["weight"], same.state_["weight"])


@pytest.mark.parametrize("wrong", [-1, 2.5, "two"])
def test_a_number_of_steps_that_is_none_is_refused(wrong, maml):
    with pytest.raises(ValueError, match="n_steps must be an int of at least 0"):
        maml.with_steps(wrong)


# ------------------------------------------------------------------ bad input, odd support sets


def test_one_class_and_more_classes_than_trained(fitted, table):
    label = table.y_new[0]
    one = fitted.adapt(table.X_new[table.y_new == label][:2], ["only", "only"])
    np.testing.assert_array_equal(one.predict(table.X[:3]), ["only"] * 3)
    everything = fitted.adapt(table.X, table.y)  # eight classes, trained on five
    assert everything.score(table.X, table.y) > 0.6


def test_steps_that_diverge_name_step_and_size(table):
    options = BUDGET | {"max_epochs": 0, "calibrate": False}
    learner = MAMLClassifier(n_steps=3, learn_step_size=False, **options)
    learner.set_params(step_size=1e30).fit(table.X, table.y)
    with pytest.raises(ArithmeticError, match=r"after step [123], with n_steps=3 .* 1e\+30"):
        learner.adapt(table.X_new, table.y_new)


def test_bfloat16_is_warned_of(table):
    with pytest.warns(UserWarning, match="computes in float32"):
        MAMLClassifier(precision="bfloat16", **BUDGET | {"max_epochs": 0}).fit(table.X, table.y)


def test_learned_step_sizes_have_a_kind(table):
    with pytest.raises(ValueError, match=r"'learn_step_size' .* Got True"):
        MAMLClassifier(learn_step_size=True, **BUDGET).fit(table.X, table.y)


def test_equal_rows_that_take_no_steps_are_refused(table):
    with pytest.raises(ValueError, match=r"the body no gradient. Set start='prototype'"):
        MAMLClassifier(adapts="body", start="shared", **BUDGET).fit(table.X, table.y)


@pytest.mark.parametrize("adapts", ["all", "head"])
def test_a_shared_row_takes_a_step(adapts, table):
    learner = MAMLClassifier(adapts=adapts, start="shared", n_steps=0, **BUDGET)
    with pytest.raises(ValueError, match="tells classes apart only after a step"):
        learner.fit(table.X, table.y)
    learner.set_params(n_steps=2).fit(table.X, table.y)
    with pytest.raises(ValueError, match="tells classes apart only after a step"):
        learner.with_steps(0)


def test_a_body_of_norms_alone_keeps_the_moments(table):
    backbone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(table.X.shape[1]))
    learner = MAMLClassifier(backbone=backbone, **BUDGET).fit(table.X, table.y)
    assert learner.adapt(table.X_new, table.y_new).score(table.X_new, table.y_new) > 0.6


def test_unlabelled_examples_are_refused(fitted, table):
    labels = np.array(["?", *table.y_new[1:]])
    with pytest.raises(TypeError, match="Unlabelled examples refine class means"):
        fitted.adapt(table.X_new, labels, unlabelled="?")


def test_the_function_adapt_takes_them(fitted, table):
    classifier = adapt(fitted, table.X_new, table.y_new)
    assert classifier.score(table.X_new, table.y_new) > 0.6


# ------------------------------------------------------------------ training


@pytest.mark.parametrize("cls", [ReptileClassifier, MetaLSTMClassifier])
def test_training_lowers_the_loss_and_recognises_letters(cls):
    """Twice above chance, on patterns under noise, with a network of random weights."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 12)
    X = 2.0 * rng.normal(size=(30, 6))[y] + rng.normal(size=(len(y), 6))
    backbone = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16))
    options = {"n_steps": 8, "inner_lr": 0.02, "adapt_steps": 16} if "Rep" in cls.__name__ else {}
    learner = cls(
        backbone=backbone,
        **BUDGET | {"n_shot": 5, "episodes_per_epoch": 100, "max_epochs": 3} | options,
        validation_fraction=0.0,
        meta_batch_size=5,
        calibrate=False,
    )
    base = y < 24
    learner.fit(X[base], y[base])
    losses = [row["train_loss"] for row in learner.history_]
    assert losses[-1] < 0.9 * losses[0]
    result = episodic_score(learner, X[~base], y[~base], n_shot=5, n_query=5, n_episodes=30)
    assert result.mean > 0.4  # chance is 0.2
