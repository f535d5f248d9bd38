"""A trained network for regression: values and their standard deviations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from ..episodes import EpisodePlan
from ..nn import EmbeddingModule, Support, kept_memory, score_plan, take_rows
from ..nn.optimization import AdaptingModule
from ..nn.regression import BayesianRidgeHead
from ._network import FittedNetwork
from ._values import Recipe, State, as_writeable_tensor


class StdModel(Protocol):
    """The model of the errors; ``calibration`` fits one on held-out tasks."""

    @property
    def n_held_out(self) -> int:
        """Held-out tasks that it rests on."""

    def std_factor(self, n_support: int) -> float:
        """Return the factor of standard deviations, given the number of support examples."""


class Observations(NamedTuple):
    """Examples of one task.

    Parameters
    ----------
    embedding : ndarray of shape (n_items, *encoded_shape)
        Encoded rows.
    values : float64 ndarray of shape (n_items, n_targets)
        Their values, standardised as in training.
    """

    embedding: np.ndarray
    values: np.ndarray

    @property
    def n_classes(self) -> int:
        """A task is an episode of one class."""
        return 1

    def join(self, other: Observations) -> Observations:
        """Return the examples of both."""
        parts = zip(self, other, strict=True)
        return Observations(*(np.concatenate(part) for part in parts))


class RegressionNetwork(FittedNetwork):
    """Embeds, adapts to tasks and predicts values.

    Modules predict ``n_targets`` values per query, or these and the logarithms of their standard
    deviations; without them, these are 1 before calibration. Adapted to a support set without
    examples (one row of weight 0) a module predicts its prior.

    Attributes
    ----------
    n_targets : int
        Number of targets.
    calibration : StdModel or None
        The factor of standard deviations, fitted on held-out tasks.
    """

    n_targets: int = 1
    calibration: Any = None

    def adapt(self, items: Any) -> State:
        """Work out what :meth:`predict_values` computes with, from encoded examples."""
        return super().adapt(items)

    def predict_values(
        self, state: State, rows: np.ndarray, n_support: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict encoded queries.

        Parameters
        ----------
        state : dict of ndarray
            As returned by :meth:`adapt`.
        rows : ndarray of shape (n_queries, *encoded_shape)
            Encoded queries.
        n_support : int
            Examples that the state was made of.

        Returns
        -------
        values, std : float64 ndarray of shape (n_queries, n_targets)
        """
        predicted = self.predict_uncorrected(state, rows, 2 * self.n_targets)
        return self._split(predicted, n_support)

    def score_values(
        self, stored: torch.Tensor, values: np.ndarray, plan: EpisodePlan
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Predict the queries of many episodes over encoded rows.

        Parameters
        ----------
        stored : tensor of shape (n_samples, *encoded_shape)
            All rows that the plan refers to, by :meth:`to_tensor`.
        values : ndarray of shape (n_samples, n_targets)
            Their values, standardised.
        plan : EpisodePlan
            Episodes of one task each.

        Yields
        ------
        predicted, std, target : float64 ndarray of shape (n_some_episodes, n_query, n_targets)
            NaN targets for padding. Standard deviations are not calibrated.
        """
        take, row_size = partial(take_rows, stored), int(np.prod(stored.shape[1:]))
        targets = as_writeable_tensor(values).to(stored.device, self._value_dtype())
        parts = score_plan(
            self.module, plan, take, device=stored.device, row_size=row_size, values=targets
        )
        while True:
            # Not around the yield: whoever takes the results would compute without gradients.
            with kept_memory(hand_back=False), torch.no_grad():
                found = next(parts, None)
            if found is None:
                return
            if isinstance(self.module, AdaptingModule):
                self.module.check_predictions(found[0])
            predicted, target = (part.double().cpu().numpy() for part in found)
            yield *self._split(predicted, None), target

    def std_factor(self, n_support: int) -> float:
        """Return the calibrated factor of standard deviations: 1 without calibration."""
        return 1.0 if self.calibration is None else self.calibration.std_factor(n_support)

    def _split(self, predicted: np.ndarray, n_support: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return values and standard deviations, calibrated unless ``n_support`` is None."""
        n_targets = self.n_targets
        if predicted.shape[-1] not in (n_targets, 2 * n_targets):
            raise ValueError(
                f"{type(self.module).__name__} predicted {predicted.shape[-1]} numbers per query. "
                f"For {n_targets} targets it must be {n_targets} values, or these and the "
                "logarithms of their standard deviations."
            )
        values, log_std = predicted[..., :n_targets], predicted[..., n_targets:]
        std = np.exp(log_std) if log_std.shape[-1] else np.ones_like(values)
        return values, std if n_support is None else self.std_factor(n_support) * std

    def _value_dtype(self) -> torch.dtype:
        return torch.float64 if self.is_exact else torch.float32

    def to_support(self, items: Any) -> Support:
        rows, values = items.embedding, items.values
        weight = np.ones(len(rows))
        if not len(rows):  # the prior: one row of no weight
            rows = np.zeros((1, *rows.shape[1:]), rows.dtype)
            values, weight = np.zeros((1, self.n_targets)), np.zeros(1)
        inputs = self._rows(rows)
        target, share = (as_writeable_tensor(part).to(inputs) for part in (values, weight))
        return Support(inputs.unsqueeze(0), target.unsqueeze(0), share.unsqueeze(0), n_classes=1)


def ridge_network(n_features: int, n_targets: int) -> RegressionNetwork:
    """Return the network of a regressor without a learner: ridge regression on the raw rows."""
    options = {
        "backbone": "identity",
        "head": BayesianRidgeHead,
        "head_options": {"n_targets": n_targets, "noise": 1.0},
    }
    recipe = Recipe(EmbeddingModule, (n_features,), options)
    network = RegressionNetwork(
        recipe.build(), recipe, input_scale=1.0, device="cpu", batch_size=256
    )
    network.n_targets = n_targets
    return network
