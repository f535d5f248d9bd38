"""The command ``fewshot``: from folders of photos to a model file, and to predictions."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer

from . import (
    AutoFewShotClassifier,
    BaselineClassifier,
    FewShotClassifier,
    MatchingNetClassifier,
    PictureReader,
    ProtoNetClassifier,
    RelationNetClassifier,
    RidgeNetClassifier,
    SiameseNetClassifier,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from .datasets import load_image_folder
from .model_selection import episodic_score
from .utils._images import checked_size

LEARNERS = {
    "auto": AutoFewShotClassifier,
    "baseline": BaselineClassifier,
    "matchingnet": MatchingNetClassifier,
    "protonet": ProtoNetClassifier,
    "relationnet": RelationNetClassifier,
    "ridgenet": RidgeNetClassifier,
    "siamesenet": SiameseNetClassifier,
}
DESCRIPTION = """\
Few-shot classification of photos. A folder of photos has a folder for each class:
photos/apple/1.jpg, photos/apple/2.jpg, photos/pear/1.jpg, ...
"""
EPILOG = """\
example:
  fewshot train photos/ -o model.fsl      meta-train on the classes that you have
  fewshot evaluate model.fsl others/      how good is it on classes that it has not seen?
  fewshot adapt model.fsl new/            add new classes from a few photos of each
  fewshot predict model.fsl *.jpg --csv   recognise them
"""
REJECTED = "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        Those of the command; None for those of the process.

    Returns
    -------
    status : int
        0, or 1 if something is wrong with files, or 2 if the command was not understood.
    """
    options = make_parser().parse_args(arguments)
    try:
        with _short_warnings():
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # who read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError) as error:
        print(f"fewshot: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fewshot: interrupted", file=sys.stderr)
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="fewshot",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser("train", help="meta-train on a folder of photos")
    train.set_defaults(run=run_train)
    train.add_argument("photos", type=Path, help="a folder with a folder for each class")
    train.add_argument("-o", "--output", type=Path, required=True, help="the model file to write")
    train.add_argument("--learner", choices=LEARNERS, default="protonet", help="the method")
    train.add_argument("--size", type=int, default=64, help="side of the pictures, in pixels")
    train.add_argument("--grey", action="store_true", help="read pictures without colour")
    train.add_argument("--epochs", type=int, default=30, help="the most epochs of training")
    train.add_argument("--checkpoint", type=Path, help="a folder to resume from if interrupted")
    train.add_argument("--seed", type=int, default=0, help="of all randomness")

    adapt = commands.add_parser("adapt", help="add new classes from a few photos of each")
    adapt.set_defaults(run=run_adapt)
    adapt.add_argument("model", type=Path, help="a model file")
    adapt.add_argument("photos", type=Path, help="a folder with a folder for each new class")
    adapt.add_argument("-o", "--output", type=Path, help="the file to write; else the model itself")
    adapt.add_argument("--include-base", action="store_true", help="keep the classes of training")

    predict = commands.add_parser("predict", help="recognise photos")
    predict.set_defaults(run=run_predict)
    predict.add_argument("model", type=Path, help="a model file")
    predict.add_argument("files", nargs="+", help="photos")
    predict.add_argument("--top", type=int, default=1, metavar="K", help="the K best classes")
    predict.add_argument("--csv", action="store_true", help="write comma-separated values")
    predict.add_argument(
        "--reject-rate",
        type=float,
        help=f'answer "{REJECTED}" for photos of no class; may reject this share of the others',
    )

    evaluate = commands.add_parser("evaluate", help="score on classes that it has not seen")
    evaluate.set_defaults(run=run_evaluate)
    evaluate.add_argument("model", type=Path, help="a model file")
    evaluate.add_argument("photos", type=Path, help="a folder with a folder for each class")
    evaluate.add_argument("--ways", type=int, default=5, help="classes in an episode")
    evaluate.add_argument("--shots", type=int, default=1, help="examples of a class")
    evaluate.add_argument("--episodes", type=int, default=600, help="episodes")
    return parser


# ---------------------------------------------------------------------- commands


def run_train(options: argparse.Namespace) -> None:
    """Train on a folder of photos and write the model."""
    _check_writable(options.output)
    reader = PictureReader(options.size, mode="L" if options.grey else "RGB")
    images, labels = _read(options.photos, reader)
    learner = LEARNERS[options.learner](
        max_epochs=options.epochs,
        checkpoint=options.checkpoint,
        random_state=options.seed,
        verbose=1,
    )
    pipe = make_fewshot_pipeline(reader, learner).fit(images, labels)
    save_model(pipe, options.output)
    _say(f"{options.output}: trained on {len(images)} photos of {len(set(labels))} classes.")


