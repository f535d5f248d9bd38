"""What is built and published: links of the README, packages, and versions said twice."""

import importlib.util
import re
import tomllib
from pathlib import Path

import sklearn_fewshot

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT.get("urls", {}).get("Repository")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def load_setup():
    spec = importlib.util.spec_from_file_location("setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_on_pypi_every_link_of_the_readme_is_absolute_and_leads_to_a_file():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    address = "https://example.org/somebody/something"
    published = load_setup().link_to_repository(readme, address)
    before, after = LINK.findall(readme), LINK.findall(published)
    assert LINK.sub("", published) == LINK.sub("", readme)
    assert len(before) == len(after) >= 20
    for link, absolute in zip(before, after, strict=True):
        assert absolute.startswith("https://")
        if link != absolute:
            view, branch, path = absolute.removeprefix(address + "/").split("/", 2)
            assert (view, branch, path) == ("raw" if "images" in link else "blob", "main", link)
            assert (ROOT / path).exists()


def test_links_that_are_absolute_or_within_the_page_stay():
    text = "[a](https://x.org/b.md) [c](#part) [d](mailto:e@f.org)"
    assert load_setup().link_to_repository(text, "https://example.org/g/h") == text


def test_the_readme_is_published_as_it_is_while_there_is_no_address():
    if REPOSITORY is None:
        assert load_setup().long_description() == (ROOT / "README.md").read_text(encoding="utf-8")
    else:
        assert REPOSITORY in load_setup().long_description()


def test_every_module_is_in_a_package():
    package = ROOT / "sklearn_fewshot"
    folders = {path.parent for path in package.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    assert (package / "py.typed").exists()
    assert (package / "persistence" / "models" / "glyphs.skops").exists()


def test_the_citation_names_this_version_and_address():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r'^([a-z-]+): "?(.+?)"?$', citation, re.MULTILINE))
    assert fields["version"] == sklearn_fewshot.__version__
    assert fields["license"] == PROJECT["license"]
    assert fields.get("repository-code") == REPOSITORY
