"""Write the pages of the API reference from the data in ``api_reference.py``."""

import importlib
import inspect
import re
from pathlib import Path

from api_reference import DATA, PAGES

SUMMARY = """\
.. autosummary::
   :toctree: generated
   :nosignatures:
   :template: public_name.rst

{names}
"""
SHAPE = re.compile(r"(?<!`)\((?:\w+, ?)+(?:\*?\w+)?\)")  # (n_samples, *input_shape)


def setup(app):
    app.connect("config-inited", write_pages, priority=100)  # before autosummary reads them
    app.connect("autodoc-process-docstring", escape_shapes, priority=900)  # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app, config):
    folder = Path(app.srcdir, "api")
    folder.mkdir(exist_ok=True)
    for page in PAGES:
        update(folder / f"{page.module}.rst", page_text(page))
    update(folder / "index.rst", index_text())
    config.autosummary_context = {"documented": members_of_classes()}


def update(path, text):
    """Leave a file alone that is right already, so that Sphinx need not read it again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def escape_shapes(app, what, name, obj, options, lines):
    """Keep the star of a shape from starting an emphasis, and its last underscore a link."""
    for k, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[k] = SHAPE.sub(escape, line)


def escape(shape):
    return re.sub(r"\*|_(?=[,)])", r"\\\g<0>", shape[0])


# --- pages --------------------------------------------------------------------------------------


def underlined(title, line):
    return f"{title}\n{line * len(title)}\n"


def index_text():
    toctree = [".. toctree::", "   :maxdepth: 2", "", *(f"   {page.module}" for page in PAGES)]
    start = "Every public name, by module. Each has an example, which the tests run."
    return "\n".join([underlined("API reference", "="), start, "", *toctree, ""])


def page_text(page):
    start = [underlined(page.module, "="), page.text, "", f".. currentmodule:: {page.module}", ""]
    return "\n".join([*start, *(group_text(page.module, group) for group in page.groups)])


def group_text(module, group):
    objects = [name for name in group.names if f"{module}.{name}" not in DATA]
    parts = [SUMMARY.format(names="\n".join(f"   {name}" for name in objects))]
    parts += [data_text(module, name) for name in group.names if name not in objects]
    return "\n".join([underlined(group.title, "-"), group.text, "", *parts])


def data_text(module, name):
    lines = DATA[f"{module}.{name}"].splitlines()
    return "\n".join([f".. py:data:: {name}", "", *(f"   {line}" for line in lines), ""])


# --- members of classes -------------------------------------------------------------------------


def members_of_classes():
    """Return methods and properties that are this package's, for ``templates/public_name.rst``."""
    found = {
        f"{page.module}.{name}": getattr(importlib.import_module(page.module), name)
        for page in PAGES
        for group in page.groups
        for name in group.names
    }
    return {name: members_of(obj) for name, obj in found.items() if inspect.isclass(obj)}


def members_of(cls):
    public = [name for name in dir(cls) if not name.startswith("_")]
    found = {name: inspect.getattr_static(cls, name) for name in public}
    return {
        "properties": [name for name in public if is_ours(getattr(found[name], "fget", None))],
        "methods": [
            name for name in public if is_ours(getattr(found[name], "__func__", found[name]))
        ],
    }


def is_ours(function):
    return inspect.isfunction(function) and function.__module__.startswith("sklearn_fewshot")
