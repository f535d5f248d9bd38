"""The modules that users and authors of learners import from."""

import importlib
import pkgutil

import sklearn_fewshot

# The steps from episodes to learners; their public names are those of the package.
INSIDE = {
    f"sklearn_fewshot.{name}"
    for name in (
        "adapted",
        "calibration",
        "episodes",
        "learners",
        "network",
        "persistence",
        "training",
        "utils",
    )
}


def public_modules():
    """Return the package and those of its modules whose path has no private or inner part."""
    found = pkgutil.walk_packages(sklearn_fewshot.__path__, "sklearn_fewshot.")
    names = [info.name for info in found if "._" not in info.name]
    outside = [name for name in names if ".".join(name.split(".")[:2]) not in INSIDE]
    return [sklearn_fewshot, *map(importlib.import_module, outside)]
