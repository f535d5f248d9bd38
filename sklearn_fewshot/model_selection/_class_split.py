"""Splits that share no class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from sklearn.utils import check_random_state

from ..utils._typing import ArrayLike, RandomState
from ..utils._validation import (
    check_aligned,
    check_labels,
    encode_labels,
    group_of_class,
)

TORN_CLASS = (
    "The groups of {} are groups of classes, one for each class. {{torn}}. Groups of samples (who "
    "drew or spoke) belong to fit and to EpisodicScorer; metadata routing keeps them away from "
    "here. Tasks that have labels in common "
    "are split by scikit-learn's GroupKFold."
)


class _SplitsClasses:
    """Splits of classes, or of groups of classes, for the splitters of groups to inherit."""

    # With metadata routing, groups are those of samples: they are not for splits of classes.
    __metadata_request__split = {"groups": False, "class_groups": True}

    def split(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        class_groups: ArrayLike | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the rows of both sides.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples; only their number matters.
        y : array-like of shape (n_samples,)
            Labels.
        groups : array-like of shape (n_samples,) or None, default=None
            The same as ``class_groups``, under the name that scikit-learn passes it by.
        class_groups : array-like of shape (n_samples,) or None, default=None
            Alphabet, genus, ...: classes of one group stay on one side.

        Yields
        ------
        train, test : ndarray
            Rows of the two sides.
        """
        rows = super().split(X, y, _one_of(self, groups, class_groups))  # type: ignore[misc]
        yield from rows

    def get_n_splits(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        class_groups: ArrayLike | None = None,
    ) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups, class_groups : object
            Without effect; what searches pass to :meth:`split` they also pass here.

        Returns
        -------
        n_splits : int
        """
        return int(super().get_n_splits())  # type: ignore[misc]


class ClassKFold(_SplitsClasses, GroupKFold):
    """K folds of classes: the classes of a test fold are in no training fold.

    For learners that will meet new classes: ``cross_val_score(learner, X, y, cv=ClassKFold(5),
    scoring=EpisodicScorer())``. Every class is in one test fold, and the folds have about equally
    many classes.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether classes go to folds in random order instead of that of their labels.
    random_state : int, RandomState instance or None, default=None
        Seed of that order; only with ``shuffle``.

    See Also
    --------
    ClassShuffleSplit : Random class splits, any number of them.
    sklearn.model_selection.GroupKFold : The same for groups that are not the classes.

    Notes
    -----
    Classes of one of the ``class_groups`` (alphabets, genera) stay on one side, as in a learner's
    ``fit``. scikit-learn's functions pass them as ``groups``; with metadata routing enabled they
    pass ``class_groups``, and ``groups`` only to what takes groups of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import ClassKFold
    >>> y = np.array(["ant", "bee", "cat", "ant", "bee", "cat"])
    >>> for train, test in ClassKFold(n_splits=3).split(y, y):
    ...     print(y[train], y[test])
    ['bee' 'cat' 'bee' 'cat'] ['ant' 'ant']
    ['ant' 'cat' 'ant' 'cat'] ['bee' 'bee']
    ['ant' 'bee' 'ant' 'bee'] ['cat' 'cat']
    >>> groups = ["insect", "insect", "mammal"] * 2
    >>> for train, test in ClassKFold(n_splits=2).split(y, y, groups):
    ...     print(y[train], y[test])
    ['cat' 'cat'] ['ant' 'bee' 'ant' 'bee']
    ['ant' 'bee' 'ant' 'bee'] ['cat' 'cat']
    """

    def __init__(
        self, n_splits: int = 5, *, shuffle: bool = False, random_state: RandomState = None
    ) -> None:
        super().__init__(n_splits, shuffle=shuffle, random_state=random_state)

    def _iter_test_indices(
        self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None
    ) -> Iterator[np.ndarray]:
        unit, n_classes = _class_units(self, X, y, groups)
        if self.n_splits > len(n_classes):
            raise ValueError(
                f"The 'n_splits' parameter of {type(self).__name__} must be at most the number of "
                f"{_unit_name(groups)}, {len(n_classes)}. Got {self.n_splits}."
            )
        fold = self._fold_of_unit(n_classes)[unit]
        for number in range(self.n_splits):
            yield np.flatnonzero(fold == number)

    def _fold_of_unit(self, n_classes: np.ndarray) -> np.ndarray:
        """Put each unit into the fold that has fewest classes by then, big units first.

        Random order stands in for big-first, else units of different sizes would always go to the
        same folds.
        """
        if self.shuffle:
            order = check_random_state(self.random_state).permutation(len(n_classes))
        else:
            order = np.argsort(-n_classes, kind="stable")
        filled = np.zeros(self.n_splits, dtype=np.intp)
        fold = np.empty(len(n_classes), dtype=np.intp)
        for unit in order:
            fold[unit] = np.argmin(filled)
            filled[fold[unit]] += n_classes[unit]
        return fold


class ClassShuffleSplit(_SplitsClasses, GroupShuffleSplit):
    """Random splits of the classes: no class is on both sides.

    With few classes the choice of the test classes decides more than anything else. Ten random
    splits, with the learner trained anew on each, show how much.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.
    test_size : float, int or None, default=None
        Share (rounded up) or number of the classes to test on. None: what ``train_size`` leaves,
        or 0.2.
    train_size : float, int or None, default=None
        Share (rounded down) or number of the classes to train on. None: what is left.
    random_state : int, RandomState instance or None, default=None
        Seed of the splits.

    See Also
    --------
    ClassKFold : Every class is tested once.
    sklearn.model_selection.GroupShuffleSplit : The same for groups that are not the classes.

    Notes
    -----
    Classes of one of the ``class_groups`` (alphabets, genera) stay on one side, as in a learner's
    ``fit``, and the sizes count groups. Without metadata routing, scikit-learn's functions pass
    them as ``groups``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import ClassShuffleSplit
    >>> y = np.repeat(np.arange(10), 3)
    >>> for train, test in ClassShuffleSplit(n_splits=2, test_size=3, random_state=0).split(y, y):
    ...     print(np.unique(y[train]), np.unique(y[test]))
    [0 1 3 5 6 7 9] [2 4 8]
    [0 2 4 6 7 8 9] [1 3 5]
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | int | None = None,
        train_size: float | int | None = None,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            n_splits, test_size=test_size, train_size=train_size, random_state=random_state
        )

    def _iter_indices(
        self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        unit, n_classes = _class_units(self, X, y, groups)
        try:
            yield from super()._iter_indices(X, y, unit)
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__} splits {_unit_name(groups)}, of which there are "
                f"{len(n_classes)}; they are what test_size and train_size count. Got "
                f"test_size={self.test_size!r}, train_size={self.train_size!r}."
            ) from error


def _one_of(
    splitter: Any, groups: ArrayLike | None, class_groups: ArrayLike | None
) -> ArrayLike | None:
    if groups is not None and class_groups is not None:
        raise ValueError(
            f"{type(splitter).__name__} takes groups of classes, as class_groups or as groups: got "
            "both. Groups of samples (who drew or spoke) belong to fit and to EpisodicScorer."
        )
    return class_groups if groups is None else groups


def _class_units(
    splitter: Any, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what stays together: classes, or groups of classes.

    Returns
    -------
    unit : ndarray of shape (n_samples,)
        Number of each row's unit.
    n_classes : ndarray of shape (n_units,)
        Classes in each unit.
    """
    classes, codes = encode_labels(check_labels(X, y))
    given = check_aligned("groups", groups, len(codes))
    if given is None:
        return codes, np.ones(len(classes), dtype=np.intp)
    owners = group_of_class(codes, given, classes, TORN_CLASS.format(type(splitter).__name__))
    return owners[codes], np.bincount(owners)


def _unit_name(groups: ArrayLike | None) -> str:
    return "classes" if groups is None else "groups of classes"
