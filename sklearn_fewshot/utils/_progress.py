"""A line that says how far something is."""

from __future__ import annotations

import sys
import time

CLEAR_REST = "\x1b[K"  # of a terminal's line, where the one before was longer
SECONDS_BETWEEN = 5.0  # lines, where they cannot be rewritten


class Progress:
    """Counts what is done: one line, rewritten on a terminal, else a new one every few seconds.

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
        self._start = self._last = time.perf_counter()

    def add(self, n_more: int) -> None:
        """Count, and say so now and then."""
        self.n_done += n_more
        now, at_end = time.perf_counter(), self.n_done >= self.total
        is_terminal = sys.stdout.isatty()
        if not self.verbose or not (is_terminal or at_end or now - self._last >= SECONDS_BETWEEN):
            return
        self._last = now
        left = (now - self._start) / max(1, self.n_done) * (self.total - self.n_done)
        line = f"{self.n_done}/{self.total} {self.noun}, about {clock(left)} left"
        sys.stdout.write(f"\r{line}{CLEAR_REST}" if is_terminal else line)
        sys.stdout.write("" if is_terminal and not at_end else "\n")
        sys.stdout.flush()


def clock(seconds: float) -> str:
    """Return "45 s" or "3:20 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d} min"
