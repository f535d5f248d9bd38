"""The service of the examples, by real clients: in this process, and over a socket."""

import importlib.util
import io
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    PictureReader,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx2")
pytest.importorskip("uvicorn")
APP = Path(__file__).parents[1] / "examples" / "service" / "app.py"


@pytest.fixture(scope="module")
def pipe(make_learner, table):
    return make_fewshot_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)


@pytest.fixture
def path(pipe, table, tmp_path):
    """Return the file of a pipeline that knows two of the four new classes."""
    known = np.isin(table.y_new, np.unique(table.y_new)[:2])
    path = tmp_path / "model.fsl"
    save_model(adapt(pipe, table.X_new[known], table.y_new[known]), path)
    return path


@pytest.fixture
def serve(monkeypatch):
    """Start the application on a model file: ``with serve(path) as client``."""
    from fastapi.testclient import TestClient

    spec = importlib.util.spec_from_file_location("service_app", APP)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "service_app", module)
    spec.loader.exec_module(module)

    def start(path, **options):
        monkeypatch.setenv("FEWSHOT_MODEL", str(path))
        return TestClient(module.app, **options)

    return start


def png(color):
    content = io.BytesIO()
    Image.new("RGB", (20, 30), color).save(content, format="PNG")
    return ("files", ("picture.png", content.getvalue(), "image/png"))


# ------------------------------------------------------------------ what it answers


def test_answers_are_those_of_the_classifier(serve, path, table):
    labels, proba = load_model(path).predict_top(table.X_new, 2)
    with serve(path) as client:
        answer = client.post("/predict/rows?k=2", json={"rows": table.X_new.tolist()})
    assert answer.status_code == 200
    assert [[one["label"] for one in row] for row in answer.json()] == labels.tolist()
    found = [[one["probability"] for one in row] for row in answer.json()]
    np.testing.assert_allclose(found, proba, atol=1e-9)


def test_classes_that_are_added_survive_a_restart(serve, path, table):
    old, new = np.unique(table.y_new)[:2], np.unique(table.y_new)[2]
    rows = table.X_new[table.y_new == new]
    with serve(path) as client:
        assert client.get("/classes").json() == old.tolist()
        client.post(f"/classes/{new}/rows", json={"rows": rows.tolist()}).raise_for_status()
        before = client.post("/predict/rows", json={"rows": rows.tolist()}).json()
        assert client.delete(f"/classes/{old[0]}").json() == [old[1], new]
    with serve(path) as client:
        assert client.get("/classes").json() == [old[1], new]
        after = client.post("/predict/rows", json={"rows": rows.tolist()}).json()
    assert sum(row[0]["label"] == new for row in before) >= 8
    assert sum(row[0]["label"] == new for row in after) >= 8


def test_pictures_are_uploaded(serve, make_learner, tmp_path):
    shades = [(10 * n, 100, 250 - 10 * n) for n in range(24)]
    pictures = [Image.new("RGB", (30, 20), shade) for shade in shades]
    pipe = make_fewshot_pipeline(PictureReader(16), make_learner())
    pipe.fit(pictures, np.repeat(np.arange(6), 4))
    save_model(adapt(pipe, pictures[:2], [10, 10]), tmp_path / "model.fsl")
    with serve(tmp_path / "model.fsl") as client:
        files = [png("red"), png("darkred")]
        assert client.post("/classes/11/pictures", files=files).json() == [10, 11]
        answer = client.post("/predict/pictures", files=files)
        assert [row[0]["label"] for row in answer.json()] == [11, 11]
        broken = ("files", ("broken.png", b"no picture", "image/png"))
        answer = client.post("/predict/pictures", files=[broken])
        assert (answer.status_code, "as an image" in answer.text) == (422, True)
        answer = client.post("/classes/red/pictures", files=files)
        assert (answer.status_code, "type int64. Got 'red'" in answer.text) == (422, True)
        answer = client.post("/predict/rows", json={"rows": [["/etc/hostname"]]})
        assert (answer.status_code, "must be numbers" in answer.text) == (422, True)


