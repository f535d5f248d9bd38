"""Pages in Markdown: code that parses and imports what there is, links that lead to files."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

from docs.extensions.contents import contents_of, contents_of_site

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*/*.md")]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
# Made by `make docs`.
MADE = ("auto_examples/", "api/")

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES]
)


def imports_of(code):
    """Yield (module, name) for what code imports from this package."""
    if code.startswith(">>>"):
        code = "".join(example.source for example in doctest.DocTestParser().get_examples(code))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("sklearn_fewshot"):
            yield from ((node.module, alias.name) for alias in node.names)


@each_page
def test_code_parses_and_imports_what_there_is(page):
    for code in BLOCK.findall(page.read_text()):
        for module, name in imports_of(code):
            assert hasattr(importlib.import_module(module), name), name


@each_page
def test_links_lead_to_files(page):
    links = LINK.findall(page.read_text())
    relative = [link for link in links if not link.removeprefix("../").startswith(MADE)]
    assert [link for link in relative if not (page.parent / link).exists()] == []


def test_what_an_index_links_to_stands_below_it(tmp_path):
    pages = {
        "guide/index.md": "[b](b.md) [a](a.md#part) [b](b.md) [x](../x.md) [o](../other/o.md)",
        "guide/a.md": "",
        "guide/b.md": "[y](../y.md)",
        "other/o.md": "",
        "index.md": "",
        "x.md": "",
        "y.md": "",
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert contents_of(tmp_path, "guide/index") == ["guide/b", "guide/a", "x"]
    assert contents_of_site(tmp_path, ["guide/index"]) == ["guide/index", "y"]


def test_every_page_has_its_place_in_the_site():
    docs = ROOT / "docs"
    indexes = [path.parent.name for path in docs.glob("*/index.md")]
    placed = {*contents_of_site(docs, []), *(f"{name}/index" for name in indexes), "index"}
    for name in indexes:
        placed |= set(contents_of(docs, f"{name}/index"))
    pages = [page for page in PAGES if docs in page.parents]
    assert {page.relative_to(docs).with_suffix("").as_posix() for page in pages} <= placed
