"""The values that modules pass around: support sets, states, and sums within classes."""

from typing import NamedTuple

import torch
from torch import Tensor

State = dict[str, Tensor]
"""Result of adapting to support sets: tensors whose first axis is the episode."""


class Support(NamedTuple):
    """The support sets of a batch of episodes.

    Parameters
    ----------
    inputs : tensor of shape (n_episodes, n_support, *input_shape)
        The examples; for heads their embeddings, for zero-shot modules the attributes of classes.
    target : tensor of shape (n_episodes, n_support) or (n_episodes, n_support, n_targets)
        Class codes, int64, ``0 <= code < n_classes``; or the values of a regression.
    weight : tensor of shape (n_episodes, n_support)
        How many examples an item represents, in the dtype of the inputs; 0 marks padding.
    n_classes : int
        Classes per episode, in ragged batches the maximum over the episodes; 1 in regression.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> support.n_classes
    2
    """

    inputs: Tensor
    target: Tensor
    weight: Tensor
    n_classes: int


def to_state(support: Support) -> State:
    """Return a support set of classes as a state, with the number of examples of each class.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, to_state
    >>> support = Support(torch.zeros(1, 3, 2), torch.tensor([[0, 0, 1]]), torch.ones(1, 3), 2)
    >>> to_state(support)["count"]
    tensor([[2., 1.]])
    """
    count = support.weight.new_zeros(len(support.weight), support.n_classes)
    return {
        "inputs": support.inputs,
        "target": support.target,
        "weight": support.weight,
        "count": count.scatter_add(1, support.target, support.weight),
    }


def from_state(state: State) -> Support:
    """Return the support set of a state of :func:`to_state`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, from_state, to_state
    >>> support = Support(torch.zeros(1, 3, 2), torch.tensor([[0, 0, 1]]), torch.ones(1, 3), 2)
    >>> from_state(to_state(support)).n_classes
    2
    """
    return Support(state["inputs"], state["target"], state["weight"], state["count"].shape[1])


def class_sums(values: Tensor, support: Support) -> Tensor:
    """Add up ``values`` of shape (n_episodes, n_support, d) within each class.

    Linear in the number of items: one scatter for all episodes, no one-hot matrix.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, class_sums
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> class_sums(inputs, support)
    tensor([[[0., 2.],
             [4., 0.]]])
    """
    n_episodes, _, dim = values.shape
    episode = torch.arange(n_episodes, device=values.device).unsqueeze(1)
    slot = (support.target + support.n_classes * episode).reshape(-1)
    sums = values.new_zeros(n_episodes * support.n_classes, dim)
    return sums.index_add(0, slot, values.reshape(-1, dim)).view(n_episodes, -1, dim)


def class_means(support: Support) -> Support:
    """Average the items of each class: one item per class, which represents as many examples.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, class_means
    >>> inputs = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]]])
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> means = class_means(support)
    >>> means.inputs, means.weight
    (tensor([[[0., 1.],
             [4., 0.]]]), tensor([[2., 1.]]))
    """
    weight = support.weight.to(support.inputs.dtype).unsqueeze(-1)
    total = class_sums(support.inputs.flatten(2) * weight, support)  # (n_episodes, n_classes, d)
    count = class_sums(weight, support)  # (n_episodes, n_classes, 1)
    mean = (total / count.clamp_min(1e-12)).unflatten(2, support.inputs.shape[2:])
    code = torch.arange(support.n_classes, device=count.device).expand(count.shape[:2])
    return Support(mean, code, count.squeeze(-1), support.n_classes)


def class_logsumexp(values: Tensor, support: Support, *, balanced: bool = False) -> Tensor:
    """Add up ``exp(values)`` of the items of each class, in logarithms.

    Parameters
    ----------
    values : tensor of shape (n_episodes, n_queries, n_support)
        A value for each query and item. Each item counts with its weight.
    support : Support
        Classes and weights of the items.
    balanced : bool
        Whether to divide by the number of examples of a class: their mean instead of their sum.

    Returns
    -------
    logsumexp : tensor of shape (n_episodes, n_queries, n_classes)
        ``-inf`` for classes without an example.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, class_logsumexp
    >>> inputs = torch.zeros(1, 3, 2)
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> values = torch.tensor([[[1.0, 3.0, 5.0]]])  # one query, three items
    >>> class_logsumexp(values, support, balanced=True)  # logarithms of mean exponentials
    tensor([[[2.4338, 5.0000]]])
    """
    weight = support.weight.to(values.dtype)
    values = values + weight.log().unsqueeze(1)
    highest = class_max(values.detach(), support)  # keeps the exponentials in range
    shift = highest.clamp_min(torch.finfo(values.dtype).min)  # finite for absent classes
    code = support.target.unsqueeze(1).expand_as(values)
    relative = (values - shift.gather(2, code)).exp()
    absent = highest == -torch.inf
    total = torch.zeros_like(shift).scatter_add(2, code, relative).masked_fill(absent, 1.0)
    if balanced:
        count = class_sums(weight.unsqueeze(-1), support).mT  # (n_episodes, 1, n_classes)
        total = total / count.masked_fill(count == 0, 1.0)
    return (total.log() + shift).masked_fill(absent, -torch.inf)


def class_max(values: Tensor, support: Support) -> Tensor:
    """Return the highest of ``values`` (n_episodes, n_queries, n_support) within each class.

    Returns
    -------
    highest : tensor of shape (n_episodes, n_queries, n_classes)
        ``-inf`` for classes without an example.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, class_max
    >>> inputs = torch.zeros(1, 3, 2)
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> values = torch.tensor([[[1.0, 3.0, 5.0]]])  # one query, three items
    >>> class_max(values, support)
    tensor([[[3., 5.]]])
    """
    values = values.masked_fill((support.weight == 0).unsqueeze(1), -torch.inf)
    code = support.target.unsqueeze(1).expand_as(values)
    lowest = values.new_full((*values.shape[:2], support.n_classes), -torch.inf)
    return lowest.scatter_reduce(2, code, values, "amax")


def class_mean(values: Tensor, support: Support) -> Tensor:
    """Return the weighted mean of ``values`` (n_episodes, n_queries, n_support) of each class.

    Returns
    -------
    mean : tensor of shape (n_episodes, n_queries, n_classes)
        ``-inf`` for classes without an example.

    Examples
    --------
    >>> import torch
    >>> from sklearn_fewshot.nn import Support, class_mean
    >>> inputs = torch.zeros(1, 3, 2)
    >>> support = Support(inputs, torch.tensor([[0, 0, 1]]), torch.ones(1, 3), n_classes=2)
    >>> values = torch.tensor([[[1.0, 3.0, 5.0]]])  # one query, three items
    >>> class_mean(values, support)
    tensor([[[2., 5.]]])
    """
    weight = support.weight.to(values.dtype).unsqueeze(1)
    code = support.target.unsqueeze(1)
    zeros = values.new_zeros(*values.shape[:2], support.n_classes)
    total = zeros.scatter_add(2, code.expand_as(values), values * weight)
    count = zeros[:, :1].scatter_add(2, code, weight)  # (n_episodes, 1, n_classes)
    return (total / count.clamp_min(1e-12)).masked_fill(count == 0, -torch.inf)
