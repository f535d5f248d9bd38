"""Laws of the splitters."""

import pickle

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.utils.metadata_routing import get_routing_for_object

from sklearn_fewshot import FewShotClassifier
from sklearn_fewshot.model_selection import ClassKFold, ClassShuffleSplit, EpisodeSplit

SIZES = st.lists(st.integers(1, 9), min_size=5, max_size=12)
SEEDS = st.integers(0, 2**32 - 1)
few_examples = settings(max_examples=40, deadline=None)

CLASS_SPLITTERS = [
    ClassKFold(n_splits=3),
    ClassKFold(n_splits=3, shuffle=True, random_state=1),
    ClassShuffleSplit(n_splits=4, test_size=0.3, random_state=1),
]
ALL_SPLITTERS = [*CLASS_SPLITTERS, EpisodeSplit(n_episodes=4, n_way=2, n_query=1)]


def make_labels(sizes, seed=0):
    """String labels with gaps, of the given class sizes, in mixed order."""
    names = np.array([f"c{3 * i}" for i in range(len(sizes))])
    return np.random.default_rng(seed).permutation(np.repeat(names, sizes))


def alphabet(y):
    """Put every label into one of three groups."""
    return np.array(["alpha", "beta", "gamma"])[np.array([int(label[1:]) // 3 for label in y]) % 3]


def make_table(sizes, seed=0):
    y = make_labels(sizes, seed)
    rng = np.random.default_rng(seed)
    means = {label: rng.normal(size=4) for label in np.unique(y)}
    return np.array([means[label] for label in y]) + rng.normal(size=(len(y), 4)), y


# ------------------------------------------------------------------ ClassKFold, ClassShuffleSplit


@few_examples
@given(SIZES, SEEDS, st.booleans(), st.booleans())
def test_every_class_is_in_one_test_fold(sizes, seed, shuffle, grouped):
    y = make_labels(sizes, seed)
    groups = alphabet(y) if grouped else None
    split = ClassKFold(3, shuffle=shuffle, random_state=seed if shuffle else None)
    tested = []
    for train, test in split.split(y, y, groups):
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(y)))
        assert not set(y[train]) & set(y[test])
        assert len(test) > 0
        if grouped:
            assert not set(groups[train]) & set(groups[test])
        tested.append(test)
    assert_array_equal(np.sort(np.concatenate(tested)), np.arange(len(y)))


@few_examples
@given(SIZES, SEEDS, st.booleans())
def test_folds_have_equally_many_classes(sizes, seed, shuffle):
    y = make_labels(sizes, seed)
    split = ClassKFold(3, shuffle=shuffle, random_state=seed if shuffle else None)
    n_classes = [len(np.unique(y[test])) for _, test in split.split(y, y)]
    assert max(n_classes) - min(n_classes) <= 1


def test_groups_of_classes_are_spread_over_the_folds_by_their_classes():
    y = np.arange(12)
    groups = np.repeat(["a", "b", "c", "d"], [6, 3, 2, 1])
    n_classes = [len(test) for _, test in ClassKFold(2).split(y, y, groups)]
    assert n_classes == [6, 6]


@few_examples
@given(SIZES, SEEDS, st.booleans())
def test_random_splits_share_no_class(sizes, seed, grouped):
    y = make_labels(sizes, seed)
    groups = alphabet(y) if grouped else None
    split = ClassShuffleSplit(5, test_size=0.3, random_state=seed)
    for train, test in split.split(y, y, groups):
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(y)))
        assert not set(y[train]) & set(y[test])
        if grouped:
            assert not set(groups[train]) & set(groups[test])


@pytest.mark.parametrize(
    ("sizes", "n_train", "n_test"),
    [
        ({}, 8, 2),
        ({"test_size": 3}, 7, 3),
        ({"test_size": 0.25}, 7, 3),
        ({"train_size": 4}, 4, 6),
        ({"train_size": 4, "test_size": 2}, 4, 2),
    ],
)
def test_sizes_count_classes(sizes, n_train, n_test):
    y = make_labels([3, 9, 1, 4, 2, 8, 5, 5, 7, 6])
    for train, test in ClassShuffleSplit(3, **sizes, random_state=0).split(y, y):
        assert (len(set(y[train])), len(set(y[test]))) == (n_train, n_test)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("cls", [ClassKFold, ClassShuffleSplit])
