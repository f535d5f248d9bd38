"""One short name for any values: equal values have equal names, in every process."""

from __future__ import annotations

import copyreg
import types
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from ..utils._memory_map import blocks_of

BYTES_AT_A_TIME = 2**26
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
NAMED = (type, types.BuiltinFunctionType, types.ModuleType)
REDUCED_BY_COPYREG = 2  # pickle protocol in which every object says what it is made of


def fingerprint(*values: Any) -> str:
    """Return 32 hexadecimal digits that stand for values.

    Arrays, tensors and modules count by their content, functions by their code, classes by their
    name, and other objects by what pickle would keep of them. What cannot be pickled counts by the
    name of its class.

    Parameters
    ----------
    *values : object
        Anything.

    Returns
    -------
    digits : str
    """
    return _digest(values, ()).hex()


def _digest(value: Any, around: tuple[Any, ...]) -> bytes:
    """Digest a value; ``around`` are the objects that it is part of, to notice circles."""
    hasher = blake2b(digest_size=16)
    for place, outer in enumerate(around):
        if outer is value:
            hasher.update(f"circle {place}".encode())
            return hasher.digest()
    for part in _parts(value, (*around, value)):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def _parts(value: Any, around: tuple[Any, ...]) -> Iterator[Any]:
    """Yield bytes that say what a value is, and the digests of what it consists of."""
    kind = type(value)
    yield b"array" if isinstance(value, np.ndarray) else _name(kind)  # memory maps are arrays, too
    if kind in PLAIN:
        yield repr(value).encode()
    elif isinstance(value, NAMED):
        yield _name(value)
    elif isinstance(value, np.ndarray):
        yield from _of_array(value, around)
    elif isinstance(value, torch.Tensor):
        yield from _of_tensor(value)
    elif kind in (list, tuple):
        yield from (_digest(item, around) for item in value)
    elif kind in (set, frozenset):
        yield from sorted(_digest(item, around) for item in value)
    elif kind is dict:
        pairs = ((_digest(key, around), _digest(item, around)) for key, item in value.items())
        yield from (part for pair in sorted(pairs) for part in pair)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, around)
    else:
        yield from _of_object(value, around)


def _name(value: Any) -> bytes:
    """Return the full name of a class, function or module."""
    name = getattr(value, "__qualname__", None) or value.__name__
    return f"{getattr(value, '__module__', '')}.{name}".encode()


def _of_array(array: np.ndarray, around: tuple[Any, ...]) -> Iterator[Any]:
    yield f"{array.dtype.str} {array.dtype.descr} {array.shape}".encode()
    if array.dtype.hasobject:
        yield _digest(array.tolist(), around)
        return
    hasher = blake2b(digest_size=16)
    rows = array.reshape(1) if array.ndim == 0 else array
    for block in blocks_of(rows):
        step = max(1, BYTES_AT_A_TIME // max(1, block[:1].nbytes))
        for start in range(0, len(block), step):
            part = np.ascontiguousarray(block[start : start + step])
            hasher.update(part.reshape(-1).view(np.uint8))
    yield hasher.digest()


def _of_tensor(tensor: torch.Tensor) -> Iterator[Any]:
    yield f"{tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}".encode()
    values = tensor.detach().cpu().contiguous().reshape(-1)
    yield _digest(values.view(torch.uint8).numpy(), ())


def _of_function(function: types.FunctionType, around: tuple[Any, ...]) -> Iterator[Any]:
    """Say what a function does: what it is called says little of a lambda."""
    yield _name(function)
    yield from _of_code(function.__code__, around)
    cells = [_content(cell) for cell in function.__closure__ or ()]
    yield _digest([function.__defaults__, function.__kwdefaults__, cells], around)


def _of_code(code: types.CodeType, around: tuple[Any, ...]) -> Iterator[Any]:
    yield code.co_code
    yield _digest([code.co_names, code.co_varnames], around)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _of_code(constant, around)
        else:
            yield _digest(constant, around)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _of_object(value: Any, around: tuple[Any, ...]) -> Iterator[Any]:
    """Say of any other object what pickle would write."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        parts = reduce(value) if reduce else value.__reduce_ex__(REDUCED_BY_COPYREG)
    except Exception:  # locks, files, ...: objects refuse in many ways
        return
    if isinstance(parts, str):  # of an object that is known by its name
        yield parts.encode()
        return
    made, state, items, pairs = [*parts[:2]], *(*parts[2:5], None, None, None)[:3]
    yield _digest(made, around)
    yield _digest(state, around)
    yield _digest(list(items or ()), around)
    yield _digest(list(pairs or ()), around)