def run_adapt(options: argparse.Namespace) -> None:
    """Add classes to a model."""
    output = options.output or options.model
    _check_writable(output)
    pipe = _load(options.model)
    images, labels = _read(options.photos, pipe[0])
    if _is_adapted(pipe):
        if options.include_base:
            raise ValueError(
                f"{options.model} has been adapted already: --include-base is for the first time. "
                "Adapt the file that `fewshot train` wrote."
            )
        pipe.partial_fit(images, labels)
    else:
        pipe = pipe.adapt(images, labels, include_base=options.include_base)
    save_model(pipe, output)
    _say(f"{output}: knows {len(pipe.classes_)} classes, {_named(pipe.classes_)}.")


def run_predict(options: argparse.Namespace) -> None:
    """Write what photos show."""
    if options.reject_rate is not None and options.top > 1:
        raise ValueError("--reject-rate answers with one class: leave --top out.")
    pipe = _load(options.model)
    labels, proba = pipe.predict_top(options.files, options.top)
    if options.reject_rate is not None:
        rate = options.reject_rate
        answers = pipe.predict(options.files, reject_label=REJECTED, reject_rate=rate)
        is_rejected = answers == REJECTED
        labels = labels.astype(object)
        labels[is_rejected], proba[is_rejected] = REJECTED, np.nan
    write = _write_csv if options.csv else _write_lines
    write(sys.stdout, options.files, labels, proba)


def run_evaluate(options: argparse.Namespace) -> None:
    """Score a model on episodes of a folder of photos, beside the nearest neighbour."""
    pipe = _load(options.model)
    if _is_adapted(pipe):
        raise ValueError(
            f"{options.model} has been adapted. `fewshot evaluate` adapts to each episode: pass "
            "the file that `fewshot train` wrote."
        )
    images, labels = _read(options.photos, pipe[0])
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    size = {
        "n_way": min(options.ways, len(set(labels))),
        "n_shot": options.shots,
        "n_query": max(1, min(15, smallest - options.shots)),
        "n_episodes": options.episodes,
    }
    baseline = KNeighborsClassifier(1)
    flatten = FunctionTransformer(_flatten).fit(images)
    print(f"{'this model':<20}{episodic_score(pipe, images, labels, **size)}")
    result = episodic_score(baseline, images, labels, preprocess=flatten, **size)
    print(f"{'nearest neighbour':<20}{result}")


# ---------------------------------------------------------------------- files


def _load(path: Path) -> Any:
    """Return the pipeline of a model file that this command wrote."""
    pipe = load_model(path)
    first = pipe[0] if hasattr(pipe, "steps") else pipe
    first = getattr(first, "estimator", first)  # of an adapted pipeline it is frozen
    if not isinstance(first, PictureReader):
        raise ValueError(
            f"{path} holds {type(pipe).__name__}, which does not begin with PictureReader. This "
            "command is for models of photos; use the others from Python."
        )
    return pipe


def _is_adapted(pipe: Any) -> bool:
    return isinstance(pipe[-1], FewShotClassifier)


def _read(folder: Path, reader: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read a folder of photos as a model does."""
    reader = getattr(reader, "estimator", reader)
    data = load_image_folder(
        folder, size=checked_size(reader.size, "fewshot"), mode=reader.mode, on_error="skip"
    )
    return data.images, data.target


def _check_writable(path: Path) -> None:
    """Raise before the work if its result cannot be written."""
    folder = path.resolve().parent
    if not folder.is_dir() or path.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"{path} cannot be written: give a file in a folder that exists.")


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


# ---------------------------------------------------------------------- output


def _write_csv(out: TextIO, files: Sequence[str], labels: np.ndarray, proba: np.ndarray) -> None:
    """Write a row for each photo, with a header."""
    table = csv.writer(out, lineterminator="\n")
    numbers = [""] if labels.shape[1] == 1 else [f"_{k + 1}" for k in range(labels.shape[1])]
    table.writerow(["file", *(f"{name}{n}" for n in numbers for name in ("label", "probability"))])
    for file, names, values in zip(files, labels, proba, strict=True):
        pairs = zip(names, values, strict=True)
        table.writerow([file, *(cell for name, p in pairs for cell in (name, _as_text(p, ".4f")))])


def _write_lines(out: TextIO, files: Sequence[str], labels: np.ndarray, proba: np.ndarray) -> None:
    """Write a line for each photo, for people."""
    width = max(map(len, files))
    for file, names, values in zip(files, labels, proba, strict=True):
        found = ", ".join(
            f"{name} {_as_text(p, '.1%')}" for name, p in zip(names, values, strict=True)
        )
        out.write(f"{file:<{width}}  {found.rstrip()}\n")


def _as_text(probability: float, form: str) -> str:
    """Format a probability; of a rejected photo there is none."""
    return "" if np.isnan(probability) else format(probability, form)


def _named(classes: np.ndarray, most: int = 8) -> str:
    names = ", ".join(map(str, classes[:most]))
    return f"{names}, ..." if len(classes) > most else names


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Show warnings as one line each, without the code that caused them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *args, **kwargs: _say(f"fewshot: warning: {message}")
        yield
