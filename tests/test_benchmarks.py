"""What the benchmarks must not do: score on what they were trained on."""

import numpy as np
import pytest

from benchmarks import _data, omniglot


class Spy:
    """Stands in for a learner: remembers what it is trained on, recognises nothing."""

    history_, best_epoch_ = [{"valid_acc": 0.0}], 0

    def fit(self, X, y, **groups):
        self.X, self.y, self.groups = X, y, groups
        return self

    def adapt(self, X_support, y_support):
        self.n_support = len(X_support)
        return self

    def predict(self, X):
        return np.full(len(X), -1)


@pytest.fixture
def run_characters(load_data):
    file = load_data("omniglot/omniglot_28.npz")
    return np.unique(np.concatenate([file["run_train"][..., 0], file["run_test"][..., 0]]))


def test_models_of_the_main_table_have_seen_characters_of_the_runs(run_characters):
    _, y = _data.omniglot(0)
    assert len(run_characters) == 200
    assert np.isin(run_characters, y // 4).sum() == 78


def test_models_of_the_runs_are_trained_on_other_characters(run_characters, monkeypatch):
    spy = Spy()
    monkeypatch.setitem(
        omniglot.ENTRIES, "protonet", omniglot.ENTRIES["protonet"]._replace(make=lambda **kw: spy)
    )
    result = omniglot.run_lake("protonet", 0)
    assert not np.isin(spy.y // 4, run_characters).any()
    assert len(np.unique(spy.y)) == 4 * 964
    assert spy.n_support == 20
    assert result["runs"] == [0.0] * 20


def test_the_runs_are_within_an_alphabet_and_by_other_drawers(load_data):
    file = load_data("omniglot/omniglot_28.npz")
    for support, query, answer in zip(
        file["run_train"], file["run_test"], file["run_answer"], strict=True
    ):
        assert len(np.unique(file["alphabet"][support[:, 0]])) == 1
        np.testing.assert_array_equal(support[answer, 0], query[:, 0])
        assert (support[answer, 1] != query[:, 1]).all()
    for X_support, X_query, answer in _data.omniglot_runs():
        assert X_support.shape == X_query.shape == (20, 1, 28, 28)
        np.testing.assert_array_equal(np.sort(answer), np.arange(20))


def test_the_parts_of_the_vinyals_split_share_no_character(load_data):
    load_data("omniglot/omniglot_28.npz")
    train, validation, test = (np.unique(_data.omniglot(part)[1] // 4) for part in range(3))
    assert (len(train), len(validation), len(test)) == (1028, 172, 423)
    assert not np.intersect1d(train, validation).size
    assert not np.intersect1d(np.union1d(train, validation), test).size
