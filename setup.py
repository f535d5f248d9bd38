"""The one thing that pyproject.toml cannot say: the README as PyPI shows it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent
RELATIVE = re.compile(r"\]\((?!https?:|mailto:|#)(?P<path>[^)\s]+)\)")


def link_to_repository(text: str, repository: str) -> str:
    """Make relative links and pictures of a Markdown page absolute; the repository is on GitHub."""

    def absolute(link: re.Match[str]) -> str:
        view = "raw" if link["path"].endswith(".png") else "blob"
        return f"]({repository}/{view}/main/{link['path']})"

    return RELATIVE.sub(absolute, text)


def long_description() -> str:
    """Return the README; as it is while pyproject.toml has no address of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    repository = project.get("urls", {}).get("Repository")
    return readme if repository is None else link_to_repository(readme, repository)


if __name__ == "__main__":
    from setuptools import setup

    setup(long_description=long_description(), long_description_content_type="text/markdown")
