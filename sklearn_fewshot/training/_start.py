"""Where training starts: linear projections of the base classes, scales measured on episodes."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf

from ..episodes import drawable_classes, thinned
from ..network import Recipe
from ..nn import DataTensor, EmbeddingModule, FewShotModule, ValidationEpisodes, evaluate
from ..nn._embedding_module import frozen_and_top
from ..nn.backbones import has_linear_start
from ..nn.backbones._linear_start import LinearStart
from ..nn.heads import PrototypicalHead
from ..utils._progress import follow
from ._config import Task, TrainingConfig

MAX_ROWS = 50_000  # that a projection is computed from; of more, equal shares per class
N_START_EPISODES = 20  # episodes that a start is chosen by, and its scale measured on
N_FOLDS = 5  # of the training classes, each recognised through the projection of the others

Projection = Literal["auto", "yes", "no"]
"""Whether a linear path starts as the discriminant projection; "auto" chooses."""


class Untrained(NamedTuple):
    """A network before training: how it is built, all of it, and the part that is trained."""

    recipe: Recipe
    module: FewShotModule
    trained: FewShotModule

    def with_projection(self, store: DataTensor, rows: np.ndarray, codes: np.ndarray) -> Untrained:
        """Return a copy whose linear path is the discriminant projection of some rows."""
        assert isinstance(self.module, EmbeddingModule)
        assert isinstance(self.trained, EmbeddingModule)
        rows = thinned(rows, codes, MAX_ROWS)
        features = linear_features(self.trained.backbone, store, rows)
        projection = discriminant_projection(features, codes[rows])
        options = {"embedding_dim": projection.shape[1]}
        is_frozen = self.recipe.options.get("top_options") is not None
        part = "top_options" if is_frozen else "backbone_options"
        recipe = self.recipe.with_option(**{part: options})
        module = recipe.build().to(store.data.device)
        assert isinstance(module, EmbeddingModule)
        module.autocast_dtype = self.trained.autocast_dtype
        top = frozen_and_top(module.backbone)[1] if is_frozen else module.backbone
        assert isinstance(top, LinearStart)
        top.start_from(torch.from_numpy(projection).float())
        if not is_frozen:
            return Untrained(recipe, module, module)
        frozen, _ = frozen_and_top(self.module.backbone)
        module.backbone = torch.nn.Sequential(frozen, top)
        return Untrained(recipe, module, EmbeddingModule(top, module.head))


def start_training(
    config: TrainingConfig, network: Untrained, task: Task, projection: Projection
) -> tuple[Untrained, Projection]:
    """Return the network as training starts, and whether it starts as a projection."""
    if projection == "auto":
        projection = "yes" if _prefers_projection(config, network, task) else "no"
    if projection == "yes":
        rows = np.flatnonzero(task.data.training[task.data.codes])
        network = network.with_projection(task.store, rows, task.data.codes)
    config.start(network.trained, task)
    return network, projection


def _prefers_projection(config: TrainingConfig, network: Untrained, task: Task) -> bool:
    """Whether the linear discriminant projection is a better start than the identity.

    Decided by cross-validation over the training classes: each fold's classes are recognised
    through the projection of the others. Nothing is trained, so this is inexpensive.
    """
    data, trained = task.data, network.trained
    if not config.may_project or not isinstance(trained, EmbeddingModule):
        return False
    classes = np.flatnonzero(drawable_classes(data.codes, data.groups) & data.training)
    if not has_linear_start(trained.backbone) or len(classes) < 6:
        return False
    rows = np.flatnonzero(data.training[data.codes])
    gain = []
    folds = np.array_split(task.rng.permutation(classes), min(N_FOLDS, len(classes) // 2))
    for fold in follow(folds, "fold", config.verbose, desc="choosing the start"):
        inside = np.zeros(len(data.classes), dtype=bool)
        inside[fold] = True
        episodes = task.episodes(N_START_EPISODES, config.sampler(data, inside))
        others = rows[~inside[data.codes[rows]]]
        projected = network.with_projection(task.store, others, data.codes)
        gain.append(_accuracy(config, projected, episodes) - _accuracy(config, network, episodes))
    return float(np.mean(gain)) > 0


def _accuracy(config: TrainingConfig, network: Untrained, episodes: ValidationEpisodes) -> float:
    """Score an untrained embedding, by distances if the head has to learn how to compare."""
    assert isinstance(network.trained, EmbeddingModule)
    head = network.trained.head if network.trained.head.exact else PrototypicalHead()
    accuracy, _ = evaluate(
        EmbeddingModule(network.trained.backbone, head), config.criterion, episodes
    )
    assert accuracy is not None
    return accuracy


def start_scale(module: EmbeddingModule, task: Task) -> None:
    """Let the head start from the distances that the untrained backbone gives."""
    episodes = task.episodes(N_START_EPISODES)
    for _ in range(3):  # the first measurement may be of saturated scores
        module.head.start_from(episodes.score(module)[0])


def discriminant_projection(features: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the linear discriminant projection of the base classes.

    The within-class covariance is shrunk (Ledoit and Wolf, 2004) and whitened; then the principal
    axes of the class means are kept.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Samples.
    codes : int ndarray of shape (n_samples,)
        Classes.

    Returns
    -------
    projection : ndarray of shape (n_features, n_components)
        At most one component fewer than there are classes.
    """
    codes = np.unique(codes, return_inverse=True)[1]
    count = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    means = np.add.reduceat(features[order], starts) / count[:, None]
    deviation = features - means[codes]
    spread = np.sqrt(np.mean(deviation**2, axis=0))
    widest, total = spread.max(), features.std(axis=0).max()
    if widest <= 1e-6 * total:  # each class is one point: there is nothing to whiten
        widest = total or 1.0
    spread[spread <= 1e-6 * widest] = widest
    covariance, _ = ledoit_wolf(deviation / spread, assume_centered=True)
    variance, axes = np.linalg.eigh(covariance)
    variance = np.maximum(variance, 1e-6 * max(variance[-1], 1.0))
    whitening = axes / np.sqrt(variance) / spread[:, None]
    between = (means - means.mean(axis=0)) @ whitening
    _, strength, directions = np.linalg.svd(between, full_matrices=False)
    n_components = max(1, int((strength > 1e-6 * strength[0]).sum()))
    return whitening @ directions[:n_components].T


def linear_features(backbone: torch.nn.Module, store: DataTensor, rows: np.ndarray) -> np.ndarray:
    """Return what a backbone's linear path sees of the rows."""
    assert isinstance(backbone, LinearStart)
    with torch.no_grad():
        return backbone.features(store.take(rows)).double().cpu().numpy()
