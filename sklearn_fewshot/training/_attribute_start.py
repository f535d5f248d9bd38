"""Zero-shot training: its start, and the penalty of seen classes, fitted on held-out ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..calibration import best_penalty
from ..episodes import thinned
from ..nn import EmbeddingModule, Support, evaluating
from ..nn._embedding_module import head_of
from ..nn.heads._attributes import AttributeHead
from ._attribute_regression import MAX_ROWS, attribute_regression
from ._config import Task
from ._start import start_scale

N_CALIBRATION_ROWS = 5000
ROWS_AT_A_TIME = 512


def start_from_attributes(
    module: EmbeddingModule, task: Task, *, chooses_penalty: bool, measures_scale: bool
) -> None:
    """Start the map of the queries as a regression of the training classes' attributes.

    Parameters
    ----------
    module : EmbeddingModule
        The untrained network.
    task : Task
        Its data.
    chooses_penalty : bool
        Whether cross-validation over the training classes chooses the penalty of the regression.
    measures_scale : bool
        Whether the head then starts from the distances within training episodes.
    """
    data = task.data
    assert data.attributes is not None
    rows = thinned(data.rows_of(data.training), data.codes, MAX_ROWS)
    centred = data.attributes[:, :-1]
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    regression = attribute_regression(
        _embed(module, task, rows).double().cpu().numpy(),
        data.codes[rows],
        centred / np.maximum(length, np.finfo(float).tiny),
        task.rng if chooses_penalty else None,
    )
    weight, offset = (torch.from_numpy(part) for part in regression)
    head_of(module, AttributeHead).start_as(weight, offset)
    if measures_scale:
        start_scale(module, task)


def measure_seen_bias(module: EmbeddingModule, task: Task) -> dict[str, Any]:
    """Choose the penalty of seen classes, with held-out classes used as unseen ones.

    Parameters
    ----------
    module : EmbeddingModule
        The trained network.
    task : Task
        Its data, of which some rows of the training classes are reserved.

    Returns
    -------
    measured : dict
        ``seen_bias_``; 0 if no classes were held out.
    """
    data = task.data
    if not data.validation.any():
        return {"seen_bias_": 0.0}
    rows = np.flatnonzero(data.validation[data.codes] | data.reserved)
    rows = thinned(rows, data.codes, N_CALIBRATION_ROWS)
    codes, seen = data.codes[rows], np.flatnonzero(data.training)
    unseen = np.flatnonzero(data.validation)
    logits = _score_base_classes(module, task, rows)
    best_unseen, best_seen = (logits[:, side].max(dim=1) for side in (unseen, seen))
    unit = head_of(module, AttributeHead).penalty_unit
    margin = ((best_seen.values - best_unseen.values) / unit).detach().double().cpu().numpy()
    winner = np.where(
        data.validation[codes],
        unseen[best_unseen.indices.cpu().numpy()],
        seen[best_seen.indices.cpu().numpy()],
    )
    return {"seen_bias_": best_penalty(margin, winner == codes, codes, data.training)}


def _score_base_classes(module: EmbeddingModule, task: Task, rows: np.ndarray) -> torch.Tensor:
    """Score rows of the training data, shape (n_rows, n_base_classes)."""
    items = task.attributes
    assert items is not None
    codes = torch.arange(len(items), device=items.device)
    classes = Support(items[None], codes[None], torch.ones_like(codes)[None], len(items))
    with evaluating(module):
        state = module.adapt_embedded(classes)
        return module.predict_embedded(state, _embed(module, task, rows)[None])[0]


def _embed(module: EmbeddingModule, task: Task, rows: np.ndarray) -> torch.Tensor:
    """Embed rows of the training data, shape (n_rows, embedding_dim)."""
    with evaluating(module):
        blocks = [
            module.backbone(task.store.take(rows[start : start + ROWS_AT_A_TIME])).flatten(1)
            for start in range(0, len(rows), ROWS_AT_A_TIME)
        ]
    return torch.cat(blocks).float()
