"""Zero-shot learners: new classes from attributes in place of examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ...adapted._classifier import FewShotClassifier
from ...calibration._generalized import best_handicap
from ...episodes._holdout import reserved_rows, thinned
from ...episodes._sampler import EpisodePlan, EpisodeSampler
from ...network import FittedNetwork, Representation
from ...nn import (
    DataTensor,
    DescribedModule,
    EpisodicModule,
    PairSquaredError,
    SupportSet,
    evaluating,
)
from ...nn.heads import AttributePrototypeHead, AttributeRelationHead
from ...training._attribute_regression import MAX_ROWS, attribute_regression
from ...utils._attributes import (
    ClassAttributes,
    as_class_attributes,
    check_comparable,
    check_described,
)
from ...utils._docs import with_common_parameters
from ...utils._sklearn import Interval, StrOptions
from ...utils._validation import check_aligned, check_labels, is_known, label_kind, label_text
from .._base import BaseFewShotLearner
from .._meta_learner import METRIC_CONSTRAINTS

N_CALIBRATION_ROWS = 5000
RESERVED_SHARE = 0.2  # of the training classes' samples, for calibration
ROWS_AT_A_TIME = 512


class _QuerySampler:
    """Draws episodes without support: all rows are queries.

    Parameters
    ----------
    sampler : EpisodeSampler
        Draws the rows.
    members : int ndarray of shape (n_drawn_classes,)
        Codes, in the data, of the classes that it draws from.
    n_query : int
        Most queries of a class.
    """

    def __init__(self, sampler: EpisodeSampler, members: np.ndarray, n_query: int) -> None:
        self.sampler = sampler
        self.members = members
        self.n_query = n_query
        self.n_way_ = sampler.n_way_
        self.n_clamped_ = sampler.n_clamped_

    def plan(self, n_episodes: int, rng: np.random.Generator) -> EpisodePlan:
        """Draw episodes."""
        support, query, classes = self.sampler.plan(n_episodes, rng)
        query = np.concatenate([support, query], axis=2)[:, :, : self.n_query]
        return EpisodePlan(
            support[:, :, :0], query, np.where(classes < 0, -1, self.members[classes])
        )


def without_support_set(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method say what to pass in place of a support set."""
    kinds = [p.kind for p in signature(method).parameters.values()]
    n_positional = sum(kind is not Parameter.KEYWORD_ONLY for kind in kinds) - 1  # without self

    @wraps(method)
    def checked(self: Any, *args: Any, **params: Any) -> Any:
        if len(args) > n_positional or not params.keys().isdisjoint({"X_support", "y_support"}):
            raise TypeError(
                f"{type(self).__name__}.{method.__name__} takes no support set: zero-shot "
                "learners know new classes by their attributes. Pass class_attributes=..."
            )
        return method(self, *args, **params)

    return checked


