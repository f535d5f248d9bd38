"""A trained network as a value: what prediction needs, and nothing of how it was trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .episodes._sampler import EpisodePlan
from .nn import (
    EpisodicModule,
    SupportSet,
    chunk_sizes,
    chunks,
    embed,
    kept_memory,
    over_stored_rows,
    resolve_device,
    says_what_to_lower,
    to_device,
)
from .nn.backbones import Frozen, Identity, ResidualMLP, embedding_shape, make_backbone
from .nn.heads import Head

SCORES_AT_A_TIME = 2**22  # float64 scores held at once: 32 MiB
VALUES_AT_A_TIME = 2**23  # of embeddings that become means: 64 MiB in float64
NOBODY = np.empty(0)
NO_CLASS_RATE = 0.1  # of the queries of known classes, whose scores look like those of no class


class Representation(NamedTuple):
    """Class representations, as numpy arrays.

    Parameters
    ----------
    embedding : float64 ndarray of shape (n_items, *embedding_shape)
        What the head keeps of the support: one prototype a class, or the examples themselves.
    code : int64 ndarray of shape (n_items,)
        Class of each item.
    weight : float64 ndarray of shape (n_items,)
        Examples that each item stands for.
    n_classes : int
        Number of classes.
    """

    embedding: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    n_classes: int

    @property
    def count(self) -> np.ndarray:
        """Examples of each class, shape (n_classes,)."""
        return np.bincount(self.code, self.weight, self.n_classes)

    def joined(self, other: Representation) -> Representation:
        """Return all items of both, under common class codes."""
        pairs = zip(self[:3], other[:3], strict=True)
        return Representation(
            *(np.concatenate(pair) for pair in pairs), max(self.n_classes, other.n_classes)
        )

    def recoded(self, codes: np.ndarray, n_classes: int) -> Representation:
        """Return the items with class ``k`` renamed to ``codes[k]``."""
        return self._replace(code=codes[self.code], n_classes=n_classes)

    def taken(self, items: np.ndarray | slice) -> Representation:
        """Return some of the items."""
        return Representation(*(values[items] for values in self[:3]), self.n_classes)


class Recipe(NamedTuple):
    """How to build a network: structure without weights.

    Parameters
    ----------
    backbone : str, nn.Module, class or factory
        As given to the learner.
    input_shape : tuple of int
        Shape of one sample.
    backbone_options : dict
        Options of a named backbone.
    top_options : dict or None
        Options of the network on top of a frozen backbone; None if the backbone is trained.
    head : type
        The head's class.
    head_options : dict
        Its parameters.
    """

    backbone: Any
    input_shape: tuple[int, ...]
    backbone_options: dict[str, Any]
    top_options: dict[str, Any] | None
    head: type[Head]
    head_options: dict[str, Any]

    def build(self) -> EpisodicModule:
        """Build the network with fresh weights."""
        backbone = make_backbone(self.backbone, self.input_shape, **self.backbone_options)
        if self.top_options is not None:
            frozen = Frozen(backbone)
            top = ResidualMLP(embedding_shape(frozen, self.input_shape), **self.top_options)
            backbone = nn.Sequential(frozen, top)
        shape = embedding_shape(backbone, self.input_shape)
        return EpisodicModule(backbone, self.head.for_embeddings(shape, **self.head_options))


class FittedNetwork:
    """Embeds, represents and scores. Nothing in it changes after training.

    Parameters
    ----------
    module : EpisodicModule
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
        Lower precision of the embedding, if the user asked for it.

    Attributes
    ----------
    calibration : Calibration or None
        What held-out classes say about the scores; None if they were not asked.
    """

    calibration: Any = None

    def __init__(
        self,
        module: EpisodicModule,
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

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """Shape of one embedding."""
        return embedding_shape(self.module.backbone, self.recipe.input_shape)

    def check_takes_examples(self) -> None:
        """Raise if the network knows classes by something else than examples."""
        if not self.module.head.takes_examples:
            raise TypeError(
                "Zero-shot learners take no support set: they know classes by their attributes. "
                "Use adapt(class_attributes=...) of the learner, or its score in cross-validation."
            )

    def check_takes_unlabelled(self) -> None:
        """Raise if examples without a label could not take part."""
        if self.calibration is None or not self.module.head.averages:
            raise TypeError(
                "Unlabelled examples refine class means: they need a learner that compares with "
                "means (such as ProtoNetClassifier) and was fitted with calibrate=True. Drop them "
                "or choose such a learner."
            )

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Embed samples of shape (n_samples, *input_shape)."""
        if isinstance(self.module.backbone, Identity):
            rows = X.reshape(len(X), -1)
            return rows if self.input_scale == 1.0 else rows * self.input_scale
        with says_what_to_lower(f"Lower predict_batch_size={self.batch_size}."):
            embedding = embed(
                self.module.backbone,
                X,
                scale=self.input_scale,
                batch_size=self.batch_size,
                autocast_dtype=self.autocast_dtype,
            )
        check_embedding(embedding)
        return embedding

    def represent(self, items: Representation) -> Representation:
        """Condense support items to class representations, which more can be joined to.

        Where these are means, items are taken in some at a time: memory stays bounded.
        """
        head, n_items = self.module.head, len(items.code)
        step = max(1, VALUES_AT_A_TIME // max(1, items.embedding[:1].size))
        if not head.averages or n_items <= step:
            return self._applied(head.represent, items)
        done = self._applied(head.represent, items.taken(slice(step)))
        for start in range(step, n_items, step):
            more = items.taken(slice(start, start + step))
            done = self._applied(head.represent, done.joined(more))
        return done

    def context(self, representation: Representation) -> Representation:
        """Work out what :meth:`score` compares with."""
        return self._applied(self.module.head.context, representation)

    def refined(self, representation: Representation, unlabelled: np.ndarray) -> Representation:
        """Let unlabelled samples take part in the class means, as far as they are of a class.

        A step of soft k-means with one more cluster for samples of no class (Ren et al., 2018,
        section 3.1): with the mean ``c_k`` of the ``n_k`` labelled examples and the probabilities
        ``w_jk`` of the classes for the unlabelled samples ``x_j``, ::

            refined c_k = (n_k c_k + sum_j w_jk f(x_j)) / (n_k + sum_j w_jk)

        The score of "no class" is that which one in ten queries of known classes stays below; at
        it, a single class is as likely as none.

        Parameters
        ----------
        representation : Representation
            Means of the labelled examples.
        unlabelled : ndarray of shape (n_samples, *embedding_shape)
            Embedded samples without labels.

        Returns
        -------
        refined : Representation
            Samples count as the share of an example that they are taken for.
        """
        head, count = self.module.head, representation.weight
        none = self.known_quantile(count, NO_CLASS_RATE).mean(keepdims=True)
        sharpness = self.sharpness(count)
        context = self.context(representation)
        every = np.arange(len(unlabelled))
        one_by_one = Representation(unlabelled, every, np.ones(len(every)), len(every))
        mapped = self.represent(one_by_one).embedding.reshape(len(every), -1)
        share, total = np.zeros(len(count)), np.zeros((len(count), mapped.shape[1]))
        step = max(1, SCORES_AT_A_TIME // len(count))
        for start in range(0, len(every), step):
            scores = self.raw_score(context, unlabelled[start : start + step])
            scores = np.column_stack([scores, np.broadcast_to(none, len(scores))])
            proba = head.proba(torch.from_numpy(scores), sharpness).numpy()[:, :-1]
            share += proba.sum(axis=0)
            total += proba.T @ mapped[start : start + step]
        mean = representation.embedding.reshape(len(count), -1)
        mean = (count[:, None] * mean + total) / (count + share)[:, None]
        shape = representation.embedding.shape
        return representation._replace(embedding=mean.reshape(shape), weight=count + share)

    def score(self, context: Representation, embedding: np.ndarray) -> np.ndarray:
        """Score embedded queries.

        Classes with unequal numbers of examples are made comparable (:class:`ShotBias`).

        Returns
        -------
        scores : float64 ndarray of shape (n_queries, n_classes)
        """
        return self._made_comparable(self.raw_score(context, embedding), context.count)

    def raw_score(self, context: Representation, embedding: np.ndarray) -> np.ndarray:
        """Score embedded queries as the head does.

        Heads with weights score in float32 and in chunks of fixed sizes, as :meth:`embed` embeds:
        a query's scores do not depend on the others.

        Returns
        -------
        scores : float64 ndarray of shape (n_queries, n_classes)
        """
        support, head = self._as_support(context), self.module.head
        sizes = chunk_sizes(len(self.recipe.input_shape) + 1, self.batch_size)
        parts = (
            [(0, len(embedding), len(embedding))] if head.exact else chunks(len(embedding), sizes)
        )
        scores = []
        for start, stop, size in parts:
            rows = embedding[start:stop]
            if len(rows) < size:
                rows = np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]))])
            with torch.inference_mode():
                scored = head.score(support, self._as_tensor(rows).unsqueeze(0))
            scores.append(scored[0, : stop - start].double().cpu().numpy())
        return np.concatenate(scores)

    def _made_comparable(self, scores: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Lift the scores of classes of few examples beside those of many."""
        if self.calibration is None or self.calibration.shot_bias is None:
            return scores
        offset = self.calibration.shot_bias.offset(count)
        if not offset.any():
            return scores
        return self.module.head.raised(torch.from_numpy(scores), torch.from_numpy(offset)).numpy()

    def stored(self, embedding: np.ndarray) -> torch.Tensor:
        """Return embeddings as :meth:`score_episodes` takes them."""
        return self._as_tensor(embedding)

    def score_episodes(
        self, stored: torch.Tensor, plan: EpisodePlan
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Score many episodes over rows that are embedded already.

        Parameters
        ----------
        stored : tensor of shape (n_samples, *embedding_shape)
            Embeddings of all rows that the plan refers to, by :meth:`stored`.
        plan : EpisodePlan
            The episodes.

        Yields
        ------
        scores : float64 ndarray of shape (n_some_episodes, n_way * n_query, n_way)
            ``-inf`` for classes that an episode does not have.
        target : int64 ndarray of shape (n_some_episodes, n_way * n_query)
            Class of each query within its episode, -1 for padding.
        """
        self.check_takes_examples()
        n_scores = plan.query.shape[1] ** 2 * plan.query.shape[2]
        step = max(1, SCORES_AT_A_TIME // (4 * n_scores))
        for start in range(0, plan.n_episodes, step):
            part = plan.take(slice(start, start + step))
            batch, target = over_stored_rows(part)
            batch, _ = to_device(batch, target, stored.device)
            with kept_memory(hand_back=False), torch.inference_mode():
                scores = self.module.score_episodes(stored, batch)
            count = (part.support >= 0).sum(axis=2)[:, None]
            yield self._made_comparable(scores.double().cpu().numpy(), count), target.numpy()

    def known_quantile(
        self, count: np.ndarray, rate: float, ahead: np.ndarray = NOBODY
    ) -> np.ndarray:
        """Return the score that a share of the queries of known classes stays below.

        Parameters
        ----------
        count : ndarray of shape (n_classes,)
            Examples of each class.
        rate : float
            The share.
        ahead : ndarray of shape (n_known,)
            By how much queries that are known here are ahead of the median.

        Returns
        -------
        score : float64 ndarray of shape (n_classes,)
            By the number of examples of a class; not yet made comparable.
        """
        if self.calibration is None:
            raise TypeError(
                "What queries of known classes score was not measured: it takes a learner with "
                "calibrate=True that was fitted on examples. Without one, compare score_samples "
                "with a threshold of your own."
            )
        return self.calibration.known.at(len(count), count, rate, ahead)

    def threshold(self, count: np.ndarray, rate: float, ahead: np.ndarray) -> np.ndarray:
        """Return the score of :meth:`score` that a share of known queries stays below.

        Parameters
        ----------
        count : ndarray of shape (n_classes,)
            Examples of each class.
        rate : float
            The share.
        ahead : ndarray of shape (n_known,)
            By how much queries that are known here are ahead of the median.

        Returns
        -------
        threshold : float64 ndarray of shape (n_classes,)
        """
        raw = self.known_quantile(count, rate, ahead)
        return self._made_comparable(raw[None], count)[0]

    def proba(self, scores: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Turn scores into probabilities; rows sum to one.

        Parameters
        ----------
        scores : float64 ndarray of shape (n_queries, n_classes)
            As returned by :meth:`score`.
        count : ndarray of shape (n_classes,)
            Examples of each class.

        Returns
        -------
        proba : float64 ndarray of shape (n_queries, n_classes)
        """
        return self.module.head.proba(torch.from_numpy(scores), self.sharpness(count)).numpy()

    def sharpness(self, count: np.ndarray) -> float:
        """Return the factor of the logits in probabilities: 1 if nobody has measured it."""
        return 1.0 if self.calibration is None else self.calibration.sharpness(count)

    def margin(self, scores: np.ndarray) -> np.ndarray:
        """Turn the scores of two classes into one, in the order of their probabilities."""
        return self.module.head.margin(torch.from_numpy(scores)).numpy()

    def _applied(self, verb: Callable[[SupportSet], SupportSet], items: Representation) -> Any:
        support = self._as_support(items)
        with torch.inference_mode():
            result = verb(support)
        if result is support:
            return items
        arrays = (value[0].cpu().numpy().copy() for value in result[:3])
        return Representation(*arrays, items.n_classes)

    def _as_tensor(self, embedding: np.ndarray) -> torch.Tensor:
        return self._on_head(embedding, np.float64 if self.module.head.exact else np.float32)

    def _on_head(self, values: np.ndarray, dtype: Any) -> torch.Tensor:
        # Writeable, since torch warns of arrays that are not: joblib loads memory maps.
        return torch.from_numpy(np.require(values, dtype, ["C", "W"])).to(self._head_device())

    def _as_support(self, items: Representation) -> SupportSet:
        return SupportSet(
            self._as_tensor(items.embedding).unsqueeze(0),
            self._on_head(items.code, np.int64).unsqueeze(0),
            self._on_head(items.weight, np.float64).unsqueeze(0),
            items.n_classes,
        )

    def _head_device(self) -> torch.device:
        return next((p.device for p in self.module.head.parameters()), torch.device("cpu"))

    def __getstate__(self) -> dict[str, Any]:
        """Return weights as numpy arrays: small, and free of the device that trained them."""
        state = self.__dict__.copy()
        del state["module"]
        state["weights"] = {k: v.cpu().numpy() for k, v in self.module.state_dict().items()}
        if isinstance(self.recipe.backbone, nn.Module):
            state["recipe"] = self.recipe._replace(backbone=on_cpu(self.recipe.backbone))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the network again and load the weights, on the device that is there."""
        weights = state.pop("weights")
        self.__dict__.update(state)
        with torch.random.fork_rng(devices=[]):
            module = self.recipe.build()
        module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
        self.module = on_wanted_device(module, self.device).eval().requires_grad_(False)


def on_wanted_device(module: EpisodicModule, device: str) -> EpisodicModule:
    """Move a network that was loaded to the CPU if that was asked for, else to what there is."""
    return module.to(torch.device("cpu") if device == "cpu" else resolve_device("auto"))


def on_cpu(module: nn.Module) -> nn.Module:
    """Return the module itself if it is on the CPU (pickled once, then), else a copy that is."""
    if all(value.device.type == "cpu" for value in module.state_dict().values()):
        return module
    return copy.deepcopy(module).cpu()


def check_embedding(embedding: np.ndarray) -> None:
    """Refuse embeddings that are not finite: every comparison with them would be meaningless."""
    finite = np.isfinite(embedding).reshape(len(embedding), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"The network returned NaN or infinity for {int((~finite).sum())} of "
            f"{len(embedding)} samples, first for row {int(np.argmin(finite))}. Check the scale of "
            "X and the weights of the backbone."
        )


def identity_network(n_features: int) -> FittedNetwork:
    """Return the network of a classifier without a learner: class means of the raw rows."""
    from .nn.heads import PrototypicalHead

    recipe = Recipe("identity", (n_features,), {}, None, PrototypicalHead, {})
    return FittedNetwork(recipe.build(), recipe, input_scale=1.0, device="cpu", batch_size=256)
