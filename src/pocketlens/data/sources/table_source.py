"""Opens a table of labels: which reading of its lines, whether it has a header, and which column names the files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pocketlens.components import Component
from pocketlens.data.sources.columns import (
    BY_FOLDERS,
    FILE,
    LABEL,
    NO_COLUMN,
    Columns,
    folded,
    known_columns,
    named_column,
)
from pocketlens.data.sources.delimited import Grid, is_picture, readings
from pocketlens.data.sources.file_names import Files, prefix_to_drop
from pocketlens.errors import PocketlensError, nearest
from pocketlens.text import in_quotes, listed, printable

_SAMPLE = 50  # rows by which the column of file names is found


@dataclass(frozen=True)
class TableRequest:
    """What a person said about the tables of a data set.

    Attributes:
        columns: the columns that were named.
        typed: the data set as it was typed, for messages.
        skip: leaves out rows whose file is absent or whose label is empty, with a note, instead of refusing them.
    """

    columns: Columns = field(default_factory=Columns)
    typed: Component = field(default_factory=lambda: Component("folder"))
    skip: bool = False

    def shown(self, root: Path) -> str:
        """The folder as it was typed, for messages; an archive, not the place to which it is unpacked."""
        return printable(str(dict(self.typed.options).get("path", root)).rstrip("/"))

    def text(self, root: Path, **options: object) -> str:
        """The data set with other options, in quotes, as it is to be typed; without a path, that of `root`."""
        merged = {"path": str(root), **dict(self.typed.options), **options}
        return in_quotes(str(replace(self.typed, options=tuple(merged.items()))))


@dataclass(frozen=True)
class TableSource:
    """A table in the reading that fits best.

    Attributes:
        files: the folder of images, and the table's path.
        request: what a person said.
        header: the names of the columns; `column 1`, … where the file has none.
        rows: the cells, without the header.
        lines: for each row its line in the file, from 1.
        file: the column of file names.
        share: of a sample of the rows, how many name a file that is there.
        notes: what was assumed about the file.
    """

    files: Files
    request: TableRequest
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    file: int = 0
    share: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file with its path, for messages."""
        return shown_table(self.files, self.request)

    @property
    def root(self) -> str:
        """The folder of images, for messages."""
        return self.request.shown(self.files.root)

    @property
    def short_name(self) -> str:
        """The file as it is called from the folder of images, for notes."""
        root, path = self.files.root, self.files.table
        return printable(path.relative_to(root).as_posix() if root in path.parents else path.name)

    @property
    def place(self) -> str:
        """The file as it is called from the folder of images, `../labels.csv` beside it; with its path elsewhere."""
        root, path = self.files.root, self.files.table
        beside = os.path.relpath(path, root)
        return printable(beside if root.absolute().parent in path.absolute().parents else str(path)).replace("\\", "/")

    def has(self, columns: Columns) -> bool:
        """Whether the columns that were named by name are there."""
        names = [each for each in (columns.file, columns.label, columns.group, columns.split) if isinstance(each, str)]
        there = {*map(folded, self.header), folded(BY_FOLDERS), folded(NO_COLUMN)}
        return all(folded(name) in there for name in names)

    def cells(self, column: int) -> list[str]:
        """The cells of a column."""
        return [row[column] for row in self.rows]

    def key(self, column: int) -> str | int:
        """How an option names a column: by its name where that is the column's alone, else by its number from 1."""
        name = self.header[column]
        is_own = bool(name) and self.header.count(name) == 1 and name != f"column {column + 1}"
        return name if is_own else column + 1

    def named(self, column: int) -> str:
        """A column's name in quotes, or its number where it has none."""
        name = self.header[column]
        return f"number {column + 1}" if name == f"column {column + 1}" else repr(printable(name))

    def shown(self, column: int) -> str:
        """A column in a sentence: `column 'label'`, or `column 2` where it has no name."""
        return f"column {self.named(column).removeprefix('number ')}"

    def column(self, option: str, wanted: str | int) -> int:
        """The column that an option names.

        Raises:
            PocketlensError: there is none, or there are several.
        """
        near = None if isinstance(wanted, int) else nearest(wanted, self.header)
        typed = "" if near is None else self.typed(option, near)
        return named_column(self.header, wanted, option, self.name, typed)

    def typed(self, option: str, value: object) -> str:
        """The data set with this table and one more option, as it is to be typed: `"folder(…, label_column='…')"`."""
        root, path = self.files.root, self.files.table
        shown = str(path.relative_to(root)) if root in path.parents else str(path)
        return self.request.text(root, labels=dict(self.request.typed.options).get("labels", shown), **{option: value})


