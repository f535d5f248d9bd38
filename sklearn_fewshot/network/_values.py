"""The values that a network takes and is made of: support sets, states, recipes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from ..nn import FewShotModule

State = dict[str, np.ndarray]
"""What a network computes from one support set; the first axis of each array has length one."""


class Representation(NamedTuple):
    """A support set as numpy arrays: all examples, or what they are condensed to.

    Parameters
    ----------
    embedding : ndarray of shape (n_items, *embedding_shape)
        Embedded examples or prototypes; of networks that do not embed rows, inputs.
    code : int64 ndarray of shape (n_items,)
        Class of each item.
    weight : float64 ndarray of shape (n_items,)
        Examples that each item represents.
    n_classes : int
        Number of classes.
    """

    embedding: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    n_classes: int

    @classmethod
    def of_examples(cls, embedding: np.ndarray, code: np.ndarray, n_classes: int) -> Representation:
        """Return examples, each of which represents itself."""
        return cls(embedding, code.astype(np.int64), np.ones(len(code)), n_classes)

    @property
    def class_count(self) -> np.ndarray:
        """Examples of each class, shape (n_classes,)."""
        return np.bincount(self.code, self.weight, self.n_classes)

    def join(self, other: Representation) -> Representation:
        """Return all items of both, under common class codes."""
        return Representation(
            np.concatenate([self.embedding, other.embedding]),
            np.concatenate([self.code, other.code]),
            np.concatenate([self.weight, other.weight]),
            max(self.n_classes, other.n_classes),
        )

    def recode(self, codes: np.ndarray, n_classes: int) -> Representation:
        """Return the items with class ``k`` renamed to ``codes[k]``."""
        return self._replace(code=codes[self.code], n_classes=n_classes)

    def take(self, items: np.ndarray | slice) -> Representation:
        """Return some of the items."""
        return Representation(
            self.embedding[items], self.code[items], self.weight[items], self.n_classes
        )


class Recipe(NamedTuple):
    """How to build a network: structure without weights.

    Parameters
    ----------
    module : type
        The class of the network, a :class:`~sklearn_fewshot.nn.FewShotModule`.
    input_shape : tuple of int
        Shape of one sample.
    options : dict
        Further arguments of its ``build``.
    """

    module: type[FewShotModule]
    input_shape: tuple[int, ...]
    options: dict[str, Any]

    def build(self) -> FewShotModule:
        """Build the network with fresh weights."""
        return self.module.build(self.input_shape, **self.options)

    def with_option(self, **options: Any) -> Recipe:
        """Return the recipe with other options."""
        return self._replace(options=self.options | options)


class ScoreModel(Protocol):
    """The model of a network's scores; ``calibration`` fits one on held-out classes."""

    @property
    def n_held_out(self) -> int:
        """Held-out classes that it rests on."""

    def inverse_temperature(self, count: np.ndarray) -> float:
        """Return the factor of the logits in probabilities, given the examples of each class."""

    def shot_correction(self, count: np.ndarray) -> np.ndarray:
        """Return the correction of the scores of classes with unequal numbers of examples."""

    def quantile(self, count: np.ndarray, rate: float, deviation: np.ndarray) -> np.ndarray:
        """Return the score of each class that a share of its inliers stays below."""

    def set_margin(self, count: np.ndarray, alpha: float) -> np.ndarray | None:
        """Return how far the logit of each class may be below the highest in a prediction set.

        None if no class was held out.
        """


def build_around(recipe: Recipe, weights: dict[str, torch.Tensor]) -> FewShotModule:
    """Build a network around weights.

    Networks of this package are first built without memory, and what a file says about their sizes
    is compared with the weights that it brings before anything of that size is there.

    Raises
    ------
    ValueError
        If the weights are not those of such a network.
    """
    is_ours = _is_ours(recipe.module) and all(map(_is_ours, _code_in(recipe.options)))
    with torch.random.fork_rng(devices=[]), torch.device("meta") if is_ours else nullcontext():
        module = recipe.build()
    wanted = {k: (v.shape, v.dtype) for k, v in module.state_dict().items()}
    got = {k: (v.shape, v.dtype) for k, v in weights.items()}
    differ = [k for k in wanted.keys() | got.keys() if wanted.get(k) != got.get(k)]
    if differ:
        name = min(differ)
        raise ValueError(
            f"The weights are not those of the network: {name} must have shape and dtype "
            f"{wanted.get(name)}. Got {got.get(name)}."
        )
    module.load_state_dict(weights, assign=is_ours)
    return module


def _code_in(options: Any) -> Iterator[Any]:
    """Yield the classes, functions and modules among the options of a recipe."""
    if isinstance(options, dict):
        options = list(options.values())
    if isinstance(options, list | tuple):
        for option in options:
            yield from _code_in(option)
    elif callable(options):
        yield options


def _is_ours(part: Any) -> bool:
    """Whether a part of a recipe is not of the user's own: it can be built without memory.

    What a model file may name without the user's trust counts too, or it would be a way around.
    """
    root = (getattr(part, "__module__", None) or "builtins").partition(".")[0]
    return root in (__name__.partition(".")[0], "builtins", "numpy", "scipy", "sklearn")


def check_embedding(embedding: np.ndarray) -> None:
    """Raise if embeddings are not finite: every comparison with them would be meaningless."""
    is_finite = np.isfinite(embedding)
    if not is_finite.all():
        finite = is_finite.reshape(len(embedding), -1).all(axis=1)
        raise ValueError(
            f"The network returned NaN or infinity for {int((~finite).sum())} of "
            f"{len(embedding)} samples, first for row {int(np.argmin(finite))}. Check the scale of "
            "X and the weights of the backbone."
        )


def as_writeable_tensor(values: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor; torch warns of arrays that are not writeable, as memory maps."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))
