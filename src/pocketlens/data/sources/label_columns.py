"""Which column of a table holds the labels: the one named, one with a usual name, the only one left, or 0/1 columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pocketlens.data.sources.columns import LABEL, folded, known_columns, named_column
from pocketlens.data.sources.table_source import TableSource
from pocketlens.errors import PocketlensError
from pocketlens.text import listed, printable

_ONE, _ZERO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})
_ENDINGS = ("label", "labels", "class", "classname", "category")
_INDEX = ("", "unnamed0", "index", "level0")  # what pandas writes before the columns


@dataclass(frozen=True)
class Labels:
    """The label of each row of a table, "" where there is none, and what was understood."""

    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_labels(source: TableSource, used: Collection[int]) -> Labels:
    """The labels of a table; `used` are the columns of files, groups and parts, which hold none.

    Raises:
        PocketlensError: there is no such column, several could be it, or a row of 0/1 columns has not one 1.
    """
    wanted = source.request.columns.label
    if wanted is not None:
        return _of(source, named_column(source.header, wanted, "label_column", source.name))
    free = [column for column in range(len(source.header)) if column not in used]
    known = [column for column in known_columns(source.header, LABEL) if column in free]
    ending = [column for column in free if folded(source.header[column]).endswith(_ENDINGS)]  # such as "true label"
    if known or ending:
        return _known(source, known or ending)
    columns = [column for column in free if folded(source.header[column]) not in _INDEX]
    flags = [column for column in columns if _is_flag(source.cells(column))]
    if len(flags) > 1 and _is_one_hot(source, flags):
        return _one_hot(source, flags)
    likely = columns if len(columns) == 1 else [column for column in columns if _is_likely(source.cells(column))]
    if len(likely) == 1:
        return _of(source, likely[0], f"the column {_shown(source, likely[0])} of {source.short_name} gives the labels")
    if not likely:
        raise PocketlensError(
            f"{source.name} must have a column of labels beside the file names; its columns are "
            f"{listed([printable(name) for name in source.header], 10)}. To say which, type "
            f"{source.typed('label_column', source.key(columns[0] if columns else 0))}."
        )
    raise _several(source, likely)


def _of(source: TableSource, column: int, note: str = "") -> Labels:
    return Labels(tuple(source.cells(column)), (note,) if note else ())


def _known(source: TableSource, known: Sequence[int]) -> Labels:
    """The column with a usual name; of several that say the same, the one with names in place of numbers."""
    first = known[0]
    rivals = [
        column for column in known[1:] if len(set(source.cells(column))) > 1 and not _agree(source, first, column)
    ]
    if folded(source.header[first]) in ("label", "labels"):
        notes = [
            f"the column {_shown(source, first)} of {source.short_name} gives the labels, and {_shown(source, rival)} "
            f"does not; for that, type {source.typed('label_column', source.key(rival))}"
            for rival in rivals[:1]
        ]
        return Labels(tuple(source.cells(first)), tuple(notes))
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
        f"{source.name}: {len(columns)} columns could hold the labels. Type one of: {listed(choices, 6)}."
    )


def _counted(source: TableSource, column: int) -> str:
    values = list(dict.fromkeys(source.cells(column)))
    return f"{len(values)} values, such as {listed([repr(printable(value)) for value in values[:2]])}"


def _shown(source: TableSource, column: int) -> str:
    name = source.header[column]
    return f"number {column + 1}" if name == f"column {column + 1}" else repr(printable(name))


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
    ones = _ones(source, columns)
    wrong = [
        f"line {line} has {len(each) or 'none'}"
        for line, each in zip(source.lines, ones, strict=True)
        if len(each) != 1
    ]
    if wrong:
        raise PocketlensError(
            f"{source.name}: exactly one of the {len(columns)} columns of 0 and 1 must be 1 in each row, as an image "
            f"has one class; in {len(wrong)} rows this is not so: {listed(wrong, 5)}. Mend or delete these rows."
        )
    note = f"the {len(columns)} columns of 0 and 1 of {source.short_name} give the labels, their names are the classes"
    return Labels(tuple(source.header[each[0]] for each in ones), (note,))
