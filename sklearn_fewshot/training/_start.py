"""Where training starts: a linear method of the base classes, the scale that fits its distances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..episodes import ClassTasks, thinned
from ..network import Recipe
from ..nn import (
    DataTensor,
    EmbeddingModule,
    EpisodicCrossEntropy,
    FewShotModule,
    Support,
    ValidationEpisodes,
    evaluating,
    log_loss_factor,
)
from ..nn._data import as_input, as_tensor
from ..nn.backbones import Identity, SeriesFeatures, has_linear_start
from ..nn.backbones._linear_start import FrontAndTop, LinearStart, linear_part
from ..nn.heads import Head, MetricHead, PrototypicalHead
from ..nn.optimization._adapting import embedding_part, without_front
from ..utils._memory_map import some_rows
from ..utils._progress import follow
from ._config import Task, TrainingConfig
from ._data import TrainingData

MAX_ROWS = 50_000  # that a projection is computed from; of more, equal shares per class
ROWS_AT_A_TIME = 512
MAX_FRONT_ROWS = 1000  # that channels are standardised by
MAX_START_ROWS = 5000  # that a classifier starts from
N_START_EPISODES = 20  # episodes of each number of shots that a start is chosen by
N_FOLDS = 5  # of the training classes, each recognised through the projection of the others
LEAST_CLASSES = 6  # to choose by: fewer leave folds of a single class
SHRINKAGES = (0.1, 0.5, 0.9)  # of the within-class covariance, towards a multiple of the identity


class Start(NamedTuple):
    """The linear method of the training classes that an embedding starts as.

    Parameters
    ----------
    shrinkage : float or None
        Of the discriminant projection; None for the identity, in units of the features' size.
    unit_length : bool
        Whether embeddings are centred by the mean of the training classes and scaled to unit
        length.
    is_fitted : bool
        False for a network that starts as it is built.
    """

    shrinkage: float | None = None
    unit_length: bool = False
    is_fitted: bool = True


AS_BUILT = Start(is_fitted=False)


class Untrained(NamedTuple):
    """A network before training: how it is built, all of it, and the part that is trained."""

    recipe: Recipe
    module: FewShotModule
    trained: FewShotModule

    def starting_as(self, start: Start, features: np.ndarray, codes: np.ndarray) -> Untrained:
        """Return a copy whose linear path is a linear method, fitted to features of classes."""
        before, trained = embedding_part(self.module), embedding_part(self.trained)
        assert isinstance(before, EmbeddingModule)
        assert isinstance(trained, EmbeddingModule)
        (method,) = _methods(features, codes, [start])
        options: dict[str, object] = {"unit_length": start.unit_length}
        if method.linear is not None:
            options["embedding_dim"] = method.linear.shape[1]
        is_frozen = self.recipe.options.get("top_options") is not None
        part = "top_options" if is_frozen else "backbone_options"
        given = self.recipe.options.get(part) or {}
        recipe = self.recipe.with_option(**{part: given | options})
        whole = recipe.build().to(next(self.module.parameters()).device)
        module = embedding_part(whole)
        assert isinstance(module, EmbeddingModule)
        module.autocast_dtype = trained.autocast_dtype
        top = linear_part(module.backbone)
        assert isinstance(top, LinearStart)
        mean = _tensor(method.mean) if start.unit_length else None
        top.start_from(_tensor(method.linear), mean, factor=1.0 / method.size)
        if isinstance(before.backbone, FrontAndTop):
            assert isinstance(module.backbone, FrontAndTop)
            module.backbone[0] = before.backbone.front
        if self.trained is self.module:
            return Untrained(recipe, whole, whole)
        return Untrained(recipe, whole, without_front(whole))


def start_front(config: TrainingConfig, module: nn.Module, data: TrainingData) -> None:
    """Let features of series start from the channels' means and sizes in training classes.

    Networks of one's own start as they are built.
    """
    fronts = [part for part in module.modules() if isinstance(part, SeriesFeatures)]
    if fronts and isinstance(config.recipe.options.get("backbone"), str):
        rows = thinned(data.rows_of(data.training), data.codes, MAX_FRONT_ROWS)
        series = as_input(as_tensor(some_rows(data.X, rows)), config.input_scale)
        for front in fronts:
            front.start_from(series.to(front.unit.device))


def start_training(
    config: TrainingConfig, network: Untrained, task: Task, start: Start | None
) -> tuple[Untrained, Start]:
    """Return the network as training starts, and what it starts as: chosen, unless given."""
    data = task.data
    rows = thinned(np.flatnonzero(data.training[data.codes]), data.codes, MAX_ROWS)
    features = _Features(network, task.store, rows)
    if start is None:
        start = _choose(config, network, task, features)
    if start.is_fitted:
        network = network.starting_as(start, features.take(rows), data.codes[rows])
    config.start(network.trained, task)
    return network, start


def _choose(config: TrainingConfig, network: Untrained, task: Task, features: _Features) -> Start:
    """Return the start with the lowest log-loss in cross-validation over the training classes.

    Each fold's classes are recognised through the linear method of the others, from the fewest and
    from the most examples of the training episodes, at the best temperature of each. Nothing is
    trained, so this is inexpensive.
    """
    data, trained = task.data, embedding_part(network.trained)
    if not config.may_project or not isinstance(trained, EmbeddingModule):
        return AS_BUILT
    classes = np.flatnonzero(data.usable(data.training))
    options = network.recipe.options  # networks of one's own are not built again with others
    is_ours = isinstance(options.get("backbone"), str) or options.get("top_options") is not None
    is_linear = isinstance(linear_part(trained.backbone), LinearStart)
    if not is_linear or not is_ours or len(classes) < LEAST_CLASSES:
        return AS_BUILT
    # Whether the head has weights of the size of the embedding as it is built.
    is_sized = type(trained.head).for_embeddings.__func__ is not Head.for_embeddings.__func__  # type: ignore[attr-defined]
    fits = isinstance(trained.head, MetricHead) and trained.head.exact and not is_sized
    head = trained.head if fits else PrototypicalHead()
    shrinkages = (None, *SHRINKAGES) if has_linear_start(trained.backbone) else (None,)
    starts = [Start(shrinkage, unit) for shrinkage in shrinkages for unit in (False, True)]
    rows = np.flatnonzero(data.training[data.codes])
    losses: dict[Start, float] = {}
    folds = _folds(classes, data.class_tasks, task.rng)
    for fold in follow(folds, "fold", config.verbose, desc="choosing the start"):
        inside = np.zeros(len(data.classes), dtype=bool)
        inside[fold] = True
        others = thinned(rows[~inside[data.codes[rows]]], data.codes, MAX_ROWS)
        methods = list(_methods(features.take(others), data.codes[others], starts))
        for n_shot in np.unique(config.n_shot):
            sampler = config.measuring().replace(n_shot=int(n_shot)).sampler(data, inside)
            plan = sampler.plan(N_START_EPISODES, task.rng)
            held_out = plan.rows()
            unseen = features.take(held_out)
            for method in methods:
                embedding = method.embed(unseen)
                store = DataTensor(embedding.numpy(), torch.device("cpu"))
                episodes = ValidationEpisodes(store, plan.in_terms_of(held_out))
                module = EmbeddingModule(Identity(embedding.shape[1:]), head)
                loss = _least_log_loss(module, episodes)
                losses[method.start] = losses.get(method.start, 0.0) + loss
    return min(losses, key=lambda start: losses[start])


def _folds(
    classes: np.ndarray, class_tasks: ClassTasks | None, rng: np.random.Generator
) -> list[np.ndarray]:
    """Divide classes into folds of at least two, of whole tasks if there are several."""
    owner = np.zeros(0) if class_tasks is None else class_tasks.task[classes]
    tasks = np.unique(owner)
    if len(tasks) < 2:
        return np.array_split(rng.permutation(classes), min(N_FOLDS, len(classes) // 2))
    parts = np.array_split(rng.permutation(tasks), min(N_FOLDS, len(tasks)))
    return [classes[np.isin(owner, part)] for part in parts]


def start_scale(module: EmbeddingModule, task: Task) -> None:
    """Let the head start from the distances that the untrained backbone gives."""
    plan = task.sampler.plan(N_START_EPISODES, task.rng)
    rows = plan.rows()
    store = DataTensor(_outputs(module, task.store, rows).numpy(), task.device)
    episodes = ValidationEpisodes(store, plan.in_terms_of(rows), task.attributes)
    embedded = EmbeddingModule(nn.Identity(), module.head)
    for _ in range(3):  # the first measurement may be of saturated scores
        module.head.start_from(*episodes.score(embedded))


def start_classifier(classifier: nn.Linear, module: EmbeddingModule, task: Task) -> None:
    """Let a linear classifier of the training classes start as the prototypical one.

    The logits ``-s |f - c_k|^2`` are linear in the embedding ``f`` but for a term that all classes
    share: weights ``2 s c_k`` and biases ``-s |c_k|^2``. The scale ``s`` has the least log-loss.

    Parameters
    ----------
    classifier : nn.Linear
        Classifies embeddings. Its bias, if it has one, starts with the weights.
    module : EmbeddingModule
        The untrained network.
    task : Task
        Its data.
    """
    rows, embedding = training_features(module, task)
    codes = torch.from_numpy(np.unique(task.data.codes[rows], return_inverse=True)[1])
    support = Support(embedding[None], codes[None], torch.ones(1, len(rows)), int(codes.max()) + 1)
    head = PrototypicalHead()
    means = head.context(head.represent(support))
    with torch.no_grad():
        scale = log_loss_factor(head.score(means, embedding[None]), codes[None])
        prototype = means["prototype"][0]
        classifier.weight.copy_(2.0 * scale * prototype)
        if classifier.bias is not None:
            classifier.bias.copy_(-scale * prototype.square().sum(dim=1))


def training_features(module: EmbeddingModule, task: Task) -> tuple[np.ndarray, Tensor]:
    """Return rows of the training classes, and the output of the backbone for them."""
    data = task.data
    rows = thinned(data.rows_of(data.training), data.codes, MAX_START_ROWS)
    return rows, _outputs(module, task.store, rows).flatten(1)


class Discriminant:
    """Linear discriminant analysis of classes, for any shrinkage.

    The pooled within-class covariance, of features scaled by their standard deviations within
    classes, is shrunk towards a multiple of the identity and whitened; then the principal axes of
    the class means are kept.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Samples.
    codes : int ndarray of shape (n_samples,)
        Classes.
    """

    def __init__(self, features: np.ndarray, codes: np.ndarray) -> None:
        codes = np.unique(codes, return_inverse=True)[1]
        count = np.bincount(codes)
        order = np.argsort(codes, kind="stable")
        first = np.concatenate([[0], np.cumsum(count)[:-1]])
        means = np.add.reduceat(features[order], first) / count[:, None]
        deviation = features - means[codes]
        spread = np.sqrt(np.mean(deviation**2, axis=0))
        widest, total = spread.max(), features.std(axis=0).max()
        if widest <= 1e-6 * total:  # each class is one point: there is nothing to whiten
            widest = total or 1.0
        spread[spread <= 1e-6 * widest] = widest
        deviation /= spread
        self.spread = spread
        self.means = means - means.mean(axis=0)
        # The axes are those of every shrunk covariance.
        self.variance, self.axes = np.linalg.eigh(deviation.T @ deviation / len(deviation))

    def projection(self, shrinkage: float) -> np.ndarray:
        """Return the projection.

        Parameters
        ----------
        shrinkage : float
            Weight of the identity, times the mean variance, in the covariance; in [0, 1].

        Returns
        -------
        projection : ndarray of shape (n_features, n_components)
            At most one component fewer than there are classes.
        """
        variance = (1.0 - shrinkage) * self.variance + shrinkage * self.variance.mean()
        variance = np.maximum(variance, 1e-6 * max(variance[-1], 1.0))
        whitening = self.axes / np.sqrt(variance) / self.spread[:, None]
        _, strength, directions = np.linalg.svd(self.means @ whitening, full_matrices=False)
        n_components = max(1, int((strength > 1e-6 * strength[0]).sum()))
        return whitening @ directions[:n_components].T


class _Method(NamedTuple):
    """A linear method, fitted.

    Parameters
    ----------
    start : Start
        Which.
    size : float
        Root mean square of the features, in whose units the rest is.
    linear : ndarray of shape (n_features, n_components) or None
        The projection; None for the identity.
    mean : ndarray of shape (n_components,)
        Of the projected features.
    """

    start: Start
    size: float
    linear: np.ndarray | None
    mean: np.ndarray

    def embed(self, features: np.ndarray) -> Tensor:
        """Embed as the untrained network would."""
        features = features / self.size
        embedding = torch.from_numpy(features if self.linear is None else features @ self.linear)
        if self.start.unit_length:
            embedding = normalize(embedding - torch.from_numpy(self.mean), dim=-1)
        return embedding.float()


def _methods(features: np.ndarray, codes: np.ndarray, starts: list[Start]) -> Iterator[_Method]:
    """Fit linear methods to features of classes."""
    size = float(np.sqrt(np.mean((features - features.mean(axis=0)) ** 2))) or 1.0
    features = features / size
    mean = features.mean(axis=0)
    discriminant = Discriminant(features, codes) if any(it.shrinkage for it in starts) else None
    for start in starts:
        linear = None
        if start.shrinkage is not None and discriminant is not None:
            linear = discriminant.projection(start.shrinkage)
        yield _Method(start, size, linear, mean if linear is None else mean @ linear)


def _least_log_loss(module: EmbeddingModule, episodes: ValidationEpisodes) -> float:
    """Return the log-loss of episodes at the temperature that is best for them."""
    logits, target = episodes.score(module)
    return float(EpisodicCrossEntropy()(logits * log_loss_factor(logits, target), target))


class _Features:
    """What the linear path of a backbone sees of rows, computed once for each row.

    Parameters
    ----------
    network : Untrained
        Has the backbone.
    store : DataTensor
        The inputs.
    expected : int ndarray of shape (n_rows,)
        Rows that will be asked for. They are computed together when any is.
    """

    def __init__(self, network: Untrained, store: DataTensor, expected: np.ndarray) -> None:
        self.network, self.store, self.expected = network, store, expected
        self.rows = np.empty(0, dtype=np.intp)
        self.values: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of rows in float64, shape (n_rows, n_features)."""
        if self.values is None:
            self.rows = np.union1d(rows, self.expected)
            self.values = self._compute_all(self.rows)
        elif len(missing := rows[~np.isin(rows, self.rows)]):
            together = np.concatenate([self.rows, missing])
            self.rows, first = np.unique(together, return_index=True)
            values = np.concatenate([self.values, self._compute_all(missing)])
            self.values = values[first]
        return self.values[np.searchsorted(self.rows, rows)].astype(np.float64)

    def _compute_all(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([self._compute(part) for part in _parts(rows)])

    def _compute(self, rows: np.ndarray) -> np.ndarray:
        trained = embedding_part(self.network.trained)
        assert isinstance(trained, EmbeddingModule)
        backbone = trained.backbone
        top = linear_part(backbone)
        assert isinstance(top, LinearStart)
        inputs = self.store.take(rows)
        with torch.no_grad():
            if isinstance(backbone, FrontAndTop):
                inputs = backbone.front(inputs)
            return top.features(inputs).cpu().numpy()


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, -(-len(rows) // ROWS_AT_A_TIME)))


def _outputs(module: EmbeddingModule, store: DataTensor, rows: np.ndarray) -> Tensor:
    """Return the output of the backbone for rows of the training data."""
    with evaluating(module):
        return torch.cat([module.features(store.take(part)).cpu() for part in _parts(rows)])


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values).float()