class BaseZeroShotLearner(BaseFewShotLearner):
    """Base of the learners that know classes by attributes.

    A learner defines its parameters and :meth:`_head`, which returns an
    :class:`~sklearn_fewshot.nn.heads._attributes.AttributeHead`.
    """

    _parameter_constraints = BaseFewShotLearner._parameter_constraints | {
        "seen_bias": [Interval(Real, None, None, closed="neither"), StrOptions({"auto"})],
    }
    _parameter_docs = {
        "n_shot": "Not used: episodes have no support set.",
        "n_query": "Queries of a class in a training episode.",
    }

    # ------------------------------------------------------------------ meta-training

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        class_groups: Any = None,
        class_attributes: Any = None,
    ) -> Any:
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
            with one row a class and the labels as its index, a mapping from label to vector, or
            labels and a matrix with one row a class. Attributes weigh as much as their numbers are
            big; bring them to comparable scales. None: one-hot vectors; then the learner is an
            ordinary classifier, and can never know other classes than those of y.

        Returns
        -------
        self : object
            Fitted learner. If ``fit`` raises, it is what it was before.

        Raises
        ------
        ValueError
            If a parameter or an array is malformed, there are fewer than two classes, no class
            has two examples, or a class has no attributes.
        ArithmeticError
            If training diverges: the loss is not finite.
        MemoryError
            If memory runs out; the message says what to lower.
        OSError
            If the folder ``checkpoint`` cannot be written to.
        TypeError
            If class_attributes is none of these formats.
        """
        return self._fit(X, y, groups, class_groups, class_attributes=class_attributes)

    def _check_training_data(
        self,
        X: Any,
        y: Any,
        groups: Any,
        class_groups: Any,
        seed: int,
        class_attributes: Any = None,
    ) -> Any:
        owner = type(self).__name__
        data = super()._check_training_data(X, y, None, class_groups, seed)
        groups = check_aligned("groups", groups, len(data.X))
        if class_attributes is None:
            if self.validation_classes is not None:
                raise ValueError(
                    f"{owner} has validation_classes but got no class_attributes: without "
                    "attributes nothing is known of classes that are held out. Pass them to fit, "
                    "or leave validation_classes at None."
                )
            self.class_attributes_ = None
            data = data._replace(validation=np.zeros_like(data.validation))
        else:
            described = as_class_attributes(class_attributes, owner)
            check_described(described, data.classes, owner, "y")
            self.class_attributes_ = described
            if self.seen_bias == "auto" and data.validation.any():
                reserved = reserved_rows(
                    data.codes, groups, RESERVED_SHARE, np.random.default_rng([seed, 2])
                )
                data = data._replace(reserved=reserved & ~data.validation[data.codes])
        self.attribute_mean_ = self._base_attributes().mean(axis=0)
        spread = np.abs(self._base_attributes() - self.attribute_mean_).max()
        self._attribute_unit = spread if spread > 0 else 1.0
        return data

    def _base_attributes(self) -> np.ndarray:
        """Return the attributes of the base classes, one-hot if ``fit`` got none."""
        if self.class_attributes_ is None:
            return np.eye(len(self.classes_))
        return self.class_attributes_.of(self.classes_)

    def _items(self, attributes: np.ndarray, handicap: np.ndarray | float = 0.0) -> Representation:
        """Return classes as the head knows them, from their attributes: one item a class."""
        n_classes = len(attributes)
        centred = (attributes - self.attribute_mean_) / self._attribute_unit
        columns = np.column_stack([centred, np.broadcast_to(handicap, n_classes)])
        return Representation(columns, np.arange(n_classes), np.ones(n_classes), n_classes)

    def _base_items(self, data: Any, store: DataTensor) -> Representation:
        return self._items(self._base_attributes())

    def _warn_of_limits(self, data: Any) -> None:
        # Not of classes that are small only because of what is kept for calibration.
        super()._warn_of_limits(data._replace(reserved=None))

    def _warn_of_no_validation(self, data: Any) -> None:
        if self.class_attributes_ is not None:
            super()._warn_of_no_validation(data)

    def _episode_size(self) -> dict[str, Any]:
        # The sampler wants a support example, which becomes a query.
        return {"n_way": self.n_way, "n_shot": 1, "n_query": max(1, self.n_query - 1)}

    def _sampler(self, data: Any, drawn: np.ndarray) -> Any:
        return _QuerySampler(super()._sampler(data, drawn), np.flatnonzero(drawn), self.n_query)

    def _described(self, module: EpisodicModule) -> DescribedModule:
        """Return the network with the base classes that its episodes are drawn from."""
        items = torch.from_numpy(self._items(self._base_attributes()).embedding).float()
        device = module.head.of_query.weight.device
        return DescribedModule(
            module.backbone, module.head, items.to(device), module.autocast_dtype
        )

    def _trainable(self, module: EpisodicModule, data: Any, store: DataTensor) -> EpisodicModule:
        return self._described(module)

    def _untrained(self, start: FittedNetwork | None) -> Any:
        n_attributes = len(self.attribute_mean_)
        if start is not None and start.module.head.n_attributes != n_attributes:
            raise ValueError(
                f"{type(self).__name__} has warm_start=True and was fitted with "
                f"{start.module.head.n_attributes} attributes a class. Got {n_attributes}."
            )
        return super()._untrained(start)

    def _should_refit(self, data: Any, start: Any, use_projection: bool) -> bool:
        # Even the untrained network is a regression of the training classes' attributes.
        return super()._should_refit(data, start, True)

    def _prefers_projection(self, *args: Any) -> bool:
        """The linear start of these learners is in the head, behind any backbone."""
        return False

    def _start_head(
        self, module: EpisodicModule, data: Any, store: DataTensor, sampler: Any, rng: Any
    ) -> None:
        """Start the map of the queries as a regression of the training classes' attributes."""
        rows = thinned(data.rows_of(~data.validation), data.codes, MAX_ROWS)
        centred = self._items(self._base_attributes()).embedding[:, :-1]
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        regression = attribute_regression(
            _embedded(module, store, rows).double().cpu().numpy(),
            data.codes[rows],
            centred / np.maximum(length, np.finfo(float).tiny),
            None if self.class_attributes_ is None else rng,
        )
        module.head.start_as(*(torch.from_numpy(part) for part in regression))
        super()._start_head(self._described(module), data, store, sampler, rng)

    def _calibrate(
        self, module: EpisodicModule, store: DataTensor, data: Any, held_out: np.ndarray
    ) -> None:
        """Pose the held-out classes as unseen ones beside those that were trained on."""
        if self.seen_bias != "auto":
            self.seen_bias_ = float(self.seen_bias)
            return
        if not data.validation.any():
            self.seen_bias_ = 0.0
            return
        unseen_rows = data.validation[data.codes]
        rows = np.flatnonzero(unseen_rows | data.reserved)
        rows = thinned(rows, data.codes, N_CALIBRATION_ROWS)
        codes, seen = data.codes[rows], np.flatnonzero(~data.validation)
        unseen = np.flatnonzero(data.validation)
        scores = self._scores_of_base_classes(module, store, rows)
        best_unseen, best_seen = (scores[:, side].max(dim=1) for side in (unseen, seen))
        ahead = module.head.margin(torch.stack([best_unseen.values, best_seen.values], dim=1))
        ahead = (ahead / module.head.handicap_unit).detach().double().cpu().numpy()
        winner = np.where(
            data.validation[codes],
            unseen[best_unseen.indices.cpu().numpy()],
            seen[best_seen.indices.cpu().numpy()],
        )
        self.seen_bias_ = best_handicap(ahead, winner == codes, codes, ~data.validation)

    def _scores_of_base_classes(
        self, module: EpisodicModule, store: DataTensor, rows: np.ndarray
    ) -> torch.Tensor:
        """Score rows of the training data, shape (n_rows, n_base_classes)."""
        items = self._described(module).items
        codes = torch.arange(len(items), device=items.device)
        classes = SupportSet(items[None], codes[None], torch.ones_like(codes)[None], len(items))
        with evaluating(module):
            context = module.head.context(module.head.represent(classes))
            return module.head.score(context, _embedded(module, store, rows)[None])[0]

    # ------------------------------------------------------------------ adaptation and prediction

    @without_support_set
    def adapt(self, *, class_attributes: Any, include_base: bool = False) -> FewShotClassifier:
        """Build a classifier of new classes from their attributes; nothing is trained.

        Parameters
        ----------
        class_attributes : DataFrame, mapping, (labels, matrix) or ClassAttributes
            Attributes of the new classes, in a format of ``fit``. Base classes among them must
            have the attributes that ``fit`` got.
        include_base : bool, default=False
            Whether to keep the base classes beside the new ones.

        Returns
        -------
        classifier : FewShotClassifier
            This learner is not changed. Where base classes stand beside new ones, the scores of
            base classes are lowered by ``seen_bias_``.

        Raises
        ------
        ValueError
            If the attributes are malformed or not those of ``fit``, or ``fit`` got none.
        TypeError
            If class_attributes is none of these formats, or a support set is given.
        """
        check_is_fitted(self)
        described = self._check_attributes(class_attributes)
        labels, attributes = described.labels, described.matrix
        if include_base:
            self._check_one_kind(labels)
            others = ~is_known(self.classes_, labels)
            labels = np.concatenate([labels, self.classes_[others]])
            attributes = np.concatenate([attributes, self._base_attributes()[others]])
            order = np.argsort(labels, kind="stable")
            labels, attributes = labels[order], attributes[order]
        is_seen = is_known(labels, self.classes_)
        handicap = self.seen_bias_ * (is_seen & ~is_seen.all())
        return FewShotClassifier._of_items(self, self._items(attributes, handicap), labels)

    def _check_one_kind(self, labels: np.ndarray) -> None:
        """Refuse numbers beside strings: joined, all would silently become strings."""
        if label_kind(labels) != label_kind(self.classes_):
            raise ValueError(
                f"The new labels ({label_text(labels)}) and the base classes "
                f"({label_text(self.classes_)}) are of different types. Use one type for both."
            )

    def _check_attributes(self, class_attributes: Any) -> ClassAttributes:
        owner = type(self).__name__
        if self.class_attributes_ is None:
            raise ValueError(
                f"{owner} was fitted without class_attributes and can know its base classes only. "
                "Pass the attributes of the base classes to fit."
            )
        described = as_class_attributes(class_attributes, owner)
        check_comparable(described, self.class_attributes_, owner)
        known = described.labels[is_known(described.labels, self.classes_)]
        changed = (described.of(known) != self.class_attributes_.of(known)).any(axis=1)
        if changed.any():
            raise ValueError(
                f"{label_text(known[changed])} had other attributes in the fit of {owner}. Give "
                "new classes labels of their own; base classes keep their attributes."
            )
        return described

    def _classifier(self, class_attributes: Any = None) -> FewShotClassifier:  # type: ignore[override]
        """Return the classifier of the classes described, or of the base classes."""
        check_is_fitted(self)
        if class_attributes is None:
            return FewShotClassifier._of_base_classes(self)
        return self.adapt(class_attributes=class_attributes)

    @without_support_set
    def predict(self, X: Any, *, class_attributes: Any = None) -> np.ndarray:
        """Predict the class of each query, among those described or the base classes.

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
    def predict_proba(self, X: Any, *, class_attributes: Any = None) -> np.ndarray:
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
    def decision_function(self, X: Any, *, class_attributes: Any = None) -> np.ndarray:
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
    def score_samples(self, X: Any, *, class_attributes: Any = None) -> np.ndarray:
        """Say how well any class explains each query, larger is more like the classes.

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
        self, X: Any, y: Any, sample_weight: Any = None, *, class_attributes: Any = None
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
            True labels. Unknown ones count as errors, with a warning.
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
            If no label of y is known.
        """
        check_is_fitted(self)
        if class_attributes is None:
            classifier = self._classifier_of(np.unique(check_labels(X, y)))
        else:
            classifier = self._classifier(class_attributes)
        return classifier.score(X, y, sample_weight)

    def _classifier_of(self, labels: np.ndarray) -> FewShotClassifier:
        """Return the classifier among base classes, other described classes, or both."""
        described = self.class_attributes_
        others = None if described is None else described.without(self.classes_)
        if others is None or not is_known(labels, others.labels).any():
            return self._classifier()
        include_base = bool(is_known(labels, self.classes_).any())
        return self.adapt(class_attributes=others, include_base=include_base)


def _embedded(module: EpisodicModule, store: DataTensor, rows: np.ndarray) -> torch.Tensor:
    """Embed rows of the training data, shape (n_rows, embedding_dim)."""
    with evaluating(module):
        blocks = [
            module.backbone(store.take(rows[start : start + ROWS_AT_A_TIME])).flatten(1).float()
            for start in range(0, len(rows), ROWS_AT_A_TIME)
        ]
    return torch.cat(blocks)


@with_common_parameters
class ZeroShotProtoNetClassifier(BaseZeroShotLearner):
    r"""Prototypical Network whose prototypes come from attributes of the classes.

    For new classes that there are no examples of, but a description in numbers: properties, the
    embedding of a name or a text, a picture of the ideal.

    Parameters
    ----------
    metric : str or callable, default="sqeuclidean"
        Distance between queries and prototypes: "sqeuclidean", "euclidean", "cosine" or
        "cityblock", as in scipy. A callable takes torch tensors of shape (..., n_queries, d) and
        (..., n_classes, d), is differentiable, and returns (..., n_queries, n_classes).
    scale : float or "auto", default="auto"
        Factor of the distance in the softmax, 1 in the paper. "auto" starts at sixteen over the
        median distance within training episodes.
    learn_scale : bool, default=True
        Whether training adjusts the scale.
    seen_bias : float or "auto", default="auto"
        What is taken off the scores of base classes where they stand beside new ones, which they
        otherwise nearly always beat: a distance of this much. "auto" chooses it
        at the end of ``fit`` for the best harmonic mean of the accuracies of held-out classes,
        posed as new, and of the others on a fifth of their samples that training was not shown;
        with no held-out classes it is 0.
    {common_parameters}

    Attributes
    ----------
    scale_ : float
        Scale after training.
    seen_bias_ : float
        The bias that is used.
    class_attributes_ : ClassAttributes or None
        What ``fit`` got.
    attribute_mean_ : ndarray of shape (n_attributes,)
        Mean over the base classes, which is taken off all attributes.
    {common_attributes}

    See Also
    --------
    ZeroShotRelationNetClassifier : Learns the comparison, too.
    ProtoNetClassifier : For new classes with examples.
    ClassAttributes : Attributes as one object that scikit-learn's tools pass on whole.
    sklearn_fewshot.model_selection.generalized_accuracy : Scores base and new classes together.

    Notes
    -----
    Section 2.6 of the paper: with the attributes :math:`v_k` of class ``k`` and the embedding
    network ``f``,

    .. math::

        c_k = \frac{V v_k}{\lVert V v_k \rVert}, \qquad
        P(k \mid q) \propto \exp\big(-s\, \lVert W f(q) + b - c_k \rVert^2\big)

    with learned linear maps ``V`` and ``W``; queries are not normalised. Learning rate and weight
    decay are the paper's. Training starts from a ridge regression of the attributes on the
    embedding, whose penalty is chosen by how well classes left out of it are told apart: with tens
    of classes a random start ends far below it. Attributes are centred on the mean of the base
    classes.

    Without ``class_attributes`` in ``fit`` classes get one-hot vectors: an ordinary classifier.

    References
    ----------
    J. Snell, K. Swersky and R. Zemel, "Prototypical Networks for Few-shot Learning", NIPS 2017.

    Examples
    --------
    Digits described by the segments of a display: top, the two upper sides, middle, the two lower
    sides, bottom. No picture of a 3 or a 6 is ever shown.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ZeroShotProtoNetClassifier
    >>> segments = ["1110111", "0010010", "1011101", "1011011", "0111010",
    ...             "1101011", "1101111", "1010010", "1111111", "1111011"]
    >>> attributes = {digit: [int(lit) for lit in segments[digit]] for digit in range(10)}
    >>> X, y = load_digits(return_X_y=True)
    >>> new = (y == 3) | (y == 6)
    >>> learner = ZeroShotProtoNetClassifier(max_epochs=5, random_state=0)
    >>> learner = learner.fit(X[~new] / 16, y[~new], class_attributes=attributes)
    >>> classifier = learner.adapt(class_attributes={3: attributes[3], 6: attributes[6]})
    >>> bool(classifier.score(X[new] / 16, y[new]) > 0.8)
    True
    """

    _parameter_constraints = BaseZeroShotLearner._parameter_constraints | METRIC_CONSTRAINTS

    def __init__(
        self,
        *,
        metric: Any = "sqeuclidean",
        scale: Any = "auto",
        learn_scale: bool = True,
        seen_bias: Any = "auto",
        n_way: Any = 8,
        n_shot: Any = 1,
        n_query: int = 10,
        lr: float = 1e-4,
        weight_decay: float = 1e-5,
        **common: Any,
    ) -> None:
        self.metric = metric
        self.scale = scale
        self.learn_scale = learn_scale
        self.seen_bias = seen_bias
        super().__init__(
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            lr=lr,
            weight_decay=weight_decay,
            **common,
        )

    def _head(self) -> tuple[type, dict[str, Any]]:
        return AttributePrototypeHead, {
            "n_attributes": len(self.attribute_mean_),
            "metric": self.metric,
            "scale": 1.0 if self.scale == "auto" else float(self.scale),
            "learn_scale": self.learn_scale,
        }

    def _measures_start(self, backbone: Any) -> bool:
        return self.scale == "auto"


@with_common_parameters
class ZeroShotRelationNetClassifier(BaseZeroShotLearner):
    r"""Relation Network that compares queries with attributes of the classes.

    For new classes that there are no examples of, but a description in numbers.

    Parameters
    ----------
    seen_bias : float or "auto", default="auto"
        What is taken off the scores of base classes where they stand beside new ones, which they
        otherwise nearly always beat: they are divided by ``exp(seen_bias)``. "auto" chooses it
        at the end of ``fit`` for the best harmonic mean of the accuracies of held-out classes,
        posed as new, and of the others on a fifth of their samples that training was not shown;
        with no held-out classes it is 0.
    {common_parameters}

    Attributes
    ----------
    seen_bias_ : float
        The bias that is used.
    class_attributes_ : ClassAttributes or None
        What ``fit`` got.
    attribute_mean_ : ndarray of shape (n_attributes,)
        Mean over the base classes, which is taken off all attributes.
    {common_attributes}

    See Also
    --------
    ZeroShotProtoNetClassifier : Compares by a distance: fewer weights, faster.
    RelationNetClassifier : For new classes with examples.
    ClassAttributes : Attributes as one object that scikit-learn's tools pass on whole.
    sklearn_fewshot.model_selection.generalized_accuracy : Scores base and new classes together.

    Notes
    -----
    Section 3.4 of the paper: with the attributes :math:`v_k` of class ``k``, the embedding network
    ``f``, a two-layer network ``h`` and the relation module ``g``,

    .. math::

        r_k(q) = g\big([h(v_k),\ W f(q) + b]\big) \in (0, 1)

    trained, as with examples, by squared errors on pairs of query and class. Training starts from
    a ridge regression of the attributes on the embedding, and from a relation module that is a
    distance; ``h`` starts as the identity. ``predict_proba`` divides the scores of a query by
    their sum.

    Without ``class_attributes`` in ``fit`` classes get one-hot vectors: an ordinary classifier.

    References
    ----------
    F. Sung, Y. Yang, L. Zhang, T. Xiang, P. H. S. Torr and T. M. Hospedales, "Learning to Compare:
    Relation Network for Few-Shot Learning", CVPR 2018.

    Examples
    --------
    Digits described by the segments of a display: top, the two upper sides, middle, the two lower
    sides, bottom. No picture of a 3 or a 6 is ever shown.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ZeroShotRelationNetClassifier
    >>> segments = ["1110111", "0010010", "1011101", "1011011", "0111010",
    ...             "1101011", "1101111", "1010010", "1111111", "1111011"]
    >>> attributes = {digit: [int(lit) for lit in segments[digit]] for digit in range(10)}
    >>> X, y = load_digits(return_X_y=True)
    >>> new = (y == 3) | (y == 6)
    >>> learner = ZeroShotRelationNetClassifier(max_epochs=5, random_state=0)
    >>> learner = learner.fit(X[~new] / 16, y[~new], class_attributes=attributes)
    >>> classifier = learner.adapt(class_attributes={3: attributes[3], 6: attributes[6]})
    >>> bool(classifier.score(X[new] / 16, y[new]) > 0.8)
    True
    """

    def __init__(
        self,
        *,
        seen_bias: Any = "auto",
        n_way: Any = 8,
        n_shot: Any = 1,
        n_query: int = 10,
        lr: float = 1e-4,
        weight_decay: float = 1e-5,
        **common: Any,
    ) -> None:
        self.seen_bias = seen_bias
        super().__init__(
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            lr=lr,
            weight_decay=weight_decay,
            **common,
        )

    def _head(self) -> tuple[type, dict[str, Any]]:
        return AttributeRelationHead, {"n_attributes": len(self.attribute_mean_)}

    def _measures_start(self, backbone: Any) -> bool:
        return True

    def _criterion(self) -> torch.nn.Module:
        return PairSquaredError()
