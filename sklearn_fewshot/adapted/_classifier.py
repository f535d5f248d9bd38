"""Classifiers of a support set, over a frozen network."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ..network import FittedNetwork, Representation, State, identity_network
from ..utils._carried import raise_if_support_was_carried
from ..utils._digest import digests
from ..utils._exact_labels import as_column
from ..utils._fresh import unfitted_copy
from ..utils._sklearn import HasMethods, validate_parameter_constraints
from ..utils._typing import ArrayLike, Estimator, Label
from ..utils._validation import (
    check_labels,
    check_like_fitted,
    check_X,
    encode_labels,
    is_known,
    label_text,
)
from ._examples import Examples
from ._learner import SharesLearner, check_learner, check_same_network, share_or_clone
from ._rejection import check_reject_label, check_reject_rate, leave_one_out_scores
from ._support import check_known, check_support_labels, warn_of_conflicts
from ._support_state import SupportState
from ._unlabelled import Unlabelled, warn_if_unmarked

# Held while a state is made of the last one, so that no thread's examples are lost. One for all:
# it takes milliseconds, and a lock of each could not be pickled.
WRITING = threading.RLock()
BOOLEAN: dict[str, list[Any]] = {"include_base": ["boolean"]}


class FewShotClassifier(ClassifierMixin, SharesLearner):
    r"""Classify by comparing with a few labelled examples, through a frozen learner.

    ``fit`` stores what the learner makes of the support set; nothing is trained. This is what
    :meth:`ProtoNetClassifier.adapt` returns, and an ordinary classifier to scikit-learn, so
    ``cross_val_score(FewShotClassifier(learner), X, y, cv=EpisodeSplit(n_episodes=600))`` is
    few-shot evaluation.

    Parameters
    ----------
    learner : fitted learner or None, default=None
        Embeds and compares. It is used as it is at the time of ``fit`` and never changed; refitting
        it later leaves this classifier alone. None compares raw rows with class means, by squared
        Euclidean distance.
    include_base : bool, default=False
        Whether the base classes of the learner are kept beside those of the support set.
    unlabelled : label or None, default=None
        The mark in ``y`` of unlabelled examples, such as -1, or NaN for all missing values. They
        refine the class means: see the notes. None: every label is that of a class.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the support set, sorted.
    class_count_ : ndarray of shape (n_classes,)
        Examples of each class.
    state_ : dict of ndarray
        What ``learner.module_.adapt`` made of the support set, and its ``predict`` takes: for a
        :class:`ProtoNetClassifier` the prototypes, ``state_["prototype"][0]``. The first axis of
        each array has length one.
    score_correction_ : float64 ndarray of shape (n_classes,)
        What is added to the logits of each class, to correct for unequal shots.
    n_features_in_ : int
        Features (channels for series and pictures).
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X had any.
    input_shape_ : tuple of int
        Shape of one sample.

    See Also
    --------
    ProtoNetClassifier : Trains the network on other classes.
    adapt : The same for whole pipelines and searches.

    Notes
    -----
    Unlabelled examples ``x_j`` change the mean ``c_k`` of the ``n_k`` examples of a class to

    .. math::

        \tilde c_k = \frac{n_k c_k + \sum_j w_{jk} f(x_j)}{n_k + \sum_j w_{jk}}

    where :math:`w_{jk}` are probabilities of the classes and, beside them, of an outlier. Other
    queries of a prediction never take part. It takes a learner that compares with class means.

    References
    ----------
    M. Ren, E. Triantafillou, S. Ravi, J. Snell, K. Swersky, J. B. Tenenbaum, H. Larochelle and
    R. S. Zemel, "Meta-Learning for Semi-Supervised Few-Shot Classification", ICLR 2018.

    Examples
    --------
    >>> from sklearn_fewshot import FewShotClassifier
    >>> clf = FewShotClassifier().fit([[0.0, 0.0], [4.0, 4.0]], ["near", "far"])
    >>> clf.partial_fit([[9.0, 0.0]], ["right"]).predict([[8.0, 1.0], [1.0, 0.0]])
    array(['right', 'near'], dtype='<U5')
    """

    # Checked in `fit`, which says more.
    _parameter_constraints: dict[str, list[Any] | str] = {
        "learner": [HasMethods(["adapt", "fit"]), None],
        **BOOLEAN,
        "unlabelled": "no_validation",
    }

    def __init__(
        self,
        learner: Estimator = None,
        *,
        include_base: bool = False,
        unlabelled: Label | None = None,
    ) -> None:
        self.learner = learner
        self.include_base = include_base
        self.unlabelled = unlabelled

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Set the support.

        Parameters
        ----------
        X : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Support examples.
        y : array-like of shape (n_support,)
            Their labels.

        Returns
        -------
        self : FewShotClassifier

        Raises
        ------
        NotFittedError
            If the learner is not fitted.
        ValueError
            If the arrays are malformed or do not fit the learner.
        """
        fresh = unfitted_copy(self)._start(X)
        fresh._add(X, y)
        warn_if_unmarked(self.unlabelled, fresh._support.unlabelled.rows, fresh.classes_)
        self.__dict__ = fresh.__dict__
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """Add examples of known or new classes; equals ``fit`` on everything seen.

        Parameters
        ----------
        X : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Further support examples.
        y : array-like of shape (n_support,)
            Their labels.
        classes : array-like or None, default=None
            If given, labels outside it are refused. New classes need no announcement.

        Returns
        -------
        self : FewShotClassifier

        Raises
        ------
        ValueError
            If the arrays are malformed or do not fit the learner, or if the learner was fitted
            again since: old and new examples would go through different networks.
        """
        with WRITING:  # or two threads might both begin
            if not self.__sklearn_is_fitted__():
                fresh = unfitted_copy(self)._start(X)
                fresh._add(X, y, allowed=classes)
                self.__dict__ = fresh.__dict__
                return self
        check_same_network(self.learner, self._network, type(self).__name__)
        self._add(X, y, allowed=classes)
        return self

    def drop_classes(self, labels: ArrayLike) -> Self:
        """Forget classes.

        Parameters
        ----------
        labels : array-like of shape (n_labels,)
            Classes to forget.

        Returns
        -------
        self : FewShotClassifier

        Raises
        ------
        ValueError
            If a label is unknown, or no class would be left.
        """
        labels = as_column(np.atleast_1d(labels) if np.ndim(labels) == 0 else labels, "labels")
        with WRITING:
            support = self._current()
            unknown = labels[~is_known(labels, support.classes)]
            if len(unknown):
                raise ValueError(
                    f"drop_classes got labels that this classifier does not know: "
                    f"{label_text(unknown)}. It knows {label_text(support.classes)}."
                )
            keep = ~is_known(support.classes, labels)
            if not keep.any():
                raise ValueError("drop_classes would leave no class. Fit a new classifier instead.")
            self._support = support.select(self._network, keep)
        return self

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
        ``fit`` by the number of classes and of examples of each. Classes with three or more
        examples add the leave-one-out scores of these.

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
        scores = leave_one_out_scores(
            self._network, support.representation, support.shown, support.unlabelled
        )
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

    # ------------------------------------------------------------------ the support set

    @property
    def classes_(self) -> np.ndarray:
        """Labels of the support set, sorted."""
        return self._current().classes

    @property
    def class_count_(self) -> np.ndarray:
        """Examples of each class."""
        return self._current().class_count

    @property
    def state_(self) -> State:
        """What the network made of the support set: arrays by name, such as prototypes."""
        return {name: value.copy() for name, value in self._current().state.items()}

    @property
    def score_correction_(self) -> np.ndarray:
        """What is added to the scores of each class, to correct for unequal shots."""
        return self._network.shot_correction(self._current().weight)

    def _start(self, X: Any) -> Self:
        """Take over the network and what it says of its input."""
        if self.learner is None:
            self.input_shape_ = check_X(self, X, reset=True, input_shape=None).shape[1:]
            self._network = identity_network(int(np.prod(self.input_shape_)))
        else:
            check_learner(self.learner, f"The 'learner' parameter of {type(self).__name__}")
            self.input_shape_ = self.learner.input_shape_
            self.n_features_in_ = self.learner.n_features_in_
            if hasattr(self.learner, "feature_names_in_"):
                self.feature_names_in_ = self.learner.feature_names_in_
            self._network = self.learner._network
        if self.unlabelled is not None:
            self._network.check_takes_unlabelled()
        validate_parameter_constraints(BOOLEAN, vars(self), type(self).__name__)
        if self.include_base:
            self._start_from_base()
        return self

    def _start_from_base(self) -> None:
        if self.learner is None:
            raise ValueError(
                f"{type(self).__name__} has include_base=True but no learner, so there are no base "
                "classes. Pass a fitted learner."
            )
        self._network.check_takes_examples()
        self._set_classes(self.learner.representation_, self.learner.classes_)

    @classmethod
    def _of_items(cls, learner: Estimator, items: Representation, classes: np.ndarray) -> Self:
        """Build a classifier of what a learner represents classes by, such as its base classes."""
        classifier = cls(learner)._start(None)
        classifier._set_classes(items, classes)
        return classifier

    @classmethod
    def _of_encoded(cls, network: FittedNetwork, rows: np.ndarray) -> Self:
        """Build a classifier, not fitted yet, for rows that a network has encoded already."""
        classifier = cls()
        classifier.input_shape_, classifier.n_features_in_ = rows.shape[1:], rows.shape[1]
        classifier._network = network.for_encoded_rows()
        return classifier

    def _readapt(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Return a classifier of another support set, through the same network."""
        other = copy.copy(self)
        other.__dict__.pop("_support", None)
        if other.include_base:
            check_same_network(self.learner, self._network, type(self).__name__)
            other._start_from_base()
        other._add(X, y)
        return other

    def _add(self, X: ArrayLike, y: ArrayLike, allowed: ArrayLike | None = None) -> None:
        """Join labelled examples to the representation, or leave everything as it is and raise."""
        self._network.check_takes_examples()
        X = check_like_fitted(self, X)
        is_first = not hasattr(self, "_support")
        y, is_unlabelled = check_support_labels(X, y, self.unlabelled, needs_label=is_first)
        classes, codes = encode_labels(y if len(y) or is_first else self.classes_[:0])
        if allowed is not None and not is_known(classes, np.asarray(allowed)).all():
            outside = classes[~is_known(classes, np.asarray(allowed))]
            raise ValueError(f"y has labels that are not in `classes`: {label_text(outside)}.")
        warn_of_conflicts(X[~is_unlabelled] if is_unlabelled.any() else X, y)
        self._network.warn_of_range(X)
        network, rows = self._network, self._network.encode(X)
        items = Representation.of_examples(rows[~is_unlabelled], codes, len(classes))
        digest = digests(X)
        unlabelled = Unlabelled(rows[is_unlabelled], digest[is_unlabelled])
        digest = digest[~is_unlabelled]
        if is_first:
            seen = Examples.of(items, digest)
            self._support = SupportState.of(network, items, classes, seen, seen, unlabelled)
            return
        with WRITING:
            self._support = self._support.join(network, items, classes, digest, unlabelled)

    def _set_classes(self, items: Representation, classes: np.ndarray) -> None:
        """Set the classes by what represents them, without examples."""
        self._support = SupportState.of(self._network, items, classes)

    def _current(self) -> SupportState:
        """Return the support set; readers take it once, since another thread may exchange it."""
        check_is_fitted(self)
        return self._support

    def _score_blocks(
        self, X: ArrayLike, support: SupportState | None = None
    ) -> Iterator[np.ndarray]:
        """Check queries and score them, a block at a time."""
        support = support or self._current()
        X = check_like_fitted(self, X)
        self._network.warn_of_range(X)
        yield from support.score_blocks(self._network, X)

    # ------------------------------------------------------------------ scikit-learn's protocol

    def __sklearn_is_fitted__(self) -> bool:
        """Whether a support set has been given."""
        return hasattr(self, "_support")

    def __sklearn_clone__(self) -> Self:
        """Clone without the support; a fitted learner is shared, since nothing here changes it."""
        unfitted = unfitted_copy(self)
        unfitted.learner = share_or_clone(self.learner)
        return unfitted
