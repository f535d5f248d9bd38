"""Pages in Markdown: code that parses and imports what there is, links that lead to files."""

import ast
import doctest
import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.extensions.contents import contents_of, contents_of_site

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*/*.md")]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
CODE_LINK = re.compile(r"\[`([\w.]+)`\]\((\S+?\.py)\)")
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


@each_page
def test_links_in_code_style_lead_to_what_they_name(page):
    for name, link in CODE_LINK.findall(page.read_text()):
        if not name.endswith(".py"):
            scope = ast.parse((page.parent / link).read_text()).body
            for part in name.split("."):
                found = [node for node in scope if getattr(node, "name", None) == part]
                assert found, f"{name} is not in {link}"
                scope = found[0].body


def test_the_walks_lead_from_room_to_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    _, fit, predict = re.split(r"^## .*$", page, flags=re.MULTILINE)
    for walk in (fit, predict):
        steps = re.split(r"^\d+\. ", walk, flags=re.MULTILINE)[1:]
        assert len(steps) > 5
        assert all(CODE_LINK.search(step) for step in steps)


def test_the_picture_shows_the_folders_and_their_imports():
    """An arrow for each import, but for those that other arrows lead to."""
    package = ROOT / "sklearn_fewshot"
    rooms = {path.stem for path in package.iterdir() if path.name[0] not in "_."} - {"py"}
    imports = {room: imports_within(package, room) & rooms - {room} for room in rooms}
    reached = {room: reach(imports, room) for room in rooms}
    wanted = {
        f"{room}-{other}"
        for room, others in imports.items()
        for other in others
        if not any(other in reached[between] for between in others)
    }
    picture = ElementTree.parse(ROOT / "docs" / "images" / "architecture.svg")
    shown = {node.get("id") for node in picture.iter() if node.get("id")} - {"tip"}
    assert shown == rooms | wanted
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert {room for room in rooms if f"[`{room}/`]" not in page} == {"base"}


def imports_within(package, room):
    """Return the names that the modules of a room import from below the package."""
    found = set()
    for path in [package / f"{room}.py", *(package / room).rglob("*.py")]:
        if path.exists():
            parents = path.relative_to(package).parts[:-1]
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level == len(parents) + 1:
                    names = [node.module] if node.module else [alias.name for alias in node.names]
                    found |= {name.split(".")[0] for name in names}
    return found


def reach(imports, room):
    """Return everything that a room imports, directly or not."""
    return set().union(*({other} | reach(imports, other) for other in imports[room]))


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
