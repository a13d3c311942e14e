"""Reads the table that names the label of each image, and its group and its part where there are columns for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from pocketlens.data.sources.columns import (
    BY_FOLDERS,
    GROUP,
    NO_COLUMN,
    is_flag,
    known_columns,
    names_parts,
    part_of,
    read_split,
    split_columns,
)
from pocketlens.data.sources.file_names import Match, prefix_to_drop
from pocketlens.data.sources.label_columns import Labels, read_labels
from pocketlens.data.sources.table_source import TableRequest, TableSource, open_table
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed, printable


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table of labels, in its order, each file once.

    Attributes:
        files: relative to the folder of images, with `/`; they are there.
        labels: the label of each.
        groups: the cells of the group column, or None.
        parts: `train`, `val` or `test` of each row, or the name of its fold, such as `fold3`; None: no column says so.
        columns: which columns were used, in a sentence.
        notes: what was understood, one sentence each; the first one has the table and its columns.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...] | None
    parts: tuple[str, ...] | None = None
    columns: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Parts:
    """The parts of the rows and the columns that say so; None and no columns where no column does."""

    parts: tuple[str, ...] | None = None
    columns: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rows:
    """What each row of a table says; its file is None where none is there."""

    source: TableSource
    names: Sequence[str]
    files: Sequence[str | None]
    labels: Sequence[str]
    groups: Sequence[str] | None
    parts: Sequence[str] | None
    several: Mapping[int, tuple[str, ...]]  # the rows that list several classes

    def lacks(self, row: int) -> bool:
        """Whether a cell that must be filled is empty."""
        return not (self.names[row] and self.labels[row] and (self.groups is None or self.groups[row]))

    def differ(self, one: int, other: int) -> str | None:
        """What two rows of one file say differently, or None."""
        for values in (self.labels, self.groups, self.parts):
            if values is not None and values[one] != values[other]:
                said = f"{printable(values[one])} and {printable(values[other])}"
                lines = f"lines {self.source.lines[one]} and {self.source.lines[other]}"
                return f"{printable(str(self.files[one]))} ({said}, {lines})"
        return None


@dataclass(frozen=True)
class _Kept:
    """The rows that stay, or files found for them, and what a person should know about it."""

    rows: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_table(path: Path, root: Path, request: TableRequest) -> LabelTable:
    """Reads a table: any separator, with or without a header; its columns are those named, or found by their names.

    Args:
        path: CSV (`,`, `;`, tab, `|` or spaces) or JSON lines, in UTF-8, UTF-16 or Windows-1252.
        root: the folder of images.
        request: the columns that a person named, and whether bad rows are left out.

    Raises:
        PocketlensError: a column is missing or could be several; rows name no file, several, no label or two labels.
    """
    source, wanted = open_table(path, root, request), request.columns.group
    group = None if wanted is None else source.column("group", wanted)
    groups = None if group is None else source.cells(group)
    split = _split(source, {source.file, group})
    by_folders = request.columns.label == BY_FOLDERS
    used = {source.file, *split.columns, *([] if group is None else [group])}
    labels = Labels((), BY_FOLDERS) if by_folders else read_labels(source, used)
    names, hints = source.cells(source.file), [*map(source.cells, split.columns), *([labels.cells] * (not by_folders))]
    matches = _match(source, names, hints)
    files = [match.files[0] if match.files else None for match in matches]
    if by_folders:
        labels = Labels(tuple(folder_labels(source.files.pictures, files)), "the names of the class folders")
    several = {each.row: each.labels for each in labels.several}
    rows = _Rows(source, names, files, labels.cells, groups, split.parts, several)
    kept = _once(rows, _filled(rows, request.skip), request.skip)
    columns = f"files in {source.shown(source.file)}, classes in {labels.shown}"
    notes = (
        f"labels from {source.place}: {columns}",
        *source.notes,
        *labels.notes,
        *split.notes,
        *_group_hint(source, used, labels.cells),
        *_respelled(source, names, matches),
        *kept.notes,
    )
    return LabelTable(
        tuple(str(files[row]) for row in kept.rows),
        tuple(labels.cells[row] for row in kept.rows),
        None if groups is None else tuple(groups[row] for row in kept.rows),
        None if split.parts is None else tuple(split.parts[row] for row in kept.rows),
        columns,
        notes,
    )


def _group_hint(source: TableSource, used: set[int], labels: Sequence[str]) -> tuple[str, ...]:
    """How to keep images of one patient, lesion or video in one part, where a column that is not used names them."""
    if source.request.columns.group is not None:
        return ()
    for column in known_columns(source.header, GROUP):
        cells, key = source.cells(column), source.key(column)
        n_rows, n_values = sum(map(bool, cells)), len({cell for cell in cells if cell})
        if column not in used and isinstance(key, str) and 1 < n_values < n_rows and cells != list(labels):
            one = f"the {source.shown(column)} of {source.short_name} has {counted(n_values, 'value')}"
            typed = source.typed("group", key)
            return (f"{one} in {counted(n_rows, 'row')}; to keep the images of one value in one part, type {typed}",)
    return ()


def folder_labels(pictures: Sequence[str], files: Sequence[str | None]) -> list[str]:
    """The class folder of each file, "" where it is in none: the first folder below those that wrap all pictures."""
    level = class_level({name.rpartition("/")[0] for name in pictures})
    folders = [() if file is None or level is None else PurePosixPath(file).parts[level:-1] for file in files]
    return [inner[0] if inner else "" for inner in folders]


def class_level(places: Iterable[str]) -> int | None:
    """How many folders stand above those of classes, wrapping ones and those of parts; None: there are not several.

    Args:
        places: the folders with images, relative to the root, with `/`.
    """
    folders, level = [tuple(place.split("/")) if place else () for place in places], 0
    while (
        folders
        and all(folders)
        and (len({each[0] for each in folders}) == 1 or all(part_of(each[0]) is not None for each in folders))
    ):
        folders, level = [each[1:] for each in folders], level + 1
    return level if len({each[0] for each in folders if each}) > 1 else None


def _split(source: TableSource, taken: set[int | None]) -> _Parts:
    """The parts by the column that was named, or by one with a usual name whose values name parts."""
    wanted = source.request.columns.split
    if wanted == NO_COLUMN:
        return _Parts()
    asked = wanted is not None
    columns = _split_columns(source, taken) if wanted is None else [source.column("split_column", wanted)]
    read = {
        column: said
        for column in columns
        if (said := read_split(source.header[column], source.cells(column), source.short_name, asked)) is not None
    }
    if not read:
        return _Parts(notes=tuple(_without_parts(source, column) for column in columns if not asked))
    first, *others = read.values()
    if others and not all(is_flag(source.header[column]) for column in read):
        choices = [source.typed("split_column", key) for key in (*map(source.key, read), NO_COLUMN)]
        raise PocketlensError(
            f"{source.name}: {counted(len(read), 'column')} could name the parts. Type one of: {listed(choices)}."
        )
    together = zip(*(said.parts for said in read.values()), strict=True)
    parts = tuple(next((part for part in row if part != "train"), "train") for row in together)
    return _Parts(parts if others else first.parts, tuple(read), tuple(said.note for said in read.values()))


def _split_columns(source: TableSource, taken: set[int | None]) -> list[int]:
    """The columns that may name the parts: by their names, else by what stands in them."""
    named = [column for column in split_columns(source.header) if column not in taken]
    others = [column for column in range(len(source.header)) if column not in taken]
    return named or [column for column in others if names_parts(source.cells(column))]


def _without_parts(source: TableSource, column: int) -> str:
    """The line on a column whose name may mean parts and whose values do not."""
    values = [repr(printable(value)) for value in dict.fromkeys(source.cells(column))]
    return (
        f"the column {printable(source.header[column])!r} of {source.short_name} is not used, as its values do not say "
        f"train, val and test: {listed(values, 3)}"
    )


def _match(source: TableSource, names: Sequence[str], hints: Sequence[Sequence[str]]) -> list[Match]:
    """The file of each row; `hints` are columns that may name a folder, such as the labels."""
    drop, own = prefix_to_drop(source.files, names), source.files.table.stem  # train.csv is about train/
    matches = [
        source.files.match(name, [*(cells[row] for cells in hints), own], drop) for row, name in enumerate(names)
    ]
    several = [row for row, match in enumerate(matches) if len(match.files) > 1]
    if several:
        first = several[0]
        raise PocketlensError(
            f"{source.name}: {counted(len(several), 'name fits', 'names fit')} several files below {source.root}: "
            f"{listed([printable(names[row]) for row in several], 5)}; {printable(names[first])} fits "
            f"{listed([printable(file) for file in matches[first].files], 3)}. Write them with their folder and suffix."
        )
    return matches


def _respelled(source: TableSource, names: Sequence[str], matches: Sequence[Match]) -> tuple[str, ...]:
    """A note if names are not written as the files are."""
    near = [row for row, match in enumerate(matches) if match.files and not match.exact]
    if not near:
        return ()
    example = f"{printable(names[near[0]])!r} to {printable(matches[near[0]].files[0])}"
    return (
        f"{counted(len(near), 'name')} in {source.short_name} matched to files that are written otherwise: {example}",
    )


def _filled(rows: _Rows, skip: bool) -> _Kept:
    """The rows with a file that is there, a label and a group; most rows must be so."""
    source, every = rows.source, range(len(rows.names))
    missing = [row for row in every if rows.names[row] and rows.files[row] is None]
    several = [row for row in every if row in rows.several and rows.files[row] is not None]
    empty = [row for row in every if rows.lacks(row) and row not in rows.several]
    what = "file and label" if rows.groups is None else "file, label and group"
    names = listed([printable(rows.names[row]) for row in missing], 5)
    root, leave_out = source.root, f"leave these rows out with {source.typed('bad', 'skip')}"
    if missing and 2 * len(missing) > len(every):
        raise PocketlensError(
            f"{root} must hold every file that {source.short_name} names; {len(missing)} of {len(every)} are missing: "
            f"{names}. Give the folder that holds them, or say which column names the files, as in "
            f"{source.typed('file_column', source.key(source.file))}."
        )
    if several and not skip:
        raise PocketlensError(_several_classes(rows, several))
    if missing and not skip:
        is_below = all(".." not in PurePath(rows.names[row].replace("\\", "/")).parts for row in missing)
        why = "" if is_below else " (names with .. lead out of the folder)"
        raise PocketlensError(
            f"{root} must hold every file that {source.short_name} names; {len(missing)} of {len(every)} are missing: "
            f"{names}{why}. Add them, or {leave_out}."
        )
    if empty and (not skip or 2 * len(empty) > len(every)):
        lines = listed([f"line {source.lines[row]}" for row in empty], 5)
        raise PocketlensError(
            f"{source.name}: {what} must not be empty; in {len(empty)} of {counted(len(every), 'row')} they "
            f"are: {lines}. Fill "
            f"them, or {leave_out}."
        )
    gone = {*missing, *several, *empty}
    notes = (
        [f"{counted(len(missing), 'row')} of {source.short_name} skipped, as the files are absent: {names}"]
        if missing
        else []
    )
    notes += [f"{counted(len(empty), 'row')} of {source.short_name} without {what} skipped"] if empty else []
    notes += [f"{counted(len(several), 'row')} of {source.short_name} with several classes skipped"] if several else []
    return _Kept(tuple(row for row in every if row not in gone), tuple(notes))


def _several_classes(rows: _Rows, several: Sequence[int]) -> str:
    source = rows.source
    shown = [f"{printable(rows.names[row])} ({printable(', '.join(rows.several[row]))})" for row in several]
    return (
        f"{source.name}: pocketlens takes one class for each image, and "
        f"{counted(len(several), 'row lists', 'rows list')} several, of {len(rows.names):,}: {listed(shown, 5)}. To "
        f"leave them out, type {source.typed('bad', 'skip')}; or write one class in each row."
    )


def _once(rows: _Rows, kept: _Kept, skip: bool) -> _Kept:
    """Each file once; rows that name one file must agree on everything that is known of it, or are left out."""
    first: dict[str | None, int] = {}
    for row in kept.rows:
        first.setdefault(rows.files[row], row)
    again = [row for row in kept.rows if first[rows.files[row]] != row]
    if not again:
        return kept
    torn = {rows.files[row]: said for row in again if (said := rows.differ(first[rows.files[row]], row)) is not None}
    n_torn, name = counted(len(torn), "file stands", "files stand"), rows.source.short_name
    if torn and not skip:
        raise PocketlensError(
            f"{rows.source.name}: pocketlens takes one class for each image, with one group and part, and {n_torn} in "
            f"several rows that differ in them, of {len(first):,}: {listed(list(torn.values()), 5)}. Delete the wrong "
            f"rows, or leave these files out with {rows.source.typed('bad', 'skip')}."
        )
    notes = [f"{n_torn} in rows of {name} that differ, and were skipped"] if torn else []
    same = {rows.files[row] for row in again} - torn.keys()
    if same:
        n_files = counted(len(same), "file stands", "files stand")
        notes.append(f"{n_files} in {name} more than once with the same label: each counts once")
    left = tuple(row for row in kept.rows if first[rows.files[row]] == row and rows.files[row] not in torn)
    return _Kept(left, (*kept.notes, *notes))
