"""Tables that label the images of one part: test/ without class folders beside train/ with them, and test.csv.

They lie in the part's folder or beside it, such as `val/val_annotations.txt` of Tiny ImageNet or `Test.csv` of the
German traffic signs. A table counts where it gives nearly all images of the part a class that is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pocketlens.data.sources.class_names import same_class
from pocketlens.data.sources.columns import Columns
from pocketlens.data.sources.folder_tree import Folder
from pocketlens.data.sources.layout import PartLabels, path_of
from pocketlens.data.sources.layout_search import class_base
from pocketlens.data.sources.part_names import roles_of
from pocketlens.data.sources.table import LabelTable, read_table
from pocketlens.data.sources.table_search import table_names
from pocketlens.data.sources.table_source import TableRequest
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, printable

_LEVELS = 4  # of wrapping folders, below which parts are looked for
_SHARE = 0.9  # of a part's images that the table must label


def find_part_tables(root: Path, tree: Folder, request: TableRequest) -> dict[str, PartLabels]:
    """The labels of the validation and test parts without class folders, by the part's path.

    There are none where columns were named, as these belong to a table of all images.

    Args:
        root: the folder of images.
        tree: its folders and files.
        request: what a person said about tables.
    """
    found: dict[str, PartLabels] = {}
    for level in (tree, *tree.walk(_LEVELS)) if request.columns == Columns() else ():
        classes = _by_key(_classes(level))
        for part in _without_classes(level) if classes else ():
            tables = [path for path in _tables(level, part) if path not in {each.table for each in found.values()}]
            read = (_labels(root, part, path, classes, request) for path in tables)
            labels = next((each for each in read if each is not None), None)
            if labels is not None:
                found[part.path] = labels
    return found


def _classes(level: Folder) -> list[str]:
    """The class folders of the training part in a folder, or those in the folder itself; none where it has none."""
    roles = roles_of([folder.name for folder in level.folders])
    trains = [folder for folder in level.filled if roles.get(folder.name) == "train"]
    inside = [inner.name for folder in trains for inner in class_base(folder).filled]
    names = inside if trains else [folder.name for folder in level.filled if folder.name not in roles]
    return names if len(names) > 1 else []


def _by_key(names: Sequence[str]) -> dict[str, str]:
    """The names of classes by what a label must share with them; numbers by their value, so that 7 is 00007."""
    keys = {_number(name): name for name in names}
    return keys if "" not in keys and len(keys) == len(names) else {same_class(name): name for name in names}


def _number(name: str) -> str:
    return str(int(name)) if name.isascii() and name.isdigit() else ""


def _without_classes(level: Folder) -> Iterator[Folder]:
    """The validation and test parts in a folder whose images lie in it, or in one folder of it."""
    roles = roles_of([folder.name for folder in level.folders])
    for folder in level.filled:
        if roles.get(folder.name) in ("val", "test") and len(folder.filled) < 2 and not class_base(folder).filled[1:]:
            yield folder


def _tables(level: Folder, part: Folder) -> list[str]:
    """The files that may label a part: those in it first, then those beside it, its namesake before others."""
    inside = [folder for folder in (part, *part.walk(1)) if len(folder.files) < max(2, folder.n_images)]
    own = [f"{folder.path}/{name}" for folder in inside for name in folder.files]
    beside = [f"{level.path}/{name}" if level.path else name for name in level.files]
    beside = table_names(beside, [level.path])
    beside.sort(key=lambda path: part.name.casefold() not in path.rpartition("/")[2].casefold())
    return [*table_names(own, [folder.path for folder in inside]), *beside]


def _labels(root: Path, part: Folder, table: str, classes: dict[str, str], request: TableRequest) -> PartLabels | None:
    """What a table says of a part's images; None where it does not give nearly all of them a known class."""
    base = part if part.n_images else class_base(part).filled[0]  # as in val/images/
    try:
        read = read_table(root / table, root / base.path, replace(request, skip=True))
    except PocketlensError:
        return None
    named = [classes.get(_number(label)) or classes.get(same_class(label)) for label in read.labels]
    labels = tuple(name for name in named if name is not None)
    if len(labels) < len(named) or len(labels) < _SHARE * part.n_below or len(set(labels)) < 2:
        return None
    return PartLabels(table, tuple(f"{base.path}/{file}" for file in read.files), labels, _notes(part, table, read))


def _notes(part: Folder, table: str, read: LabelTable) -> tuple[str, ...]:
    n_left = part.n_below - len(read.files)
    lines = [f"{path_of(part)} has its labels in {printable(table)}: {read.columns}", *read.notes[1:]]
    if n_left > 0:
        lines.append(f"{counted(n_left, 'image')} in {path_of(part)} without a line in {printable(table)} not used")
    return tuple(lines)
