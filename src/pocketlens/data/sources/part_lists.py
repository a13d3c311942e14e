"""Lists of images that divide class folders into parts: train.txt and test.txt, each with a path in every line.

They lie beside the class folders, or in a folder of their own, such as `meta/` or `splits/`. A line is a path below
the folder of images or below one that wraps the classes, with or without a suffix; what follows it, such as the number
of its class, does not count, as the class folders give the labels. As in CUB-200, two files may do the same:
images.txt with a number and a path in each line, train_test_split.txt with the number and 1 for training, 0 for test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens.data.sources.columns import BY_FOLDERS, part_of
from pocketlens.data.sources.delimited import KINDS, Grid, Reading, readings
from pocketlens.data.sources.file_names import Files
from pocketlens.data.sources.other_files import suffix_of
from pocketlens.data.sources.part_names import Role, roles_of
from pocketlens.data.sources.table import LabelTable, folder_labels
from pocketlens.data.sources.table_source import TableRequest
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed, printable

_NUMBERED, _DIVIDED = "images.txt", "train_test_split.txt"  # as CUB-200 has them
_SHARE = 0.9  # of a list's lines that name an image below the folder


@dataclass(frozen=True)
class _PartList:
    """A list: its name below the folder of images, the part that it lists, and the images, each once."""

    name: str
    role: Role
    files: tuple[str, ...]


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
    with_pictures = {name.rpartition("/")[0] for name in pictures}
    if any(part_of(folder) for place in with_pictures for folder in place.split("/")):
        return None  # folders give the parts
    places = _tables_by_folder(names, with_pictures)
    found = [lists for inside in places if (lists := _read_lists(root, inside) or _read_numbered(root, inside))]
    if len(found) != 1:
        return None
    (lists,) = found
    said = listed([f"{printable(each.name)} ({each.role})" for each in lists])
    parts: dict[str, Role] = {}
    twice: list[str] = []
    for each in lists:
        twice += [file for file in each.files if file in parts]
        parts |= dict.fromkeys(each.files, each.role)
    if twice:
        shown = listed([printable(file) for file in twice], 5)
        raise PocketlensError(
            f"an image must stand in one of the lists {said}; {counted(len(twice), 'image stands', 'images stand')} "
            f"in two: {shown}. To use the images without these parts, type {request.text(root, labels=BY_FOLDERS)}."
        )
    if all(each.role != "train" for each in lists):
        parts = {file: parts.get(file, "train") for file in pictures}
    files = tuple(sorted(parts))
    labels = tuple(folder_labels(pictures, files))
    note = f"parts from {said}; the class folders give the labels"
    return LabelTable(files, labels, None, tuple(parts[file] for file in files), BY_FOLDERS, (note,))


def _tables_by_folder(names: Sequence[str], with_pictures: set[str]) -> list[list[str]]:
    """The files that may be lists, by folder: of those that wrap the classes, and of those without images in them."""
    found: dict[str, list[str]] = {}
    for name in names:
        place = name.rpartition("/")[0]
        if suffix_of(name).lower() in KINDS and place not in with_pictures:
            found.setdefault(place, []).append(name)
    return [found[place] for place in sorted(found)]


def _read_lists(root: Path, inside: Sequence[str]) -> list[_PartList]:
    """The lists among the files of one folder; none where two are of one part, or one is no list of images."""
    stems = {name: Path(name).stem.removesuffix("list") for name in inside}
    roles = roles_of(list(stems.values()))
    named = {name: role for name, stem in stems.items() if (role := roles.get(stem)) in ("train", "val", "test")}
    if not {"val", "test"} & set(named.values()) or len(set(named.values())) < len(named):
        return []
    files = Files(root, root / inside[0])  # the folder is walked once for all of its lists
    lists = [_PartList(name, role, _files_in(root / name, files)) for name, role in named.items()]
    return lists if all(each.files for each in lists) else []


def _read_numbered(root: Path, inside: Sequence[str]) -> list[_PartList]:
    """The lists that images.txt and train_test_split.txt of one folder give; none where they do not fit together."""
    named = {name.rpartition("/")[2].casefold(): name for name in inside}
    if _NUMBERED not in named or _DIVIDED not in named:
        return []
    paths, sides = _by_number(root / named[_NUMBERED]), _by_number(root / named[_DIVIDED])
    if paths.keys() != sides.keys() or set(sides.values()) != {"0", "1"}:
        return []
    files = Files(root, root / inside[0])
    found = {number: _image_of(path, files) for number, path in paths.items()}
    single = {number: file for number, file in found.items() if file is not None}
    if len(single) < _SHARE * len(paths):
        return []
    roles: dict[str, Role] = {"1": "train", "0": "test"}
    return [
        _PartList(named[_DIVIDED], role, tuple(file for number, file in single.items() if sides[number] == side))
        for side, role in roles.items()
    ]


def _by_number(path: Path) -> dict[str, str]:
    """For the number at the beginning of each line, the rest of the line; empty where the file is no such text."""
    try:
        rows = _undivided(readings(path)[0]).rows
    except PocketlensError:
        return {}
    pairs = [row[0].split(maxsplit=1) for row in rows]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _undivided(reading: Reading) -> Grid:
    """A table with whole lines as its cells."""
    return replace(reading, separator=None, divide=lambda line: [line]).grid()


def _image_of(text: str, files: Files) -> str | None:
    """The image that a text names as a path; None where it names none, or several."""
    match = files.match(text)
    return match.files[0] if len(match.files) == 1 and not match.by_number else None


def _files_in(path: Path, files: Files) -> tuple[str, ...]:
    """The images that a list names, as whole lines or in the first cell of each; empty where it names no images."""
    try:
        found = readings(path)
        grids = [_undivided(found[0]), *(each.grid() for each in found)]
    except PocketlensError:
        return ()
    for grid in grids:
        single = [file for row in grid.rows if (file := _image_of(row[0], files)) is not None]
        if len(single) >= _SHARE * len(grid.rows):
            return tuple(dict.fromkeys(single))
    return ()
