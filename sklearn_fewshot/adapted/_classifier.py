"""Classifiers over a frozen network, and support sets that travel through pipelines."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from numbers import Number, Real
from typing import Any, Protocol, overload

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..episodes._holdout import place_in_class
from ..network import SCORES_AT_A_TIME, Representation, identity_network
from ..utils._carried import refuse_carried_support
from ..utils._fresh import unfitted_copy
from ..utils._memory_map import blocks_of
from ..utils._sklearn import HasMethods, InvalidParameterError
from ..utils._validation import (
    check_labels,
    check_X,
    encode_labels,
    is_known,
    label_kind,
    label_text,
)
from ..utils._warnings import warn_user

MOST_SHOWN = 20  # examples of a class that are kept beside what it is represented by
LEAST_FOR_LEAVING_OUT = 3  # examples of a class, of which each is scored by the others
MOST_FOLDS = 10  # in which examples are left out


class FewShotClassifier(ClassifierMixin, BaseEstimator):
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
    unlabelled : label or None, default=None
        What stands in ``y`` for examples without a label, such as -1. They refine the class means
        as far as they seem to be of a class (soft k-means with one more cluster for what is of
        none); see the notes. None: every label is that of a class.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the support set, sorted.
    class_count_ : ndarray of shape (n_classes,)
        Examples of each class.
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

    where :math:`w_{jk}` are probabilities of the classes and, beside them, of no class. Other
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
    _parameter_constraints: dict[str, list[Any]] = {
        "learner": [HasMethods(["adapt", "fit"]), None],
        "unlabelled": "no_validation",
    }

    def __init__(self, learner: Any = None, *, unlabelled: Any = None) -> None:
        self.learner = learner
        self.unlabelled = unlabelled

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
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
        self.__dict__ = fresh.__dict__
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FewShotClassifier:
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
        if self.__sklearn_is_fitted__():
            self._check_same_network()
            self._add(X, y, allowed=classes)
            return self
        fresh = unfitted_copy(self)._start(X)
        fresh._add(X, y, allowed=classes)
        self.__dict__ = fresh.__dict__
        return self

    def drop_classes(self, labels: Any) -> FewShotClassifier:
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
        check_is_fitted(self)
        labels = np.atleast_1d(np.asarray(labels))
        unknown = labels[~is_known(labels, self.classes_)]
        if len(unknown):
            raise ValueError(
                f"drop_classes got labels that this classifier does not know: "
                f"{label_text(unknown)}. It knows {label_text(self.classes_)}."
            )
        keep = ~is_known(self.classes_, labels)
        if not keep.any():
            raise ValueError("drop_classes would leave no class. Fit a new classifier instead.")
        codes, n_classes = np.cumsum(keep) - 1, int(keep.sum())
        items, shown = (
            part.taken(keep[part.code]).recoded(codes, n_classes)
            for part in (self._representation, self._shown)
        )
        self._set(items, self.classes_[keep], shown, self._unlabelled)
        return self

    def predict(self, X: Any, *, reject_label: Any = None, reject_rate: float = 0.05) -> np.ndarray:
        """Predict the class of each query, or say that it is of none.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        reject_label : label or None, default=None
            What to answer for queries that look like none of the classes; of the classes' type.
            None always answers with a class.
        reject_rate : float, default=0.05
            Share of the queries of known classes that may be rejected, in [0, 1). At 0 only what
            looks less like its class than anything seen when ``fit`` of the learner ended. Only
            with ``reject_label``.

        Returns
        -------
        y : ndarray of shape (n_queries,)

        Raises
        ------
        ValueError
            If ``reject_label`` is a class or of another type, or ``reject_rate`` is no share.
        TypeError
            If the learner does not know what queries of known classes score.
        """
        if reject_label is None:
            winners = [scores.argmax(axis=1) for scores in self._score_blocks(X)]
            return self.classes_[np.concatenate(winners)]
        check_is_fitted(self)
        outside = check_reject_label(reject_label, self.classes_)
        threshold = self.rejection_threshold(reject_rate)
        labels = []
        for scores in self._score_blocks(X):
            winner = scores.argmax(axis=1)
            is_known = scores.max(axis=1) >= threshold[winner]
            labels.append(np.where(is_known, self.classes_[winner], outside))
        return np.concatenate(labels)

    def rejection_threshold(self, reject_rate: float = 0.05) -> np.ndarray:
        """Return the scores below which queries are of none of the classes.

        The learner has kept how well queries of held-out classes scored among the right classes,
        by their number and by the examples of each. With three or more examples of a class, each of
        these is scored by the others, and joins what the learner has kept.

        Parameters
        ----------
        reject_rate : float, default=0.05
            Share of the queries of known classes that may be rejected, in [0, 1).

        Returns
        -------
        threshold : float64 ndarray of shape (n_classes,)
            For queries whose highest score (:meth:`score_samples`) is that of the class.

        Raises
        ------
        ValueError
            If ``reject_rate`` is no share.
        TypeError
            If the learner does not know what queries of known classes score.
        """
        check_is_fitted(self)
        if not isinstance(reject_rate, Real) or not 0.0 <= reject_rate < 1.0:
            raise ValueError(
                f"The 'reject_rate' parameter must be a share of queries, in [0, 1). Got "
                f"{reject_rate!r}."
            )
        known = self._scores_of_examples()
        return self._network.threshold(self._context.count, float(reject_rate), known)

    def _scores_of_examples(self) -> np.ndarray:
        """Score examples by the others of their class, as if those were as many as all.

        Returns
        -------
        score : float64 ndarray of shape (n_scored_examples,)
            How much higher each scores than the median of known queries.
        """
        shown, count = self._shown, self.class_count_
        n_shown = np.bincount(shown.code, minlength=len(count))
        takes_part = (n_shown == count) & (count >= LEAST_FOR_LEAVING_OUT)
        rest = self._representation.taken(~takes_part[self._representation.code])
        shown = shown.taken(takes_part[shown.code])
        place = place_in_class(shown.code)
        ahead = [np.empty(0)]
        for fold in range(min(place.max(initial=-1) + 1, MOST_FOLDS)):
            left = place == fold
            others = self._network.represent(rest.joined(shown.taken(~left)))
            context = self._context_of(others)
            best = self._network.raw_score(context, shown.embedding[left]).max(axis=1)
            usual = self._network.known_quantile(context.count, 0.5)
            ahead.append(best - usual[shown.code[left]])
        return np.concatenate(ahead)

    def predict_proba(self, X: Any) -> np.ndarray:
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
        blocks = self._score_blocks(X)
        return np.concatenate(
            [self._network.proba(scores, self._context.count) for scores in blocks]
        )

    def decision_function(self, X: Any) -> np.ndarray:
        """Score each query against each class, larger is closer.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_classes) or (n_queries,)
            With two classes one score, positive for ``classes_[1]``: the difference of the two,
            or of what the learner turns them into for probabilities.
        """
        scores = np.concatenate(list(self._score_blocks(X)))
        return self._network.margin(scores) if scores.shape[1] == 2 else scores

    def score_samples(self, X: Any) -> np.ndarray:
        """Say how well any class explains each query, larger is more like the support.

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

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
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
        refuse_carried_support(given=False)
        check_is_fitted(self)
        self._check_known(check_labels(X, y))
        return super().score(X, y, sample_weight)

    def _check_known(self, y: np.ndarray) -> None:
        present = np.unique(y)
        unknown = present[~is_known(present, self.classes_)]
        if len(unknown) == len(present):
            raise ValueError(
                f"No label of y is known here: y has {label_text(present)}, classes_ has "
                f"{label_text(self.classes_)}. To score on new classes, adapt to a support set of "
                "them first, or use sklearn_fewshot.model_selection.EpisodicScorer as the scorer "
                "(it draws support sets from the data)."
            )
        if len(unknown):
            warnings.warn(
                f"y has labels that are not among the {len(self.classes_)} known classes "
                f"({label_text(unknown)}); they count as errors.",
                UserWarning,
                stacklevel=3,
            )

    def _start(self, X: Any) -> FewShotClassifier:
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
        return self

    def _check_same_network(self) -> None:
        """Raise if new examples would go through another network than those that are there."""
        if self.learner is None or getattr(self.learner, "_network", None) is self._network:
            return
        raise ValueError(
            f"The learner of this {type(self).__name__} was fitted again or exchanged after its "
            "examples were given: what it made of them cannot be compared with what the learner "
            "makes of others now. Call fit, or adapt the learner, with all the examples."
        )

    def _readapted(self, X: Any, y: Any) -> FewShotClassifier:
        """Return a classifier of another support set, through the same network."""
        check_is_fitted(self)
        other = copy.copy(self)
        for name in ("_representation", "_shown", "_unlabelled"):
            delattr(other, name)
        other._add(X, y)
        return other

    def _add(self, X: Any, y: Any, allowed: Any = None) -> None:
        """Join labelled examples to the representation, or leave everything as it is and raise."""
        self._network.check_takes_examples()
        X = check_X(self, X, reset=False, input_shape=self.input_shape_)
        y, is_unlabelled = self._check_support_labels(X, y)
        classes, codes = encode_labels(y)
        if allowed is not None and not is_known(classes, np.asarray(allowed)).all():
            outside = classes[~is_known(classes, np.asarray(allowed))]
            raise ValueError(f"y has labels that are not in `classes`: {label_text(outside)}.")
        warn_of_conflicts(X[~is_unlabelled] if is_unlabelled.any() else X, y)
        embedding = self._network.embed(X)
        items = shown = Representation(
            embedding[~is_unlabelled], codes.astype(np.int64), np.ones(len(codes)), len(classes)
        )
        unlabelled = embedding[is_unlabelled]
        if hasattr(self, "_representation"):
            shown, _ = joined(self._shown, self.classes_, shown, classes)
            items, classes = joined(self._representation, self.classes_, items, classes)
            unlabelled = np.concatenate([self._unlabelled, unlabelled])
        self._set(items, classes, shown, unlabelled)

    def _check_support_labels(self, X: np.ndarray, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of the examples that have one, and which examples have none."""
        if self.unlabelled is None:
            y = check_labels(X, y)
            return y, np.zeros(len(y), dtype=bool)
        y = column_or_1d(y, warn=True)
        is_unlabelled = find_unlabelled(X, y, self.unlabelled)
        labels = y[~is_unlabelled]
        if all(isinstance(label, Number) for label in labels.tolist()):
            labels = np.array(labels.tolist())  # numbers that stood beside a mark of another type
        if len(labels):
            return check_labels(X[~is_unlabelled], labels), is_unlabelled
        if not hasattr(self, "_representation"):
            raise ValueError(
                f"y has no label but {self.unlabelled!r}, which stands for none. Give at least one "
                "labelled example of each class."
            )
        return self.classes_[:0], is_unlabelled

    def _set(
        self,
        items: Representation,
        classes: np.ndarray,
        shown: Representation | None = None,
        unlabelled: Any = None,
    ) -> None:
        """Set what the classes are known by, and of the examples what is needed beside."""
        if shown is None:
            shown = Representation(items.embedding[:0], items.code[:0], items.weight[:0], 0)
        order = np.argsort(shown.code, kind="stable")
        shown = shown.taken(order[place_in_class(shown.code[order]) < MOST_SHOWN])
        self._unlabelled = items.embedding[:0] if unlabelled is None else unlabelled
        self._representation = self._network.represent(items)
        self._context = self._context_of(self._representation)
        self._shown = shown._replace(n_classes=len(classes))
        self.classes_ = classes
        self.class_count_ = items.count.astype(int)

    def _context_of(self, representation: Representation) -> Representation:
        if len(self._unlabelled):
            representation = self._network.refined(representation, self._unlabelled)
        return self._network.context(representation)

    def _score_blocks(self, X: Any) -> Iterator[np.ndarray]:
        """Score queries a block at a time, so that memory stays bounded."""
        check_is_fitted(self)
        X = check_X(self, X, reset=False, input_shape=self.input_shape_)
        batch, items = self._network.batch_size, self._context.embedding
        n_values = len(items) + items[:1].size  # a row's scores and embedding
        block = max(1, SCORES_AT_A_TIME // (batch * n_values)) * batch
        for start in range(0, len(X), block):
            embedding = self._network.embed(X[start : start + block])
            yield self._network.score(self._context, embedding)

    @classmethod
    def _of_base_classes(cls, learner: Any, unlabelled: Any = None) -> FewShotClassifier:
        """Build the classifier of a learner's own base classes."""
        return cls._of_items(learner, learner.representation_, learner.classes_, unlabelled)

    @classmethod
    def _of_items(
        cls, learner: Any, items: Representation, classes: np.ndarray, unlabelled: Any = None
    ) -> FewShotClassifier:
        """Build a classifier of what a learner knows classes by."""
        clf = cls(learner, unlabelled=unlabelled)._start(None)
        clf._set(items, classes)
        return clf

    def __sklearn_is_fitted__(self) -> bool:
        """Whether a support set has been given."""
        return hasattr(self, "_representation")

    def __sklearn_clone__(self) -> FewShotClassifier:
        """Clone without the support; a fitted learner is shared, since nothing here changes it."""
        unfitted = unfitted_copy(self)
        unfitted.learner = _shared_or_cloned(self.learner)
        return unfitted


def warn_of_conflicts(X: np.ndarray, y: np.ndarray) -> None:
    """Say which examples are given under several labels: nothing can tell their classes apart."""
    seen: dict[int, int] = {}
    conflicts = []
    samples = (sample for block in blocks_of(X) for sample in block)
    for row, sample in enumerate(samples):
        first = seen.setdefault(hash(sample.tobytes()), row)
        if y[first] != y[row]:
            conflicts.append((first, row))
    if conflicts:
        first, row = conflicts[0]
        warn_user(
            f"{len(conflicts)} examples of the support set are given under several labels: row "
            f"{row} ({label_text(y[[row]])}) equals row {first} ({label_text(y[[first]])}). "
            "Nothing tells these classes apart there. Correct the labels, or drop the rows."
        )


def find_unlabelled(X: Any, y: np.ndarray, mark: Any) -> np.ndarray:
    """Return which examples have the mark in place of a label, shape (n_samples,)."""
    if np.ndim(mark) or mark != mark:
        raise ValueError(f"unlabelled must be one label, and not NaN. Got {mark!r}.")
    if y.dtype.kind != "O" and label_kind(y) != label_kind(np.asarray([mark])):
        raise ValueError(
            f"unlabelled={mark!r} can be no label of y, which has {label_text(y)}. Use a mark of "
            "the same type."
        )
    check_labels(X, np.zeros(len(y)))  # their number: of the labels, the mark may be of any type
    return np.array([label == mark for label in y.tolist()], dtype=bool)


def check_reject_label(label: Any, classes: np.ndarray) -> np.ndarray:
    """Return the answer "none of these" as an array without axes, or raise."""
    answer = np.asarray(label)
    if answer.ndim or label_kind(answer.reshape(1)) != label_kind(classes):
        raise ValueError(
            f"reject_label must be a label of the type of the classes ({label_text(classes)}). Got "
            f"{label!r}."
        )
    if is_known(answer.reshape(1), classes)[0]:
        raise ValueError(
            f"reject_label={label!r} is one of the classes: a rejected query could not be told "
            "from one of that class. Choose another label."
        )
    return answer


def _shared_or_cloned(learner: Any) -> Any:
    if learner is None:
        return None
    try:
        check_is_fitted(learner)
    except NotFittedError:
        return clone(learner)
    return learner


def joined(
    old: Representation, old_classes: np.ndarray, new: Representation, new_classes: np.ndarray
) -> tuple[Representation, np.ndarray]:
    """Join two sets of items under the union of their classes.

    Labels of different kinds (numbers and strings) would silently become strings; they raise.
    """
    kinds = {label_kind(classes) for classes in (old_classes, new_classes) if len(classes)}
    if len(kinds) > 1:
        raise ValueError(
            f"The new labels ({label_text(new_classes)}) and the known ones "
            f"({label_text(old_classes)}) are of different types. Use one type for both."
        )
    classes = np.unique(np.concatenate([old_classes, new_classes]))
    recoded = (
        items.recoded(np.searchsorted(classes, labels), len(classes))
        for items, labels in ((old, old_classes), (new, new_classes))
    )
    return next(recoded).joined(next(recoded)), classes


class _AdaptsToExamples(Protocol):
    def adapt(self, X_support: Any, y_support: Any) -> FewShotClassifier: ...


@overload
def adapt(
    estimator: _AdaptsToExamples | FewShotClassifier,
    X_support: Any,
    y_support: Any,
    *,
    include_base: bool = ...,
    unlabelled: Any = ...,
) -> FewShotClassifier: ...


@overload
def adapt(
    estimator: Any,
    X_support: Any,
    y_support: Any,
    *,
    include_base: bool = ...,
    unlabelled: Any = ...,
) -> Any: ...


def adapt(
    estimator: Any,
    X_support: Any,
    y_support: Any,
    *,
    include_base: bool = False,
    unlabelled: Any = None,
) -> Any:
    """Adapt a fitted learner, or a pipeline or search that ends in one, to new classes.

    In a pipeline the support set passes through the fitted transformers first, which stay as they
    are; :meth:`Pipeline.predict(X, X_support=...) <sklearn.pipeline.Pipeline.predict>` hands it to
    the last step untransformed, which learners refuse.

    Parameters
    ----------
    estimator : fitted learner, Pipeline, search or FewShotClassifier
        A pipeline's last step, or a search's best estimator, must be a learner or be adapted
        already. It is not changed.
    X_support : array-like of shape (n_support, ...)
        Examples of the new classes, as the estimator's ``predict`` takes them.
    y_support : array-like of shape (n_support,)
        Their labels.
    include_base : bool, default=False
        Whether to keep the base classes beside the new ones, as in
        :meth:`ProtoNetClassifier.adapt`.
    unlabelled : label or None, default=None
        What stands in ``y_support`` for examples without a label, as in
        :meth:`ProtoNetClassifier.adapt`.

    Returns
    -------
    adapted : FewShotClassifier or Pipeline
        A :class:`FewShotClassifier`, or a pipeline of the frozen transformers that ends in one.

    Raises
    ------
    TypeError
        If the estimator is nothing that can be adapted, or is adapted already and
        ``include_base`` or ``unlabelled`` is given.
    NotFittedError
        If it is not fitted.

    See Also
    --------
    FewShotPipeline : A pipeline whose ``predict`` takes a support set.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_fewshot import ProtoNetClassifier, adapt
    >>> X, y = load_iris(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=1, validation_fraction=0.0, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), learner).fit(X[:100], y[:100])
    >>> clf = adapt(pipe, X[[0, 50, 100]], ["setosa", "versicolor", "virginica"])
    >>> clf.predict(X[[10]])
    array(['setosa'], dtype='<U10')
    """
    options: dict[str, Any] = {"include_base": True} if include_base else {}
    if unlabelled is not None:
        options["unlabelled"] = unlabelled
    return _adapted(estimator, X_support, y_support, options)


def _adapted(estimator: Any, X_support: Any, y_support: Any, options: dict[str, Any]) -> Any:
    """Adapt whatever can be; options are those that were given to :func:`adapt`."""
    if isinstance(estimator, FrozenEstimator):
        return _adapted(estimator.estimator, X_support, y_support, options)
    if hasattr(estimator, "best_estimator_"):
        return _adapted(estimator.best_estimator_, X_support, y_support, options)
    if isinstance(estimator, Pipeline):
        return _adapted_pipeline(estimator, X_support, y_support, options)
    if isinstance(estimator, FewShotClassifier):
        _refuse_options(options)
        return estimator._readapted(X_support, y_support)
    if hasattr(estimator, "refit") and hasattr(estimator, "estimator"):
        raise NotFittedError(
            f"This {type(estimator).__name__} has no best_estimator_ to adapt. Fit it first, with "
            "refit=True."
        )
    check_learner(estimator, "The estimator that is adapted, or its last step,")
    return estimator.adapt(X_support, y_support, **options)


def _refuse_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        raise TypeError(
            f"{name}={value!r} takes a learner, or a pipeline or search that ends in one. Got what "
            "is adapted already. Pass the one that was fitted on the base classes."
        )


def _adapted_pipeline(
    pipeline: Pipeline, X_support: Any, y_support: Any, options: dict[str, Any]
) -> Pipeline:
    check_is_fitted(pipeline)
    transformed = pipeline[:-1].transform(X_support) if len(pipeline) > 1 else X_support
    name, last = pipeline.steps[-1]
    steps = [
        (step, part if part is None or isinstance(part, str) else FrozenEstimator(part))
        for step, part in pipeline.steps[:-1]
    ]
    kind = FewShotPipeline if isinstance(pipeline, FewShotPipeline) else Pipeline
    return kind([*steps, (name, _adapted(last, transformed, y_support, options))])


def check_learner(estimator: Any, what: str) -> None:
    """Raise unless the estimator, named ``what`` in the error, is a fitted learner."""
    if not (hasattr(estimator, "adapt") and hasattr(estimator, "fit")):
        hint = ""
        if isinstance(estimator, Pipeline) or hasattr(estimator, "best_estimator_"):
            hint = " For pipelines and searches use sklearn_fewshot.adapt, which gives the same."
        raise InvalidParameterError(
            f"{what} must be a fitted learner, such as ProtoNetClassifier().fit(X, y). Got "
            f"{type(estimator).__name__} instead.{hint}"
        )
    check_is_fitted(estimator)


class FewShotPipeline(Pipeline):
    """A pipeline whose prediction methods take a support set and transform it too.

    ``pipe.predict(X, X_support=..., y_support=...)`` equals
    ``adapt(pipe, X_support, y_support).predict(X)``. A plain
    :class:`~sklearn.pipeline.Pipeline` passes the support on untransformed, or drops it, which
    learners refuse.

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers and a learner.
    transform_input : list of str or None, default=None
        As in :class:`~sklearn.pipeline.Pipeline`.
    memory : str, joblib.Memory or None, default=None
        As in :class:`~sklearn.pipeline.Pipeline`.
    verbose : bool, default=False
        As in :class:`~sklearn.pipeline.Pipeline`.

    See Also
    --------
    make_fewshot_pipeline : Names the steps for you.
    adapt : The same without the subclass.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_fewshot import FewShotPipeline, ProtoNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=1, validation_fraction=0.0, random_state=0)
    >>> pipe = FewShotPipeline([("scale", StandardScaler()), ("learn", learner)])
    >>> support = {"X_support": X[[0, 50, 100]], "y_support": ["setosa", "versicolor", "virginica"]}
    >>> pipe.fit(X[:100], y[:100]).predict(X[[10]], **support)
    array(['setosa'], dtype='<U10')
    """

    def predict(
        self, X: Any, *, X_support: Any = None, y_support: Any = None, **params: Any
    ) -> np.ndarray:
        """Predict classes, of the support set if there is one.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.predict`.

        Returns
        -------
        y : ndarray of shape (n_queries,)
        """
        return self._call("predict", X, X_support, y_support, **params)

    def predict_proba(
        self, X: Any, *, X_support: Any = None, y_support: Any = None, **params: Any
    ) -> np.ndarray:
        """Predict class probabilities; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.predict_proba`.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
        """
        return self._call("predict_proba", X, X_support, y_support, **params)

    def decision_function(
        self, X: Any, *, X_support: Any = None, y_support: Any = None, **params: Any
    ) -> np.ndarray:
        """Score queries against classes; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.decision_function`.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_classes) or (n_queries,)
        """
        return self._call("decision_function", X, X_support, y_support, **params)

    def score_samples(self, X: Any, *, X_support: Any = None, y_support: Any = None) -> np.ndarray:
        """Say how well any class explains each query; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        X_support, y_support : array-like or None, default=None
            Support set, given together.

        Returns
        -------
        score : ndarray of shape (n_queries,)
        """
        return self._call("score_samples", X, X_support, y_support)

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_support: Any = None,
        y_support: Any = None,
        **params: Any,
    ) -> float:
        """Return the accuracy; parameters as in :meth:`predict`.

        Parameters
        ----------
        X : array-like
            Queries.
        y : array-like of shape (n_queries,)
            True labels.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.
        X_support, y_support : array-like or None, default=None
            Support set, given together.
        **params : dict
            As in :meth:`sklearn.pipeline.Pipeline.score`.

        Returns
        -------
        accuracy : float
        """
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        return self._call("score", X, X_support, y_support, y, **params)

    def _call(
        self, method: str, X: Any, X_support: Any, y_support: Any, *args: Any, **params: Any
    ) -> Any:
        check_support_pair(X_support, y_support)
        if X_support is None:
            return getattr(super(), method)(X, *args, **params)
        return getattr(adapt(self, X_support, y_support), method)(X, *args, **params)


