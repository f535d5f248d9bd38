"""Resumable results and the tables made of them."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import joblib

RESULTS = Path(__file__).parent / "results"
MODELS = Path(__file__).parent / "models"
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"


Part = str | int  # of the name of a case: data set, learner, seed ...


class Study:
    """Results of a benchmark, all in one file: long ones resume where they were.

    A case is named by its parts, such as ``"letter", "ProtoNet", 0``. Each is stored as soon as it
    is finished; several processes may compute cases of a study at the same time.
    """

    def __init__(self, name: str, folder: Path = RESULTS) -> None:
        self.path = folder / f"{name}.json"

    def remember(self, *parts: Part, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a case, computed and stored if it is not there."""
        if (result := self.get(*parts)) is None:
            load = os.getloadavg()[0]
            result = compute() | {"load_before": round(load, 2), "machine": machine()}
            self.store({_case(parts): result})
        return result

    def get(self, *parts: Part) -> dict[str, Any] | None:
        """Return the result of a case, or None if it is not there."""
        return self._read().get(_case(parts))

    def find(self, *parts: Part) -> list[dict[str, Any]]:
        """Return the results of all cases whose names begin with these parts."""
        start = _case(parts) + "/"
        return [result for case, result in self._read().items() if case.startswith(start)]

    def store(self, results: dict[str, Any]) -> None:
        """Add results to the file. If this is killed, the file is the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # or another process's case may get lost
            unfinished = self.path.with_suffix(".tmp")
            unfinished.write_text(_one_line_each(self._read() | results))
            os.replace(unfinished, self.path)
        finally:
            os.close(folder)  # and with it the lock

    def _read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}


def _case(parts: tuple[Part, ...]) -> str:
    return "/".join(map(str, parts))


def _one_line_each(results: dict[str, Any]) -> str:
    """Lay out results so that a new one changes one line, with seed 10 behind seed 2."""
    order = sorted(results, key=lambda case: re.sub(r"\d+", lambda m: m[0].zfill(9), case))
    lines = [f"{json.dumps(case)}: {json.dumps(results[case])}" for case in order]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def kept(name: str, train: Callable[[], Any]) -> Any:
    """Return a stored model, or train and store it: more can be measured of it later.

    Models stay on the machine that trained them; they are not committed.
    """
    path = MODELS / f"{name}.joblib"
    if path.exists():
        return joblib.load(path)
    model = train()
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, path, compress=3)
    return model


def machine() -> str:
    """Describe processor, threads and versions in one line."""
    import numpy
    import sklearn
    import skorch
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # newer than torch 2.3
    bfloat16 = "with" if capabilities.get("avx512_bf16") else "without"
    return (
        f"{os.cpu_count()} cores {capabilities.get('cpu_name', platform.processor())} {bfloat16} "
        f"bfloat16, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, skorch "
        f"{skorch.__version__}, numpy {numpy.__version__}"
    )


# Pages whose results were not made again since the default training episodes changed.
FORMER_DEFAULTS = {
    "conformal",
    "fine_tuning",
    "learners",
    "memory",
    "open_world",
    "optimization",
    "series",
    "shots",
    "texts",
    "time_to_accuracy",
    "transductive",
}
FORMER = (
    "Learners that compare embedded samples were trained with the former defaults "
    "`n_shot=(1, 5), n_query=5, rotate_support=False, lr=1e-3` where the text gives no others; "
    "[choosing](../guide/choosing.md) says what the present ones change."
)


def write_page(name: str, title: str, intro: str, table: str, command: str, note: str) -> None:
    """Write a page of the documentation and print it."""
    if name in FORMER_DEFAULTS:
        note = f"{note} {FORMER}"
    page = (
        f"# {title}\n\n{intro}\n\n{table}\n\nCommand: `{command}` "
        f"({date.today().isoformat()}). {note}\n"
    )
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / f"{name}.md").write_text(page)
    print(page)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
