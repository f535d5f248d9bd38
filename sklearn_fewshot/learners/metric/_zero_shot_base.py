"""The base of zero-shot learners: new classes from attributes in place of examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import Parameter, signature
from numbers import Real
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ...adapted import FewShotClassifier
from ...episodes import reserved_rows
from ...network import FittedNetwork
from ...nn._embedding_module import head_of
from ...nn.heads._attributes import AttributeHead
from ...training._attribute_start import measure_seen_bias, start_from_attributes
from ...training._calibrated import represent_attributes
from ...training._config import TrainingConfig
from ...training._data import TrainingData
from ...utils._attributes import (
    AttributesLike,
    ClassAttributes,
    as_class_attributes,
    check_comparable,
    check_described,
)
from ...utils._exact_labels import join_labels
from ...utils._html import range_text
from ...utils._sklearn import Interval, StrOptions
from ...utils._typing import ArrayLike
from ...utils._validation import check_aligned, check_labels, is_known, label_kind, label_text
from .._classes import LearnsClasses

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
# Of the samples of the training classes. On samples that were trained on, base classes would score
# too well, and the penalty ``seen_bias`` would be too large.
RESERVED_SHARE = 0.2


def without_support_set(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Make a method raise on a support set, with what to pass in its place."""
    kinds = [p.kind for p in signature(method).parameters.values()]
    n_positional = sum(kind is not Parameter.KEYWORD_ONLY for kind in kinds) - 1  # without self

    @wraps(method)
    def check_and_call(self: S, /, *args: P.args, **params: P.kwargs) -> R:
        if len(args) > n_positional or not params.keys().isdisjoint({"X_support", "y_support"}):
            raise TypeError(
                f"{type(self).__name__}.{method.__name__} takes no support set: zero-shot "
                "learners represent new classes by attributes. Pass class_attributes=..."
            )
        return method(self, *args, **params)

    return check_and_call


