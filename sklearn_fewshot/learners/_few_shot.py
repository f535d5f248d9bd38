"""Learners of new classes from examples: fit, adapt and predict, written once for all."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ..adapted import FewShotClassifier, check_support_pair
from ..utils._typing import ArrayLike, Label, Refinement
from ._classes import LearnsClasses
from ._docs import with_common_parameters


@with_common_parameters
class BaseFewShotLearner(ClassifierMixin, LearnsClasses):
    """Base of the learners that adapt to examples of new classes: the public methods.

    The hooks that a learner defines are documented in ``_base.BaseMetaLearner``, which trains.

    See Also
    --------
    with_common_parameters : Completes the signature and the docstring of a learner.

    Examples
    --------
    A learner names its head and the head's parameters:

    >>> from sklearn_fewshot import adapt
    >>> from sklearn_fewshot.base import BaseFewShotLearner, with_common_parameters
    >>> from sklearn_fewshot.nn.heads import PrototypicalHead
    >>> @with_common_parameters
    ... class CityblockNet(BaseFewShotLearner):
    ...     def __init__(self, **common):
    ...         super().__init__(**common)
    ...
    ...     def _head(self):
    ...         return PrototypicalHead, {"metric": "cityblock"}
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = CityblockNet(max_epochs=2, random_state=0).fit(X[y < 8], y[y < 8])
    >>> classifier = adapt(learner, X[y >= 8][:10], y[y >= 8][:10])
    >>> classifier.classes_
    array([8, 9])
    """

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        class_groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> Self:
        """Meta-train the network on episodes drawn from the classes of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, channels, length) or \
