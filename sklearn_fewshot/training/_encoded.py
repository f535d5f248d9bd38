"""What the trained network makes of the training data, without another copy of all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..episodes import thinned
from ..network import FittedNetwork, Representation
from ..nn import embed
from ..nn.optimization._adapting import embedding_part
from ..utils._blocks import block_size, blocks
from ..utils._memory_map import some_rows
from ._config import Task
from ._data import TrainingData
from ._start import Untrained

MAX_ROWS_KEPT = 1000  # of base classes, by modules that cannot condense them


class Encoded:
    """Samples that are encoded when they are taken.

    Parameters
    ----------
    encode : callable
        Encodes samples.
    X : ndarray of shape (n_samples, ...)
        Samples, perhaps in a memory map.
    batch_size : int
        Samples that are encoded together.
    """

    def __init__(
        self, encode: Callable[[np.ndarray], np.ndarray], X: np.ndarray, batch_size: int
    ) -> None:
        self.encode, self.X, self.batch_size = encode, X, batch_size

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.X)

    def __getitem__(self, some: Any) -> np.ndarray:
        """Encode some of the samples: a slice, a mask or their numbers."""
        if isinstance(some, slice):
            return self.encode(self.X[some])
        rows = np.arange(len(self.X))[some]
        parts = blocks(len(rows), self.X[:1].nbytes, multiple_of=self.batch_size)
        encoded = [self.encode(some_rows(self.X, rows[part])) for part in parts]
        return np.concatenate(encoded or [self.encode(self.X[:0])])


def encoded_data(
    untrained: Untrained,
    network: FittedNetwork,
    task: Task,
    on_rows: Callable[[int], object] | None = None,
) -> Encoded:
    """Return the training data as the trained network sees them; through a front end only once."""
    if untrained.trained is untrained.module:
        encode, X = partial(network.encode, on_rows=on_rows), task.data.X
        return Encoded(encode, X, network.batch_size)
    through = partial(embed, embedding_part(untrained.trained), batch_size=network.batch_size)
    encode = partial(through, on_rows=on_rows)
    return Encoded(encode, task.store.as_array(), network.batch_size)


def represent(
    network: FittedNetwork, rows: np.ndarray | Encoded, data: TrainingData
) -> Representation:
    """Return what represents the base classes."""
    codes = data.label_codes
    n_labels = len(data.classes) if data.class_tasks is None else data.class_tasks.n_labels
    some = np.arange(len(codes))
    if not network.joins:
        some = thinned(some, codes, MAX_ROWS_KEPT)
    if not network.averages:
        return network.condense(Representation.of_examples(rows[some], codes[some], n_labels))
    stop = min(network.batch_size, len(codes))  # the first tell how large they are
    items = Representation.of_examples(rows[:stop], codes[:stop], n_labels)
    done = network.condense(items)
    size = block_size(8 * items.embedding[:1].size, multiple_of=network.batch_size)
    for start in range(stop, len(codes), size):
        part = slice(start, start + size)
        items = Representation.of_examples(rows[part], codes[part], n_labels)
        done = network.condense(done.join(items))
    return done