def test_seeds_repeat_and_differ(cls, grouped):
    y = make_labels([2] * 12)
    # Groups of different sizes: the biggest must not always be in the first fold.
    groups = np.array(["big", *"efghi"])[np.maximum(0, np.unique(y, return_inverse=True)[1] - 6)]

    def tests(seed):
        shuffle = {"shuffle": True} if cls is ClassKFold else {}
        split = cls(3, **shuffle, random_state=seed).split(y, y, groups if grouped else None)
        return [tuple(test) for _, test in split]

    assert tests(0) == tests(0)
    assert len({tuple(tests(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("splitter", ALL_SPLITTERS, ids=repr)
def test_splitters_are_like_those_of_scikit_learn(splitter):
    X, y = make_table([3] * 6)
    splits = list(splitter.split(X, y))
    assert len(splits) == splitter.get_n_splits() == splitter.get_n_splits(X, y)
    again = eval(repr(splitter))
    for copied in (again, pickle.loads(pickle.dumps(splitter)), clone(splitter, safe=False)):
        for (train, test), (train_again, test_again) in zip(
            splits, copied.split(X.tolist(), y.tolist()), strict=True
        ):
            assert_array_equal(train, train_again)
            assert_array_equal(test, test_again)
    for side in (side for both in splits for side in both):
        assert side.dtype.kind == "i"
        assert side.ndim == 1


@pytest.mark.parametrize("splitter", ALL_SPLITTERS, ids=repr)
def test_splitters_need_labels(splitter):
    with pytest.raises(ValueError, match="y must be given"):
        next(splitter.split(np.zeros((6, 2))))


@pytest.mark.parametrize("splitter", ALL_SPLITTERS, ids=repr)
def test_splitters_check_lengths(splitter):
    y = make_labels([3] * 6)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples|one entry per sample"):
        next(splitter.split(y, y, groups=[0, 1]))


def test_too_many_folds_are_refused():
    y = make_labels([4] * 4)
    with pytest.raises(ValueError, match=r"at most the number of classes, 4\. Got 5\."):
        next(ClassKFold().split(y, y))
    with pytest.raises(ValueError, match=r"at most the number of groups of classes, 3\. Got 5\."):
        next(ClassKFold().split(y, y, alphabet(y)))


@pytest.mark.parametrize("sizes", [{"test_size": 4}, {"test_size": 0.9}, {"train_size": 1.5}])
def test_impossible_sizes_are_refused_in_terms_of_classes(sizes):
    y = make_labels([4] * 4)
    with pytest.raises(ValueError, match="splits classes, of which there are 4"):
        list(ClassShuffleSplit(2, **sizes).split(y, y))


@pytest.mark.parametrize("splitter", CLASS_SPLITTERS, ids=repr)
def test_a_class_in_two_groups_is_refused_by_name(splitter):
    y = make_labels([4] * 6)
    drawer = np.arange(len(y)) % 2
    drawer[y != "c3"] = 0
    drawer[np.flatnonzero(y == "c3")[0]] = 7
    with pytest.raises(ValueError, match=r"Class 'c3' is in the groups .*metadata routing"):
        next(splitter.split(y, y, drawer))


def test_scikit_learns_checks_of_parameters_are_inherited():
    with pytest.raises(ValueError, match="at least one train/test split"):
        ClassKFold(1)
    with pytest.raises(ValueError, match="random_state"):
        ClassKFold(3, random_state=0)


def test_groups_reach_the_class_splitters_by_routing_under_the_name_that_fit_uses():
    X, y = make_table([6] * 6)

    class Learner(NearestCentroid):
        def fit(self, X, y, class_groups=None):
            self.groups_ = set(class_groups)
            return super().fit(X, y)

    def held_out_groups(estimator, X, y):
        return len({"alpha", "beta", "gamma"} - estimator.groups_)

    with sklearn.config_context(enable_metadata_routing=True):
        learner = Learner().set_fit_request(class_groups=True)
        found = cross_val_score(
            learner,
            X,
            y,
            cv=ClassKFold(3),
            scoring=held_out_groups,
            params={"class_groups": alphabet(y)},
        )
    assert_array_equal(found, [1, 1, 1])


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (ClassKFold, {"groups": False, "class_groups": True}),
        (ClassShuffleSplit, {"groups": False, "class_groups": True}),
        (EpisodeSplit, {"groups": True, "tasks": True}),
    ],
)
def test_splitters_request_the_groups_that_concern_them(cls, expected):
    with sklearn.config_context(enable_metadata_routing=True):
        assert get_routing_for_object(cls()).split.requests == expected
        other = cls().set_split_request(groups="maker")
        assert get_routing_for_object(other).split.requests == expected | {"groups": "maker"}


@pytest.mark.parametrize("splitter", CLASS_SPLITTERS, ids=repr)
def test_groups_of_classes_have_two_names_and_are_given_once(splitter):
    X, y = make_table([6] * 6)
    expected = list(splitter.split(X, y, alphabet(y)))
    for one, other in zip(expected, splitter.split(X, y, class_groups=alphabet(y)), strict=True):
        assert_array_equal(one[1], other[1])
    with pytest.raises(ValueError, match=r"as class_groups or as groups: got both"):
        next(splitter.split(X, y, alphabet(y), alphabet(y)))


# ------------------------------------------------------------------ EpisodeSplit


def check_episode(y, support, query, n_way, n_shot, n_query):
    labels, n_support = np.unique(y[support], return_counts=True)
    query_labels, n_queries = np.unique(y[query], return_counts=True)
    assert_array_equal(labels, query_labels)
    assert len(labels) == n_way
    assert set(n_support) == {n_shot}
    assert set(n_queries) == {n_query}
    assert len(set(support) | set(query)) == n_way * (n_shot + n_query)


@few_examples
@given(
    st.lists(st.integers(5, 9), min_size=4, max_size=8),
    st.sampled_from([2, 3, 4, "all"]),
    st.integers(1, 3),
    st.integers(1, 2),
    SEEDS,
)
def test_episodes_have_the_shape_asked_for(sizes, n_way, n_shot, n_query, seed):
    y = make_labels(sizes)
    split = EpisodeSplit(5, n_way=n_way, n_shot=n_shot, n_query=n_query, random_state=seed)
    for support, query in split.split(y, y):
        check_episode(y, support, query, len(sizes) if n_way == "all" else n_way, n_shot, n_query)


def test_ranges_are_drawn_for_each_episode_without_padding():
    y = make_labels([9] * 8)
    split = EpisodeSplit(100, n_way=(2, 6), n_shot=(1, 4), n_query=3, random_state=0)
    seen = set()
    for support, query in split.split(y, y):
        n_way = len(np.unique(y[query]))
        n_shot = len(support) // n_way
        check_episode(y, support, query, n_way, n_shot, 3)
        seen.add((n_way, n_shot))
    assert seen == {(n_way, n_shot) for n_way in range(2, 7) for n_shot in range(1, 5)}


def test_support_and_queries_share_no_group():
    y = make_labels([12] * 5)
    drawer = np.random.default_rng(0).integers(0, 6, size=len(y))
    split = EpisodeSplit(50, n_way=3, n_shot=2, n_query=2)
    for support, query in split.split(y, y, drawer):
        assert not set(drawer[support]) & set(drawer[query])


def test_equal_seeds_give_equal_episodes():
    y = make_labels([9] * 8)

    def episodes(seed):
        return [
            tuple(rows) for rows, _ in EpisodeSplit(5, random_state=seed, n_query=3).split(y, y)
        ]

    assert episodes(0) == episodes(0) == episodes(np.random.RandomState(0))
    assert episodes(0) != episodes(1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, r"'n_shot' parameter of EpisodeSplit .*Class 'c6' has 4 examples"),
        ({"n_way": 9, "n_query": 3}, r"'n_way' parameter of EpisodeSplit .*classes, 8\. Got 9"),
        ({"n_way": 1}, r"'n_way' parameter of EpisodeSplit must be an int of at least 2"),
        ({"n_episodes": 0}, r"'n_episodes' parameter of EpisodeSplit .*at least 1\. Got 0"),
        ({"n_episodes": 2.5}, r"'n_episodes' parameter of EpisodeSplit .*Got 2\.5"),
        ({"random_state": "a", "n_query": 2}, r"cannot be used to seed"),
    ],
)
def test_episodes_that_cannot_be_filled_are_refused(params, message):
    y = make_labels([20, 20, 4, 20, 20, 20, 20, 20])
    with pytest.raises(ValueError, match=message):
        next(EpisodeSplit(**params).split(y, y))


