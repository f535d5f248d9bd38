"""Learning curves over the number of base classes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import cross_val_score

from ..utils._typing import ArrayLike, Estimator, Scoring
from ._class_split import ClassShuffleSplit
from ._episodic import EpisodicScorer


def class_learning_curve(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    train_sizes: ArrayLike,
    cv: Estimator = None,
    scoring: Scoring | None = None,
    class_groups: ArrayLike | None = None,
    params: Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Score an estimator that is trained on more and more classes, on the same new ones.

    Shows whether more classes to meta-train on would improve the score. In
    :func:`~sklearn.model_selection.learning_curve` the sizes count rows, which are cut off at the
    end: small sizes contain the classes of the first rows only, and the last of them in part.

    Parameters
    ----------
    estimator : learner, or a pipeline or search that ends in one
        It is cloned and trained for each size and split.
    X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
        Samples.
    y : array-like of shape (n_samples,)
        Their labels.
    train_sizes : array-like of int
        Numbers of classes to train on; of groups of classes if the splits are of groups.
    cv : ClassShuffleSplit or None, default=None
        Which classes are tested, and how often, with an integer seed. Its ``train_size`` is
        replaced. None: five splits with a fifth of the classes on the test side.
    scoring : str, callable or None, default=None
        Scorer; None for ``EpisodicScorer()``.
    class_groups : array-like of shape (n_samples,) or None, default=None
        Groups of classes for ``cv``, without metadata routing.
    params : dict or None, default=None
        As in :func:`~sklearn.model_selection.cross_val_score`: passed to ``fit``, or routed.
    n_jobs : int or None, default=None
        Splits that are processed at the same time.

    Returns
    -------
    train_sizes : ndarray of shape (n_sizes,)
        Numbers of classes trained on.
    test_scores : ndarray of shape (n_sizes, n_splits)
        Scores on the test classes.

    Raises
    ------
    ValueError
        If a size is not an integer, the splits have no integer seed, or there are too few classes.

    See Also
    --------
    ClassShuffleSplit : Makes the splits.
    sklearn.model_selection.learning_curve : The same over the number of rows.

    Notes
    -----
    Within a split all sizes have the same test classes, and larger sets of classes contain the
    smaller ones: compare sizes by the differences within splits. There are no training scores,
    since episodes of training classes are no estimate for new ones.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> from sklearn_fewshot.model_selection import class_learning_curve
    >>> X, y = make_blobs(900, n_features=5, centers=30, random_state=0)
    >>> X = np.hstack([X, np.random.default_rng(0).normal(scale=10, size=(900, 15))])
    >>> learner = ProtoNetClassifier(max_epochs=1, random_state=0)
    >>> sizes, scores = class_learning_curve(learner, X, y, train_sizes=[6, 24])
    >>> scores.shape
    (2, 5)
    >>> few, many = scores.mean(axis=1)
    >>> bool(few < many)
    True
    """
    sizes = _check_sizes(train_sizes)
    cv = _check_splitter(cv)
    scores = [
        cross_val_score(
            estimator,
            X,
            y,
            groups=class_groups,
            cv=_with_train_size(cv, int(size)),
            scoring=EpisodicScorer() if scoring is None else scoring,
            params=params,
            n_jobs=n_jobs,
            error_score="raise",
        )
        for size in sizes
    ]
    return sizes, np.array(scores)


def _check_sizes(train_sizes: ArrayLike) -> np.ndarray:
    sizes = np.asarray(train_sizes)
    if sizes.ndim != 1 or len(sizes) == 0 or sizes.dtype.kind not in "iu":
        raise ValueError(
            "The 'train_sizes' parameter of class_learning_curve must be a list of ints, numbers "
            f"of classes. Got {train_sizes!r}."
        )
    return sizes


def _check_splitter(cv: Estimator) -> ClassShuffleSplit:
    if cv is None:
        return ClassShuffleSplit(n_splits=5, random_state=0)
    if not isinstance(cv, ClassShuffleSplit) or not isinstance(cv.random_state, Integral):
        raise ValueError(
            "The 'cv' parameter of class_learning_curve must be a ClassShuffleSplit with an "
            "integer random_state, so that all sizes have the same test classes. Got "
            f"{cv!r}."
        )
    return cv


def _with_train_size(cv: ClassShuffleSplit, size: int) -> ClassShuffleSplit:
    """Return splits with the same test sides; equal seeds permute the classes equally."""
    sized = copy.copy(cv)
    sized.train_size = size
    if sized.test_size is None:
        sized.test_size = 0.2  # else it would be the complement of the training side
    return sized
