"""Model files: one text and some arrays in an ``.npz``, where nothing is taken on trust.

The file is a zip archive without compression. ``model.json`` says what the arrays belong to,
``array_0.npy``, ``array_1.npy`` and so on hold them, ``checksum.txt`` tells whether all that is as
it was written. As nothing is compressed, no part is larger than the file: what a damaged or hostile
file can make a reader allocate is bounded by the file's own size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

MAGIC = "sklearn_fewshot model"
FORMAT = 1  # of what is written, and the newest that is read
TEXT, CHECKSUM = "model.json", "checksum.txt"
MOST_TEXT = 2**24  # bytes
MOST_ARRAYS = 10_000
MOST_DIMENSIONS = 8
DATE = (1980, 1, 1, 0, 0, 0)  # of all members: equal models are equal files
LONGEST_STRING = 10**6  # characters of an element
ARRAY_NAME = re.compile(r"array_(0|[1-9]\d{0,4})\.npy")
NUMBERS = {"|b1", "|i1", "|u1", *(f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8))}
NUMBERS |= {"<f2", "<f4", "<f8"}
STRINGS = re.compile(r"(<U|\|S)([1-9]\d{0,6})")
# What numpy writes before an array, in version 1.0 of its format. It is matched, not evaluated.
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?s:(..))\{'descr': '([<|][a-zA-Z]\d{1,7})', "
    rb"'fortran_order': (True|False), 'shape': \((|\d{1,18},|\d{1,18}(?:, \d{1,18})+)\), \} *\n"
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
    >>> path = Path(folder.name) / "notes.npz"
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


def write_model(
    path: str | os.PathLike[str], content: dict[str, Any], arrays: list[np.ndarray]
) -> None:
    """Write a model file; where that fails, what was there before stays.

    Parameters
    ----------
    path : str or path-like
        The file.
    content : dict
        What goes into the text: strict JSON.
    arrays : list of ndarray
        Of the dtypes that :func:`can_hold` admits.

    Raises
    ------
    ValueError
        If the text would be longer than a reader accepts, or there are more arrays.
    OSError
        If the file cannot be written.
    """
    header = {"magic": MAGIC, "format": FORMAT}
    text = json.dumps(header | content, allow_nan=False, indent=1).encode("ascii")
    if len(text) > MOST_TEXT or len(arrays) > MOST_ARRAYS:
        raise ValueError(
            f"The estimator is too large for a model file: its text takes {len(text)} bytes (at "
            f"most {MOST_TEXT}) and it has {len(arrays)} arrays (at most {MOST_ARRAYS}). Long "
            "vocabularies and histories are the usual reason; shorten them before fit."
        )
    with _replacing(path) as file:
        _write_members(file, text, arrays)


def can_hold(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of a dtype may stand in a model file, after a change of byte order."""
    described = dtype.newbyteorder("<").str
    return described in NUMBERS or _is_string(described)


def _is_string(described: str) -> bool:
    match = STRINGS.fullmatch(described)
    return match is not None and int(match[2]) <= LONGEST_STRING


def _write_members(file: BinaryIO, text: bytes, arrays: list[np.ndarray]) -> None:
    checksum = _checksum()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in _members(text, arrays):
            _add(checksum, name, data)
            archive.writestr(zipfile.ZipInfo(name, DATE), data)
        archive.writestr(zipfile.ZipInfo(CHECKSUM, DATE), checksum.hexdigest())


def _members(text: bytes, arrays: list[np.ndarray]) -> Iterable[tuple[str, bytes]]:
    yield TEXT, text
    for number, array in enumerate(arrays):
        yield f"array_{number}.npy", _npy(array)


def _npy(array: np.ndarray) -> bytes:
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = array.copy(order="K")  # products of columns and of rows differ in the last bit
    file = BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _checksum() -> Any:
    return hashlib.blake2b(digest_size=32)


def _add(checksum: Any, name: str, data: bytes) -> None:
    checksum.update(f"{name} {len(data)}\n".encode("ascii"))
    checksum.update(data)


@contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another only once all of it is on the disk."""
    path = os.path.realpath(os.fsdecode(path))  # the file behind a link, not the link
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
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


def read_model(file: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read a model file.

    Parameters
    ----------
    file : binary file
        Opened for reading; can be searched.

    Returns
    -------
    content : dict
        The text's content.
    arrays : list of ndarray
        In the order of their numbers.

    Raises
    ------
    ModelFormatError
        If something is not as :func:`write_model` would have written it.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = _checked_members(archive.infolist(), size)
        text = archive.read(members[TEXT])
        content = _checked_text(text)  # first of all: newer formats may differ in all the rest
        data = {name: archive.read(member) for name, member in members.items()}
    told, checksum = data.pop(CHECKSUM), _checksum()
    for name, values in data.items():
        _add(checksum, name, values)
    if told != checksum.hexdigest().encode("ascii"):
        raise ModelFormatError("the checksum differs: the file was changed after it was written")
    del data[TEXT]
    return content, [_array(name, data.pop(name), size) for name in list(data)]


def _checked_members(listed: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members in the order they were written, if they may be read."""
    members = {member.filename: member for member in listed}
    if TEXT not in members:
        raise ModelFormatError(f"it has no {TEXT}: something else than save_model has written it")
    if len(members) < len(listed):
        raise ModelFormatError("two of its members have one name")
    for member in listed:
        _check_member(member)
    if sum(member.file_size for member in listed) > size:
        raise ModelFormatError("its members claim to be larger than the file")
    if members[TEXT].file_size > MOST_TEXT:
        raise ModelFormatError(f"its {TEXT} is longer than {MOST_TEXT} bytes")
    n_arrays = len(members) - 2
    wanted = [TEXT, *(f"array_{number}.npy" for number in range(n_arrays)), CHECKSUM]
    if n_arrays > MOST_ARRAYS or members.keys() != set(wanted):
        raise ModelFormatError(
            f"it must hold {TEXT}, {CHECKSUM} and arrays that are numbered without a gap, at most "
            f"{MOST_ARRAYS}; it holds {len(members)} members with other names"
        )
    return {name: members[name] for name in wanted}


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    if name not in (TEXT, CHECKSUM) and not ARRAY_NAME.fullmatch(name):
        raise ModelFormatError(f"a member has the name {name[:80]!r}, which no model file has")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ModelFormatError(f"its member {name} is compressed, as no model file is")
    if member.flag_bits & 0x1:
        raise ModelFormatError(f"its member {name} is encrypted, as no model file is")


def _checked_text(text: bytes) -> dict[str, Any]:
    content = json.loads(
        text.decode("ascii"), object_pairs_hook=_without_doubles, parse_constant=_refuse_constant
    )
    if not isinstance(content, dict) or content.get("magic") != MAGIC:
        raise ModelFormatError(f"its {TEXT} does not say that it is a {MAGIC}")
    version = content.get("format")
    if type(version) is not int or version < 1:
        raise ModelFormatError(f"its {TEXT} gives no format number. Got {version!r}")
    if version > FORMAT:
        raise ModelFormatError(
            f"it has format {version}, and this version of sklearn_fewshot reads formats up to "
            f"{FORMAT}: install a newer one"
        )
    return content


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ModelFormatError(f"a key stands twice in one object of its {TEXT}")
    return found


def _refuse_constant(name: str) -> None:
    raise ModelFormatError(f"its {TEXT} has {name[:20]}, which is not JSON")


def _array(name: str, data: bytes, file_size: int) -> np.ndarray:
    """Return the array of a member: a copy of its bytes, which may be written to."""
    header = HEADER.match(data)
    if header is None or int.from_bytes(header[1], "little") != header.end() - 10:
        raise ModelFormatError(f"{name} does not begin as numpy's plain arrays do")
    described = header[2].decode("ascii")
    if described not in NUMBERS and not _is_string(described):
        raise ModelFormatError(f"{name} has the dtype {described!r}, which no model file has")
    dtype, shape = np.dtype(described), tuple(int(n) for n in re.findall(rb"\d+", header[4]))
    if len(shape) > MOST_DIMENSIONS or max(shape, default=0) > file_size:
        raise ModelFormatError(
            f"{name} has the shape {shape[:MOST_DIMENSIONS]}: too much for the file"
        )
    if math.prod(shape) * dtype.itemsize != len(data) - header.end():
        raise ModelFormatError(
            f"{name} must hold {math.prod(shape)} values of {dtype}. Got "
            f"{len(data) - header.end()} bytes"
        )
    flat = np.frombuffer(data, dtype, math.prod(shape), header.end()).copy()
    check_values(name, flat)
    return flat.reshape(shape, order="F" if header[3] == b"True" else "C")


def check_values(name: str, flat: np.ndarray) -> None:
    """Raise where bytes are no values of their dtype: Python would stumble over them later."""
    bad_truth = flat.dtype.kind == "b" and flat.view(np.uint8).max(initial=0) > 1
    bad_text = flat.dtype.kind == "U" and flat.view(np.uint32).max(initial=0) > 0x10FFFF
    if bad_truth or bad_text:
        raise ModelFormatError(f"{name} has bytes that are no values of {flat.dtype}")