# ------------------------------------------------------------------ queries in unequal numbers


def counts_of(rows, y):
    return np.array([(y[rows] == label).sum() for label in np.unique(y)])


@few_examples
@given(
    st.lists(st.integers(5, 40), min_size=3, max_size=6),
    st.sampled_from([2, 3, (2, 3), "all"]),
    st.sampled_from([1, 3, (1, 3)]),
    st.integers(1, 2),
    st.sampled_from([0.01, 0.5, 2, 100.0]),
    st.booleans(),
    SEEDS,
)
def test_unequal_queries_add_up_and_stay_within_what_there_is(
    sizes, n_way, n_shot, n_query, alpha, grouped, seed
):
    y = make_labels(sizes)
    groups = np.arange(len(y)) if grouped else None
    params = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "random_state": seed}
    split = EpisodeSplit(5, query_alpha=alpha, **params)
    low, high = n_shot if isinstance(n_shot, tuple) else (n_shot, n_shot)
    for support, query in split.split(y, y, groups):
        shots, queries = counts_of(support, y), counts_of(query, y)
        is_there = shots > 0
        assert low <= shots[is_there].min() == shots[is_there].max() <= high
        assert not queries[~is_there].any()
        assert queries.sum() == n_query * is_there.sum()
        assert (queries + shots <= counts_of(np.arange(len(y)), y)).all()
        assert (queries <= 10 * n_query).all()
        assert len(set(support) | set(query)) == len(support) + len(query)


