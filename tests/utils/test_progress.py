"""Progress bars: none unless asked for, and where they stand at the end."""

import pytest

from sklearn_fewshot.utils._progress import follow, progress


def last_line(capsys):
    """Return the last state of the last bar; nothing is printed to the standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_nothing_is_said_unless_asked_for(capsys):
    with progress(10, "query", verbose=False) as add:
        add(10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_counts_to_its_end(capsys):
    with progress(10, "query", verbose=True) as add:
        add(3)
        add(7)
    assert "100%" in (line := last_line(capsys))
    assert " 10/10 " in line
    assert " query/s" in line or "s/ query" in line


def test_a_bar_that_is_interrupted_stays_where_it_was(capsys):
    def stop(add):
        add(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress(10, "query", verbose=True) as add:
        stop(add)
    assert " 3/10 " in last_line(capsys)


def test_a_bar_follows_a_loop_and_vanishes(capsys):
    assert list(follow("abc", "letter", verbose=0, desc="letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
    assert list(follow("abc", "letter", verbose=1, desc="letters")) == ["a", "b", "c"]
    err = capsys.readouterr().err
    assert "letters:   0%" in err
    assert err.split("\r")[-2].strip() == ""  # overwritten by spaces
