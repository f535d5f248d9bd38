"""Memory-augmented neural networks (Santoro et al., 2016)."""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any, Literal, Unpack

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ...episodes import EpisodeSampler
from ...nn import (
    FewShotModule,
    SequenceModule,
    over_stored_rows,
    presentation,
    take_rows,
    to_device,
)
from ...nn.heads import MemoryHead
from ...training._config import TrainingConfig
from ...training._data import TrainingData
from ...utils._blocks import blocks
from ...utils._random import draw_seed, seeded_torch
from ...utils._sklearn import Interval, StrOptions
from ...utils._typing import ArrayLike, RandomState
from ...utils._validation import check_labels, check_like_fitted, encode_labels
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters

MOST_SLOTS = 3125  # as many as there are labels of five letters
CLIP_NORM = 10.0  # of the gradient through a sequence
BYTES_OF_A_STEP = 4096  # of a sequence that is scored, about


@with_common_parameters(
    n_way=5,
    n_shot=5,
    n_query=5,
    rotate_support=False,
    meta_batch_size=32,
    episodes_per_epoch=800,
    max_epochs=50,
    patience=None,
    lr=3e-3,
)
class MANNClassifier(BaseFewShotLearner):
    r"""Memory-augmented neural network: reads the support set into an external memory.

    A recurrent network sees one example after the other, each with the label of the one before,
    and learns in training what to write down and how to find it again. It is the literature's
    first learner of this family, slow to train: compare with
    :class:`~sklearn_fewshot.InContextClassifier`, which attends to all examples at once.

    Parameters
    ----------
    memory_slots : int, default=128
        Slots of the memory, and the most examples of a support set.
    memory_width : int, default=40
        Numbers in a slot.
    n_reads : int, default=4
        Heads that write and read.
    controller_dim : int, default=200
        Units of the recurrent network.
    label_code : {"letters", "one-hot"}, default="letters"
        How the network sees and predicts labels: as strings of five letters, which are enough for
        any number of classes, or as one of as many numbers as an episode of the training has
        classes. These are learned sooner.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    InContextClassifier : Attention over the support set, in place of a memory.
    ProtoNetClassifier : What to try first.

    Notes
    -----
    With the embedding :math:`x_t` of an example and the label :math:`y_{t-1}` of the one before,
    an LSTM with the output :math:`h_t` of a memory :math:`M_t` gives, for each head,

    .. math::

        w^w_t = \sigma(g_t)\, w^r_{t-1} + (1 - \sigma(g_t))\, w^{lu}_{t-1}, \qquad
        w^r_t = \operatorname{softmax}\big(\beta_t \cos(k_t, M_t)\big), \qquad r_t = w^r_t M_t

    (equations 2 to 8 of the paper), writes where :math:`w^w` says, into slots that were read just
    before or into the least used ones, and predicts :math:`y_t` from :math:`[h_t, r_t]`. In
    training the samples of an episode, support set and queries, are one sequence in random order,
    every step is predicted, and labels are dealt at random for each episode.

    A support set has no order, and its classes have no codes. Both are derived from the examples:
    they are read one of each class at a time, and codes are dealt in the order of a projection of
    the class means. Predictions are a function of the set. Each query is one more step from the
    same state.

    Differences from the paper: what is written is an output of its own, not the key, and the
    softmax of cosines has a learned factor :math:`\beta_t \ge 1`, without which it is nearly flat.
    Any ``backbone`` can be in front and is trained with the rest; the paper has raw pixels, which
    is ``backbone="identity"``.

    Training guesses for some hundred batches before it learns anything: it is not stopped early
    (``patience=None``), and a short one ends there, which ``history_`` shows.

    The memory holds ``memory_slots`` examples at most. Base classes, and old and new classes
    together (``include_base``), are compared by the class means of the embedding.

    References
    ----------
    A. Santoro, S. Bartunov, M. Botvinick, D. Wierstra and T. Lillicrap, "Meta-Learning with
    Memory-Augmented Neural Networks", ICML 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import MANNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> short = {"max_epochs": 2, "episodes_per_epoch": 32, "calibrate": False}
    >>> learner = MANNClassifier(n_way=3, n_shot=2, n_query=2, **short, random_state=0)
    >>> learner = learner.fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> classifier.predict(X_new[15:]).shape  # it takes thousands of episodes to be any good
    (518,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "memory_slots": [Interval(Integral, 1, MOST_SLOTS, closed="both")],
        "memory_width": [Interval(Integral, 1, None, closed="left")],
        "n_reads": [Interval(Integral, 1, None, closed="left")],
        "controller_dim": [Interval(Integral, 1, None, closed="left")],
        "label_code": [StrOptions({"letters", "one-hot"})],
    }

    def __init__(
        self,
        *,
        memory_slots: int = 128,
        memory_width: int = 40,
        n_reads: int = 4,
        controller_dim: int = 200,
        label_code: Literal["letters", "one-hot"] = "letters",
        **common: Unpack[CommonParameters],
    ) -> None:
        self.memory_slots = memory_slots
        self.memory_width = memory_width
        self.n_reads = n_reads
        self.controller_dim = controller_dim
        self.label_code = label_code
        super().__init__(**common)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        name = type(self).__name__
        if self.n_reads > self.memory_slots:
            raise ValueError(
                f"The 'n_reads' parameter of {name} must be at most memory_slots="
                f"{self.memory_slots}. Got {self.n_reads}."
            )
        if self.n_way == "all":
            raise ValueError(
                f"The 'n_way' parameter of {name} must be a number or a range: its memory has to "
                "hold the examples of all classes of an episode. Got 'all'."
            )
        n_way, n_shot = np.max(self.n_way), np.max(self._shots())
        if n_way * n_shot > self.memory_slots:
            raise ValueError(
                f"The 'memory_slots' parameter of {name} must be at least n_way * n_shot = "
                f"{n_way * n_shot}, the examples of an episode. Got {self.memory_slots}."
            )

    def _head(self) -> tuple[type, dict[str, Any]]:
        sizes = ("memory_slots", "memory_width", "n_reads", "controller_dim")
        options: dict[str, Any] = {name: int(getattr(self, name)) for name in sizes}
        if self.label_code == "one-hot":
            options["n_labels"] = int(np.max(self.n_way))
        return MemoryHead, options

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        return config.replace(clip_norm=CLIP_NORM)

    def presentation_accuracy(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_way: int = 5,
        n_presentations: int = 10,
        n_episodes: int = 200,
        random_state: RandomState = None,
    ) -> np.ndarray:
        """Score sequences of new classes, by how often a class has come before.

        This is how the paper reports its results. At the first presentation of a class nothing can
        be known of it, but a memory tells which labels are taken.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples of new classes.
        y : array-like of shape (n_samples,)
            Their labels.
        n_way : int, default=5
            Classes of a sequence.
        n_presentations : int, default=10
            Samples of each class, in random order with those of the others.
        n_episodes : int, default=200
            Sequences.
        random_state : int, RandomState instance or None, default=None
            Classes, samples, their order and their labels.

        Returns
        -------
        accuracy : float64 ndarray of shape (n_presentations,)
            At the first, second, ... presentation.

        Raises
        ------
        ValueError
            If a class has fewer samples, there are too few classes, or the network has too few
            labels.
        """
        check_is_fitted(self)
        X = check_like_fitted(self, X)
        classes, codes = encode_labels(check_labels(X, y))
        self._network.check_size(0, n_way)
        sampler = EpisodeSampler(
            codes,
            n_way=n_way,
            n_shot=1,
            n_query=n_presentations - 1,
            names=classes,
            owner="presentation_accuracy",
        )
        seed = draw_seed(random_state)
        plan = sampler.plan(n_episodes, np.random.default_rng(seed))
        stored = self._network.to_tensor(self._network.encode(X))
        module = self._network.module
        assert isinstance(module, SequenceModule)
        hits = np.zeros(n_presentations)
        with seeded_torch(seed, stored.device), torch.no_grad():
            for some in blocks(n_episodes, n_way * n_presentations * BYTES_OF_A_STEP):
                batch = to_device(over_stored_rows(plan.take(some)), stored.device)
                logits, target = module.predict_sequences(batch, partial(take_rows, stored))
                place = presentation(target, n_way).flatten()
                is_hit = (logits.argmax(dim=2) == target).double().flatten()
                hits += torch.bincount(place, is_hit, n_presentations).cpu().numpy()
        return hits / (n_episodes * n_way)

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        return SequenceModule, super()._module()[1]