(n_samples, channels, height, width)
            Samples of the base classes.
        y : array-like of shape (n_samples,)
            Their labels.
        groups : array-like of shape (n_samples,) or None, default=None
            Source of each sample, such as the person who drew, spoke or photographed it: the
            support and the queries of an episode never share a group.
        class_groups : array-like of shape (n_samples,) or None, default=None
            Alphabet, genus, ... of a sample's class: classes of one group stay on one side of the
            validation split.
        tasks : array-like of shape (n_samples,) or None, default=None
            Assay, patient, data set, ... whose classes are compared with each other only: all
            classes of an episode are of one task, and tasks are equally likely. A label that
            several tasks have (0 and 1 in every assay) is another class in each, but one class of
            the base classes. Whole tasks are held out for validation; with ``class_groups`` as
            well, the smallest sets of classes that divide neither a task nor a group.

        Returns
        -------
        self : object
            Fitted learner. If ``fit`` raises, it is unchanged.

        Raises
        ------
        ValueError
            If a parameter or an array is malformed, there are fewer than two classes, no class has
            two examples, or no task has two such classes.
        ArithmeticError
            If training diverges: the loss is not finite.
        MemoryError
            If memory runs out; the message names the parameters to lower.
        OSError
            If the folder ``checkpoint`` cannot be written to.
        """
        return self._fit(X, y, groups=groups, class_groups=class_groups, tasks=tasks)

    # ------------------------------------------------------------------ adaptation and prediction

    def adapt(
        self,
        X_support: ArrayLike,
        y_support: ArrayLike,
        *,
        include_base: bool = False,
        unlabelled: Label | None = None,
        refinement: Refinement = "alpha_tim",
    ) -> FewShotClassifier:
        """Build a classifier of new classes from a few examples; nothing is trained.

        Parameters
        ----------
        X_support : array-like of shape (n_support, n_features) or (n_support, *input_shape)
            Examples of the new classes.
        y_support : array-like of shape (n_support,)
            Their labels. Examples of a base class add to it if ``include_base``.
        include_base : bool, default=False
            Whether to keep the base classes together with the new ones.
        unlabelled : label or None, default=None
            The mark in ``y_support`` of examples without a label, such as -1: they refine the
            class means (see :class:`~sklearn_fewshot.FewShotClassifier`). None: every label is that
            of a class.
        refinement : {"alpha_tim", "bd_cspn", "soft_kmeans"}, default="alpha_tim"
            How unlabelled examples refine the class means; without any it has no effect.

        Returns
        -------
        classifier : FewShotClassifier
            This learner is not changed.

        Raises
        ------
        ValueError
            If the arrays are malformed or do not match the data of ``fit``.

        Warns
        -----
        UserWarning
            If the support set has another range than the data of ``fit``, or lies far from them:
            other units, or rows that did not pass the transformers before the learner.
        """
        check_is_fitted(self)
        if X_support is None or y_support is None:
            check_support_pair(X_support, y_support)
            raise ValueError("adapt needs a support set: X_support and y_support.")
        adapted = FewShotClassifier(
            self, include_base=include_base, unlabelled=unlabelled, refinement=refinement
        )
        return adapted.fit(X_support, y_support)

    def _classifier(
        self, X_support: ArrayLike | None = None, y_support: ArrayLike | None = None
    ) -> FewShotClassifier:
        """Return the classifier of a support set, or of the base classes without one."""
        check_is_fitted(self)
        check_support_pair(X_support, y_support)
        if X_support is None or y_support is None:
            return self._base_classifier()
        return self.adapt(X_support, y_support)

    def predict(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
        reject_label: Label | None = None,
        reject_rate: float = 0.05,
    ) -> np.ndarray:
        """Predict the class of each query, of the support set or of the base classes.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.
        reject_label : label or None, default=None
            The label of rejected outliers: see
            :meth:`~sklearn_fewshot.FewShotClassifier.predict`. On the base classes themselves,
            which ``fit`` has seen, fewer are rejected than stated.
        reject_rate : float, default=0.05
            False rejection rate: share of the inliers, queries of the classes, that may be
            rejected.

        Returns
        -------
        y : ndarray of shape (n_queries,)

        Raises
        ------
        ValueError
            If one half of the support set is missing or an array does not fit the learner.
        """
        classifier = self._classifier(X_support, y_support)
        return classifier.predict(X, reject_label=reject_label, reject_rate=reject_rate)

    def predict_proba(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
            Columns in the sorted order of the labels.
        """
        return self._classifier(X_support, y_support).predict_proba(X)

    def predict_top(
        self,
        X: ArrayLike,
        k: int = 5,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict the most probable classes of each query, with their probabilities.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        k : int, default=5
            How many classes; all, if there are fewer.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.

        Returns
        -------
        labels, proba : ndarray of shape (n_queries, min(k, n_classes))
            As :meth:`~sklearn_fewshot.FewShotClassifier.predict_top` returns them.

        Raises
        ------
        ValueError
            If ``k`` is no int of at least 1, or an array does not fit the learner.
        """
        return self._classifier(X_support, y_support).predict_top(X, k)

    def predict_set(
        self,
        X: ArrayLike,
        alpha: float = 0.1,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the set of classes that each query may be of.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        alpha : float, default=0.1
            Share of queries whose class may be missing, in (0, 1): see
            :meth:`~sklearn_fewshot.FewShotClassifier.predict_set`. It holds for new classes; of the
            base classes, which ``fit`` has seen, fewer are missing.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.

        Returns
        -------
        in_set : bool ndarray of shape (n_queries, n_classes)
            Whether the class is in the set of the query, columns in the sorted order of the labels.

        Raises
        ------
        ValueError
            If ``alpha`` is not in (0, 1), or an array does not fit the learner.
        TypeError
            If the learner was not calibrated, or held out no class.
        """
        return self._classifier(X_support, y_support).predict_set(X, alpha)

    def decision_function(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> np.ndarray:
        """Score each query against each class, larger is closer.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_classes) or (n_queries,)
            With two classes one score, positive for the second.
        """
        return self._classifier(X_support, y_support).decision_function(X)

    def score_samples(
        self,
        X: ArrayLike,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> np.ndarray:
        """Score each query as an inlier of any class, larger is more similar to the classes.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.

        Returns
        -------
        score : ndarray of shape (n_queries,)
        """
        return self._classifier(X_support, y_support).score_samples(X)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_support: ArrayLike | None = None,
        y_support: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        y : array-like of shape (n_queries,)
            True labels. Labels that are not among the classes count as errors, with a warning.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.
        X_support, y_support : array-like or None, default=None
            Support set, given together; None for the base classes.

        Returns
        -------
        accuracy : float

        Raises
        ------
        ValueError
            If no label of y is among the classes: on new classes use
            :class:`~sklearn_fewshot.model_selection.EpisodicScorer`.
        """
        return self._classifier(X_support, y_support).score(X, y, sample_weight)
