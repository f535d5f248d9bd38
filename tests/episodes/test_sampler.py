"""Laws of the episode sampler."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_fewshot.episodes import EpisodePlan, EpisodeSampler, _draw
from sklearn_fewshot.episodes import _sampler as _episodes
from sklearn_fewshot.episodes._sampler import _ClassGroups, _ClassRows

SIZES = st.lists(st.integers(6, 30), min_size=2, max_size=8)
SEEDS = st.integers(0, 2**32 - 1)
few_examples = settings(max_examples=60)


def make_codes(sizes, seed=0):
    """Classes of the given sizes, in mixed order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def make_plan(codes, n_episodes=50, seed=0, **params):
    return EpisodeSampler(codes, **params).plan(n_episodes, np.random.default_rng(seed))


def drawn(indices):
    return indices[indices >= 0]


def check_padding_is_trailing(array):
    is_padding = np.asarray(array) == -1
    assert np.all(is_padding[..., 1:] >= is_padding[..., :-1])


def check_laws(plan, codes, groups=None):
    """Check what holds for every plan."""
    for array in plan:
        check_padding_is_trailing(array)
    check_padding_is_trailing(plan.classes)
    for support, query, classes in zip(*plan, strict=True):
        rows = drawn(np.concatenate([support, query], axis=1))
        assert len(set(drawn(classes))) == len(drawn(classes))
        assert len(set(rows)) == len(rows)
        for code, *parts in zip(classes, support, query, strict=True):
            for part in parts:
                assert len(drawn(part)) > 0 if code >= 0 else len(drawn(part)) == 0
                assert np.all(codes[drawn(part)] == code)
        if groups is not None:
            assert not set(groups[drawn(support)]) & set(groups[drawn(query)])


@few_examples
@given(SIZES, st.integers(2, 8), st.integers(1, 3), st.integers(1, 3), SEEDS)
def test_episodes_have_different_classes_and_rows(sizes, n_way, n_shot, n_query, seed):
    codes, n_way = make_codes(sizes), min(n_way, len(sizes))
    plan = make_plan(codes, 20, seed, n_way=n_way, n_shot=n_shot, n_query=n_query)
    assert plan.n_episodes == 20
    assert plan.support.shape == (20, n_way, n_shot)
    assert plan.query.shape == (20, n_way, n_query)
    assert plan.classes.shape == (20, n_way)
    assert all(array.dtype == np.intp and array.min() >= 0 for array in plan)
    check_laws(plan, codes)


