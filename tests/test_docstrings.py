"""Examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import sklearn_fewshot

MODULES = [
    module.name
    for module in pkgutil.walk_packages(sklearn_fewshot.__path__, "sklearn_fewshot.")
    if not module.ispkg
]


def examples(name):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [example for example in found if example.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_examples(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report = []
    for example in examples(name):
        runner.run(example, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)


def test_there_are_examples():
    assert sum(len(examples(name)) for name in MODULES) >= 8
