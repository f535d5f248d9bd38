"""Batches: the input of one step of training, or of one block of an evaluation."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ._support import Support

PADDING = -1  # target of a padded query of a ragged batch

Take = Callable[[Tensor], Tensor]
"""Returns rows by their positions: from (n_episodes, n) to (n_episodes, n, *shape)."""


def is_padding(target: Tensor) -> Tensor:
    """Return a mask of the padded queries, given their classes or values.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import is_padding
    >>> is_padding(torch.tensor([[2, 0, -1]]))
    tensor([[False, False,  True]])
    >>> is_padding(torch.tensor([[[0.5], [torch.nan]]]))
    tensor([[False,  True]])
    """
    return target[..., 0].isnan() if target.is_floating_point() else target == PADDING


class EpisodeBatch(NamedTuple):
    """Episodes as one stack of inputs and positions in it.

    Parameters
    ----------
    inputs : tensor of shape (n_rows, *input_shape)
        The rows of all episodes, padding excluded: one backbone pass serves them all.
    support : int64 tensor of shape (n_episodes, n_support)
        Positions of the support examples in ``inputs``.
    support_target : tensor of shape (n_episodes, n_support) or (n_episodes, n_support, n_targets)
        Class of each support item within its episode, int64; or its values in regression.
    weight : float tensor of shape (n_episodes, n_support)
        1, or 0 for padding.
    query : int64 tensor of shape (n_episodes, n_queries)
        Positions of the queries in ``inputs``.
    target : tensor of shape (n_episodes, n_queries) or (n_episodes, n_queries, n_targets)
        Class of each query within its episode, -1 for padding; or its values, NaN for padding.
    n_classes : int
        Maximum number of classes of an episode.
    classes : int64 tensor of shape (n_episodes, n_classes)
        Codes of the classes in the data; -1 for padding. Only used if classes have attributes.
    attributes : tensor of shape (n_episodes, n_classes, n_attributes) or None
        Representation of the classes in place of support examples, in zero-shot learning.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import EpisodeBatch
    >>> batch = EpisodeBatch(
    ...     inputs=torch.tensor([[0.0], [10.0], [1.0], [9.0]]),
    ...     support=torch.tensor([[0, 1]]),
    ...     support_target=torch.tensor([[0, 1]]),
    ...     weight=torch.ones(1, 2),
    ...     query=torch.tensor([[2, 3]]),
    ...     target=torch.tensor([[0, 1]]),
    ...     n_classes=2,
    ... )
    >>> batch.inputs[batch.query]
    tensor([[[1.],
             [9.]]])
    """

    inputs: Tensor
    support: Tensor
    support_target: Tensor
    weight: Tensor
    query: Tensor
    target: Tensor
    n_classes: int
    classes: Tensor = torch.empty(0, dtype=torch.int64)
    attributes: Tensor | None = None

    def support_sets(self, take: Take) -> Support:
        """Return the support sets; ``take`` returns rows by their positions in the stack."""
        if self.attributes is None:
            inputs = take(self.support)
            weight = self.weight.to(inputs.dtype)
            return Support(inputs, self.support_target, weight, self.n_classes)
        weight = (self.classes >= 0).to(self.attributes.dtype)
        code = torch.arange(self.n_classes, device=weight.device).expand(weight.shape)
        return Support(self.attributes, code, weight, self.n_classes)

    def one_by_one(self) -> Iterator["EpisodeBatch"]:
        """Yield the episodes as batches of one, without padded queries."""
        for e in range(len(self.query)):
            real = ~is_padding(self.target[e])
            one = self._replace(
                **{
                    name: getattr(self, name)[e : e + 1]
                    for name in ("support", "support_target", "weight", "classes")
                },
                query=self.query[e : e + 1, real],
                target=self.target[e : e + 1, real],
            )
            if self.attributes is not None:
                one = one._replace(attributes=self.attributes[e : e + 1])
            yield one


class SampleBatch(NamedTuple):
    """Single samples with their classes.

    Parameters
    ----------
    inputs : tensor of shape (n_rows, *input_shape)
        Samples.
    target : int64 tensor of shape (n_rows,)
        Their classes.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import SampleBatch
    >>> SampleBatch(torch.zeros(3, 4), torch.tensor([0, 2, 1])).inputs.shape
    torch.Size([3, 4])
    """

    inputs: Tensor
    target: Tensor


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """Return ``values[index]``; for whole rows this is faster.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import take_rows
    >>> take_rows(torch.tensor([[1.0], [2.0]]), torch.tensor([[1, 0, 1]])).shape
    torch.Size([1, 3, 1])
    """
    return values.index_select(0, index.flatten()).unflatten(0, index.shape)
