"""Base and new classes together: the accuracies, and the penalty, against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_fewshot.calibration import best_penalty, harmonic_mean
from sklearn_fewshot.model_selection import generalized_accuracy

SEEDS = st.integers(0, 2**32 - 1)


def accuracy_by_loops(y_true, y_pred, classes):
    """Return the mean over classes of the share of each that was recognised."""
    shares = []
    for label in sorted(set(y_true) & set(classes)):
        hits = [p == t for t, p in zip(y_true, y_pred, strict=True) if t == label]
        shares.append(sum(hits) / len(hits))
    return sum(shares) / len(shares)


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize("names", [np.arange(6), np.array(list("fbdace")), -7 * np.arange(6)])
@given(seed=SEEDS)
def test_accuracies_equal_plain_loops(names, seed):
    rng = np.random.default_rng(seed)
    y_true = names[np.concatenate([np.arange(6), rng.integers(6, size=20)])]
    y_pred = np.where(rng.random(26) < 0.5, y_true, names[rng.integers(6, size=26)])
    base = names[: rng.integers(1, 6)]
    result = generalized_accuracy(y_true, y_pred, np.append(base, names[0]))
    seen = accuracy_by_loops(y_true, y_pred, base)
    unseen = accuracy_by_loops(y_true, y_pred, set(names) - set(base))
    assert result.seen == pytest.approx(seen)
    assert result.unseen == pytest.approx(unseen)
    mean = 0.0 if seen * unseen == 0 else 1 / ((1 / seen + 1 / unseen) / 2)
    assert result.harmonic_mean == pytest.approx(mean)


def test_base_classes_without_samples_do_not_count():
    result = generalized_accuracy(["a", "b"], ["a", "b"], ["a", "x", "y", "z"])
    assert result == (1.0, 1.0, 1.0)


def test_classes_count_equally():
    y_true = [0] * 99 + [1] + [2]
    assert generalized_accuracy(y_true, [0] * 100 + [2], [0, 1]).seen == 0.5


def test_lists_arrays_and_numbers_of_any_kind_are_taken():
    expected = (0.5, 1.0, pytest.approx(2 / 3))
    assert generalized_accuracy([1, 2, 3], [1, 1, 3], [1, 2]) == expected
    assert generalized_accuracy(np.array([1.0, 2.0, 3.0]), [1, 1, 3], np.array([1, 2])) == expected
    objects = np.array(["a", "b", "c"], dtype=object)
    assert generalized_accuracy(objects, ["a", "a", "c"], objects[:2]) == expected


@pytest.mark.parametrize(("base", "n_base"), [([1, 2, 3], 3), ([7], 0), (["1"], 0)])
def test_both_sides_must_have_samples(base, n_base):
    match = f"samples of base and of new classes. Got 1, 2, 3, of which {n_base} are base classes"
    with pytest.raises(ValueError, match=match):
        generalized_accuracy([1, 2, 3], [1, 2, 3], base)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        ([1, 2, 3], [1, 2], "inconsistent numbers of samples: 2 and 3"),
        ([1, 2, 3], [[1, 1], [2, 2], [3, 3]], "1d array"),
        ([1, 2, np.nan], [1, 2, 3], "y_true contains NaN"),
    ],
)
def test_labels_are_one_a_sample(y_true, y_pred, match):
    with pytest.raises(ValueError, match=match):
        generalized_accuracy(y_true, y_pred, [1])


# ------------------------------------------------------------------ penalty


def harmonic_mean_at(penalty, ahead, right, codes, is_seen):
    """Decide with the penalty, and score the decisions."""
    sides = {True: [], False: []}
    for k in np.unique(codes):
        rows = codes == k
        chosen_seen = ahead[rows] - penalty > 0
        sides[bool(is_seen[k])].append(np.mean((chosen_seen == is_seen[k]) & right[rows]))
    seen, unseen = (np.mean(sides[side]) if sides[side] else 0.0 for side in (True, False))
    return 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0


@given(seed=SEEDS, n=st.integers(1, 40), ties=st.booleans())
def test_the_penalty_is_the_best_there_is(seed, n, ties):
    """Also with classes that have no sample, and with equal leads."""
    rng = np.random.default_rng(seed)
    codes, is_seen = rng.integers(8, size=n), rng.random(8) < 0.5
    ahead = rng.integers(-3, 4, size=n).astype(float) if ties else rng.normal(size=n)
    given_ = (ahead, rng.random(n) < 0.7, codes, is_seen)
    places = np.unique(ahead)
    thresholds = [-1e6, *(places[1:] + places[:-1]) / 2, 1e6]
    best = max(harmonic_mean_at(t, *given_) for t in thresholds)
    penalty = best_penalty(*given_)
    assert np.isfinite(penalty)
    if best > 0:
        assert harmonic_mean_at(penalty, *given_) == pytest.approx(best)
    else:
        assert penalty == 0.0


def test_the_order_of_the_samples_does_not_matter():
    rng = np.random.default_rng(0)
    ahead, right, codes = rng.normal(size=50), rng.random(50) < 0.8, rng.integers(6, size=50)
    is_seen, order = np.arange(6) < 3, rng.permutation(50)
    expected = best_penalty(ahead, right, codes, is_seen)
    assert best_penalty(ahead[order], right[order], codes[order], is_seen) == expected


def test_a_lead_of_all_seen_classes_is_taken_back():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(6), 50)
    is_seen = np.arange(6) < 3
    ahead = np.where(is_seen[codes], 1.0, -1.0) + 5.0 + 0.1 * rng.normal(size=300)
    assert best_penalty(ahead, np.ones(300, bool), codes, is_seen) == pytest.approx(5.0, abs=0.8)


def test_the_harmonic_mean_is_zero_where_one_side_is():
    np.testing.assert_array_equal(
        harmonic_mean(np.array([0.0, 0.0, 0.5]), [0.0, 1.0, 0.5]), [0, 0, 0.5]
    )
