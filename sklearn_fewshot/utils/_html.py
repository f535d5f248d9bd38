"""Views in notebooks: tables of a few facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

MOST_NAMES = 5


class ViewWithFacts:
    """Puts a few facts about an estimator above its diagram.

    scikit-learn asks for the view of an estimator by two names, ``_repr_mimebundle_`` in notebooks
    and ``_repr_html_`` elsewhere; both are defined only where diagrams are wanted.
    """

    def _facts(self) -> dict[str, str]:
        """Return what matters about the estimator; nothing before ``fit``."""
        raise NotImplementedError

    def _repr_html_inner(self) -> str:
        return self._table_of_facts() + super()._repr_html_inner()  # type: ignore[misc]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        views = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in views:
            views["text/html"] = self._table_of_facts() + views["text/html"]
        return views

    def _table_of_facts(self) -> str:
        facts = self._facts()
        return html_table(facts.items(), caption=type(self).__name__) if facts else ""


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
        What stands above.

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


def names_text(classes: np.ndarray) -> str:
    """Return how many classes there are, and the names of a few."""
    names = [str(name) for name in classes[:MOST_NAMES]]
    more = ", ..." if len(classes) > MOST_NAMES else ""
    return f"{len(classes):,}: {', '.join(names)}{more}"


def range_text(value: Any) -> str:
    """Return "5", or "5 to 10" for a range."""
    return " to ".join(str(end) for end in value) if isinstance(value, tuple | list) else str(value)


def range_of(counts: np.ndarray) -> str:
    """Return "5 each" or "1 to 7"."""
    low, high = int(np.min(counts)), int(np.max(counts))
    return f"{low:,} each" if low == high else f"{low:,} to {high:,}"


def clock(seconds: float) -> str:
    """Return "45 s" or "3:20 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d} min"
