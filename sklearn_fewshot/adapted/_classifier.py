"""Classifiers of a support set, over a frozen network."""

from __future__ import annotations

import copy
import threading
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..network import FittedNetwork, RegressionNetwork, Representation, State, identity_network
from ..utils._digest import digests
from ..utils._exact_labels import as_column
from ..utils._fresh import unfitted_copy
from ..utils._sklearn import HasMethods, StrOptions, validate_parameter_constraints
from ..utils._typing import ArrayLike, Estimator, Label, Refinement
from ..utils._validation import (
    check_like_fitted,
    check_X,
    encode_labels,
    is_known,
    label_text,
)
from ._examples import Examples
from ._learner import check_learner, check_same_network, share_or_clone
from ._predictions import PredictsFromSupport
from ._support import check_support_labels, warn_of_conflicts
from ._support_state import SupportState
from ._unlabelled import DEFAULT, REFINEMENTS, Unlabelled, warn_if_unmarked

# Held while a state is made of the last one, so that no thread's examples are lost. One for all:
# it takes milliseconds, and a lock of each could not be pickled.
WRITING = threading.RLock()
CONSTRAINTS: dict[str, list[Any]] = {
    "include_base": ["boolean"],
    "refinement": [StrOptions(set(REFINEMENTS))],
}


class FewShotClassifier(PredictsFromSupport):
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
    refinement : {"alpha_tim", "bd_cspn", "soft_kmeans"}, default="alpha_tim"
        How unlabelled examples refine the class means; without any it has no effect.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the support set, sorted.
    class_count_ : ndarray of shape (n_classes,)
        Examples of each class, copies included.
    transduction_ : ndarray of shape (n_support,)
        Label of each example of ``fit`` and then of each ``partial_fit``, in the order given: that
        in ``y``, and for unlabelled ones what ``predict`` answers. Examples of classes that were
        dropped are left out.
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
    Copies of an example weigh in the class means, but tell nothing of the class: probabilities,
    thresholds and the correction of unequal shots go by the number of distinct examples. Near
    copies, such as augmented ones, are not recognised: leave them out of the support set.

    Unlabelled examples :math:`x_j` change the mean :math:`c_k` of the :math:`n_k` examples of a
    class. "soft_kmeans" (Ren et al.) is one step to

    .. math::

        \tilde c_k = \frac{n_k c_k + \sum_j w_{jk} f(x_j)}{n_k + \sum_j w_{jk}}

    where :math:`w_{jk}` are probabilities of the classes and, beside them, of an outlier.
    "bd_cspn" (Liu et al.) first shifts the means so that their mean is that of the unlabelled
    examples, and averages in only those of which the class is the most probable one. "alpha_tim"
    (Veilleux et al.) improves the weights of "soft_kmeans" by gradient steps on the class means:
    they decrease the cross-entropy of the labelled examples, and increase the information of the
    unlabelled ones about their classes,

    .. math::

        H_2\big(\operatorname{mean}_j p_j\big) - \operatorname{mean}_j H_2(p_j),
        \qquad H_2(p) = 1 - \sum_k p_k^2.

    Other queries of a prediction never take part. It takes a learner that compares with class
    means. "bd_cspn" assumes that all classes are about equally frequent among the unlabelled
    examples: not so with ``include_base``.

    References
    ----------
    M. Ren, E. Triantafillou, S. Ravi, J. Snell, K. Swersky, J. B. Tenenbaum, H. Larochelle and
    R. S. Zemel, "Meta-Learning for Semi-Supervised Few-Shot Classification", ICLR 2018.

    J. Liu, L. Song and Y. Qin, "Prototype Rectification for Few-Shot Learning", ECCV 2020.

    O. Veilleux, M. Boudiaf, P. Piantanida and I. Ben Ayed, "Realistic evaluation of transductive
    few-shot learning", NeurIPS 2021.

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
        **CONSTRAINTS,
        "unlabelled": "no_validation",
    }

    def __init__(
        self,
        learner: Estimator = None,
        *,
        include_base: bool = False,
        unlabelled: Label | None = None,
        refinement: Refinement = DEFAULT,
    ) -> None:
        self.learner = learner
        self.include_base = include_base
        self.unlabelled = unlabelled
        self.refinement = refinement

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
    def transduction_(self) -> np.ndarray:
        """Labels of the examples in the order given, predicted for unlabelled ones."""
        support = self._current()
        return support.classes[support.transduce(self._network)]

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
            what = f"The 'learner' parameter of {type(self).__name__}"
            check_learner(self.learner, what)
            if isinstance(self.learner._network, RegressionNetwork):
                raise TypeError(
                    f"{what} must be a fitted classifier, such as ProtoNetClassifier. Got "
                    f"{type(self.learner).__name__}: use FewShotRegressor."
                )
            self.input_shape_ = self.learner.input_shape_
            self.n_features_in_ = self.learner.n_features_in_
            if hasattr(self.learner, "feature_names_in_"):
                self.feature_names_in_ = self.learner.feature_names_in_
            network = self.learner._network
            self._network = network.of_base if self.include_base else network
        if self.unlabelled is not None:
            self._network.check_takes_unlabelled()
        validate_parameter_constraints(CONSTRAINTS, vars(self), type(self).__name__)
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
        classifier._network = learner._network.of_base
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

    def _transduce(self, X: np.ndarray, y: np.ndarray, queries: np.ndarray) -> Self:
        """Return a classifier of another support set, refined by unlabelled queries."""
        other = copy.copy(self)
        other.__dict__.pop("_support", None)
        classes, codes = encode_labels(y)
        given = np.concatenate([codes, np.full(len(queries), -1)])
        rows = np.concatenate([X, queries])
        other._add_encoded(rows, digests(rows), classes, given)
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
        given = np.full(len(X), -1, dtype=np.intp)
        given[~is_unlabelled] = codes
        self._add_encoded(self._network.encode(X), digests(X), classes, given)

    def _add_encoded(
        self, rows: np.ndarray, digest: np.ndarray, classes: np.ndarray, given: np.ndarray
    ) -> None:
        """Join encoded examples of classes; unlabelled ones have code -1."""
        network, is_labelled = self._network, given >= 0
        items = Representation.of_examples(rows[is_labelled], given[is_labelled], len(classes))
        unlabelled = Unlabelled(rows[~is_labelled], digest[~is_labelled])
        digest = digest[is_labelled]
        if not hasattr(self, "_support"):
            seen = Examples.of(items, digest)
            options: dict[str, Any] = {"refinement": self.refinement, "given": given}
            self._support = SupportState.of(
                network, items, classes, seen, seen, unlabelled, **options
            )
            return
        with WRITING:
            self._support = self._support.join(network, items, classes, digest, unlabelled, given)

    def _set_classes(self, items: Representation, classes: np.ndarray) -> None:
        """Set the classes by what represents them, without examples."""
        self._support = SupportState.of(self._network, items, classes, refinement=self.refinement)

    def _current(self) -> SupportState:
        """Return the support set; readers take it once, since another thread may exchange it."""
        check_is_fitted(self)
        return self._support

    # ------------------------------------------------------------------ scikit-learn's protocol

    def __sklearn_is_fitted__(self) -> bool:
        """Whether a support set has been given."""
        return hasattr(self, "_support")

    def __sklearn_clone__(self) -> Self:
        """Clone without the support; a fitted learner is shared, since nothing here changes it."""
        unfitted = unfitted_copy(self)
        unfitted.learner = share_or_clone(self.learner)
        return unfitted
