"""Promises for everything public: documented, honest defaults, constructors that only assign."""

import ast
import inspect
import re
import textwrap
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.preprocessing import StandardScaler

import sklearn_fewshot
from sklearn_fewshot.base import BaseFewShotLearner, BaseFewShotRegressor
from sklearn_fewshot.learners._parameters import LearnerParameters
from tests.public_modules import public_modules

UNDERLINED = re.compile(r"^(?P<title>[A-Z][A-Za-z ]+)\n-+$", re.MULTILINE)


MODULES = public_modules()
OBJECTS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in getattr(module, "__all__", ())
    if not isinstance(getattr(module, name), types.GenericAlias)  # State
}
# Parts that authors of learners build on: no user constructs them.
FOR_AUTHORS = tuple(f"{sklearn_fewshot.__name__}.{part}" for part in ("nn", "base"))
ESTIMATORS = {
    name: obj
    for name, obj in OBJECTS.items()
    if inspect.isclass(obj) and issubclass(obj, BaseEstimator) and not name.startswith(FOR_AUTHORS)
}
LEARNERS = [cls for cls in ESTIMATORS.values() if issubclass(cls, BaseFewShotLearner)]
REGRESSORS = [cls for cls in ESTIMATORS.values() if issubclass(cls, BaseFewShotRegressor)]
# What a user constructs or calls.
USER_OBJECTS = {
    name: obj
    for name, obj in OBJECTS.items()
    if callable(obj)
    and not name.startswith(FOR_AUTHORS)
    and not (inspect.isclass(obj) and issubclass(obj, Exception))
}
each_object = pytest.mark.parametrize("obj", USER_OBJECTS.values(), ids=USER_OBJECTS)
each_estimator = pytest.mark.parametrize("cls", ESTIMATORS.values(), ids=ESTIMATORS)


def sections(doc):
    """Split a numpydoc docstring into its sections; the first has the title ''."""
    doc = inspect.cleandoc(doc)
    headings = list(UNDERLINED.finditer(doc))
    starts = [0, *(heading.end() for heading in headings)]
    stops = [*(heading.start() for heading in headings), len(doc)]
    titles = ["", *(heading["title"] for heading in headings)]
    return {
        title: doc[start:stop].strip("\n")
        for title, start, stop in zip(titles, starts, stops, strict=True)
    }


def entries(section):
    """Return name and type of what a section lists, as 'a, b : type' for each of both."""
    found = {}
    for line in section.splitlines():
        if line and not line[0].isspace():
            names, _, kind = line.partition(" : ")
            found.update({name.strip(): kind for name in names.split(",")})
    return found


def documented_default(kind):
    """Return the default that a type declares, the empty parameter where it declares none."""
    match = re.search(r"default=(.+)$", kind)
    return ast.literal_eval(match[1]) if match else inspect.Parameter.empty


def signature_of(obj):
    parameters = list(inspect.signature(obj).parameters.values())
    prefix = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return {prefix.get(p.kind, "") + p.name: p.default for p in parameters if p.name != "self"}


def check_parameters(obj, *, all_defaults):
    """Names, order and defaults of the documented parameters are those of the signature."""
    signature = signature_of(obj)
    documented = entries(sections(obj.__doc__).get("Parameters", ""))
    assert list(documented) == list(signature)
    for name, kind in documented.items():
        default = documented_default(kind)
        if all_defaults or default is not inspect.Parameter.empty:
            assert default == signature[name]
            assert type(default) is type(signature[name])


# ------------------------------------------------------------------ documentation


def test_everything_in_all_is_there():
    for module in MODULES:
        names = getattr(module, "__all__", [])
        assert all(hasattr(module, name) for name in names)
        assert list(names) == sorted(set(names)) or "nn" in module.__name__


@pytest.mark.parametrize("name", OBJECTS)
def test_everything_says_in_one_sentence_what_it_is(name):
    if not callable(OBJECTS[name]):
        return
    summary = inspect.cleandoc(OBJECTS[name].__doc__).split("\n\n")[0]
    assert "\n" not in summary
    assert summary.endswith(".")
    assert len(summary) < 100


@each_object
def test_documented_defaults_equal_signatures(obj):
    check_parameters(obj, all_defaults=True)


@each_object
def test_methods_document_their_parameters(obj):
    if not inspect.isclass(obj):
        return
    for name, method in inspect.getmembers(obj, inspect.isfunction):
        is_ours = method.__module__.startswith(sklearn_fewshot.__name__)
        if is_ours and not name.startswith("_"):
            if list(signature_of(method)):
                check_parameters(method, all_defaults=False)  # `y=None` of scikit-learn's API
            assert method.__doc__.split("\n")[0].endswith(".")


@each_estimator
def test_estimators_have_the_sections_of_an_estimator(cls):
    found = sections(cls.__doc__)
    assert {"Parameters", "See Also", "Examples"} <= set(found)


