"""Check the built site without a network: links, anchors, and that pages load nothing from outside.

Usage: ``python docs/check_site.py docs/_build/html``. Every relative ``href`` and ``src`` must lead
to a file, every ``#anchor`` to an element of its page. Scripts, styles, fonts and images of other
hosts are errors. Links to other hosts are counted, and listed with ``--external``.
"""

import argparse
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LOADED = {"script", "img", "iframe", "source", "video", "audio", "embed", "object"}
LOADED_LINKS = {"stylesheet", "preload", "modulepreload", "icon", "shortcut icon", "preconnect"}
IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")


class Page(NamedTuple):
    """What a page holds: its anchors, what it links to, and what a browser loads with it."""

    anchors: set[str]
    links: list[str]
    loads: list[str]


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.page = Page(set(), [], [])

    def handle_starttag(self, tag, attrs):
        attrs = {name: value or "" for name, value in attrs}
        self.page.anchors.update(attrs[name] for name in ("id", "name") if name in attrs)
        loaded = tag in LOADED or (tag == "link" and attrs.get("rel", "").lower() in LOADED_LINKS)
        for name in ("href", "src", "data", "poster"):
            if attrs.get(name) and (name != "data" or tag == "object"):
                (self.page.loads if loaded else self.page.links).append(attrs[name])


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def read_style(path):
    return Page(set(), [], IN_STYLES.findall(path.read_text(encoding="utf-8")))


def is_external(url):
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in {"http", "https", "mailto"}


def target_of(path, url):
    """Return the file that a URL of a page leads to, and the anchor in it."""
    parts = urlsplit(url)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def faults_of(path, pages):
    """Yield a sentence for each link of a page that leads nowhere, and each thing from outside."""
    page = pages[path]
    for url in page.loads:
        if is_external(url):
            yield f"loads {url} from another host"
    for url in {*page.links, *page.loads}:
        if is_external(url) or urlsplit(url).scheme in {"data", "javascript"}:
            continue
        target, anchor = target_of(path, url)
        if not target.is_file():
            yield f"{url} leads to no file"
        elif anchor and target in pages and anchor not in pages[target].anchors:
            yield f"{url} leads to no anchor"


def read_site(folder):
    """Read pages and styles; the HTML in ``_static`` is templates of the theme."""
    static = folder / "_static"
    pages = {path: read(path) for path in folder.rglob("*.html") if static not in path.parents}
    return pages | {path: read_style(path) for path in folder.rglob("*.css")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--external", action="store_true", help="list links to other hosts")
    options = parser.parse_args()
    folder = options.folder.resolve()
    pages = read_site(folder)
    if not pages:
        sys.exit(f"No pages in {folder}.")
    faults = [
        f"{path.relative_to(folder)}: {fault}"
        for path in sorted(pages)
        for fault in sorted(faults_of(path, pages))
    ]
    links = [url for page in pages.values() for url in page.links]
    external = Counter(url for url in links if is_external(url))
    if options.external:
        print(*(f"{count:5d}  {url}" for url, count in sorted(external.items())), sep="\n")
    print(
        f"{len(pages)} pages and styles, {len(links)} links: {len(faults)} faults; "
        f"{len(external)} addresses of other hosts, not visited."
    )
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
