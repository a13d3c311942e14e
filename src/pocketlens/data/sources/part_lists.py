"""Lists of images that divide class folders into parts: train.txt and test.txt, each with a path in every line.

They lie beside the class folders, or in a folder of their own, such as `meta/` or `splits/`. A line is a path below
the folder of images or below one that wraps the classes, with or without a suffix; what follows it, such as the number
of its class, does not count, as the class folders give the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pocketlens.data.sources.columns import BY_FOLDERS, part_of
from pocketlens.data.sources.delimited import KINDS, readings
from pocketlens.data.sources.file_names import Files
from pocketlens.data.sources.other_files import suffix_of
from pocketlens.data.sources.part_names import Role, roles_of
from pocketlens.data.sources.table import LabelTable, folder_labels
from pocketlens.data.sources.table_source import TableRequest
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed, printable

_SHARE = 0.9  # of a list's lines that name an image below the folder


def find_part_lists(
    root: Path, names: Sequence[str], pictures: Sequence[str], request: TableRequest
) -> LabelTable | None:
    """The parts that lists give to images in class folders; None where no lists do, or several sets of them.

    Without a list of training images, those in no list are the training images.

    Args:
        root: the folder of images.
        names: the files below it, relative to it, with `/`.
        pictures: those of them that are images.
        request: how the data set was typed, for messages.

    Raises:
        PocketlensError: an image stands in two of the lists.
    """
    if any(part_of(folder) for name in pictures for folder in name.split("/")[:-1]):
        return None  # folders give the parts
    found = [lists for place in _places(names, pictures) if (lists := _lists_in(root, place, names))]
    if len(found) != 1:
        return None
    lists = found[0]
    parts: dict[str, str] = {}
    twice = [file for name, files in lists.items() for file in files if parts.setdefault(file, name) != name]
    said = listed([f"{printable(name)} ({role})" for name, role in _roles(list(lists)).items()])
    if twice:
        shown = listed([printable(file) for file in twice], 5)
        raise PocketlensError(
            f"an image must stand in one of the lists {said}; {counted(len(twice), 'image stands', 'images stand')} "
            f"in two: {shown}. To use the images without these parts, type {request.text(root, labels=BY_FOLDERS)}."
        )
    roles = _roles(list(lists))
    of = {file: str(roles[name]) for file, name in parts.items()}
    if "train" not in roles.values():
        of = {file: of.get(file, "train") for file in pictures}
    files = tuple(sorted(of))
    labels = tuple(folder_labels(pictures, files))
    return LabelTable(
        files,
        labels,
        None,
        tuple(of[file] for file in files),
        BY_FOLDERS,
        (f"parts from {said}; the class folders give the labels",),
    )


def _places(names: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """The folders that may hold the lists: those that wrap the classes, and those without images in them."""
    with_pictures = {name.rpartition("/")[0] for name in pictures}
    return sorted({name.rpartition("/")[0] for name in names} - with_pictures)


def _lists_in(root: Path, place: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The images in each list of one folder; none where its files are no lists, or two of them are of one part."""
    inside = [name for name in names if name.rpartition("/")[0] == place and suffix_of(name).lower() in KINDS]
    roles = _roles(inside)
    if not {"val", "test"} & set(roles.values()) or len(set(roles.values())) < len(roles):
        return {}
    lists = {name: _files_in(root, name) for name in roles}
    return lists if all(lists.values()) else {}


def _roles(names: Sequence[str]) -> dict[str, Role]:
    """The part of each list by its name; those whose names say nothing are left out."""
    stems = {name: Path(name).stem.removesuffix("list") for name in names}
    roles = roles_of(list(stems.values()))
    return {name: roles[stem] for name, stem in stems.items() if roles.get(stem) in ("train", "val", "test")}


def _files_in(root: Path, name: str) -> list[str]:
    """The images that a list names, as whole lines or in the first cell of each; empty where it names no images."""
    try:
        found = readings(root / name)
        grids = [each.grid() for each in (replace(found[0], separator=None, divide=lambda line: [line]), *found)]
    except PocketlensError:
        return []
    files = Files(root, root / name)
    for grid in grids:
        matches = [files.match(row[0]) for row in grid.rows]
        single = [match.files[0] for match in matches if len(match.files) == 1 and not match.by_number]
        if len(single) >= _SHARE * len(matches):
            return list(dict.fromkeys(single))
    return []
