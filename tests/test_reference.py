"""The API reference has every public name, each with an example, and docstrings are in form."""

import doctest
import importlib
import inspect
import types

import pytest

import sklearn_fewshot
from docs.api_reference import DATA, PAGES
from tests.public_modules import public_modules

PREFIX = f"{sklearn_fewshot.__name__}."
# Forms of numpydoc that the docstrings do not follow, with the reason.
NOT_ASKED_FOR = {
    "ES01": "where one sentence says all, a second paragraph would say it again",
    "RT02": "results have names, as scikit-learn's have",
    "RT03": "and the name, with the first sentence, tells what the result is",
}
NOT_ASKED_OF_MEMBERS = {
    "EX01": "the example of the class shows its methods",
    "SA01": "its page has them side by side",
}
# Parts for authors of learners: mypy --strict checks their signatures, which say the types.
NOT_ASKED_OF_PARTS = {
    "PR01": "tensors have the names and shapes of their family, in the sentence where they differ",
    "RT01": "the first sentence says what is returned",
    "SA01": "the page of the module has the parts side by side",
    "YD01": "the first sentence says what is yielded",
}
NOT_ASKED_OF = {
    "base.BaseFewShotLearner": {"PR01": "its parameters stand with every learner, which has more"},
    "base.BaseFewShotRegressor": {"PR01": "its parameters stand with every regressor"},
}


def public_names():
    """Yield the names in ``__all__`` of the public modules, but for aliases of types."""
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            if not isinstance(getattr(module, name), types.GenericAlias):
                yield f"{module.__name__}.{name}"


def get(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


GROUPS = [(page.module, group) for page in PAGES for group in page.groups]
LISTED = [f"{module}.{name}" for module, group in GROUPS for name in group.names]
NAMES = list(public_names())
OBJECTS = {name: get(name) for name in NAMES if callable(get(name))}


def members_of(name):
    """Yield the names of a class's public methods and properties that this package defines."""
    for attribute in dir(OBJECTS[name]) if inspect.isclass(OBJECTS[name]) else ():
        found = inspect.getattr_static(OBJECTS[name], attribute)
        function = getattr(found, "fget", None) or getattr(found, "__func__", found)
        is_ours = inspect.isfunction(function) and function.__module__.startswith(PREFIX)
        if is_ours and not attribute.startswith("_"):
            yield f"{name}.{attribute}"


def faults(name, excluded):
    from numpydoc.validate import validate

    found = validate(name)["errors"]
    return [f"{name}: {code} {text}" for code, text in found if code not in excluded]


def test_every_public_name_is_in_the_reference_once():
    assert len(NAMES) > 100
    assert sorted(LISTED) == sorted(NAMES)


def test_what_has_no_docstring_is_described_in_the_reference():
    assert set(DATA) == set(NAMES) - set(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_public_name_has_an_example(name):
    assert doctest.DocTestParser().get_examples(inspect.getdoc(OBJECTS[name]))


@pytest.mark.parametrize("name", DATA)
def test_examples_of_the_reference(name):
    example = doctest.DocTestParser().get_doctest(DATA[name], {}, name, None, None)
    assert example.examples
    assert not doctest.DocTestRunner().run(example).failed


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_are_numpydoc(name):
    pytest.importorskip("numpydoc")
    excluded = NOT_ASKED_FOR | NOT_ASKED_OF.get(name.removeprefix(PREFIX), {})
    if name.startswith(f"{PREFIX}nn."):
        excluded |= NOT_ASKED_OF_PARTS
    assert faults(name, excluded) == []
    for member in members_of(name):
        assert faults(member, excluded | NOT_ASKED_OF_MEMBERS) == []


def test_members_are_looked_at():
    members = list(members_of("sklearn_fewshot.ProtoNetClassifier"))
    assert {name.rpartition(".")[2] for name in members} >= {"fit", "adapt", "predict", "module_"}
