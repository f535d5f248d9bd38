"""The dask example gives the same numbers as one process, and says what to install without dask.

The other examples train for minutes, and are run by hand.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DASK = Path(__file__).parents[1] / "examples" / "dask_cluster.py"


def run(folder, *arguments):
    """Run python in a process of its own, in a folder that it may write to."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dask_cluster_gives_the_same_numbers(tmp_path):
    pytest.importorskip("distributed")
    done = run(tmp_path, DASK)
    assert done.returncode == 0, done.stderr
    here, _, there = done.stdout.partition("On the cluster:")
    numbers = [[line for line in part.splitlines() if "±" in line] for part in (here, there)]
    assert len(numbers[0]) == 2
    assert numbers[0] == numbers[1]
    assert "scores of episodes are the same." in there


def test_without_dask_the_example_says_what_to_install(tmp_path):
    missing = "import runpy, sys; sys.modules['distributed'] = None"
    done = run(tmp_path, "-c", f"{missing}; runpy.run_path({str(DASK)!r})")
    assert done.returncode == 1
    assert "not installed: pip install distributed" in done.stderr
    assert "Traceback" not in done.stderr
