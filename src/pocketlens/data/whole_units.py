"""Which units (groups, sets of equal images) are held out, so that every class gives its share as nearly as they allow.

The units are taken by their keys, the first ones first. A class that gives its share so, or nearly, is left at that.
The others are solved: a class whose units hold no other class by an exact search over the sums of its units,
classes that share units exactly where they have few of them, and by changes and exchanges of units otherwise. Sums in
a fixed order decide, and no solver of a library, so that every machine makes the same choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_EMPTIED, _LOST, _ALONE = 1e8, 1e4, 1e2  # costs of a class that keeps nothing, gives nothing, or keeps too few units
_MOST_CELLS = 1 << 22  # subsets times classes that are tried one by one
_MOST_BITS = 1 << 28  # of the sums that an exact search remembers
_MOST_CHANGES = 300
_MORE = 1.5  # times the share of all rows that may be taken so that every class gives a row
_EXCHANGED, _EXCHANGED_CELLS = 64, 1 << 19  # held units that are tried in exchanges; pairs times classes
_NEAR = 0.01  # of the rows that are wanted of a class, and one row at least: near enough


@dataclass(frozen=True, eq=False)
class Units:
    """Units and their rows of each class: P pairs of a unit and a class, each once.

    Attributes:
        unit: (P,) the unit of each pair; units are numbered in the order of their keys.
        label: (P,) its class; classes are numbered from 0 to K - 1, and each has a unit.
        size: (P,) how many rows the unit has of the class.
        n: number of units.
        n_classes: number of classes.
    """

    unit: Ints
    label: Ints
    size: Ints
    n: int
    n_classes: int

    @cached_property
    def n_rows(self) -> Ints:
        """(K,) rows of each class."""
        return self.rows_in(np.ones(self.n, bool))

    @cached_property
    def n_units(self) -> Ints:
        """(K,) units of each class."""
        return self.units_in(np.ones(self.n, bool))

    @cached_property
    def first(self) -> Ints:
        """(K,) the first unit of each class; `n` for a class without units."""
        result = np.full(self.n_classes, self.n, np.int64)
        np.minimum.at(result, self.label, self.unit)
        return result

    def at_home(self) -> Units:
        """The same units, each with all of its rows in the first of its classes."""
        home = np.full(self.n, self.n_classes, np.int64)
        np.minimum.at(home, self.unit, self.label)
        size = np.bincount(self.unit, self.size, self.n).astype(np.int64)
        return Units(np.arange(self.n), home, size, self.n, self.n_classes)

    def rows_in(self, held: Bools) -> Ints:
        """(K,) rows of each class in the units that are held."""
        pairs = held[self.unit]
        return np.bincount(self.label[pairs], self.size[pairs], self.n_classes).astype(np.int64)

    def units_in(self, held: Bools) -> Ints:
        """(K,) units of each class among those that are held."""
        return np.bincount(self.label[held[self.unit]], minlength=self.n_classes)

    def table(self) -> Ints:
        """(U, K) rows of each class in each unit."""
        rows = np.zeros((self.n, self.n_classes), np.int64)
        rows[self.unit, self.label] = self.size
        return rows


@dataclass(frozen=True, eq=False)
class Share:
    """What is wanted of each class, K of them or any other number with repetitions.

    Attributes:
        wanted: rows that are to be held out.
        n_rows: rows of the class.
        n_units: its units.
        least_left: units that a class with more of them keeps; 1 or 2.
    """

    wanted: Floats
    n_rows: Ints
    n_units: Ints
    least_left: int

    def take(self, labels: Ints) -> Share:
        """The shares of some classes."""
        return Share(self.wanted[labels], self.n_rows[labels], self.n_units[labels], self.least_left)

    def costs(self, rows: Ints, n_held: Ints) -> Floats:
        """(…, K) what is wrong where `rows` rows in `n_held` units are held; 0 near enough to what is wanted.

        A class that gives nothing, though something is wanted and it has two units, outweighs all distances.
        """
        near = np.maximum(_NEAR * self.wanted, 1)
        off = np.maximum(np.abs(rows - self.wanted) - near, 0) / self.n_rows
        n_left, can_give = self.n_units - n_held, (self.wanted > 0) & (self.n_units > 1)
        alone = (n_left < self.least_left) & (self.n_units > self.least_left)
        costs: Floats = off * off + _LOST * (can_give & (rows == 0)) + _EMPTIED * (n_left < 1) + _ALONE * alone
        return costs


def seats(units: Units, fraction: float) -> Floats:
    """(K,) whole rows that each class gives, so that the share also holds over all rows.

    Every class gives its share to the nearest row, and with two units at least one row, unless that would take half
    more than the share of all rows. If the sum misses that share by more than a twentieth, the classes with the largest
    remainders make up for it; of equal ones those whose first unit comes first.
    """
    first, wanted = units.first, np.asarray(fraction * units.n_rows, np.float64)
    most = np.where(units.n_units > 1, units.n_rows - 1, 0)
    total = round(fraction * int(units.n_rows.sum()), 6)
    lowest, highest = max(int(np.floor(total)), int(total >= 0.5)), int(np.ceil(total))
    least = np.minimum(most, int((most > 0).sum() <= _MORE * total))
    given = np.clip(np.floor(wanted + 0.5).astype(np.int64), least, most)
    if abs(given.sum() - total) <= total / 20:
        return np.asarray(given, np.float64)
    while given.sum() > highest and (given > least).any():
        over = np.flatnonzero(given > least)
        over = over[np.lexsort((first[over], (wanted - given)[over]))]
        given[over[: given.sum() - highest]] -= 1
    while given.sum() < lowest and (given < most).any():
        under = np.flatnonzero(given < most)
        under = under[np.lexsort((first[under], (given - wanted)[under]))]
        given[under[: lowest - given.sum()]] += 1
    return np.asarray(given, np.float64)


def choose(units: Units, fraction: float, *, by_seats: bool, least_left: int = 1) -> Bools:
    """(U,) bool: the units that are held out, with about `fraction` of the rows of every class.

    Every class keeps one unit, and `least_left` if it has more than that.

    Args:
        units: the units.
        fraction: above 0 and below 1.
        by_seats: the share holds over all rows, see `seats`, so that of many small classes some give nothing; without
            it a class gives rows wherever that leaves it a unit.
        least_left: 1 or 2.
    """

    def wanted_of(part: Units) -> Floats:
        return seats(part, fraction) if by_seats else np.asarray(fraction * part.n_rows, np.float64)

    home = units.at_home()
    held = _first_ones(home, wanted_of(home))
    wanted = wanted_of(units)
    share = Share(wanted, units.n_rows, units.n_units, least_left)
    costs = share.costs(units.rows_in(held), units.units_in(held))
    if costs.any():
        for part in _parts(units, costs > 0):
            held[part.numbers] = _solve(part.units, share.take(part.classes), held[part.numbers])
    return held


def _first_ones(home: Units, wanted: Floats) -> Bools:
    """(U,) bool: of every class the first units by key, up to its share; the last unit of a class stays."""
    order = np.lexsort((home.unit, home.label))
    size, label = home.size[order], home.label[order]
    begins = np.flatnonzero(np.diff(label, prepend=-1))
    before = np.cumsum(size) - size
    before -= np.repeat(before[begins], np.diff(begins, append=len(label)))
    fits = before + size / 2 <= wanted[label]
    fits[np.append(begins[1:], len(label)) - 1] = False
    held = np.zeros(home.n, bool)
    held[home.unit[order]] = fits
    return held


@dataclass(frozen=True, eq=False)
class _Part:
    """Classes that share units, with their units: (U',) and (K',) their numbers among all."""

    units: Units
    numbers: Ints
    classes: Ints


def _parts(units: Units, wrong: Bools) -> Iterator[_Part]:
    """The connected parts of classes and units in which a class is wrong; `wrong` is (K,) bool."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = units.n_classes + units.n
    edges = coo_array((np.ones(len(units.unit)), (units.label, units.unit + units.n_classes)), shape=(n, n))
    part = connected_components(edges, directed=False)[1][: units.n_classes][units.label]  # (P,)
    order = np.argsort(part, kind="stable")
    ends = np.flatnonzero(np.diff(part[order], append=-1)) + 1
    for pairs in np.split(order, ends[:-1]):
        if wrong[units.label[pairs]].any():
            numbers, unit = np.unique(units.unit[pairs], return_inverse=True)
            classes, label = np.unique(units.label[pairs], return_inverse=True)
            size = units.size[pairs]
            inside = Units(unit.reshape(-1), label.reshape(-1), size, len(numbers), len(classes))
            yield _Part(inside, numbers, classes)