# ------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("address", "body", "says"),
    [
        ("/predict/rows", {"rows": [[1.0, 2.0]]}, "2 features, but StandardScaler is expecting 6"),
        ("/predict/rows", {"rows": []}, "Expected 2D array"),
        ("/predict/rows", {"rows": [[1.0], [1.0, 2.0]]}, "as many in each row"),
        ("/predict/rows", {"rows": [[None] * 6]}, "NaN"),
        ("/predict/rows", {"row": [[1.0]]}, "Field required"),
        ("/predict/rows?k=0", {"rows": [[1.0] * 6]}, "greater than or equal to 1"),
        ("/classes/other/rows", {"rows": [[1.0, 2.0]]}, "is expecting 6 features"),
    ],
)
def test_what_is_malformed_is_answered_with_the_reason(serve, path, address, body, says):
    content = path.read_bytes()
    with serve(path) as client:
        answer = client.post(address, json=body)
        assert len(client.get("/classes").json()) == 2
    assert answer.status_code == 422
    assert says in answer.text
    assert path.read_bytes() == content


def test_what_the_model_has_not_is_answered_with_the_reason(serve, path):
    with serve(path) as client:
        answer = client.post("/predict/pictures", files=[png("red")])
        assert (answer.status_code, "takes rows of numbers" in answer.text) == (422, True)
        answer = client.delete("/classes/unheard-of")
        assert (answer.status_code, "does not know: 'unheard-of'" in answer.text) == (422, True)


def test_a_change_that_cannot_be_stored_is_not_answered_as_stored(serve, path, table):
    with serve(path) as client:
        path.unlink()
        path.parent.rmdir()
        answer = client.post("/classes/other/rows", json={"rows": table.X_new[:2].tolist()})
    assert answer.status_code == 500
    assert "not stored" in answer.text


def test_a_file_without_classes_to_add_to_is_refused_at_the_start(serve, pipe, tmp_path):
    save_model(pipe, tmp_path / "trained.fsl")
    with pytest.raises(TypeError, match="Adapt a learner"), serve(tmp_path / "trained.fsl"):
        pass


# ------------------------------------------------------------------ the image


def test_the_image_has_what_it_is_built_from():
    root, folder = APP.parents[2], APP.parent
    docker = (folder / "Dockerfile").read_text()
    ignored = (folder / "Dockerfile.dockerignore").read_text()
    let_in = re.findall(r"^!(.+)$", ignored, re.MULTILINE)
    assert [name for name in let_in if not (root / name).exists()] == []
    assert {"pyproject.toml", "setup.py", "sklearn_fewshot"} <= set(let_in)
    copied = re.findall(r"^COPY (\S+) ", docker, re.MULTILINE)
    assert set(copied) - {"."} <= set(let_in)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"/source\[([a-z,]+)\]", docker)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "torch --index-url https://download.pytorch.org/whl/cpu" in docker


# ------------------------------------------------------------------ many clients at once


@pytest.fixture
def address(path):
    """Run the service in a process of its own; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    environment = os.environ | {"FEWSHOT_MODEL": str(path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=APP.parent, env=environment) as process:
        try:
            yield wait_for(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


def wait_for(address, process):
    """Return the address once it answers."""
    for _ in range(600):
        assert process.poll() is None
        try:
            httpx.get(f"{address}/classes")
            return address
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("The service did not start.")


def test_many_clients_predict_while_others_add_classes(address, path, table):
    old, new = np.split(np.unique(table.y_new), [2])
    queries = {"rows": table.X_new.tolist()}

    def predict(_):
        with httpx.Client(base_url=address, timeout=60) as client:
            return client.post("/predict/rows?k=9", json=queries).raise_for_status().json()

    def add(row):
        with httpx.Client(base_url=address, timeout=60) as client:
            body = {"rows": [table.X_new[row].tolist()]}
            client.post(f"/classes/{table.y_new[row]}/rows", json=body).raise_for_status()

    rows = np.flatnonzero(np.isin(table.y_new, new))
    with ThreadPoolExecutor(8) as pool:
        answers, added = pool.map(predict, range(24)), pool.map(add, rows)
        answers = list(answers)
        list(added)
    for row in (row for answer in answers for row in answer):
        assert len(row) in (2, 3, 4)
        assert sum(one["probability"] for one in row) == pytest.approx(1.0)
    stored = load_model(path)
    np.testing.assert_array_equal(stored.classes_, np.concatenate([old, new]))
    np.testing.assert_array_equal(stored[-1].class_count_, [10, 10, 10, 10])
    last = predict(None)
    assert [row[0]["label"] for row in last] == stored.predict(table.X_new).tolist()
