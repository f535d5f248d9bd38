"""The parameters that learners share, and learners of one's own with further ones."""

import ast
import inspect
import pickle
import typing
from typing import Unpack

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_fewshot
from sklearn_fewshot import FewShotClassifier, ProtoNetClassifier, adapt
from sklearn_fewshot.base import BaseFewShotLearner, CommonParameters, with_common_parameters
from sklearn_fewshot.learners import _docs, _parameters
from sklearn_fewshot.learners._parameters import (
    METRIC_CONSTRAINTS,
    LearnerParameters,
    SharedParameters,
    TrainingParameters,
)
from sklearn_fewshot.model_selection import ClassKFold, episodic_cross_validate, episodic_score
from sklearn_fewshot.nn.heads import PrototypicalHead
from sklearn_fewshot.utils import _typing

FAMILY = inspect.signature(LearnerParameters).parameters
LEARNERS = [
    cls
    for cls in map(vars(sklearn_fewshot).get, sklearn_fewshot.__all__)
    if isinstance(cls, type) and issubclass(cls, BaseFewShotLearner)
]


def documented(doc):
    """Return type and default of the parameters that a text lists."""
    entries = [line.partition(" : ") for line in doc.splitlines() if " : " in line]
    entries = {name: kind for name, _, kind in entries if name.isidentifier()}
    return {name: kind.rpartition(", default=")[::2] for name, kind in entries.items()}


# ------------------------------------------------------------------ said four times, once the same


def test_the_names_agree():
    listed = documented(_docs.COMMON_PARAMETERS)
    assert list(FAMILY) == list(listed)
    assert set(typing.get_type_hints(CommonParameters, vars(_parameters))) == set(FAMILY)
    assert set(LearnerParameters._parameter_constraints) == set(FAMILY)


def test_the_types_agree():
    checked = typing.get_type_hints(CommonParameters, vars(_parameters))
    constructor = {}
    for cls in (TrainingParameters, LearnerParameters):
        constructor |= typing.get_type_hints(cls.__init__, vars(_parameters))
    assert constructor.pop("return") is type(None)
    assert constructor.pop("common") == Unpack[SharedParameters]
    assert checked == constructor


def test_the_defaults_agree():
    for name, (_, default) in documented(_docs.COMMON_PARAMETERS).items():
        assert ast.literal_eval(default) == FAMILY[name].default
    LearnerParameters()._validate_params()


def strings(hint):
    """Return the strings among the choices that a type has."""
    if typing.get_origin(hint) is typing.Literal:
        return {choice for choice in typing.get_args(hint) if isinstance(choice, str)}
    return set().union(*map(strings, typing.get_args(hint))) if typing.get_args(hint) else set()


@pytest.mark.parametrize("cls", LEARNERS)
def test_types_have_the_choices_that_fit_accepts(cls):
    module = inspect.getmodule(cls)
    hints = typing.get_type_hints(cls.__init__, vars(module))
    hints |= typing.get_type_hints(CommonParameters, vars(_parameters))
    for name, allowed in cls._parameter_constraints.items():
        options = [rule.options for rule in allowed if hasattr(rule, "options")]
        assert strings(hints[name]) == set().union(*options), name


def test_metrics_and_backbones_are_those_that_there_are():
    metric, *_ = METRIC_CONSTRAINTS["metric"]
    assert strings(_typing.Metric) == metric.options


@pytest.mark.parametrize("cls", LEARNERS)
def test_constraints_and_signature_have_the_same_names(cls):
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


# ------------------------------------------------------------------ learners of one's own


class LogMixin:
    """Comes first, and knows nothing of learners."""

    def fit(self, X, y, **params):
        super().fit(X, y, **params)
        self.log_ = [type(self).__name__]
        return self


class LabelMixin:
    """Has a parameter of its own."""

    def __init__(self, *, label="plain", **others):
        self.label = label
        super().__init__(**others)