def _solve(units: Units, share: Share, held: Bools) -> Bools:
    """(U,) bool: the best choice for a connected part, or one that is better than `held` where there are many units."""
    if units.n_classes == 1:
        if units.n > 1 and 3 * units.n * (2 * share.wanted[0] + 2) <= _MOST_BITS:
            size = units.size[np.argsort(units.unit)]
            return _nearest_sum([int(each) for each in size], float(share.wanted[0]), share.least_left)
    elif units.n_classes << min(units.n, 40) <= _MOST_CELLS:
        return _best_of_all(units, share)
    return _improved(units, share, held)


def _nearest_sum(sizes: list[int], wanted: float, least_left: int) -> Bools:
    """(U,) bool: units of one class whose sizes add up nearest to `wanted`, above 0; of equal ones the first by key."""
    n, left = len(sizes), min(least_left, len(sizes) - 1)
    mask = (1 << int(2 * wanted) + 2) - 1  # a sum beyond is farther away than the smallest unit
    # reach[i][k] has bit s where units i, i + 1, ... can give s rows and leave out k of them or more
    reach = [[1] + [0] * left]
    for size in reversed(sizes):
        after = reach[-1]
        reach.append([(after[k] << size) & mask | after[max(k - 1, 0)] for k in range(left + 1)])
    reach.reverse()
    held, sums = np.zeros(n, bool), reach[0][left] & ~1
    if not sums:
        held[int(np.argmin(sizes))] = True
        return held
    whole = int(wanted) + 1
    below, above = (sums & ((1 << whole) - 1)).bit_length() - 1, sums >> whole
    lowest = whole + (above & -above).bit_length() - 1
    to_give = lowest if above and (below < 1 or lowest - wanted <= wanted - below) else below
    for i, size in enumerate(sizes):
        held[i] = to_give >= size and bool(reach[i + 1][left] >> (to_give - size) & 1)
        to_give, left = (to_give - size, left) if held[i] else (to_give, max(left - 1, 0))
    return held