class BaseZeroShotLearner(ClassifierMixin, LearnsClasses):
    """Base of the learners that represent classes by attributes.

    A learner defines its parameters and :meth:`_head`, which returns an
    :class:`~sklearn_fewshot.nn.heads._attributes.AttributeHead`.
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "seen_bias": [Interval(Real, None, None, closed="neither"), StrOptions({"auto"})],
    }
    _parameter_docs = {
        "n_shot": "Not used: episodes have no support set.",
        "rotate_support": "Not used: episodes have no support set.",
    }

    # ------------------------------------------------------------------ meta-training

    def _rotates(self) -> bool:
        return False

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        class_groups: ArrayLike | None = None,
        class_attributes: AttributesLike | None = None,
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
            Without effect: there is no support set that a query could share a group with.
        class_groups : array-like of shape (n_samples,) or None, default=None
            Alphabet, genus, ... of a sample's class: classes of one group stay on one side of the
            validation split.
        class_attributes : DataFrame, mapping, (labels, matrix), ClassAttributes or None, \
default=None
            Attributes of the classes of y, and of others if you like (see ``score``): a DataFrame
            with one row per class and the labels as its index, a mapping from label to vector, or
            labels and a matrix with one row per class. Attributes of larger scale have more weight;
            bring them to comparable scales. None: one-hot vectors; then the learner is an ordinary
            classifier, and cannot be adapted to other classes than those of y.

        Returns
        -------
        self : object
            Fitted learner. If ``fit`` raises, it is unchanged.

        Raises
        ------
        ValueError
            If a parameter or an array is malformed, there are fewer than two classes, no class
            has two examples, or a class has no attributes.
        ArithmeticError
            If training diverges: the loss is not finite.
        MemoryError
            If memory runs out; the message names the parameters to lower.
        OSError
            If the folder ``checkpoint`` cannot be written to.
        TypeError
            If class_attributes has another format.
        """
        return self._fit(
            X, y, groups=groups, class_groups=class_groups, class_attributes=class_attributes
        )

    def _check_data(
        self,
        X: ArrayLike,
        y: ArrayLike,
        seed: int,
        *,
        groups: ArrayLike | None = None,
        class_groups: ArrayLike | None = None,
        class_attributes: AttributesLike | None = None,
        **options: Any,
    ) -> TrainingData:
        owner = type(self).__name__
        data = super()._check_data(X, y, seed, class_groups=class_groups)
        groups = check_aligned("groups", groups, len(data.X))
        if class_attributes is None:
            if self.validation_classes is not None:
                raise ValueError(
                    f"{owner} has validation_classes but got no class_attributes: without "
                    "attributes held-out classes cannot be scored. Pass class_attributes to fit, "
                    "or leave validation_classes at None."
                )
            self.class_attributes_ = None
            data = data.with_all_classes()
        else:
            given = as_class_attributes(class_attributes, owner)
            check_described(given, data.classes, owner, "y")
            self.class_attributes_ = given
            if self.seen_bias == "auto" and data.validation.any():
                rng = np.random.default_rng([seed, 2])
                reserved = reserved_rows(data.codes, groups, RESERVED_SHARE, rng)
                data = data._replace(reserved=reserved & data.training[data.codes])
        self.attribute_mean_ = self._base_attributes().mean(axis=0)
        spread = np.abs(self._base_attributes() - self.attribute_mean_).max()
        self._attribute_unit = spread if spread > 0 else 1.0
        return data._replace(attributes=self._rows_of_head(self._base_attributes()))

    def _base_attributes(self) -> np.ndarray:
        """Return the attributes of the base classes, one-hot if ``fit`` got none."""
        if self.class_attributes_ is None:
            return np.eye(len(self.classes_))
        return self.class_attributes_.of(self.classes_)

    def _rows_of_head(
        self, attributes: np.ndarray, penalty: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Return the input of the head: centred attributes and, as last column, a penalty."""
        centred = (attributes - self.attribute_mean_) / self._attribute_unit
        return np.column_stack([centred, np.broadcast_to(penalty, len(attributes))])

    def _wants_validation(self) -> bool:
        return super()._wants_validation() and self.class_attributes_ is not None

    def _trained_on(self) -> str:
        return f"{range_text(self.n_way_)}-way episodes of attributes and queries"

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        chooses = self.class_attributes_ is not None
        is_auto = self.seen_bias == "auto"
        given = 0.0 if is_auto else float(self.seen_bias)
        return config.replace(
            may_project=False,  # the linear initialisation is in the head, after any backbone
            refits_start=True,  # even the untrained network is a regression of training classes
            start=partial(
                start_from_attributes,
                chooses_penalty=chooses,
                measures_scale=self._measures_start(),
            ),
            measure=measure_seen_bias if is_auto else lambda module, task: {"seen_bias_": given},
        )

    def _measures_start(self, backbone: Any = None) -> bool:
        return True

    def _check_start(self, start: FittedNetwork | None) -> None:
        if start is None:
            return
        n_attributes = len(self.attribute_mean_)
        head = head_of(start.module, AttributeHead)
        if head.n_attributes != n_attributes:
            raise ValueError(
                f"{type(self).__name__} has warm_start=True and was fitted with "
                f"{head.n_attributes} attributes per class. Got {n_attributes}."
            )

    # ------------------------------------------------------------------ adaptation and prediction

    @without_support_set
    def adapt(
        self, *, class_attributes: AttributesLike, include_base: bool = False
    ) -> FewShotClassifier:
        """Build a classifier of new classes from their attributes; nothing is trained.

        Parameters
        ----------
        class_attributes : DataFrame, mapping, (labels, matrix) or ClassAttributes
            Attributes of the new classes, in a format of ``fit``. Base classes among them must
            have the attributes that ``fit`` got.
        include_base : bool, default=False
            Whether to keep the base classes together with the new ones.

        Returns
        -------
        classifier : FewShotClassifier
            This learner is not changed. If it has both base and new classes, the penalty
            ``seen_bias_`` applies to the scores of base classes.

        Raises
        ------
        ValueError
            If the attributes are malformed or not those of ``fit``, or ``fit`` got none.
        TypeError
            If class_attributes has another format, or a support set is given.
        """
        check_is_fitted(self)
        checked = self._check_attributes(class_attributes)
        labels, attributes = checked.labels, checked.matrix
        if include_base:
            self._check_one_kind(labels)
            others = ~is_known(self.classes_, labels)
            labels = join_labels(labels, self.classes_[others])
            attributes = np.concatenate([attributes, self._base_attributes()[others]])
            order = np.argsort(labels, kind="stable")
            labels, attributes = labels[order], attributes[order]
        is_seen = is_known(labels, self.classes_)
        penalty = self.seen_bias_ * (is_seen & ~is_seen.all())
        rows = self._rows_of_head(attributes, penalty)
        items = represent_attributes(self._network, rows)
        return FewShotClassifier._of_items(self, items, labels)

    def _check_one_kind(self, labels: np.ndarray) -> None:
        """Raise on numbers together with strings: numpy would silently make all strings."""
        if label_kind(labels) != label_kind(self.classes_):
            raise ValueError(
                f"The new labels ({label_text(labels)}) and the base classes "
                f"({label_text(self.classes_)}) are of different types. Use one type for both."
            )

    def _check_attributes(self, class_attributes: AttributesLike) -> ClassAttributes:
        owner = type(self).__name__
        if self.class_attributes_ is None:
            raise ValueError(
                f"{owner} was fitted without class_attributes and has its base classes only. "
                "Pass the attributes of the base classes to fit."
            )
        given = as_class_attributes(class_attributes, owner)
        check_comparable(given, self.class_attributes_, owner)
        base = given.labels[is_known(given.labels, self.classes_)]
        changed = (given.of(base) != self.class_attributes_.of(base)).any(axis=1)
        if changed.any():
            raise ValueError(
                f"{label_text(base[changed])} had other attributes in the fit of {owner}. Give "
                "new classes labels of their own; base classes keep their attributes."
            )
        return given

    def _classifier(self, class_attributes: AttributesLike | None = None) -> FewShotClassifier:
        """Return the classifier of the classes with these attributes, or of the base classes."""
        check_is_fitted(self)
        if class_attributes is None:
            return self._base_classifier()
        return self.adapt(class_attributes=class_attributes)

    @without_support_set
    def predict(
        self, X: ArrayLike, *, class_attributes: AttributesLike | None = None
    ) -> np.ndarray:
        """Predict the class of each query, among those of ``class_attributes`` or the base classes.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        class_attributes : DataFrame, mapping, (labels, matrix), ClassAttributes or None, \
default=None
            Attributes of the classes to choose from, as in ``adapt``; None for the base classes.

        Returns
        -------
        y : ndarray of shape (n_queries,)

        Raises
        ------
        ValueError
            If an array does not fit the learner.
        """
        return self._classifier(class_attributes).predict(X)

    @without_support_set
    def predict_proba(
        self, X: ArrayLike, *, class_attributes: AttributesLike | None = None
    ) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        class_attributes : DataFrame, mapping, (labels, matrix), ClassAttributes or None, \
default=None
            Attributes of the classes to choose from, as in ``adapt``; None for the base classes.

        Returns
        -------
        proba : ndarray of shape (n_queries, n_classes)
            Columns in the sorted order of the labels.
        """
        return self._classifier(class_attributes).predict_proba(X)

    @without_support_set
    def decision_function(
        self, X: ArrayLike, *, class_attributes: AttributesLike | None = None
    ) -> np.ndarray:
        """Score each query against each class, larger is closer.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        class_attributes : DataFrame, mapping, (labels, matrix), ClassAttributes or None, \
default=None
            Attributes of the classes to choose from, as in ``adapt``; None for the base classes.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_classes) or (n_queries,)
            With two classes one score, positive for the second.
        """
        return self._classifier(class_attributes).decision_function(X)

    @without_support_set
    def score_samples(
        self, X: ArrayLike, *, class_attributes: AttributesLike | None = None
    ) -> np.ndarray:
        """Score each query as an inlier of any class, larger is more similar to the classes.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        class_attributes : DataFrame, mapping, (labels, matrix), ClassAttributes or None, \
default=None
            Attributes of the classes to choose from, as in ``adapt``; None for the base classes.

        Returns
        -------
        score : ndarray of shape (n_queries,)
        """
        return self._classifier(class_attributes).score_samples(X)

    @without_support_set
    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        class_attributes: AttributesLike | None = None,
    ) -> float:
        """Return the accuracy.

        Without ``class_attributes`` the classes to choose from are: the base classes if y has only
        such labels; all other classes that ``fit`` got attributes of if y has only labels of
        these; both together if y has both. They never depend on which of these classes happen to
        be in y. So cross-validation over folds of classes
        (:class:`~sklearn_fewshot.model_selection.ClassKFold`) measures zero-shot accuracy if
        ``fit`` gets the attributes of all classes.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or (n_queries, *input_shape)
            Queries.
        y : array-like of shape (n_queries,)
            True labels. Labels that are not among the classes count as errors, with a warning.
        sample_weight : array-like of shape (n_queries,) or None, default=None
            Weights.
        class_attributes : DataFrame, mapping, (labels, matrix), ClassAttributes or None, \
default=None
            Attributes of the classes to choose from, as in ``adapt``.

        Returns
        -------
        accuracy : float

        Raises
        ------
        ValueError
            If no label of y is among the classes.
        """
        check_is_fitted(self)
        if class_attributes is None:
            classifier = self._classifier_of(np.unique(check_labels(X, y)))
        else:
            classifier = self._classifier(class_attributes)
        return classifier.score(X, y, sample_weight)

    def _classifier_of(self, labels: np.ndarray) -> FewShotClassifier:
        """Return the classifier of base classes, of other classes with attributes, or of both."""
        fitted = self.class_attributes_
        others = None if fitted is None else fitted.without(self.classes_)
        if others is None or not is_known(labels, others.labels).any():
            return self._classifier()
        include_base = bool(is_known(labels, self.classes_).any())
        return self.adapt(class_attributes=others, include_base=include_base)
