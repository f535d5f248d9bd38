"""Tables of contents from plain Markdown: what an index page links to stands below it.

So the pages hold no directives, and read well on GitHub. The links of ``guide/index.md`` to pages
of its folder or of the top folder are the contents of the guide, in their order; the sections of
``conf.py``, and behind them what no index has, are the contents of the site.
"""

import re
from pathlib import Path

LINK = re.compile(r"\]\(([^)#\s]+)\.md(?:#[^)\s]*)?\)")


def setup(app):
    app.add_config_value("site_sections", [], "env")
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_contents(app, docname, source):
    root = Path(app.srcdir).resolve()
    if docname == "index":
        source[0] += toctree(contents_of_site(root, app.config.site_sections))
    elif (root / f"{docname}.md").is_file() and Path(docname).name == "index":
        source[0] += toctree(contents_of(root, docname))


def toctree(names):
    lines = ["", "", "```{toctree}", ":hidden:", "", *(f"/{name}" for name in names), "```", ""]
    return "\n".join(lines)


def contents_of(root, docname):
    """Return the pages that an index links to, each once."""
    page = root / f"{docname}.md"
    links = LINK.findall(page.read_text(encoding="utf-8"))
    paths = [(page.parent / f"{link}.md").resolve() for link in links]
    inside = [path for path in paths if path.is_file() and path.parent in (page.parent, root)]
    names = [path.relative_to(root).with_suffix("").as_posix() for path in inside]
    return [name for name in dict.fromkeys(names) if not name.endswith("index")]


def contents_of_site(root, sections):
    taken = {"index", *sections}
    for path in root.glob("*/index.md"):
        taken |= set(contents_of(root, f"{path.parent.name}/index"))
    return [*sections, *(path.stem for path in sorted(root.glob("*.md")) if path.stem not in taken)]