@pytest.mark.parametrize("groups", [False, True])
def test_ranges_are_drawn_for_each_episode(groups):
    codes = make_codes([20] * 6)
    params = {"groups": np.arange(len(codes)) // 3} if groups else {}
    sampler = EpisodeSampler(codes, n_way=(2, 5), n_shot=(1, 3), n_query=2, **params)
    plan = sampler.plan(2000, np.random.default_rng(0))
    check_laws(plan.take(slice(100)), codes, params.get("groups"))
    assert sampler.n_way_ == (2, 5)
    assert plan.support.shape == (2000, 5, 3)
    ways = np.sum(plan.classes >= 0, axis=1)
    shots = np.sum(plan.support >= 0, axis=2)
    assert np.all((shots == shots[:, :1]) | (plan.classes < 0))  # one shot an episode
    assert np.all(np.sum(plan.query >= 0, axis=2) == 2 * (plan.classes >= 0))
    pairs = np.bincount(4 * ways + shots[:, 0])  # number of each (way, shot)
    check_counts(pairs[pairs > 0], 2000, np.full(12, 1 / 12))


def test_all_takes_every_class_in_every_episode():
    codes = make_codes([5, 9, 7])
    sampler = EpisodeSampler(codes, n_way="all", n_shot=2, n_query=3)
    plan = sampler.plan(30, np.random.default_rng(0))
    assert sampler.n_way_ == 3
    assert np.array_equal(np.sort(plan.classes, axis=1), np.tile(np.arange(3), (30, 1)))


def test_a_class_can_be_used_up():
    codes = make_codes([4, 4, 4])
    plan = make_plan(codes, n_way=3, n_shot=1, n_query=3)
    check_laws(plan, codes)
    rows = np.concatenate([plan.support, plan.query], axis=2).reshape(50, -1)
    assert np.array_equal(np.sort(rows, axis=1), np.tile(np.arange(12), (50, 1)))


def check_counts(counts, n_trials, proba):
    """Check the counts of events of known probability: five standard deviations at most."""
    z = (counts - n_trials * proba) / np.sqrt(n_trials * proba * (1 - proba))
    assert np.mean(z**2) < 1 + 5 * np.sqrt(2 / len(z))
    assert np.max(np.abs(z)) < 5


def test_classes_rows_and_their_pairs_are_equally_likely():
    sizes, n_trials = np.array([5, 8, 30, 13, 6, 21]), 20_000
    codes = np.repeat(np.arange(6), sizes)
    plan = make_plan(codes, n_trials, n_way=3, n_shot=2, n_query=3)
    for position in plan.classes.T:  # also the order in an episode is random
        check_counts(np.bincount(position, minlength=6), n_trials, np.full(6, 1 / 6))
    together = np.bincount(np.ravel(plan.classes[:, 0] * 6 + plan.classes[:, 1]), minlength=36)
    check_counts(together[~np.eye(6, dtype=bool).ravel()], n_trials, np.full(30, 1 / 30))
    for rows, n_rows in [(plan.support, 2), (plan.query, 3)]:
        counts = np.bincount(rows.ravel(), minlength=len(codes))
        check_counts(counts, n_trials, 3 / 6 * n_rows / sizes[codes])
    small = plan.classes == 0
    pairs = np.bincount(plan.support[small][:, 0] * 5 + plan.query[small][:, 0], minlength=25)
    check_counts(pairs[~np.eye(5, dtype=bool).ravel()], small.sum(), np.full(20, 1 / 20))


@few_examples
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=8).filter(lambda sizes: max(sizes) > 1),
    st.integers(1, 5),
    st.integers(1, 5),
    SEEDS,
)
@pytest.mark.parametrize("grouped", [False, True])
def test_clamping_cuts_way_then_shot_then_queries(grouped, sizes, n_shot, n_query, seed):
    """Also where every row is a group of its own, which is no restriction."""
    codes, sizes = make_codes(sizes), np.array(sizes)
    groups = np.arange(len(codes)) if grouped else None
    params = {"n_way": 5, "n_shot": n_shot, "n_query": n_query, "clamp": True}
    sampler = EpisodeSampler(codes, groups=groups, **params)
    plan = sampler.plan(20, np.random.default_rng(seed))
    check_laws(plan, codes, groups)
    assert sampler.n_way_ == plan.classes.shape[1] == min(5, np.sum(sizes > 1))
    assert sampler.n_clamped_ == np.sum(sizes < n_shot + n_query)
    shots = np.minimum(n_shot, sizes[plan.classes] - 1)
    queries = np.minimum(n_query, sizes[plan.classes] - shots)
    assert np.all(sizes[plan.classes] > 1)
    assert np.array_equal(np.sum(plan.support >= 0, axis=2), shots)
    assert np.array_equal(np.sum(plan.query >= 0, axis=2), queries)


def test_clamping_cuts_ranges_and_changes_nothing_where_there_is_enough():
    codes = make_codes([9, 9, 9, 1])
    sampler = EpisodeSampler(codes, n_way=(2, 20), n_shot=1, n_query=1, clamp=True)
    assert sampler.n_way_ == (2, 3)
    assert sampler.n_clamped_ == 1
    codes = make_codes([9, 9, 9])
    params = {"n_way": (2, 3), "n_shot": (1, 4), "n_query": 5}
    clamped, plain = make_plan(codes, clamp=True, **params), make_plan(codes, **params)
    assert all(map(np.array_equal, clamped, plain))


@pytest.mark.parametrize(
    ("counts", "n_shot", "n_query", "n_support"),
    [
        ([5, 1, 1, 1, 1, 1], 5, 5, 5),  # one order in three can be cut so
        ([5, 1], 6, 3, 5),  # the most that leaves a query
    ],
)
def test_clamping_takes_the_best_division_of_the_groups(counts, n_shot, n_query, n_support):
    n_rows = sum(counts)
    codes, groups = np.repeat([0, 1], n_rows), np.repeat(np.arange(2 * len(counts)), counts * 2)
    params = {"n_way": 2, "n_shot": n_shot, "n_query": n_query, "clamp": True}
    plan = make_plan(codes, 200, groups=groups, **params)
    check_laws(plan, codes, groups)
    assert np.all(np.sum(plan.support >= 0, axis=2) == n_support)
    assert np.all(np.sum(plan.query >= 0, axis=2) == n_rows - n_support)


