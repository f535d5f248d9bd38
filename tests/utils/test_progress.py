"""What the line of progress says, and when."""

import io
import sys

import pytest

from sklearn_fewshot.utils import _progress
from sklearn_fewshot.utils._progress import Progress, clock


class Screen(io.StringIO):
    """A terminal, if need be."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.fixture
def seconds(monkeypatch):
    """Time that a test turns by hand."""
    now = [0.0]
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: now[0])
    return now


def lines(monkeypatch, is_terminal, seconds, steps, total, verbose=True):
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    progress = Progress(total, "queries", verbose)
    for n_more, later in steps:
        seconds[0] += later
        progress.add(n_more)
    return screen.getvalue()


def test_nothing_is_said_unless_asked_for(monkeypatch, seconds):
    assert lines(monkeypatch, True, seconds, [(5, 9.0), (5, 9.0)], 10, verbose=False) == ""


def test_a_file_gets_a_line_every_few_seconds_and_at_the_end(monkeypatch, seconds):
    steps = [(10, 4.0), (10, 4.0), (10, 1.0), (10, 5.0), (60, 0.1)]
    assert lines(monkeypatch, False, seconds, steps, 100).splitlines() == [
        "20/100 queries, about 32 s left",
        "40/100 queries, about 21 s left",
        "100/100 queries, about 0 s left",
    ]


def test_a_terminal_gets_one_line_that_leaves_nothing_behind(monkeypatch, seconds):
    written = lines(monkeypatch, True, seconds, [(1, 60.0), (9, 1.0)], 10)
    assert written == ("\r1/10 queries, about 9:00 min left\r10/10 queries, about 0 s left    \n")


def test_the_output_of_a_notebook_is_rewritten_like_a_terminal(monkeypatch, seconds):
    monkeypatch.setattr(Screen, "__module__", "ipykernel.iostream")
    written = lines(monkeypatch, False, seconds, [(1, 60.0), (9, 1.0)], 10)
    assert written.count("\r") == 2
    assert written.count("\n") == 1


@pytest.mark.parametrize("is_terminal", [False, True])
def test_training_ends_its_line(monkeypatch, make_learner, table, is_terminal):
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    make_learner(verbose=1, max_epochs=3, refit=False).fit(table.X, table.y)
    written = screen.getvalue()
    assert written.endswith("\n")
    assert written.count("\r") == (3 if is_terminal else 0)
    assert "epoch 3/3" in written.splitlines()[-1]


def test_nothing_done_yet_is_no_division_by_zero(monkeypatch, seconds):
    assert "0/10" in lines(monkeypatch, True, seconds, [(0, 1.0)], 10)


@pytest.mark.parametrize(
    ("time", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (60.0, "1:00 min"), (199.6, "3:20 min"), (7200, "120:00 min")],
)
def test_times_are_readable(time, text):
    assert clock(time) == text
