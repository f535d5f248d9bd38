"""Several trained networks as one: weights by shot, from held-out classes used as new ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor

from ..episodes import EpisodePlan, EpisodeSampler
from ..network import FittedNetwork, Recipe
from ..nn import (
    DataTensor,
    EmbeddingModule,
    PooledMember,
    PooledModule,
    ValidationEpisodes,
    log_loss_factor,
    resolve_device,
)
from ..nn.backbones._linear_start import FrontAndTop
from ..nn.heads import (
    AnchoredCentroidHead,
    AnchoredHead,
    CentroidHead,
    Head,
    PrototypicalHead,
)
from ..utils._random import seeded_torch
from ._config import TrainingConfig
from ._data import TrainingData
from ._meta_train import Trained, Watch, embed_by_front, fitted_network, meta_train

SHOTS = (1, 2, 5, 10, 20)  # that members are compared at
N_WAY = 5
N_EPISODES = 100  # of each number of shots
N_QUERY = 10
RIDGE = 0.03  # towards equal weights of calibrated members: few held-out classes say little
ANCHORED: dict[type[Head], type[Head]] = {
    PrototypicalHead: AnchoredHead,
    CentroidHead: AnchoredCentroidHead,
}
LEAST_SHARE = 0.02  # of the weights, at some number of shots, for a member to be kept


class Candidate(NamedTuple):
    """One learner to be trained.

    Parameters
    ----------
    name : str
        Its name.
    config : TrainingConfig
        How it is trained.
    seed : int
        Of its weights and episodes.
    """

    name: str
    config: TrainingConfig
    seed: int


class Member(NamedTuple):
    """A trained network and one head, twice: without the held-out classes, and for all classes.

    Parameters
    ----------
    name : str
        Of the learner, and of its readout if that is another.
    owner : int
        Number of the trained network.
    first, last : EmbeddingModule
        Of the first training, which has not seen the held-out classes, and of the last.
    head : (type, dict)
        Class and parameters of the head.
    """

    name: str
    owner: int
    first: EmbeddingModule
    last: EmbeddingModule
    head: tuple[type[Head], dict[str, Any]]


class Scores(NamedTuple):
    """What a member says of the queries of held-out classes, at one number of shots.

    Parameters
    ----------
    logits : tensor of shape (n_episodes, n_queries, n_classes)
        At the temperature of least log-loss.
    target : tensor of shape (n_episodes, n_queries)
        Classes, -1 for padding.
    factor : float
        That the logits of the member are multiplied by.
    """

    logits: Tensor
    target: Tensor
    factor: float

    def accuracies(self) -> np.ndarray:
        """Return the accuracy in each episode."""
        real = self.target >= 0
        hits = (self.logits.argmax(dim=-1) == self.target) & real
        return (hits.sum(dim=1) / real.sum(dim=1)).double().numpy()


def share_embedding(candidates: list[Candidate], data: TrainingData) -> list[Candidate]:
    """Embed the samples once, if all candidates have the same frozen backbone."""
    configs = [candidate.config for candidate in candidates]
    if not share_frozen([config.recipe for config in configs]):
        return candidates
    module = configs[0].recipe.build().to(resolve_device(configs[0].device))
    assert isinstance(module, EmbeddingModule)
    assert isinstance(module.backbone, FrontAndTop)
    embedded = embed_by_front(configs[0], module.backbone.front, data.X)
    return [it._replace(config=it.config.replace(embedded=embedded)) for it in candidates]


def share_frozen(recipes: Sequence[Recipe]) -> bool:
    """Whether all networks have one and the same frozen backbone.

    Only a module is the same wherever it is built: others draw weights each time.
    """
    backbone = recipes[0].options.get("backbone")
    return isinstance(backbone, torch.nn.Module) and all(
        recipe.options.get("top_options") is not None and recipe.options.get("backbone") is backbone
        for recipe in recipes
    )


def train_candidate(
    candidate: Candidate,
    data: TrainingData,
    watch: Watch = Watch(),  # noqa: B008 (an empty tuple)
    max_seconds: float | None = None,
) -> tuple[Trained, float]:
    """Train one learner; returns also the seconds that it took."""
    began = time.perf_counter()
    config = candidate.config.replace(max_seconds=max_seconds)
    with seeded_torch(candidate.seed, resolve_device(config.device)):
        rng = np.random.default_rng(candidate.seed)
        trained = meta_train(config, data, rng, watch=watch)
    return trained, time.perf_counter() - began


def members_of(name: str, owner: int, trained: Trained) -> list[Member]:
    """Return what a trained network is pooled as: with its own head, and an anchored readout.

    The readout goes with heads that compare with prototypes by a distance.
    """
    first, last = trained.first_network.module, trained.network.module
    assert isinstance(first, EmbeddingModule)
    assert isinstance(last, EmbeddingModule)
    options = trained.network.recipe.options
    head, head_options = options["head"], options.get("head_options") or {}
    members = [Member(name, owner, first, last, (head, head_options))]
    if head in ANCHORED:
        options = {k: v for k, v in head_options.items() if k == "metric"}
        how = (ANCHORED[head], options)
        first, last = (_with_head(trained, module, *how) for module in (first, last))
        members.append(Member(f"{name}, anchored", owner, first, last, how))
    return members


def _with_head(
    trained: Trained, module: EmbeddingModule, head: type[Head], options: dict[str, Any]
) -> EmbeddingModule:
    """Return a network with another head, which takes over what the two have in common."""
    other = head.for_embeddings(trained.network.embedding_shape, **options)
    other.load_state_dict(module.head.state_dict(), strict=False)
    return EmbeddingModule(module.backbone, other)


def plan_comparison(data: TrainingData, rng: np.random.Generator) -> dict[int, EpisodePlan]:
    """Draw the episodes that members are compared on, by number of shots.

    Of held-out classes; of all, if none are held out.
    """
    drawn = data.usable(data.held_out)
    if drawn.sum() < 2:
        return {}
    rows = np.flatnonzero(drawn[data.codes])
    codes = np.unique(data.codes[rows], return_inverse=True)[1]
    usual = np.median(np.bincount(codes))
    groups = None if data.groups is None else data.groups[rows]
    class_tasks = None if data.class_tasks is None else data.class_tasks.take(drawn)
    plans = {}
    for n_shot in SHOTS:
        if n_shot > 1 and n_shot >= usual:
            break
        sampler = EpisodeSampler(
            codes,
            n_way=min(N_WAY, int(drawn.sum())),
            n_shot=n_shot,
            n_query=N_QUERY,
            rows=rows,
            groups=groups,
            clamp=True,
            class_tasks=class_tasks,
        )
        plans[n_shot] = sampler.plan(N_EPISODES, rng)
    return plans


def score_members(
    members: Sequence[Member],
    data: TrainingData,
    config: TrainingConfig,
    device: torch.device,
    plans: dict[int, EpisodePlan],
) -> list[dict[int, Scores]]:
    """Score the planned episodes by each member, which has not seen their classes."""
    is_embedded = config.embedded is not None
    store = (
        DataTensor(config.embedded, device)
        if config.embedded is not None
        else (DataTensor(data.X, device, config.input_scale))
    )
    episodes = {n_shot: ValidationEpisodes(store, plan) for n_shot, plan in plans.items()}
    found = []
    for member in members:
        by_shot = {}
        for n_shot, one in episodes.items():
            module = member.first
            if is_embedded:
                assert isinstance(module.backbone, FrontAndTop)
                module = EmbeddingModule(module.backbone.top, module.head)
            logits, target = (part.cpu() for part in one.score(module))
            factor = log_loss_factor(logits, target)
            by_shot[n_shot] = Scores(factor * logits, target, factor)
        found.append(by_shot)
    return found


def pool_weights(scores: Sequence[Scores]) -> np.ndarray:
    """Return the weights of the members' calibrated logits, of shape (n_members,).

    They are at least 0 and have the least log-loss, with a ridge towards equal weights.
    """
    target = scores[0].target
    real = target >= 0
    logits = np.stack([_finite(one.logits[real]) for one in scores])  # (members, queries, classes)
    right = target[real].numpy()
    of_right = logits[:, np.arange(len(right)), right]  # (n_members, n_queries)
    equal = np.full(len(scores), 1.0 / len(scores))

    def loss(weight: np.ndarray) -> tuple[float, np.ndarray]:
        log_proba = log_softmax(np.tensordot(weight, logits, 1), axis=1)
        value = -log_proba[np.arange(len(right)), right].mean()
        expected = (logits * np.exp(log_proba)).sum(axis=2)
        gradient = (expected - of_right).mean(axis=1)
        away = weight - equal
        return value + RIDGE * away @ away, gradient + 2 * RIDGE * away

    bounds = [(0.0, None)] * len(scores)
    return np.asarray(minimize(loss, equal, jac=True, bounds=bounds, method="L-BFGS-B").x)


def _finite(logits: Tensor) -> np.ndarray:
    """Return logits relative to the highest; very low for absent classes."""
    logits = logits.double()
    relative = logits - logits.amax(dim=1, keepdim=True)
    return relative.clamp_min(-1e4).numpy()


class Pool(NamedTuple):
    """The members that are kept, and their weights.

    Parameters
    ----------
    kept : list of int
        Numbers of the members, those of one network next to each other.
    n_shots : list of int
        Numbers of examples per class that there are weights for.
    weight : ndarray of shape (n_kept, n_shots)
        Of the members' own logits.
    share : ndarray of shape (n_members, n_shots)
        Weights of the calibrated logits of all members, which add up to one.
    """

    kept: list[int]
    n_shots: list[int]
    weight: np.ndarray
    share: np.ndarray


def choose_pool(scores: Sequence[dict[int, Scores]], *, fit: bool) -> Pool:
    """Choose members and weights.

    Members of a small share are dropped, and the others weighted again. Where members were trained
    on the classes that they are compared on, weights are not fitted: all are equal.
    """
    n_members, n_shots = len(scores), list(scores[0])
    equal = np.full((n_members, len(n_shots) or 1), 1.0 / n_members)
    if not n_shots:
        return Pool(list(range(n_members)), [1], equal, equal)
    factor = np.array([[by_shot[n_shot].factor for n_shot in n_shots] for by_shot in scores])
    if not fit:
        return Pool(list(range(n_members)), n_shots, equal * factor, equal)
    weight = _fit_weights(scores, n_shots, np.arange(n_members))
    share = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    kept = np.flatnonzero(share.max(axis=1) >= min(LEAST_SHARE, share.max()))
    weight = _fit_weights(scores, n_shots, kept)
    share = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    return Pool([int(member) for member in kept], n_shots, (weight * factor)[kept], share)


def _fit_weights(
    scores: Sequence[dict[int, Scores]], n_shots: Sequence[int], kept: np.ndarray
) -> np.ndarray:
    """Return weights of calibrated logits, (n_members, n_shots), 0 for those that are not kept."""
    weight = np.zeros((len(scores), len(n_shots)))
    for place, n_shot in enumerate(n_shots):
        weight[kept, place] = pool_weights([scores[member][n_shot] for member in kept])
    return weight


def pooled_accuracies(scores: Sequence[dict[int, Scores]], pool: Pool, n_shot: int) -> np.ndarray:
    """Return the accuracy of the pool in each of the episodes that it was fitted to."""
    place = pool.n_shots.index(n_shot)
    here = [by_shot[n_shot] for by_shot in scores]
    absent = here[0].logits == -torch.inf
    total = sum(
        float(share) * one.logits.masked_fill(absent, 0.0)
        for share, one in zip(pool.share[:, place], here, strict=True)
    )
    assert isinstance(total, Tensor)
    return here[0]._replace(logits=total.masked_fill(absent, -torch.inf)).accuracies()


def pooled_network(
    members: Sequence[Member],
    pool: Pool,
    trained: Sequence[Trained],
    config: TrainingConfig,
    *,
    first: bool,
) -> FittedNetwork:
    """Return the kept members as one network; ``first`` of those of the first trainings."""
    shape = config.recipe.input_shape
    kept = [members[number] for number in pool.kept]
    owners = sorted({member.owner for member in kept})
    groups = [[member for member in kept if member.owner == owner] for owner in owners]
    modules = [[member.first if first else member.last for member in same] for same in groups]
    is_shared = share_frozen([trained[owner].network.recipe for owner in owners])
    module = PooledModule.of(shape, modules, pool.n_shots, is_shared)
    module.head.weight.copy_(torch.from_numpy(pool.weight))
    recipe = Recipe(
        PooledModule,
        shape,
        {
            "members": [
                _member_recipe(trained[owner].network.recipe, same)
                for owner, same in zip(owners, groups, strict=True)
            ],
            "n_shots": [float(n_shot) for n_shot in pool.n_shots],
            "share_frozen": is_shared,
        },
    )
    return fitted_network(config, module, recipe)


def _member_recipe(recipe: Recipe, members: Sequence[Member]) -> PooledMember:
    """Return how a network and the heads of its members are built."""
    without_head = recipe.options.keys() - {"head", "head_options"}
    backbone = {name: recipe.options[name] for name in sorted(without_head)}
    return PooledMember(backbone, [member.head for member in members])