def make_fewshot_pipeline(
    *steps: Any, memory: Any = None, transform_input: Any = None, verbose: bool = False
) -> FewShotPipeline:
    """Build a :class:`FewShotPipeline`, naming the steps after their types.

    Parameters
    ----------
    *steps : estimators
        Transformers and a learner.
    memory : str, joblib.Memory or None, default=None
        As in :func:`sklearn.pipeline.make_pipeline`.
    transform_input : list of str or None, default=None
        As in :func:`sklearn.pipeline.make_pipeline`.
    verbose : bool, default=False
        As in :func:`sklearn.pipeline.make_pipeline`.

    Returns
    -------
    pipeline : FewShotPipeline

    See Also
    --------
    FewShotPipeline : What is built, with steps that you name.
    adapt : The same in two calls, for any pipeline.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_fewshot import ProtoNetClassifier, make_fewshot_pipeline
    >>> pipeline = make_fewshot_pipeline(StandardScaler(), ProtoNetClassifier(random_state=0))
    >>> list(pipeline.named_steps)
    ['standardscaler', 'protonetclassifier']
    """
    from sklearn.pipeline import make_pipeline

    named = make_pipeline(*steps).steps
    return FewShotPipeline(named, memory=memory, transform_input=transform_input, verbose=verbose)


def check_support_pair(X_support: Any, y_support: Any) -> None:
    """Raise if only one half of a support set is given, or it came through a plain pipeline."""
    if (X_support is None) != (y_support is None):
        given, missing = ("y_support", "X_support")
        if y_support is None:
            given, missing = missing, given
        raise ValueError(f"A support set needs both halves: got {given} without {missing}.")
    refuse_carried_support(given=X_support is not None)