class LoggedProtoNet(LogMixin, ProtoNetClassifier):
    pass


@with_common_parameters
class Labelled(LabelMixin, ProtoNetClassifier):
    """A mixin's parameter beside those of a learner.

    Parameters
    ----------
    {common_parameters}
    """


@with_common_parameters(n_way=3, refit=False)
class OwnNet(LogMixin, BaseFewShotLearner):
    """Class means.

    Parameters
    ----------
    depth : int, default=1
        Does nothing.
    {common_parameters}
    """

    _parameter_constraints = {"depth": [int]}

    def __init__(self, *, depth=1, **common):
        self.depth = depth
        super().__init__(**common)

    def _head(self):
        return PrototypicalHead, {}


@with_common_parameters(n_way=4)
class OwnNetOfTwo(LabelMixin, OwnNet):
    def __init__(self, *, depth=2, **common):
        super().__init__(depth=depth, **common)


OWN = [LoggedProtoNet, Labelled, OwnNet, OwnNetOfTwo]


@pytest.mark.parametrize("cls", OWN)
def test_a_mixin_may_come_first(cls, table):
    shown = inspect.signature(cls).parameters
    assert set(FAMILY) < set(shown)
    learner = cls(max_epochs=1, episodes_per_epoch=2, random_state=0)
    params = learner.get_params()
    assert set(params) == set(shown)
    assert all(
        value == shown[name].default
        for name, value in params.items()
        if name not in ("max_epochs", "episodes_per_epoch", "random_state")
    )
    learner.fit(table.X, table.y)
    assert hasattr(learner, "log_") == issubclass(cls, LogMixin)
    for copied in (pickle.loads(pickle.dumps(learner)), clone(learner).fit(table.X, table.y)):
        assert copied.get_params() == params
        np.testing.assert_array_equal(copied.predict(table.X), learner.predict(table.X))


def test_defaults_are_those_of_the_nearest_class():
    assert OwnNet().n_way == 3
    two = OwnNetOfTwo()
    assert (two.n_way, two.refit, two.depth, two.label) == (4, False, 2, "plain")
    assert OwnNetOfTwo(n_way=7, depth=5).get_params().items() >= {"n_way": 7, "depth": 5}.items()
    assert "default=3" in OwnNet.__doc__


def test_constraints_name_only_what_is_new(table):
    assert set(OwnNet._parameter_constraints) == {"depth", *FAMILY}
    for params, words in (({"depth": "deep"}, "'depth'"), ({"lr": -1}, "'lr'")):
        with pytest.raises(ValueError, match=f"The {words} parameter of OwnNet must be"):
            OwnNet(**params).fit(table.X, table.y)


def test_unknown_parameters_are_refused():
    with pytest.raises(
        TypeError, match=r"OwnNetOfTwo has no parameter 'n_wya'\. Did you mean 'n_way'"
    ):
        OwnNetOfTwo(n_wya=5)
    with pytest.raises(TypeError, match="default for 'n_wya', which is no parameter of LogMixin"):
        with_common_parameters(n_wya=5)(LogMixin)


@pytest.mark.parametrize("cls", LEARNERS)
def test_a_slip_in_a_name_names_the_learner_and_the_nearest_parameter(cls):
    message = rf"^{cls.__name__} has no parameter 'n_ways'. Did you mean 'n_way'\?$"
    with pytest.raises(TypeError, match=message):
        cls(n_ways=5)
    with pytest.raises(ValueError, match=message):
        cls().set_params(n_ways=5)
    with pytest.raises(ValueError, match=message):
        make_pipeline(StandardScaler(), cls()).set_params(**{f"{cls.__name__.lower()}__n_ways": 5})
    with pytest.raises(ValueError, match=rf"^{cls.__name__} has no parameter 'zzz'. It has .*lr,"):
        cls().set_params(zzz=1)