@pytest.mark.parametrize("name", sklearn_fewshot.__all__)
@pytest.mark.filterwarnings("ignore:.* (training tasks of .* too few|has no validation tasks)")
def test_fitted_attributes_are_documented(name, table):
    cls = getattr(sklearn_fewshot, name)
    if cls not in ESTIMATORS.values() or "steps" in signature_of(cls):
        return
    documented = set(entries(sections(cls.__doc__).get("Attributes", "")))
    budget = {"max_epochs": 1, "episodes_per_epoch": 2, "n_way": 3, "n_shot": 1, "random_state": 0}
    known = cls().get_params()
    fitted = cls(**{name: value for name, value in budget.items() if name in known})
    y = np.arange(len(table.y)) % 7 if is_regressor(fitted) else table.y
    takes_tables = fitted.__sklearn_tags__().input_tags.two_d_array
    pictures = np.zeros((len(y), 8, 8), dtype=np.uint8)
    fitted.fit(pd.DataFrame(table.X).add_prefix("x") if takes_tables else pictures, y)
    public = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    assert public <= documented
    assert all(hasattr(fitted, name) for name in documented)


# ------------------------------------------------------------------ constructors


def lines_of_constructor(cls):
    """Return the names that a constructor lists, whether it takes others, and its statements."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__))).body
    listed = [arg.arg for arg in (*tree.args.args[1:], *tree.args.kwonlyargs)]
    return listed, tree.args.kwarg is not None, [ast.unparse(line) for line in tree.body]


@pytest.mark.parametrize("cls", [LearnerParameters, *ESTIMATORS.values()])
def test_constructors_only_assign(cls):
    """What the family has already is passed on to its constructor, by name."""
    if "__init__" not in vars(cls):
        return
    listed, takes_others, lines = lines_of_constructor(cls)
    family = signature_of(cls.__mro__[1].__init__) if takes_others else {}
    own = [name for name in listed if name not in family]
    passed_on = [f"{name}={name}" for name in listed if name in family]
    expected = [f"self.{name} = {name}" for name in own]
    if takes_others:
        expected.append(f"super().__init__({', '.join([*passed_on, '**common'])})")
    assert lines == expected


@pytest.mark.parametrize("cls", LEARNERS + REGRESSORS)
def test_learners_show_every_parameter_of_the_family(cls):
    base = BaseFewShotRegressor if cls in REGRESSORS else BaseFewShotLearner
    shown, family = signature_of(cls), signature_of(base)
    listed, _, _ = lines_of_constructor(cls)
    assert set(shown) == set(family) | set(listed)
    assert cls().get_params() == shown
    kinds = {parameter.kind for parameter in inspect.signature(cls).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("cls", LEARNERS)
def test_learners_refuse_unknown_parameters(cls):
    with pytest.raises(TypeError, match=r"no parameter 'n_wya'. Did you mean 'n_way'"):
        cls(n_wya=5)
    with pytest.raises(TypeError, match="positional"):
        cls(5)


def instances():
    """Return one instance of every estimator, with its defaults if it has them all."""
    for cls in ESTIMATORS.values():
        if "steps" in signature_of(cls):
            yield cls([("scale", StandardScaler()), ("last", sklearn_fewshot.FewShotClassifier())])
        else:
            yield cls()


@pytest.mark.parametrize("estimator", list(instances()), ids=lambda it: type(it).__name__)
def test_parameters_make_the_round_trip(estimator):
    params = estimator.get_params(deep=False)
    assert list(params) == sorted(signature_of(type(estimator)))
    copied = clone(estimator)
    assert copied is not estimator
    assert repr(copied) == repr(estimator)
    marks = {name: object() for name in params}
    if "steps" not in params:
        assert type(estimator)(**marks).get_params(deep=False) == marks
        assert copied.set_params(**marks).get_params(deep=False) == marks


@pytest.mark.parametrize("estimator", list(instances()), ids=lambda it: type(it).__name__)
def test_estimators_show_themselves(estimator):
    assert type(estimator).__name__ in repr(estimator)
    if hasattr(estimator, "_repr_html_"):
        assert type(estimator).__name__ in estimator._repr_html_()


def test_fitted_estimators_show_themselves(learner, table):
    for estimator in (learner, learner.adapt(table.X_new, table.y_new)):
        assert type(estimator).__name__ in estimator._repr_html_()


# ------------------------------------------------------------------ the package


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d*)?", sklearn_fewshot.__version__)


def test_arrays_given_are_not_written_to(learner, table):
    writeable = [array.flags.writeable for array in table]
    learner.adapt(table.X_new, table.y_new).predict(table.X)
    assert not any(writeable)
    np.testing.assert_array_equal(np.unique(table.y), learner.classes_)