@pytest.mark.parametrize("n_shot", [4, (2, 5)])
def test_unequal_queries_share_no_group_with_full_supports(n_shot):
    y = np.repeat(np.arange(5), 30)
    drawer = np.arange(150) % 10  # three rows of each class: four shots need two drawers
    split = EpisodeSplit(60, n_way=3, n_shot=n_shot, n_query=6, query_alpha=1.0)
    shots = set()
    for support, query in split.split(y, y, drawer):
        assert not set(drawer[support]) & set(drawer[query])
        assert len(query) == 18
        assert len(np.unique(y[support])) == 3
        shots.add(len(support) / 3)
    assert shots == ({4} if n_shot == 4 else {2, 3, 4, 5})


def test_all_classes_have_the_mean_number_of_queries():
    y = make_labels([60] * 4)
    split = EpisodeSplit(3000, n_way="all", n_query=5, query_alpha=1.0)
    counts = np.array([counts_of(query, y) for _, query in split.split(y, y)])
    assert counts.mean() == 5
    assert np.all(np.abs(counts.mean(axis=0) - 5) < 4 * counts.std(axis=0) / np.sqrt(3000))


def test_shares_spread_like_a_dirichlet_distribution():
    y = make_labels([300] * 4)
    split = EpisodeSplit(2000, n_way="all", n_query=25, query_alpha=2.0)
    shares = np.array([counts_of(query, y) for _, query in split.split(y, y)]) / 100
    expected = np.sqrt(0.25 * 0.75 / (4 * 2.0 + 1))  # of Dirichlet(2, 2, 2, 2)
    assert shares.std() == pytest.approx(expected, rel=0.05)


def test_smaller_alphas_are_less_balanced():
    y = make_labels([60] * 4)

    def spread(alpha):
        split = EpisodeSplit(200, n_way="all", n_query=5, query_alpha=alpha)
        return np.std([counts_of(query, y) for _, query in split.split(y, y)])

    spreads = [spread(alpha) for alpha in (0.1, 1.0, 10.0, 1e6)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.1


def test_every_row_can_be_an_unequal_query():
    y = make_labels([9] * 3)
    split = EpisodeSplit(300, n_way="all", n_query=2, query_alpha=1.0)
    times = np.bincount(np.concatenate([query for _, query in split.split(y, y)]), minlength=27)
    assert times.min() > 0.5 * times.mean()


@pytest.mark.parametrize("alpha", [0, -1.0, np.nan, np.inf, "2"])
def test_alphas_that_no_shares_have_are_refused(alpha):
    with pytest.raises(ValueError, match=r"'query_alpha' parameter of EpisodeSplit must be a n"):
        next(EpisodeSplit(n_way=2, n_query=1, query_alpha=alpha).split("aabb", list("aabb")))


def test_nan_labels_are_refused():
    with pytest.raises(ValueError, match="y contains NaN"):
        next(EpisodeSplit(n_way=2, n_query=1).split(np.zeros(4), [0.0, 0.0, 1.0, np.nan]))


def test_a_search_over_episodes_runs():
    X, y = make_table([8] * 6)
    cv = EpisodeSplit(10, n_way=4, n_shot=3, n_query=4)
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]}, cv=cv, refit=False)
    search.fit(X, y)
    scores = cross_val_score(KNeighborsClassifier(3), X, y, cv=cv)
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(scores.mean())
    assert cross_val_score(FewShotClassifier(), X, y, cv=cv).shape == (10,)
