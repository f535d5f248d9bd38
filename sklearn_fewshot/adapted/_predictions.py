"""Predictions from a support set: classes, probabilities, sets, scores, rejection."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import ClassifierMixin

from ..network import FittedNetwork
from ..utils._carried import raise_if_support_was_carried
from ..utils._typing import ArrayLike, Label
from ..utils._validation import check_labels, check_like_fitted
from ._learner import SharesLearner
from ._prediction_sets import check_alpha, set_margin
from ._rejection import check_reject_label, check_reject_rate, leave_one_out_scores
from ._support import check_known
from ._support_state import SupportState
from ._top import check_k, largest
from ._unlabelled import refine

# The support set of a classifier, and the leave-one-out scores of its examples. Not an attribute:
# predicting changes no classifier.
_LEFT_OUT: WeakKeyDictionary[PredictsFromSupport, tuple[SupportState, np.ndarray]] = (
    WeakKeyDictionary()
)


class PredictsFromSupport(ClassifierMixin, SharesLearner):
    """The public methods that read a support set, which a subclass stores."""

    _network: FittedNetwork

    def _current(self) -> SupportState:
        """Return the support set; readers take it once, since another thread may exchange it."""
        raise NotImplementedError

    def predict(
        self, X: ArrayLike, *, reject_label: Label | None = None, reject_rate: float = 0.05
    ) -> np.ndarray:
        """Predict the class of each query, or reject it as an outlier.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        reject_label : label or None, default=None
            The label of rejected outliers, of the same type as the classes. With None no query is
            rejected.
        reject_rate : float, default=0.05
            False rejection rate: share of the inliers, queries of the classes, that may be
            rejected, in [0, 1). With 0, reject only queries that score below every held-out query
            seen during ``fit`` of the learner. Only with ``reject_label``.

        Returns
        -------
        y : ndarray of shape (n_queries,)

        Raises
        ------
        ValueError
            If ``reject_label`` is a class or of another type, or ``reject_rate`` is no share.
        TypeError
            If the learner has not measured the scores of inliers (``calibrate=False``).
        """
        support = self._current()
        if reject_label is None:
            check_reject_rate(reject_rate, is_used=False)
            winners = [scores.argmax(axis=1) for scores in self._score_blocks(X, support)]
            return support.classes[np.concatenate(winners)]
        classes, outside = check_reject_label(reject_label, support.classes)
        threshold = self._threshold(support, check_reject_rate(reject_rate))
        labels = []
        for scores in self._score_blocks(X, support):
            winner = scores.argmax(axis=1)
            is_inlier = scores.max(axis=1) >= threshold[winner]
            labels.append(np.where(is_inlier, classes[winner], outside))
        return np.concatenate(labels)

    def rejection_threshold(self, reject_rate: float = 0.05) -> np.ndarray:
        """Return the scores below which queries are rejected as outliers.

        They are quantiles of the scores of inliers, measured on held-out classes at the end of
        ``fit`` by the number of classes and of examples of each, with wider tails where few classes
        were held out. Classes with three or more distinct examples add the leave-one-out scores of
        these.

        Parameters
        ----------
        reject_rate : float, default=0.05
            False rejection rate: share of the inliers that may be rejected, in [0, 1).

        Returns
        -------
        threshold : float64 ndarray of shape (n_classes,)
            For queries whose highest score (:meth:`score_samples`) is that of the class.

        Raises
        ------
        ValueError
            If ``reject_rate`` is no share.
        TypeError
            If the learner has not measured the scores of inliers (``calibrate=False``).
        """
        return self._threshold(self._current(), check_reject_rate(reject_rate))

    def _threshold(self, support: SupportState, reject_rate: float) -> np.ndarray:
        of, scores = _LEFT_OUT.get(self, (None, np.empty(0)))
        if of is not support:
            scores = leave_one_out_scores(
                self._network,
                support.representation,
                support.shown,
                partial(
                    refine,
                    self._network,
                    unlabelled=support.unlabelled,
                    refinement=support.refinement,
                ),
            )
            _LEFT_OUT[self] = support, scores
        return self._network.threshold(support.weight, reject_rate, scores)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
            Columns in the order of ``classes_``.
        """
        support = self._current()
        logits = self._score_blocks(X, support)
        return np.concatenate([self._network.proba(part, support.weight) for part in logits])

    def predict_top(self, X: ArrayLike, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Predict the most probable classes of each query, with their probabilities.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        k : int, default=5
            How many classes; all, if there are fewer.

        Returns
        -------
        labels : ndarray of shape (n_queries, min(k, n_classes))
            Classes, the most probable first: that of :meth:`predict`.
        proba : float64 ndarray of shape (n_queries, min(k, n_classes))
            Their probabilities, as those of :meth:`predict_proba`: they sum to one with those of
            the other classes.

        Raises
        ------
        ValueError
            If ``k`` is no int of at least 1.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from sklearn_fewshot import ProtoNetClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> learner = ProtoNetClassifier(max_epochs=2, random_state=0).fit(X[y < 7], y[y < 7])
        >>> classifier = learner.adapt(X[y >= 7][:15], y[y >= 7][:15])
        >>> labels, proba = classifier.predict_top(X[y >= 7][15:], k=2)
        >>> labels.shape, bool((np.diff(proba) <= 0).all())
        ((518, 2), True)
        """
        support = self._current()
        n = min(check_k(k), len(support.classes))
        labels, proba = [], []
        for logits in self._score_blocks(X, support):
            best = largest(logits, n)
            labels.append(support.classes[best])
            every = self._network.proba(logits, support.weight)
            proba.append(np.take_along_axis(every, best, axis=1))
        return np.concatenate(labels), np.concatenate(proba)

    def predict_set(self, X: ArrayLike, alpha: float = 0.1) -> np.ndarray:
        r"""Predict the set of classes that each query may be of.

        The class of a query is missing from its set with probability ``alpha`` or less: on average
        over new classes like the held-out ones, their support sets and their queries, not for each
        class or each support set, nor for classes of another kind, base classes, or outliers. The
        most probable class is always in the set, and a smaller ``alpha`` gives larger sets.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        alpha : float, default=0.1
            Share of queries whose class may be missing, in (0, 1). It is rounded down to
            hundredths, below 0.05 to thousandths.

        Returns
        -------
        in_set : bool ndarray of shape (n_queries, n_classes)
            Whether the class is in the set of the query, columns in the order of ``classes_``.

        Raises
        ------
        ValueError
            If ``alpha`` is not in (0, 1).
        TypeError
            If the learner was not calibrated (``calibrate=False``), or held out no class.

        Warns
        -----
        UserWarning
            If ``alpha`` is so small that every set has all classes. With :math:`n` held-out classes
            that is :math:`\alpha < 1 / (n + 1)`: ten for 0.1, twenty for 0.05.

        Notes
        -----
        A class :math:`k` is in the set if its probability is at least
        :math:`t_\alpha \max_j p_j`. The threshold :math:`t_\alpha` is that of hierarchical
        conformal prediction [1]_ on the held-out classes, by the numbers of classes and examples:
        each held-out class, and a new one that may be missed entirely, weigh :math:`1 / (n + 1)`.
        With more classes than were held out it is that of a smaller ``alpha``, by the union bound.
        For unequal numbers of examples, each class has the threshold of its own number, in units of
        the logits.

        Two things make the statement approximate: the held-out classes also chose the weights, and
        they are each other's rivals, where new classes have other rivals. Classes of one task or
        class group count as independent. Fisch et al. [2]_ predict the threshold of each task.

        References
        ----------
        .. [1] Y. Lee, R. F. Barber and R. Willett, "Distribution-free inference with hierarchical
           data", 2023.
        .. [2] A. Fisch, T. Schuster, T. Jaakkola and R. Barzilay, "Few-shot Conformal Prediction
           with Auxiliary Tasks", ICML 2021.
        """
        support, alpha = self._current(), check_alpha(alpha)
        margin = set_margin(self._network, support.weight, alpha)
        logits = self._score_blocks(X, support)
        return np.concatenate([part + margin >= part.max(axis=1)[:, None] for part in logits])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Score each query against each class, larger is closer.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_classes) or (n_queries,)
            Logits. With two classes one score, positive for ``classes_[1]``: their difference.
        """
        logits = np.concatenate(list(self._score_blocks(X)))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Score each query as an inlier of any class, larger is more similar to the classes.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.

        Returns
        -------
        score : ndarray of shape (n_queries,)
            The largest class score: for Prototypical Networks the negative scaled distance to the
            nearest prototype, which does not depend on how many classes there are.
        """
        return np.concatenate([scores.max(axis=1) for scores in self._score_blocks(X)])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        y : array-like of shape (n_queries,)
            True labels.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.

        Returns
        -------
        accuracy : float
            Labels that the classifier does not know count as errors, with a warning.

        Raises
        ------
        ValueError
            If no label of y is known: the accuracy would be 0 by construction.
        """
        raise_if_support_was_carried(given=False)
        check_known(check_labels(X, y), self._current().classes)
        return super().score(X, y, sample_weight)

    def _score_blocks(
        self, X: ArrayLike, support: SupportState | None = None
    ) -> Iterator[np.ndarray]:
        """Check queries and score them, a block at a time."""
        support = support or self._current()
        X = check_like_fitted(self, X)
        self._network.warn_of_range(X)
        yield from support.score_blocks(self._network, X)
