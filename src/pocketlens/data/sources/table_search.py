"""Finds the table of labels that lies beside the images, where no class folders give the labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.class_names import same_class
from pocketlens.data.sources.columns import LABEL, Columns, known_columns, part_of
from pocketlens.data.sources.delimited import KINDS
from pocketlens.data.sources.other_files import suffix_of
from pocketlens.data.sources.table import LabelTable, read_table
from pocketlens.data.sources.table_source import TableRequest, TableSource, open_table
from pocketlens.data.sources.tree import is_junk
from pocketlens.errors import PocketlensError
from pocketlens.text import listed, printable

BY_FOLDERS = "folders"  # of the option labels: the class folders give the labels, whatever tables there are
_NOT_GIVEN = ("submission", "predict")  # tables that somebody made from the images
_SURE_KINDS = (".csv", ".tsv", ".jsonl")  # the others may be texts of any kind


@dataclass(frozen=True)
class _Beside:
    """A table beside the images."""

    path: Path
    source: TableSource | None  # None: it is no table of files that are there
    error: str = ""


def find_table(root: Path, names: Sequence[str], request: TableRequest) -> LabelTable | None:
    """The labels of the one table in `root`, in the folder of its images or beside `root`; None where there is none.

    Where class folders give the labels already, a table that says the same is used for the parts it names, if it does.
    Several tables are one, if their names are those of parts: train.csv and test.csv.

    Args:
        root: the folder of images.
        names: the files below it, relative to it, with `/`.
        request: what a person said about tables.

    Raises:
        PocketlensError: several tables could be it, the table and the folders say different things, or it is bad.
    """
    pictures = [name for name in names if _ending(name) in SUFFIXES]
    places = sorted({name.rpartition("/")[0] for name in pictures})
    if not places:
        return None
    has_classes = _has_classes(places)
    beside = [_open(root / name, root, request) for name in _tables(names, [""] if has_classes else ["", *places])]
    fitting = [each for each in beside if each.source is not None and each.source.share >= 0.5]
    if has_classes:
        return _beside_classes(root, fitting, request, len(pictures))
    if not fitting and places == [""]:
        above = [entry.name for entry in os.scandir(root.absolute().parent) if entry.is_file()]
        opened = [_open(root.parent / name, root, request) for name in _tables(above, [""])]
        fitting = [each for each in opened if each.source is not None and each.source.share >= 0.5]
    if not fitting:
        sure = [each for each in beside if each.path.suffix.lower() in _SURE_KINDS]
        if len(sure) != 1:
            return None
        if sure[0].source is None:
            raise PocketlensError(sure[0].error)
        fitting = sure
    return _read(root, fitting, request)


def _tables(names: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The files in these folders that may be tables, by their names; not those of answers."""
    return [
        name
        for name in sorted(names)
        if _ending(name) in KINDS
        and name.rpartition("/")[0] in folders
        and not is_junk(name.rpartition("/")[2])
        and not any(word in name.rpartition("/")[2].lower() for word in _NOT_GIVEN)
    ]


def _ending(name: str) -> str:
    return suffix_of(name).lower()


def _open(path: Path, root: Path, request: TableRequest) -> _Beside:
    try:
        return _Beside(path, open_table(path, root, request))
    except PocketlensError as error:
        return _Beside(path, None, str(error))


def _has_classes(places: Sequence[str]) -> bool:
    """Whether folders with images may be those of classes: several, beside wrapping folders and those of parts."""
    folders = [tuple(place.split("/")) if place else () for place in places]
    while (
        folders
        and all(folders)
        and (len({each[0] for each in folders}) == 1 or all(part_of(each[0]) is not None for each in folders))
    ):
        folders = [each[1:] for each in folders]
    return len({each[0] for each in folders if each}) > 1


