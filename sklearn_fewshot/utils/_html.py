"""Views of results in notebooks: small tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ._typing import Way


def html_table(
    rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), caption: str = ""
) -> str:
    """Return a table in HTML, in the colours of the page around it.

    Parameters
    ----------
    rows : iterable of sequence of str
        Cells; the first of a row names it.
    header : sequence of str, default=()
        Names of the columns.
    caption : str, default=""
        Title above the table.

    Returns
    -------
    table : str
        All texts are escaped.
    """
    left = 'style="text-align: left"'
    parts = [f"<caption {left}><b>{escape(caption)}</b></caption>"] if caption else []
    if header:
        parts.append(f"<tr>{''.join(f'<th {left}>{escape(name)}</th>' for name in header)}</tr>")
    for name, *cells in rows:
        others = "".join(f"<td {left}>{escape(cell)}</td>" for cell in cells)
        parts.append(f"<tr><th {left}>{escape(name)}</th>{others}</tr>")
    return f"<table>{''.join(parts)}</table>"


def range_text(value: Way) -> str:
    """Return "5", or "5 to 10" for a range."""
    return " to ".join(str(end) for end in value) if isinstance(value, tuple | list) else str(value)