@dataclass(frozen=True, order=True)
class _Candidate:
    """A column that may name the files; the largest is the best."""

    place: int  # 0: it names none
    rank: int  # of its name among the known ones
    n_distinct: int
    order: int
    share: float


def shown_table(files: Files, request: TableRequest) -> str:
    """A table with its path, for messages."""
    root, path = files.root, files.table
    return (
        f"{request.shown(root)}/{printable(path.relative_to(root).as_posix())}"
        if root in path.parents
        else printable(str(path))
    )


def open_table(path: Path, root: Path, request: TableRequest) -> TableSource:
    """The reading of a table in which most rows name files below `root`.

    Raises:
        PocketlensError: it is no table, or has no rows or no column of file names.
    """
    files, read, errors = Files(root, path), [], []
    for reading in readings(path):
        try:
            read.append(_with_file_column(_source(reading.grid(), files, request)))
        except PocketlensError as error:
            errors.append(error)
        if read and read[-1].share == 1:
            break
    if not read:
        raise errors[0]
    return max(read, key=lambda source: source.share)


def _source(grid: Grid, files: Files, request: TableRequest) -> TableSource:
    has_header = grid.has_header if grid.has_header is not None else _has_header(grid, files, request.columns)
    width, name = len(grid.rows[0]) if grid.rows else 0, shown_table(files, request)
    if len(grid.rows) <= has_header:
        raise PocketlensError(f"{name} must have at least one row that names an image and its label, it has none.")
    if width < 2:
        raise PocketlensError(
            f"{name} must have a column of file names and one of labels, with a comma, a semicolon, a tab or spaces "
            f"between them; its first line is '{printable(grid.rows[0][0])[:80]}'."
        )
    header = grid.rows[0] if has_header else tuple(f"column {column + 1}" for column in range(width))
    return TableSource(
        files, request, header, grid.rows[int(has_header) :], grid.lines[int(has_header) :], notes=grid.notes
    )


def _has_header(grid: Grid, files: Files, columns: Columns) -> bool:
    """Whether the first row names columns: a known name, or texts of which none names an image."""
    first = [cell for cell in grid.rows[0] if cell] if grid.rows else []
    if any(is_picture(cell) or files.match(cell).exact for cell in first):
        return False
    asked = [each for each in (columns.file, columns.label, columns.group, columns.split) if isinstance(each, str)]
    known = {*FILE, *LABEL, *map(folded, asked)}
    if any(folded(cell) in known for cell in first):
        return True
    if any(isinstance(each, int) for each in (columns.file, columns.label)) or any(map(_is_number, first)):
        return False
    return not any(files.match(cell).files for cell in first)


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


def _with_file_column(source: TableSource) -> TableSource:
    step = max(1, len(source.rows) // _SAMPLE)
    sample = source.rows[::step]
    known = known_columns(source.header, FILE)
    wanted = source.request.columns.file
    every = range(len(source.header)) if wanted is None else [source.column("file_column", wanted)]
    best = max(_candidate(source, sample, column, known) for column in every)
    if not best.place and wanted is None:
        raise PocketlensError(
            f"{source.name} must have a column that names the images below {source.root}, and "
            f"none does. Its columns are {listed([printable(name) for name in source.header], 10)}; its first row is "
            f"{listed([printable(cell)[:40] for cell in source.rows[0]], 10)}. To say which, type "
            f"{source.typed('file_column', source.key(0))}."
        )
    return replace(source, file=-best.order, share=best.share)


def _candidate(source: TableSource, sample: Sequence[tuple[str, ...]], column: int, known: Sequence[int]) -> _Candidate:
    """How well the cells of a column name files; a known name counts where the cells do not decide."""
    names = [row[column] for row in sample]
    drop = prefix_to_drop(source.files, names)
    found = [source.files.match(name, drop=drop) for name in names if name]
    is_known, has_names = column in known, source.header[column] != f"column {column + 1}"
    if not is_known and (folded(source.header[column]) in LABEL or 2 * len(set(names)) < len(names)):
        return _Candidate(0, 0, 0, -column, 0.0)  # labels recur, and may be the names of files by chance
    by_name = sum(bool(match.files) and not match.by_number for match in found) / len(names)
    share = sum(bool(match.files) for match in found) / len(names)
    if 2 * by_name >= 1:
        place = 4 if is_known else 3
    elif 2 * share >= 1 and (is_known or not has_names):
        place = 2
    else:
        place = 1 if is_known else 0
    rank = -known.index(column) if is_known else -len(known)
    return _Candidate(place, rank, 0 if has_names else len(set(names)), -column, share)
