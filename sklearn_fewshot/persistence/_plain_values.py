"""Python values as JSON and arrays, and back: plain data, never code.

JSON has no tuples, arrays, bytes or infinities. What it lacks stands in an object of one entry,
whose key says what it is::

    1, 0.5, "a", true, null, [..]     themselves
    {"tuple": [..]}  {"set": [..]}    their values
    {"dict": [[key, value], ..]}      keys may be of any type that can be stored
    {"float": "nan"}                  "inf", "-inf"
    {"bytes": "00ff"}                 hexadecimal
    {"scalar": ["<f4", "0000803f"]}   a numpy scalar: dtype and hexadecimal bytes
    {"array": 3}                      array_3.npy; each array is referred to once
    {"objects": [..]}                 a one-dimensional array of Python objects
    {"dtype": "<f8"}  {"type": "float64"}    numpy's
    {"ufunc": "log1p"}                numpy's
    {"name": "package.module:Class"}  what has to be imported, if the caller allows it

Paths are stored as strings, and come back as these.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Collection
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from ._model_file import ModelFormatError, can_hold, check_values

DEEPEST = 32  # values within values
SCALAR_BYTES = 4096
PLAIN = (bool, int, str, type(None))
LARGEST_INT = 2**63
TAGS_OF_MANY: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
LABELS = (bool, int, float, str, bytes, type(None), np.generic)  # in arrays of objects


class ValueWriter:
    """Turns values into JSON and collects their arrays.

    Attributes
    ----------
    arrays : list of ndarray
        What ``{"array": n}`` refers to.
    """

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def value(self, value: Any, what: str) -> Any:
        """Return a value as JSON.

        Parameters
        ----------
        value : object
            Any of those in the module's docstring.
        what : str
            Whose value it is, for errors: "The 'metric' parameter of ProtoNetClassifier".

        Raises
        ------
        TypeError
            If it is something else.
        """
        if isinstance(value, np.generic):
            return self._scalar(value, what)
        if isinstance(value, PurePath):
            return str(value)
        if type(value) is int and abs(value) >= LARGEST_INT:
            raise TypeError(f"{what} is an integer beyond 64 bits, which is not stored.")
        if type(value) in PLAIN:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is bytes:
            return {"bytes": value.hex()}
        if type(value) is list:
            return [self.value(part, what) for part in value]
        if type(value) in TAGS_OF_MANY:
            parts = sorted(value, key=repr) if type(value) is not tuple else value
            return {TAGS_OF_MANY[type(value)]: [self.value(part, what) for part in parts]}
        if type(value) is dict:
            return {"dict": [[self.value(part, what) for part in pair] for pair in value.items()]}
        return self._array_or_name(value, what)

    def array(self, array: np.ndarray, what: str) -> dict[str, Any]:
        """Keep an array, return the reference to it."""
        if array.dtype.kind == "O":
            return self._objects(array, what)
        if not can_hold(array.dtype):
            raise TypeError(
                f"{what} has the dtype {array.dtype}, which model files do not have. Convert it to "
                "numbers of at most 64 bits, strings or bytes before fit."
            )
        self.arrays.append(array)
        return {"array": len(self.arrays) - 1}

    def _array_or_name(self, value: Any, what: str) -> dict[str, Any]:
        if type(value) is np.ndarray or isinstance(value, np.memmap):
            return self.array(np.asarray(value), what)
        if isinstance(value, np.dtype) and can_hold(value):
            return {"dtype": value.str}
        if isinstance(value, type) and issubclass(value, np.generic):
            return {"type": value.__name__}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if _is_of_one_number(value) and getattr(np, value.__name__, None) is value:
            return {"ufunc": value.__name__}
        return {"name": importable_name(value, what)}

    def _scalar(self, value: np.generic, what: str) -> dict[str, Any]:
        dtype = value.dtype.newbyteorder("<")
        if not can_hold(dtype) or dtype.itemsize > SCALAR_BYTES:
            raise TypeError(f"{what} is a {type(value).__name__}, which model files do not have.")
        return {"scalar": [dtype.str, np.asarray(value, dtype).tobytes().hex()]}

    def _objects(self, array: np.ndarray, what: str) -> dict[str, Any]:
        other = next((label for label in array.ravel() if not isinstance(label, LABELS)), None)
        if array.ndim != 1 or other is not None:
            raise TypeError(
                f"{what} is an array of Python objects, of which only strings, bytes, numbers and "
                f"None in one dimension are stored. Got {type(other).__name__} in shape "
                f"{array.shape}."
            )
        return {"objects": [self.value(label, what) for label in array]}


def _is_of_one_number(value: Any) -> bool:
    return isinstance(value, np.ufunc) and value.nin == value.nout == 1


def importable_name(value: Any, what: str) -> str:
    """Return "module:qualname" of a class or function that can be imported by it."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, torch.nn.Module):
        raise TypeError(
            f"{what} is an instance of {type(value).__name__}: a file without code cannot say how "
            "to build one. Give the class, or a function of a module of yours that builds it, and "
            "fit; both are stored by name. Or use pickle, whose files run code when loaded."
        )
    if module not in (None, "__main__") and name is not None and _found(module, name) is value:
        return f"{module}:{name}"
    raise TypeError(
        f"{what} is a {type(value).__name__} that model files do not hold: plain values, arrays, "
        "and classes or functions that can be imported by name (no lambdas, nothing of __main__). "
        "Set it to one of these before saving, or use pickle or joblib, whose files run code when "
        "loaded: load only those that you trust."
    )


