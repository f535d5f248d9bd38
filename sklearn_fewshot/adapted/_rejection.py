"""Rejection of outliers: thresholds on the scores of queries."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from ..episodes import place_in_class
from ..network import FittedNetwork, Representation
from ..utils._exact_labels import join_labels
from ..utils._validation import is_known, label_kind, label_text
from ..utils._warnings import warn_user
from ._examples import Examples

Refine = Callable[[Representation, np.ndarray, Representation], tuple[Representation, np.ndarray]]

DEFAULT_RATE = 0.05  # of `predict`
LEAST_TO_LEAVE_OUT = 3  # examples per class: with two, a class would be scored by a single one
MOST_FOLDS = 10  # bounds the cost: each fold condenses and adapts once more


def check_reject_label(label: Any, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and label of rejected queries in a type that holds both, or raise."""
    reject_label = np.asarray(label)
    if reject_label.ndim or label_kind(reject_label.reshape(1)) != label_kind(classes):
        raise ValueError(
            f"reject_label must be a label of the type of the classes ({label_text(classes)}). Got "
            f"{label!r}."
        )
    if is_known(reject_label.reshape(1), classes)[0]:
        raise ValueError(
            f"reject_label={label!r} is one of the classes: a rejected query could not be "
            "distinguished from one of that class. Choose another label."
        )
    both = join_labels(classes, reject_label.reshape(1))
    return both[:-1], both[-1]


def check_reject_rate(reject_rate: float, *, is_used: bool = True) -> float:
    """Return the share of inliers that may be rejected, or raise; warn if it is without effect."""
    if not isinstance(reject_rate, Real) or not 0.0 <= reject_rate < 1.0:
        raise ValueError(
            f"The 'reject_rate' parameter must be a share of queries, in [0, 1). Got "
            f"{reject_rate!r}."
        )
    if not is_used and reject_rate != DEFAULT_RATE:
        warn_user(
            f"reject_rate={reject_rate!r} has no effect without reject_label, the label that "
            "rejected queries get. Pass one, such as 'none' or -1."
        )
    return float(reject_rate)


def leave_one_out_scores(
    network: FittedNetwork,
    items: Representation,
    shown: Examples,
    refine: Refine,
) -> np.ndarray:
    """Return leave-one-out scores of the support examples (by folds if a class has many).

    Differences to the median score of inliers make scores with fewer examples comparable. Copies of
    an example are left out together.

    Parameters
    ----------
    network : FittedNetwork
        Scores.
    items : Representation
        Representation of the classes.
    shown : Examples
        Encoded examples. Only classes all of whose examples are stored have leave-one-out scores.
    refine : callable
        Refines condensed items by the unlabelled examples, given the numbers of distinct examples
        and the stored labelled ones, too.

    Returns
    -------
    score : float64 ndarray of shape (n_scored_examples,)
        Difference to the median score of inliers, which is fitted on held-out classes.
    """
    count, examples = items.class_count, shown.items
    n_distinct = count - shown.n_copies
    takes_part = (examples.class_count == count) & (n_distinct >= LEAST_TO_LEAVE_OUT)
    rest = items.take(~takes_part[items.code])
    others = examples.take(~takes_part[examples.code])
    examples = examples.take(takes_part[examples.code])
    # By the examples, not by their order: what is left out together matters to heads that read the
    # support set as a whole.
    axis = np.cos(np.arange(examples.embedding[:1].size)).reshape(-1)
    key = [row.reshape(-1) @ axis for row in examples.embedding]
    examples = examples.take(np.lexsort((key, examples.code)))
    place = place_in_class(examples.code)
    scores = [np.empty(0)]
    for fold in range(min(place.max(initial=-1) + 1, MOST_FOLDS)):
        left = place == fold
        code, kept = examples.code[left], examples.take(~left)
        n_left = np.bincount(code, minlength=len(count))
        condensed = network.condense(rest.join(kept))
        refined, without = refine(condensed, n_distinct - n_left, others.join(kept))
        state = network.adapt(refined)
        rows = examples.embedding[left]
        best = network.predict_uncorrected(state, rows, len(count)).max(axis=1)
        # The left-out example lowers the count of its class, which the median accounts for.
        scores.append(best - network.inlier_quantile(without, 0.5)[code])
    return np.concatenate(scores)
