"""Digests of samples: equal ones are copies of each other."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ._memory_map import blocks_of


def digests(X: np.ndarray) -> np.ndarray:
    """Return a digest of each sample, the same in every process and for every dtype.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
        Samples.

    Returns
    -------
    digest : float64 ndarray of shape (n_samples,)
        Whole numbers of 48 bits: as floats, no reader of a file takes them for sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.utils._digest import digests
    >>> a, b, c = digests(np.array([[1, 0], [2, 0], [1, 0]]))
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    found = [
        int.from_bytes(blake2b(sample.tobytes(), digest_size=6).digest(), "little")
        for block in blocks_of(X)
        for sample in np.asarray(block, dtype=np.float32) + np.float32(0.0)  # -0.0 equals 0.0
    ]
    return np.array(found, dtype=np.float64)
