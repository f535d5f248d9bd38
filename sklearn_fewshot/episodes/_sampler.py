"""The sampler of few-shot episodes; numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..utils._typing import Range, Way
from ._draw import draw_from_cells, keep_first, padding_last, sample
from ._plan import EpisodePlan
from ._tasks import ClassTasks, TaskDraw, plain

_Ints: TypeAlias = npt.NDArray[np.intp]
_Bools: TypeAlias = npt.NDArray[np.bool_]
_Sides: TypeAlias = npt.NDArray[np.int8]
_Floats: TypeAlias = npt.NDArray[np.float64]
_Range: TypeAlias = tuple[int, int]

# Sides of a group in an episode.
_SUPPORT, _OPEN, _QUERY = -1, 0, 1

# Exponents of the group size in the random orders of a class's groups that are tried in turn: a
# fair order; then big groups tend to come last (on the query side) or first; at last, where
# clamping takes what it gets, a fair order again.
_TILTS = (0, 2, -2, 8, -8, 0)
_N_TRIES = 40  # divisions of its groups that an episode may need ...
_N_TRIES_PER_DRAW = 8  # ... and with the same classes

_CHUNK = 2**18  # array elements planned at a time: bounds the memory and suits the cache


class EpisodeSampler:
    """Draw few-shot episodes from the classes of a data set.

    An episode has `n_way` different classes and, of each, `n_shot` support rows and `n_query`
    other rows. Classes are equally likely, and so are the rows of a class.

    Parameters
    ----------
    codes : array-like of shape (n_samples,)
        Class of each row, 0 to n_classes - 1.
    n_way : int, (int, int) or "all"
        Classes in an episode. A pair is a range, ends included, from which each episode draws
        its own number.
    n_shot : int or (int, int)
        Support examples of a class; a pair is a range as for `n_way`.
    n_query : int
        Query examples of a class.
    rows : int ndarray of shape (n_samples,), default=None
        Numbers that plans give the rows, where they are part of a larger array. None: 0, 1, ...
    groups : array-like of shape (n_samples,), default=None
        Who drew, spoke or photographed each row. No group of an episode's support rows, of
        whatever class, is among the groups of its query rows.
    clamp : bool, default=False
        What to do where the data are too few. False: raise. True: cut the way, the shot, then
        the queries to what there is; a class keeps one of each at least, and classes that
        cannot have them are never drawn.
    names : sequence of length n_classes, default=None
        Labels of the classes, for error messages. None: the codes.
    owner : str, default="EpisodeSampler"
        Whose parameters these are, for error messages.
    min_way : int, default=2
        Least `n_way` and number of classes that are accepted: 1 where an episode is one task of a
        regression.
    class_tasks : ClassTasks, default=None
        Task of each class. An episode has classes of one task, and all tasks are equally likely.

    Attributes
    ----------
    n_way_ : int or (int, int)
        `n_way`, cut to the number of classes that can be drawn, or to that of the largest task.
    n_clamped_ : int
        Number of classes that are cut short or never drawn.

    Notes
    -----
    With `groups`, an episode divides the groups of its classes between a support and a query
    side, in rows about as n_shot is to n_query: class by class, in a random order of the groups,
    and again, at last with other classes, where some class is left without enough rows on one
    side. Classes are equally likely only as far as such divisions exist.
    """

    def __init__(
        self,
        codes: npt.ArrayLike,
        *,
        n_way: int | _Range | Literal["all"],
        n_shot: int | _Range,
        n_query: int,
        rows: _Ints | None = None,
        groups: npt.ArrayLike | None = None,
        clamp: bool = False,
        names: Sequence[Any] | npt.NDArray[Any] | None = None,
        owner: str = "EpisodeSampler",
        min_way: int = 2,
        class_tasks: ClassTasks | None = None,
    ) -> None:
        self._owner, self._names, self._clamp = owner, names, clamp
        self._min_way, self._unit = min_way, "task" if min_way == 1 else "class"
        self._tasks = class_tasks
        self._check_parameters(n_way, n_shot, n_query)
        self._n_shot, self._n_query = _as_range(n_shot), int(n_query)
        codes = np.asarray(codes, dtype=np.intp)
        n_classes = int(codes.max(initial=-1)) + 1 if names is None else len(names)
        self._groups = None if groups is None else self._index_groups(codes, groups, n_classes)
        self._rows = _ClassRows(codes, n_classes, self._groups, rows)
        full = self._can_fill(self._n_shot[1], self._n_query)
        self._check_classes(full, n_shot)
        drawable = self._can_fill(1, 1) if clamp else full
        if class_tasks is not None:
            drawable = self._check_tasks(class_tasks, drawable)
        self._drawable = np.flatnonzero(drawable)
        self._of_tasks = class_tasks and TaskDraw(self._drawable, class_tasks.task)
        self._n_way = self._fit_way(n_way)
        self.n_way_ = self._n_way if isinstance(n_way, tuple | list) else self._n_way[1]
        self.n_clamped_ = int(np.count_nonzero(~full))

    def plan(self, n_episodes: int, rng: np.random.Generator) -> EpisodePlan:
        """Draw episodes.

        Parameters
        ----------
        n_episodes : int
            Number of episodes.
        rng : numpy.random.Generator
            The source of all randomness.

        Returns
        -------
        plan : EpisodePlan
            The episodes. The arrays have room for the upper ends of ranges.
        """
        width = max(self._n_shot[1] + self._n_query, self._groups.max_cells if self._groups else 0)
        step = max(1, _CHUNK // (self._n_way[1] * width))
        chunks = [
            self._plan_chunk(min(step, n_episodes - start), rng)
            for start in range(0, max(n_episodes, 1), step)
        ]
        return EpisodePlan(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))

    def _plan_chunk(self, n_episodes: int, rng: np.random.Generator) -> EpisodePlan:
        n_way = rng.integers(*self._n_way, size=n_episodes, endpoint=True)
        n_shot = rng.integers(*self._n_shot, size=n_episodes, endpoint=True)
        classes = self._draw_classes(n_way, rng)
        if self._groups is None:
            support, query = self._draw_items(classes, n_shot, rng)
        else:
            classes, side = self._divide_groups(self._groups, classes, n_way, n_shot, rng)
            count, on_support = self._groups.look_up(classes, side)
            support = draw_from_cells(count, on_support, self._n_shot[1], rng)
            support = keep_first(support, n_shot[:, None])
            query = draw_from_cells(count, ~on_support, self._n_query, rng)
        take = self._rows.take
        return EpisodePlan(take(classes, support), take(classes, query), classes)

    def _draw_classes(self, n_way: _Ints, rng: np.random.Generator) -> _Ints:
        if self._of_tasks is not None:
            return keep_first(self._of_tasks.draw(len(n_way), self._n_way[1], rng), n_way)
        n_drawable = np.full(len(n_way), len(self._drawable))
        classes = self._drawable[sample(n_drawable, self._n_way[1], rng)]
        return keep_first(classes, n_way)

    def _draw_items(
        self, classes: _Ints, n_shot: _Ints, rng: np.random.Generator
    ) -> tuple[_Ints, _Ints]:
        """Return support and query items, numbered within their class."""
        max_shot = self._n_shot[1]
        size = self._rows.size[classes]
        items = sample(size, max_shot + self._n_query, rng)
        n_shot = np.minimum(n_shot[:, None], np.maximum(size - 1, 0))  # (n_episodes, n_way)
        support = keep_first(items[..., :max_shot], n_shot)
        after_support = n_shot[..., None] + np.arange(self._n_query)
        return support, np.take_along_axis(items, after_support, axis=-1)

    def _divide_groups(
        self,
        groups: _ClassGroups,
        classes: _Ints,
        n_way: _Ints,
        n_shot: _Ints,
        rng: np.random.Generator,
    ) -> tuple[_Ints, _Sides]:
        """Return classes that can go together, and the side of each group in each episode."""
        side = np.zeros((len(classes), groups.n_groups + 1), dtype=np.int8)
        todo = np.arange(len(classes))
        for n_tries in range(_N_TRIES):
            if n_tries and n_tries % _N_TRIES_PER_DRAW == 0:
                classes[todo] = self._draw_classes(n_way[todo], rng)
            side[todo], filled = groups.divide(
                classes[todo], n_shot[todo, None], self._n_query, self._clamp, rng
            )
            failed = ~filled.all(axis=1)
            todo, filled = todo[failed], filled[failed]
            if not todo.size:
                return classes, side
        if not self._clamp:
            raise ValueError(self._no_division(classes[todo], filled))
        classes[todo] = padding_last(np.where(filled, classes[todo], -1))
        return classes, side

    def _can_fill(self, n_shot: int, n_query: int) -> _Bools:
        """Return, for each class, whether it has this many examples for an episode."""
        if self._groups is None:
            return self._rows.size[:-1] >= n_shot + n_query
        return self._groups.can_fill(n_shot, n_query)

    def _index_groups(self, codes: _Ints, groups: npt.ArrayLike, n_classes: int) -> _ClassGroups:
        groups = np.asarray(groups)
        if groups.shape != codes.shape:
            must = f"have shape {codes.shape}, one label for each row"
            raise self._error("groups", must, f"shape {groups.shape}")
        return _ClassGroups(codes, np.unique(groups, return_inverse=True)[1], n_classes)

    def _fit_way(self, n_way: int | _Range | Literal["all"]) -> _Range:
        n_drawable, of_which, remedy = len(self._drawable), "", "Lower n_way or give more classes."
        if self._tasks is not None and self._of_tasks is not None:
            n_drawable = int(self._of_tasks.size.max())
            if not self._clamp and not isinstance(n_way, str):
                n_drawable, smallest = self._tasks.smallest()
                of_which = " of the smallest task"
                remedy = f'{smallest}; lower n_way, take n_way="all" or leave its samples out.'
        low, high = (n_drawable, n_drawable) if isinstance(n_way, str) else _as_range(n_way)
        if high > n_drawable and not self._clamp:
            must = f"be at most the number of classes{of_which}, {n_drawable}"
            raise self._error("n_way", must, n_way, remedy)
        return min(low, n_drawable), min(high, n_drawable)

    def _check_parameters(self, n_way: Way, n_shot: Range, n_query: Any) -> None:
        an_int = "be an int of at least {}".format
        pair = " or a pair (low, high) of such ints"
        if not (_is_range(n_way, self._min_way) or (isinstance(n_way, str) and n_way == "all")):
            raise self._error("n_way", an_int(self._min_way) + pair + ' or "all"', repr(n_way))
        if not _is_range(n_shot, 1):
            raise self._error("n_shot", an_int(1) + pair, repr(n_shot))
        if not _is_int(n_query, 1):
            raise self._error("n_query", an_int(1), repr(n_query))

    def _check_classes(self, full: _Bools, n_shot: int | _Range) -> None:
        n_classes = np.count_nonzero(self._rows.size)
        if n_classes < self._min_way:
            least = "one class" if self._min_way == 1 else "two classes"
            raise ValueError(f"{self._owner} needs at least {least}. Got {n_classes}.")
        if self._clamp and not self._can_fill(1, 1).any():
            what = "two examples" if self._groups is None else "examples of two groups"
            raise ValueError(f"{self._owner} needs a {self._unit} with {what}. Got none.")
        if not self._clamp and not full.all():
            others = "" if self._groups is None else " of other groups"
            must = (
                f"leave n_query={self._n_query} examples{others} for queries in every {self._unit}"
            )
            remedy = f"lower n_shot + n_query or drop the {self._unit}."
            raise self._error("n_shot", must, n_shot, f"{self._worst(~full)}; {remedy}")

    def _check_tasks(self, tasks: ClassTasks, drawable: _Bools) -> _Bools:
        """Return the classes whose task has another one to draw; raise if these are too few."""
        size, smallest = tasks.smallest()
        if size < 2 and not self._clamp:
            raise ValueError(
                f"{self._owner} draws the classes of an episode from one task, which needs two. "
                f"{smallest}; give it another one, or leave its samples out."
            )
        paired = tasks.paired(drawable)
        if not paired.any():
            need = "needs a task with two classes of two examples each. Got none."
            raise ValueError(f"{self._owner} {need}")
        return paired

    def _worst(self, short: _Bools) -> str:
        """Describe the smallest of the classes that are too small, and count the others."""
        codes = np.flatnonzero(short)
        text = self._describe(codes[np.argmin(self._rows.size[codes])])
        if len(codes) == 1:
            return text
        more, units = len(codes) - 1, "tasks" if self._unit == "task" else "classes"
        others = f"another {self._unit}" if more == 1 else f"{more} other {units}"
        return f"{text}, too few like those of {others}"

    def _describe(self, code: int) -> str:
        name = repr(plain(code if self._names is None else self._names[code]))
        name += "" if self._tasks is None else f" of {self._tasks.describe(code)}"
        text = f"{self._unit.capitalize()} {name} has {_plural(self._rows.size[code], 'example')}"
        if self._groups is None:
            return text
        return f"{text} in {_plural(self._groups.n_cells[code], 'group')}"

    def _no_division(self, classes: _Ints, filled: _Bools) -> str:
        return (
            f"{self._owner} found no episode of up to {self._n_way[1]} classes whose support and "
            f"query share no group, in {_N_TRIES} tries. {self._describe(classes[~filled][0])} and "
            "was left without enough of them on one side; lower n_way, n_shot or n_query, or "
            "drop the class."
        )

    def _error(self, name: str, must: str, got: object, remedy: str = "") -> ValueError:
        text = f"The {name!r} parameter of {self._owner} must {must}. Got {got}. {remedy}"
        return ValueError(text.rstrip())


class _ClassRows:
    """Rows of each class, in the order of their groups; class -1 (padding) has none."""

    def __init__(
        self, codes: _Ints, n_classes: int, groups: _ClassGroups | None, rows: _Ints | None
    ) -> None:
        size = np.bincount(codes, minlength=n_classes)
        self.size = np.append(size, 0)
        self._start = np.append(np.cumsum(size) - size, 0)
        order = np.argsort(codes if groups is None else groups.cell_of_row, kind="stable")
        self._order = order if rows is None else rows[order]

    def take(self, classes: _Ints, items: _Ints) -> _Ints:
        """Return the rows of items that are numbered within their class; -1 for item -1."""
        return np.where(items < 0, -1, self._order[self._start[classes][..., None] + items])


class _ClassGroups:
    """Groups of each class, as cells: the rows of one class and one group.

    Cells are numbered class by class. Cell -1, with no rows and of a group that no class has, is
    the padding where a class has fewer than `max_cells` groups; class -1 has only that.
    """

    def __init__(self, codes: _Ints, groups: _Ints, n_classes: int) -> None:
        self.n_groups = int(groups.max(initial=-1)) + 1
        cells, self.cell_of_row, count = np.unique(
            codes * self.n_groups + groups, return_inverse=True, return_counts=True
        )
        n_cells = np.bincount(cells // self.n_groups, minlength=n_classes)
        self.n_cells = np.append(n_cells, 0)
        self.max_cells = int(n_cells.max(initial=0))
        self._start = np.append(np.cumsum(n_cells) - n_cells, 0)
        self._group = np.append(cells % self.n_groups, self.n_groups)
        self._count = np.append(count, 0)

    def can_fill(self, n_shot: int, n_query: int) -> _Bools:
        """Return, for each class, whether its groups can be divided to have this many rows."""
        counts = np.split(self._count[:-1], self._start[1:-1])
        return np.array([_can_divide(count, n_shot, n_query) for count in counts])

    def divide(
        self, classes: _Ints, n_shot: _Ints, n_query: int, clamp: bool, rng: np.random.Generator
    ) -> tuple[_Sides, _Bools]:
        """Put the groups of each episode on sides.

        Parameters
        ----------
        classes : ndarray of shape (n_episodes, n_way)
            Codes of the classes.
        n_shot : ndarray of shape (n_episodes, 1)
            Support rows that a class needs.
        n_query : int
            Query rows that a class needs.
        clamp : bool
            Whether one row on each side will do.
        rng : numpy.random.Generator
            Source of the orders of the groups.

        Returns
        -------
        side : ndarray of shape (n_episodes, n_groups + 1)
            Side of each group; the last is that of the padding.
        filled : ndarray of shape (n_episodes, n_way)
            Whether each class has the rows it needs.
        """
        side = np.full((len(classes), self.n_groups + 1), _OPEN, dtype=np.int8)
        filled = classes < 0
        episodes = np.arange(len(classes))
        # Classes of few groups come first: others have more freedom to follow them. So the first
        # two always have a row on each side, which is what clamping relies on.
        for ways in np.argsort(self.n_cells[classes], axis=1, kind="stable").T:
            cell = self._cells(classes[episodes, ways])
            filled[episodes, ways] |= _divide_class(
                side, self._group[cell], self._count[cell], n_shot, n_query, clamp, rng
            )
        return side, filled

    def look_up(self, classes: _Ints, side: _Sides) -> tuple[_Ints, _Bools]:
        """Return rows in each cell of the classes, and whether it is on the support side."""
        cell = self._cells(classes)  # (n_episodes, n_way, max_cells)
        episodes = np.arange(len(classes))[:, None, None]
        return self._count[cell], side[episodes, self._group[cell]] == _SUPPORT

    def _cells(self, classes: _Ints) -> _Ints:
        number = np.arange(self.max_cells)
        has = number < self.n_cells[classes][..., None]
        return np.where(has, self._start[classes][..., None] + number, -1)


def _divide_class(
    side: _Sides,
    group: _Ints,
    count: _Ints,
    n_shot: _Ints,
    n_query: int,
    clamp: bool,
    rng: np.random.Generator,
) -> _Bools:
    """Decide, in `side`, the open groups of one class an episode; return where that succeeds."""
    done = np.zeros(len(side), dtype=np.bool_)
    todo = np.flatnonzero(count.any(axis=1))
    for i, tilt in enumerate(_TILTS):
        known = side[todo[:, None], group[todo]]
        new, cost = _cut_order(known, count[todo], n_shot[todo], n_query, tilt, rng)
        good = cost < (np.inf if clamp and i == len(_TILTS) - 1 else 1)
        side[todo[good, None], group[todo[good]]] = new[good]
        done[todo[good]] = True
        todo = todo[~good]
        if not todo.size:
            break
    return done


def _cut_order(
    known: _Sides,
    count: _Ints,
    n_shot: _Ints,
    n_query: int,
    tilt: int,
    rng: np.random.Generator,
) -> tuple[_Sides, _Floats]:
    """Order the cells at random between those on known sides, and cut where it costs least.

    Parameters
    ----------
    known : ndarray of shape (n_episodes, n_cells)
        Sides that are decided already.
    count : ndarray of shape (n_episodes, n_cells)
        Rows of each cell.
    n_shot : ndarray of shape (n_episodes, 1)
        Support rows needed.
    n_query : int
        Query rows needed.
    tilt : int
        Exponent of `count` in the order: big cells tend to come last if positive.
    rng : numpy.random.Generator
        Source of the order.

    Returns
    -------
    side : ndarray of shape (n_episodes, n_cells)
        Sides of all cells.
    cost : ndarray of shape (n_episodes,)
        Under 1 if nothing is missing, infinite if a side is empty.
    """
    key = rng.standard_exponential(count.shape) * np.maximum(count, 1.0) ** tilt
    key[known == _SUPPORT] = -np.inf
    key[known == _QUERY] = np.inf
    order = np.argsort(key, axis=1)
    ordered = np.take_along_axis(key, order, axis=1)
    on_support = np.cumsum(np.take_along_axis(count, order, axis=1), axis=1)
    cost = _cut_cost(on_support[:, :-1], on_support[:, -1:], n_shot, n_query)
    cost[ordered[:, :-1] == ordered[:, 1:]] = np.inf  # within a known side
    best = np.argmin(cost, axis=1)[:, None]
    side = np.where(key <= np.take_along_axis(ordered, best, axis=1), _SUPPORT, _QUERY)
    return side.astype(np.int8), np.take_along_axis(cost, best, axis=1)[:, 0]


def _cut_cost(on_support: _Ints, total: _Ints, n_shot: _Ints, n_query: int) -> _Floats:
    """Return the rows missing, and as a fraction how uneven the sides are for their needs."""
    on_query = total - on_support
    shots = np.minimum(n_shot, total - 1)
    queries = np.minimum(n_query, total - shots)
    missing = np.maximum(shots - on_support, 0) + np.maximum(queries - on_query, 0)
    uneven = np.abs(on_support * queries - on_query * shots) / (total * (shots + queries))
    return np.where((on_support > 0) & (on_query > 0), missing + uneven, np.inf)


def _can_divide(count: _Ints, n_shot: int, n_query: int) -> bool:
    """Tell whether some of the groups have n_shot rows or more, and the others n_query."""
    n_spare = int(count.sum()) - n_shot - n_query
    if n_spare < 0 or n_spare + 1 >= count.max():
        return n_spare >= 0  # growing the support by a group at a time cannot skip all the cuts
    sums = 1  # bit s is set if some of the groups have s rows together
    for n_rows in count.tolist():
        sums |= sums << n_rows
    return (sums >> n_shot) & ((2 << n_spare) - 1) != 0


def _as_range(value: int | _Range) -> _Range:
    low, high = value if isinstance(value, tuple | list) else (value, value)
    return int(low), int(high)


def _is_range(value: Any, least: int) -> bool:
    ends = value if isinstance(value, tuple | list) else (value, value)
    return len(ends) == 2 and all(_is_int(end, least) for end in ends) and ends[0] <= ends[1]


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
