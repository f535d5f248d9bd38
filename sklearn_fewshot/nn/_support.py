"""The value that heads pass around: labelled, weighted embeddings of one or many episodes."""

from typing import NamedTuple

import torch
from torch import Tensor


class SupportSet(NamedTuple):
    """Embedded support examples, or what a head condenses them to, of several episodes.

    Parameters
    ----------
    embedding : tensor of shape (n_episodes, n_support, *embedding_shape)
        One embedding an item.
    code : int64 tensor of shape (n_episodes, n_support)
        The class of each item, ``0 <= code < n_classes``.
    weight : tensor of shape (n_episodes, n_support)
        How many examples an item stands for; 0 marks padding.
    n_classes : int
        Classes in an episode; in ragged batches the most that any episode has.
    """

    embedding: Tensor
    code: Tensor
    weight: Tensor
    n_classes: int


def class_sums(values: Tensor, support: SupportSet) -> Tensor:
    """Add up ``values`` of shape (n_episodes, n_support, d) within each class.

    Linear in the number of items: one scatter for all episodes, no one-hot matrix.
    """
    n_episodes, _, dim = values.shape
    episode = torch.arange(n_episodes, device=values.device).unsqueeze(1)
    slot = (support.code + support.n_classes * episode).reshape(-1)
    sums = values.new_zeros(n_episodes * support.n_classes, dim)
    return sums.index_add(0, slot, values.reshape(-1, dim)).view(n_episodes, -1, dim)
