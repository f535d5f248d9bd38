"""One short name for values: equal values have equal names, in every process."""

from __future__ import annotations

import marshal
import pickle
import types
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from joblib.hashing import NumpyHasher

from ..utils._blocks import blocks
from ..utils._memory_map import blocks_of

STABLE_MARSHAL = 2  # the last version whose bytes do not depend on other references to an object


def fingerprint(*values: Any) -> str:
    """Return 32 hexadecimal digits that identify values.

    It is :func:`joblib.hash`, of what pickle would write, except that arrays count by dtype, shape
    and content (memory maps too, some rows at a time), tensors as arrays, functions by their code
    and what it refers to in defaults and closures, classes and Python modules by their names.

    Parameters
    ----------
    *values : object
        Anything that can be pickled.

    Returns
    -------
    digits : str

    Raises
    ------
    TypeError
        If a value cannot be pickled.
    """
    try:
        return _Hasher().hash(values)
    except (pickle.PicklingError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise TypeError(
            "A checkpoint is found again by the parameters and data of its fit, which must be such "
            f"as pickle takes. Got one that it rejects: {error} Pass another, or checkpoint=None."
        ) from error


class _Hasher(NumpyHasher):
    """The hasher of joblib, but replaces values that pickle rejects or writes differently."""

    def save(self, obj: Any) -> None:
        """Write a value, or its replacement."""
        if isinstance(obj, np.ndarray) and not obj.dtype.hasobject:
            obj = "array", obj.dtype.str, str(obj.dtype.descr), obj.shape, self._content(obj)
        elif isinstance(obj, torch.Tensor):
            values = obj.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            obj = "tensor", str(obj.dtype), tuple(obj.shape), obj.requires_grad, values
        elif isinstance(obj, types.FunctionType):
            cells = [cell.cell_contents for cell in obj.__closure__ or ()]
            code = marshal.dumps(obj.__code__, STABLE_MARSHAL)
            obj = "function", obj.__module__, code, obj.__defaults__, obj.__kwdefaults__, cells
        elif isinstance(obj, type):
            obj = "class", obj.__module__, obj.__qualname__
        elif isinstance(obj, types.ModuleType):
            obj = "module", obj.__name__
        super().save(obj)

    def memoize(self, obj: Any) -> None:
        """Count a tuple by its values, be it one object in two places or a copy, as strings are."""
        if not isinstance(obj, tuple):
            super().memoize(obj)

    @staticmethod
    def _content(array: np.ndarray) -> str:
        """Hash the rows of an array in bounded memory, whatever their order in it."""
        hasher = blake2b(digest_size=16)
        for rows in blocks_of(np.atleast_1d(array)):
            for part in blocks(len(rows), rows[:1].nbytes):
                hasher.update(np.ascontiguousarray(rows[part]).reshape(-1).view(np.uint8).data)
        return hasher.hexdigest()