def _found(module: str, name: str) -> Any:
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


class ValueReader:
    """Turns JSON back into values.

    Parameters
    ----------
    arrays : list of ndarray
        What ``{"array": n}`` refers to.
    trusted : collection of str
        Names that may be imported.
    """

    def __init__(self, arrays: list[np.ndarray], trusted: Collection[str] = ()) -> None:
        self.arrays = dict(enumerate(arrays))
        self.trusted = trusted
        self.depth = 0
        self.readers: dict[str, Callable[[Any], Any]] = {
            "tuple": lambda parts: tuple(self._parts(parts)),
            "set": lambda parts: set(self._parts(parts)),
            "frozenset": lambda parts: frozenset(self._parts(parts)),
            "dict": self._dict,
            "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
            "bytes": bytes.fromhex,
            "scalar": self._scalar,
            "array": self._array,
            "objects": self._objects,
            "dtype": self._dtype,
            "type": lambda name: self._dtype(np.dtype(name[:20]).str).type,
            "device": lambda name: torch.device(str(name)),
            "ufunc": self._ufunc,
            "name": self._imported,
        }

    def value(self, stored: Any) -> Any:
        """Return the value that JSON stands for.

        Raises
        ------
        ModelFormatError
            If it stands for nothing, or for something that may not be imported.
        """
        self.depth += 1
        if self.depth > DEEPEST:
            raise ModelFormatError(f"values lie more than {DEEPEST} deep within each other")
        try:
            if isinstance(stored, list):
                return self._parts(stored)
            if isinstance(stored, dict):
                return self._tagged(stored)
            if type(stored) is int and abs(stored) >= LARGEST_INT:
                raise ModelFormatError("an integer has more than 64 bits")
            return stored
        finally:
            self.depth -= 1

    def array(self, stored: Any, what: str) -> np.ndarray:
        """Return an array, or raise if there is something else."""
        value = self.value(stored)
        if not isinstance(value, np.ndarray):
            raise ModelFormatError(f"{what} must be an array. Got {type(value).__name__}")
        return value

    def check_all_used(self) -> None:
        """Raise if there are arrays that no value consists of."""
        if self.arrays:
            raise ModelFormatError(f"nothing refers to {len(self.arrays)} of its arrays")

    def _tagged(self, stored: dict[str, Any]) -> Any:
        tag, content = next(iter(stored.items()), ("", None))
        if len(stored) != 1 or tag not in self.readers:
            raise ModelFormatError(f"no value is stored with the keys {sorted(stored)[:5]}")
        return self.readers[tag](content)

    def _parts(self, stored: Any) -> list[Any]:
        if not isinstance(stored, list):
            raise ModelFormatError(f"a list was expected. Got {type(stored).__name__}")
        return [self.value(part) for part in stored]

    def _dict(self, stored: Any) -> dict[Any, Any]:
        return {self.value(key): self.value(part) for key, part in stored}

    def _array(self, number: Any) -> np.ndarray:
        if type(number) is not int or number not in self.arrays:
            raise ModelFormatError(f"there is no array {number!r} that is not yet used")
        return self.arrays.pop(number)

    def _scalar(self, stored: Any) -> np.generic:
        described, content = stored
        dtype = self._dtype(described)
        if dtype.itemsize != len(content) // 2 or dtype.itemsize > SCALAR_BYTES:
            raise ModelFormatError(f"a scalar of {dtype} has {len(content) // 2} bytes")
        one = np.frombuffer(bytes.fromhex(content), dtype)
        check_values("a scalar", one)
        return one[0]

    def _objects(self, stored: Any) -> np.ndarray:
        parts = self._parts(stored)
        if not all(isinstance(part, LABELS) for part in parts):
            raise ModelFormatError("an array of objects holds something else than labels")
        array = np.empty(len(parts), dtype=object)
        array[:] = parts
        return array

    def _dtype(self, described: Any) -> np.dtype[Any]:
        if type(described) is not str or len(described) > 10:
            raise ModelFormatError("a dtype is no short string")
        dtype = np.dtype(described)
        if not can_hold(dtype):
            raise ModelFormatError(f"there is a dtype {described!r}, which no model file has")
        return dtype

    def _ufunc(self, name: Any) -> np.ufunc:
        found = getattr(np, name, None)
        if not _is_of_one_number(found):
            raise ModelFormatError(f"numpy has no function {name[:80]!r} of one number")
        return found

    def _imported(self, name: Any) -> Any:
        if name not in self.trusted:
            raise ModelFormatError(
                f"it refers to {name!r}, which would have to be imported and called. If you know "
                f"where the file comes from, pass trusted=[{name!r}]"
            )
        module, _, qualname = name.partition(":")
        try:
            found = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ModelFormatError(f"{name!r} cannot be imported: {error}") from error
        return found
