"""easyfsl as its documentation shows it: methods on stored embeddings, its own task sampler.

Fixed: ``FeaturesDataset``, ``TaskSampler``, a ``DataLoader`` without workers and
``easyfsl.utils.evaluate``, as in its ``scripts/benchmark_methods.py``. The relation module is
given the structure and weights of the package's, the Matching Network its weights;
that still is another function (see :func:`full_context`).

easyfsl 1.5.0 asks for torchvision, whose wheels of today do not load beside a CPU build of torch;
0.15.2 does. Both go into a folder of their own, which needs to be on the path:

    pip install --no-deps --target /tmp/easyfsl easyfsl torchvision==0.15.2
    PYTHONPATH=/tmp/easyfsl python -m benchmarks.evaluation
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


class TakesDataSource:
    """What torch's ``Sampler`` used to accept: easyfsl's sampler raises without."""

    def __init__(self, data_source: None) -> None:
        pass


try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision misses its image library
        from easyfsl import __version__, methods
        from easyfsl.datasets import FeaturesDataset
        from easyfsl.samplers import TaskSampler
        from easyfsl.utils import evaluate
except ImportError:
    __version__ = None
else:

    class Sampler(TaskSampler, TakesDataSource):
        """easyfsl's sampler, which starts on today's torch."""


def run(
    model: Any,
    embedding: Tensor,
    labels: list[int],
    *,
    n_way: int,
    n_shot: int,
    n_query: int,
    n_episodes: int,
    seed: int,
) -> float:
    """Return the mean accuracy over episodes.

    Parameters
    ----------
    model : easyfsl.methods.FewShotClassifier
        The method.
    embedding : tensor of shape (n_samples, ...)
        Stored embeddings.
    labels : list of int
        Their classes.
    n_way, n_shot, n_query : int
        Size of an episode.
    n_episodes : int
        Number of episodes.
    seed : int
        Of its sampler.
    """
    random.seed(seed)
    dataset = FeaturesDataset(labels, embedding, [str(code) for code in range(max(labels) + 1)])
    sampler = Sampler(dataset, n_way, n_shot, n_query, n_episodes)
    loader = DataLoader(
        dataset, batch_sampler=sampler, num_workers=0, collate_fn=sampler.episodic_collate_fn
    )
    return float(evaluate(model, loader, device="cpu", use_tqdm=False))


@torch.inference_mode()
def accuracy(model: Any, support: Tensor, query: Tensor) -> float:
    """Return the accuracy on a support of shape (n_way, n_shot, ...), queries class by class."""
    n_way, n_shot = support.shape[:2]
    model.eval()
    model.process_support_set(support.flatten(0, 1), torch.arange(n_way).repeat_interleave(n_shot))
    target = torch.arange(n_way).repeat_interleave(len(query) // n_way)
    return float(np.mean((model(query).argmax(dim=1) == target).numpy()))


def prototypical(head: nn.Module) -> Any:
    return methods.PrototypicalNetworks(nn.Identity())


def centroid(head: nn.Module) -> Any:
    return methods.SimpleShot(nn.Identity(), feature_normalization=2)


def full_context(head: nn.Module) -> Any:
    """Copy the weights of the recurrent networks.

    Its query network takes as many steps as there are support examples and starts from the query,
    its support network meets the classes in the order drawn, and it compares by the cosine's
    numerator alone: accuracies are near, not equal.
    """
    d = head.forward_lstm.input_size
    model = methods.MatchingNetworks(nn.Identity(), feature_dimension=d)
    of_backward = head.backward_lstm.state_dict().items()
    both = head.forward_lstm.state_dict() | {f"{name}_reverse": it for name, it in of_backward}
    model.support_features_encoder.load_state_dict(both)
    cell = model.query_features_encoding_cell
    keep, write, show, value = head.gates.weight.chunk(4)
    weight = torch.cat([write, keep, value, show])  # the order of torch's cell
    bias = head.gates.bias.chunk(4)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.cat([weight[:, :d], weight[:, 2 * d :]], dim=1))
        cell.weight_hh.copy_(weight[:, d : 2 * d])
        cell.bias_ih.copy_(torch.cat([bias[1], bias[0], bias[3], bias[2]]))
        cell.bias_hh.zero_()
    return model


def relation(head: nn.Module) -> Any:
    """Concatenate prototype and query; its embeddings are maps of one pixel."""
    hidden_dim, d = head.of_class.weight.shape
    first = nn.Linear(2 * d, hidden_dim, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.cat([head.of_class.weight, head.of_query.weight], dim=1))
    module = nn.Sequential(nn.Flatten(), first, *head.of_pair)
    return methods.RelationNetworks(nn.Identity(), feature_dimension=d, relation_module=module)


METHODS: dict[str, Callable[[Any], Any]] = {
    "prototypical": prototypical,
    "full context": full_context,
    "relation": relation,
    "centroid": centroid,
}
