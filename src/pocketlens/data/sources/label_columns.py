"""Which column of a table holds the labels: the one named, one with a usual name, the only one left, or 0/1 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pocketlens.data.sources.columns import LABEL, folded, known_columns
from pocketlens.data.sources.table_source import TableSource
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed, printable

_ONE, _ZERO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})
_ENDINGS = ("label", "labels", "class", "classname", "category")
_INDEX = ("", "unnamed0", "index", "level0")  # what pandas writes before the columns


@dataclass(frozen=True)
class Labels:
    """The label of each row of a table, "" where there is none, and what was understood.

    Attributes:
        cells: the label of each row; of a row with several of them, any text.
        shown: where they stand, in a sentence.
        several: the rows with several labels, each with them.
        notes: what a person should know.
    """

    cells: tuple[str, ...]
    shown: str
    several: tuple[SeveralLabels, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeveralLabels:
    """A row that lists more than one class."""

    row: int
    labels: tuple[str, ...]


def read_labels(source: TableSource, used: Collection[int]) -> Labels:
    """The labels of a table; `used` are the columns of files, groups and parts, which hold none.

    Raises:
        PocketlensError: there is no such column, several could be it, or a row of 0/1 columns has not one 1.
    """
    wanted = source.request.columns.label
    if wanted is not None:
        return _of(source, source.column("label_column", wanted))
    free = [column for column in range(len(source.header)) if column not in used]
    known = [column for column in known_columns(source.header, LABEL) if column in free]
    ending = [column for column in free if folded(source.header[column]).endswith(_ENDINGS)]  # such as "true label"
    if known or ending:
        return _known(source, known or ending)
    columns = [column for column in free if folded(source.header[column]) not in _INDEX]
    flags = [column for column in columns if _is_flag(source.cells(column))]
    if len(flags) > 1 and _is_one_hot(source, flags):
        return _one_hot(source, flags)
    if len(flags) > 2 and len(flags) == len(columns):
        return _many_hot(source, flags)
    likely = columns if len(columns) == 1 else [column for column in columns if _is_likely(source.cells(column))]
    if len(likely) == 1:
        return _of(source, likely[0])
    if not likely:
        raise PocketlensError(
            f"{source.name} must have a column of labels beside the file names; its columns are "
            f"{listed([printable(name) for name in source.header], 10)}. To say which, type "
            f"{source.typed('label_column', source.key(columns[0] if columns else 0))}."
        )
    raise _several(source, likely)


def _of(source: TableSource, column: int, notes: tuple[str, ...] = ()) -> Labels:
    cells = source.cells(column)
    parts = several_in(cells, is_plural=folded(source.header[column]).endswith("s"))
    rows = tuple(SeveralLabels(row, parts[cell]) for row, cell in enumerate(cells) if cell in parts)
    return Labels(tuple(cells), source.shown(column), rows, notes)


def _known(source: TableSource, known: Sequence[int]) -> Labels:
    """The column with a usual name; of several that say the same, the one with names in place of numbers."""
    first = known[0]
    rivals = [
        column for column in known[1:] if len(set(source.cells(column))) > 1 and not _agree(source, first, column)
    ]
    if folded(source.header[first]) in ("label", "labels"):
        notes = [
            f"the column {source.named(first)} of {source.short_name} gives the labels, and {source.named(rival)} "
            f"does not; for that, type {source.typed('label_column', source.key(rival))}"
            for rival in rivals[:1]
        ]
        return _of(source, first, tuple(notes))
    if rivals:
        raise _several(source, [first, *rivals])
    named = [column for column in known if not all(cell.isdigit() for cell in source.cells(column))]
    same = [column for column in named if _agree(source, first, column)]
    return _of(source, first if first in named or not same else same[0])


def _agree(source: TableSource, one: int, other: int) -> bool:
    """Whether two columns divide the rows into the same classes."""
    pairs = len({(row[one], row[other]) for row in source.rows})
    return pairs == len(set(source.cells(one))) == len(set(source.cells(other)))


def _several(source: TableSource, columns: Sequence[int]) -> PocketlensError:
    choices = [f"{source.typed('label_column', source.key(column))} ({_counted(source, column)})" for column in columns]
    return PocketlensError(
        f"{source.name}: {counted(len(columns), 'column')} could hold the labels. Type one of: {listed(choices, 6)}."
    )


def _counted(source: TableSource, column: int) -> str:
    values = list(dict.fromkeys(source.cells(column)))
    return f"{counted(len(values), 'value')}, such as {listed([repr(printable(value)) for value in values[:2]])}"


def _is_likely(cells: Sequence[str]) -> bool:
    """Whether cells look like labels: a few values that recur, and no measured numbers."""
    values = set(cells) - {""}
    measured = sum("." in value and value.replace(".", "", 1).lstrip("-").isdigit() for value in values)
    return 2 <= len(values) <= max(2, len(cells) // 2) and 2 * measured < len(values)


def _is_flag(cells: Sequence[str]) -> bool:
    return all(cell.casefold() in _ONE | _ZERO for cell in cells)


def _ones(source: TableSource, columns: Sequence[int]) -> list[list[int]]:
    """For each row the columns that hold 1."""
    return [[column for column in columns if row[column].casefold() in _ONE] for row in source.rows]


def _is_one_hot(source: TableSource, columns: Sequence[int]) -> bool:
    ones = _ones(source, columns)
    return 10 * sum(len(each) == 1 for each in ones) >= 9 * len(ones)


def _one_hot(source: TableSource, columns: Sequence[int]) -> Labels:
    """Labels by columns of 0 and 1, of which nearly all rows have one 1."""
    ones = _ones(source, columns)
    none = [line for line, each in zip(source.lines, ones, strict=True) if not each]
    if none and not source.request.skip:
        raise PocketlensError(
            f"{source.name}: one of the {counted(len(columns), 'column')} of 0 and 1 must be 1 in each row, "
            "as an image has one "
            f"class; {counted(len(none), 'row has', 'rows have')} none: {listed([f'line {line}' for line in none], 5)}."
            f" Fix these rows, or leave them out with {source.typed('bad', 'skip')}."
        )
    return _by_ones(source, columns)


def _many_hot(source: TableSource, columns: Sequence[int]) -> Labels:
    """Labels by columns of 0 and 1 where many rows have several; refused if nearly all have, unless they are left out.

    Raises:
        PocketlensError: no row has exactly one 1.
    """
    found = _by_ones(source, columns)
    if any(found.cells[row] for row in set(range(len(found.cells))) - {each.row for each in found.several}):
        return found
    raise _several(source, columns)


def _by_ones(source: TableSource, columns: Sequence[int]) -> Labels:
    ones = _ones(source, columns)
    several = tuple(
        SeveralLabels(row, tuple(source.header[column] for column in each))
        for row, each in enumerate(ones)
        if len(each) > 1
    )
    shown = f"the names of {counted(len(columns), 'column')} of 0 and 1"
    return Labels(tuple(source.header[each[0]] if each else "" for each in ones), shown, several)


def several_in(cells: Sequence[str], *, is_plural: bool) -> dict[str, tuple[str, ...]]:
    """The cells that list several classes, such as `cat|dog`, each with them; none where the sign is part of a name.

    A sign divides classes if what it divides also occurs alone or at another place of a list. Commas and spaces stand
    in names too: all that they divide must occur alone, or nearly all must recur in lists of different lengths. One
    list with a space counts only where the name of the column is a plural, `is_plural`: `paper plane` is no list.
    """
    values = {value for value in cells if value}
    for sign in ("|", ";", ",", " "):
        lists = {value: tuple(filter(None, map(str.strip, value.split(sign)))) for value in values}
        several = {value: parts for value, parts in lists.items() if len(parts) > 1}
        if several and _divides(sign, lists, several, is_plural):
            return several
    return {}


def _divides(
    sign: str, lists: dict[str, tuple[str, ...]], several: dict[str, tuple[str, ...]], is_plural: bool
) -> bool:
    alone = {parts[0] for value, parts in lists.items() if len(parts) == 1}
    divided = {part for parts in several.values() for part in parts}
    if sign in "|;":
        places = {(part, place) for parts in several.values() for place, part in enumerate(parts)}
        return bool(divided & alone) or len(places) > len(divided)
    if divided <= alone:
        return sign == "," or is_plural or len(several) > 1
    counts = Counter(part for parts in lists.values() for part in set(parts))
    recurring = sum(counts[part] > 2 for part in divided)
    return len({len(parts) for parts in lists.values()}) > 2 and 10 * recurring >= 9 * len(divided)
