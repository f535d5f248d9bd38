"""The layers of the package, as declared in pyproject.toml, and what it takes of scikit-learn."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_layer_imports_only_what_is_below_it():
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def imported_names(path):
    """Return what a file imports from other packages: modules, and names with their module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_private(name):
    return name.startswith("sklearn.") and ("._" in name or name.startswith("sklearn.callback"))


def test_private_names_of_scikit_learn_are_met_in_one_place():
    package = ROOT / "sklearn_fewshot"
    files = [
        path.relative_to(package).as_posix()
        for path in sorted(package.rglob("*.py"))
        if any(map(is_private, imported_names(path)))
    ]
    assert files == ["training/_sklearn_callbacks.py", "utils/_sklearn.py"]
