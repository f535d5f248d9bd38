"""Progress bars of tqdm, shown if ``verbose`` is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def progress_bar(total: int, unit: str, **options: Any) -> Any:
    """Open a bar on the standard error stream, or in the output of a notebook's cell.

    Parameters
    ----------
    total : int
        How much there is to do.
    unit : str
        What is counted, in the singular.
    **options
        Of :class:`tqdm.tqdm`.

    Returns
    -------
    bar : tqdm.tqdm
    """
    # Imported on demand: in a notebook that has no widgets, tqdm warns of it on import.
    from tqdm.auto import tqdm

    return tqdm(total=int(total), unit=f" {unit}", **options)


@contextmanager
def progress(total: int, unit: str, verbose: int) -> Iterator[Callable[[int], Any]]:
    """Show a bar while the block runs, if it is wanted.

    Yields
    ------
    add : callable
        Counts so many more as done.

    Examples
    --------
    >>> from sklearn_fewshot.utils._progress import progress
    >>> with progress(3, "query", verbose=False) as add:
    ...     add(3)
    """
    if not verbose:  # not even a bar that is disabled: tqdm starts a thread with its first
        yield lambda n_more: None
        return
    with progress_bar(total, unit) as bar:
        yield bar.update