def test_equal_seeds_give_equal_plans():
    codes, groups = make_codes([20] * 5), np.arange(100) % 11
    for params in [{}, {"groups": groups}]:
        sampler = EpisodeSampler(codes, n_way=(2, 3), n_shot=2, n_query=3, **params)
        plans = [sampler.plan(50, np.random.default_rng(seed)) for seed in (0, 1, 0)]
        assert all(map(np.array_equal, plans[0], plans[2]))
        assert not any(map(np.array_equal, plans[0], plans[1]))


def test_plans_are_in_the_numbers_that_the_rows_were_given():
    codes, groups = make_codes([9, 9, 9]), np.arange(27) % 9
    numbers = np.random.default_rng(1).permutation(100)[:27]
    for params in [{}, {"groups": groups}]:
        params |= {"n_way": 2, "n_shot": (1, 2), "n_query": 2}
        plan, renumbered = make_plan(codes, **params), make_plan(codes, rows=numbers, **params)
        for part, other in zip(plan[:2], renumbered[:2], strict=True):
            assert np.array_equal(other, np.where(part < 0, -1, numbers[part]))
        assert np.array_equal(plan.classes, renumbered.classes)


def test_items_of_a_class_are_its_rows_in_order():
    """Whatever sorting a machine does, equal seeds give equal plans."""
    codes = make_codes([60, 90, 50])
    rows = _ClassRows(codes, 3, None, None)
    for code in range(3):
        expected = np.flatnonzero(codes == code)
        assert np.array_equal(rows.take(np.array(code), np.arange(len(expected))), expected)


def test_numbers_are_drawn_below_each_size_and_padded():
    sizes = np.array([0, 1, 2, 4, 9, 30])
    for n_items in [1, 4, 40]:
        items = _draw.sample(sizes, n_items, np.random.default_rng(0))
        assert items.shape == (6, n_items)
        for size, row in zip(sizes, items, strict=True):
            n_drawn = min(size, n_items)
            assert len(set(row[:n_drawn])) == n_drawn
            assert np.all((row[:n_drawn] >= 0) & (row[:n_drawn] < size))
            assert np.all(row[n_drawn:] == -1)


def test_items_are_drawn_from_the_chosen_groups_and_padded():
    """Items 0 and 1 are of the first group, 2 to 4 of the second, 5 of the third."""
    count = np.tile([2, 3, 1], (20, 2, 1))
    chosen = np.tile([[True, False, True], [False, True, False]], (20, 1, 1))
    items = _draw.draw_from_cells(count, chosen, 5, np.random.default_rng(0))
    for first, second in items:
        assert sorted(first[:3]) == [0, 1, 5]
        assert sorted(second[:3]) == [2, 3, 4]
        assert np.all(items[..., 3:] == -1)


def test_take_keeps_some_episodes():
    plan = make_plan(make_codes([9, 9, 9]), 10, n_way=2, n_shot=1, n_query=2)
    for episodes in [slice(2, 5), [7, 1], np.array([0])]:
        taken = plan.take(episodes)
        assert isinstance(taken, EpisodePlan)
        assert taken.n_episodes == len(np.arange(10)[episodes])
        for some, every in zip(taken, plan, strict=True):
            assert np.array_equal(some, every[episodes])


@pytest.mark.parametrize("n_episodes", [0, 1, 7])
@pytest.mark.parametrize("grouped", [False, True])
def test_any_number_of_episodes_in_chunks_of_any_size(monkeypatch, n_episodes, grouped):
    codes = make_codes([9, 9, 9])
    groups = np.arange(27) // 2 if grouped else None
    for chunk in [1, 60, 10**6]:
        monkeypatch.setattr(_episodes, "_CHUNK", chunk)
        plan = make_plan(codes, n_episodes, n_way=2, n_shot=1, n_query=2, groups=groups)
        assert plan.support.shape == (n_episodes, 2, 1)
        assert plan.query.shape == (n_episodes, 2, 2)
        check_laws(plan, codes, groups)


def drawers():
    """Alphabets of which 20 people drew every character once, like Omniglot."""
    alphabet = np.sort(np.random.default_rng(0).integers(0, 10, size=80))
    codes, drawer = np.repeat(np.arange(80), 20), np.tile(np.arange(20), 80)
    groups = [f"{a}/{d}" for a, d in zip(np.repeat(alphabet, 20), drawer, strict=True)]
    return codes, np.array(groups)