def test_a_slip_in_a_search_is_said(make_learner, table):
    search = GridSearchCV(make_learner(), {"n_ways": [2, 5]}, cv=2)
    with pytest.raises(ValueError, match="ProtoNetClassifier has no parameter 'n_ways'"):
        search.fit(table.X, table.y)


def learner_class(name):
    """Make a class of learners with one parameter of that name."""

    def __init__(self, **common):
        setattr(self, name, common.pop(name))
        BaseFewShotLearner.__init__(self, **common)

    parameters = [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None),
        inspect.Parameter("common", inspect.Parameter.VAR_KEYWORD),
    ]
    __init__.__signature__ = inspect.Signature(parameters)
    hooks = {"__init__": __init__, "_head": lambda self: (PrototypicalHead, {})}
    return with_common_parameters(**{name: None})(type("Own", (BaseFewShotLearner,), hooks))


def attribute_names(table):
    """Return the names of all that a learner and its classifiers hold, without underscores."""
    learner = ProtoNetClassifier(max_epochs=1, episodes_per_epoch=2, random_state=0)
    learner.fit(table.X, table.y)
    held = (learner, learner._network, learner.adapt(table.X_new, table.y_new))
    return {name.strip("_") for one in held for name in vars(one)} - set(FAMILY)


TEMPTING = {
    "head",
    "network",
    "net",
    "history",
    "fit_seconds",
    "base",
    "start",
    "data",
    "embedding",
    "scale",
    "learn_scale",
    "metric",
    "module",
    "estimator",
    "best_estimator",
    "steps",
    "learner",
    "classifier",
    "unlabelled",
    "threshold",
    "support",
    "task",
    "seed",
    "fresh",
}


def test_a_learner_of_ones_own_may_have_parameters_of_any_name(table):
    budget = {"max_epochs": 0, "n_way": 3, "random_state": 0}
    budget |= {"backbone": "mlp", "refit": False}
    X, y, support = table.X, table.y, (table.X_new, table.y_new)
    expected = None
    for name in sorted({*TEMPTING, *attribute_names(table)}):
        learner = learner_class(name)(**{name: "mine"}, **budget).fit(X, y)
        again = clone(learner).fit(X, y).fit(X, y)
        assert learner.get_params() == again.get_params()
        assert getattr(learner, name) == getattr(again, name) == "mine"
        scores = [
            learner.decision_function(X),
            again.decision_function(X),
            adapt(learner, *support).decision_function(X),
            clone(FewShotClassifier(again)).fit(*support).decision_function(X),
            episodic_score(learner, *support, n_way=3, n_episodes=3, n_query=2).scores,
            learner.transform(X),
        ]
        expected = expected or scores
        for got, wanted in zip(scores, expected, strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=name)


def test_a_parameter_named_like_a_part_of_a_search_does_not_make_one(table):
    budget = {
        "max_epochs": 1,
        "episodes_per_epoch": 2,
        "n_shot": 1,
        "n_query": 1,
        "validation_fraction": 0.0,
    }
    own = learner_class("estimator")(estimator=1, **budget, random_state=0)
    task = {"n_way": 3, "n_query": 2, "n_episodes": 3}
    result = episodic_cross_validate(own, table.X, table.y, cv=ClassKFold(2), **task)
    assert result.mean > 1 / 3
    assert cross_val_score(make_pipeline(StandardScaler(), own), table.X, table.y, cv=2).all()
    search = GridSearchCV(own, {"estimator": [1, 2]}, cv=2).fit(table.X, table.y)
    assert adapt(search, table.X_new, table.y_new).score(table.X_new, table.y_new) > 0.5


@pytest.mark.parametrize("name", ["_depth", "depth_", "fit", "module_", "adapt", "_head"])
def test_names_that_would_hide_something_are_refused(name):
    with pytest.raises(TypeError, match=f"The parameter '{name}' of Own .* Rename it"):
        learner_class(name)
