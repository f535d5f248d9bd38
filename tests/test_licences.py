"""The list of licences names every package that comes with this one, and says what they say."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
ROW = re.compile(r"^\| ([a-z0-9-]+) \| .* \| (.+) \|$", re.MULTILINE)
LISTED = dict(ROW.findall(PAGE.read_text().partition("| --- |")[2]))
EXTRAS = ["", "images", "plot", "dask", "service", "onnx"]
ONLY_WITH_CUDA = ("nvidia-", "cuda-", "triton")
KINDS = ["BSD", "MIT", "PSF", "MPL", "Apache", "HPND", "CMU", "Unlicense", "atplotlib"]


def requirements(name, extras=("",)):
    """Yield the names of what a package asks for here."""
    for text in metadata.requires(name) or ():
        wanted = Requirement(text)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras):
            yield wanted.name.lower().replace("_", "-")


def installed_with(name, extras):
    """Return the names of all packages that come with one; of extras, those that they name."""
    found, new = set(), set(requirements(name, extras))
    optional = new - set(requirements(name))
    while new:
        found |= new
        asked = {other for one in new - optional for other in requirements(one)}
        new = asked - found
    return {one for one in found if not one.startswith(ONLY_WITH_CUDA)}


def stated(name):
    """Return what the metadata of a package say of its licence."""
    about = metadata.metadata(name)
    classifiers = [c for c in about.get_all("Classifier", []) if c.startswith("License")]
    first_line = (about.get("License") or "").strip().partition("\n")[0]
    named = " ".join([about.get("License-Expression") or "", first_line, *classifiers])
    return named if named.strip() != "License :: OSI Approved" else first_line_of_file(name)


def first_line_of_file(name):
    """Return the first line of the licence's text, for packages that give no other name."""
    files = metadata.metadata(name).get_all("License-File")
    texts = [file for file in metadata.files(name) if file.name in files]
    return texts[0].read_text().strip().partition("\n")[0]


def test_every_package_is_listed():
    assert installed_with("sklearn-fewshot", EXTRAS) <= set(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_the_licence_is_that_of_the_metadata(name):
    try:
        says = stated(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} does not come with this version of what asked for it")
    assert any(kind in says and kind in LISTED[name] for kind in KINDS), says
