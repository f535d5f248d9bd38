"""A small service: predictions over HTTP, and classes that come and go while it runs.

The environment variable FEWSHOT_MODEL names the file of an adapted classifier or pipeline, as
`fewshot adapt` and `save_model` write it. Changes are written to it before they are answered.

    FEWSHOT_MODEL=letters.fsl uvicorn app:app

One process serves one file; a second one would not know what the first has learned.
"""

import os
import threading
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import Depends, FastAPI, Query, Request, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from sklearn_fewshot import FrozenEncoder, PictureReader, load_model, save_model


class Store:
    """A classifier and its file. Reads need no lock: the classifier exchanges its classes whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.classifier = load_model(path)
        self._writing = threading.Lock()  # the file is of the last change, not of an earlier one
        if not hasattr(self.classifier, "drop_classes"):
            raise TypeError(
                f"FEWSHOT_MODEL={path} holds a {type(self.classifier).__name__} that knows no "
                "classes to add to. Adapt a learner or a FewShotPipeline first: by `fewshot adapt`,"
                " or save_model(adapt(learner, X, y), path)."
            )

        first = getattr(self.classifier, "steps", [("", None)])[0][1]
        reader = getattr(first, "estimator", first)  # within FrozenEstimator
        self.takes_pictures = isinstance(reader, PictureReader | FrozenEncoder)

    def predict(self, X: Any, k: int) -> list[list[dict[str, Any]]]:
        """Return the `k` most probable classes of each sample."""
        labels, proba = self.classifier.predict_top(X, k)
        return [
            [{"label": label, "probability": p} for label, p in zip(*pair, strict=True)]
            for pair in zip(labels.tolist(), proba.tolist(), strict=True)
        ]

    def classes(self) -> list[Any]:
        """Return the labels."""
        return self.classifier.classes_.tolist()

    def add(self, label: str, X: Any) -> None:
        """Add examples of a class, known or new."""
        with self._writing:
            self.classifier.partial_fit(X, np.array([self._parse(label)] * len(X)))
            save_model(self.classifier, self.path)

    def drop(self, label: str) -> None:
        """Forget a class."""
        with self._writing:
            self.classifier.drop_classes([self._parse(label)])
            save_model(self.classifier, self.path)

    def read(self, files: list[UploadFile]) -> list[bytes]:
        """Return uploaded pictures as a `PictureReader` takes them, or say that there is none."""
        if not self.takes_pictures:
            raise ValueError(
                "This model takes rows of numbers, not pictures: post them to .../rows, or serve a "
                "pipeline that begins with PictureReader()."
            )
        return [file.file.read() for file in files]

    def _parse(self, label: str) -> Any:
        """Return a label of an address in the type of the classes."""
        kind = self.classifier.classes_.dtype.type
        try:
            return kind(label)
        except ValueError as error:
            raise ValueError(f"Classes are of type {kind.__name__}. Got {label!r}.") from error


class Rows(BaseModel):
    """Samples as nested lists: of numbers for a table, of channels of numbers for a series."""

    rows: list[Any]

    def to_array(self) -> np.ndarray:
        """Return the samples. Numbers only: text might be read as the path of a picture."""
        try:
            return np.array(self.rows, dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Rows must be numbers, as many in each row: {error}") from error


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Load the model before the first request."""
    if "FEWSHOT_MODEL" not in os.environ:
        raise RuntimeError("Set FEWSHOT_MODEL to the file of an adapted classifier.")
    torch.set_num_threads(1)  # each request has a thread already
    app.state.store = Store(os.environ["FEWSHOT_MODEL"])
    yield


def get_store(request: Request) -> Store:
    """Return the store of the application."""
    return request.app.state.store


app = FastAPI(title="Few-shot classification", lifespan=lifespan)
StoreOf = Annotated[Store, Depends(get_store)]
K = Annotated[int, Query(ge=1)]


@app.exception_handler(ValueError)
def say_what_is_wrong(request: Request, error: ValueError) -> JSONResponse:
    """Answer 422 with the message of the package: what was got, and the remedy."""
    return JSONResponse({"detail": str(error)}, status_code=422)


@app.exception_handler(OSError)
def say_what_is_not_stored(request: Request, error: OSError) -> JSONResponse:
    """Answer 500: the change is in effect, but ends with the process."""
    return JSONResponse({"detail": f"In effect, but not stored: {error}"}, status_code=500)


# FastAPI calls functions without `async` in threads of its pool, so requests run side by side.


@app.get("/classes")
def list_classes(store: StoreOf) -> list[Any]:
    """List the classes."""
    return store.classes()


@app.delete("/classes/{label}")
def drop_class(label: str, store: StoreOf) -> list[Any]:
    """Forget a class; returns those that are left."""
    store.drop(label)
    return store.classes()


@app.post("/classes/{label}/rows")
def add_rows(label: str, body: Rows, store: StoreOf) -> list[Any]:
    """Add rows of numbers as examples of a class; returns all classes."""
    store.add(label, body.to_array())
    return store.classes()


@app.post("/classes/{label}/pictures")
def add_pictures(label: str, files: list[UploadFile], store: StoreOf) -> list[Any]:
    """Add pictures as examples of a class; returns all classes."""
    store.add(label, store.read(files))
    return store.classes()


@app.post("/predict/rows")
def predict_rows(body: Rows, store: StoreOf, k: K = 5) -> list[list[dict[str, Any]]]:
    """Return the `k` most probable classes of each row, the most probable first."""
    return store.predict(body.to_array(), k)


@app.post("/predict/pictures")
def predict_pictures(
    files: list[UploadFile], store: StoreOf, k: K = 5
) -> list[list[dict[str, Any]]]:
    """Return the `k` most probable classes of each picture, the most probable first."""
    return store.predict(store.read(files), k)
