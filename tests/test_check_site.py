"""The check of the built site finds what does not hold."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "check_site.py"


def check(folder, *pages):
    """Write pages 0.html, 1.html, ... and run the check on them."""
    for k, text in enumerate(pages):
        (folder / f"{k}.html").write_text(text)
    return subprocess.run(
        [sys.executable, SCRIPT, folder, "--external"], capture_output=True, text=True, check=False
    )


def test_a_sound_site_passes(tmp_path):
    (tmp_path / "a b.png").write_bytes(b"")
    there = '<a href="1.html#here">x</a> <a href="#top" id="top">x</a> <img src="a%20b.png">'
    done = check(tmp_path, there, '<p id="here"><a href="https://example.org">x</a>')
    assert done.returncode == 0, done.stderr
    assert "https://example.org" in done.stdout


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<a href="gone.html">x</a>', "gone.html leads to no file"),
        ('<img src="gone.png">', "gone.png leads to no file"),
        ('<a href="#gone">x</a>', "#gone leads to no anchor"),
        ('<a href="1.html#gone">x</a>', "1.html#gone leads to no anchor"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads //cdn.example/x.css"),
    ],
)
def test_faults_are_found(tmp_path, page, fault):
    done = check(tmp_path, page, "<p>")
    assert done.returncode == 1
    assert f"0.html: {fault}" in done.stderr


def test_styles_are_read(tmp_path):
    (tmp_path / "site.css").write_text("@font-face { src: url(https://cdn.example/x.woff2) }")
    done = check(tmp_path, "<p>")
    assert "site.css: loads https://cdn.example/x.woff2" in done.stderr


def test_an_empty_folder_is_no_site(tmp_path):
    assert check(tmp_path).returncode == 1
