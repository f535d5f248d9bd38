"""Resumable results and the tables made of them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import joblib

RESULTS = Path(__file__).parent / "results"
MODELS = Path(__file__).parent / "models"
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"


def remembered(name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a stored result, or compute and store it: long benchmarks resume where they were."""
    path = RESULTS / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    load = os.getloadavg()[0]
    result = compute() | {"load_before": round(load, 2), "machine": machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return result


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

    capabilities = torch.cpu.get_capabilities()
    bfloat16 = "with" if capabilities.get("avx512_bf16") else "without"
    return (
        f"{os.cpu_count()} cores {capabilities.get('cpu_name', platform.processor())} {bfloat16} "
        f"bfloat16, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, skorch "
        f"{skorch.__version__}, numpy {numpy.__version__}"
    )


def write_page(name: str, title: str, intro: str, table: str, command: str, note: str) -> None:
    """Write a page of the documentation and print it."""
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
