"""Copies without what was fitted: parameters and settings of scikit-learn stay, nothing else."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone

from sklearn_fewshot import (
    FewShotClassifier,
    FrozenEncoder,
    ProtoNetClassifier,
    ZeroShotProtoNetClassifier,
)
from sklearn_fewshot.utils._fresh import unfitted_copy

BUDGET = {"max_epochs": 1, "episodes_per_epoch": 2, "n_way": 3, "random_state": 0}
KINDS = {
    "learner": ProtoNetClassifier(**BUDGET),
    "zero-shot learner": ZeroShotProtoNetClassifier(**BUDGET),
    "classifier": FewShotClassifier(),
    "encoder": FrozenEncoder(batch_size=8),
}
each_kind = pytest.mark.parametrize("estimator", KINDS.values(), ids=KINDS)


def fitted(estimator, table):
    return clone(estimator).fit(table.X, table.y)


def with_leftovers(estimator):
    """Set what a subclass might."""
    estimator._cache = object()
    estimator.note = "made in fit"
    estimator.own_ = 1
    return estimator


@each_kind
def test_parameters_are_the_same_objects(estimator, table):
    before = fitted(estimator, table)
    fresh = unfitted_copy(before)
    assert type(fresh) is type(before)
    params = before.get_params(deep=False)
    assert vars(fresh).keys() == params.keys()
    assert all(getattr(fresh, name) is value for name, value in params.items())


@each_kind
@pytest.mark.parametrize("renew", ["refit", "clone", "clone of fitted"])
def test_nothing_that_was_fitted_survives(estimator, table, renew):
    leftover = with_leftovers(fitted(estimator, table))
    if renew == "refit":
        renewed, once = leftover.fit(table.X, table.y), fitted(estimator, table)
    elif renew == "clone":
        renewed, once = clone(with_leftovers(clone(estimator))), clone(estimator)
    else:
        renewed, once = clone(leftover), clone(estimator)
    assert vars(renewed).keys() == vars(once).keys()


@each_kind
def test_settings_of_scikit_learn_survive(estimator, table):
    with config_context(enable_metadata_routing=True):
        asked = clone(estimator)
        if hasattr(asked, "set_fit_request"):
            asked.set_fit_request(groups=True)
        if hasattr(asked, "set_output"):
            asked.set_output(transform="pandas")
        if hasattr(asked, "set_callbacks"):
            asked.set_callbacks(Silent())
        held = {name: value for name, value in vars(asked).items() if name.startswith("_")}
        for renewed in (unfitted_copy(asked), clone(asked), asked.fit(table.X, table.y)):
            assert held.keys() <= vars(renewed).keys()
            request = renewed.get_metadata_routing()
            assert str(request) == str(asked.get_metadata_routing())
            if hasattr(asked, "set_output"):
                config = renewed._sklearn_output_config
                assert config == {"transform": "pandas"}


class Silent:
    """A callback of scikit-learn that does nothing."""

    def setup(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...
    def on_fit_task_end(self, estimator, context): ...
    def teardown(self, estimator, context): ...


@each_kind
def test_a_fit_that_fails_leaves_everything(estimator, table):
    before = with_leftovers(fitted(estimator, table))
    held = dict(vars(before))
    with pytest.raises(ValueError, match="NaN"):
        before.fit(np.full_like(table.X, np.nan), table.y)
    assert vars(before) == held


def test_a_parameter_behind_a_property_is_kept():
    class Renamed(FrozenEncoder):
        @property
        def batch_size(self):
            return self._size

        @batch_size.setter
        def batch_size(self, value):
            self._size = value

    assert unfitted_copy(Renamed(batch_size=3)).batch_size == 3