def _best_of_all(units: Units, share: Share) -> Bools:
    """(U,) bool: the best of all subsets; of equal ones the one with the first units by key."""
    subsets = np.arange(1 << units.n, dtype=np.int64)[::-1]
    bits = (subsets[:, None] >> np.arange(units.n)[::-1]) & 1  # the first unit is the highest bit
    table = units.table()
    costs = share.costs(bits @ table, bits @ (table > 0))
    return np.asarray(bits[int(np.argmin(_summed(costs)))], bool)


def _improved(units: Units, share: Share, held: Bools) -> Bools:
    """(U,) bool: `held` with units changed, or exchanged, one after the other as long as that gains."""
    held = held.copy()
    for _ in range(_MOST_CHANGES):
        rows, n_held = units.rows_in(held), units.units_in(held)
        if not share.costs(rows, n_held).any():
            break
        changed = _best_change(units, share, held)
        changed = _best_exchange(units, share, held) if changed is None else changed
        if changed is None:
            break
        held[changed] = ~held[changed]
    return held


def _best_change(units: Units, share: Share, held: Bools) -> Ints | None:
    """(1,) the unit that gains most if it is held or let go, or None if no unit gains."""
    rows, n_held, sign = units.rows_in(held), units.units_in(held), 1 - 2 * held[units.unit].astype(np.int64)
    after = share.take(units.label).costs(rows[units.label] + sign * units.size, n_held[units.label] + sign)
    gain = np.bincount(units.unit, after - share.costs(rows, n_held)[units.label], units.n)
    best = int(np.argmin(gain))
    return np.array([best]) if gain[best] < -1e-9 else None


def _best_exchange(units: Units, share: Share, held: Bools) -> Ints | None:
    """(2,) the held unit and the other one that gain most if they are exchanged, or None if no two gain."""
    rows, n_held, k = units.rows_in(held), units.units_in(held), units.n_classes
    given = np.flatnonzero(held)[:_EXCHANGED]
    others = np.flatnonzero(~held)[: max(1, _EXCHANGED_CELLS // (k * max(1, len(given))))]
    if not len(given) or not len(others):
        return None
    out, into = _table_of(units, given), _table_of(units, others)
    after = rows - out[:, None] + into[None]
    n_after = n_held - (out > 0)[:, None].astype(np.int64) + (into > 0)[None]
    gain = _summed(share.costs(after, n_after)) - _summed(share.costs(rows, n_held))
    best = int(np.argmin(gain))
    i, j = divmod(best, len(others))
    return np.array([given[i], others[j]]) if gain[i, j] < -1e-9 else None


def _table_of(units: Units, chosen: Ints) -> Ints:
    """(len(chosen), K) rows of each class in some units."""
    place = np.full(units.n, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    pairs = place[units.unit] >= 0
    table = np.zeros((len(chosen), units.n_classes), np.int64)
    table[place[units.unit[pairs]], units.label[pairs]] = units.size[pairs]
    return table


def _summed(costs: Floats) -> Floats:
    """The sum over the last axis, one class after the other, so that it is the same on every machine."""
    total = np.zeros(costs.shape[:-1])
    for k in range(costs.shape[-1]):
        total = total + costs[..., k]
    return total
