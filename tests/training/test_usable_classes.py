"""Data that training or validation can learn nothing from: said, with the classes by name."""

import numpy as np
import pytest

from sklearn_fewshot import ProtoNetClassifier, SiameseNetClassifier


@pytest.fixture
def uneven(table):
    """Three classes of ten samples, and two of a single one."""
    names = np.unique(table.y)
    rows = [np.flatnonzero(table.y == name) for name in names[:5]]
    kept = np.concatenate([*rows[:3], rows[3][:1], rows[4][:1]])
    return table.X[kept], table.y[kept], names[:5]


@pytest.mark.filterwarnings("ignore:.*too few examples")
def test_validation_by_a_single_usable_class_is_none(make_learner, uneven):
    X, y, names = uneven
    learner = make_learner(validation_classes=names[[0, 3]])
    with pytest.warns(UserWarning, match=f"2 validation classes, .* from '{names[0]}' only"):
        learner.fit(X, y)
    assert learner.best_epoch_ == learner.max_epochs
    assert all("valid_acc" not in row for row in learner.history_)


def test_validation_classes_that_leave_nothing_to_train_on_are_named(make_learner, uneven):
    X, y, names = uneven
    with pytest.raises(ValueError, match=rf"every class with two examples .*'{names[0]}', .*fewer"):
        make_learner(validation_classes=names[:3]).fit(X, y)


@pytest.mark.filterwarnings("ignore:.*too few examples", "ignore:.*no validation")
def test_a_single_class_to_draw_from_is_named(make_learner, uneven):
    X, y, names = uneven
    kept = (y != names[1]) & (y != names[2])
    with pytest.warns(UserWarning, match=f"training episodes from one class alone, '{names[0]}'"):
        make_learner().fit(X[kept], y[kept])


@pytest.mark.parametrize("refit", [False, True])
def test_a_network_without_weights_is_kept_as_it_is(make_learner, table, refit):
    learner = ProtoNetClassifier(backbone="identity", learn_scale=False, refit=refit)
    learner.set_params(episodes_per_epoch=2, max_epochs=1, n_way=3, n_query=3, random_state=0)
    with pytest.warns(UserWarning, match="ProtoNetClassifier has nothing to train") as record:
        learner.fit(table.X, table.y)
    assert len(record) == 1
    assert learner.best_epoch_ == 0
    untrained = learner.predict_proba(table.X)
    learner.set_params(max_epochs=0).fit(table.X, table.y)
    np.testing.assert_array_equal(learner.predict_proba(table.X), untrained)


def test_pairs_too_few_for_the_rate_warn(make_learner, table):
    learner = SiameseNetClassifier(
        n_way=5, n_query=3, episodes_per_epoch=2, max_epochs=1, refit=False, random_state=0
    ).fit(table.X, table.y)
    pairs, y = (
        np.stack([table.X[:-1], table.X[1:]], axis=1),
        np.where(table.y[:-1] == table.y[1:], 1, -1),
    )
    n_different = np.count_nonzero(y == -1)
    with pytest.warns(UserWarning, match=f"{n_different} pairs .* at least 1000 such pairs"):
        learner.calibrate_threshold(pairs, y, false_accept_rate=0.001)
    learner.calibrate_threshold(pairs, y, false_accept_rate=1 / n_different)