def _beside_classes(
    root: Path, fitting: Sequence[_Beside], request: TableRequest, n_pictures: int
) -> LabelTable | None:
    """The table beside class folders, if it says more than they do: the parts, or what a person has asked for."""
    named = [each for each in fitting if each.source is not None and known_columns(each.source.header, LABEL)]
    if not named or (len(named) > 1 and _parts(root, named) is None):
        return None
    asked = request.columns != Columns()
    try:
        table = _read(root, named, replace(request, skip=True))
    except PocketlensError:
        if asked:
            raise
        return None
    if 2 * len(table.files) < n_pictures and not asked:
        return None
    folders = [PurePosixPath(file).parts[:-1] for file in table.files]
    inner = [each[-1] if each else "" for each in folders]
    pairs = set(zip(table.labels, inner, strict=True))
    is_same = all(same_class(label) in map(same_class, each) for label, each in zip(table.labels, folders, strict=True))
    if not is_same and not len(pairs) == len(set(table.labels)) == len(set(inner)):
        choices = [request.text(root, labels=value) for value in (_place(root, named[0].path), BY_FOLDERS)]
        raise PocketlensError(
            f"{request.shown(root)} has class folders, and {printable(named[0].path.name)} gives its images other "
            f"labels. Type which counts: {choices[0]} or {choices[1]}."
        )
    in_parts = any(part_of(folder) for each in folders for folder in each)
    if not asked and (table.parts is None or in_parts):
        return None
    table = _read(root, named, request)
    return table if is_same else replace(table, labels=tuple(PurePosixPath(file).parts[-2] for file in table.files))


def _read(root: Path, fitting: Sequence[_Beside], request: TableRequest) -> LabelTable:
    """One table, or those of several parts as one."""
    if len(fitting) > 1:
        labelled = [each for each in fitting if each.source and known_columns(each.source.header, LABEL)]
        fitting = labelled if len(labelled) == 1 else fitting
    if len(fitting) == 1:
        table = read_table(fitting[0].path, root, request)
        name = printable(os.path.relpath(fitting[0].path, root))
        return replace(table, notes=(f"{name} was found beside the images and gives their labels", *table.notes))
    parts = _parts(root, fitting)
    if parts is None:
        choices = [request.text(root, labels=_place(root, each.path)) for each in fitting]
        raise PocketlensError(
            f"{len(fitting)} tables beside the images of {request.shown(root)} could give their labels. Type one of: "
            f"{listed(choices, 5)}."
        )
    return _joined([read_table(each.path, root, request) for each in fitting], parts, fitting)


def _place(root: Path, path: Path) -> str:
    """A table's path, below the folder where it is there."""
    return path.relative_to(root).as_posix() if root in path.parents else str(path)


def _parts(root: Path, beside: Sequence[_Beside]) -> list[str] | None:
    """The parts that several tables list, by their names or those of their folders; None where they name none."""
    found = [
        part_of(each.path.stem) or (part_of(each.path.parent.name) if each.path.parent != root else None)
        for each in beside
    ]
    headers = {each.source.header for each in beside if each.source is not None}
    known = [part for part in found if part is not None]
    return known if len(set(known)) == len(found) and "train" in known and len(headers) == 1 else None


def _joined(tables: Sequence[LabelTable], parts: Sequence[str], fitting: Sequence[_Beside]) -> LabelTable:
    """Tables of one part each as one table."""
    names = listed(
        [
            f"{printable(each.source.short_name if each.source else '')} ({part})"
            for each, part in zip(fitting, parts, strict=True)
        ]
    )
    groups = [table.groups for table in tables if table.groups is not None]
    once: dict[str, str] = {}
    twice = [
        file
        for table, part in zip(tables, parts, strict=True)
        for file in table.files
        if once.setdefault(file, part) != part
    ]
    if twice:
        raise PocketlensError(
            f"an image must stand in one of the tables {names}; {len(twice)} stand in two: "
            f"{listed([printable(file) for file in twice], 5)}."
        )
    return LabelTable(
        tuple(file for table in tables for file in table.files),
        tuple(label for table in tables for label in table.labels),
        tuple(group for each in groups for group in each) if len(groups) == len(tables) else None,
        tuple(part for table, part in zip(tables, parts, strict=True) for _ in table.files),
        (
            f"{names} were found beside the images and give their labels",
            *dict.fromkeys(note for table in tables for note in table.notes),
        ),
    )
