"""The archive of a model file: written in one step, checked before anything of it is used.

The file is a zip archive without compression. ``schema.json`` and the parts that it names are
what skops writes; ``about.json`` says which format and versions, ``checksum.txt`` whether all that
is unchanged. As nothing is compressed, no member is larger than the file.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import platform
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import numpy as np
import sklearn
import torch

MAGIC = "sklearn_fewshot model"
FORMAT = 1  # of what is written, and the newest that is read
SCHEMA, ABOUT, CHECKSUM = "schema.json", "about.json", "checksum.txt"
MOST_TEXT = 2**26  # bytes of the schema: parsed, it takes ten times as much memory
DATE = (1980, 1, 1, 0, 0, 0)  # of all members: equal models are equal files
# What numpy writes before an array: numbers, strings, times, or records of these; no objects. It is
# matched before it is evaluated.
VALUES = rb"'[<>|=]?[biufcSUmM]\d{1,9}(?:\[\w{1,6}\])?'"
RECORD = rb"\[(?:\('\w{0,64}', (?:" + VALUES + rb"|'\|V\d')\)(?:, )?){1,64}\]"
HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00..|[\x02\x03]\x00....)\{'descr': (" + VALUES + rb"|" + RECORD + rb"), "
    rb"'fortran_order': (?:True|False), "
    rb"'shape': \((|\d{1,18},|\d{1,18}(?:, \d{1,18})+)\), \} *\n",
    re.DOTALL,
)


class ModelFormatError(ValueError):
    """A file is no model file, is damaged, or holds what does not go together.

    See Also
    --------
    load_model : Raises it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_fewshot import ModelFormatError, load_model
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "notes.txt"
    >>> path.write_text("no model")
    8
    >>> try:
    ...     load_model(path)
    ... except ModelFormatError:
    ...     print("Not a model.")
    Not a model.
    >>> folder.cleanup()
    """


# ---------------------------------------------------------------------- writing


def write_archive(file: BinaryIO, members: Mapping[str, bytes]) -> None:
    """Write the members of a model file, what is said about it, and the checksum.

    Parameters
    ----------
    file : binary file
        Opened for writing.
    members : mapping from str to bytes
        The schema and its parts.
    """
    members = {ABOUT: _about(), **members}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {**members, CHECKSUM: _checksum(members.items())}.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), data)


def versions() -> dict[str, str]:
    """Return the versions of what a model depends on."""
    from .. import __version__

    return {
        "sklearn_fewshot": __version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _about() -> bytes:
    about = {"magic": MAGIC, "format": FORMAT, "versions": versions()}
    return json.dumps(about).encode("ascii")


def _checksum(members: Any) -> bytes:
    checksum = hashlib.blake2b(digest_size=32)
    for name, data in members:
        checksum.update(f"{name} {len(data)}\n".encode())
        checksum.update(data)
    return checksum.hexdigest().encode("ascii")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another only once all of it is on the disk.

    Parameters
    ----------
    path : str or path-like
        Where the file will be. If it is a link, the target of the link is replaced.

    Yields
    ------
    file : binary file
        For writing and reading. If the block raises, an existing file is unchanged.
    """
    path = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Make a renaming last through a power cut, where folders can be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------------- reading


def read_schema(file: BinaryIO) -> Any:
    """Check an archive and return its parsed schema.

    Parameters
    ----------
    file : binary file
        Opened for reading; can be searched.

    Returns
    -------
    schema : object
        What the JSON says.

    Raises
    ------
    ModelFormatError
        If a member is larger than it may be, compressed, damaged, or missing.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        names = _check_names(archive.infolist(), size)
        _check_about(archive.read(ABOUT))
        if archive.read(CHECKSUM) != _checksum((name, archive.read(name)) for name in names):
            raise ModelFormatError("the checksum differs: it was changed after it was written")
        for name in names:
            if name.endswith(".npy"):
                _check_array(name, archive.read(name))
        return json.loads(archive.read(SCHEMA))


def _check_names(members: list[zipfile.ZipInfo], size: int) -> list[str]:
    """Return the names of all members but the checksum, if they may be read."""
    names = [member.filename for member in members]
    missing = {SCHEMA, ABOUT, CHECKSUM} - set(names)
    if missing:
        raise ModelFormatError(
            f"it lacks {', '.join(sorted(missing))}: something else than save_model has written it"
        )
    if len(set(names)) < len(names):
        raise ModelFormatError("two of its members have one name")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ModelFormatError(f"its member {member.filename[:80]} is compressed")
    if sum(member.file_size for member in members) > size:
        raise ModelFormatError("its members claim to be larger than the file")
    by_name = {member.filename: member.file_size for member in members}
    if by_name[SCHEMA] > MOST_TEXT:
        raise ModelFormatError(
            f"its {SCHEMA} has {by_name[SCHEMA]} bytes, at most {MOST_TEXT} are read. Long "
            "vocabularies and histories are the usual reason; shorten them before fit"
        )
    return [name for name in names if name != CHECKSUM]


def _check_about(text: bytes) -> None:
    about = json.loads(text)
    if not isinstance(about, dict) or about.get("magic") != MAGIC:
        raise ModelFormatError(f"its {ABOUT} does not say that it is a {MAGIC}")
    version = about.get("format")
    if type(version) is not int or version < 1:
        raise ModelFormatError(f"its {ABOUT} gives no format number. Got {version!r}")
    if version > FORMAT:
        raise ModelFormatError(
            f"it has format {version}, and this version of sklearn_fewshot reads formats up to "
            f"{FORMAT}: install a newer one"
        )


def _check_array(name: str, data: bytes) -> None:
    """Raise unless an array has as many bytes as its header says: numpy would allocate them."""
    header = HEADER.match(data)
    if header is None:
        raise ModelFormatError(f"{name} does not begin as numpy's plain arrays do")
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(header[1].decode("ascii")))
    shape = [int(number) for number in re.findall(rb"\d+", header[2])]
    if dtype.itemsize == 0 and max(shape, default=0) > len(data):
        raise ModelFormatError(f"{name} has the shape {tuple(shape)[:8]} without any bytes")
    if math.prod(shape) * dtype.itemsize != len(data) - header.end():
        raise ModelFormatError(
            f"{name} must hold {math.prod(shape)} values of {dtype}. Got "
            f"{len(data) - header.end()} bytes"
        )
