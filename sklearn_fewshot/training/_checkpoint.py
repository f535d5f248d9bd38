"""Checkpoint files, from which interrupted fits resume.

A file is a line that says what it is, a digest of the rest, and the rest as ``torch.save`` writes
it. It is read without running code from it, and replaced as a whole: whatever happens at whatever
moment, there is the state after one epoch or the next.
"""

from __future__ import annotations

import io
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
import torch

from ..utils._warnings import warn_user
from ._fingerprint import fingerprint

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

MAGIC = b"sklearn_fewshot checkpoint 1\n"
DIGEST_SIZE = 32
PLAIN = (bool, int, float, str, type(None))


class Checkpoint:
    """The file of one interrupted or running fit.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        Fingerprint of what is fitted and on what.
    seed : int
        The seed of this fit; an interrupted one resumes with its own.

    Attributes
    ----------
    seed : int
        The seed to fit with.
    """

    def __init__(self, path: Path, key: str, seed: int) -> None:
        self.path = path
        self.key = key
        found = _read(path, key)
        self.seed: int = seed if found is None else found["seed"]
        self._states: dict[str, Any] = {} if found is None else found["states"]
        self._can_write = True

    def part(self, name: str) -> CheckpointPart:
        """Return a part of the fit: one training."""
        return CheckpointPart(self, name)

    def _save(self, name: str, state: dict[str, Any]) -> None:
        self._states[name] = _detach(state)
        content = {"key": self.key, "seed": self.seed, "states": self._states}
        try:
            _write(self.path, content)
        except OSError as error:
            if self._can_write:  # warned once: training itself may still succeed
                warn_user(
                    f"The checkpoint {self.path} could not be written: {error}. Training "
                    "continues. If interrupted, it resumes from the last epoch that was written."
                )
            self._can_write = False


class CheckpointPart(NamedTuple):
    """What a checkpoint holds of one training within a fit."""

    checkpoint: Checkpoint
    name: str

    @property
    def state(self) -> dict[str, Any] | None:
        """What was saved last; None at the start."""
        return self.checkpoint._states.get(self.name)

    def save(self, state: dict[str, Any]) -> None:
        """Save the state after an epoch: numbers, strings, tensors, and collections of these."""
        self.checkpoint._save(self.name, state)


def versions() -> dict[str, str]:
    """Return the versions of everything that computes or keeps the state of a training."""
    package = sys.modules[__name__.partition(".")[0]]  # an import would turn the layers around
    return {
        "sklearn_fewshot": package.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": version("skorch"),
        "torch": torch.__version__,
    }


@contextmanager
def open_checkpoint(
    directory: str | os.PathLike[str], owner: str, seed: int, *what: Any
) -> Iterator[Checkpoint]:
    """Resume the interrupted fit of the same arguments, or begin one; remove its file at the end.

    Fits of the same arguments that run at the same time get a file each. An error, or Ctrl-C,
    leaves the file.

    Parameters
    ----------
    directory : str or path
        The folder of the files; it is created if necessary.
    owner : str
        The class that is fitted.
    seed : int
        The seed, if there is no interrupted fit.
    *what : object
        Everything that the result of the fit depends on.

    Yields
    ------
    checkpoint : Checkpoint
    """
    key = fingerprint(owner, versions(), *what)
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, lock = _claim(folder, f"{owner}-{key}")
    except OSError as error:
        raise OSError(
            error.errno or 0,
            f"The 'checkpoint' parameter of {owner} must be a folder that can be written to. Got "
            f"{os.fspath(directory)!r}: {error.strerror or error}. Choose another, or None",
        ) from error
    try:
        yield Checkpoint(path, key, seed)
        path.unlink(missing_ok=True)
    finally:
        _release(path, lock)


# ------------------------------------------------------------------ locks


def _claim(folder: Path, stem: str) -> tuple[Path, int]:
    """Return an unlocked file and its new lock: of an interrupted fit, or a new one."""
    interrupted = sorted(folder.glob(f"{stem}*.ckpt"), key=lambda path: (len(path.name), path.name))
    new = (folder / f"{stem}{'' if number == 1 else f'-{number}'}.ckpt" for number in count(1))
    locks = ((path, _lock(_lock_of(path))) for path in chain(interrupted, new))
    return next((path, lock) for path, lock in locks if lock is not None)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _lock(path: Path) -> int | None:
    """Create and lock a file; None if another process holds the lock.

    The system takes the lock from a process that is killed. Where it has no such locks, all are
    granted.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:  # a file system without locks
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        os.close(lock)  # of a file that was removed before it was locked


def _release(path: Path, lock: int) -> None:
    """Release the lock, and remove what is no longer needed."""
    with suppress(OSError):
        _partial_path(path).unlink(missing_ok=True)
        _lock_of(path).unlink(missing_ok=True)
    os.close(lock)


# ------------------------------------------------------------------ what is in a file


def _partial_path(path: Path) -> Path:
    return path.with_suffix(".part")


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file as a whole; the new one is flushed to disk before the old one is removed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getbuffer()
    with open(_partial_path(path), "wb") as file:
        file.write(MAGIC)
        file.write(blake2b(body, digest_size=DIGEST_SIZE).digest())
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(_partial_path(path), path)


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """Return what is in a file; None, with a warning, if it is not what this package wrote."""
    try:
        return _parse(path.read_bytes(), key)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    except _Unusable as error:
        reason = str(error)
    warn_user(f"The checkpoint {path} is ignored, and training starts again: {reason}.")
    return None


class _Unusable(Exception):
    """Why training cannot resume from a checkpoint."""


def _parse(content: bytes, key: str) -> dict[str, Any]:
    if not content.startswith(MAGIC):
        raise _Unusable("it is no checkpoint of this version of sklearn_fewshot")
    start = len(MAGIC) + DIGEST_SIZE
    body = memoryview(content)[start:]
    if blake2b(body, digest_size=DIGEST_SIZE).digest() != content[len(MAGIC) : start]:
        raise _Unusable("it is damaged")
    try:
        found = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        is_ours = found["key"] == key
        int(found["seed"]), dict(found["states"])
    except Exception as error:  # torch raises many kinds
        raise _Unusable(f"it holds what no checkpoint does ({type(error).__name__})") from error
    if not is_ours:
        raise _Unusable("it is of another fit")
    return found


def _detach(value: Any) -> Any:
    """Copy a state as what can be read without running code.

    Raises
    ------
    TypeError
        If there is anything else in it.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.generic):
        return _detach(value.item())
    if isinstance(value, dict):
        copied = {_detach(key): _detach(item) for key, item in value.items()}
        return _with_versions(copied, value) if isinstance(value, OrderedDict) else copied
    if kind in (list, tuple):
        return kind(_detach(item) for item in value)
    raise TypeError(
        "A checkpoint holds numbers, strings, tensors, and lists, tuples and dicts of these. Got "
        f"{kind.__qualname__}. Keep it out of the history and the states of network and optimizer, "
        "or set checkpoint=None."
    )


def _with_versions(copied: dict[Any, Any], state: OrderedDict[Any, Any]) -> OrderedDict[Any, Any]:
    """Return the copy of a module's state with what torch has noted of versions in it."""
    ordered = OrderedDict(copied)
    vars(ordered).update(_detach(dict(vars(state))))
    return ordered


def is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold a value."""
    try:
        _detach(value)
    except TypeError:
        return False
    return True
