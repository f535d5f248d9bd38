"""A line that says how far something is."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN = 5.0  # lines, where they cannot be rewritten


class Line:
    """A line that is written over and over: on a terminal, and in the output of a notebook's cell.

    Elsewhere, in files say, each is a new line.
    """

    def __init__(self) -> None:
        self._width = 0  # of what stands there

    @property
    def can_be_rewritten(self) -> bool:
        """Whether what is printed can take the place of what was printed before."""
        return sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")

    def write(self, text: str, *, is_last: bool = False) -> None:
        """Write the text; the last one stays."""
        if self.can_be_rewritten:
            sys.stdout.write(f"\r{text.ljust(self._width)}" + "\n" * is_last)
            self._width = 0 if is_last else len(text)
        else:
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Let what stands there stay."""
        if self._width:
            sys.stdout.write("\n")
            self._width = 0


class Progress:
    """Counts what is done: one line, rewritten where it can be, else a new one every few seconds.

    Parameters
    ----------
    total : int
        How much there is to do.
    noun : str
        What is counted.
    verbose : bool
        Whether to print at all.
    """

    def __init__(self, total: int, noun: str, verbose: bool) -> None:
        self.total, self.noun, self.verbose = total, noun, verbose
        self.n_done = 0
        self._line = Line()
        self._start = self._last = time.perf_counter()

    def add(self, n_more: int) -> None:
        """Count, and say so now and then."""
        self.n_done += n_more
        now, at_end = time.perf_counter(), self.n_done >= self.total
        is_time = self._line.can_be_rewritten or at_end or now - self._last >= SECONDS_BETWEEN
        if not self.verbose or not is_time:
            return
        self._last = now
        left = (now - self._start) / max(1, self.n_done) * (self.total - self.n_done)
        text = f"{self.n_done}/{self.total} {self.noun}, about {clock(left)} left"
        self._line.write(text, is_last=at_end)


def clock(seconds: float) -> str:
    """Return "45 s" or "3:20 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d} min"
