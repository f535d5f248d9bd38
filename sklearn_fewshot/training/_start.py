"""Where training starts: the network before it, and linear starts from the base classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf

from ..episodes._holdout import thinned
from ..network import Recipe
from ..nn import DataTensor, EpisodicModule

MAX_ROWS = 50_000  # that a projection is computed from; more are thinned


class Untrained(NamedTuple):
    """A network before training: how it is built, all of it, and the part that is trained."""

    recipe: Recipe
    module: EpisodicModule
    trained: EpisodicModule

    def with_projection(self, store: DataTensor, rows: np.ndarray, codes: np.ndarray) -> Untrained:
        """Return a copy whose linear path is the discriminant projection of some rows."""
        rows = thinned(rows, codes, MAX_ROWS)
        features = linear_features(self.trained.backbone, store, rows)
        projection = discriminant_projection(features, codes[rows])
        options = {"embedding_dim": projection.shape[1]}
        is_frozen = self.recipe.top_options is not None
        part = "top_options" if is_frozen else "backbone_options"
        recipe = self.recipe._replace(**{part: options})
        module = recipe.build().to(store.data.device)
        module.autocast_dtype = self.trained.autocast_dtype
        top = module.backbone[1] if is_frozen else module.backbone
        top.start_from(torch.from_numpy(projection).float())
        if not is_frozen:
            return Untrained(recipe, module, module)
        module.backbone[0] = self.module.backbone[0]
        return Untrained(recipe, module, EpisodicModule(top, module.head))


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
    with torch.inference_mode():
        return backbone.features(store.take(rows)).double().cpu().numpy()
