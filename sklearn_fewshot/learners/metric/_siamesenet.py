"""Siamese Networks (Bromley et al., 1994; Koch et al., 2015)."""

from __future__ import annotations

import math
import warnings
from functools import partial
from numbers import Real
from typing import Any, Literal, Unpack

import numpy as np
import torch
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from ...episodes import thinned
from ...nn import BalancedPairCrossEntropy, EmbeddingModule, evaluating
from ...nn._embedding_module import head_of
from ...nn.backbones import distances_mean_something
from ...nn.heads import SiameseHead
from ...training._config import Task, TrainingConfig
from ...training._data import TrainingData
from ...utils._sklearn import Interval, StrOptions
from ...utils._typing import ArrayLike, Metric
from ...utils._validation import check_like_fitted
from ...utils._warnings import warn_user
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import METRIC_CONSTRAINTS, CommonParameters

N_CALIBRATION_ROWS = 1000  # of held-out classes, and as many of others: two million pairs at most


@with_common_parameters(n_shot=1)
class SiameseNetClassifier(BaseFewShotLearner):
    r"""Siamese Network: learns whether two samples are of the same class.

    Recognises a new class by its most similar example, and is a verifier as well: it decides
    whether two samples are of the same class, for any class.

    Parameters
    ----------
    metric : str or callable, default="sqeuclidean"
        Distance between the two embeddings. "cityblock" (Koch's) and "sqeuclidean" have a learned
        weight for each dimension; "euclidean", "cosine" and callables one learned factor. Squared
        differences were far better on images; on tables neither is better. A callable takes torch
        tensors of shape (..., n_a, d) and (..., n_b, d), is differentiable, and returns
        (..., n_a, n_b).
    aggregate : {"max", "mean"}, default="max"
        How the pairs of a query with the examples of one class become the class's score. The paper
        has the class of the most similar example, the maximum.
    false_accept_rate : float, default=0.05
        Share of pairs of different classes that ``predict_pairs`` may call the same. The threshold
        is set for it at the end of ``fit``, on pairs of classes of which at least one was held out
        of training (on any classes if none was, and then too low).
    {common_parameters}

    Attributes
    ----------
    threshold_ : float
        ``pair_score`` above which ``predict_pairs`` returns "same class".
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : Learns which of several classes instead; more accurate at that.
    FewShotClassifier : What ``adapt`` returns.

    Notes
    -----
    With the embedding network ``f``, the probability that two samples are of the same class is
    (section 3.1 of Koch et al., with a bias)

    .. math::

        p(x_1, x_2) = \sigma\Big(\sum_j a_j \,\lvert f(x_1)_j - f(x_2)_j \rvert + b\Big)

    with learned ``a`` and ``b``, for ``metric="cityblock"``; by default the differences are
    squared. Without the bias, which the paper does not print, the probability of a sample and
    itself would be 1/2. Training draws episodes and minimises the binary cross-entropy of all
    pairs of a query and a class, where pairs of the same class together count half; with one
    example per class in training, as by default, these are all pairs of queries and support
    examples.

    ``p`` is a probability for equal priors of same and different classes, not a distribution over
    the classes: ``predict_proba`` divides the odds ``p / (1 - p)`` of the classes by their sum, the
    probability of a class if exactly one is the query's; ``calibrate`` fits its temperature.
    ``decision_function`` and ``score_samples`` return log-odds of ``p``.

    Koch's network for images of 105 x 105 is ``backbone="koch"``, his distortions are
    ``augment="affine"``.

    References
    ----------
    G. Koch, R. Zemel and R. Salakhutdinov, "Siamese Neural Networks for One-shot Image
    Recognition", ICML Deep Learning Workshop 2015.

    J. Bromley, I. Guyon, Y. LeCun, E. Säckinger and R. Shah, "Signature Verification using a
    'Siamese' Time Delay Neural Network", NIPS 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import SiameseNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = SiameseNetClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True

    Are two samples of the same class?

    >>> pairs = np.stack([X_new[:-1], X_new[1:]], axis=1)
    >>> is_same = np.where(y_new[:-1] == y_new[1:], 1, -1)
    >>> bool(np.mean(learner.predict_pairs(pairs) == is_same) > 0.8)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "metric": METRIC_CONSTRAINTS["metric"],
        "aggregate": [StrOptions({"max", "mean"})],
        "false_accept_rate": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        *,
        metric: Metric = "sqeuclidean",
        aggregate: Literal["max", "mean"] = "max",
        false_accept_rate: float = 0.05,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.metric = metric
        self.aggregate = aggregate
        self.false_accept_rate = false_accept_rate
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        return SiameseHead, {"metric": self.metric, "aggregate": self.aggregate}

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return distances_mean_something(backbone)

    def _criterion(self) -> torch.nn.Module:
        return BalancedPairCrossEntropy()

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        return config.replace(
            measure=partial(
                measure_threshold,
                false_accept_rate=self.false_accept_rate,
                batch_size=self.predict_batch_size,
            )
        )

    # ------------------------------------------------------------------ verification

    def pair_score(self, pairs: ArrayLike) -> np.ndarray:
        """Return the probability that the two samples of each pair are of the same class.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features) or (n_pairs, 2, *input_shape)
            Pairs of samples.

        Returns
        -------
        score : float64 ndarray of shape (n_pairs,)
            ``p`` of the class's notes: for pairs of which half are of the same class.

        Raises
        ------
        ValueError
            If the array is not one of pairs, or its samples do not fit the learner.
        """
        return expit(self._pair_log_odds(pairs))

    def pair_distance(self, pairs: ArrayLike) -> np.ndarray:
        r"""Return the weighted distance of the two samples of each pair.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features) or (n_pairs, 2, *input_shape)
            Pairs of samples.

        Returns
        -------
        distance : float64 ndarray of shape (n_pairs,)
            Minus the sum in ``p``: zero for equal samples, and larger the less similar they are. It
            can be negative if training has left a positive ``a``.
        """
        return float(head_of(self.module_, SiameseHead).bias) - self._pair_log_odds(pairs)

    def predict_pairs(self, pairs: ArrayLike) -> np.ndarray:
        """Predict whether the two samples of each pair are of the same class.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features) or (n_pairs, 2, *input_shape)
            Pairs of samples.

        Returns
        -------
        same : int ndarray of shape (n_pairs,)
            1 where ``pair_score`` is above ``threshold_``, else -1.
        """
        return np.where(self.pair_score(pairs) > self.threshold_, 1, -1)

    def calibrate_threshold(
        self, pairs: ArrayLike, y: ArrayLike, *, false_accept_rate: float | None = None
    ) -> SiameseNetClassifier:
        """Set the threshold on other pairs, which training has not seen.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, n_features) or (n_pairs, 2, *input_shape)
            Pairs of samples.
        y : array-like of shape (n_pairs,)
            1 for pairs of the same class, -1 for pairs of different ones.
        false_accept_rate : float or None, default=None
            Share of the pairs of different classes that may be called the same; None for the
            learner's own.

        Returns
        -------
        self : SiameseNetClassifier

        Raises
        ------
        ValueError
            If labels are not 1 and -1, or no pair is of different classes.

        Warns
        -----
        UserWarning
            If the pairs of different classes are too few for the rate.
        """
        score, y = self.pair_score(pairs), np.asarray(y)
        is_label = y.dtype.kind in "if" and np.isin(y, (-1, 1)).all()
        if y.shape != score.shape or not is_label or not (y == -1).any():
            raise ValueError(
                f"y must hold 1 (same class) or -1 (different classes) for each of the "
                f"{len(score)} pairs, and -1 at least once. Got {np.unique(y)} in shape {y.shape}."
            )
        rate = self.false_accept_rate if false_accept_rate is None else false_accept_rate
        warn_of_few_pairs(int(np.count_nonzero(y == -1)), rate)
        self.threshold_ = float(np.quantile(score[y == -1], 1.0 - rate))
        return self

    def _pair_log_odds(self, pairs: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        pairs = np.asarray(pairs)
        if pairs.ndim < 3 or pairs.shape[1] != 2:
            raise ValueError(
                f"Pairs must be an array of shape (n_pairs, 2, ...), such as "
                f"np.stack([X_a, X_b], axis=1). Got shape {pairs.shape}."
            )
        with warnings.catch_warnings():  # pairs have no place for the column names of a frame
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            samples = pairs.reshape(-1, *pairs.shape[2:])  # the sides of a pair follow one another
            samples = check_like_fitted(self, samples)
        self._network.warn_of_range(samples)
        embedding = torch.from_numpy(self._network.embed(samples).astype(np.float64)).flatten(1)
        first, second = embedding[0::2], embedding[1::2]
        head = head_of(self.module_, SiameseHead)
        with torch.no_grad():
            paired = head.log_odds(
                first.unsqueeze(1).to(head.bias.device), second.unsqueeze(1).to(head.bias.device)
            )
        return paired.flatten().cpu().numpy()


def warn_of_few_pairs(n_pairs: int, false_accept_rate: float) -> None:
    """Warn if a rate is lower than the share that a single pair is."""
    if n_pairs * false_accept_rate < 1:
        warn_user(
            f"{n_pairs} pairs of different classes cannot resolve false_accept_rate="
            f"{false_accept_rate}: the threshold is near their highest score, and the true rate "
            f"may be several times {1 / (n_pairs + 1):.2g}. It takes at least "
            f"{math.ceil(1 / false_accept_rate)} such pairs, and ten times as many for a good "
            "estimate. Pass more pairs to calibrate_threshold, or raise the rate."
        )


def measure_threshold(
    module: EmbeddingModule, task: Task, *, false_accept_rate: float, batch_size: int
) -> dict[str, Any]:
    """Return the threshold by pairs of different classes, one or both of which were held out.

    With tasks, both are of one.

    Parameters
    ----------
    module : EmbeddingModule
        The trained network.
    task : Task
        Its data.
    false_accept_rate : float
        Share of these pairs whose score is above the threshold.
    batch_size : int
        Rows per batch of the embedding.

    Returns
    -------
    measured : dict
        ``threshold_``.
    """
    codes = task.data.codes
    is_new = task.data.held_out[codes]
    parts = (np.flatnonzero(part) for part in (is_new, ~is_new))
    rows = np.concatenate([thinned(part, codes, N_CALIBRATION_ROWS) for part in parts])
    with evaluating(module):
        embedding = torch.cat(
            [
                module.backbone(task.store.take(rows[start : start + batch_size])).flatten(1)
                for start in range(0, len(rows), batch_size)
            ]
        )
        head = head_of(module, SiameseHead)
        log_odds = head.log_odds(embedding, embedding).double().cpu().numpy()
    codes, is_new = codes[rows], is_new[rows]
    different = (codes[:, None] < codes) & (is_new[:, None] | is_new)
    if task.data.class_tasks is not None:
        owner = task.data.class_tasks.task[codes]
        different &= owner[:, None] == owner
    warn_of_few_pairs(int(np.count_nonzero(different)), false_accept_rate)
    threshold = np.quantile(expit(log_odds[different]), 1.0 - false_accept_rate)
    return {"threshold_": float(threshold)}