def speakers():
    """Each of 150 people said each of 26 letters twice, like isolet."""
    return np.tile(np.arange(26), 300), np.repeat(np.arange(150), 52)


def parts():
    """The same in five parts of 30 people."""
    codes, speaker = speakers()
    return codes, speaker // 30


def photographers():
    """Classes and groups of very unequal sizes; each photographer knows some of the classes."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(30, 200, size=30)
    codes = np.repeat(np.arange(30), sizes)
    return codes, (np.minimum(rng.zipf(1.3, size=len(codes)), 60) + 7 * codes) % 100


@pytest.mark.parametrize(
    ("make_data", "n_way", "n_shot", "n_query"),
    [
        (drawers, 60, 1, 5),
        (drawers, 60, 5, 15),  # every drawer is needed
        (drawers, "all", (1, 5), 15),
        (speakers, 5, 5, 15),
        (speakers, 26, 1, 1),
        (parts, 5, 5, 15),
        (parts, 26, 100, 100),
        (photographers, 5, 5, 15),
        (photographers, 20, 1, 5),
        (photographers, (2, 10), (1, 5), 15),
    ],
)
def test_support_and_query_share_no_group(make_data, n_way, n_shot, n_query):
    codes, groups = make_data()
    plan = make_plan(codes, 60, n_way=n_way, n_shot=n_shot, n_query=n_query, groups=groups)
    check_laws(plan, codes, groups)
    assert np.all((plan.query >= 0) == (plan.classes >= 0)[..., None])
    if isinstance(n_shot, int) and not isinstance(n_way, tuple):
        assert plan.support.min() >= 0


@pytest.mark.parametrize(("make_data", "n_shot", "n_query"), [(drawers, 5, 15), (parts, 5, 15)])
def test_groups_leave_every_row_reachable_and_classes_equally_likely(make_data, n_shot, n_query):
    codes, groups = make_data()
    n_classes, n_trials = codes.max() + 1, 10_000
    plan = make_plan(codes, n_trials, n_way=5, n_shot=n_shot, n_query=n_query, groups=groups)
    counts = np.bincount(plan.classes.ravel(), minlength=n_classes)
    check_counts(counts, n_trials, np.full(n_classes, 5 / n_classes))
    for rows in [plan.support, plan.query]:
        counts = np.bincount(rows.ravel(), minlength=len(codes))
        assert counts.min() > 0
        assert counts.max() < 2 * rows.size / len(codes)


def test_big_and_small_groups_are_equally_likely_on_either_side():
    """Where any division will do. Ten rows against one: no order by size."""
    codes, groups = np.repeat([0, 1], 11), np.repeat(np.arange(4), [1, 10, 1, 10])
    plan = make_plan(codes, 5000, n_way=2, n_shot=1, n_query=1, groups=groups)
    n_small = np.sum(groups[plan.support] % 2 == 0, axis=0).ravel()
    check_counts(n_small, 5000, np.full(2, 0.5))


@pytest.mark.parametrize(("n_shot", "n_query", "expected"), [(1, 4, 4), (2, 8, 4), (5, 5, 10)])
def test_groups_are_divided_about_as_shot_to_queries(n_shot, n_query, expected):
    groups = _ClassGroups(np.zeros(20, dtype=int), np.arange(20), 1)
    classes, rng = np.zeros((50, 1), dtype=int), np.random.default_rng(0)
    side, filled = groups.divide(classes, np.full((50, 1), n_shot), n_query, False, rng)
    assert filled.all()
    assert np.all(np.sum(side == _episodes._SUPPORT, axis=1) == expected)


def test_group_labels_may_be_of_any_type():
    codes, groups = parts()
    params = {"n_way": 5, "n_shot": 1, "n_query": 1}
    plan = make_plan(codes, groups=groups, **params)
    for dtype in [str, object]:
        names = np.array(list("abcde"), dtype)[groups]
        for renamed in [names, list(names)]:
            assert all(map(np.array_equal, plan, make_plan(codes, groups=renamed, **params)))


@few_examples
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=2, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
    SEEDS,
)
def test_clamping_never_fails_with_groups(rows, n_shot, n_query, seed):
    # Two classes with two groups each can always go together.
    rows += [(6, 0), (6, 1), (7, 1), (7, 2), (7, 2)]
    codes, groups = np.array(rows).T
    sampler = EpisodeSampler(
        codes, n_way=(2, 6), n_shot=n_shot, n_query=n_query, groups=groups, clamp=True
    )
    plan = sampler.plan(10, np.random.default_rng(seed))
    check_laws(plan, codes, groups)
    assert np.all(np.sum(plan.classes >= 0, axis=1) >= 2)


def can_divide(counts, n_shot, n_query):
    """Try all subsets of the groups as the support side."""
    subsets = chain.from_iterable(combinations(counts, r) for r in range(len(counts) + 1))
    return any(sum(s) >= n_shot and sum(counts) - sum(s) >= n_query for s in subsets)


@few_examples
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=7),
    st.integers(1, 8),
    st.integers(1, 15),
    SEEDS,
)
def test_a_class_is_refused_if_and_only_if_its_groups_cannot_be_divided(
    counts, n_shot, n_query, seed
):
    both = [*counts, n_shot, n_query]  # the second class just fits
    codes = np.repeat(np.arange(2), [sum(counts), n_shot + n_query])
    groups = np.repeat(np.arange(len(both)), both)
    params = {"n_way": 2, "n_shot": n_shot, "n_query": n_query, "groups": groups}
    if can_divide(counts, n_shot, n_query):
        plan = make_plan(codes, 10, seed, **params)
        check_laws(plan, codes, groups)
        assert plan.support.min() >= 0
        assert plan.query.min() >= 0
    else:
        with pytest.raises(ValueError, match=r"^The 'n_shot' .* Class 0 has .* drop the class\.$"):
            make_plan(codes, 10, seed, **params)


ODD_CYCLE = {"codes": [0, 0, 1, 1, 2, 2], "groups": [0, 1, 1, 2, 2, 0], "n_shot": 1, "n_query": 1}


def test_classes_that_cannot_go_together_are_refused_by_name():
    sampler = EpisodeSampler(**ODD_CYCLE, n_way=3, names=["x", "y", "z"], owner="EpisodeSplit")
    message = r"^EpisodeSplit found no episode .* Class '[xyz]' has 2 examples in 2 groups .* lower"
    with pytest.raises(ValueError, match=message):
        sampler.plan(5, np.random.default_rng(0))


def test_classes_that_cannot_go_together_are_left_out_when_clamping():
    plan = make_plan(n_way=3, clamp=True, **ODD_CYCLE)
    check_laws(plan, np.array(ODD_CYCLE["codes"]), np.array(ODD_CYCLE["groups"]))
    assert np.all(np.sum(plan.classes >= 0, axis=1) == 2)
    assert set(drawn(plan.classes)) == {0, 1, 2}


def test_other_classes_are_drawn_where_some_cannot_go_together():
    """One draw in ten is the odd cycle."""
    codes = np.array([*ODD_CYCLE["codes"], 3, 3, 4, 4])
    groups = np.array([*ODD_CYCLE["groups"], 3, 4, 5, 6])
    plan = make_plan(codes, 200, n_way=3, n_shot=1, n_query=1, groups=groups)
    check_laws(plan, codes, groups)
    assert plan.classes.min() >= 0


def test_classes_are_tried_some_times_before_others_are_drawn(monkeypatch):
    """Or classes that are hard to divide would be rare."""
    events = []

    def record(cls, name):
        method = getattr(cls, name)
        monkeypatch.setattr(
            cls, name, lambda *args, **kwargs: events.append(name) or method(*args, **kwargs)
        )

    record(EpisodeSampler, "_draw_classes")
    record(_ClassGroups, "divide")
    with pytest.raises(ValueError, match="in 40 tries"):
        make_plan(n_episodes=1, n_way=3, **ODD_CYCLE)
    assert events == (["_draw_classes"] + ["divide"] * 8) * 5


def test_an_episode_without_enough_rows_is_refused_and_the_message_names_the_class_to_blame():
    """The first two classes put groups 0 and 2 on one side; the third has three rows there."""
    codes = np.repeat([0, 1, 2], 4)
    groups = np.array([0, 0, 1, 1, 1, 1, 2, 2, 0, 2, 2, 3])
    params = {"n_way": 3, "n_shot": 2, "n_query": 2, "names": list("xyz")}
    message = (
        r"^EpisodeSampler found no episode of up to 3 classes whose support and query share no "
        r"group, in 40 tries\. Class 'z' has 4 examples in 3 groups and was left without enough of "
        r"them on one side; lower n_way, n_shot or n_query, or drop the class\.$"
    )
    with pytest.raises(ValueError, match=message):
        make_plan(codes, 1, groups=groups, **params)
    clamped = make_plan(codes, groups=groups, clamp=True, **params)
    check_laws(clamped, codes, groups)
    assert np.all(clamped.classes >= 0)


def test_a_class_whose_groups_the_others_put_on_one_side_is_left_out_when_clamping():
    """Another class has more groups, so there is padding among its groups, too."""
    codes = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4])
    groups = np.array([0, 1, 1, 2, 1, 3, 0, 2, 3, 4, 5, 6, 7])
    plan = make_plan(codes, n_way="all", n_shot=1, n_query=1, groups=groups, clamp=True)
    check_laws(plan, codes, groups)
    assert np.array_equal(np.sort(plan.classes, axis=1), np.tile([-1, 0, 1, 2, 4], (50, 1)))


A_RANGE = r"of at least 1 or a pair \(low, high\) of such ints\. Got "


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_way": 1}, r"'n_way' parameter of EpisodeSplit must be an int of at least 2 or a pair"),
        ({"n_way": "some"}, r'such ints or "all"\. Got \'some\'\.$'),
        ({"n_way": 4}, r"'n_way' .* at most the number of classes, 3\. Got 4\. Lower n_way"),
        ({"n_way": (2, 4)}, r"at most the number of classes, 3\. Got \(2, 4\)\."),
        ({"n_shot": 0}, r"'n_shot' parameter of EpisodeSplit must be an int " + A_RANGE + "0"),
        ({"n_shot": (3, 2)}, A_RANGE + r"\(3, 2\)\.$"),
        ({"n_shot": (1, 2, 3)}, A_RANGE + r"\(1, 2, 3\)\.$"),
        ({"n_shot": 1.0}, A_RANGE + r"1\.0\.$"),
        ({"n_shot": True}, A_RANGE + r"True\.$"),
        ({"n_query": 0}, r"'n_query' .* must be an int of at least 1\. Got 0\.$"),
        ({"groups": [1, 2]}, r"'groups' .* have shape \(21,\), .* Got shape \(2,\)\.$"),
        (
            {"n_shot": 4},
            r"^The 'n_shot' parameter of EpisodeSplit must leave n_query=2 examples for queries in "
            r"every class\. Got 4\. Class 'b' has 5 examples; lower n_shot \+ n_query or drop the "
            r"class\.$",
        ),
        ({"n_shot": (1, 4)}, r"Got \(1, 4\)\. Class 'b' has 5 examples; lower"),
        (
            {"n_shot": 7},
            r"Got 7\. Class 'b' has 5 examples, too few like those of another class; lower",
        ),
        (
            {"groups": [0] * 7 + [0, 1, 1, 1, 1] + [2] * 8 + [3], "n_shot": 2},
            r"leave n_query=2 examples of other groups for .* Class 'b' has 5 examples in 2 "
            r"groups, too few like those of 2 other classes; lower",
        ),
    ],
)
def test_errors_say_what_is_wrong_with_which_class_and_what_to_do(params, message):
    codes = np.repeat([0, 1, 2], [7, 5, 9])
    params = {"n_way": 3, "n_shot": 1, "n_query": 2} | params
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(codes, names=np.array(["a", "b", "c"]), owner="EpisodeSplit", **params)


@pytest.mark.parametrize("groups", [None, [0, 1, 0, 1, 1]])
def test_a_named_class_without_enough_examples_is_refused_or_never_drawn(groups):
    codes, params = [0, 0, 2, 2, 1], {"n_way": 2, "n_shot": 1, "n_query": 1, "groups": groups}
    for names, text in [("abc", "'b' has 1 example"), ("abcd", "'d' has 0 examples")]:
        params["names"] = list(names)
        with pytest.raises(ValueError, match=rf"Class {text}( in \d groups?)?[;,]"):
            EpisodeSampler(codes, **params)
        sampler = EpisodeSampler(codes, clamp=True, **params)
        assert sampler.n_clamped_ == len(names) - 2
        assert set(sampler.plan(50, np.random.default_rng(0)).classes.ravel()) == {0, 2}


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_fewer_than_two_classes_are_refused(clamp, grouped):
    for codes, n_present in [([], 0), ([0, 0, 0], 1)]:
        groups = codes if grouped else None
        message = rf"^EpisodeSampler needs at least two classes\. Got {n_present}\.$"
        with pytest.raises(ValueError, match=message):
            EpisodeSampler(codes, n_way=2, n_shot=1, n_query=1, clamp=clamp, groups=groups)


def test_clamping_needs_one_class_that_can_have_support_and_query():
    params = {"n_way": 2, "n_shot": 1, "n_query": 1, "clamp": True}
    with pytest.raises(ValueError, match="needs a class with two examples"):
        EpisodeSampler([0, 1, 2], **params)
    with pytest.raises(ValueError, match="needs a class with examples of two groups"):
        EpisodeSampler([0, 0, 1, 1], groups=[0, 0, 1, 1], **params)
    sampler = EpisodeSampler([0, 0, 1], **params)
    assert sampler.n_way_ == 1
    assert sampler.plan(3, np.random.default_rng(0)).classes.tolist() == [[0]] * 3


# ------------------------------------------------------------------ rows in use


@few_examples
@given(SIZES, st.integers(0, 2), SEEDS)
def test_plans_name_their_rows_once_and_can_be_told_in_terms_of_them(sizes, spare, seed):
    codes = make_codes(sizes)
    plan = make_plan(codes, 3, seed, n_way=(2, len(sizes)), n_shot=(1, 3), n_query=2)
    rows = plan.rows()
    assert rows.tolist() == sorted({row for part in plan[:2] for row in drawn(part).tolist()})
    more = np.union1d(rows, np.arange(spare))
    places = plan.in_terms_of(more)
    for part, place in zip(plan[:2], places[:2], strict=True):
        np.testing.assert_array_equal(place == -1, part == -1)
        np.testing.assert_array_equal(more[place[place >= 0]], part[part >= 0])
    np.testing.assert_array_equal(places.classes, plan.classes)


def test_a_plan_without_episodes_uses_no_rows():
    assert make_plan(make_codes([9, 9]), 0, n_way=2, n_shot=1, n_query=1).rows().size == 0


def test_a_plan_of_padding_uses_no_rows():
    nothing = np.full((1, 2, 3), -1)
    assert EpisodePlan(nothing, nothing, nothing[..., 0]).rows().size == 0


# ------------------------------------------------------------------ rotated roles


def test_each_row_of_a_rotated_episode_is_support_in_turn():
    plan = EpisodePlan(
        support=np.array([[[0, 1], [10, -1]]]),
        query=np.array([[[2, 3], [11, -1]]]),
        classes=np.array([[4, 7]]),
    )
    support, query, classes = plan.rotated()
    assert support[:, 0].tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert query[:, 0].tolist() == [[2, 3], [3, 0], [0, 1], [1, 2]]
    assert support[:, 1].tolist() == [[10, -1], [11, -1]] * 2  # a smaller class begins again
    assert query[:, 1].tolist() == [[11, -1], [10, -1]] * 2
    assert classes.tolist() == [[4, 7]] * 4


@few_examples
@given(SIZES, SEEDS)
def test_rotated_episodes_have_the_classes_sizes_and_rows_of_theirs(sizes, seed):
    codes = make_codes(sizes)
    plan = make_plan(codes, 3, seed, n_way=(2, len(sizes)), n_shot=(1, 3), n_query=2)
    rotated = plan.rotated()
    n = rotated.n_episodes // plan.n_episodes
    for episode, part in enumerate(plan.classes):
        own = slice(episode * n, (episode + 1) * n)
        assert (rotated.classes[own] == part).all()
        for before, after in zip(plan[:2], rotated[:2], strict=True):
            assert ((after[own] >= 0) == (before[episode] >= 0)).all()
        for way in range(len(part)):
            rows = drawn(np.concatenate([side[episode, way] for side in plan[:2]]))
            for division in range(own.start, own.stop):
                here = drawn(np.concatenate([side[division, way] for side in rotated[:2]]))
                assert sorted(here) == sorted(rows)
            if len(rows) == n:  # each row is as often support as there are support rows
                count = np.bincount(drawn(rotated.support[own, way]), minlength=len(codes))
                assert (count[rows] == (plan.support[episode, way] >= 0).sum()).all()
