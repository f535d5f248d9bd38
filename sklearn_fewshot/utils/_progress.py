"""Progress bars of tqdm, shown if ``verbose`` is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


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
def progress(total: int, unit: str, verbose: int, **options: Any) -> Iterator[Callable[[int], Any]]:
    """Show a bar while the block runs, if it is wanted; the options are tqdm's.

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
    with progress_bar(total, unit, **options) as bar:
        yield bar.update


def follow(items: Sequence[T], unit: str, verbose: int, desc: str) -> Iterator[T]:
    """Yield the items and show a bar of those that are done, if it is wanted.

    The bar vanishes at the end.

    Examples
    --------
    >>> from sklearn_fewshot.utils._progress import follow
    >>> list(follow([1, 2], "fold", verbose=0, desc="folds"))
    [1, 2]
    """
    with progress(len(items), unit, verbose, desc=desc, leave=False) as add:
        for item in items:
            yield item
            add(1)
