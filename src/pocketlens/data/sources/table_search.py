"""Finds the table of labels that lies beside the images, where no class folders give the labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.annotations import describe_annotations, sidecars
from pocketlens.data.sources.class_names import same_class
from pocketlens.data.sources.columns import BY_FOLDERS, LABEL, Columns, known_columns, part_of
from pocketlens.data.sources.delimited import KINDS
from pocketlens.data.sources.other_files import suffix_of
from pocketlens.data.sources.part_lists import find_part_lists
from pocketlens.data.sources.table import LabelTable, class_level, folder_labels, read_table
from pocketlens.data.sources.table_source import TableRequest, TableSource, open_table
from pocketlens.data.sources.tree import is_junk
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed, near_path, printable

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
    aside = {name for files in sidecars(names).values() for name in files}
    names = [name for name in names if name not in aside]
    level = class_level(places)
    has_classes = level is not None
    above = sorted({"/".join(place.split("/")[:n]) for place in places for n in range((level or 0) + 1)})
    beside = [_open(root / name, root, request) for name in table_names(names, above if has_classes else ["", *places])]
    fitting = [each for each in beside if each.source is not None and each.source.share >= 0.5]
    if has_classes:
        table = _beside_classes(root, fitting, request, pictures)
        return table or (find_part_lists(root, names, pictures, request) if request.columns == Columns() else None)
    if not fitting and places == [""]:
        others = [entry.name for entry in os.scandir(root.absolute().parent) if entry.is_file()]
        opened = [_open(root.parent / name, root, request) for name in table_names(others, [""])]
        fitting = [each for each in opened if each.source is not None and each.source.share >= 0.5]
    if not fitting:
        sure = [each for each in beside if each.path.suffix.lower() in _SURE_KINDS]
        if len(sure) != 1:
            return None
        if sure[0].source is None:
            raise PocketlensError(sure[0].error)
        fitting = sure
    return _read(root, fitting, request)


def refuse_annotations(root: Path, names: Sequence[str], request: TableRequest) -> None:
    """Refuses images without class folders whose labels are boxes, so that no other folder is taken for a class."""
    places = {name.rpartition("/")[0] for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES}
    found = describe_annotations(root, names) if places and class_level(places) is None else None
    if found is not None:
        raise PocketlensError(
            f"{request.shown(root)} has its labels in {found}, which pocketlens does not read: it takes one class for "
            "each image. Put the images into a folder for each class, or write a CSV with the columns file and label "
            f"and type {request.text(root, labels='labels.csv')}."
        )


def require_table(labels: Path, root: Path, request: TableRequest) -> None:
    """Refuses a table that is not there, as it may be in an archive, with the text that is likely meant."""
    if labels.exists():
        return
    near = near_table(labels.name, labels.parent)
    hint = "" if near is None else f" Did you mean {request.text(root, labels=near)}?"
    raise PocketlensError(f"{request.shown(root)} must hold the table {printable(labels.name)}, it does not.{hint}")


def near_table(typed: str, folder: Path) -> str | None:
    """The table in a folder, or below it, that was likely meant by a path at which there is none."""
    return near_path(typed, KINDS, below=folder)


def table_names(names: Sequence[str], folders: Sequence[str]) -> list[str]:
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


def _beside_classes(
    root: Path, fitting: Sequence[_Beside], request: TableRequest, pictures: Sequence[str]
) -> LabelTable | None:
    """The table beside class folders, if it says more than they do: the parts, or what a person has asked for.

    It need not have a column of labels; one that it has must say the same as the folders.
    """
    asked = request.columns != Columns()
    chosen = _telling(root, fitting, request)
    if not chosen:
        return None
    by_folders = replace(request, columns=replace(request.columns, label=BY_FOLDERS))
    is_labelled = request.columns.label is not None or _has_labels(chosen[0])
    try:
        table = _read(root, chosen, replace(request if is_labelled else by_folders, skip=True))
    except PocketlensError:
        if asked:
            raise
        return None
    given = folder_labels(pictures, table.files)
    folders = [PurePosixPath(file).parts[:-1] for file in table.files]
    is_same = all(same_class(label) in map(same_class, each) for label, each in zip(table.labels, folders, strict=True))
    is_renamed = len(set(zip(table.labels, given, strict=True))) == len(set(table.labels)) == len(set(given))
    if 2 * len(table.files) < len(pictures) and not asked and (table.parts is None or not is_same):
        return None
    if not (is_same or is_renamed):
        raise PocketlensError(_other_labels(root, chosen[0], table, request))
    in_parts = any(part_of(folder) for each in folders for folder in each)
    if not asked and (table.parts is None or in_parts):
        return None
    if 2 * len(table.files) < len(pictures) and not asked:
        raise PocketlensError(_part_of_the_pictures(root, chosen[0], len(table.files), len(pictures), request))
    table = _read(root, chosen, request if is_same and is_labelled else by_folders)
    others = [printable(each.path.name) for each in fitting if each not in chosen]
    return replace(table, notes=(*table.notes, f"not used: {listed(others, 5)}")) if others else table


def _telling(root: Path, fitting: Sequence[_Beside], request: TableRequest) -> Sequence[_Beside]:
    """Which of the tables beside class folders say something: those of parts, or one with a column of parts or labels.

    Raises:
        PocketlensError: several have a column of parts, and do not say the same.
    """
    labelled = [each for each in fitting if _has_labels(each)]
    if request.columns != Columns():
        fitting = [each for each in fitting if each.source is not None and each.source.has(request.columns)]
        labelled = [each for each in fitting if each in labelled] or fitting
    if len(labelled) > 1 and _parts(root, labelled) is not None:
        return labelled
    said = {each.path: parts for each in fitting if (parts := _parts_in(root, each, request)) is not None}
    telling = [each for each in fitting if each.path in said]
    if len(telling) > 1 and any(parts != said[telling[0].path] for parts in said.values()):
        options = {"labels": BY_FOLDERS}
        choices = [request.text(root, labels=_place(root, each.path), label_column=BY_FOLDERS) for each in telling]
        raise PocketlensError(
            f"{request.shown(root)} has class folders, and {counted(len(telling), 'table')} give different parts "
            f"({listed([printable(each.path.name) for each in telling], 5)}). Type which counts: "
            f"{listed([*choices, request.text(root, **options)], 6)}."
        )
    return telling[:1] or (labelled if len(labelled) == 1 else [])


def _has_labels(beside: _Beside) -> bool:
    return beside.source is not None and bool(known_columns(beside.source.header, LABEL))


def _parts_in(root: Path, beside: _Beside, request: TableRequest) -> dict[str, str] | None:
    """The part of each file, where a table beside class folders has a column of parts."""
    columns = replace(request.columns, label=BY_FOLDERS)
    try:
        table = read_table(beside.path, root, replace(request, columns=columns, skip=True))
    except PocketlensError:
        return None
    return None if table.parts is None else dict(zip(table.files, table.parts, strict=True))


def _other_labels(root: Path, beside: _Beside, table: LabelTable, request: TableRequest) -> str:
    place = _place(root, beside.path)
    choices = [request.text(root, labels=value) for value in (place, BY_FOLDERS)]
    if table.parts is not None:
        choices.append(request.text(root, labels=place, label_column=BY_FOLDERS) + " for its parts alone")
    return (
        f"{request.shown(root)} has class folders, and {printable(beside.path.name)} gives its images other labels. "
        f"Type which counts: {', '.join(choices[:-1])} or {choices[-1]}."
    )


def _part_of_the_pictures(root: Path, beside: _Beside, n: int, n_pictures: int, request: TableRequest) -> str:
    listed_alone = request.text(root, labels=_place(root, beside.path), label_column=BY_FOLDERS)
    return (
        f"{request.shown(root)} has {counted(n_pictures, 'image')} in class folders, and "
        f"{printable(beside.path.name)} gives the parts of {n:,} of them. To use these alone, type {listed_alone}; to "
        f"use all, without these parts, {request.text(root, labels=BY_FOLDERS)}."
    )


def _read(root: Path, fitting: Sequence[_Beside], request: TableRequest) -> LabelTable:
    """One table, or those of several parts as one."""
    if len(fitting) > 1:
        labelled = [each for each in fitting if _has_labels(each)]
        fitting = labelled if len(labelled) == 1 else fitting
    if len(fitting) == 1:
        return read_table(fitting[0].path, root, request)
    parts = _parts(root, fitting)
    if parts is None:
        choices = [request.text(root, labels=_place(root, each.path)) for each in fitting]
        raise PocketlensError(
            f"{counted(len(fitting), 'table')} beside the images of {request.shown(root)} could give their "
            "labels. Type one of: "
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
        tables[0].columns,
        (
            f"labels from {names}: {tables[0].columns}",
            *dict.fromkeys(note for table in tables for note in table.notes[1:]),
        ),
    )
