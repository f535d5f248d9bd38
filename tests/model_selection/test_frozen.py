"""Laws of frozen episodes: kept as they are, and for the samples they were drawn for."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sklearn_fewshot.model_selection import (
    EpisodeSplit,
    FrozenEpisodes,
    compare_on_episodes,
    episodic_score,
)

RNG = np.random.default_rng(0)
LABELS = {
    "text": np.repeat([f"class {i}" for i in range(12)], 8),
    "integers": np.repeat(np.arange(12) - 3, 8),
    "floats": np.repeat(np.arange(12.0), 8),
    "booleans": np.repeat([False, True], 48),
    "text objects": np.repeat([f"class {i}" for i in range(12)], 8).astype(object),
}
LABELS = {name: RNG.permutation(y) for name, y in LABELS.items()}
X = RNG.normal(size=(96, 3))
SPLITS = {
    "plain": EpisodeSplit(7, n_way=2, n_query=3),
    "ranges": EpisodeSplit(7, n_way=(2, 2), n_shot=[1, 4], n_query=2),
    "unequal": EpisodeSplit(7, n_way="all", n_query=2, query_alpha=0.5),
}


def rows_of(episodes, y):
    return [(support.tolist(), query.tolist()) for support, query in episodes.split(X, y)]


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", SPLITS)
def test_episodes_come_back_from_a_file_as_they_were(tmp_path, name, kind):
    y, split = LABELS[kind], SPLITS[name]
    frozen = split.freeze(X, y)
    frozen.save(tmp_path / "episodes")
    loaded = FrozenEpisodes.load(tmp_path / "episodes")
    unpickled = pickle.loads(pickle.dumps(frozen))
    assert rows_of(split, y) == rows_of(frozen, y) == rows_of(loaded, y) == rows_of(unpickled, y)
    drawn = episodic_score(NearestCentroid(), X, y, episodes=split)
    kept = episodic_score(NearestCentroid(), X, y, episodes=loaded)
    assert_array_equal(kept.scores, drawn.scores)
    assert str(kept) == str(drawn)
    assert repr(loaded).startswith("FrozenEpisodes of 96 samples: 7 episodes")


def test_frozen_episodes_are_a_splitter():
    y = LABELS["text"]
    frozen = EpisodeSplit(9, n_way=3, n_query=2).freeze(X, y)
    assert frozen.get_n_splits() == 9
    floor = KNeighborsClassifier(1)
    scores = cross_val_score(floor, X, y, cv=frozen)
    assert_array_equal(scores, episodic_score(floor, X, y, episodes=frozen).scores)


def test_episodes_stay_when_the_seed_would_move_on():
    y = LABELS["text"]
    split = EpisodeSplit(5, n_query=2, random_state=np.random.RandomState(0))
    frozen = split.freeze(X, y)
    assert rows_of(frozen, y) == rows_of(frozen, y)
    assert rows_of(split, y) != rows_of(frozen, y)


def test_groups_are_kept_apart_when_episodes_are_frozen():
    y, drawer = LABELS["text"], RNG.integers(0, 20, size=96)
    frozen = EpisodeSplit(20, n_way=2, n_query=2).freeze(X, y, drawer)
    for support, query in frozen.split(X, y):
        assert not set(drawer[support]) & set(drawer[query])


def test_labels_of_another_dtype_that_mean_the_same_are_taken():
    frozen = SPLITS["plain"].freeze(X, LABELS["text"])
    as_objects = LABELS["text"].astype(object)
    assert rows_of(frozen, LABELS["text"]) == rows_of(frozen, as_objects.tolist())
    numbers = SPLITS["plain"].freeze(X, LABELS["integers"])
    for dtype in (np.int8, np.float64):
        assert rows_of(numbers, LABELS["integers"].astype(dtype)) == rows_of(
            numbers, LABELS["integers"]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:-1], r"drawn for 96 samples\. FrozenEpisodes got 95"),
        (lambda y: np.roll(y, 1), "samples with other labels, or in another order. Sample 0 was "),
        (lambda y: y.astype(str), r"labels like -?\d+\. FrozenEpisodes got '-?\d+', of another t"),
    ],
    ids=["fewer", "another order", "numbers as text"],
)
def test_other_samples_are_refused(change, message):
    # Numbers as text are sorted otherwise: 10 before 2.
    y = np.arange(96) // 8
    other = change(y)
    frozen = SPLITS["plain"].freeze(X, y)
    with pytest.raises(ValueError, match=message):
        next(frozen.split(X[: len(other)], other))


def test_errors_name_who_got_other_samples():
    frozen = SPLITS["plain"].freeze(X, LABELS["text"])
    for score in (episodic_score, compare_on_episodes):
        estimator = NearestCentroid() if score is episodic_score else {"a": NearestCentroid()}
        with pytest.raises(ValueError, match=f"{score.__name__} got 95"):
            score(estimator, X[1:], LABELS["text"][1:], episodes=frozen)


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=1)
    np.save(tmp_path / "other.npy", np.arange(3))
    (tmp_path / "other.txt").write_text("episodes")
    for name in ("other.npz", "other.npy", "other.txt"):
        with pytest.raises(ValueError, match=rf"{name}' is no file of episodes\. Pass one"):
            FrozenEpisodes.load(tmp_path / name)
