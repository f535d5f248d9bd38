"""In Markdown pages, public names in code style lead to their pages in the reference."""

from api_reference import PAGES
from docutils import nodes
from sphinx.addnodes import pending_xref

# Functions of nn have names that pages use for other things: `embed`, `evaluate`.
FULL_NAMES = {
    name: f"{page.module}.{name}"
    for page in PAGES
    for group in page.groups
    for name in group.names
    if ".nn" not in page.module or name[0].isupper()
}


def setup(app):
    app.connect("doctree-read", link_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def link_names(app, doctree):
    docname = app.env.docname
    if app.env.doc2path(docname).suffix != ".md":
        return
    for literal in list(doctree.findall(nodes.literal)):
        full = FULL_NAMES.get(literal.astext().removesuffix("()"))
        if full and not isinstance(literal.parent, nodes.reference | nodes.title | pending_xref):
            literal.replace_self(reference_to(full, literal, docname))


def reference_to(full, literal, docname):
    reference = pending_xref(
        "", refdomain="py", reftype="obj", reftarget=full, refexplicit=True, refdoc=docname
    )
    reference += literal.deepcopy()
    return reference
