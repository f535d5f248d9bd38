"""A trained network as a value: numpy in, numpy out, and nothing of how it was trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from ..episodes import EpisodePlan
from ..nn import (
    EmbeddingModule,
    EmbedsRows,
    FewShotModule,
    Joins,
    Support,
    chunk_sizes,
    chunks,
    embed,
    kept_memory,
    says_what_to_lower,
    score_plan,
    take_rows,
)
from ..nn._data import as_input, as_tensor
from ..nn.backbones import Identity, embedding_shape, takes_any_length
from ..nn.heads import Head
from ..nn.optimization import AdaptingModule
from ..utils._blocks import blocks
from ..utils._input_range import InputRange
from ._device import on_cpu, on_wanted_device
from ._values import (
    Recipe,
    Representation,
    ScoreModel,
    State,
    as_writeable_tensor,
    build_around,
    check_embedding,
)

NO_SCORES = np.empty(0)


class FittedNetwork:
    """Embeds, adapts and predicts. Nothing in it changes after training.

    Rows come in one of two forms: samples, of shape (n_samples, *input_shape), or *encoded*, as
    :meth:`encode` returns them. Networks that embed rows encode them to embeddings, so that each is
    embedded once; others take encoded rows unchanged.

    Parameters
    ----------
    module : FewShotModule
        The trained network.
    recipe : Recipe
        How to build it again.
    input_scale : float
        Factor applied to inputs.
    device : str
        Where predictions are computed, ``"auto"`` for cuda if there is one.
    batch_size : int
        Samples embedded at once.
    autocast_dtype : torch.dtype or None
        Lower precision of the embedding; None for float32.

    Attributes
    ----------
    calibration : ScoreModel or None
        The model of scores, fitted on held-out classes; None if it was not fitted.
    input_range : InputRange or None
        What ``fit`` saw of its samples.
    initial : FittedNetwork or None
        The network that embeds, and compares base classes by their means, if this one cannot: of
        networks whose weights are adapted, the one before.
    """

    calibration: ScoreModel | None = None
    input_range: InputRange | None = None
    initial: FittedNetwork | None = None
    _is_for_encoded = False

    def __init__(
        self,
        module: FewShotModule,
        recipe: Recipe,
        *,
        input_scale: float,
        device: str,
        batch_size: int,
        autocast_dtype: torch.dtype | None = None,
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.recipe = recipe
        self.input_scale = input_scale
        self.device = device
        self.batch_size = batch_size
        self.autocast_dtype = autocast_dtype

    # ------------------------------------------------------------------ what it can do

    @property
    def embeds_rows(self) -> bool:
        """Whether rows are embedded one by one: there is an embedding to look at."""
        return isinstance(self.module, EmbedsRows)

    @property
    def joins(self) -> bool:
        """Whether support sets are condensed, and the examples themselves need not be kept."""
        return isinstance(self.module, Joins)

    @property
    def of_base(self) -> FittedNetwork:
        """The network that represents the base classes: this, or the initial one."""
        return self.initial or self

    @property
    def averages(self) -> bool:
        """Whether classes are represented by the means of their examples."""
        return isinstance(self.module, EmbeddingModule) and self.module.head.averages

    @property
    def is_exact(self) -> bool:
        """Whether embedded rows are compared in float64: inexpensive arithmetic."""
        return isinstance(self.module, EmbeddingModule) and self.module.head.exact

    @property
    def takes_examples(self) -> bool:
        """Whether classes are represented by examples; if not, by attributes."""
        return not isinstance(self.module, EmbeddingModule) or self.module.head.takes_examples

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """Shape of one embedding."""
        if self.initial is not None:
            return self.initial.embedding_shape
        if not isinstance(self.module, EmbeddingModule):
            return tuple(self.embed(np.zeros((1, *self.recipe.input_shape), np.float32)).shape[1:])
        return embedding_shape(self.module.backbone, self.recipe.input_shape)

    @property
    def takes_any_length(self) -> bool:
        """Whether series may have any length, and padding."""
        return isinstance(self.module, EmbeddingModule) and takes_any_length(self.module.backbone)

    def check_takes_examples(self) -> None:
        """Raise if classes are not represented by examples."""
        if not self.takes_examples:
            raise TypeError(
                "Zero-shot learners take no support set: they represent classes by attributes. "
                "Use adapt(class_attributes=...) of the learner, or its score in cross-validation."
            )

    def check_takes_unlabelled(self) -> None:
        """Raise if the network cannot use unlabelled examples."""
        if self.calibration is None or not self.averages:
            raise TypeError(
                "Unlabelled examples refine class means: they need a learner that compares with "
                "means (such as ProtoNetClassifier) and was fitted with calibrate=True. Drop them "
                "or choose such a learner."
            )

    def check_size(self, n_items: int, n_classes: int) -> None:
        """Raise if a support set has more items or classes than the network can take."""
        most = self.module.max_support
        if most is not None and n_items > most:
            raise ValueError(
                f"This network reads at most {most} examples of a support set. Got {n_items}. Give "
                "fewer, or take ProtoNetClassifier, which reads any number; or fit with more slots "
                "if it has a memory."
            )
        if self.module.n_outputs is not None and n_classes > self.module.n_outputs:
            raise ValueError(
                f"{type(self.module).__name__} has {self.module.n_outputs} outputs and cannot "
                f"adapt to more classes. Got {n_classes}. Drop classes, or train with more ways."
            )

    # ------------------------------------------------------------------ rows

    def warn_of_range(self, X: np.ndarray) -> None:
        """Warn of samples in other units than those of ``fit``: once in a public call."""
        if self.input_range is not None and not self._is_for_encoded:
            self.input_range.warn_if_other(X)

    def encode(self, X: np.ndarray, on_rows: Callable[[int], object] | None = None) -> np.ndarray:
        """Return samples as :meth:`adapt` and :meth:`predict` take them: embedded, if they are."""
        return self.embed(X, on_rows) if self.embeds_rows and not self._is_for_encoded else X

    @property
    def _embeds_unchanged(self) -> bool:
        """Whether embeddings are the samples: in their own precision, without torch."""
        module = self.module
        if not isinstance(module, EmbeddingModule) or not isinstance(module.backbone, Identity):
            return False
        return type(module.head).prepare is Head.prepare

    def for_encoded_rows(self) -> FittedNetwork:
        """Return this network for rows that it has encoded already."""
        network = copy.copy(self)
        network._is_for_encoded = True
        return network

    def embed(self, X: np.ndarray, on_rows: Callable[[int], object] | None = None) -> np.ndarray:
        """Embed samples of shape (n_samples, *input_shape)."""
        if self.initial is not None:
            return self.initial.embed(X, on_rows)
        if not self.embeds_rows:
            raise TypeError(
                f"{type(self.module).__name__} does not embed rows one by one: there is no "
                "embedding to look at. Take a learner that has one, such as ProtoNetClassifier."
            )
        if self._embeds_unchanged:
            rows = X.reshape(len(X), int(np.prod(X.shape[1:])))  # of no samples, too
            return rows if self.input_scale == 1.0 else rows * self.input_scale
        with says_what_to_lower(f"Lower predict_batch_size={self.batch_size}."):
            embedding = embed(
                self.module,
                X,
                scale=self.input_scale,
                batch_size=self.batch_size,
                autocast_dtype=self.autocast_dtype,
                on_rows=on_rows,
            )
        check_embedding(embedding)
        return embedding

    # ------------------------------------------------------------------ the two verbs

    def condense(self, items: Representation) -> Representation:
        """Condense support items to class representations, which more can be joined to.

        Where these are means, items are taken in some at a time: memory stays bounded.
        """
        if not isinstance(self.module, Joins):
            return items
        if not self.averages or not len(items.code):
            return self._condense(items)
        done = items.take(slice(0))
        for block in blocks(len(items.code), 8 * items.embedding[:1].size):  # means are float64
            done = self._condense(done.join(items.take(block)))
        return done

    def _condense(self, items: Representation) -> Representation:
        assert isinstance(self.module, Joins)
        support = self.to_support(items)
        with torch.no_grad():
            condensed = self.module.condense(support)
        if condensed is support:
            return items
        return Representation(
            condensed.inputs[0].cpu().numpy().copy(),
            condensed.target[0].cpu().numpy().copy(),
            condensed.weight[0].double().cpu().numpy().copy(),
            items.n_classes,
        )

    def adapt(self, items: Representation) -> State:
        """Work out what :meth:`predict` compares with, from encoded items."""
        self.check_size(len(items.embedding), items.n_classes)
        with torch.no_grad():
            support = self.to_support(items)
            if isinstance(self.module, EmbedsRows):
                state = self.module.adapt_embedded(support)
            else:
                state = self.module.adapt(support)
            if isinstance(self.module, AdaptingModule):
                self.module.check_steps(support, state)
        return {name: value.cpu().numpy() for name, value in state.items()}

    def predict(self, state: State, rows: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Predict encoded queries.

        Parameters
        ----------
        state : dict of ndarray
            As returned by :meth:`adapt`.
        rows : ndarray of shape (n_queries, *encoded_shape)
            Encoded queries; all of them, if the module's queries are not independent.
        count : ndarray of shape (n_classes,)
            Examples of each class, to correct for unequal numbers.

        Returns
        -------
        logits : float64 ndarray of shape (n_queries, n_classes)
        """
        return self._correct(self.predict_uncorrected(state, rows, len(count)), count)

    def predict_uncorrected(self, state: State, rows: np.ndarray, n_classes: int) -> np.ndarray:
        """Predict encoded queries as the module does.

        Modules with weights predict in float32 and in chunks of fixed sizes, as :meth:`embed`
        embeds: a query's logits do not depend on the others.

        Returns
        -------
        logits : float64 ndarray of shape (n_queries, n_classes)
        """
        device = self._device()
        tensors = {name: as_writeable_tensor(value).to(device) for name, value in state.items()}
        module = self.module
        verb = module.predict_embedded if isinstance(module, EmbedsRows) else module.predict
        parts: Any = [(0, len(rows), len(rows))]
        if module.independent_queries and not self.is_exact:
            parts = chunks(
                len(rows), chunk_sizes(len(self.recipe.input_shape) + 1, self.batch_size)
            )
        logits = []
        for start, stop, size in parts:
            some = rows[start:stop]
            if len(some) < size:
                padding = np.zeros((size - len(some), *some.shape[1:]), some.dtype)
                some = np.concatenate([some, padding])
            with torch.no_grad():
                scored = verb(tensors, self._rows(some).unsqueeze(0))
            logits.append(scored[0, : stop - start, :n_classes].double().cpu().numpy())
        return np.concatenate(logits)

    def to_tensor(self, rows: np.ndarray) -> torch.Tensor:
        """Return encoded rows as :meth:`score_plan` takes them."""
        return self._rows(rows)

    def score_plan(
        self, stored: torch.Tensor, plan: EpisodePlan
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Predict the queries of many episodes over encoded rows.

        Parameters
        ----------
        stored : tensor of shape (n_samples, *encoded_shape)
            All rows that the plan refers to, by :meth:`to_tensor`.
        plan : EpisodePlan
            The episodes.

        Yields
        ------
        logits : float64 ndarray of shape (n_some_episodes, n_way * n_query, n_way)
            ``-inf`` for classes that an episode does not have.
        target : int64 ndarray of shape (n_some_episodes, n_way * n_query)
            Class of each query within its episode, -1 for padding.
        """
        self.check_takes_examples()
        self.check_size((plan.support >= 0).sum(axis=(1, 2)).max(), plan.classes.shape[1])
        device, row_size = stored.device, int(np.prod(stored.shape[1:]))
        take, done = partial(take_rows, stored), 0
        parts = score_plan(self.module, plan, take, device=device, row_size=row_size)
        while True:
            # Not around the yield: whoever takes the results would compute without gradients.
            with kept_memory(hand_back=False), torch.no_grad():
                found = next(parts, None)
            if found is None:
                return
            if isinstance(self.module, AdaptingModule):
                self.module.check_predictions(found[0])
            logits = found[0][..., : plan.classes.shape[1]].double().cpu().numpy()
            count = (plan.support[done : done + len(logits)] >= 0).sum(axis=2)[:, None]
            done += len(logits)
            yield self._correct(logits, count), found[1].cpu().numpy()

    # ------------------------------------------------------------------ what scores mean

    def _correct(self, logits: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Correct logits for shot bias, where classes have unequal numbers of examples."""
        if count.min() == count.max():
            return logits
        return logits + self.shot_correction(count)

    def shot_correction(self, count: np.ndarray) -> np.ndarray:
        """Return the correction of the logits of classes with unequal numbers of examples."""
        model = self.calibration
        return np.zeros(count.shape) if model is None else model.shot_correction(count)

    def inlier_quantile(
        self, count: np.ndarray, rate: float, deviation: np.ndarray = NO_SCORES
    ) -> np.ndarray:
        """Return a quantile of the scores of inliers, queries of the classes.

        Parameters
        ----------
        count : ndarray of shape (n_classes,)
            Examples of each class.
        rate : float
            The share.
        deviation : ndarray of shape (n_scores,)
            Leave-one-out scores of the support set, relative to the median of held-out classes.

        Returns
        -------
        score : float64 ndarray of shape (n_classes,)
            For the number of examples of each class; not corrected for shot bias.
        """
        if self.calibration is None or not self.takes_examples:
            raise TypeError(
                "Quantiles of inlier scores were not measured: it takes a learner with "
                "calibrate=True that was fitted on examples. Without one, compare score_samples "
                "with a threshold of your own."
            )
        return self.calibration.quantile(count, rate, deviation)

    def threshold(self, count: np.ndarray, rate: float, deviation: np.ndarray) -> np.ndarray:
        """Return a quantile of the corrected inlier scores of :meth:`predict`.

        Parameters
        ----------
        count : ndarray of shape (n_classes,)
            Examples of each class.
        rate : float
            The share.
        deviation : ndarray of shape (n_scores,)
            As in :meth:`inlier_quantile`.

        Returns
        -------
        threshold : float64 ndarray of shape (n_classes,)
        """
        raw = self.inlier_quantile(count, rate, deviation)
        return self._correct(raw[None], count)[0]

    def proba(self, logits: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Turn logits into probabilities; rows sum to one.

        Parameters
        ----------
        logits : float64 ndarray of shape (n_queries, n_classes)
            As returned by :meth:`predict`.
        count : ndarray of shape (n_classes,)
            Examples of each class.

        Returns
        -------
        proba : float64 ndarray of shape (n_queries, n_classes)
        """
        return softmax(self.inverse_temperature(count) * logits, axis=1)

    def inverse_temperature(self, count: np.ndarray) -> float:
        """Return the factor of the logits in probabilities: 1 without calibration."""
        return 1.0 if self.calibration is None else self.calibration.inverse_temperature(count)

    # ------------------------------------------------------------------ arrays and tensors

    def _rows(self, rows: np.ndarray) -> torch.Tensor:
        """Return encoded rows as the module takes them."""
        device = self._device()
        if isinstance(self.module, EmbedsRows):
            dtype = np.float64 if self.is_exact else np.float32
            return as_writeable_tensor(rows.astype(dtype, copy=False)).to(device)
        return as_input(as_tensor(rows).to(device), self.input_scale)

    def to_support(self, items: Representation) -> Support:
        """Return a support set as the module takes it."""
        inputs = self._rows(items.embedding)
        code = as_writeable_tensor(items.code.astype(np.int64, copy=False)).to(inputs.device)
        weight = as_writeable_tensor(items.weight).to(inputs)  # in their dtype, as in training
        return Support(inputs.unsqueeze(0), code.unsqueeze(0), weight.unsqueeze(0), items.n_classes)

    def _device(self) -> torch.device:
        """Return where the module compares: heads without weights do it on the CPU."""
        module = self.module
        part = module.head if isinstance(module, EmbeddingModule) else module
        return next((p.device for p in part.parameters()), torch.device("cpu"))

    def __getstate__(self) -> dict[str, Any]:
        """Return weights as numpy arrays: small, and free of the device that trained them."""
        state = self.__dict__.copy()
        del state["module"]
        weights = self.module.state_dict()
        if self.initial is not None:
            weights = {k: v for k, v in weights.items() if k not in self._weights_of_initial()}
        state["weights"] = {k: v.cpu().numpy() for k, v in weights.items()}
        dtype = self.autocast_dtype  # by its name: model files hold no values of torch
        state["autocast_dtype"] = None if dtype is None else str(dtype).removeprefix("torch.")
        modules = {k: v for k, v in self.recipe.options.items() if isinstance(v, nn.Module)}
        if modules:
            on_the_cpu = {name: on_cpu(module) for name, module in modules.items()}
            state["recipe"] = self.recipe.with_option(**on_the_cpu)
        return state

    def _weights_of_initial(self) -> dict[str, torch.Tensor]:
        """Return the weights that are those of the initial network, by their names in this one."""
        assert self.initial is not None
        weights = self.initial.module.state_dict()
        if issubclass(self.recipe.module, AdaptingModule):
            return {f"initial.{name}": value for name, value in weights.items()}
        return {name: value for name, value in weights.items() if name.startswith("backbone.")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the network again and load the weights, on the device that is there."""
        state = dict(state)
        weights = {k: torch.from_numpy(np.array(v)) for k, v in state.pop("weights").items()}
        name = state["autocast_dtype"]
        state["autocast_dtype"] = None if name is None else getattr(torch, name)
        self.__dict__.update(state)
        if self.initial is not None:
            weights |= {name: value.cpu() for name, value in self._weights_of_initial().items()}
        module = build_around(self.recipe, weights)
        self.module = on_wanted_device(module, self.device).eval().requires_grad_(False)
